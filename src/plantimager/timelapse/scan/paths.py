"""The six scan paths, each a class whose fields are its kwargs and whose `poses` are the poses of a scan.

A configuration has ``[ScanPath] class_name = "Circle"`` and ``[ScanPath.kwargs]``. Names, arguments and formulas are
those of the community's controller (``plantimager.controller.scanner.path`` of the Plant Imager 3), so that a
configuration gives the same pictures with either program. Lengths are in mm, angles in degrees. The axes are those of
the gantry; pan 0 looks along +x, and pan counts towards +y.
"""

# Annotations are evaluated here, since the paths declare keys.

import math
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import islice
from typing import Annotated, Any, Final, Self

from msgspec import Struct

from plantimager.timelapse.scan import values
from plantimager.timelapse.scan.pose import AXES, HOME, Pose
from plantimager.timelapse.scan.values import MAX_POSITIONS, coordinate
from plantimager.timelapse.support.faults import Fault, Table, one_of, whole_number
from plantimager.timelapse.support.keys import Key, keys_of, read_key, read_keys


class BasePath(Struct, frozen=True, kw_only=True):
    """A path and its kwargs. A path's `poses` come one by one: one that is far too long must not fill memory."""

    @classmethod
    def read(cls, kwargs: Table) -> Self:
        """Return the path of ``[ScanPath.kwargs]``. If that added faults, `poses` can't be called."""
        return cls(**read_keys(cls, kwargs))


class _RoundPath(BasePath, frozen=True, kw_only=True):
    """The kwargs of a path that goes round a centre and faces it."""

    center_x: Annotated[float, Key(coordinate, "mm")]
    center_y: Annotated[float, Key(coordinate, "mm")]
    """Where the centre is."""
    radius: Annotated[float, Key(values.length, "mm")]
    """How far from the centre the arm goes round, above 0."""
    tilt: Annotated[tuple[float, ...], Key(values.angles, "degrees")] = (0.0,)
    """An angle, or a list of angles: every tilt at every position."""
    n_points: Annotated[int, Key(whole_number(1, MAX_POSITIONS), "positions")]
    """How many positions a circle has, 1 to 10000."""

    def _circle(self, z: float) -> Iterator[Pose]:
        for i in range(self.n_points):
            angle = 2 * math.pi * i / self.n_points
            x, y = self.center_x - self.radius * math.cos(angle), self.center_y - self.radius * math.sin(angle)
            for tilt in self.tilt:
                yield Pose(x, y, z, 360.0 * i / self.n_points, tilt)


class Circle(_RoundPath, frozen=True, kw_only=True):
    """Once round a centre, facing it."""

    z: Annotated[float, Key(coordinate, "mm")] = 0.0
    """The height."""

    def poses(self) -> Iterator[Pose]:
        """Yield ``n_points * len(tilt)`` poses; the first is on the side of the smaller x.

        Position i of n is at the angle a = 360° i / n: x = center_x - radius cos a, y = center_y - radius sin a,
        pan = a. Every tilt is taken at every position, in the order of the list.
        """
        return self._circle(self.z)


class Cylinder(_RoundPath, frozen=True, kw_only=True):
    """Circles at evenly spaced heights."""

    z_range: Annotated[tuple[float, float], Key(values.heights, "mm")]
    """The lowest and the highest circle: [0, 100]."""
    n_circles: Annotated[int, Key(whole_number(2, MAX_POSITIONS), "circles")] = 2
    """How many circles, 2 or more."""

    def poses(self) -> Iterator[Pose]:
        """Yield ``n_circles`` circles as those of `Circle`, the lowest first; both ends of ``z_range`` have one."""
        for z in _evenly_spaced(*self.z_range, self.n_circles):
            yield from self._circle(z)


class Line(BasePath, frozen=True, kw_only=True):
    """Straight from one position to another, both included."""

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
    tilt: Annotated[tuple[float | None, ...], Key(values.angles, "degrees")]
    """An angle, or a list of angles: every tilt at every position."""
    n_points: Annotated[int, Key(whole_number(2, MAX_POSITIONS), "positions")]
    """How many positions, 2 to 10000, evenly spaced."""

    def poses(self) -> Iterator[Pose]:
        """Yield ``n_points * len(tilt)`` poses; every tilt is taken at every position, in the order of the list."""
        ends = ((self.x_0, self.x_1), (self.y_0, self.y_1), (self.z_0, self.z_1))
        for x, y, z in zip(*(_evenly_spaced(start, stop, self.n_points) for start, stop in ends), strict=True):
            for tilt in self.tilt:
                yield Pose(x, y, z, self.pan, tilt)


