"""The arithmetic of moves: positions and limits of the arm, angles of the turntable, the time of a move."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plantimager.timelapse.scan.pose import Pose

Position = tuple[float, float, float]
"""x and y in mm, pan in degrees."""

ZERO: Final[Position] = (0.0, 0.0, 0.0)

LETTERS: Final = ("X", "Y", "Z")
"""The axes of the board, in the order of a `Position`."""

FIELDS: Final = ("x", "y", "pan")
"""The field of a pose that each axis moves: the board's third axis is the turntable."""

OFF_COURSE: Final = 1.0
"""mm or degrees off its way by which the arm obeys another move than the one that was sent."""

TOLERANCE: Final = 0.011
"""mm or degrees by which two positions that a board reports may differ in rounding."""

MAX_ENDLESS: Final = (-36_000.0, 36_000.0)
"""Limits of a turntable without limits, degrees. The board keeps positions as 32-bit floats, whose step is 0.004° there
and grows beyond. So after a hundred turns in one direction the turntable turns back by one."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of the arm: mm, and degrees for the turntable, which may have none."""

    x: tuple[float, float] = (0.0, 740.0)
    y: tuple[float, float] = (0.0, 740.0)
    pan: tuple[float, float] | None = (-360.0, 720.0)
    """The cables of most arms wind up; None is a turntable that may turn without end."""

    @property
    def reach(self) -> Mapping[str, tuple[float, float]]:
        """The limits that a path can exceed: a turntable of at least one turn reaches every angle."""
        return {"x": self.x, "y": self.y}

    def each(self) -> Sequence[tuple[float, float] | None]:
        """Return the limits in the order of `FIELDS`."""
        return (self.x, self.y, self.pan)


def subtract(position: Position, other: Position) -> Position:
    """Return ``position - other``, axis by axis."""
    return position[0] - other[0], position[1] - other[1], position[2] - other[2]


def add(position: Position, other: Position) -> Position:
    """Return ``position + other``, axis by axis."""
    return position[0] + other[0], position[1] + other[1], position[2] + other[2]


def agree(position: Position, other: Position) -> bool:
    """Whether two positions that a board reported are the same."""
    return all(abs(difference) <= TOLERANCE for difference in subtract(position, other))


def scale(signs: Position, position: Position) -> Position:
    """Return ``signs * position``, axis by axis: with `axis_signs` it applies, or undoes, the inversion of axes."""
    return signs[0] * position[0], signs[1] * position[1], signs[2] * position[2]


def axis_signs(inverted: tuple[bool, bool, bool]) -> Position:
    """Return 1 for each axis, and -1 for each that is inverted."""
    x, y, pan = inverted
    return (-1.0 if x else 1.0, -1.0 if y else 1.0, -1.0 if pan else 1.0)


def nearest_equivalent_angle(goal: float, current: float, limits: tuple[float, float] | None) -> float:
    """Return the angle nearest to ``current`` that is ``goal`` plus whole turns, and within ``limits``; degrees.

    ``limits`` span at least one turn; None is a turntable without limits.
    """
    nearest = current + math.remainder(goal - current, 360.0)
    low, high = limits or MAX_ENDLESS
    if nearest < low:
        return nearest + 360.0 * math.ceil((low - nearest) / 360.0)
    if nearest > high:
        return nearest - 360.0 * math.ceil((nearest - high) / 360.0)
    return nearest


def position_of(pose: Pose, current: Position, limits: Limits) -> Position:
    """Return the position of a pose: the turntable by the shortest way; an axis that it leaves out stays as it is."""
    x, y, pan = current
    if pose.pan is not None:
        pan = nearest_equivalent_angle(pose.pan, pan, limits.pan)
    return (x if pose.x is None else pose.x, y if pose.y is None else pose.y, pan)


def normalized_angle(angle: float) -> float:
    """Return an angle in degrees from 0 up to 360, 360 excluded; one that is a rounding error below 360 is 0."""
    return round(angle % 360.0, 3) % 360.0


def travel_time(distance: float, speed: float, acceleration: float) -> float:
    """Return the seconds of a move from rest to rest, at a trapezoidal speed.

    ``distance`` in any unit of length or angle, ``speed`` in that unit a second, ``acceleration`` a second squared.
    """
    if distance >= speed * speed / acceleration:
        return distance / speed + speed / acceleration
    return 2 * math.sqrt(distance / acceleration)


def is_off_course(start: Position, goal: Position, position: Position) -> bool:
    """Whether a position is none of a straight move's from ``start`` to ``goal``."""
    return any(
        not min(ends) - OFF_COURSE <= at <= max(ends) + OFF_COURSE
        for at, *ends in zip(position, start, goal, strict=True)
    )


def format_position(position: Position) -> str:
    """Return a position for people: ``x 725 y 375 pan 180``."""
    return " ".join(f"{name} {round(at, 2) + 0.0:g}" for name, at in zip(FIELDS, position, strict=True))


def gcode_words(position: Position) -> str:
    """Return a position as words of G-code: ``X725.000 Y375.000 Z180.000``."""
    return " ".join(f"{letter}{at + 0.0:.3f}" for letter, at in zip(LETTERS, position, strict=True))
