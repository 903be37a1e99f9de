"""What a gantry can't reach of a path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from plantimager.timelapse.scan.paths import path_of
from plantimager.timelapse.support.faults import MISSING, Fault

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from plantimager.timelapse.scan.pose import Pose

TOLERANCE: Final = 1e-6
"""mm or degrees by which a pose may exceed a limit: the cosine of a right angle isn't quite zero."""


class OutOfReach(Struct, frozen=True):
    """The position of a path that is farthest beyond a gantry's limits."""

    position: int
    """Counted from 1, as people do."""
    axis: str
    value: float
    """Where the position is on that axis, mm or degrees."""
    limits: tuple[float, float]
    """Lowest and highest of the axis, mm or degrees."""

    def __str__(self) -> str:
        unit = "°" if self.axis in ("pan", "tilt") else " mm"
        low, high = self.limits
        return (
            f"position {self.position} ({self.axis} = {self.value:g}{unit}) leaves the gantry's {low:g}-{high:g}{unit}"
        )


def find_out_of_reach(poses: Iterable[Pose], limits: Mapping[str, tuple[float, float]]) -> OutOfReach | None:
    """Return the pose that is farthest beyond ``limits`` (axis to lowest and highest, mm or degrees), None if none is.

    An axis that a pose leaves out, or that has no limits, is within reach.
    """
    worst, excess = None, TOLERANCE
    for position, pose in enumerate(poses, start=1):
        for axis, (low, high) in limits.items():
            value = getattr(pose, axis)
            if value is not None and (beyond := max(low - value, value - high)) > excess:
                worst, excess = OutOfReach(position, axis, round(value, 3), (low, high)), beyond
    return worst


def check_reach(configuration: Mapping[str, Any], limits: Mapping[str, tuple[float, float]]) -> list[Fault]:
    """Return the fault of a scan configuration whose path leaves ``limits``; for `ScannerDriver.check`.

    ``limits`` are those of `find_out_of_reach`. Faults of the table itself are left out: they are reported when the
    definition is read.
    """
    poses = path_of(configuration, [])
    outside = find_out_of_reach(poses, limits) if poses else None
    if outside is None:
        return []
    table = configuration.get("ScanPath")
    kwargs = table.get("kwargs", {}) if isinstance(table, dict) else {}
    key = next((key for key in ("radius", "waypoints") if key in kwargs), "")
    return [Fault("ScanPath.kwargs", key, kwargs.get(key, MISSING), str(outside))]
