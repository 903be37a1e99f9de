"""Putting an attempt on disk, which a report may break off."""

from __future__ import annotations

import errno
import threading
from pathlib import Path

import pytest
from virtual_time import VirtualClock

from plantimager.timelapse.daemon.driver_calls import CallMonitor
from plantimager.timelapse.datasets import syncing
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
        assert has_failed.wait(10)
        raise ScanCancelled("the rig is needed")

    monkeypatch.setattr(syncing.os, "fsync", fsync)
    with pytest.raises(OSError, match="Input/output error"):
        syncing.sync_tree(tmp_path, break_off)


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
