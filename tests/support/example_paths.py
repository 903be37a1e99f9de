"""The arguments of a path of each kind, and its poses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plantimager.timelapse.scan.paths import read_path

if TYPE_CHECKING:
    from plantimager.timelapse.scan.pose import Pose

CIRCLE = {"center_x": 375, "center_y": 375, "z": 0, "tilt": 0, "radius": 350, "n_points": 36}
LINE = {"x_0": 0, "y_0": 0, "z_0": 0, "x_1": 100, "y_1": 50, "z_1": 10, "pan": 90, "tilt": 0, "n_points": 3}
CALIBRATION_2 = {"center_x": 375, "center_y": 375, "radius": 300, "z": 0, "tilt": 5, "n_points_line": 10}


def poses_of(class_name: str, kwargs: dict[str, Any]) -> tuple[Pose, ...]:
    """Return the poses of a path that has no faults."""
    faults = []
    poses = read_path({"class_name": class_name, "kwargs": kwargs}, faults)
    assert faults == []
    return poses
