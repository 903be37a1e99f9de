"""The arithmetic of getting somewhere: the shortest turn, how long a move may take, where the board's limits lie."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LETTERS: Final = ("X", "Y", "Z")
"""The board's axes, in its order."""

FIELDS: Final = ("x", "y", "pan")
"""What of a pose each of them moves: the third is the turntable."""

SLACK: Final = 1.5
"""Times the time that arithmetic gives: the board plans corners more slowly than straight lines."""

MARGIN: Final = 5.0
"""Seconds on top, for the line, the planner and a loaded host."""

ENDLESS: Final = (-36_000.0, 36_000.0)
"""Degrees that a turntable without end is from its zero at most. The board keeps positions as 32-bit floats, whose step
is 0.004 degrees there and grows from then on: after some hundred turns one way it turns back by one."""

LONGEST_HOMING: Final = 230.0
"""Seconds, whatever the board's settings say: a scan must give a sign of life within its stall time of five minutes."""

WHOLE_TURN: Final = 360.0
"""Degrees; what the turntable has to have at least."""

Place = tuple[float, float, float]
"""x and y in mm, pan in degrees."""


def minus(place: Place, other: Place) -> Place:
    """Return the way from ``other`` to ``place``, axis by axis."""
    return place[0] - other[0], place[1] - other[1], place[2] - other[2]


def times(signs: Place, place: Place) -> Place:
    """Return a place counted the way that ``signs`` say, axis by axis; does and undoes the inversion of axes."""
    return signs[0] * place[0], signs[1] * place[1], signs[2] * place[2]


def signs_of(inverted: tuple[bool, bool, bool]) -> Place:
    """Return 1 for each axis, and -1 for those that are inverted."""
    x, y, pan = inverted
    return (-1.0 if x else 1.0, -1.0 if y else 1.0, -1.0 if pan else 1.0)


@dataclass(frozen=True, slots=True)
class Limits:
    """How far the arm may go: mm, and degrees for the turntable, which may have none."""

    x: tuple[float, float] = (0.0, 740.0)
    y: tuple[float, float] = (0.0, 740.0)
    pan: tuple[float, float] | None = (-360.0, 720.0)
    """The cables of most arms wind up; None is a turntable that may turn for ever."""

    @property
    def reach(self) -> Mapping[str, tuple[float, float]]:
        """Return what a path can leave: a turntable that goes round at least once reaches every angle."""
        return {"x": self.x, "y": self.y}

    def each(self) -> Sequence[tuple[float, float] | None]:
        """Return them in the order of `LETTERS`."""
        return (self.x, self.y, self.pan)


def nearest_turn(goal: float, at: float, limits: tuple[float, float] | None) -> float:
    """Return the angle nearest to ``at`` that looks where ``goal`` does, within ``limits`` of at least one turn."""
    nearest = at + math.remainder(goal - at, 360.0)
    low, high = limits or ENDLESS
    if nearest < low:
        return nearest + 360.0 * math.ceil((low - nearest) / 360.0)
    if nearest > high:
        return nearest - 360.0 * math.ceil((nearest - high) / 360.0)
    return nearest


def on_the_round(angle: float) -> float:
    """Return an angle from 0 up to 360; one that is a rounding error below 360 is 0."""
    return round(angle % 360.0, 3) % 360.0


