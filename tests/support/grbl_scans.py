"""The scans of a GRBL rig's tests: their configurations, and the poses that were recorded."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from plantimager.timelapse.drivers.testing import CONFIGURATION

if TYPE_CHECKING:
    from pathlib import Path

    from plantimager.timelapse.scan.request import ScanRequest

RELEASED = ["scan_light off", "growth_light on"]
INTERRUPTED = ["growth_light off", "scan_light on"]
"""What the switches log when the growth light is released, and when it is interrupted."""


def path_of(*waypoints: list[float], scheme: tuple[str, ...] = ("x", "y", "pan")) -> dict[str, Any]:
    """Return a scan configuration whose path has these waypoints."""
    kwargs = {"scheme": list(scheme), "waypoints": [list(waypoint) for waypoint in waypoints]}
    return {"ScanPath": {"class_name": "CustomPath", "kwargs": kwargs}, "top": CONFIGURATION["top"]}


def recorded_poses(request: ScanRequest) -> list[list[float]]:
    """Return the recorded poses of a dataset."""
    files = sorted((request.dataset_dir / "metadata" / "images").iterdir())
    return [json.loads(file.read_text())["approximate_pose"] for file in files]


def facts_of(request: ScanRequest) -> list[dict[str, Any]]:
    """Return what the metadata of each picture says of its taking."""
    files = sorted((request.dataset_dir / "metadata" / "images").iterdir())
    return [json.loads(file.read_text())["timelapsed"] for file in files]


def log_of(faults: Path, word: str) -> list[str]:
    """Return the lines of a camera's log that begin with a word; ``faults`` is the directory of `faulty_gphoto2`."""
    return [line for line in (faults / "log").read_text().splitlines() if line.startswith(word)]
