"""The arm: knows where it stands, or knows that it doesn't.

A board forgets its work coordinates with every reset, and loses steps when it stops in mid-move. So
the arm's position is in doubt after every connection, alarm, reset and broken-off move, and nothing moves
again before it is homed.

Without limit switches (``homing = false``) the board's count of steps is all there is, and it counts from where the arm
stood when it was switched on. A board that counts from zero though the arm was left elsewhere has restarted since:
nobody knows then where the arm stands, and only a person can end that. Any other count is believed. As a power cut
leaves no other trace, the arm has to rest at its zero (`Arm.to_zero`) whenever nobody uses it.
"""

from __future__ import annotations

import contextlib
import math
import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from plantimager.timelapse.drivers.gantry.motion import (
    FIELDS,
    LETTERS,
    Place,
    Settings,
    minus,
    nearest_turn,
    signs_of,
    times,
)
from plantimager.timelapse.drivers.gantry.port import GantryFault, Line, LineLost, find_usb
from plantimager.timelapse.drivers.gantry.protocol import (
    HOLD,
    RESET,
    Alarm,
    Grbl,
    Refused,
    Silent,
    Stopped,
)
from plantimager.timelapse.drivers.programs import Deadline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from plantimager.timelapse.drivers.gantry.options import ArmOptions
    from plantimager.timelapse.drivers.gantry.protocol import Status
    from plantimager.timelapse.scan.paths import Pose

    Wait = Callable[[float], bool]
    """Passes so many seconds, or fewer; says whether to stop what is being waited for. `ScanMonitor.wait` is one."""

POLL: Final = 0.1
"""Seconds between two questions whether the arm has arrived; the board answers some hundred a second."""

STILL: Final = 5
"""Polls in a row that find the arm at rest short of its goal: once or twice the board is only about to start."""

HOLD_TIME: Final = timedelta(seconds=5)
"""The longest that the arm takes to come to rest: full speed at the slowest acceleration needs half a second."""

AT_HOME: Final[Place] = (0.0, 0.0, 0.0)


class Misplaced(GantryFault):
    """The arm isn't where it should be, and nobody knows why."""


