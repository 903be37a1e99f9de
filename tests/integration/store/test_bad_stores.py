"""Stores that hold no timelapse or can't be read: each gets one clear line, and a person can find it afterwards."""

from __future__ import annotations

import json
import os
import pwd
import re
import subprocess
from typing import TYPE_CHECKING

import pytest
from daemon_process import PATIENCE, PLAINLY, STRICT_DAEMON, DaemonProcess, Place
from tree import STORES

from plantimager.timelapse.store.location import backup_path

if TYPE_CHECKING:
    from pathlib import Path

REAL = json.loads((STORES / "interval-utc-interrupted.json").read_bytes())

ME = pwd.getpwuid(os.geteuid()).pw_name

QUICK_START = 'clock = "trust"\n[drivers.simulated]\nimage_width = 4\n'
"""The simulated driver, and no wait for a clock."""


def start(place: Place) -> DaemonProcess:
    place.configure(QUICK_START)
    return place.start()


def identity(path: Path) -> tuple[int, ...]:
    """Return what changes when a file is changed in any way."""
    status = path.lstat()
    return status.st_ino, status.st_mode, status.st_size, status.st_mtime_ns


def texts(lines: list[str]) -> list[str]:
    """Return the lines that are for a person: those with a level in front, and any that are not the daemon's."""
    return [line for line in lines if not re.match(r"[a-z_]+: ", line)]


# --- unreadable: left alone, and the daemon ends ------------------------------------------------------


def forbid(path: Path) -> None:
    path.write_text(json.dumps(REAL))
    path.chmod(0)


UNREADABLE = {
    "directory": (lambda path: path.mkdir(), "can't be read: not a regular file but a directory"),
    "FIFO": (os.mkfifo, "can't be read: not a regular file but a FIFO"),
    "loop": (lambda path: path.symlink_to(path), "can't be read: a loop of symbolic links"),
    "dangling": (
        lambda path: path.symlink_to("/mnt/disk/s.json"),
        "a symbolic link to /mnt/disk/s.json, which isn't there",
    ),
    "device": (lambda path: path.symlink_to("/dev/zero"), "can't be read: not a regular file but a character device"),
    "forbidden": (forbid, f"can't be read: Permission denied; it belongs to {ME}, mode 0000, and this is {ME}"),
}


