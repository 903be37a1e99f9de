"""A scan in a process that is killed, as a daemon may be at any time. Run as a program, this module is that process."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NoReturn

from plantimager.timelapse.datasets import attempt
from plantimager.timelapse.drivers import load_driver
from plantimager.timelapse.drivers.base import EventMonitor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plantimager.timelapse.scan.request import ScanRequest


class KillPoint(StrEnum):
    """When the process is killed; the value is the function of `datasets.attempt` that is called then."""

    FIRST_PICTURE = ""
    """The first picture is reported."""
    BEFORE_RECEIPT = "write_durably"
    BEFORE_SYNC = "sync_tree"
    BEFORE_RENAME = "move_into_place"


def scan_until_killed(
    name: str, options: Mapping[str, Any], request: ScanRequest, at: KillPoint = KillPoint.FIRST_PICTURE
) -> None:
    """Have the driver ``name`` scan in a process that is killed with SIGKILL; return when it has ended."""
    # By its path and not as a module, which would import the whole package, pytest included.
    command = [sys.executable, "-P", __file__]
    work = pickle.dumps((name, dict(options), request, at.value))
    ended = subprocess.run(command, input=work, check=False, capture_output=True)
    assert ended.returncode == -signal.SIGKILL, f"it was not killed: {ended.stderr.decode(errors='replace')}"


def _die(*_: object, **__: object) -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("SIGKILL can't be ignored")


class _DyingMonitor(EventMonitor):
    def progress(self, done: int, total: int, note: str = "") -> None:
        del total, note
        if done:
            _die()


def _scan_and_die() -> None:
    name, options, request, at = pickle.load(sys.stdin.buffer)  # noqa: S301 - from the test that started this process
    point = KillPoint(at)
    if point is not KillPoint.FIRST_PICTURE:
        getattr(attempt, point)  # it is there under that name
        setattr(attempt, point, _die)
    monitor = _DyingMonitor() if point is KillPoint.FIRST_PICTURE else EventMonitor()
    load_driver(name, options).scan(request, monitor)


if __name__ == "__main__":
    _scan_and_die()
