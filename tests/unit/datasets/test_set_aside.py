"""What stands aside in the directory of datasets, and beside the store."""

import errno
import os

import pytest

from plantimager.timelapse.datasets import set_aside
from plantimager.timelapse.datasets.attempt import begin_attempt
from plantimager.timelapse.datasets.set_aside import find_set_aside, has_name_of_aside
from plantimager.timelapse.drivers.testing import make_request
from plantimager.timelapse.scan.request import Owner

OURS, THEIRS = (Owner(rig=rig, store=f"/{rig}.json") for rig in "ab")


def leave(datasets, *names, **request):
    """Leave an unfinished attempt with files of these names; return its directory."""
    with begin_attempt(make_request(datasets, **request)) as attempt:
        (attempt.directory / "images").mkdir()
        for name in names:
            (attempt.directory / "images" / name).touch()
    return attempt.directory


def found(datasets, *arguments, **options):
    """Return what stands aside, by the names of its files."""
    return {aside.path.name: aside.what for aside in find_set_aside(datasets, *arguments, **options)}


def test_pictures_of_unfinished_attempts_and_moved_datasets_are_named(tmp_path):
    """Nobody lists a hidden directory, and half a time point may be worth something."""
    leave(tmp_path, "0.jpg")
    leave(tmp_path, "0.jpg", "1.jpg", attempt=2)
    leave(tmp_path, index=1)
    (tmp_path / "col0_2.earlier-1").mkdir()
    (tmp_path / "col0_2").mkdir()
    assert found(tmp_path) == {
        ".col0_0.attempt-1": "1 file of an attempt at col0_0 that was not finished",
        ".col0_0.attempt-2": "2 files of an attempt at col0_0 that was not finished",
        "col0_2.earlier-1": "what stood in the place of col0_2 before",
    }


def test_attempt_that_can_not_be_read_is_named(tmp_path, monkeypatch):
    """A disk that fails has not an empty directory there."""
    leave(tmp_path, "0.jpg")
    real = os.scandir

    def refuse(path):
        if str(path).endswith("images"):
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    words = "files that can't be read (Input/output error) of an attempt at col0_0 that was not finished"
    assert found(tmp_path) == {".col0_0.attempt-1": words}


@pytest.mark.parametrize("way", ["migrated", "before-migration"])
def test_what_a_killed_migration_has_left_is_named_with_the_cure(tmp_path, way):
    """Between its two renames the dataset is only there."""
    (tmp_path / f".col0_0.{way}").mkdir()
    assert "run timelapsectl datasets migrate again" in found(tmp_path)[f".col0_0.{way}"]
    assert has_name_of_aside(f".col0_0.{way}")


def test_attempt_that_is_being_made_does_not_stand_aside(tmp_path):
    """The attempt before it does."""
    leave(tmp_path, "0.jpg")
    leave(tmp_path, "0.jpg", attempt=2)
    assert [*found(tmp_path, running=("col0_0", 2))] == [".col0_0.attempt-1"]


def test_attempts_of_other_rigs_in_the_same_directory_are_left_out(tmp_path):
    """Those without a mark are of an earlier version, and may be ours."""
    leave(tmp_path, "0.jpg", owner=THEIRS)
    ours, unmarked = leave(tmp_path, "0.jpg", owner=OURS), leave(tmp_path, "0.jpg", index=1)
    assert {*found(tmp_path, owner=OURS)} == {ours.name, unmarked.name}


def test_stores_that_were_set_aside_are_named(tmp_path):
    """Those of this store alone."""
    for name in ("a.json", "a.json.bak", "a.json.corrupt-1", "a.json.foreign-2", "b.json.corrupt-1"):
        (tmp_path / name).touch()
    assert [*found(tmp_path / "no such directory", tmp_path / "a.json")] == ["a.json.corrupt-1", "a.json.foreign-2"]


@pytest.mark.parametrize("limit", ["MAX_FOUND", "MAX_ENTRIES", "MAX_FILES"])
def test_look_is_bounded(tmp_path, monkeypatch, limit):
    """`status` asks at every call, and a directory may hold anything."""
    monkeypatch.setattr(set_aside, limit, 2)
    for index in range(3):
        leave(tmp_path, "0.jpg", "1.jpg", "2.jpg", index=index)
    if limit == "MAX_FILES":
        assert all(what.startswith("2 files") for what in found(tmp_path).values())
    else:
        assert len(found(tmp_path)) == 2
