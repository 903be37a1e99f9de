"""The position of the arm, as far as it is known.

A board forgets its work coordinates with every reset, and loses steps when it stops in the middle of a move. So the
position is unknown after every connection, alarm, reset and interrupted move, and the arm doesn't move again before it
is homed.

Without limit switches (``homing = false``) only the board's count of steps is known, and it starts from where the arm
stood when the board was switched on. If the board counts from zero although the arm was left elsewhere, it has
restarted since, and the position is *lost*: only a person can correct that. Any other count is believed. A power cut
leaves no other trace, except while this process drives the arm (`MARK`), so that such an arm has to rest at its zero
whenever nobody uses it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from plantimager.timelapse.drivers.gantry.gantry_faults import (
    BoardReset,
    BoardRestarted,
    CommandRefused,
    PositionUnknown,
    Stopped,
)
from plantimager.timelapse.drivers.gantry.motion import ZERO, Position, add, axis_signs, scale, subtract

if TYPE_CHECKING:
    from plantimager.timelapse.drivers.gantry.arm_options import ArmOptions
    from plantimager.timelapse.drivers.gantry.board_settings import BoardSettings
    from plantimager.timelapse.drivers.gantry.gantry_faults import GantryFault
    from plantimager.timelapse.drivers.gantry.replies import Status

MARK: Final[Position] = (0.1, 0.1, 0.1)
"""Work position of the zero of an arm without switches, mm and degrees.

It makes an offset of work coordinates that the board forgets when it restarts, even on the way to its zero.
"""


class PositionTracker:
    """The known position of an arm, in the coordinates of poses: mm, and degrees for the turntable."""

    def __init__(self, options: ArmOptions) -> None:
        self._options = options
        self._settings: BoardSettings
        self.signs: Position = (1.0, 1.0, 1.0)
        """The direction in which each axis of the board counts, 1 or -1."""
        self.current: Position | None = None
        """The position of the arm; None while it is unknown."""
        self.is_lost = False
        """Whether the arm has lost its position in this process, which without homing only a person can correct."""
        self.may_be_away = False
        """Whether the arm stands, or may stand, away from its zero, as far as this process knows."""
        self._mark = ZERO if options.homing else MARK
        self._origin: Position | None = None
        """Machine position of the work zero; None where the board reports work positions itself."""

    def use(self, settings: BoardSettings) -> None:
        """Use the step sizes and directions of a board that was just connected."""
        self._settings = settings
        self.signs = axis_signs(self._options.inverted or settings.inverted)

    def work_of(self, position: Position) -> Position:
        """Return a position in the work coordinates of the board."""
        return scale(self.signs, add(position, self._mark))

    def start_at(self, position: Position, status: Status) -> None:
        """Count from ``status`` on: there the arm stands at ``position``."""
        self._origin = None if status.machine is None else subtract(status.machine, self.work_of(position))
        self.current = position

    def set_current(self, position: Position) -> None:
        """Note that the arm has arrived at ``position``."""
        self.current = position
        self.note_rest_at(position)

    def note_rest_at(self, position: Position) -> None:
        """Note that the arm rests at ``position``, whether or not it is known well enough to move from there."""
        self.may_be_away = not self.is_zero(position)

    def note_departure(self) -> None:
        """Note that the arm may be away from its zero."""
        self.may_be_away = True

    def note_failed_move(self, problem: GantryFault | Stopped) -> None:
        """Note that a move failed: the position is lost where the board's count may be wrong since."""
        at_zero = isinstance(problem, BoardRestarted) and not self.may_be_away  # where it counts from
        if not at_zero and not isinstance(problem, BoardReset | CommandRefused | PositionUnknown | Stopped):
            self.lose()

    def forget(self) -> None:
        """Note that the position is unknown."""
        self.current = None

    def lose(self) -> None:
        """Note that the position is lost."""
        self.is_lost = True

    def read(self, status: Status) -> Position:
        """Return the position in a status.

        Raises `PositionUnknown` where the board reports machine positions, and reported work positions before, so
        that its work zero is unknown.
        """
        work = status.work
        if status.machine is not None and self._origin is not None:
            work = subtract(status.machine, self._origin)
        if work is None:
            raise PositionUnknown("the board reports machine positions, and reported work positions before; set $10=1")
        return subtract(scale(self.signs, work), self._mark)

    def matches(self, goal: Position, position: Position) -> bool:
        """Whether two positions are the same, as exactly as the steps of the motors allow."""
        return all(
            abs(want - have) <= self._settings.tolerance(axis)
            for axis, (want, have) in enumerate(zip(goal, position, strict=True))
        )

    def is_zero(self, position: Position) -> bool:
        """Whether a position is the arm's zero; a turntable without limits is there after each whole turn."""
        x, y, pan = position
        return self.matches(ZERO, (x, y, pan if self._options.limits.pan else math.remainder(pan, 360.0)))

    def has_restarted(self, machine: Position) -> bool:
        """Whether the count of a board without homing can't be believed: zero, although the arm may be elsewhere."""
        return not self._options.homing and self.may_be_away and self.matches(ZERO, machine)
