"""Readers of the values in a scan configuration, for the keys that paths and cameras declare.

Each takes a TOML value and returns it checked, or raises `ValueError` with what is allowed.
"""

from __future__ import annotations

from typing import Final

from plantimager.timelapse.scan.pose import AXES
from plantimager.timelapse.support.faults import format_value, number

MAX_COORDINATE: Final = 1_000_000.0
"""mm or degrees. No rig is larger, and arithmetic with such numbers stays finite."""

MAX_POSITIONS: Final = 10_000
"""The most positions of a path. At ten seconds each they take more than a day, and more of them would fill memory."""


def coordinate(value: object) -> float:
    """Return a coordinate or an offset, in mm or degrees."""
    read = number(value)
    if abs(read) > MAX_COORDINATE:
        raise ValueError("beyond a kilometre; write mm or degrees")
    return read


def length(value: object) -> float:
    """Return a length in mm, above 0."""
    read = coordinate(value)
    if read <= 0:
        raise ValueError("write a length in mm, above 0")
    return read


def angles(value: object) -> tuple[float, ...]:
    """Return one or more angles in degrees, of an angle or a list."""
    read = value if isinstance(value, list) else [value]
    if not read:
        raise ValueError("write an angle in degrees, or a list of them")
    return tuple(map(coordinate, read))


def heights(value: object) -> tuple[float, float]:
    """Return the lowest and the highest of a range of heights, in mm."""
    if not isinstance(value, list) or len(value) != 2:
        raise ValueError("write two heights in mm, the lower first: [0, 100]")
    low, high = map(coordinate, value)
    if low > high:
        raise ValueError("write the lower height first")
    return low, high


def scheme(value: object) -> tuple[str, ...]:
    """Return the axes that a waypoint gives, each at most once."""
    if not isinstance(value, list) or not value or not all(axis in AXES for axis in value):
        raise ValueError(f"write a list of axes out of {', '.join(AXES)}")
    if len(set(value)) < len(value):
        raise ValueError("an axis stands there twice")
    return tuple(value)


def waypoints(value: object, axes: int = len(AXES)) -> tuple[tuple[float, ...], ...]:
    """Return the waypoints of a path, each of as many numbers as its scheme has ``axes``; mm and degrees."""
    if not isinstance(value, list) or not value:
        raise ValueError("write a list of waypoints: [[25, 375, 0, 0, 0], …]")
    if len(value) > MAX_POSITIONS:
        raise ValueError(f"{len(value)} waypoints; at most {MAX_POSITIONS}")
    return tuple(_waypoint(number_, waypoint, axes) for number_, waypoint in enumerate(value, start=1))


def _waypoint(number_: int, value: object, axes: int) -> tuple[float, ...]:
    if not isinstance(value, list) or len(value) != axes:
        raise ValueError(f"waypoint {number_} is {format_value(value)}; write {axes} numbers, as the scheme has")
    try:
        return tuple(map(coordinate, value))
    except ValueError as refusal:
        raise ValueError(f"waypoint {number_} is {format_value(value)}; {refusal}") from None
