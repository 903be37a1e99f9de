"""Ending the processes that a killed daemon left running.

They are found by their environment, which a process has from its first instruction on, which its children inherit, and
which no process has after a reboot. So there is no file of process ids that could be out of date.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from plantimager.timelapse.drivers.programs.processes import end_processes, list_processes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import timedelta

    from plantimager.timelapse.drivers.programs.processes import ProcessState

ROUNDS: Final = 3
"""How often leftovers are searched: one may be started while its parent is being ended."""


def end_leftovers(is_leftover: Callable[[Mapping[bytes, bytes]], bool], stop_grace: timedelta) -> None:
    """End the processes whose environment ``is_leftover``, and all others in their sessions.

    Each is sent SIGTERM, and ``stop_grace`` later SIGKILL.
    """
    for _ in range(ROUNDS):
        leftovers = _find_leftovers(is_leftover)
        if not leftovers:
            return
        end_processes(leftovers, stop_grace)


def _find_leftovers(is_leftover: Callable[[Mapping[bytes, bytes]], bool]) -> list[ProcessState]:
    running = [process for process in list_processes() if not process.has_ended]
    sessions = {process.session for process in running if is_leftover(_environment(process.pid))} - {os.getsid(0)}
    return [process for process in running if process.session in sessions]


def _environment(pid: int) -> dict[bytes, bytes]:
    """Return the environment of a process, empty where this user may not read it."""
    with contextlib.suppress(OSError):
        entries = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        return dict(entry.split(b"=", 1) for entry in entries if b"=" in entry)
    return {}
