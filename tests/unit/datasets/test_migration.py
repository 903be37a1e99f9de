"""Datasets of earlier layouts are brought to the present one, and no picture is touched."""

import errno
import hashlib
import json
import os
import shutil

import pytest
from earlier_layouts import EARLIER_LAYOUTS, bring_to_earlier_layout, known_to
from hypothesis import given
from hypothesis import strategies as st
from relay_rig import take_dataset
from tracing import Traced

from plantimager.timelapse.datasets import migration
from plantimager.timelapse.datasets.contents import NO_DIGESTS, find_differences
from plantimager.timelapse.datasets.migration import NotMigrated, finish_interrupted, migrate_dataset
from plantimager.timelapse.datasets.receipt import RECEIPT
from plantimager.timelapse.scan.request import Owner

OURS = Owner(store="/var/lib/a.json", machine="1")


def pictures_of(dataset):
    """Return the pictures with all that a reader of them could notice."""
    paths = [path for path in dataset.rglob("*") if path.is_file() and path.suffix != ".json"]
    return {path.relative_to(dataset): (path.read_bytes(), path.stat().st_mtime_ns) for path in paths}


def texts_of(dataset):
    """Return all files of metadata, read, and the receipt without its digests."""
    texts = {str(path.relative_to(dataset)): json.loads(path.read_bytes()) for path in dataset.rglob("*.json")}
    texts[RECEIPT].pop("files", None)
    return texts


def marks_of(dataset):
    """Return what shows that anything beside a dataset or in it was changed."""
    found = {path: path.lstat() for path in dataset.parent.rglob("*")}
    return {path: (at.st_mode, at.st_ino, at.st_nlink, at.st_size, at.st_mtime_ns) for path, at in found.items()}


def texts_known_to(layout, dataset):
    """Return the texts of a dataset as far as an earlier version knew what they say."""
    is_of_picture = {path: path.startswith("metadata/images/") for path in texts_of(dataset)}
    return {path: known_to(layout, text) if is_of_picture[path] else text for path, text in texts_of(dataset).items()}


@pytest.fixture
def present(tmp_path):
    """Return a dataset of the present layout."""
    return take_dataset(tmp_path / "present", 0)


@pytest.fixture
def earlier(present, tmp_path):
    """Return a function that makes a dataset of an earlier layout."""
    (tmp_path / "datasets").mkdir()

    def make(layout="with digests", name="tl_0"):
        return bring_to_earlier_layout(shutil.copytree(present, tmp_path / "datasets" / name), layout)

    return make


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO])
@pytest.mark.parametrize("closed", ["images", "metadata/images"])
def test_dataset_with_a_directory_that_can_not_be_listed_is_left_as_it_is(earlier, monkeypatch, number, closed):
    """With a part of its metadata migrated it would count as done."""
    dataset = earlier()
    before = marks_of(dataset)

    def refusing(real):
        def refuse(path="."):
            if str(path) == str(dataset / closed):
                raise OSError(number, os.strerror(number), str(path))
            return real(path)

        return refuse

    for call in ("listdir", "scandir"):
        monkeypatch.setattr(os, call, refusing(getattr(os, call)))
    with pytest.raises(NotMigrated, match=os.strerror(number)):
        migrate_dataset(dataset, OURS)
    monkeypatch.undo()
    assert marks_of(dataset) == before


@pytest.mark.parametrize("layout", EARLIER_LAYOUTS)
def test_dataset_of_an_earlier_layout_becomes_what_is_written_today(earlier, present, layout):
    """Its pictures keep bytes and time, its receipt fits, and there is nothing to do any more."""
    dataset = earlier(layout)
    pictures = pictures_of(dataset)
    assert migrate_dataset(dataset, OURS)
    assert pictures_of(dataset) == pictures
    assert b"s3cret" not in b"".join(path.read_bytes() for path in dataset.rglob("*") if path.is_file())
    now, wanted = texts_of(dataset), texts_known_to(layout, present)
    now["metadata/metadata.json"].pop("scanner", None)
    now["metadata/metadata.json"]["timelapsed"]["configuration"].pop("scanner", None)
    assert now == wanted
    assert find_differences(dataset) == ([NO_DIGESTS] if layout == "first" else [])
    assert not migrate_dataset(dataset, OURS)
    assert [path.name for path in dataset.parent.iterdir()] == ["tl_0"]


