"""A scan in a process that is killed, as a daemon may be at any time. Run as a program, this module is that process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from plantimager.timelapse.datasets import attempt
from plantimager.timelapse.drivers import load_driver
from plantimager.timelapse.drivers.base import EventMonitor
from plantimager.timelapse.scan.request import ScanRequest

if TYPE_CHECKING:
    from collections.abc import Mapping


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
    work = {
        "name": name,
        "options": dict(options),
        "at": at,
        "request": {
            "scan_id": request.scan_id,
            "timelapse_id": request.timelapse_id,
            "index": request.index,
            "attempt": request.attempt,
        },
        "scheduled_at": request.scheduled_at.isoformat(),
        "dataset_dir": str(request.dataset_dir),
        "configuration": dict(request.configuration),
    }
    # By its path and not as a module, which would import the whole package, pytest included.
    command = [sys.executable, "-P", __file__]
    ended = subprocess.run(command, input=json.dumps(work), text=True, check=False, capture_output=True)
    assert ended.returncode == -signal.SIGKILL, f"it was not killed: {ended.stderr}"


def _die(*_: object, **__: object) -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("SIGKILL can't be ignored")


class _DyingMonitor(EventMonitor):
    def progress(self, done: int, total: int, note: str = "") -> None:
        del total, note
        if done:
            _die()


def _scan_and_die() -> None:
    work = json.load(sys.stdin)
    point = KillPoint(work["at"])
    if point is not KillPoint.FIRST_PICTURE:
        getattr(attempt, point)  # it is there under that name
        setattr(attempt, point, _die)
    request = ScanRequest(
        **work["request"],
        scheduled_at=datetime.fromisoformat(work["scheduled_at"]),
        dataset_dir=Path(work["dataset_dir"]),
        configuration=work["configuration"],
    )
    monitor = _DyingMonitor() if point is KillPoint.FIRST_PICTURE else EventMonitor()
    load_driver(work["name"], work["options"]).scan(request, monitor)


if __name__ == "__main__":
    _scan_and_die()
