"""One move of the arm: sent, followed to its end, and held where it has to be broken off."""

from __future__ import annotations

import contextlib
import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from plantimager.timelapse.drivers.deadline import Deadline
from plantimager.timelapse.drivers.gantry import codes
from plantimager.timelapse.drivers.gantry.board import HOLD
from plantimager.timelapse.drivers.gantry.gantry_faults import BoardLocked, GantryFault, PositionUnknown, Stopped
from plantimager.timelapse.drivers.gantry.motion import format_position, gcode_words, is_off_course

if TYPE_CHECKING:
    from collections.abc import Callable

    from plantimager.timelapse.drivers.gantry.board import Board
    from plantimager.timelapse.drivers.gantry.board_settings import BoardSettings
    from plantimager.timelapse.drivers.gantry.motion import Position
    from plantimager.timelapse.drivers.gantry.position import PositionTracker
    from plantimager.timelapse.drivers.gantry.replies import Status

    Wait = Callable[[float], bool]
    """Waits that many seconds, or fewer; returns whether to stop what is waited for. `ScanMonitor.wait` is one."""

POLL_INTERVAL: Final = 0.1
"""Seconds between two questions whether the arm has arrived; the board answers some hundred a second."""

MAX_IDLE_POLLS: Final = 5
"""Polls in a row that find the arm at rest away from its goal. One or two come before the board starts the move."""

MAX_SENDS: Final = 3
"""How often a move is sent where the arm stands elsewhere afterwards: a damaged line may be another move."""

MAX_HOLD_TIME: Final = timedelta(seconds=5)
"""The longest that the arm takes to come to rest; from full speed at the lowest acceleration it needs half a second."""


class Move:
    """A straight move to ``goal`` at ``feed`` mm or degrees a minute; None is as fast as the board allows."""

    def __init__(
        self, board: Board, settings: BoardSettings, tracker: PositionTracker, goal: Position, feed: float | None
    ) -> None:
        self._board, self._settings, self._tracker = board, settings, tracker
        self._goal, self._feed = goal, feed
        self._target = format_position(goal)
        self._has_left = False
        """Whether the arm was found away from where it was sent from."""

    def run(self, start: Position, wait: Wait) -> Position:
        """Move from ``start``, and return where the arm stands, which is the goal within its step size.

        The move is sent again where the arm stands elsewhere afterwards; the goal is absolute, so that is safe. Raises
        `Stopped` where ``wait`` returned True (the arm is held then), and `GantryFault` where it didn't arrive.
        """
        words = gcode_words(self._tracker.work_of(self._goal))
        for _ in range(MAX_SENDS):
            line = f"G0 {words}" if self._feed is None else f"G1 {words} F{self._feed:g}"
            self._board.command(line, on_doubt=self._tracker.note_departure)
            self._tracker.note_departure()
            seconds = self._settings.move_deadline(start, self._goal, self._feed)
            with Deadline(timedelta(seconds=seconds)) as deadline:
                state, position = self._follow(start, deadline, wait)
            if state != "Idle":
                self._hold()
                is_slow = state == "Run" and self._feed is not None  # a damaged line may ask for a lower speed
                fault = PositionUnknown if is_slow else GantryFault
                raise fault(
                    f"the arm had not arrived at {self._target} after {seconds:.0f} s, the board is in state {state}: "
                    "look what holds it, and at the board's hold and door inputs"
                )
            if self._tracker.matches(self._goal, position):
                return position
            if self._has_left and self._tracker.has_restarted(position):
                break
            self._board.note_repeat()
            start = position
        raise PositionUnknown(
            f"the arm stands at {format_position(position)} and not at {self._target}, where it was sent: "
            "look what holds it, and whether another program moves it"
        )

    def _follow(self, start: Position, deadline: Deadline, wait: Wait) -> tuple[str, Position]:
        """Return state and position when the arm rests, or when the deadline has passed."""
        idle_polls, polls_off_course, waited, state, position = 0, 0, 0.0, "Run", start
        nearly = self._settings.move_time(start, self._goal, self._feed) - POLL_INTERVAL
        while not deadline.passed():
            status = self._board.status()
            if self._is_arrival(status):
                status = self._board.status()  # the one before may have been damaged into the goal
            state, position = status.state, self._tracker.read(status)
            if self._is_arrival(status):
                break
            self._has_left = self._has_left or not self._tracker.matches(start, position)
            idle_polls = idle_polls + 1 if state == "Idle" else 0
            if idle_polls == MAX_IDLE_POLLS:
                break
            polls_off_course = polls_off_course + 1 if is_off_course(start, self._goal, position) else 0
            if polls_off_course > 1 and state != "Idle":
                self._hold()
                raise PositionUnknown(
                    f"the arm left the way to {self._target} at {format_position(position)} and was stopped: "
                    "check the cable, and whether another program moves it"
                )
            if state in codes.FINAL_STATES:
                fault = {"Alarm": BoardLocked, "Check": PositionUnknown}.get(state, GantryFault)
                raise fault(  # a damaged line may have asked for a check of G-code
                    f"the board went into state {state} on the way to {self._target}: {codes.cure_of_state(state)}"
                )
            # Close to its arrival it is asked more often, so that no time is lost there.
            interval = POLL_INTERVAL / 10 if state == "Run" and waited >= nearly else POLL_INTERVAL
            waited += interval
            if wait(interval):
                self._hold()
                raise Stopped
        return state, position

    def _is_arrival(self, status: Status) -> bool:
        return status.state == "Idle" and self._tracker.matches(self._goal, self._tracker.read(status))

    def _hold(self) -> None:
        """Bring the arm to rest without losing steps, within bounded time. Raises nothing."""
        with contextlib.suppress(GantryFault), Deadline(MAX_HOLD_TIME) as deadline:
            while not deadline.passed():
                self._board.send(HOLD)  # each time, since one may be lost
                status = self._board.status()
                if status.is_at_rest:
                    self._tracker.note_rest_at(self._tracker.read(status))
                    return


def wait_without_stop(seconds: float) -> bool:
    """Wait that many seconds. A `Wait` for calls that have no monitor, and so can't be stopped."""
    return threading.Event().wait(seconds)