def test_dataset_of_the_present_layout_stays_as_it_is(present, monkeypatch):
    """Its pictures aren't compared: the next run of ten thousand is quick."""
    before = marks_of(present)
    monkeypatch.setattr(migration, "find_differences", None)
    assert not migrate_dataset(present, OURS)
    assert marks_of(present) == before


def test_dry_run_changes_nothing_and_finds_the_same(earlier):
    """Also what is damaged."""
    dataset = earlier()
    before = marks_of(dataset)
    assert migrate_dataset(dataset, OURS, dry_run=True)
    assert marks_of(dataset) == before
    next((dataset / "images").iterdir()).write_bytes(b"x")
    with pytest.raises(NotMigrated, match="has changed"):
        migrate_dataset(dataset, OURS, dry_run=True)


def remove_receipt(dataset):
    (dataset / RECEIPT).unlink()


def damage_receipt(dataset):
    (dataset / RECEIPT).write_text("{")


def give_away(dataset):
    receipt = json.loads((dataset / RECEIPT).read_bytes())
    owner = {"rig": "north", "store": "/elsewhere", "host": "pi", "machine": "2"}
    (dataset / RECEIPT).write_text(json.dumps({**receipt, "owner": owner}))


def change_picture(dataset):
    next((dataset / "images").iterdir()).write_bytes(b"x")


def lose_picture(dataset):
    next((dataset / "images").iterdir()).unlink()


def damage_metadata(dataset):
    (dataset / "metadata" / "metadata.json").write_text("{")


def change_metadata(dataset):
    path = dataset / "metadata" / "metadata.json"
    path.write_text(path.read_text().replace("Arabidopsis", "Arabidopsjs"))


def link_metadata(dataset):
    shutil.move(dataset / "metadata", dataset.parent / ".elsewhere")
    (dataset / "metadata").symlink_to(dataset.parent / ".elsewhere")


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (remove_receipt, "it has no receipt"),
        (damage_receipt, "its receipt can't be read"),
        (give_away, "it is a dataset of rig north on pi"),
        (change_picture, "has changed"),
        (lose_picture, "is missing"),
        (damage_metadata, "metadata.json can't be read"),
        (change_metadata, "metadata.json has changed"),
        (link_metadata, "metadata is a link"),
    ],
)
def test_foreign_or_damaged_dataset_is_named_and_left(earlier, harm, words):
    """A person has to look at it; nothing in it is changed."""
    dataset = earlier()
    harm(dataset)
    before = marks_of(dataset)
    with pytest.raises(NotMigrated, match=words):
        migrate_dataset(dataset, OURS)
    assert marks_of(dataset) == before


def test_dataset_of_an_operators_own_program_has_no_layout_of_ours(earlier):
    """Whatever metadata it wrote."""
    dataset = earlier()
    (dataset / "metadata" / "metadata.json").write_text('{"acquisition_date": "2026-06-22T08:00:00"}')
    assert not migrate_dataset(dataset, OURS)
    shutil.rmtree(dataset / "metadata")
    assert not migrate_dataset(dataset, OURS)


def test_what_somebody_put_beside_the_pictures_stays(earlier):
    """Thumbnails, links, FIFOs; they are no part of the receipt afterwards, either."""
    dataset = earlier()
    (dataset / "images" / "thumbnail.jpg").write_bytes(b"x")
    (dataset / "empty").mkdir()
    (dataset / "link").symlink_to("images")
    os.mkfifo(dataset / "fifo")
    assert migrate_dataset(dataset, OURS)
    assert (dataset / "images" / "thumbnail.jpg").read_bytes() == b"x"
    assert (dataset / "link").is_symlink()
    assert (dataset / "fifo").is_fifo()
    assert (dataset / "empty").is_dir()
    assert find_differences(dataset) == ["images/thumbnail.jpg was added after the scan"]


def test_modes_of_files_and_directories_stay(earlier):
    """Members of the group read datasets, and nobody else."""
    dataset = earlier()
    for path in (dataset, *dataset.rglob("*")):
        path.chmod(0o2750 if path.is_dir() else 0o640)
    modes = {path: path.stat().st_mode for path in (dataset, *dataset.rglob("*"))}
    assert migrate_dataset(dataset, OURS)
    assert {path: path.stat().st_mode for path in (dataset, *dataset.rglob("*"))} == modes


def test_disk_without_hard_links_has_its_pictures_copied(earlier, monkeypatch):
    """As a stick with exFAT; bytes and times are the same."""
    dataset = earlier()
    pictures = pictures_of(dataset)

    def refuse(*_, **__):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(migration.os, "link", refuse)
    assert migrate_dataset(dataset, OURS)
    assert pictures_of(dataset) == pictures
    assert find_differences(dataset) == []


