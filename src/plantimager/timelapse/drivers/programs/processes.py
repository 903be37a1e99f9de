"""The processes of this host: their state in ``/proc``, and ending some of them."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from plantimager.timelapse.drivers.deadline import Deadline

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import timedelta

POLL_INTERVAL: Final = 0.1
"""Seconds between two looks at whether the time to end has passed."""


class ProcessState(Struct, frozen=True):
    """A process, as ``/proc/PID/stat`` has it."""

    pid: int
    parent: int
    session: int
    started: int
    """Clock ticks after boot; with the pid it is the process's own for ever."""
    has_ended: bool
    """Whether it only waits for its parent to notice."""


def list_processes() -> list[ProcessState]:
    """Return all processes but this one."""
    with contextlib.suppress(OSError):
        pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
        return [state for pid in pids if pid != os.getpid() and (state := read_process(pid)) is not None]
    return []


def read_process(pid: int) -> ProcessState | None:
    """Return the state of a process, None if it is gone."""
    with contextlib.suppress(OSError):
        # pid (name) state ppid pgrp session … starttime; the name may contain anything, brackets too
        stat = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return ProcessState(pid, int(stat[1]), int(stat[3]), int(stat[19]), stat[0] in b"ZX")
    return None


def open_process(process: ProcessState) -> int | None:
    """Return a pidfd of a process, None if it has ended: its number may go to another."""
    with contextlib.suppress(OSError):
        pidfd = os.pidfd_open(process.pid)
        now = read_process(process.pid)
        if now is not None and now.started == process.started and not now.has_ended:
            return pidfd
        os.close(pidfd)
    return None


def end_processes(processes: Iterable[ProcessState], stop_grace: timedelta) -> None:
    """Send SIGTERM to processes, and ``stop_grace`` later SIGKILL; wait for their end as long as that.

    Nobody waits for one that may not be signalled: it is another user's.
    """
    pidfds = [pidfd for process in processes if (pidfd := open_process(process)) is not None]
    for signal_ in (signal.SIGTERM, signal.SIGKILL):
        pidfds = _wait_for_end([pidfd for pidfd in pidfds if _send(pidfd, signal_)], stop_grace)
    for pidfd in pidfds:
        os.close(pidfd)


def _send(pidfd: int, signal_: signal.Signals) -> bool:
    """Send a signal; return whether it may be sent. The pidfd is closed if not."""
    try:
        signal.pidfd_send_signal(pidfd, signal_)
    except PermissionError:
        os.close(pidfd)
        return False
    except OSError:  # the process has ended by itself
        pass
    return True


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
