"""The settings of a GRBL board (``$$``), and what follows from them: deadlines, tolerances, conflicts with options."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from plantimager.timelapse.drivers.gantry.motion import FIELDS, travel_time

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plantimager.timelapse.drivers.gantry.motion import Limits, Position

DEADLINE_FACTOR: Final = 1.5
"""The ratio of a deadline to the calculated time: the board plans corners more slowly than straight lines."""

DEADLINE_MARGIN: Final = 5.0
"""Seconds that are added, for the line, the board's planner and a loaded host."""

MAX_HOMING_TIME: Final = 230.0
"""Seconds, whatever the board's settings: a scan has to report progress within the stall timeout of five minutes."""

USUAL_PULL_OFF: Final = 20.0
"""mm, for a board that doesn't report its own."""

WHOLE_TURN: Final = 360.0
"""Degrees; the least travel of a turntable."""

MOVE_SETTINGS: Final = (100, 101, 102, 110, 111, 112, 120, 121, 122)
"""Those of every move: steps a unit, units a minute, units a second squared."""

HOMING_SETTINGS: Final = (24, 25, 130, 131, 132)
"""Those of homing besides: its speeds, and the travel of each axis."""

MEANINGS: Final = {
    3: "the axes that count the other way round, as 1 + 2 + 4", 13: "0 where it reports mm",
    24: "homing, slow, mm a minute", 25: "homing, fast, mm a minute", 27: "homing, pull-off in mm",
    100: "steps a mm of x", 101: "steps a mm of y", 102: "steps a degree of pan",
    110: "top speed of x, mm a minute", 111: "top speed of y, mm a minute", 112: "top speed of pan, degrees a minute",
    120: "acceleration of x, mm/s²", 121: "acceleration of y, mm/s²", 122: "acceleration of pan, degrees/s²",
    130: "travel of x, mm", 131: "travel of y, mm", 132: "travel of pan, degrees",
}  # fmt: skip
"""The settings that the driver calculates with. A firmware may not report some of them."""

MIN_VALUE: Final = 0.5
"""The least value of each of them. With a far smaller one a move would take weeks."""


