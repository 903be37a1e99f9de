"""The errors of the gantry, each worded for the person at the rig."""

from __future__ import annotations

from plantimager.timelapse.drivers.gantry import codes


class GantryFault(Exception):
    """Something is wrong with the gantry; worded for the person at the rig."""

    may_pass: bool = False
    """Whether the same move may be repeated at once, after the board was reset and the arm homed by itself.

    Not where the arm may have hit something, or a person may have stopped it: someone has to look first.
    """


class LineLost(GantryFault):
    """The line can't be opened, or was lost."""

    may_pass = True


class NoAnswer(GantryFault):
    """The board doesn't answer, or nothing that makes sense."""

    may_pass = True


class BoardRestarted(GantryFault):
    """The board's banner came although the driver had not reset it."""

    def __init__(self, *, may_pass: bool = True) -> None:
        self.may_pass = may_pass
        super().__init__(
            "the board restarted by itself, which loses the arm's position: check the power supply and the "
            "emergency stop, then `timelapsectl rig home`"
        )


class BoardReset(BoardRestarted):
    """A damaged byte of a line reset the board, which keeps its count of steps then."""


class Alarm(GantryFault):
    """The board stopped by itself and is locked."""

    def __init__(self, code: str, where: str = "") -> None:
        self.code = code
        """A number, or the board's own words."""
        self.may_pass = codes.may_be_damaged_line(code)
        super().__init__(codes.describe_alarm(code, where))


class CommandRefused(GantryFault):
    """The board refused a line."""

    def __init__(self, code: str, sent: str) -> None:
        self.is_unknown = codes.is_unknown_command(code)
        """Whether the board doesn't know it at all."""
        super().__init__(codes.describe_error(code, sent))


class BoardLocked(GantryFault):
    """The board is in alarm, and the line that says which was lost: it may be the one of a limit switch."""


class PositionUnknown(GantryFault):
    """It is unknown where the arm stands, or it stands elsewhere than it should."""

    may_pass = True


class Stopped(Exception):
    """The wait was ended because the caller asked for it."""
