"""What goes out of a dataset, and what is refused."""

import errno
import hashlib
import json
import os
import shutil
from datetime import UTC, datetime

import pytest
from earlier_layouts import EARLIER_LAYOUTS, bring_to_earlier_layout, known_to
from msgspec.structs import replace
from relay_rig import take_dataset

from plantimager.timelapse.relay import sealed_dataset
from plantimager.timelapse.relay.deliver.outgoing import prepare_dataset
from plantimager.timelapse.relay.sealed_dataset import DatasetGone, DatasetRefused
from plantimager.timelapse.relay.taken_scans import TakenScan

AT = datetime(2026, 6, 22, 8, tzinfo=UTC)
FIRST = TakenScan("tl_0", "tl", 0, datetime(2026, 6, 22, 6, tzinfo=UTC), AT)


@pytest.fixture
def dataset(tmp_path):
    """Return a whole dataset of two pictures."""
    return take_dataset(tmp_path, 0)


def change_receipt(dataset, **changes):
    """Replace keys of the receipt."""
    path = dataset / "timelapsed.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | changes))


def test_metadata_go_out_as_they_are_on_disk(dataset):
    """A directory that is copied by hand, or by rclone, is the same."""
    out = prepare_dataset(dataset, FIRST)
    assert out.metadata == json.loads((dataset / "metadata" / "metadata.json").read_bytes())
    for file in out.files:
        assert file.metadata == json.loads((dataset / "metadata" / "images" / f"{file.file_id}.json").read_bytes())


@pytest.mark.parametrize("layout", EARLIER_LAYOUTS)
def test_dataset_of_an_earlier_layout_goes_out_as_one_of_this(dataset, layout):
    """Nobody has to migrate it first."""
    now = prepare_dataset(dataset, FIRST)
    bring_to_earlier_layout(dataset, layout)
    then = prepare_dataset(dataset, FIRST)
    then.metadata["timelapsed"]["configuration"].pop("scanner", None)
    then.metadata.pop("scanner", None)
    files = tuple(replace(file, metadata=known_to(layout, file.metadata)) for file in now.files)
    assert replace(then, digest=now.digest) == replace(now, files=files)  # each receipt has its own digest


def test_dataset_that_is_migrated_meanwhile_is_looked_at_again(dataset, monkeypatch):
    """It is refused for good only where it has changed against its receipt."""
    check = sealed_dataset._checked_digests

    def migrate_and_check(directory, claimed):
        (dataset / "metadata" / "metadata.json").write_text("{}")
        change_receipt(dataset, files={**claimed, "metadata/metadata.json": "new"})
        return check(directory, claimed)

    monkeypatch.setattr(sealed_dataset, "_checked_digests", migrate_and_check)
    with pytest.raises(DatasetGone, match="migrated meanwhile"):
        prepare_dataset(dataset, FIRST)


@pytest.mark.parametrize("about", [None, {"timelapsed": 5}, {"timelapsed": {"attempt": 1}, "own": 1}])
def test_what_was_observed_goes_out_whoever_wrote_the_metadata(dataset, about):
    """The datasets of an operator's own program have it in the receipt alone."""
    path = dataset / "metadata" / "metadata.json"
    path.unlink()
    change_receipt(dataset, files=None)
    if about is not None:
        path.write_text(json.dumps(about))
    assert "observed" not in prepare_dataset(dataset, FIRST).metadata["timelapsed"]
    change_receipt(dataset, observed={"temperature": 21.5, "api_token": "s3cret"})
    sent = prepare_dataset(dataset, FIRST).metadata
    assert sent["timelapsed"]["observed"]["temperature"] == 21.5
    assert "s3cret" not in str(sent)


def test_what_was_added_since_the_scan_stays_here(dataset):
    """Thumbnails of a file manager keep nothing from being delivered, and aren't delivered."""
    before = prepare_dataset(dataset, FIRST)
    shutil.copy(next((dataset / "images").iterdir()), dataset / "images" / "thumbnail.jpg")
    (dataset / ".directory").write_text("x")
    after = prepare_dataset(dataset, FIRST)
    assert after == before
    assert [file.file_id for file in after.files] == ["camera-00000", "camera-00001"]
    assert after.digest == before.digest


