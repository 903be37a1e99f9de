"""Scan paths: where the camera arm goes, as the community's configurations name it.

A configuration holds ``[ScanPath] class_name = "Circle"`` and ``[ScanPath.kwargs]``. `read_path`
turns that table into the poses of the whole path; `find_out_of_reach` says which of them a gantry can't reach.
"""

# Annotations are evaluated here, since the paths declare keys.

import math
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from itertools import islice
from typing import Annotated, Any, Final, NamedTuple, Self

from msgspec import Struct

from plantimager.timelapse.support.faults import MISSING, Fault, Table, format_value, number, one_of, whole_number
from plantimager.timelapse.support.keys import Key, keys_of, read_keys, take_key

MAX_POINTS: Final = 10_000
"""At ten seconds a point more than a day: a larger number is a typing error, and would fill the memory."""

MAX_COORDINATE: Final = 1_000_000.0
"""mm, or degrees: no rig is larger, and no arithmetic with such numbers ends in infinity."""


class Pose(NamedTuple):
    """Where the camera arm is: x, y, z in mm, pan and tilt in degrees. None means "stay where you are"."""

    x: float | None = None
    y: float | None = None
    z: float | None = None
    pan: float | None = None
    tilt: float | None = None

    def after(self, previous: "Pose") -> "Pose":
        """Return this pose with what it leaves out taken from ``previous``."""
        return Pose(*(was if value is None else value for value, was in self._beside(previous)))

    def shifted(self, offset: "Pose") -> "Pose":
        """Return the pose of a camera that sits at ``offset`` on the arm; what is unknown stays unknown."""
        return Pose(*(None if value is None else value + (by or 0.0) for value, by in self._beside(offset)))

    def _beside(self, other: "Pose") -> Iterator[tuple[float | None, float | None]]:
        return zip(self, other, strict=True)

    def __str__(self) -> str:
        units = {"pan": "°", "tilt": "°"}
        known = ((name, value) for name, value in zip(AXES, self, strict=True) if value is not None)
        return "  ".join(f"{name} {value:.4g}{units.get(name, '')}" for name, value in known)


AXES: Final = Pose._fields
HOME: Final = Pose(0.0, 0.0, 0.0, 0.0, 0.0)


# Readers of keys.


def coordinate(value: object) -> float:
    """Return a coordinate or an offset, in mm or degrees."""
    read = number(value)
    if abs(read) > MAX_COORDINATE:
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


def _waypoints(value: object, axes: int = len(AXES)) -> tuple[tuple[float, ...], ...]:
    if not isinstance(value, list) or not value:
        raise ValueError("write a list of waypoints: [[25, 375, 0, 0, 0], …]")
    if len(value) > MAX_POINTS:
        raise ValueError(f"{len(value)} waypoints; at most {MAX_POINTS}")
    return tuple(_waypoint(i, waypoint, axes) for i, waypoint in enumerate(value, start=1))


def _waypoint(position: int, value: object, axes: int) -> tuple[float, ...]:
    if not isinstance(value, list) or len(value) != axes:
        raise ValueError(f"waypoint {position} is {format_value(value)}; write {axes} numbers, as the scheme has")
    try:
        return tuple(map(coordinate, value))
    except ValueError as refusal:
        raise ValueError(f"waypoint {position} is {format_value(value)}; {refusal}") from None


def _path_to_calibrate(value: object, faults: list[Fault] | None = None, name: str = "path") -> tuple[Pose, ...] | None:
    """Return the poses of a path within a path; what is wrong with its keys goes to ``faults``."""
    if isinstance(value, dict) and value.get("class_name") in ("CalibrationPath", "CalibrationPath2"):
        raise ValueError("a calibration path can't be calibrated; name another path")
    poses = read_path(value, [] if faults is None else faults, name)
    if poses and (poses[0].x is None or poses[0].y is None):
        raise ValueError("its points leave out x or y, so that no line can start there")
    return poses


# The paths: a class for each, whose fields are its kwargs. `poses` yields them one by one, so that a path that is far
# too long is noticed before it fills the memory.


class _Path(Struct, frozen=True, kw_only=True):
    """A path and its kwargs."""

    @classmethod
    def read(cls, kwargs: Table) -> Self:
        """Return the path of ``[ScanPath.kwargs]``; not to be walked where that added faults."""
        return cls(**read_keys(cls, kwargs))

    def poses(self) -> Iterator[Pose]:
        """Yield where the arm goes, in order."""
        raise NotImplementedError


