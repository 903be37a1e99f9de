"""Datasets that a person has moved: what has to be certain before one counts as taken."""

import errno
import json
import shutil

import pytest
from msgspec.structs import replace

from plantimager.timelapse.datasets import contents
from plantimager.timelapse.datasets import receipt as receipt_module
from plantimager.timelapse.datasets.attempt import begin_attempt
from plantimager.timelapse.datasets.contents import find_moved
from plantimager.timelapse.datasets.receipt import BYTES, FILES, RECEIPT, load_receipt
from plantimager.timelapse.drivers.testing import make_request
from plantimager.timelapse.scan.request import Owner, ScanResult

OWNER = Owner(rig="", store="/var/lib/store.json", host="pi", machine="1")


@pytest.fixture
def moved(tmp_path):
    """Return the request for a dataset of three pictures that was moved from its first directory."""
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    request = replace(make_request(first), owner=OWNER)
    with begin_attempt(request) as attempt:
        for number in range(3):
            (attempt.directory / f"{number}.jpg").write_bytes(bytes([number + 1]) * 100)
        attempt.finish(ScanResult(pictures=3))
    shutil.move(first, second)
    return replace(request, dataset_dir=second / request.dataset_dir.name)


def change_receipt(request, **changes):
    """Write the receipt again, without the keys that are to be None."""
    receipt = {**load_receipt(request.dataset_dir), **changes}
    text = json.dumps({key: value for key, value in receipt.items() if value is not None})
    (request.dataset_dir / RECEIPT).write_text(text)


@pytest.mark.parametrize("largest", [receipt_module.MAX_RECEIPT_BYTES, 500], ids=["each digest", "one digest of all"])
def test_moved_dataset_counts_only_with_the_files_of_its_digests(request, monkeypatch, largest):
    """A disk may have lost their content and kept their sizes."""
    monkeypatch.setattr(receipt_module, "MAX_RECEIPT_BYTES", largest)
    moved = request.getfixturevalue("moved")
    assert (FILES in load_receipt(moved.dataset_dir)) == (largest > 500)
    assert find_moved(moved, None) == ScanResult(pictures=3)
    (moved.dataset_dir / "1.jpg").write_bytes(b"\0" * 100)
    assert find_moved(moved, None) is None


@pytest.mark.parametrize("has_digests", [True, False])
def test_one_file_of_the_size_of_all_pictures_is_none_of_them(moved, has_digests):
    """Where there are no digests, their number is what is known."""
    change_receipt(moved, **({} if has_digests else {FILES: None}))
    assert find_moved(moved, None) == ScanResult(pictures=3)
    for path in moved.dataset_dir.glob("*.jpg"):
        path.unlink()
    (moved.dataset_dir / "junk.bin").write_bytes(b"x" * 300)
    assert find_moved(moved, None) is None


@pytest.mark.parametrize("key", ["owner", BYTES])
def test_receipt_that_does_not_say_whose_and_how_large_is_not_certain(moved, key):
    """Versions that wrote none of these recorded no directory that could be gone."""
    change_receipt(moved, **{key: None})
    assert find_moved(moved, None) is None


@pytest.mark.parametrize("files", [None, {}])
def test_receipt_alone_is_no_dataset(moved, files):
    """Not even where it says that there are no bytes, and no files."""
    for path in moved.dataset_dir.glob("*.jpg"):
        path.unlink()
    change_receipt(moved, pictures=None, **{BYTES: 0, FILES: files})
    assert find_moved(moved, None) is None


def test_store_of_another_machine_with_the_same_kernel_is_not_ours(moved, tmp_path):
    """As that of another container: it has the same boot, and perhaps the same path."""
    gone = str(tmp_path / "gone.json")
    for machine, found in (("1", ScanResult(pictures=3)), ("2", None), ("", None)):
        owner = {"rig": "", "store": gone, "machine": machine}
        change_receipt(moved, boot="boot-1", owner=owner)
        assert find_moved(moved, "boot-1") == found
    change_receipt(moved, boot="boot-1", owner={"rig": "", "store": OWNER.store, "machine": "2"})
    assert find_moved(moved, "boot-1") is None


@pytest.mark.parametrize("step", ["sync_tree", "sync_directory"])
def test_moved_dataset_counts_when_it_is_on_disk(moved, monkeypatch, step):
    """A person has copied it a moment ago."""

    def refuse(*_):
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as disk:
        disk.setattr(contents, step, refuse)
        assert find_moved(moved, None) is None
    assert find_moved(moved, None) == ScanResult(pictures=3)


def test_what_was_read_for_a_question_that_was_given_up_is_not_read_again(moved, monkeypatch):
    """Else a dataset that takes longer than a question may would never be found."""
    assert find_moved(moved, None) == ScanResult(pictures=3)
    monkeypatch.setattr(contents, "forget_cached", lambda _: pytest.fail("it is read again"))
    assert find_moved(moved, None) == ScanResult(pictures=3)
