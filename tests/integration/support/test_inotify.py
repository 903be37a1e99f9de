"""Waiting for files to change, against the real kernel."""

import os

import pytest

from plantimager.timelapse.support.inotify import FileWatch

FOR_EVER = 60.0
"""Seconds; a wait that should end at once fails the test by taking so long."""


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
    """Between a look and a wait nothing is lost."""
    (tmp_path / "there").write_text("one")
    with FileWatch(tmp_path) as watch:
        change(tmp_path)
        assert watch.wait(FOR_EVER)


def test_change_is_told_once(tmp_path):
    """The next wait waits for the next change."""
    with FileWatch(tmp_path) as watch:
        (tmp_path / "new").touch()
        assert watch.wait(FOR_EVER)
        assert not watch.wait(0)


def test_other_descriptor_ends_the_wait_too(tmp_path):
    """The demo listens to its daemon's log at the same time."""
    reader, writer = os.pipe()
    with FileWatch(tmp_path) as watch:
        watch.register(reader)
        assert not watch.wait(0)
        os.write(writer, b"x")
        assert watch.wait(FOR_EVER)
    os.close(reader)
    os.close(writer)


def test_directory_that_is_not_there_makes_waits_last_to_their_end(tmp_path):
    """Nothing is noticed, and nothing fails."""
    with FileWatch(tmp_path / "absent") as watch:
        assert not watch.wait(0)


def test_kernel_without_watches_to_give_makes_waits_last_to_their_end(tmp_path, monkeypatch):
    """Its limits are per user, and a desktop may have used them up."""
    monkeypatch.setattr("plantimager.timelapse.support.inotify._libc.inotify_init1", lambda _: -1, raising=False)
    with FileWatch(tmp_path) as watch:
        assert not watch.wait(0)
