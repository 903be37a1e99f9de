"""Scan paths: where the camera arm goes, as the community's configurations name it.

A configuration holds ``[ScanPath] class_name = "Circle"`` and ``[ScanPath.kwargs]``. `read_path`
turns that table into the poses of the whole path; `find_out_of_reach` says which of them a gantry can't reach.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from plantimager.timelapse.support.faults import MISSING, Fault, Table, format_value, number, one_of, whole_number

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

MOST_POINTS: Final = 10_000
"""At ten seconds a point more than a day: a larger number is a slip of the pen, and would fill memory."""

FARTHEST: Final = 1_000_000.0
"""mm, or degrees: no rig is larger, and no arithmetic with such numbers ends in infinity."""


class Pose(NamedTuple):
    """Where the camera arm is: x, y, z in mm, pan and tilt in degrees. None means "stay where you are"."""

    x: float | None = None
    y: float | None = None
    z: float | None = None
    pan: float | None = None
    tilt: float | None = None

    def after(self, previous: Pose) -> Pose:
        """Return this pose with what it leaves out taken from ``previous``."""
        return Pose(*(was if value is None else value for value, was in self._beside(previous)))

    def shifted(self, offset: Pose) -> Pose:
        """Return the pose of a camera that sits at ``offset`` on the arm; what is unknown stays unknown."""
        return Pose(*(None if value is None else value + (by or 0.0) for value, by in self._beside(offset)))

    def _beside(self, other: Pose) -> Iterator[tuple[float | None, float | None]]:
        return zip(self, other, strict=True)

    def __str__(self) -> str:
        units = {"pan": "°", "tilt": "°"}
        known = ((name, value) for name, value in zip(AXES, self, strict=True) if value is not None)
        return "  ".join(f"{name} {value:.4g}{units.get(name, '')}" for name, value in known)


AXES: Final = Pose._fields
HOME: Final = Pose(0.0, 0.0, 0.0, 0.0, 0.0)


# The paths. Each yields its poses one by one, so that a path that is far too long is noticed before it is made.


def circle(
    *, center_x: float, center_y: float, z: float, tilt: Sequence[float], radius: float, n_points: int
) -> Iterator[Pose]:
    """Go round a centre and face it; every tilt at every position."""
    for i in range(n_points):
        angle = 2 * math.pi * i / n_points
        x, y = center_x - radius * math.cos(angle), center_y - radius * math.sin(angle)
        for one_tilt in tilt:
            yield Pose(x, y, z, 360.0 * i / n_points, one_tilt)


def cylinder(*, z_range: tuple[float, float], n_circles: int, **of_a_circle: Any) -> Iterator[Pose]:
    """Go round in circles at evenly spaced heights, the ends of ``z_range`` included."""
    for z in _evenly(*z_range, n_circles):
        yield from circle(z=z, **of_a_circle)


def line(
    *, x_0: float, y_0: float, z_0: float, x_1: float, y_1: float, z_1: float,
    pan: float | None, tilt: Sequence[float | None], n_points: int,
) -> Iterator[Pose]:  # fmt: skip
    """Go straight from one point to another, both included; every tilt at every position."""
    axes = (_evenly(x_0, x_1, n_points), _evenly(y_0, y_1, n_points), _evenly(z_0, z_1, n_points))
    for x, y, z in zip(*axes, strict=True):
        for one_tilt in tilt:
            yield Pose(x, y, z, pan, one_tilt)


def custom(*, waypoints: Sequence[Sequence[float]], scheme: Sequence[str]) -> Iterator[Pose]:
    """Go where ``waypoints`` say; an axis that ``scheme`` leaves out stays where it is."""
    for waypoint in waypoints:
        yield Pose(**dict(zip(scheme, waypoint, strict=True)))


def calibration(*, path: Sequence[Pose], n_points_line: int) -> Iterator[Pose]:
    """Walk ``path``, then from its first point a line along x and one along y.

    The lines show a reconstruction the true directions of the axes. The first ends at half of the farthest x,
    because the plant stands in the middle.
    """
    yield from path
    first = path[0].after(HOME)
    x, y, z = first.x or 0.0, first.y or 0.0, first.z or 0.0
    far_x = max(pose.x for pose in path if pose.x is not None) / 2
    far_y = max(pose.y for pose in path if pose.y is not None)
    along = partial(line, x_0=x, y_0=y, z_0=z, z_1=z, pan=first.pan, tilt=(first.tilt,), n_points=n_points_line)
    yield from along(x_1=far_x, y_1=y)
    yield from along(x_1=x, y_1=far_y)


def calibration_2(
    *, center_x: float, center_y: float, radius: float, z: float, tilt: float, n_points_line: int
) -> Iterator[Pose]:
    """Show a calibration pattern at every place of the picture: up the left side, along the top, back, then pan."""
    left, bottom, top = center_x - radius, center_y - radius, center_y + radius
    half = n_points_line // 2
    straight = partial(line, z_0=z, z_1=z, tilt=(tilt,))
    yield from straight(x_0=left, y_0=bottom, x_1=left, y_1=top, pan=0.0, n_points=n_points_line)
    yield from straight(x_0=left, y_0=top, x_1=center_x, y_1=top, pan=0.0, n_points=half)
    yield from straight(x_0=center_x, y_0=top, x_1=left, y_1=center_y, pan=-45.0, n_points=half)
    for pan in range(-30, 30, half):  # the community's own controller takes this number for the step, in degrees
        yield Pose(left, center_y, z, float(pan), tilt)


def _evenly(start: float, stop: float, count: int) -> Iterator[float]:
    return (start + (stop - start) * i / (count - 1) for i in range(count))


DEFAULT_PATH: Final = tuple(circle(center_x=375, center_y=375, z=0, tilt=(0,), radius=350, n_points=36))
"""The usual path of a 740 × 740 mm gantry, for a scan whose configuration has none."""


# Reading them from a configuration.


def read_path(values: object, faults: list[Fault], name: str = "ScanPath") -> tuple[Pose, ...] | None:
    """Return the poses of a ``ScanPath`` table, and add what is wrong with it to ``faults``.

    Unknown keys are faults, but don't keep a path from being walked: whoever checks a definition
    looks at ``faults``, whoever has a plant waiting looks at the poses. None: there is no walking it.
    """
    table = Table(values, name, faults)
    class_name = table.take("class_name", one_of(*_READERS))
    kwargs = table.subtable("kwargs")
    table.finish()
    if class_name is None:
        return None
    before = len(faults)
    make = _READERS[class_name](kwargs)
    sound = len(faults) == before
    kwargs.finish()
    if not sound:
        return None
    poses = tuple(islice(make(), MOST_POINTS + 1))
    if len(poses) > MOST_POINTS:
        faults.append(Fault(kwargs.name, "", MISSING, f"more than {MOST_POINTS} points; write fewer"))
        return None
    return poses


_Make = Callable[[], Iterator[Pose]]


def _circle(kwargs: Table) -> _Make:
    return partial(circle, **_round(kwargs), z=kwargs.take("z", coordinate, 0.0))


def _cylinder(kwargs: Table) -> _Make:
    values = _round(kwargs)
    values["z_range"] = kwargs.take("z_range", _range)
    values["n_circles"] = kwargs.take("n_circles", whole_number(2, MOST_POINTS), 2)
    return partial(cylinder, **values)


def _round(kwargs: Table) -> dict[str, Any]:
    return {
        "center_x": kwargs.take("center_x", coordinate),
        "center_y": kwargs.take("center_y", coordinate),
        "radius": kwargs.take("radius", _length),
        "tilt": kwargs.take("tilt", _angles, (0.0,)),
        "n_points": kwargs.take("n_points", whole_number(1, MOST_POINTS)),
    }


def _line(kwargs: Table) -> _Make:
    values: dict[str, Any] = _numbers(kwargs, "x_0", "y_0", "z_0", "x_1", "y_1", "z_1", "pan")
    values["tilt"] = kwargs.take("tilt", _angles)
    values["n_points"] = kwargs.take("n_points", whole_number(2, MOST_POINTS))
    return partial(line, **values)


def _custom(kwargs: Table) -> _Make:
    values: dict[str, Any] = {"scheme": kwargs.take("scheme", _scheme, AXES)}
    values["waypoints"] = kwargs.take("waypoints", partial(_waypoints, length=len(values["scheme"])))
    return partial(custom, **values)


def _calibration(kwargs: Table) -> _Make:
    read = partial(_path_to_calibrate, faults=kwargs.faults, name=f"{kwargs.name}.path")
    values: dict[str, Any] = {"path": kwargs.take("path", read)}
    values["n_points_line"] = kwargs.take("n_points_line", whole_number(2, MOST_POINTS))
    return partial(calibration, **values)


def _calibration_2(kwargs: Table) -> _Make:
    values: dict[str, Any] = _numbers(kwargs, "center_x", "center_y", "z", "tilt")
    values["radius"] = kwargs.take("radius", _length)
    values["n_points_line"] = kwargs.take("n_points_line", whole_number(4, MOST_POINTS))  # half of it is a line, too
    return partial(calibration_2, **values)


def _numbers(kwargs: Table, *keys: str) -> dict[str, Any]:
    return {key: kwargs.take(key, coordinate) for key in keys}


_READERS: Final[dict[str, Callable[[Table], _Make]]] = {
    "Circle": _circle,
    "Cylinder": _cylinder,
    "Line": _line,
    "CustomPath": _custom,
    "CalibrationPath": _calibration,
    "CalibrationPath2": _calibration_2,
}


def coordinate(value: object) -> float:
    """Read a coordinate or an offset, in mm or degrees."""
    read = number(value)
    if abs(read) > FARTHEST:
        raise ValueError("beyond a kilometre; write mm or degrees")
    return read


def _length(value: object) -> float:
    length = coordinate(value)
    if length <= 0:
        raise ValueError("write a length in mm, above 0")
    return length


def _angles(value: object) -> tuple[float, ...]:
    angles = value if isinstance(value, list) else [value]
    if not angles:
        raise ValueError("write an angle in degrees, or a list of them")
    return tuple(map(coordinate, angles))


def _range(value: object) -> tuple[float, float]:
    if not isinstance(value, list) or len(value) != 2:
        raise ValueError("write two heights in mm, the lower first: [0, 100]")
    low, high = map(coordinate, value)
    if low > high:
        raise ValueError("write the lower height first")
    return low, high


def _scheme(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(axis in AXES for axis in value):
        raise ValueError(f"write a list of axes out of {', '.join(AXES)}")
    if len(set(value)) < len(value):
        raise ValueError("an axis stands there twice")
    return tuple(value)


def _waypoints(value: object, length: int) -> list[tuple[float, ...]]:
    if not isinstance(value, list) or not value:
        raise ValueError("write a list of waypoints: [[25, 375, 0, 0, 0], …]")
    if len(value) > MOST_POINTS:
        raise ValueError(f"{len(value)} waypoints; at most {MOST_POINTS}")
    for i, waypoint in enumerate(value, start=1):
        if not isinstance(waypoint, list) or len(waypoint) != length:
            raise ValueError(f"waypoint {i} is {format_value(waypoint)}; write {length} numbers, as the scheme has")
        try:
            list(map(coordinate, waypoint))
        except ValueError as refusal:
            raise ValueError(f"waypoint {i} is {format_value(waypoint)}; {refusal}") from None
    return [tuple(map(float, waypoint)) for waypoint in value]


def _path_to_calibrate(value: object, faults: list[Fault], name: str) -> tuple[Pose, ...] | None:
    if isinstance(value, dict) and value.get("class_name") in ("CalibrationPath", "CalibrationPath2"):
        raise ValueError("a calibration path can't be calibrated; name another path")
    poses = read_path(value, faults, name)
    if poses and (poses[0].x is None or poses[0].y is None):
        raise ValueError("its points leave out x or y, so that no line can start there")
    return poses


# What a gantry can reach.


class OutOfReach(NamedTuple):
    """The point of a path that lies farthest beyond a gantry's limits."""

    point: int
    """Counted from 1, as people do."""
    axis: str
    at: float
    limits: tuple[float, float]

    def __str__(self) -> str:
        unit = "°" if self.axis in ("pan", "tilt") else " mm"
        low, high = self.limits
        return f"point {self.point} ({self.axis} = {self.at:g}{unit}) leaves the gantry's {low:g}-{high:g}{unit}"