class CustomPath(BasePath, frozen=True, kw_only=True):
    """Any positions, one by one."""

    scheme: Annotated[tuple[str, ...], Key(values.scheme)] = AXES
    """The axes that each waypoint gives, in this order; an axis that is left out stays where it is."""
    waypoints: Annotated[tuple[tuple[float, ...], ...], Key(values.waypoints, "mm and degrees")]
    """A list of positions, each a list of as many numbers as ``scheme`` has axes; at most 10000."""

    @classmethod
    def read(cls, kwargs: Table) -> Self:
        """Return the path. The length of its waypoints depends on its scheme."""
        keys = keys_of(cls)
        scheme = read_key(kwargs, keys["scheme"])
        read_waypoints = partial(values.waypoints, axes=len(scheme))
        return cls(scheme=scheme, waypoints=read_key(kwargs, keys["waypoints"], read_waypoints))

    def poses(self) -> Iterator[Pose]:
        """Yield a pose for each waypoint."""
        for waypoint in self.waypoints:
            yield Pose(**dict(zip(self.scheme, waypoint, strict=True)))


def _read_calibrated_path(
    value: object, faults: list[Fault] | None = None, name: str = "path"
) -> tuple[Pose, ...] | None:
    """Return the poses of the path within a `CalibrationPath`; faults of its keys are added to ``faults``."""
    if isinstance(value, dict) and value.get("class_name") in ("CalibrationPath", "CalibrationPath2"):
        raise ValueError("a calibration path can't be calibrated; name another path")
    poses = read_path(value, [] if faults is None else faults, name)
    if poses and (poses[0].x is None or poses[0].y is None):
        raise ValueError("its positions leave out x or y, so that no line can start there")
    return poses


class CalibrationPath(BasePath, frozen=True, kw_only=True):
    """Another path, then a line along x and one along y from its first position."""

    path: Annotated[tuple[Pose, ...], Key(_read_calibrated_path)]
    """The other path: a table with ``class_name`` and ``kwargs``, of a kind that is no calibration path."""
    n_points_line: Annotated[int, Key(whole_number(2, MAX_POSITIONS), "positions")]
    """How many positions each line has, 2 to 10000."""

    @classmethod
    def read(cls, kwargs: Table) -> Self:
        """Return the path. Faults of the path within it have a table name of their own."""
        keys = keys_of(cls)
        read = partial(_read_calibrated_path, faults=kwargs.faults, name=f"{kwargs.name}.path")
        return cls(path=read_key(kwargs, keys["path"], read), n_points_line=read_key(kwargs, keys["n_points_line"]))

    def poses(self) -> Iterator[Pose]:
        """Yield the path and the two lines, which give a reconstruction the true directions of the axes.

        The line along x ends at half of the largest x of the path, because the plant stands in the middle; the line
        along y ends at the largest y.
        """
        yield from self.path
        first = self.path[0].completed_from(HOME)
        x, y, z = first.x or 0.0, first.y or 0.0, first.z or 0.0
        end_x = max(pose.x for pose in self.path if pose.x is not None) / 2
        end_y = max(pose.y for pose in self.path if pose.y is not None)
        for x_1, y_1 in ((end_x, y), (x, end_y)):
            yield from Line(
                x_0=x, y_0=y, z_0=z, x_1=x_1, y_1=y_1, z_1=z, pan=first.pan, tilt=(first.tilt,),
                n_points=self.n_points_line,
            ).poses()  # fmt: skip


