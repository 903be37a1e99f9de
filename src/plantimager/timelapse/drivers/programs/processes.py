"""The processes of this host: ending some of them, and all that programs and killed daemons have left running."""

from __future__ import annotations

import contextlib
import ctypes
import os
import pwd
import select
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from msgspec import Struct

from plantimager.timelapse.drivers.deadline import Deadline
from plantimager.timelapse.support.text import one_line

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import timedelta


ProcessKey: TypeAlias = tuple[int, int]
"""Number and start of a process."""

POLL_INTERVAL: Final = 0.1
"""Seconds between two looks at whether a wait for a program has to end."""

ROUNDS: Final = 10
"""How often processes to end are searched: one may be started while its parent is being ended."""

MAX_NAMED: Final = 3
"""Processes that a sentence names."""

MAX_LEFT: Final = 4
"""Processes that programs may leave running, such as one that holds a GPIO line; more of them pile up."""

_PR_SET_CHILD_SUBREAPER: Final = 36


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


# --- what a killed daemon left running ----------------------------------------------------------------------


def end_leftovers(is_leftover: Callable[[Mapping[bytes, bytes]], bool], stop_grace: timedelta) -> None:
    """End the processes whose environment ``is_leftover``, and all others in their sessions.

    A process has its environment from its first instruction on, its children inherit it, and no process has it after a
    reboot: there is no file of process ids that could be out of date.
    """
    for _ in range(ROUNDS):
        running = [process for process in list_processes() if not process.has_ended]
        sessions = {process.session for process in running if is_leftover(_environment(process.pid))} - {os.getsid(0)}
        leftovers = [process for process in running if process.session in sessions]
        if not leftovers:
            return
        end_processes(leftovers, stop_grace)


def _environment(pid: int) -> dict[bytes, bytes]:
    """Return the environment of a process, empty where this user may not read it."""
    with contextlib.suppress(OSError):
        entries = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        return dict(entry.split(b"=", 1) for entry in entries if b"=" in entry)
    return {}


# --- what a program left running ----------------------------------------------------------------------------