REACH: Final = 1e-6
"""mm or degrees that a pose may be beyond a limit: the cosine of a right angle isn't quite zero."""


def find_out_of_reach(poses: Iterable[Pose], limits: Mapping[str, tuple[float, float]]) -> OutOfReach | None:
    """Return the pose that is farthest beyond ``limits`` (axis to lowest and highest, mm or degrees), if any is."""
    worst, excess = None, REACH
    for point, pose in enumerate(poses, start=1):
        for axis, (low, high) in limits.items():
            at = getattr(pose, axis)
            if at is not None and (over := max(low - at, at - high)) > excess:
                worst, excess = OutOfReach(point, axis, round(at, 3), (low, high)), over
    return worst


def check_reach(configuration: Mapping[str, Any], limits: Mapping[str, tuple[float, float]]) -> list[Fault]:
    """Return the fault of a configuration whose path leaves ``limits``; for `ScannerDriver.check`.

    Faults of the table itself are not repeated here; they are found when a definition is read.
    """
    table = configuration.get("ScanPath")
    poses = read_path(table, []) if table is not None else DEFAULT_PATH
    outside = find_out_of_reach(poses, limits) if poses else None
    if outside is None:
        return []
    kwargs = table.get("kwargs", {}) if isinstance(table, dict) else {}
    key = next((key for key in ("radius", "waypoints") if key in kwargs), "")
    return [Fault("ScanPath.kwargs", key, kwargs.get(key, MISSING), str(outside))]