def test_a_receipt_cannot_name_files_of_elsewhere(dataset, tmp_path):
    """It is a file like any other; what it names outside the dataset is missing."""
    outside = tmp_path / "private.jpg"
    shutil.copy(next((dataset / "images").iterdir()), outside)
    digest = hashlib.sha256(outside.read_bytes()).hexdigest()
    for name in ("../private.jpg", str(outside)):
        change_receipt(dataset, files={name: digest})
        with pytest.raises(DatasetRefused, match="is missing"):
            prepare_dataset(dataset, FIRST)
    (dataset / "images" / "link.jpg").symlink_to(outside)
    change_receipt(dataset, files={"images/link.jpg": digest})
    with pytest.raises(DatasetRefused, match="is missing"):
        prepare_dataset(dataset, FIRST)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("raw.dng", "takes no .dng"),
        ("a.b.jpg", "names of letters"),
        ("über.jpg", "names of letters"),
        ("sub/camera-00000.jpg", "two of its pictures are called camera-00000"),
    ],
)
def test_what_plantdb_does_not_take_is_named(dataset, name, why):
    """Of an operator's own program, without digests. A part of a dataset is never delivered as the whole."""
    (dataset / "sub").mkdir()
    shutil.copy(dataset / "images" / "camera-00000.jpg", dataset / name)
    change_receipt(dataset, files=None)
    with pytest.raises(DatasetRefused, match=why):
        prepare_dataset(dataset, FIRST)


@pytest.mark.parametrize(
    "changes",
    [{"index": 1}, {"timelapse_id": "other"}, {"scheduled_at": "2026-06-22T07:00:00+00:00"}, {"scheduled_at": "noon"}],
)
def test_a_dataset_of_another_scan_is_none_of_this(dataset, changes):
    """As of a later timelapse of the same name."""
    change_receipt(dataset, **changes)
    with pytest.raises(DatasetGone):
        prepare_dataset(dataset, FIRST)


def test_a_truncated_picture_is_found_without_a_receipt_that_knows_it(dataset):
    """It is decoded to its end."""
    picture = dataset / "images" / "camera-00000.jpg"
    picture.write_bytes(picture.read_bytes()[:-200])
    change_receipt(dataset, files=None)
    with pytest.raises(DatasetRefused, match="can't be decoded"):
        prepare_dataset(dataset, FIRST)


def test_the_raw_file_beside_a_picture_stays_on_the_rig(dataset):
    """PlantDB takes none, and the picture of the same exposure is delivered."""
    before = prepare_dataset(dataset, FIRST)
    (dataset / "raw").mkdir()
    (dataset / "raw" / "camera-00000.nef").write_bytes(b"II*\0 raw")
    change_receipt(dataset, files=None)
    after = prepare_dataset(dataset, FIRST)
    assert (after.files, after.metadata) == (before.files, before.metadata)
    assert (before.left, after.left) == (0, 1)


def test_metadata_that_plantdb_does_not_get_are_left(dataset):
    """They may be what the scan was for."""
    assert prepare_dataset(dataset, FIRST).left == 0
    (dataset / "metadata" / "spectra.csv").write_text("400,0.1")
    (dataset / "metadata" / "images" / "other.json").write_text("{}")
    change_receipt(dataset, files=None)
    assert prepare_dataset(dataset, FIRST).left == 2


def test_metadata_that_are_no_object_are_refused(dataset):
    """They would go out as none."""
    (dataset / "metadata" / "images" / "camera-00000.json").write_text("[1]")
    change_receipt(dataset, files=None)
    with pytest.raises(DatasetRefused, match=r"camera-00000\.json can't be read: not an object"):
        prepare_dataset(dataset, FIRST)


@pytest.mark.parametrize("name", ["tl 0", "tl%300", "tl/0", "..", "tl?x", "Ähre_0", ""])
def test_a_scan_whose_name_plantdb_does_not_take_is_refused(dataset, name):
    """In an address of the server it would mean another one, or none."""
    with pytest.raises(DatasetRefused, match="PlantDB takes names of letters"):
        prepare_dataset(dataset, replace(FIRST, scan_id=name))


@pytest.mark.parametrize("where", ["PIL.Image.open", "plantimager.timelapse.relay.deliver.outgoing.read_regular"])
@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ENODEV])
def test_a_disk_that_is_pulled_in_mid_read_is_no_reason_to_refuse_a_dataset(dataset, monkeypatch, where, number):
    """What is refused is not tried again by itself; the disk may be back in a minute."""

    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(where, fail)
    with pytest.raises(OSError, match=os.strerror(number)):
        prepare_dataset(dataset, FIRST)