@pytest.mark.parametrize("kind", UNREADABLE)
def test_store_that_can_not_be_read_is_left_alone(place: Place, kind: str) -> None:
    """It may be sound: the daemon logs one line and ends, so that systemd tries again; no file is changed."""
    make, words = UNREADABLE[kind]
    make(place.store)
    backup_path(place.store).write_text(json.dumps(REAL))
    place.configure(QUICK_START)
    before = identity(place.store)
    daemon = subprocess.run(
        [*PLAINLY, *STRICT_DAEMON],
        env=place.environment,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert daemon.returncode == 1
    assert texts(daemon.stderr.splitlines()) == [
        f"CRITICAL store_unreadable: {place.store}: {words}; it is left as it is"
    ]
    assert identity(place.store) == before
    assert not [entry for entry in place.storage.iterdir() if "corrupt" in entry.name]


# --- corrupt: set aside, and the daemon is idle -----------------------------------------------------


def sixty_megabytes(path: Path) -> None:
    with path.open("wb") as file:
        file.write(json.dumps(REAL).encode()[:-1] + b', "padding": "')
        file.truncate(60_000_000)


def changed(**changes: object) -> bytes:
    return json.dumps({**REAL, **changes}).encode()


CORRUPT = {
    "60 MB": (sixty_megabytes, "60000000 bytes, at most 58000000 are read"),
    "empty": (b"", "empty"),
    "zeros": (b"\0" * 4096, "4096 bytes of nothing (a write that was cut off)"),
    "cut off": (changed()[:1000], "not JSON: "),
    "deep": (b'{"extra": ' + b"[" * 100_000, "not JSON: nested deeper than 200 levels"),
    "not UTF-8": (b'{"timelapse_id": "\xe9t\xe9"}', "not JSON: 'utf-8' codec can't decode byte 0xe9"),
    "array": (b"[]", "holds a JSON array, not an object"),
    "nothing in it": (b"{}", "timelapse_id: required, but missing (and 3 more)"),
    "id": (changed(timelapse_id="../../etc"), 'timelapse_id = "../../etc": write a name that can name a file'),
    "mode": (changed(mode="hourly"), 'mode = "hourly": write one of one_shot, interval, fixed_times'),
    "state": (changed(state=7), "state = 7: write one of configured, scheduled, running"),
    "next_idx": (changed(next_idx=49), "next_idx = 49: beyond the schedule (48 slots); write a number from 0 to 48"),
    "next_idx type": (changed(next_idx="5"), 'next_idx = "5": write a whole number of at least 0'),
    "time": (changed(schedule_times=["soon"], next_idx=0), 'schedule_times[0] = "soon": write an ISO-8601 date'),
    "year 1": (changed(start_at="0001-01-01T00:00:00"), 'start_at = "0001-01-01T00:00:00": write an ISO-8601 date'),
    "grace": (changed(grace_period=-1), "grace_period = -1: write seconds: a number from 0 to 100 years"),
    "scans": (changed(scans=[[]]), "scans[0] = []: write an object"),
    "extra": (changed(extra=["hunter2"]), "extra: write an object"),
}


@pytest.mark.parametrize("kind", CORRUPT)
def test_store_that_holds_no_timelapse_is_set_aside_and_the_daemon_idle(place: Place, kind: str) -> None:
    """One line says what is wrong and where the file is now, unchanged; then the daemon waits for a definition."""
    content, words = CORRUPT[kind]
    content(place.store) if callable(content) else place.store.write_bytes(content)
    before = identity(place.store)
    with start(place) as daemon:
        line = daemon.wait_for("store_quarantined: ")
        daemon.wait_for("idle: ")
        assert daemon.stop() == 0
    (aside,) = place.storage.glob("timelapse_storage.json.corrupt-*")
    assert line.startswith(f"ERROR store_quarantined: {place.store}: {words}")
    assert line.endswith(f"; kept as {aside.name}")
    assert texts(daemon.lines) == [line]
    assert "hunter2" not in "".join(daemon.lines)
    assert identity(aside) == before
    assert not place.store.exists()


def test_next_daemon_after_a_quarantine_is_simply_idle(place: Place) -> None:
    """A quarantined file is not reported again."""
    place.store.write_bytes(b"{")
    for expected in (1, 0):
        with start(place) as daemon:
            daemon.wait_for("idle: ")
            assert daemon.stop() == 0
        assert len(daemon.said("store_quarantined")) == expected
    assert len([*place.storage.glob("*.corrupt-*")]) == 1


def test_corrupt_store_and_corrupt_backup_are_both_kept(place: Place) -> None:
    """A person may still find something in both."""
    place.store.write_bytes(b"{1")
    backup_path(place.store).write_bytes(b"{2")
    with start(place) as daemon:
        daemon.wait_for("idle: ")
        assert daemon.stop() == 0
    kept = {path.name.partition(".corrupt-")[0]: path.read_bytes() for path in place.storage.glob("*.corrupt-*")}
    assert kept == {"timelapse_storage.json": b"{1", "timelapse_storage.json.bak": b"{2"}


# --- corrupt with a sound backup: the daemon goes on --------------------------------------------------


@pytest.mark.parametrize("kind", ["empty", "zeros", "cut off", "60 MB", "next_idx"])
def test_backup_takes_over_and_the_journal_has_both(place: Place, kind: str) -> None:
    """The timelapse goes on one save older; the corrupt file is kept."""
    content, words = CORRUPT[kind]
    content(place.store) if callable(content) else place.store.write_bytes(content)
    backup_path(place.store).write_bytes((STORES / "interval-completed.json").read_bytes())
    inode = place.store.stat().st_ino
    with start(place) as daemon:
        assert words in daemon.wait_for("store_quarantined: ")
        daemon.wait_for(f"store_from_backup: going on from {backup_path(place.store)}, one save older")
        assert "done_tl, 3 slots, 3 done: completed" in daemon.wait_for("store_found: done_tl, ")
        assert daemon.stop() == 0
    (aside,) = place.storage.glob("timelapse_storage.json.corrupt-*")
    assert aside.stat().st_ino == inode
    assert place.read()["timelapse_id"] == "done_tl"


def test_killed_right_after_the_backup_took_over_still_goes_on_from_it(place: Place) -> None:
    """The power may go again at once, before anything was saved."""
    place.store.write_bytes(b"\0" * 100)
    backup_path(place.store).write_bytes((STORES / "interval-completed.json").read_bytes())
    with start(place) as daemon:
        daemon.wait_for("store_from_backup: ")
        daemon.kill()
    with start(place) as daemon:
        daemon.wait_for("store_found: done_tl, ")
        assert daemon.stop() == 0
    assert not daemon.said("store_quarantined")