class CalibrationPath2(BasePath, frozen=True, kw_only=True):
    """A calibration pattern shown at every place of the picture: up the left side, along the top, back, then pan."""

    center_x: Annotated[float, Key(coordinate, "mm")]
    center_y: Annotated[float, Key(coordinate, "mm")]
    """Where the centre is."""
    z: Annotated[float, Key(coordinate, "mm")]
    """The height."""
    tilt: Annotated[float, Key(coordinate, "degrees")]
    """The tilt at all positions."""
    radius: Annotated[float, Key(values.length, "mm")]
    """How far the left side and the top are from the centre, above 0."""
    n_points_line: Annotated[int, Key(whole_number(4, MAX_POSITIONS), "positions")]
    """How many positions the left side has, 4 to 10000; the other lines have half as many."""

    def poses(self) -> Iterator[Pose]:
        """Yield three lines on the square of side ``2 * radius``, and the pans in the middle of its left side.

        Up the left side, along the top to the middle, and with pan -45° back to the middle of the left side; there
        pans from -30° up to 30°, 30° excluded. Their step in degrees is half of ``n_points_line``: the community's
        controller uses the number in this way.
        """
        left, bottom, top = self.center_x - self.radius, self.center_y - self.radius, self.center_y + self.radius
        half = self.n_points_line // 2
        straight = partial(Line, z_0=self.z, z_1=self.z, tilt=(self.tilt,))
        side = straight(x_0=left, y_0=bottom, x_1=left, y_1=top, pan=0.0, n_points=self.n_points_line)
        along = straight(x_0=left, y_0=top, x_1=self.center_x, y_1=top, pan=0.0, n_points=half)
        back = straight(x_0=self.center_x, y_0=top, x_1=left, y_1=self.center_y, pan=-45.0, n_points=half)
        for line in (side, along, back):
            yield from line.poses()
        for pan in range(-30, 30, half):
            yield Pose(left, self.center_y, self.z, float(pan), self.tilt)


def _evenly_spaced(start: float, stop: float, count: int) -> Iterator[float]:
    """Yield ``count`` numbers, 2 or more; both ends are included."""
    return (start + (stop - start) * i / (count - 1) for i in range(count))


PATHS: Final[Mapping[str, type[Circle | Cylinder | Line | CustomPath | CalibrationPath | CalibrationPath2]]] = {
    kind.__name__: kind for kind in (Circle, Cylinder, Line, CustomPath, CalibrationPath, CalibrationPath2)
}
"""The paths by their ``class_name``."""

DEFAULT_PATH: Final = tuple(Circle(center_x=375, center_y=375, radius=350, n_points=36).poses())
"""The usual path of a 740 × 740 mm gantry, for a scan whose configuration has none."""


# Reading them from a configuration.


class ScanPath(Struct, frozen=True):
    """The table ``[ScanPath]``, beside ``[ScanPath.kwargs]``."""

    class_name: Annotated[str, Key(one_of(*PATHS))]
    """The kind of the path: "Circle", "Cylinder", "Line", "CustomPath", "CalibrationPath" or "CalibrationPath2"."""


def path_of(configuration: Mapping[str, Any], faults: list[Fault]) -> tuple[Pose, ...] | None:
    """Return the poses of a scan configuration, `DEFAULT_PATH` if it names no path; otherwise as `read_path`."""
    return read_path(configuration["ScanPath"], faults) if "ScanPath" in configuration else DEFAULT_PATH


def at_position(configuration: Mapping[str, Any], position: int) -> dict[str, Any]:
    """Return a scan configuration with one position of its path alone, counted from 1.

    Raises `ValueError` where there is none.
    """
    poses = path_of(configuration, []) or ()
    if not 0 < position <= len(poses):
        raise ValueError(f"the path has {len(poses)} positions, and no position {position}")
    at = {axis: value for axis, value in poses[position - 1]._asdict().items() if value is not None}
    kwargs = {"waypoints": [[*at.values()]], "scheme": [*at]}
    return {**configuration, "ScanPath": {"class_name": CustomPath.__name__, "kwargs": kwargs}}


def read_path(table: object, faults: list[Fault], name: str = "ScanPath") -> tuple[Pose, ...] | None:
    """Return the poses of a ``ScanPath`` table, and add its faults to ``faults``; None if no path can be made of it.

    An unknown key is a fault, but the poses are returned all the same: a definition with it is refused, but a store
    that another program wrote is scanned. ``name`` is the dotted name of the table.
    """
    top = Table(table, name, faults)
    class_name = read_keys(ScanPath, top)["class_name"]
    kwargs = top.subtable("kwargs")
    top.finish()
    if class_name is None:
        return None
    before = len(faults)
    path = PATHS[class_name].read(kwargs)
    is_complete = len(faults) == before
    kwargs.finish()
    if not is_complete:
        return None
    poses = tuple(islice(path.poses(), MAX_POSITIONS + 1))
    if len(poses) > MAX_POSITIONS:
        kwargs.add_fault("", f"more than {MAX_POSITIONS} positions; write fewer")
        return None
    return poses
