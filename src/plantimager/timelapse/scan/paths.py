"""The six scan paths: generators of the poses at which a scan takes its pictures.

Names, arguments and formulas are those of the community's controller (`plantimager.controller.scanner.path` of the
Plant Imager 3), so that a configuration gives the same pictures with either program. Lengths are in mm, angles in
degrees; the axes are those of the gantry, with pan 0 looking along +x and counted towards +y.

Every path yields its poses one by one: `path_table.read_path` stops one that is far too long before it fills memory.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from plantimager.timelapse.scan.pose import HOME, Pose

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def circle(
    *, center_x: float, center_y: float, z: float, tilt: Sequence[float], radius: float, n_points: int
) -> Iterator[Pose]:
    """Yield a circle around a centre, every pose facing it.

    Point i of n stands at the angle a = 360° i / n: x = center_x - radius cos a, y = center_y - radius sin a, pan = a.
    The first point is on the side of the smaller x.

    Parameters
    ----------
    center_x, center_y, z
        Centre of the circle and its height, mm.
    tilt
        Tilts in degrees. Every tilt is taken at every point, in this order.
    radius
        Radius, mm.
    n_points
        Number of points, 1 or more; the path has ``n_points * len(tilt)`` poses.

    """
    for i in range(n_points):
        angle = 2 * math.pi * i / n_points
        x, y = center_x - radius * math.cos(angle), center_y - radius * math.sin(angle)
        for one_tilt in tilt:
            yield Pose(x, y, z, 360.0 * i / n_points, one_tilt)


def cylinder(*, z_range: tuple[float, float], n_circles: int, **circle_arguments: Any) -> Iterator[Pose]:
    """Yield circles at evenly spaced heights, from the lowest to the highest.

    Parameters
    ----------
    z_range
        Height of the first and of the last circle, mm; both are included.
    n_circles
        Number of circles, 2 or more.
    circle_arguments
        All arguments of `circle` but ``z``.

    """
    for z in _evenly_spaced(*z_range, n_circles):
        yield from circle(z=z, **circle_arguments)


def line(
    *, x_0: float, y_0: float, z_0: float, x_1: float, y_1: float, z_1: float,
    pan: float | None, tilt: Sequence[float | None], n_points: int,
) -> Iterator[Pose]:  # fmt: skip
    """Yield evenly spaced points of a straight line.

    Parameters
    ----------
    x_0, y_0, z_0, x_1, y_1, z_1
        First and last point, mm; both are included.
    pan
        Pan of every pose, degrees; None leaves it as it is.
    tilt
        Tilts in degrees. Every tilt is taken at every point, in this order; None leaves it as it is.
    n_points
        Number of points, 2 or more; the path has ``n_points * len(tilt)`` poses.

    """
    axes = (_evenly_spaced(x_0, x_1, n_points), _evenly_spaced(y_0, y_1, n_points), _evenly_spaced(z_0, z_1, n_points))
    for x, y, z in zip(*axes, strict=True):
        for one_tilt in tilt:
            yield Pose(x, y, z, pan, one_tilt)


def custom(*, waypoints: Sequence[Sequence[float]], scheme: Sequence[str]) -> Iterator[Pose]:
    """Yield the waypoints of a list.

    Parameters
    ----------
    waypoints
        One sequence of numbers a pose, each as long as ``scheme``; mm and degrees.
    scheme
        Axes that the numbers of a waypoint belong to, out of `pose.AXES`. An axis that is left out stays where it is.

    """
    for waypoint in waypoints:
        yield Pose(**dict(zip(scheme, waypoint, strict=True)))


def calibration(*, path: Sequence[Pose], n_points_line: int) -> Iterator[Pose]:
    """Yield a path, then a line along x and a line along y, both from the first point of the path.

    The lines give a reconstruction the true directions of the axes. The line along x ends at half of the largest x of
    the path, because the plant stands in the middle; the line along y ends at the largest y.

    Parameters
    ----------
    path
        The poses of the path; the first has x and y.
    n_points_line
        Number of points of each line, 2 or more.

    """
    yield from path
    first = path[0].completed_from(HOME)
    x, y, z = first.x or 0.0, first.y or 0.0, first.z or 0.0
    end_x = max(pose.x for pose in path if pose.x is not None) / 2
    end_y = max(pose.y for pose in path if pose.y is not None)
    along = partial(line, x_0=x, y_0=y, z_0=z, z_1=z, pan=first.pan, tilt=(first.tilt,), n_points=n_points_line)
    yield from along(x_1=end_x, y_1=y)
    yield from along(x_1=x, y_1=end_y)


def calibration_2(
    *, center_x: float, center_y: float, radius: float, z: float, tilt: float, n_points_line: int
) -> Iterator[Pose]:
    """Yield the poses that show a calibration pattern at every place of the picture.

    On the square of side ``2 * radius``: up its left side, along its top to the middle, back to the middle of the left
    side with pan -45°, and there pans from -30° up to 30°, 30° excluded.

    Parameters
    ----------
    center_x, center_y, z
        Centre of the square and its height, mm.
    radius
        Half the side of the square, mm.
    tilt
        Tilt of every pose, degrees.
    n_points_line
        Number of points of the left side, 4 or more; each of the other two lines has half as many. Half of it is also
        the step of the pans, in degrees: the community's controller uses the number in this way.

    """
    left, bottom, top = center_x - radius, center_y - radius, center_y + radius
    half = n_points_line // 2
    straight = partial(line, z_0=z, z_1=z, tilt=(tilt,))
    yield from straight(x_0=left, y_0=bottom, x_1=left, y_1=top, pan=0.0, n_points=n_points_line)
    yield from straight(x_0=left, y_0=top, x_1=center_x, y_1=top, pan=0.0, n_points=half)
    yield from straight(x_0=center_x, y_0=top, x_1=left, y_1=center_y, pan=-45.0, n_points=half)
    for pan in range(-30, 30, half):
        yield Pose(left, center_y, z, float(pan), tilt)


def _evenly_spaced(start: float, stop: float, count: int) -> Iterator[float]:
    return (start + (stop - start) * i / (count - 1) for i in range(count))


DEFAULT_PATH: Final = tuple(circle(center_x=375, center_y=375, z=0, tilt=(0,), radius=350, n_points=36))
"""The usual path of a 740 × 740 mm gantry, for a scan whose configuration has none."""
