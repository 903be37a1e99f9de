"""Ending all that a program has started and left running, in whatever session and with whatever environment.

This process becomes a child subreaper: a process whose parent has ended becomes its child. Programs run in sessions of
their own (`run.run_program`), so that a child in another session than this process is such an orphan.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pwd
from pathlib import Path
from typing import TYPE_CHECKING, Final

from plantimager.timelapse.drivers.programs.processes import ProcessState, end_processes, list_processes, read_process
from plantimager.timelapse.support.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import timedelta

_PR_SET_CHILD_SUBREAPER: Final = 36

ROUNDS: Final = 10
"""How often orphans are searched: a child of an orphan becomes one when that has ended."""

MAX_NAMED: Final = 3
"""Processes that a sentence names."""


class Descendants:
    """All that the programs of one driver leave running. They run one after the other, on one thread."""

    def __init__(self) -> None:
        self._allowed: set[tuple[int, int]] = set()
        self._unended: dict[tuple[int, int], ProcessState] = {}

    def begin(self) -> None:
        """Follow what starts from now on. What runs already stays: ``prepare`` may have started it for good."""
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self._allowed = {_key(process) for process in _orphans(list_processes())} - self._unended.keys()

    def end(self, stop_grace: timedelta) -> str:
        """End what has started since `begin`; return in words what could not be ended, now and after earlier programs.

        Each is sent SIGTERM, and ``stop_grace`` later SIGKILL.
        """
        for _ in range(ROUNDS):
            families = self._find()
            if not families:
                break
            end_processes(families, stop_grace)
            self._unended |= {_key(process): process for process in families if _runs(process)}
        self._unended = {key: process for key, process in self._unended.items() if _runs(process)}
        return _describe([*self._unended.values()])

    def _find(self) -> list[ProcessState]:
        """Return the orphans and all that descends from them, without those that can't be ended."""
        processes = list_processes()
        family = {_key(process): process for process in _orphans(processes) if _key(process) not in self._allowed}
        pids = {process.pid for process in family.values()}
        grew = True
        while grew:
            children = [child for child in processes if child.parent in pids and child.pid not in pids]
            family |= {_key(child): child for child in children}
            pids |= {child.pid for child in children}
            grew = bool(children)
        return [process for key, process in family.items() if not process.has_ended and key not in self._unended]


def _key(process: ProcessState) -> tuple[int, int]:
    return process.pid, process.started


def _orphans(processes: Iterable[ProcessState]) -> list[ProcessState]:
    """Return the orphans that run, and take note of the end of those that have ended."""
    orphans = [process for process in processes if process.parent == os.getpid() and process.session != os.getsid(0)]
    for process in orphans:
        if process.has_ended:
            with contextlib.suppress(OSError):
                os.waitpid(process.pid, os.WNOHANG)
    return [process for process in orphans if not process.has_ended]


def _runs(process: ProcessState) -> bool:
    now = read_process(process.pid)
    return now is not None and now.started == process.started and not now.has_ended


def _describe(processes: Sequence[ProcessState]) -> str:
    """Return how many processes could not be ended, and which; empty where there are none."""
    if not processes:
        return ""
    named = [_describe_process(process.pid) for process in processes[:MAX_NAMED]]
    more = ["…"] if len(processes) > MAX_NAMED else []
    count = f"{len(processes)} process{'es' if len(processes) != 1 else ''}"
    return f"{count} that it started could not be ended and may go on writing: {', '.join([*named, *more])}"


def _describe_process(pid: int) -> str:
    """Return the name, user and number of a process."""
    name, user = "a process", "an unknown user"
    with contextlib.suppress(OSError, KeyError):
        name = one_line(Path(f"/proc/{pid}/comm").read_text(errors="replace"))
        user = pwd.getpwuid(Path(f"/proc/{pid}").stat().st_uid).pw_name
    return f"{name} of {user} (pid {pid})"