@dataclass(frozen=True, slots=True)
class BoardSettings:
    """The settings that a board reports, by number."""

    values: Mapping[int, float]

    @property
    def homing(self) -> bool:
        """Whether the board homes, and is locked until it has."""
        return bool(self.values.get(22, 1))

    @property
    def inverted(self) -> tuple[bool, bool, bool]:
        """The axes that run in the opposite direction, by ``$3``."""
        mask = int(self.values[3])
        return bool(mask & 1), bool(mask & 2), bool(mask & 4)

    def tolerance(self, axis: int) -> float:
        """Return how far the arm may stand from its goal, mm or degrees: half a step and a rounding error."""
        return 0.5 / self.values[100 + axis] + 0.01

    def move_deadline(self, start: Position, goal: Position, feed: float | None) -> float:
        """Return the seconds after which a straight move from ``start`` to ``goal`` has to be over; as `move_time`."""
        return DEADLINE_FACTOR * self.move_time(start, goal, feed) + DEADLINE_MARGIN

    def move_time(self, start: Position, goal: Position, feed: float | None) -> float:
        """Return the seconds of a straight move from ``start`` to ``goal``.

        ``feed`` is its speed, mm or degrees a minute; None is as fast as the board allows. The slowest axis counts,
        because the board slows down the others.
        """
        way = [abs(end - begin) for begin, end in zip(start, goal, strict=True)]
        length = math.hypot(*way)
        if not length:
            return 0.0
        shares = [(axis, part / length) for axis, part in enumerate(way) if part]
        speed = min(self.values[110 + axis] / 60 / share for axis, share in shares)
        acceleration = min(self.values[120 + axis] / share for axis, share in shares)
        if feed is not None:
            speed = min(speed, feed / 60)
        return travel_time(length, speed, acceleration)

    def homing_deadline(self) -> float:
        """Return the seconds after which homing has to be over.

        The board searches 1.5 times the travel of each axis, pulls off, touches the switch again within five
        pull-offs, and pulls off again. Here every axis counts as if it were homed on its own.
        """
        seek, locate, pull_off = self.values[25] / 60, self.values[24] / 60, self.values.get(27, USUAL_PULL_OFF)
        search = sum(1.5 * self.values[130 + axis] / min(seek, self.values[110 + axis] / 60) for axis in range(3))
        touch = 5 * pull_off / locate + 2 * pull_off / seek
        return min(search + 3 * touch, MAX_HOMING_TIME) + DEADLINE_MARGIN

    def contradictions(self, expected: Mapping[int, float]) -> list[str]:
        """Return how the board's settings differ from those that the options ask for, each as a clause."""
        return [
            f"${number} = {self.values[number]:g}, but [drivers.grbl.settings] has {value:g}"
            if number in self.values
            else f"it doesn't report ${number}, which is in [drivers.grbl.settings]"
            for number, value in expected.items()
            if not math.isclose(self.values.get(number, value), value, rel_tol=1e-4, abs_tol=1e-3)
            or (number not in self.values and number not in MEANINGS)
        ]

    def completed(self, expected: Mapping[int, float], *, inverted: Sequence[bool] | None) -> BoardSettings:
        """Return these settings with those of the options that the board doesn't report."""
        known = {number: value for number, value in expected.items() if number in MEANINGS}
        axes = {} if inverted is None else {3: float(sum(1 << axis for axis, on in enumerate(inverted) if on))}
        return BoardSettings({**axes, **known, **self.values})

    def problems(self, *, homing: bool) -> list[str]:
        """Return why the rig can't be driven with these settings, each reason as a clause with its cure.

        ``homing`` is whether the driver homes.
        """
        needed = MOVE_SETTINGS + HOMING_SETTINGS if homing else MOVE_SETTINGS
        missing = [number for number in MEANINGS if number not in self.values and number in (3, 13, *needed)]
        if missing:
            names = ", ".join(f'"${number}" ({MEANINGS[number]})' for number in missing)
            return [f"it doesn't report some settings; write in [drivers.grbl.settings] {names}"]
        problems = []
        if self.values[13]:
            problems.append("it reports inches; set $13=0")
        if homing and not self.homing:
            problems.append("homing is switched off; set $22=1, or write homing = false in [drivers.grbl]")
        too_small = [number for number in needed if self.values[number] < MIN_VALUE]
        if too_small:
            names = ", ".join(f"${number}" for number in too_small)
            problems.append(f"{names} must be {MIN_VALUE:g} or more, or nothing moves")
        return problems

    def soft_limit_conflict(self, home: Position, signs: Position, limits: Limits) -> str | None:
        """Return how the board's soft limits contradict ``limits``, None where they don't.

        ``home`` is the machine position after homing, ``signs`` is which way each axis counts. The board refuses
        machine positions below minus its travel and above zero.
        """
        if not self.values.get(20) or any(130 + axis not in self.values for axis in range(3)):
            return None
        too_short = []
        for axis, (field, ends) in enumerate(zip(FIELDS, limits.each(), strict=True)):
            travel = self.values[130 + axis]
            reached = [home[axis] + signs[axis] * end for end in ends] if ends else [-math.inf]
            if min(reached) < -travel - 1e-3 or max(reached) > 1e-3:
                low, high = sorted(signs[axis] * (end - home[axis]) for end in (-travel, 0.0))
                too_short.append((field, low, high))
        if not too_short:
            return None
        left = ", ".join(f"{field} only {low:g} to {high:g}" for field, low, high in too_short)
        pan_is_short = self.values[132] < WHOLE_TURN
        spans = [
            f"{field} = [{low:g}, {high:g}]" for field, low, high in too_short if field != "pan" or not pan_is_short
        ]
        cures = [f"write {', '.join(spans)} in [drivers.grbl]"] if spans else []
        if len(spans) < len(too_short):
            cures.append(f"raise $132 to {WHOLE_TURN:g} or more, which is what a turntable needs")
        return f"soft limits are on ($20=1) and leave {left}; {', '.join(cures)}, or set $20=0"
