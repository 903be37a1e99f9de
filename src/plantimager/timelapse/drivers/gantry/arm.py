"""The arm: connected, homed, moved and stopped. `position` says what is known of where it stands."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from plantimager.timelapse.drivers.deadline import Deadline
from plantimager.timelapse.drivers.gantry.motion import (
    ZERO,
    format_position,
    gcode_words,
    is_off_course,
    nearest_equivalent_angle,
    scale,
)
from plantimager.timelapse.drivers.gantry.port import GantryFault, LineLost, SerialLine, find_usb
from plantimager.timelapse.drivers.gantry.position import PositionTracker, PositionUnknown
from plantimager.timelapse.drivers.gantry.protocol import (
    HOLD,
    RESET,
    Alarm,
    BoardRestarted,
    CommandRefused,
    Grbl,
    NoAnswer,
    Stopped,
)
from plantimager.timelapse.support.progress import current_report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from plantimager.timelapse.drivers.gantry.board_settings import BoardSettings
    from plantimager.timelapse.drivers.gantry.motion import Position
    from plantimager.timelapse.drivers.gantry.options import ArmOptions
    from plantimager.timelapse.drivers.gantry.replies import Status
    from plantimager.timelapse.scan.pose import Pose

    Wait = Callable[[float], bool]
    """Waits that many seconds, or fewer; returns whether to stop what is waited for. `ScanMonitor.wait` is one."""

POLL_INTERVAL: Final = 0.1
"""Seconds between two questions whether the arm has arrived; the board answers some hundred a second."""

MAX_IDLE_POLLS: Final = 5
"""Polls in a row that find the arm at rest away from its goal. One or two come before the board starts the move."""

MAX_SENDS: Final = 3
"""How often a move is sent where the arm stands elsewhere afterwards: a damaged line may be another move."""

MAX_NOTES: Final = 5
"""What is kept of `Arm.take_notes`, whose notes come again and again where the cable is bad."""

MAX_HOLD_TIME: Final = timedelta(seconds=5)
"""The longest that the arm takes to come to rest; from full speed at the lowest acceleration it needs half a second."""


class BoardLocked(GantryFault):
    """The board is in alarm, and the line that says which was lost: it may be the one of a limit switch."""


class Arm:
    """The arm of one rig. It is called from one thread at a time."""

    def __init__(self, options: ArmOptions) -> None:
        self._options = options
        self._line: SerialLine | None = None
        self._grbl: Grbl | None = None
        """The board; None until it is awake, and after everything that calls for a reset."""
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

        Raises
        ------
        Stopped
            ``wait`` returned True.
        GantryFault
            The board doesn't answer, isn't the right one, or doesn't home.
        """
        if self.position is not None and not self._stands_as_known():
            self._forget()
        if self.position is None:
            self._despite_restart(lambda: self._connect_and_home(wait))

    def _despite_restart(self, step: Callable[[], object]) -> None:
        """Carry out a step, again where the board restarted in it: a reset, a dip of its supply, a damaged byte."""
        try:
            with self._forgetting_on_error():
                step()
        except BoardRestarted:
            with self._forgetting_on_error():
                step()

    def _connect_and_home(self, wait: Wait) -> None:
        grbl = self._connect()
        if self._options.homing:
            timeout = timedelta(seconds=self._settings.homing_deadline())
            self._start_at(grbl, ZERO, grbl.home(timeout, lambda: wait(0)))
        else:
            self._believe(grbl)

    def home(self, wait: Wait) -> Position:
        """Home, whether or not the position is known, and return where the arm stands then. Raises as `make_ready`."""
        if not self._options.homing:
            raise GantryFault(f"there are no limit switches to home to (homing = false): {_CURE_BY_HAND}")
        self._forget()
        self.make_ready(wait)
        assert self.position is not None  # noqa: S101 - make_ready() has seen to it; this informs mypy
        return self.position

    def examine(self) -> str:
        """Return what the board reports of itself and of the arm; raises as `make_ready`.

        Nothing moves, and a known position stays known.
        """
        if not self._stands_as_known():
            self._forget()
            self._despite_restart(self._connect)
        firmware = self._grbl.firmware if self._grbl is not None else ""
        where = "not homed yet" if self.position is None else f"standing at {format_position(self.position)}"
        return f"{firmware or 'a board without a name'} on {self._options.port or find_usb(self._options.usb)}, {where}"

    def _stands_as_known(self) -> bool:
        """Whether the board is as it was left: it may have been restarted, unplugged or moved by hand."""
        if self._grbl is None or self.position is None:
            return False
        with contextlib.suppress(GantryFault):
            status = self._grbl.rest_status()
            return status.state == "Idle" and self._tracker.matches(self.position, self._tracker.read(status))
        return False

    def _connect(self) -> Grbl:
        """Return the board, after a reset and with the right settings."""
        if self._line is None:
            port = self._options.port or find_usb(self._options.usb)
            keep_dtr = not self._options.homing or not self._options.dtr
            self._line = SerialLine(port, self._options.baudrate, keep_dtr=keep_dtr, dtr=self._options.dtr)
        grbl = Grbl(self._line, self._options.answer_timeout, self._options.boot_timeout)
        grbl.wake()
        reported = grbl.settings()
        problems = reported.contradictions(self._options.expected)
        settings = reported.completed(self._options.expected, inverted=self._options.inverted)
        problems += settings.problems(homing=self._options.homing)
        if problems:
            raise GantryFault(f"the board isn't set up for this rig: {'; '.join(problems)}")
        self._settings = settings
        self._tracker.use(settings)
        self._grbl = grbl
        return grbl

    def _believe(self, grbl: Grbl) -> None:
        """Take the position from the board's count of steps, where that can be believed: see `position`."""
        status = grbl.rest_status()
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
        self._start_at(grbl, machine, status)

    def _start_at(self, grbl: Grbl, work: Position, status: Status) -> None:
        """Count from here: the arm stands at ``work``, in work coordinates."""
        if status.state != "Idle":
            raise GantryFault(f"the board is in state {status.state} after homing: {_cure_of(status.state)}")
        if status.machine is not None:
            conflict = self._settings.soft_limit_conflict(status.machine, self._tracker.signs, self._options.limits)
            if conflict is not None:
                raise GantryFault(conflict)
        grbl.set_coordinates(work, status.machine)
        self._tracker.start_at(work, status)

    # --- moving ---------------------------------------------------------------------------------------

    def goal_of(self, pose: Pose) -> Position:
        """Return the position of a pose: the turntable by the shortest way; an axis that it leaves out stays as it is.

        Raises
        ------
        GantryFault
            The position is unknown.
        """
        if self.position is None:
            raise GantryFault("the arm's position is in doubt; home it first")
        x, y, pan = self.position
        if pose.pan is not None:
            pan = nearest_equivalent_angle(pose.pan, pan, self._options.limits.pan)
        return (x if pose.x is None else pose.x, y if pose.y is None else pose.y, pan)

    def go(self, goal: Position, wait: Wait) -> Position:
        """Go to a position and return the one that the board reports then, which is the goal within its step size.

        Where the fault may be that of a damaged byte or a hung board, the arm is homed and goes again.

        Raises
        ------
        Stopped
            ``wait`` returned True; the arm was stopped.
        GantryFault
            It didn't arrive; the position is unknown.
        """
        try:
            return self._go_once(goal, wait)
        except GantryFault as fault:
            if not fault.may_pass:
                raise
            report = current_report()  # moves and homing may each last nearly as long as a stall
            report(f"{fault}; the arm is made ready again")
            try:
                self.make_ready(wait)
            except GantryFault:
                raise fault from None  # it is the cause
            report("the arm is ready again")
            self._repairs.append(f"{fault}; the arm was made ready again and went on")
        return self._go_once(goal, wait)

    def _go_once(self, goal: Position, wait: Wait) -> Position:
        start, grbl = self.position, self._grbl
        if start is None or grbl is None:
            raise GantryFault("the arm's position is in doubt; home it first")
        if self._tracker.matches(goal, start):
            return start
        self._tracker.forget()  # until it has arrived
        with self._forgetting_on_error(moving=True):
            try:
                grbl.status()  # raises for a restart since the last move: someone may have stopped it
                position = self._move(grbl, start, goal, wait)
            except Alarm as alarm:
                raise Alarm(alarm.code, f"on the way to {format_position(goal)}") from alarm
        self._tracker.set_current(position)
        repeats = grbl.take_repeats()
        if repeats:
            self._repairs.append(f"the board was asked again {repeats} times, as bytes were lost; check the cable")
        return position

    def go_to_zero(self, wait: Wait) -> None:
        """Go to the arm's zero, after `make_ready`. Raises as `go`.

        A turntable with limits turns back to 0, which unwinds its cables; one without goes to the nearest whole turn.
        """
        self.make_ready(wait)
        x, y, pan = ZERO
        if self._options.limits.pan is None and self.position is not None:
            pan = nearest_equivalent_angle(pan, self.position[2], None)
        self.go((x, y, pan), wait)

    def _move(self, grbl: Grbl, start: Position, goal: Position, wait: Wait) -> Position:
        """Send the move, again where the arm stands elsewhere afterwards; the goal is absolute, so that is safe."""
        feed, target = self._options.feed, format_position(goal)
        words = gcode_words(scale(self._tracker.signs, goal))
        for _ in range(MAX_SENDS):
            grbl.command(f"G0 {words}" if feed is None else f"G1 {words} F{feed:g}")
            self._tracker.note_departure()
            seconds = self._settings.move_deadline(start, goal, feed)
            with Deadline(timedelta(seconds=seconds)) as deadline:
                state, position = self._follow(grbl, start, goal, deadline, wait)
            if state != "Idle":
                break
            if self._tracker.matches(goal, position):
                return position
            grbl.note_repeat()
            start = position
        else:
            raise PositionUnknown(
                f"the arm stands at {format_position(position)} and not at {target}, where it was sent: "
                "look what holds it, and whether another program moves it"
            )
        self.halt()
        raise GantryFault(
            f"the arm had not arrived at {target} after {seconds:.0f} s, the board is in state {state}: "
            "look what holds it, and at the board's hold and door inputs"
        )

    def _follow(
        self, grbl: Grbl, start: Position, goal: Position, deadline: Deadline, wait: Wait
    ) -> tuple[str, Position]:
        """Return state and position when the arm rests, or when the deadline has passed."""
        idle_polls, polls_off_course, waited, state, position = 0, 0, 0.0, "Run", start
        nearly = self._settings.move_time(start, goal, self._options.feed) - POLL_INTERVAL
        while not deadline.passed():
            status = grbl.status()
            state, position = status.state, self._tracker.read(status)
            idle_polls = idle_polls + 1 if state == "Idle" else 0
            if state == "Idle" and (self._tracker.matches(goal, position) or idle_polls == MAX_IDLE_POLLS):
                break
            polls_off_course = polls_off_course + 1 if is_off_course(start, goal, position) else 0
            if polls_off_course > 1 and state != "Idle":
                self.halt()
                raise PositionUnknown(
                    f"the arm left the way to {format_position(goal)} at {format_position(position)} and was stopped: "
                    "check the cable, and whether another program moves it"
                )
            if state in _FINAL_STATES:
                fault = BoardLocked if state == "Alarm" else GantryFault
                raise fault(
                    f"the board went into state {state} on the way to {format_position(goal)}: {_cure_of(state)}"
                )
            # Close to its arrival it is asked more often, so that no time is lost there.
            interval = POLL_INTERVAL / 10 if state == "Run" and waited >= nearly else POLL_INTERVAL
            waited += interval
            if wait(interval):
                self.halt()
                raise Stopped
        return state, position

    def halt(self) -> None:
        """Stop the arm without losing steps, then reset the board; within bounded time. Raises nothing."""
        grbl = self._grbl
        with contextlib.suppress(GantryFault):
            if grbl is not None:
                with Deadline(MAX_HOLD_TIME) as deadline:
                    while not deadline.passed():
                        grbl.send(HOLD)  # each time, since one may be lost
                        status = grbl.status()
                        if status.is_at_rest:
                            self._tracker.note_rest_at(self._tracker.read(status))
                            break
        self._try_to_send(RESET)
        self._forget()

    # --- closing --------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the line. Afterwards the position is unknown: another program may use the arm."""
        if self._line is not None:
            self._line.close()
        self._line = None
        self._forget()

    def _forget(self) -> None:
        """Note that the position is unknown, and that the board has to be reset."""
        self._grbl = None
        self._tracker.forget()

    @contextlib.contextmanager
    def _forgetting_on_error(self, *, moving: bool = False) -> Iterator[None]:
        """Forget the position and reset the board, which stops the arm, where the block raises an error."""
        try:
            yield
        except (GantryFault, Stopped) as problem:
            if moving and not isinstance(problem, CommandRefused | PositionUnknown | Stopped):
                self._tracker.lose()
            self._try_to_send(RESET)
            self._forget()
            if isinstance(problem, LineLost | NoAnswer):  # opening the port again restarts most boards, even hung ones
                self.close()
            raise

    def _try_to_send(self, signal: bytes) -> None:
        if self._line is not None:
            with contextlib.suppress(GantryFault):
                self._line.send(signal)


_CURE_BY_HAND: Final = "move the arm to its zero by hand, switch the gantry off and on, then restart the service"
"""The cure for an arm that can't home."""

_CURES: Final = {
    "Alarm": "it is locked; `timelapsectl rig home`",
    "Door": "the safety door is open, or its input is; close it",
    "Sleep": "it sleeps; switch it off and on",
    "Check": "it only checks G-code; switch it off and on",
    "Hold": "look at its hold input",
}
"""Of the states in which nothing moves."""

_FINAL_STATES: Final = frozenset(_CURES) - {"Hold"}
"""States that a board doesn't leave by itself."""


def _cure_of(state: str) -> str:
    """Return what a person does about a board that is in a state and should not be."""
    return _CURES.get(state, "see with a terminal what it says")


def wait_without_stop(seconds: float) -> bool:
    """Wait that many seconds. A `Wait` for calls that have no monitor, and so can't be stopped."""
    return threading.Event().wait(seconds)
