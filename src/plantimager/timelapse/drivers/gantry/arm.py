"""The arm: connected, homed, moved and stopped. `position` says what is known of where it stands."""

from __future__ import annotations

import contextlib
from collections import deque
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from plantimager.timelapse.drivers.gantry import codes
from plantimager.timelapse.drivers.gantry.board import RESET, Board
from plantimager.timelapse.drivers.gantry.gantry_faults import (
    Alarm,
    BoardRestarted,
    GantryFault,
    LineLost,
    NoAnswer,
    PositionUnknown,
    Stopped,
)
from plantimager.timelapse.drivers.gantry.motion import (
    ZERO,
    format_position,
    nearest_equivalent_angle,
    position_of,
    scale,
)
from plantimager.timelapse.drivers.gantry.move import Move
from plantimager.timelapse.drivers.gantry.port import SerialLine, find_usb
from plantimager.timelapse.drivers.gantry.position import PositionTracker
from plantimager.timelapse.support.progress import current_report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from plantimager.timelapse.drivers.gantry.arm_options import ArmOptions
    from plantimager.timelapse.drivers.gantry.board_settings import BoardSettings
    from plantimager.timelapse.drivers.gantry.motion import Position
    from plantimager.timelapse.drivers.gantry.move import Wait
    from plantimager.timelapse.drivers.gantry.replies import Status
    from plantimager.timelapse.scan.pose import Pose


MAX_NOTES: Final = 5
"""What is kept of `Arm.take_notes`, whose notes come again and again where the cable is bad."""


