"""The connection to a rig's board: a line that is opened when it is needed, and a board that fits the options."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from plantimager.timelapse.drivers.gantry.board import RESET, Board
from plantimager.timelapse.drivers.gantry.gantry_faults import GantryFault
from plantimager.timelapse.drivers.gantry.port import SerialLine, find_usb

if TYPE_CHECKING:
    from plantimager.timelapse.drivers.gantry.arm_options import ArmOptions
    from plantimager.timelapse.drivers.gantry.board_settings import BoardSettings


class BoardConnection:
    """The connection to one board."""

    def __init__(self, options: ArmOptions) -> None:
        self._options = options
        self._line: SerialLine | None = None
        self.board: Board | None = None
        """The board; None until it is awake, and after everything that calls for a reset."""

    @property
    def port(self) -> str:
        """The device of the line."""
        return self._options.port or find_usb(self._options.usb)

    def connect(self) -> tuple[Board, BoardSettings]:
        """Return the board after a reset, and its settings, which are right for the rig.

        Raises `GantryFault` where the board doesn't answer, or isn't the right one.
        """
        options = self._options
        if self._line is None:
            keep_dtr = not options.homing or not options.dtr
            self._line = SerialLine(self.port, options.baudrate, keep_dtr=keep_dtr, dtr=options.dtr)
        board = Board(self._line, options.answer_timeout, options.boot_timeout)
        board.wake()
        reported = board.settings()
        settings = reported.completed(options.expected, inverted=options.inverted)
        problems = reported.contradictions(options.expected) + settings.problems(homing=options.homing)
        if problems:
            raise GantryFault(f"the board isn't set up for this rig: {'; '.join(problems)}")
        self.board = board
        return board, settings

    def reset(self) -> None:
        """Reset the board, which stops the arm. Raises nothing."""
        self.board = None
        if self._line is not None:
            with contextlib.suppress(GantryFault):
                self._line.send(RESET)

    def close(self) -> None:
        """Close the line; opening it again restarts most boards, even hung ones."""
        self.board = None
        if self._line is not None:
            self._line.close()
        self._line = None