class Descendants:
    """All that the programs of this process leave running, in whatever session and with whatever environment.

    This process becomes a child subreaper: a process whose parent has ended becomes its child. Programs run in sessions
    of their own, so that a child in another session that is no running program is such an orphan. Any thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._programs: set[int] = set()
        """The programs that run, and whose end somebody waits for."""
        self._left: dict[ProcessKey, ProcessState] = {}
        """What programs have left running that may do so."""
        self._unended: dict[ProcessKey, ProcessState] = {}
        self._ended = frozenset[ProcessKey]()
        """Orphans, or programs of a driver by others, that had ended when the last program was started."""

    def start(
        self, start: Callable[[], subprocess.Popen[bytes]]
    ) -> tuple[subprocess.Popen[bytes], frozenset[ProcessKey]]:
        """Start a program; return it, and what already runs and stays: `end` is given that."""
        with self._lock:
            with contextlib.suppress(OSError, AttributeError):
                ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
            orphans = self._orphans(list_processes())
            self._reap(orphans)
            running = {_key(process) for process in orphans if not process.has_ended}
            before = running - self._unended.keys()
            process = start()
            self._programs.add(process.pid)
        return process, frozenset(before)

    def end(self, pid: int, before: frozenset[ProcessKey], stop_grace: timedelta, *, may_leave: bool) -> str:
        """End all that has started since ``before``, unless the program ``pid``, which has ended, ``may_leave`` it.

        Returns in words what could not be ended, now and after earlier programs, and what piles up.
        """
        for _ in range(ROUNDS):
            families = self._find(pid, before)
            if may_leave:
                self._left |= {_key(process): process for process in families}
            if may_leave or not families:
                break
            end_processes(families, stop_grace)
            self._unended |= {_key(process): process for process in families if _runs(process)}
        return self.describe_remaining()

    @property
    def left(self) -> frozenset[ProcessKey]:
        """What programs have left running by now that may do so."""
        return frozenset(self._left)

    def end_left(self, left: frozenset[ProcessKey], stop_grace: timedelta) -> str:
        """End what programs have left running, and all that it has started; return what could not be ended."""
        running = [process for key in left if (process := self._left.pop(key, None)) is not None and _runs(process)]
        family = [*running, *descendants_of({process.pid for process in running}, list_processes())]
        end_processes(family, stop_grace)
        unended = [process for process in family if _runs(process)]
        self._unended |= {_key(process): process for process in unended}
        return _describe(unended, "that an earlier program has left could not be ended")

    def describe_remaining(self) -> str:
        """Return in words what could not be ended, and what piles up; empty where nothing does."""
        for known in (self._unended, self._left):
            for key in [key for key, process in [*known.items()] if not _runs(process)]:
                known.pop(key, None)
        piled = self._left.values() if len(self._left) > MAX_LEFT else ()
        words = "that it started could not be ended and may go on writing", "that other programs have left still run"
        sentences = map(_describe, ([*self._unended.values()], [*piled]), words)
        return "; ".join(filter(None, sentences))

    def _find(self, pid: int, before: frozenset[ProcessKey]) -> list[ProcessState]:
        """Return the new orphans and all that descends from them, without those that can't be ended."""
        with self._lock:
            self._programs.discard(pid)
            processes = list_processes()
            orphans = [process for process in self._orphans(processes) if _key(process) not in before]
        family = [*orphans, *descendants_of({process.pid for process in orphans}, processes)]
        return [process for process in family if not process.has_ended and _key(process) not in self._unended]

    def _orphans(self, processes: Iterable[ProcessState]) -> list[ProcessState]:
        """Return the orphans, also those that have ended."""
        us, session = os.getpid(), os.getsid(0)
        children = [process for process in processes if process.parent == us and process.session != session]
        return [process for process in children if process.pid not in self._programs]

    def _reap(self, orphans: Iterable[ProcessState]) -> None:
        """Take note of the end of orphans that had already ended when the program before was started.

        One that ended later may be a program of a driver by others, which is about to ask for its exit status.
        """
        ended = {_key(process): process for process in orphans if process.has_ended}
        for key in ended.keys() & self._ended:
            with contextlib.suppress(OSError):  # somebody else has done it
                os.waitpid(ended[key].pid, os.WNOHANG)
        self._ended = frozenset(ended)


DESCENDANTS: Final = Descendants()
"""Of this process: to be a subreaper is a property of a process as a whole."""


def descendants_of(pids: set[int], processes: Sequence[ProcessState]) -> list[ProcessState]:
    """Return all that descends from processes."""
    known, family = {*pids}, list[ProcessState]()
    while children := [child for child in processes if child.parent in known and child.pid not in known]:
        family += children
        known |= {child.pid for child in children}
    return family


def _key(process: ProcessState) -> ProcessKey:
    return process.pid, process.started


def _runs(process: ProcessState) -> bool:
    now = read_process(process.pid)
    return now is not None and now.started == process.started and not now.has_ended


def _describe(processes: Sequence[ProcessState], what: str) -> str:
    """Return how many processes there are, and which; empty where there are none."""
    if not processes:
        return ""
    named = [_describe_process(process.pid) for process in processes[:MAX_NAMED]]
    more = ["…"] if len(processes) > MAX_NAMED else []
    count = f"{len(processes)} process{'es' if len(processes) != 1 else ''}"
    return f"{count} {what}: {', '.join([*named, *more])}"


def _describe_process(pid: int) -> str:
    """Return the name, user and number of a process."""
    name, user = "a process", "an unknown user"
    with contextlib.suppress(OSError, KeyError):
        name = one_line(Path(f"/proc/{pid}/comm").read_text(errors="replace"))
        user = pwd.getpwuid(Path(f"/proc/{pid}").stat().st_uid).pw_name
    return f"{name} of {user} (pid {pid})"