class Arm:
    """The arm of one rig. It is called from one thread at a time."""

    def __init__(self, options: ArmOptions) -> None:
        self._options = options
        self._line: SerialLine | None = None
        self._board: Board | None = None
        """None until it is awake and fits the rig, and after everything that calls for a reset."""
        self._settings: BoardSettings
        self._tracker = PositionTracker(options)
        self._repairs: deque[str] = deque(maxlen=MAX_NOTES)

    @property
    def position(self) -> Position | None:
        """The last known position: x and y in mm, pan in degrees; None while it is unknown."""
        return self._tracker.current

    @property
    def can_return(self) -> bool:
        """Whether an arm without homing may stand away from its zero, and `go_to_zero` can bring it back."""
        return self._tracker.may_be_away and not self._tracker.is_lost and not self._options.homing

    def take_notes(self) -> list[str]:
        """Return what had to be repeated since the last call, for the note of a scan."""
        notes = list(self._repairs)
        self._repairs.clear()
        return notes

    def note_interruption(self) -> None:
        """Note that the process before this one was killed, and may have left the arm anywhere."""
        self._tracker.note_departure()

    # --- connecting and homing ------------------------------------------------------------------------

    def make_ready(self, wait: Wait) -> None:
        """Connect, and home where the position is unknown. Harmless when all is well.

        Raises `Stopped` where ``wait`` returned True, and `GantryFault` where the board doesn't answer, isn't the right
        one, or doesn't home.
        """
        if self.position is not None and not self._stands_as_known():
            self._tracker.forget()
        if self.position is None:
            self._despite_restart(lambda: self._connect_and_home(wait))

    def _despite_restart(self, step: Callable[[], object]) -> None:
        """Carry out a step, again where the board restarted in it: a reset, a dip of its supply, a damaged byte."""
        try:
            with self._forgetting_on_error():
                step()
        except (BoardRestarted, PositionUnknown) as fault:
            current_report()(f"{fault}; {_AGAIN}")  # each may last nearly as long as a stall
            with self._forgetting_on_error():
                step()

    def _connect_and_home(self, wait: Wait) -> None:
        board = self._connect()
        if self._options.homing:
            timeout = timedelta(seconds=self._settings.homing_deadline())
            self._start_at(board, ZERO, board.home(timeout, lambda: wait(0)))
        else:
            self._believe(board)

    def home(self, wait: Wait) -> Position:
        """Home, whether or not the position is known, and return where the arm stands then. Raises as `make_ready`."""
        if not self._options.homing:
            raise GantryFault(f"there are no limit switches to home to (homing = false): {_CURE_BY_HAND}")
        self._tracker.forget()
        self.make_ready(wait)
        assert self.position is not None  # noqa: S101 - make_ready() has seen to it; this informs mypy
        return self.position

    def examine(self) -> str:
        """Return what the board reports of itself and of the arm; raises as `make_ready`.

        Nothing moves, and a known position stays known.
        """
        if not self._stands_as_known():
            self._tracker.forget()
            self._despite_restart(self._connect)
        board = self._board
        where = "not homed yet" if self.position is None else f"standing at {format_position(self.position)}"
        firmware = (board and board.firmware) or "a board without a name"
        return f"{firmware} on {self._port}, {where}"

    def _stands_as_known(self) -> bool:
        """Whether the board is as it was left: it may have been restarted, unplugged or moved by hand."""
        board = self._board
        if board is not None and self.position is not None:
            with contextlib.suppress(GantryFault):
                status = board.rest_status()
                return status.state == "Idle" and self._tracker.matches(self.position, self._tracker.read(status))
        return False

    @property
    def _port(self) -> str:
        """The device of the line."""
        return self._options.port or find_usb(self._options.usb)

    def _connect(self) -> Board:
        """Open the line where it isn't, and return the board after a reset, with settings that fit the rig."""
        options = self._options
        if self._line is None:
            keep_dtr = not options.homing or not options.dtr
            self._line = SerialLine(self._port, options.baudrate, keep_dtr=keep_dtr, dtr=options.dtr)
        board = Board(self._line, options.answer_timeout, options.boot_timeout)
        board.wake()
        reported = board.settings()
        settings = reported.completed(options.expected, inverted=options.inverted)
        problems = reported.contradictions(options.expected) + settings.problems(homing=options.homing)
        if problems:
            raise GantryFault(f"the board isn't set up for this rig: {'; '.join(problems)}")
        self._board, self._settings = board, settings
        self._tracker.use(settings)
        return board

    def _believe(self, board: Board) -> None:
        """Take the position from the board's count of steps, where it can be believed."""
        status = board.rest_status()
        machine = status.machine
        if machine is None:
            raise GantryFault("without homing the board must report machine positions; set $10=1")
        if status.state == "Alarm" and self._settings.values.get(22):
            cure = "set $22=0, or leave homing = false out of [drivers.grbl]"
            raise GantryFault(f"the board is locked until it has homed ($22=1), but homing = false; {cure}")
        if self._tracker.is_lost or status.state == "Alarm" or self._tracker.has_restarted(machine):
            self._tracker.lose()
            raise GantryFault(f"nobody knows where the arm stands, and homing = false: {_CURE_BY_HAND}")
        self._tracker.note_rest_at(machine)
        self._start_at(board, scale(self._tracker.signs, machine), status)

    def _start_at(self, board: Board, position: Position, status: Status) -> None:
        """Count from here: the arm stands at ``position``."""
        if status.state != "Idle":
            raise GantryFault(f"the board is in state {status.state} after homing: {codes.cure_of_state(status.state)}")
        if status.machine is not None:
            conflict = self._settings.soft_limit_conflict(status.machine, self._tracker.signs, self._options.limits)
            if conflict is not None:
                raise GantryFault(conflict)
        board.set_coordinates(self._tracker.work_of(position), status.machine)
        self._tracker.start_at(position, status)

    # --- moving ---------------------------------------------------------------------------------------

    def goal_of(self, pose: Pose) -> Position:
        """Return the position of a pose, see `position_of`. Raises `GantryFault` where the present one is unknown."""
        if self.position is None:
            raise GantryFault(_IN_DOUBT)
        return position_of(pose, self.position, self._options.limits)

    def go(self, goal: Position, wait: Wait) -> Position:
        """Go to a position and return the one that the board reports then, which is the goal within its step size.

        Where the fault may be that of a damaged byte or a hung board, the arm is homed and goes again. Raises `Stopped`
        where ``wait`` returned True (the arm is held then), and `GantryFault` where it didn't arrive; the position is
        unknown then.
        """
        try:
            return self._go_once(goal, wait)
        except GantryFault as fault:
            if not fault.may_pass:
                raise
            report = current_report()  # moves and homing may each last nearly as long as a stall
            report(f"{fault}; {_AGAIN}")
            try:
                self.make_ready(wait)
            except GantryFault:
                raise fault from None  # it is the cause
            report("the arm is ready again")
            self._repairs.append(f"{fault}; the arm was made ready again and went on")
        return self._go_once(goal, wait)

    def _go_once(self, goal: Position, wait: Wait) -> Position:
        start, board = self.position, self._board
        if start is None or board is None:
            raise GantryFault(_IN_DOUBT)
        if self._tracker.matches(goal, start):
            return start
        self._tracker.forget()  # until it has arrived
        with self._forgetting_on_error(moving=True):
            try:
                self._require_rest_at(start, board)
                position = Move(board, self._settings, self._tracker, goal, self._options.feed).run(start, wait)
            except Alarm as alarm:
                raise Alarm(alarm.code, f"on the way to {format_position(goal)}") from alarm
        self._tracker.set_current(position)
        repeats = board.take_repeats()
        if repeats:
            self._repairs.append(f"the board was asked again {repeats} times, as bytes were lost; check the cable")
        return position

    def _require_rest_at(self, position: Position, board: Board) -> None:
        """Raise a `GantryFault` where the board restarted since the last move: someone may have stopped it.

        The one whose banner was damaged, or isn't known, counts from elsewhere.
        """
        if not self._tracker.matches(position, self._tracker.read(board.status())):
            found = self._tracker.read(board.rest_status())
            if not self._tracker.matches(position, found):
                raise PositionUnknown(
                    f"the arm stands at {format_position(found)} and not at {format_position(position)}, where it was "
                    "left: look whether another program moves it, and check the board's power supply"
                )

    def go_to_zero(self, wait: Wait) -> None:
        """Go to the arm's zero, after `make_ready`. Raises as `go`.

        A turntable with limits turns back to 0, which unwinds its cables; one without goes to the nearest whole turn.
        """
        self.make_ready(wait)
        x, y, pan = ZERO
        if self._options.limits.pan is None and self.position is not None:
            pan = nearest_equivalent_angle(pan, self.position[2], None)
        self.go((x, y, pan), wait)

    # --- closing --------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the line. Afterwards the position is unknown: another program may use the arm.

        Opening it again restarts most boards, even hung ones.
        """
        self._board = None
        if self._line is not None:
            self._line.close()
        self._line = None
        self._tracker.forget()

    @contextlib.contextmanager
    def _forgetting_on_error(self, *, moving: bool = False) -> Iterator[None]:
        """Forget the position and reset the board, which stops the arm, where the block raises an error."""
        try:
            yield
        except (GantryFault, Stopped) as problem:
            if moving:
                self._tracker.note_failed_move(problem)
            self._board = None
            if self._line is not None:
                with contextlib.suppress(GantryFault):
                    self._line.send(RESET)
            self._tracker.forget()
            if isinstance(problem, LineLost | NoAnswer):
                self.close()
            raise


_AGAIN: Final = "the arm is made ready again"
_IN_DOUBT: Final = "the arm's position is in doubt; home it first"
_CURE_BY_HAND: Final = "move the arm to its zero by hand, switch the gantry off and on, then restart the service"
"""The cure for an arm that can't home."""