class _Round(_Path, frozen=True, kw_only=True):
    """The kwargs of a path that goes round a centre and faces it."""

    center_x: Annotated[float, Key(coordinate, "mm")]
    center_y: Annotated[float, Key(coordinate, "mm")]
    """Where the centre is."""
    radius: Annotated[float, Key(_length, "mm")]
    """How far from the centre the arm goes round, above 0."""
    tilt: Annotated[tuple[float, ...], Key(_angles, "degrees")] = (0.0,)
    """An angle, or a list of angles: every tilt at every position."""
    n_points: Annotated[int, Key(whole_number(1, MAX_POINTS), "positions")]
    """How many positions a circle has, 1 to 10000."""

    def _circle(self, z: float) -> Iterator[Pose]:
        for i in range(self.n_points):
            angle = 2 * math.pi * i / self.n_points
            x, y = self.center_x - self.radius * math.cos(angle), self.center_y - self.radius * math.sin(angle)
            for tilt in self.tilt:
                yield Pose(x, y, z, 360.0 * i / self.n_points, tilt)


class Circle(_Round, frozen=True, kw_only=True):
    """Once round a centre, facing it."""

    z: Annotated[float, Key(coordinate, "mm")] = 0.0
    """The height."""

    def poses(self) -> Iterator[Pose]:
        """Yield the positions from the side of the lowest x on; every tilt at every position."""
        return self._circle(self.z)


class Cylinder(_Round, frozen=True, kw_only=True):
    """Circles at evenly spaced heights."""

    z_range: Annotated[tuple[float, float], Key(_range, "mm")]
    """The lowest and the highest circle: [0, 100]."""
    n_circles: Annotated[int, Key(whole_number(2, MAX_POINTS), "circles")] = 2
    """How many circles, 2 or more."""

    def poses(self) -> Iterator[Pose]:
        """Yield one circle after the other, the lowest first."""
        for z in _evenly(*self.z_range, self.n_circles):
            yield from self._circle(z)


class Line(_Path, frozen=True, kw_only=True):
    """Straight from one point to another, both included."""

    x_0: Annotated[float, Key(coordinate, "mm")]
    y_0: Annotated[float, Key(coordinate, "mm")]
    z_0: Annotated[float, Key(coordinate, "mm")]
    """Where the line begins."""
    x_1: Annotated[float, Key(coordinate, "mm")]
    y_1: Annotated[float, Key(coordinate, "mm")]
    z_1: Annotated[float, Key(coordinate, "mm")]
    """Where the line ends."""
    pan: Annotated[float | None, Key(coordinate, "degrees")]
    """Where the camera looks, the same at all positions."""
    tilt: Annotated[tuple[float | None, ...], Key(_angles, "degrees")]
    """An angle, or a list of angles: every tilt at every position."""
    n_points: Annotated[int, Key(whole_number(2, MAX_POINTS), "positions")]
    """How many positions, 2 to 10000, evenly spaced."""

    def poses(self) -> Iterator[Pose]:
        """Yield the positions; every tilt at every position."""
        ends = ((self.x_0, self.x_1), (self.y_0, self.y_1), (self.z_0, self.z_1))
        for x, y, z in zip(*(_evenly(start, stop, self.n_points) for start, stop in ends), strict=True):
            for tilt in self.tilt:
                yield Pose(x, y, z, self.pan, tilt)


class CustomPath(_Path, frozen=True, kw_only=True):
    """Any positions, one by one."""

    scheme: Annotated[tuple[str, ...], Key(_scheme)] = AXES
    """The axes that each waypoint gives, in this order; an axis that is left out stays where it is."""
    waypoints: Annotated[tuple[tuple[float, ...], ...], Key(_waypoints, "mm and degrees")]
    """A list of positions, each a list of as many numbers as ``scheme`` has axes; at most 10000."""

    @classmethod
    def read(cls, kwargs: Table) -> Self:
        """Return the path; how long a waypoint is depends on the scheme."""
        keys = keys_of(cls)
        scheme = take_key(kwargs, keys["scheme"])
        return cls(scheme=scheme, waypoints=take_key(kwargs, keys["waypoints"], partial(_waypoints, axes=len(scheme))))

    def poses(self) -> Iterator[Pose]:
        """Yield the waypoints."""
        for waypoint in self.waypoints:
            yield Pose(**dict(zip(self.scheme, waypoint, strict=True)))