@dataclass(frozen=True, slots=True)
class Settings:
    """What the board says of itself under ``$$``: number to value."""

    values: Mapping[int, float]

    def __getitem__(self, number: int) -> float:
        return self.values[number]

    @property
    def homing(self) -> bool:
        """Whether it homes, and is locked until it has."""
        return bool(self.values[22])

    @property
    def inverted(self) -> tuple[bool, bool, bool]:
        """Which axes run the other way round, by ``$3``."""
        mask = int(self.values[3])
        return bool(mask & 1), bool(mask & 2), bool(mask & 4)

    def tolerance(self, axis: int) -> float:
        """Return how far the arm may stand from its goal, mm or degrees: a step is the finest that it can do."""
        return 0.5 / self.values[100 + axis] + 0.01

    def move_deadline(self, start: Place, goal: Place, feed: float | None) -> float:
        """Return the seconds after which a straight move from ``start`` to ``goal`` has to be over."""
        way = [abs(end - begin) for begin, end in zip(start, goal, strict=True)]
        length = math.hypot(*way)
        if not length:
            return MARGIN
        shares = [(axis, part / length) for axis, part in enumerate(way) if part]
        speed = min(self.values[110 + axis] / 60 / share for axis, share in shares)
        acceleration = min(self.values[120 + axis] / share for axis, share in shares)
        if feed is not None:
            speed = min(speed, feed / 60)
        return SLACK * travel_time(length, speed, acceleration) + MARGIN

    def homing_deadline(self) -> float:
        """Return the seconds after which homing has to be over.

        The board searches 1.5 times the travel of each axis, pulls off, touches the switch again within five
        pull-offs, and pulls off again; here every axis counts as if it were homed on its own.
        """
        seek, locate, pull_off = self.values[25] / 60, self.values[24] / 60, self.values[27]
        search = sum(1.5 * self.values[130 + axis] / min(seek, self.values[110 + axis] / 60) for axis in range(3))
        touch = 5 * pull_off / locate + 2 * pull_off / seek
        return min(search + 3 * touch, LONGEST_HOMING) + MARGIN

    def wrong(self, expected: Mapping[int, float], *, homing: bool) -> list[str]:
        """Return what keeps this board from driving the rig, each as a clause with its cure."""
        problems = [
            f"${number} = {self.values.get(number, math.nan):g}, but [drivers.grbl.settings] has {value:g}"
            for number, value in expected.items()
            if number not in self.values or not math.isclose(self.values[number], value, rel_tol=1e-4, abs_tol=1e-3)
        ]
        missing = [number for number in NEEDED if number not in self.values]
        if missing:
            return [*problems, f"it doesn't tell {', '.join(f'${number}' for number in missing)}; is it GRBL 1.1?"]
        if self.values[13]:
            problems.append("it reports inches; set $13=0")
        if homing and not self.homing:
            problems.append("homing is switched off; set $22=1, or write homing = false in [drivers.grbl]")
        needed = MOVES + HOMES if homing else MOVES
        standing = [number for number in needed if self.values[number] < LEAST]
        if standing:
            names = ", ".join(f"${number}" for number in standing)
            problems.append(f"{names} must be {LEAST:g} or more, or nothing moves")
        return problems

    def soft_limit_clash(self, home: Place, signs: Place, limits: Limits) -> str | None:
        """Return how the board's soft limits get in the way of ``limits``, if they do.

        ``home`` is the machine position after homing, ``signs`` which way each axis counts.
        The board refuses what lies beyond minus its travel and zero, in machine coordinates.
        """
        if not self.values[20]:
            return None
        left = []
        for axis, (field, ends) in enumerate(zip(FIELDS, limits.each(), strict=True)):
            travel = self.values[130 + axis]
            reached = [home[axis] + signs[axis] * end for end in ends] if ends else [-math.inf]
            if min(reached) < -travel - 1e-3 or max(reached) > 1e-3:
                low, high = sorted(signs[axis] * (end - home[axis]) for end in (-travel, 0.0))
                left.append((field, low, high))
        if not left:
            return None
        leave = ", ".join(f"{field} only {low:g} to {high:g}" for field, low, high in left)
        pan_is_short = self.values[132] < WHOLE_TURN
        spans = [f"{field} = [{low:g}, {high:g}]" for field, low, high in left if field != "pan" or not pan_is_short]
        cures = [f"write {', '.join(spans)} in [drivers.grbl]"] if spans else []
        if len(spans) < len(left):
            cures.append(f"raise $132 to {WHOLE_TURN:g} or more, which is what a turntable needs")
        return f"soft limits are on ($20=1) and leave {leave}; {', '.join(cures)}, or set $20=0"


NEEDED: Final = (
    3, 13, 20, 22, 24, 25, 27, 100, 101, 102, 110, 111, 112, 120, 121, 122, 130, 131, 132,
)  # fmt: skip
"""Settings that the driver reckons with."""


MOVES: Final = (100, 101, 102, 110, 111, 112, 120, 121, 122)
"""Settings that every move hangs on: steps a unit, units a minute, units a second squared."""

HOMES: Final = (24, 25, 130, 131, 132)
"""Those that homing hangs on besides: its speeds, the travels."""

LEAST: Final = 0.5
"""What each of them is at least where anything moves. Far less would give a move weeks to come to its end."""


def travel_time(distance: float, speed: float, acceleration: float) -> float:
    """Return the seconds of a move from rest to rest; speed a second, acceleration a second squared."""
    if distance >= speed * speed / acceleration:
        return distance / speed + speed / acceleration
    return 2 * math.sqrt(distance / acceleration)
