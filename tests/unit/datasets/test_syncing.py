"""Putting an attempt on disk, which a report may break off."""

from __future__ import annotations

import errno
import os
import threading
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import Mock

import pytest
from virtual_time import VirtualClock

from plantimager.timelapse.daemon.driver_calls import CallMonitor
from plantimager.timelapse.datasets import syncing
from plantimager.timelapse.datasets.receipt import RECEIPT
from plantimager.timelapse.drivers.base import Call
from plantimager.timelapse.support.errors import ScanCancelled


def test_what_the_disk_refused_is_raised_though_the_report_broke_the_sync_off(tmp_path, monkeypatch):
    """The kernel says so once: a later sync would seem to succeed."""
    for name in "ab":
        (tmp_path / name).write_text(name)
    has_failed = threading.Event()

    def fsync(descriptor):
        if Path(f"/proc/self/fd/{descriptor}").readlink().name == "b":
            has_failed.set()
            raise OSError(errno.EIO, "Input/output error")

    def break_off(_):
        assert has_failed.wait(60)
        raise ScanCancelled("the rig is needed")

    monkeypatch.setattr(syncing.os, "fsync", fsync)
    with pytest.raises(OSError, match="Input/output error"):
        syncing.sync_tree(tmp_path, break_off)


def test_nothing_is_written_for_the_digests(tmp_path, monkeypatch):
    """The sync of the receipt, after them, would wait for all of it at once, without a report."""
    (tmp_path / "0.jpg").write_bytes(bytes(9))
    write_back = Mock(side_effect=OSError(errno.EIO, "Input/output error"))
    monkeypatch.setattr(syncing, "_write_back", write_back)
    monkeypatch.setattr(syncing, "CHUNK_BYTES", 4)
    monkeypatch.setattr(syncing, "BLOCK_BYTES", 2)
    reports = []
    assert [*syncing.digest_tree(tmp_path, reports.append)] == ["0.jpg"]
    assert len(reports) >= 3
    write_back.assert_not_called()


def test_memory_is_given_up_for_the_disk(on_disk):
    """Of the receipt, too."""
    (on_disk / "images").mkdir()
    files = [on_disk / name for name in (RECEIPT, "0.jpg", "images/1.jpg")]
    for path in files:
        path.write_bytes(bytes(9))
        sync(path)
    assert [is_in_memory(path) for path in files] == [True] * 3
    syncing.forget_cached(on_disk)
    assert [is_in_memory(path) for path in files] == [False] * 3


@pytest.fixture
def on_disk(tmp_path):
    """Return a directory on a file system whose kernel says what is in memory, as one that is in memory doesn't."""
    for parent in (tmp_path, Path("/var/tmp"), Path(__file__).parent):
        with suppress(OSError), TemporaryDirectory(dir=parent) as directory:
            probe = Path(directory, "probe")
            probe.write_bytes(bytes(9))
            is_in_memory(probe)
            probe.unlink()
            yield Path(directory)
            return
    pytest.skip("no file system here says what is in memory")


def sync(path):
    """Put a file on disk: what isn't there can't be given up."""
    with path.open("rb") as file:
        os.fsync(file)


def is_in_memory(path):
    """Return whether the first bytes of a file can be read without asking the disk."""
    with path.open("rb", buffering=0) as file:
        try:
            return os.preadv(file.fileno(), [bytearray(1)], 0, os.RWF_NOWAIT) == 1
        except BlockingIOError:
            return False


@pytest.mark.parametrize("call", [Call.RECOVER, Call.SCAN])
def test_report_ends_a_question_that_gives_way_and_nothing_else(call):
    """A scan is cancelled at its safe points."""
    monitor = CallMonitor(VirtualClock(), call)
    monitor.note_step("putting file 1 of 2 on disk")
    monitor.give_way()
    assert monitor.cancelled_at is None
    if call is Call.SCAN:
        monitor.note_step("putting file 2 of 2 on disk")
        return
    with pytest.raises(ScanCancelled):
        monitor.note_step("putting file 2 of 2 on disk")
