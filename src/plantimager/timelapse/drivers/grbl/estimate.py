"""How long a scan of a path takes, from what the options say of the board and without asking it."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from plantimager.timelapse.drivers.gantry.board_settings import BoardSettings
from plantimager.timelapse.drivers.gantry.motion import ZERO, position_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plantimager.timelapse.drivers.gantry.arm_options import ArmOptions
    from plantimager.timelapse.drivers.grbl.rig_options import RigOptions
    from plantimager.timelapse.scan.pose import Pose

EXPOSURE: Final = timedelta(seconds=2)
"""What a camera takes for an exposure and its transfer, roughly; all cameras expose at the same time."""


def estimate_scan(rig: RigOptions, poses: Sequence[Pose]) -> timedelta | None:
    """Return how long a scan takes; ``None`` where the options give neither ``feed`` nor the board's speeds."""
    board = _board_of(rig.arm)
    if board is None:
        return None
    moving, position = 0.0, ZERO
    for pose in poses:
        goal = position_of(pose, position, rig.arm.limits)
        moving += board.move_time(position, goal, rig.arm.feed)
        position = goal
    if not rig.arm.homing:
        moving += board.move_time(position, ZERO, rig.arm.feed)
    return timedelta(seconds=moving) + (rig.settle + EXPOSURE) * len(poses)


def _board_of(arm: ArmOptions) -> BoardSettings | None:
    """Return the speeds and accelerations that the options name; an acceleration that they don't costs no time."""
    speeds = {number: arm.expected.get(number, arm.feed) for number in (110, 111, 112)}
    accelerations = {number: arm.expected.get(number, math.inf) for number in (120, 121, 122)}
    known = {number: speed for number, speed in speeds.items() if speed is not None and speed > 0}
    if len(known) < len(speeds) or min(accelerations.values()) <= 0:
        return None
    return BoardSettings({**known, **accelerations})
