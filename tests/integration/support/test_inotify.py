"""Waiting for files to change, with the real kernel."""

import os

import pytest

from plantimager.timelapse.support.inotify import FileWatch

LONG = 60.0
"""Seconds; a wait that should end at once takes so long only when the test fails."""


@pytest.mark.parametrize(
    "change",
    [
        lambda directory: (directory / "new").touch(),
        lambda directory: (directory / "there").write_text("other"),
        lambda directory: (directory / "there").replace(directory / "renamed"),
        lambda directory: (directory / "there").unlink(),
    ],
    ids=["made", "written", "renamed", "deleted"],
)
def test_change_before_the_wait_is_noticed(tmp_path, change):
    """No change between the last reading of a file and the wait is lost."""
    (tmp_path / "there").write_text("one")
    with FileWatch(tmp_path) as watch:
        change(tmp_path)
        assert watch.wait(LONG)


def test_change_is_reported_once(tmp_path):
    """The next wait is for the next change."""
    with FileWatch(tmp_path) as watch:
        (tmp_path / "new").touch()
        assert watch.wait(LONG)
        assert not watch.wait(0)


def test_registered_descriptor_ends_the_wait(tmp_path):
    """The demo waits for its daemon's log at the same time."""
    reader, writer = os.pipe()
    with FileWatch(tmp_path) as watch:
        watch.register(reader)
        assert not watch.wait(0)
        os.write(writer, b"x")
        assert watch.wait(LONG)
    os.close(reader)
    os.close(writer)


def test_wait_on_a_missing_directory_lasts_until_its_time_out(tmp_path):
    """No change is noticed, and no error is raised."""
    with FileWatch(tmp_path / "absent") as watch:
        assert not watch.wait(0)


def test_wait_without_a_watch_of_the_kernel_lasts_until_its_time_out(tmp_path, monkeypatch):
    """The kernel limits the watches of a user, and a desktop may have used them up."""
    monkeypatch.setattr("plantimager.timelapse.support.inotify._libc.inotify_init1", lambda _: -1, raising=False)
    with FileWatch(tmp_path) as watch:
        assert not watch.wait(0)


def test_the_end_of_a_watch_is_told(tmp_path):
    """A disk that is mounted again has the same number, and its directories theirs, but no watch."""
    directory = tmp_path / "data"
    directory.mkdir()
    with FileWatch(tmp_path, directory) as watch:
        (directory / ("long" * 50)).touch()
        assert watch.wait(LONG)
        assert not watch.has_ended
        (directory / ("long" * 50)).unlink()
        directory.rmdir()
        assert watch.wait(LONG)
        assert watch.has_ended
