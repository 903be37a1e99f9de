"""Ending the processes that a killed daemon left running.

They are found by their environment, which a process has from its first instruction on, which its children inherit, and
which no process has after a reboot. So there is no file of process ids that could be out of date.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Final

from plantimager.timelapse.drivers.deadline import Deadline

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import timedelta

ROUNDS: Final = 3
"""How often leftovers are searched: one may be started while its parent is being ended."""

POLL_INTERVAL: Final = 0.1
"""Seconds between two looks at whether the time to end has passed."""


def end_leftovers(is_leftover: Callable[[Mapping[bytes, bytes]], bool], stop_grace: timedelta) -> None:
    """End the processes whose environment ``is_leftover``, and all others in their sessions.

    Each is sent SIGTERM, and ``stop_grace`` later SIGKILL.
    """
    for _ in range(ROUNDS):
        pidfds = _open_leftovers(is_leftover)
        if not pidfds:
            return
        for signal_ in (signal.SIGTERM, signal.SIGKILL):
            for pidfd in pidfds:
                with contextlib.suppress(OSError):  # the process has ended by itself
                    signal.pidfd_send_signal(pidfd, signal_)
            pidfds = _wait_for_end(pidfds, stop_grace)
        for pidfd in pidfds:
            os.close(pidfd)


def _open_leftovers(is_leftover: Callable[[Mapping[bytes, bytes]], bool]) -> list[int]:
    """Return a pidfd of each leftover: the number of a process that ends may go to another."""
    sessions = {_session(pid) for pid in _processes() if is_leftover(_environment(pid))} - {None, os.getsid(0)}
    pidfds = []
    for pid in _processes() if sessions else ():
        if _session(pid) in sessions:
            with contextlib.suppress(OSError):
                pidfd = os.pidfd_open(pid)
                if _session(pid) in sessions:
                    pidfds.append(pidfd)
                else:
                    os.close(pidfd)
    return pidfds


def _wait_for_end(pidfds: list[int], timeout: timedelta) -> list[int]:
    """Wait for processes to end, close the pidfds of those that did, and return the others."""
    poll = select.poll()
    for pidfd in pidfds:
        poll.register(pidfd, select.POLLIN)
    left = set(pidfds)
    with Deadline(timeout) as deadline:
        while left and not deadline.passed():
            for pidfd, _ in poll.poll(POLL_INTERVAL * 1000):
                poll.unregister(pidfd)
                os.close(pidfd)
                left.discard(pidfd)
    return list(left)


def _processes() -> list[int]:
    """Return the ids of all processes but this one."""
    with contextlib.suppress(OSError):
        pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
        return [pid for pid in pids if pid != os.getpid()]
    return []


def _environment(pid: int) -> dict[bytes, bytes]:
    """Return the environment of a process, empty where this user may not read it."""
    with contextlib.suppress(OSError):
        entries = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        return dict(entry.split(b"=", 1) for entry in entries if b"=" in entry)
    return {}


def _session(pid: int) -> int | None:
    """Return the session of a process, None if it has ended."""
    with contextlib.suppress(OSError):
        # pid (name) state ppid pgrp session …; the name may contain anything, brackets too
        stat = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return int(stat[3]) if stat[0] not in b"ZX" else None
    return None