def test_full_disk_leaves_the_dataset_as_it_was(earlier, monkeypatch):
    """It can be run again."""
    dataset = earlier()
    before = texts_of(dataset)

    def refuse(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(migration.os, "link", refuse)
        disk.setattr(migration.shutil, "copy2", refuse)
        with pytest.raises(NotMigrated, match="No space left on device"):
            migrate_dataset(dataset, OURS)
    assert texts_of(dataset) == before
    assert [path.name for path in dataset.parent.iterdir()] == ["tl_0"]
    assert migrate_dataset(dataset, OURS)


def test_killed_at_any_system_call_it_can_be_run_again(earlier, present, tmp_path):
    """In between the dataset is whole, in either layout, or not there; then all is as without the kill.

    A kill leaves on disk what is there at the entry of a system call: each different state is copied, and gone on from.
    """
    wanted, pictures = texts_known_to("with digests", present), pictures_of(present)
    dataset = earlier()
    states: list[dict] = []

    def keep_state() -> None:
        marks = marks_of(dataset)
        if not states or states[-1] != marks:
            shutil.copytree(dataset.parent, tmp_path / "killed" / str(len(states)))
            states.append(marks)

    run = Traced(lambda: migrate_dataset(dataset, OURS))
    run.go_on(0, at_each=keep_state)
    assert run.exit_status == 0
    for number in range(len(states)):
        killed = tmp_path / "killed" / str(number) / dataset.name
        if killed.exists():
            assert find_differences(killed) == []
            assert pictures_of(killed) == pictures
        finish_interrupted(killed.parent)
        migrate_dataset(killed, OURS)
        assert texts_of(killed) == wanted
        assert pictures_of(killed) == pictures
        assert find_differences(killed) == []
        assert [path.name for path in killed.parent.iterdir()] == [dataset.name]
    assert len(states) > 30


def test_dataset_that_somebody_has_put_into_the_place_meanwhile_stays_and_so_does_the_old_one(earlier, tmp_path):
    """A kill between the two renames, and a person who helped himself: nothing is deleted."""
    dataset = earlier()
    old = dataset.rename(dataset.with_name(".tl_0.before-migration"))
    take_dataset(tmp_path / "other", 1).rename(dataset)
    before = texts_of(dataset), texts_of(old)
    finish_interrupted(dataset.parent)
    assert (texts_of(dataset), texts_of(old)) == before


VALUES = st.recursive(
    st.none() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(["object", "timelapsed", "x"]), VALUES, max_size=3), VALUES)
def test_whatever_the_metadata_say_a_sentence_or_a_sound_dataset(about, picture):
    """Machines wrote it, and a person may have edited it. The second run has nothing to do."""
    import tempfile  # noqa: PLC0415 - one directory an example
    from pathlib import Path  # noqa: PLC0415 - likewise

    with tempfile.TemporaryDirectory() as directory:
        dataset = Path(directory) / "tl_0"
        (dataset / "images").mkdir(parents=True)
        (dataset / "images" / "top-00000.jpg").write_bytes(b"a picture")
        (dataset / "metadata" / "images").mkdir(parents=True)
        ours = about.get("timelapsed")
        about["timelapsed"] = {**(ours if isinstance(ours, dict) else {"configuration": ours}), "timelapse_id": "tl"}
        (dataset / "metadata" / "metadata.json").write_text(json.dumps(about))
        (dataset / "metadata" / "images" / "top-00000.json").write_text(json.dumps(picture))
        files = {
            str(path.relative_to(dataset)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in dataset.rglob("*")
            if path.is_file()
        }
        (dataset / RECEIPT).write_text(json.dumps({"files": files}))
        try:
            migrate_dataset(dataset, OURS)
        except NotMigrated:
            return
        assert find_differences(dataset) == []
        assert not migrate_dataset(dataset, OURS)


@pytest.mark.parametrize("text", [b"", b"{"])
def test_what_stands_aside_stays_where_no_receipt_can_be_read(earlier, text):
    """A receipt that can't be read is like no other; the pictures may be the only ones."""
    dataset = earlier()
    old = dataset.with_name(f".{dataset.name}.before-migration")
    shutil.copytree(dataset, old)
    for directory in (dataset, old):
        (directory / RECEIPT).write_bytes(text)
    pictures = pictures_of(old)
    finish_interrupted(dataset.parent)
    assert pictures_of(old) == pictures
