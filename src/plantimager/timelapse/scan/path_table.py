"""The table ``[ScanPath]`` of a scan configuration: read whole, every fault at once.

It holds ``class_name = "Circle"`` and the arguments of that path as ``[ScanPath.kwargs]``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from plantimager.timelapse.scan.paths import (
    DEFAULT_PATH,
    calibration,
    calibration_2,
    circle,
    custom,
    cylinder,
    line,
)
from plantimager.timelapse.scan.pose import AXES, Pose, coordinate
from plantimager.timelapse.support.faults import MISSING, Fault, Table, format_value, one_of, whole_number

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_POINTS: Final = 10_000
"""Of a path. At ten seconds a point more than a day: a larger number is a typing error, and would fill memory."""


def path_of(configuration: Mapping[str, Any], faults: list[Fault]) -> tuple[Pose, ...] | None:
    """Return the poses of a scan configuration, the default path if it names none; otherwise as `read_path`."""
    return read_path(configuration["ScanPath"], faults) if "ScanPath" in configuration else DEFAULT_PATH


def read_path(values: object, faults: list[Fault], name: str = "ScanPath") -> tuple[Pose, ...] | None:
    """Return the poses of a ``ScanPath`` table, and add its faults to ``faults``; None if no path can be made of it.

    An unknown key is a fault, but the poses are returned all the same: a definition with it is refused, but a store
    that another program wrote is scanned. ``name`` is the dotted name of the table.
    """
    table = Table(values, name, faults)
    class_name = table.take("class_name", one_of(*_READERS))
    kwargs = table.subtable("kwargs")
    table.finish()
    if class_name is None:
        return None
    before = len(faults)
    generate = _READERS[class_name](kwargs)
    is_complete = len(faults) == before
    kwargs.finish()
    if not is_complete:
        return None
    poses = tuple(islice(generate(), MAX_POINTS + 1))
    if len(poses) > MAX_POINTS:
        faults.append(Fault(kwargs.name, "", MISSING, f"more than {MAX_POINTS} points; write fewer"))
        return None
    return poses


_Generate = Callable[[], Iterator[Pose]]

# Readers of ``[ScanPath.kwargs]``, one for each path. Where they report faults, the generator can't be called.


def _circle(kwargs: Table) -> _Generate:
    return partial(circle, **_circle_arguments(kwargs), z=kwargs.take("z", coordinate, 0.0))


def _cylinder(kwargs: Table) -> _Generate:
    values = _circle_arguments(kwargs)
    values["z_range"] = kwargs.take("z_range", _heights)
    values["n_circles"] = kwargs.take("n_circles", whole_number(2, MAX_POINTS), 2)
    return partial(cylinder, **values)


def _circle_arguments(kwargs: Table) -> dict[str, Any]:
    return {
        "center_x": kwargs.take("center_x", coordinate),
        "center_y": kwargs.take("center_y", coordinate),
        "radius": kwargs.take("radius", _length),
        "tilt": kwargs.take("tilt", _angles, (0.0,)),
        "n_points": kwargs.take("n_points", whole_number(1, MAX_POINTS)),
    }


def _line(kwargs: Table) -> _Generate:
    values: dict[str, Any] = _coordinates(kwargs, "x_0", "y_0", "z_0", "x_1", "y_1", "z_1", "pan")
    values["tilt"] = kwargs.take("tilt", _angles)
    values["n_points"] = kwargs.take("n_points", whole_number(2, MAX_POINTS))
    return partial(line, **values)


def _custom(kwargs: Table) -> _Generate:
    values: dict[str, Any] = {"scheme": kwargs.take("scheme", _scheme, AXES)}
    values["waypoints"] = kwargs.take("waypoints", partial(_waypoints, length=len(values["scheme"])))
    return partial(custom, **values)


def _calibration(kwargs: Table) -> _Generate:
    read = partial(_calibrated_path, faults=kwargs.faults, name=f"{kwargs.name}.path")
    values: dict[str, Any] = {"path": kwargs.take("path", read)}
    values["n_points_line"] = kwargs.take("n_points_line", whole_number(2, MAX_POINTS))
    return partial(calibration, **values)


def _calibration_2(kwargs: Table) -> _Generate:
    values: dict[str, Any] = _coordinates(kwargs, "center_x", "center_y", "z", "tilt")
    values["radius"] = kwargs.take("radius", _length)
    # Half of it is the number of points of a line, which takes two.
    values["n_points_line"] = kwargs.take("n_points_line", whole_number(4, MAX_POINTS))
    return partial(calibration_2, **values)


def _coordinates(kwargs: Table, *keys: str) -> dict[str, Any]:
    return {key: kwargs.take(key, coordinate) for key in keys}


_READERS: Final[dict[str, Callable[[Table], _Generate]]] = {
    "Circle": _circle,
    "Cylinder": _cylinder,
    "Line": _line,
    "CustomPath": _custom,
    "CalibrationPath": _calibration,
    "CalibrationPath2": _calibration_2,
}

# Readers for `Table.take`.


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


def _heights(value: object) -> tuple[float, float]:
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
    if len(value) > MAX_POINTS:
        raise ValueError(f"{len(value)} waypoints; at most {MAX_POINTS}")
    for i, waypoint in enumerate(value, start=1):
        if not isinstance(waypoint, list) or len(waypoint) != length:
            raise ValueError(f"waypoint {i} is {format_value(waypoint)}; write {length} numbers, as the scheme has")
        try:
            list(map(coordinate, waypoint))
        except ValueError as refusal:
            raise ValueError(f"waypoint {i} is {format_value(waypoint)}; {refusal}") from None
    return [tuple(map(float, waypoint)) for waypoint in value]


def _calibrated_path(value: object, faults: list[Fault], name: str) -> tuple[Pose, ...] | None:
    if isinstance(value, dict) and value.get("class_name") in ("CalibrationPath", "CalibrationPath2"):
        raise ValueError("a calibration path can't be calibrated; name another path")
    poses = read_path(value, faults, name)
    if poses and (poses[0].x is None or poses[0].y is None):
        raise ValueError("its points leave out x or y, so that no line can start there")
    return poses
