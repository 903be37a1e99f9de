"""System calls that stall: no slot is lost, none begins beyond its grace, and the watchdog is fed."""

from __future__ import annotations

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from daemon_process import NotifySocket, Place, statuses
from failing_calls import stalling
from tiny_scan import GRACE, configuration, definition

from plantimager.timelapse.daemon.driver_calls import MAX_DELAY
from plantimager.timelapse.daemon.store_keeper import SAVE_TIMEOUT

if TYPE_CHECKING:
    from pathlib import Path

GRACE_OF_STALLS = timedelta(seconds=6)
LONG = 9.0
"""Seconds of a stall that a thread beside the loop may have: longer than a save may take, and than the grace period."""
MIDDLING = 2.5
"""Seconds of a stall that the rig's thread may have, too: of one that is longer than the grace no rig is ready."""
STEP = 6
"""A slot makes about so many calls of a kind in each thread: every one of them is met."""
SLOTS = 7
"""With one a second: longer than the grace period."""

STALLS = [
    ("fsync", ("loop", "disk", "side"), LONG),
    ("/^rename", ("loop", "disk", "side"), LONG),
    ("/^link", ("loop", "disk", "side"), LONG),
    ("/^unlink", ("loop", "disk", "side"), LONG),
    ("/^write", ("disk", "side"), LONG),
    ("/^send", ("loop", "disk", "side", "notices"), LONG),
    ("/^open", ("loop",), LONG),
]
"""The one write of the loop is to its own pipe, which takes it or refuses it at once."""

ALL_CALLS = {
    "fsync": {"disk", "rig", "ended"},
    "/^rename": {"disk", "rig", "side"},
    "/^link": {"disk"},
    "/^write": {"loop", "disk", "side", "rig", "log"},
    "/^send": {"notices"},
    "/^mkdir": {"rig"},
}
"""The calls of a slot, and the threads that make them; the look at the datasets' directory is made by one that ends."""
INTERVAL = 10
"""Seconds between slots, each of which has such a stall in every thread: of a scan's, of the save's, of the line's."""
GRACE_OF_INTERVAL = timedelta(seconds=30)
"""Several stalls of a slot add up, and a busy machine adds its own."""


def begin(directory: Path, n_shots: int, grace: timedelta, interval: int) -> Place:
    place = Place(directory)
    place.configure(configuration(f'datasets = "{directory / "scans"}"'))
    seconds = round(grace.total_seconds())
    slots = definition(n_shots).replace("interval = 1", f"interval = {interval}")
    place.define(slots.replace(f"grace_period = {GRACE}", f"grace_period = {seconds}"))
    return place


def latest_start(store: dict) -> timedelta:
    """Return how late the latest slot of a store began."""
    times = [datetime.fromisoformat(time) for time in store["schedule_times"]]
    started = [(index, scan["started_at"]) for index, scan in enumerate(store["scans"]) if scan["started_at"]]
    return max(datetime.fromisoformat(at) - times[index] for index, at in started)


def stall_everywhere(
    directory: Path,
    call: str,
    names: tuple[str, ...],
    seconds: float,
    interval: int = 1,
    slots: int = SLOTS,
    grace: timedelta = GRACE_OF_STALLS,
) -> set[str]:
    """Run a daemon through slots in which each such call of its threads stalls once; return the threads that were met.

    The first context has the first call of each thread, and every sixth after it, the next has the second ….
    """
    met = set()
    directory.mkdir()
    place = begin(directory, 1000, grace, interval)
    watchdog = {"WATCHDOG_USEC": str(round((grace * 5).total_seconds() * 1e6))}
    with NotifySocket(directory) as systemd, place.start(NOTIFY_SOCKET=str(systemd.path), **watchdog) as daemon:
        reader = threading.Thread(target=systemd.wait_for, args=["STOPPING=1"], daemon=True)
        reader.start()  # as PID 1 does
        daemon.wait_for("scan_succeeded: ")
        for first in range(1, STEP + 1):
            with stalling(daemon.process.pid, call, seconds, f"{first}+{STEP}", names) as stalled:
                for _ in range(slots):
                    daemon.wait_for("scan_succeeded: ")
            met |= stalled
        assert daemon.stop() == 0
    fed = [message for message in systemd.messages if "WATCHDOG=1" in message]
    assert len(fed) > 1, (call, names)
    assert not daemon.said("slot_skipped"), (call, names)
    store = place.read()
    taken = store["next_idx"]
    assert statuses(store)[:taken] == ["succeeded"] * taken, (call, names)
    assert latest_start(store) <= grace, (call, names)
    return met


needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace to make system calls stall")


def stall_each(directory: Path, stalls: list[tuple[object, ...]]) -> dict[str, set[str]]:
    """Run a daemon for each of the stalls, all at the same time; return which threads were met by each call."""
    with ThreadPoolExecutor(len(stalls)) as pool:
        places = [directory / str(number) for number in range(len(stalls))]
        runs = [pool.submit(stall_everywhere, place, *stall) for place, stall in zip(places, stalls, strict=True)]
    return {stall[0]: run.result() for stall, run in zip(stalls, runs, strict=True)}


@needs_strace
def test_no_stall_beside_the_loop_costs_a_slot(tmp_path) -> None:
    """Each fsync, write, rename, link and send of a slot in turn takes longer than a save may, or than the grace."""
    assert timedelta(seconds=LONG) > max(SAVE_TIMEOUT, GRACE_OF_STALLS)
    stall_each(tmp_path, STALLS)


@needs_strace
def test_no_stall_of_any_thread_costs_a_slot(tmp_path) -> None:
    """The rig's thread and those that put its files on disk, too: longer than a slot waits for the datasets' disk."""
    assert MAX_DELAY < timedelta(seconds=MIDDLING) < SAVE_TIMEOUT
    met = stall_each(tmp_path, [(call, (), MIDDLING, INTERVAL, 1, GRACE_OF_INTERVAL) for call in ALL_CALLS])
    assert {call: threads & ALL_CALLS[call] for call, threads in met.items()} == ALL_CALLS


@needs_strace
def test_whole_scan_that_is_slow_to_put_on_disk_does_not_stall(tmp_path) -> None:
    """Its pictures are all taken; each step is one more sign of life, however long all of them last together."""
    place = Place(tmp_path)
    take = tmp_path / "take"
    take.write_text("#!/bin/sh\nfor i in $(seq 24); do echo x > $i.jpg; done\necho '{\"pictures\": 24}'\n")
    take.chmod(0o755)
    command = f'driver = "command"\nclock = "trust"\nstall_timeout = "8s"\n[drivers.command]\nargv = ["{take}"]\n'
    place.configure(command + 'keep_free = "1 MB"\n')
    place.define(definition(1).replace("interval = 1", "interval = 600"))
    with place.start() as daemon, stalling(daemon.process.pid, "fsync", MIDDLING):
        daemon.wait_for("scan_succeeded: ")
        assert daemon.stop() == 0
    assert not daemon.said("driver_stalled")
    assert statuses(place.read()) == ["succeeded"]
