"""Writes beside the loop: a disk that stalls holds up nothing for them."""

import json
import os
import socket
import threading

import pytest
from virtual_time import START

from plantimager.timelapse.channel.live import LiveFile, LiveStatus, read_live
from plantimager.timelapse.daemon.side_writes import SideLive, SideNotifier, SideThread

PATIENCE = 60.0


class StalledDisk:
    """Holds up the thread of the writes until it is told to go on."""

    def __init__(self, side):
        self.goes_on, reached = threading.Event(), threading.Event()
        side.put("stall", lambda: (reached.set(), self.goes_on.wait(PATIENCE)))
        assert reached.wait(PATIENCE)


@pytest.fixture
def side():
    return SideThread()


@pytest.fixture
def disk(side):
    disk = StalledDisk(side)
    yield disk
    disk.goes_on.set()


def test_newest_status_alone_is_written_when_the_disk_goes_on(tmp_path, side, disk):
    """The loop goes on meanwhile; one that is out of date is of no use."""
    store = tmp_path / "store.json"
    shown, live = [], LiveFile(store)
    live.show = lambda status, at: (shown.append(status), LiveFile.show(live, status, at))
    seen = SideLive(live, side)
    for number in range(5):
        seen.show(LiveStatus(pid=number), START)
    assert shown == []
    disk.goes_on.set()
    side.finish()
    assert shown == [LiveStatus(pid=4)]
    assert read_live(store).pid == 4


def test_end_of_a_reload_comes_last_though_the_service_manager_is_slow(tmp_path, side, monkeypatch):
    """After two of them, too: systemd would take the service for reloading until its time-out, and then end it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(PATIENCE)
        manager.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        notifier, slow = SideNotifier(os.environ, side), StalledDisk(side)
        notifier.status("idle")
        for number in (1, 2):
            notifier.reloading(number)
            notifier.ready(f"reload {number}")
        notifier.reloading(3)
        notifier.status("reads it")
        notifier.ready("reload 3")
        slow.goes_on.set()
        side.finish()
        got = [manager.recv(1 << 12).decode().split("\n")[-1] for _ in range(3)]
        notifier.close()
    assert got == ["MONOTONIC_USEC=3000000", "STATUS=reads it", "STATUS=reload 3"]


def test_write_that_the_disk_refuses_is_left_out(side):
    """Nothing depends on it, and the next one is made."""
    done = []

    def refuse():
        raise OSError(28, "No space left on device")

    side.put(1, refuse)
    side.put(2, lambda: done.append(2))
    side.finish()
    assert done == [2]


def test_write_that_fails_for_any_reason_costs_no_other(side, caplog):
    """The thread goes on: else no status would be written until the next start."""
    done = []
    side.put(1, lambda: json.dumps({"camera": object()}))
    side.put(2, lambda: done.append(2))
    side.finish()
    assert done == [2]
    (record,) = caplog.records
    assert record.getMessage() == "request_refused: the live status can't be written: TypeError"
    assert record.exc_info


def test_end_of_the_process_does_not_wait_for_a_disk_that_stalls(side, disk, monkeypatch):
    """It is told to wait a moment only."""
    monkeypatch.setattr("plantimager.timelapse.daemon.side_writes.LAST_WRITES_TIMEOUT", 0.01)
    side.put("late", lambda: None)
    side.finish()
    assert not disk.goes_on.is_set()


def test_service_manager_has_heard_of_the_start_before_the_loop_goes_on(tmp_path, side, monkeypatch):
    """The loop records what was missed then, and its thread would keep that of the notices waiting."""
    monkeypatch.setattr("plantimager.timelapse.daemon.side_writes.READY_TIMEOUT", PATIENCE)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        SideNotifier(os.environ, side).ready("idle")
        assert b"READY=1" in manager.recv(65536)


def test_service_manager_that_takes_nothing_holds_up_no_start(tmp_path, side, monkeypatch, disk):
    """It is stopped itself, perhaps."""
    monkeypatch.setattr("plantimager.timelapse.daemon.side_writes.READY_TIMEOUT", 0.01)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        SideNotifier(os.environ, side).ready("idle")
        assert not disk.goes_on.is_set()
        disk.goes_on.set()
        side.finish()