class Arm:
    """The arm of one rig. All calls from one thread at a time."""

    def __init__(self, options: ArmOptions) -> None:
        self._options = options
        self._line: Line | None = None
        self._grbl: Grbl | None = None
        """The board; None until it is awake, and after everything that calls for a reset."""
        self._settings: Settings
        self._signs: Place = (1.0, 1.0, 1.0)
        self._origin: Place | None = None
        """Machine position of the work zero; None where the board tells work positions itself."""
        self._place: Place | None = None
        """Where the arm stands; None is in doubt."""
        self._lost = False
        """Whether the arm was seen to lose its position; without homing only a new process forgets that."""
        self._away = False
        """Whether the arm stands, or may stand, away from its zero, as far as this process knows."""

    # --- knowing where it is ------------------------------------------------------------------------

    @property
    def place(self) -> Place | None:
        """Where the arm stood last: x and y in mm, pan in degrees; None while that is in doubt."""
        return self._place

    @property
    def version(self) -> str:
        """The board's version, empty while it isn't awake."""
        return self._grbl.version if self._grbl is not None else ""

    @property
    def is_out(self) -> bool:
        """Whether an arm without homing may stand away from its zero, and can be brought back by `to_zero`."""
        return self._away and not self._lost and not self._options.homing

    def cut_off(self) -> None:
        """Take note that a process before this one was cut off, and so may have left the arm anywhere."""
        self._away = True

    def ready(self, wait: Wait) -> None:
        """Connect, and home where the position is in doubt. Harmless when all is well.

        Raises
        ------
        Stopped
            ``wait`` said so.
        GantryFault
            The board isn't there, isn't the right one, or doesn't home.

        """
        if self._place is not None and not self._stands_as_known():
            self._doubt()
        if self._place is None:
            with self._doubting():
                grbl = self._connect()
                if self._options.homing:
                    self._home(grbl, wait)
                else:
                    self._trust(grbl)

    def home(self, wait: Wait) -> Place:
        """Home, doubt or not; return where the arm stands then. Raises as `ready`."""
        if not self._options.homing:
            raise GantryFault(f"there are no limit switches to home to (homing = false): {_BY_HAND}")
        self._doubt()
        self.ready(wait)
        assert self._place is not None  # noqa: S101 - ready() has seen to it; this tells mypy
        return self._place

    def examine(self) -> str:
        """Return what the board says of itself and of the arm; moves nothing, and a position that is known stays so.

        Raises
        ------
        GantryFault
            As `ready`.

        """
        if self._place is None or not self._stands_as_known():
            self.connect()
        where = "not homed yet" if self._place is None else f"standing at {place_words(self._place)}"
        return f"GRBL {self.version} on {self._options.port or find_usb(self._options.usb)}, {where}"

    def connect(self) -> None:
        """Wake the board and look at its settings; moves nothing, and leaves the position in doubt.

        Raises
        ------
        GantryFault
            As `ready`.

        """
        self._doubt()
        with self._doubting():
            self._connect()

    def _stands_as_known(self) -> bool:
        """Whether the board still is as it was left: it may have been restarted, unplugged or moved by hand."""
        if self._grbl is None or self._place is None:
            return False
        try:
            status = self._grbl.status()
            return status.state == "Idle" and self._is_at(self._place, self._place_of(status))
        except GantryFault:
            return False

    def _connect(self) -> Grbl:
        """Return the board, awake and found to be the right one."""
        if self._line is None:
            port = self._options.port or find_usb(self._options.usb)
            self._line = Line(port, self._options.baudrate, lets_run=not self._options.homing)
        grbl = Grbl(self._line, self._options.answer_timeout)
        grbl.wake()
        settings = grbl.settings()
        problems = settings.wrong(self._options.expected, homing=self._options.homing)
        if problems:
            raise GantryFault(f"the board isn't set up for this rig: {'; '.join(problems)}")
        self._settings = settings
        inverted = self._options.inverted or settings.inverted
        self._signs = signs_of(inverted)
        self._grbl = grbl
        return grbl

    def _home(self, grbl: Grbl, wait: Wait) -> None:
        try:
            within = timedelta(seconds=self._settings.homing_deadline())
            grbl.command("$H", within=within, stop=lambda: wait(0))
        except Stopped:
            self._send_quietly(RESET)
            raise
        except Alarm as alarm:
            raise Alarm(alarm.number) from alarm
        self._begin_at(grbl, AT_HOME, grbl.status())

    def _trust(self, grbl: Grbl) -> None:
        """Take the board's word for where the arm is, as far as it can be: see this module's docstring."""
        status = grbl.status()
        machine = status.machine
        if machine is None:
            raise GantryFault("without homing the board must tell machine positions; set $10=1")
        if self._lost or status.state == "Alarm" or (self._away and self._is_at(AT_HOME, machine)):
            self._lost = True
            raise GantryFault(f"nobody knows where the arm stands, and homing = false: {_BY_HAND}")
        self._away = not self._is_zero(machine)
        self._begin_at(grbl, machine, status)

    def _begin_at(self, grbl: Grbl, work: Place, status: Status) -> None:
        """Count from here: the arm stands at ``work`` in work coordinates."""
        if status.state != "Idle":
            raise GantryFault(f"the board is in state {status.state} after homing; look at its inputs (door, hold)")
        if status.machine is not None:
            clash = self._settings.soft_limit_clash(status.machine, self._signs, self._options.limits)
            if clash is not None:
                raise GantryFault(clash)
        grbl.command("G21")
        grbl.command("G90")
        grbl.command(f"G92 {_words(work)}")
        self._origin = None if status.machine is None else minus(status.machine, work)
        self._place = times(self._signs, work)

    def _place_of(self, status: Status) -> Place:
        """Return where the arm stands by a status.

        Raises
        ------
        Misplaced
            It tells machine positions, and told work positions before, so that nobody knows where the work zero is.

        """
        if status.machine is not None and self._origin is not None:
            return times(self._signs, minus(status.machine, self._origin))
        if status.work is None:
            raise Misplaced("the board tells machine positions, and told work positions before; set $10=1")
        return times(self._signs, status.work)

    def _is_at(self, goal: Place, place: Place) -> bool:
        return all(
            abs(want - have) <= self._settings.tolerance(axis)
            for axis, (want, have) in enumerate(zip(goal, place, strict=True))
        )

    def _is_zero(self, place: Place) -> bool:
        """Whether a place is the arm's zero; a turntable without end is there after each turn."""
        x, y, pan = place
        return self._is_at(AT_HOME, (x, y, pan if self._options.limits.pan else math.remainder(pan, 360.0)))

    # --- moving ---------------------------------------------------------------------------------------

    def goal_of(self, pose: Pose) -> Place:
        """Return where to go for a pose: the turntable by the shortest way, and what the pose leaves out as it is.

        Raises
        ------
        GantryFault
            The position is in doubt.

        """
        if self._place is None:
            raise GantryFault("the arm's position is in doubt; home it first")
        x, y, pan = self._place
        if pose.pan is not None:
            pan = nearest_turn(pose.pan, pan, self._options.limits.pan)
        return (x if pose.x is None else pose.x, y if pose.y is None else pose.y, pan)

    def go(self, goal: Place, wait: Wait) -> Place:
        """Go to a place and return the one read back; the board's position must be the goal's.

        Raises
        ------
        Stopped
            ``wait`` said so; the arm was brought to a stand.
        GantryFault
            It didn't arrive; the position is in doubt.

        """
        start, grbl = self._place, self._grbl
        if start is None or grbl is None:
            raise GantryFault("the arm's position is in doubt; home it first")
        if self._is_at(goal, start):
            return start
        self._place = None  # until it has arrived
        with self._doubting(moving=True):
            try:
                place = self._move(grbl, start, goal, wait)
            except Alarm as alarm:
                raise Alarm(alarm.number, f"on the way to {place_words(goal)}") from alarm
        self._place, self._away = place, not self._is_zero(place)
        return place

    def to_zero(self, wait: Wait) -> None:
        """Go to the arm's zero, getting `ready` first: a turntable whose cables wind up turns back. Raises as `go`."""
        self.ready(wait)
        x, y, pan = AT_HOME
        if self._options.limits.pan is None and self._place is not None:
            pan = nearest_turn(pan, self._place[2], None)
        self.go((x, y, pan), wait)

    def _move(self, grbl: Grbl, start: Place, goal: Place, wait: Wait) -> Place:
        feed = self._options.feed
        words = _words(times(self._signs, goal))
        grbl.command(f"G0 {words}" if feed is None else f"G1 {words} F{feed:g}")
        self._away = True
        still, state = 0, "Run"
        seconds = self._settings.move_deadline(start, goal, feed)
        with Deadline(timedelta(seconds=seconds)) as late:
            while not late.passed():
                status = grbl.status()
                state, place = status.state, self._place_of(status)
                if state == "Idle" and self._is_at(goal, place):
                    return place
                still = still + 1 if state == "Idle" else 0
                if still == STILL:
                    raise Misplaced(
                        f"the arm stands at {place_words(place)} and not at {place_words(goal)}, where it was sent: "
                        "look what holds it, and whether another program moves it"
                    )
                if state in _LOCKED:
                    raise GantryFault(
                        f"the board went into state {state} on the way to {place_words(goal)}: {_LOCKED[state]}"
                    )
                if wait(POLL):
                    self.halt()
                    raise Stopped
        self.halt()
        raise GantryFault(
            f"the arm had not arrived at {place_words(goal)} after {seconds:.0f} s, the board is in state {state}: "
            "look what holds it, and at the board's hold and door inputs"
        )

    def halt(self) -> None:
        """Bring the arm to a stand without losing steps, then reset the board; bounded, and raises nothing."""
        grbl = self._grbl
        with contextlib.suppress(GantryFault):
            if grbl is not None:
                grbl.send(HOLD)
                with Deadline(HOLD_TIME) as late:
                    while not late.passed():
                        status = grbl.status()
                        if status.state not in ("Run", "Hold", "Jog") or (status.state, status.detail) == ("Hold", 0):
                            self._away = not self._is_zero(self._place_of(status))
                            break
        self._send_quietly(RESET)
        self._doubt()

    # --- letting go -----------------------------------------------------------------------------------

    def close(self) -> None:
        """Let go of the line. Afterwards the position is in doubt: another program may use it."""
        if self._line is not None:
            self._line.close()
        self._line = self._grbl = self._place = None

    def _doubt(self) -> None:
        self._grbl = self._place = None

    @contextlib.contextmanager
    def _doubting(self, *, moving: bool = False) -> Iterator[None]:
        """Leave the position in doubt, and the arm at rest as far as can be, when something goes wrong."""
        try:
            yield
        except (GantryFault, Stopped) as problem:
            self._lost = self._lost or (moving and not isinstance(problem, Refused | Stopped))
            self._send_quietly(RESET)
            self._doubt()
            if isinstance(problem, LineLost | Silent):  # opening the port again restarts most boards, crashed or not
                self.close()
            raise

    def _send_quietly(self, signal: bytes) -> None:
        if self._line is not None:
            with contextlib.suppress(GantryFault):
                self._line.send(signal)


_BY_HAND: Final = "move the arm to its zero by hand, switch the gantry off and on, then restart the service"
"""What a person does with an arm that can't home."""

_LOCKED: Final = {
    "Alarm": "it is locked; `timelapsectl rig home`",
    "Door": "the safety door is open, or its input is; close it",
    "Sleep": "it sleeps; switch it off and on",
    "Check": "it only checks G-code; switch it off and on",
}
"""States that a move never ends in by itself, and what to do about them."""


def never_stop(seconds: float) -> bool:
    """Wait so long; nobody can break it off. A `Wait` for calls that have no monitor."""
    return threading.Event().wait(seconds)


def place_words(place: Place) -> str:
    """Return a place for people: ``x 725 y 375 pan 180``."""
    return " ".join(f"{name} {round(at, 2) + 0.0:g}" for name, at in zip(FIELDS, place, strict=True))


def _words(work: Place) -> str:
    return " ".join(f"{letter}{at + 0.0:.3f}" for letter, at in zip(LETTERS, work, strict=True))