class CalibrationPath(_Path, frozen=True, kw_only=True):
    """Another path, then a line along x and one along y from its first point."""

    path: Annotated[tuple[Pose, ...], Key(_path_to_calibrate)]
    """The other path: a table with ``class_name`` and ``kwargs``, of a kind that is no calibration path."""
    n_points_line: Annotated[int, Key(whole_number(2, MAX_POINTS), "positions")]
    """How many positions each line has, 2 to 10000."""

    @classmethod
    def read(cls, kwargs: Table) -> Self:
        """Return the path; faults of the path within it stand under its own name."""
        keys = keys_of(cls)
        read = partial(_path_to_calibrate, faults=kwargs.faults, name=f"{kwargs.name}.path")
        return cls(path=take_key(kwargs, keys["path"], read), n_points_line=take_key(kwargs, keys["n_points_line"]))

    def poses(self) -> Iterator[Pose]:
        """Yield the path and the lines, which show a reconstruction the true directions of the axes.

        The first line ends at half of the farthest x, because the plant stands in the middle.
        """
        yield from self.path
        first = self.path[0].after(HOME)
        x, y, z = first.x or 0.0, first.y or 0.0, first.z or 0.0
        far_x = max(pose.x for pose in self.path if pose.x is not None) / 2
        far_y = max(pose.y for pose in self.path if pose.y is not None)
        for x_1, y_1 in ((far_x, y), (x, far_y)):
            yield from Line(
                x_0=x, y_0=y, z_0=z, x_1=x_1, y_1=y_1, z_1=z, pan=first.pan, tilt=(first.tilt,),
                n_points=self.n_points_line,
            ).poses()  # fmt: skip


class CalibrationPath2(_Path, frozen=True, kw_only=True):
    """A calibration pattern shown at every place of the picture: up the left side, along the top, back, then pan."""

    center_x: Annotated[float, Key(coordinate, "mm")]
    center_y: Annotated[float, Key(coordinate, "mm")]
    """Where the centre is."""
    z: Annotated[float, Key(coordinate, "mm")]
    """The height."""
    tilt: Annotated[float, Key(coordinate, "degrees")]
    """The tilt at all positions."""
    radius: Annotated[float, Key(_length, "mm")]
    """How far the left side and the top are from the centre, above 0."""
    n_points_line: Annotated[int, Key(whole_number(4, MAX_POINTS), "positions")]
    """How many positions the left side has, 4 to 10000; the other lines have half as many."""

    def poses(self) -> Iterator[Pose]:
        """Yield the lines, then the pans at the middle of the left side."""
        left, bottom, top = self.center_x - self.radius, self.center_y - self.radius, self.center_y + self.radius
        half = self.n_points_line // 2
        straight = partial(Line, z_0=self.z, z_1=self.z, tilt=(self.tilt,))
        side = straight(x_0=left, y_0=bottom, x_1=left, y_1=top, pan=0.0, n_points=self.n_points_line)
        along = straight(x_0=left, y_0=top, x_1=self.center_x, y_1=top, pan=0.0, n_points=half)
        back = straight(x_0=self.center_x, y_0=top, x_1=left, y_1=self.center_y, pan=-45.0, n_points=half)
        for line in (side, along, back):
            yield from line.poses()
        for pan in range(-30, 30, half):  # the community's own controller takes this number for the step, in degrees
            yield Pose(left, self.center_y, self.z, float(pan), self.tilt)


def _evenly(start: float, stop: float, count: int) -> Iterator[float]:
    return (start + (stop - start) * i / (count - 1) for i in range(count))


PATHS: Final[Mapping[str, type[_Path]]] = {
    kind.__name__: kind for kind in (Circle, Cylinder, Line, CustomPath, CalibrationPath, CalibrationPath2)
}
"""The paths by their ``class_name``."""

DEFAULT_PATH: Final = tuple(Circle(center_x=375, center_y=375, radius=350, n_points=36).poses())
"""The usual path of a 740 × 740 mm gantry, for a scan whose configuration has none."""


class ScanPath(Struct, frozen=True):
    """The table ``[ScanPath]``, beside ``[ScanPath.kwargs]``."""

    class_name: Annotated[str, Key(one_of(*PATHS))]
    """The kind of the path: "Circle", "Cylinder", "Line", "CustomPath", "CalibrationPath" or "CalibrationPath2"."""


def read_path(values: object, faults: list[Fault], name: str = "ScanPath") -> tuple[Pose, ...] | None:
    """Return the poses of a ``ScanPath`` table, and add what is wrong with it to ``faults``.

    ``None`` is a path that can't be walked. Unknown keys are faults and don't keep a path from being walked: the
    check of a definition looks at the faults, and a scan of a stored configuration needs the poses.
    """
    table = Table(values, name, faults)
    class_name = read_keys(ScanPath, table)["class_name"]
    kwargs = table.subtable("kwargs")
    table.finish()
    if class_name is None:
        return None
    before = len(faults)
    path = PATHS[class_name].read(kwargs)
    sound = len(faults) == before
    kwargs.finish()
    if not sound:
        return None
    poses = tuple(islice(path.poses(), MAX_POINTS + 1))
    if len(poses) > MAX_POINTS:
        kwargs.add_fault("", f"more than {MAX_POINTS} points; write fewer")
        return None
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
