"""The protocol of GRBL 1.1: ``ok`` answers each line, a status answers ``?``; alarms and banners come unasked.

A board answers a move with ``ok`` when it has planned the move, not when it has made it. After a soft limit it doesn't
answer until it is reset, and while it homes it doesn't answer ``?``. So every wait has a deadline.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from plantimager.timelapse.drivers.deadline import Deadline
from plantimager.timelapse.drivers.gantry import codes
from plantimager.timelapse.drivers.gantry.board_settings import BoardSettings
from plantimager.timelapse.drivers.gantry.port import GantryFault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import timedelta

    from plantimager.timelapse.drivers.gantry.motion import Position
    from plantimager.timelapse.drivers.gantry.port import SerialLine

RESET: Final = b"\x18"
HOLD: Final = b"!"
STATUS: Final = b"?"
EMPTY_LINES: Final = b"\r\n\r\n"
ANSWERS_TO_EMPTY_LINES: Final = 4
"""Each CR and each LF ends a line."""

RECEIVE_TIMEOUT: Final = 0.05
"""Seconds between two looks at whether a wait has to end."""

QUIET_TIME: Final = 0.1
"""Seconds without a byte after which no more is on its way; at 115 200 baud a line takes 10 ms."""

MAX_RESETS: Final = 4
"""Each is followed by a wait for its answer: a board that restarts when its port is opened takes two seconds."""

MAX_ANSWER_LINES: Final = 200
"""Lines that are kept of an answer. ``$$`` takes 34; a faulty board may send lines without end."""

_BANNER: Final = re.compile(r"Grbl\s+(\S+)", re.IGNORECASE)
_NUMBER: Final = r"-?\d{1,7}(?:\.\d{1,9})?"
"""A number as a board writes it. A longer one was damaged on its way; as infinity it would spoil every calculation."""

_SETTING: Final = re.compile(rf"\$(\d{{1,3}})=({_NUMBER})(?: .*)?", re.ASCII)
_CODE: Final = re.compile(r"(error|ALARM):(\d{1,3})", re.ASCII)
_STATUS: Final = re.compile(r"<(\w+)(?::(\d{1,3}))?((?:\|[^|>]+)*)>", re.ASCII)
_POSITION: Final = re.compile(rf"({_NUMBER}),({_NUMBER}),({_NUMBER})", re.ASCII)


class NoAnswer(GantryFault):
    """The board doesn't answer."""


class BoardRestarted(GantryFault):
    """The board's banner came although the driver had not reset it."""


class Alarm(GantryFault):
    """The board stopped by itself and is locked."""

    def __init__(self, number: int, where: str = "") -> None:
        self.number = number
        super().__init__(codes.describe_alarm(number, where))


class CommandRefused(GantryFault):
    """The board refused a line."""

    def __init__(self, number: int, sent: str) -> None:
        self.number, self.sent = number, sent
        super().__init__(codes.describe_error(number, sent))


class Stopped(Exception):
    """The wait was ended because the caller asked for it."""


@dataclass(frozen=True, slots=True)
class Status:
    """An answer to ``?``."""

    state: str
    """``Idle``, ``Run``, ``Hold``, ``Home``, ``Alarm``, ``Door`` …"""
    detail: int | None
    """The number after it: ``Hold:0`` is at rest, ``Hold:1`` is still slowing down."""
    machine: Position | None
    """Machine position, where reported."""
    work: Position | None
    """Work position, reported instead where ``$10`` is even."""
    offset: Position | None
    """Machine position minus work position; reported now and then."""

    @property
    def is_at_rest(self) -> bool:
        """Whether the arm doesn't move."""
        return self.state not in ("Run", "Hold", "Jog") or (self.state, self.detail) == ("Hold", 0)


def read_status(line: str) -> Status | None:
    """Return the status in a line, None if the line is damaged or something else."""
    match = _STATUS.fullmatch(line)
    if match is None:
        return None
    fields = dict(part.partition(":")[::2] for part in match[3].split("|")[1:])
    positions = {key: _read_position(fields[key]) for key in ("MPos", "WPos", "WCO") if key in fields}
    if None in positions.values() or not positions.keys() & {"MPos", "WPos"}:
        return None
    detail = int(match[2]) if match[2] else None
    return Status(match[1], detail, positions.get("MPos"), positions.get("WPos"), positions.get("WCO"))


def _read_position(text: str) -> Position | None:
    match = _POSITION.fullmatch(text)
    return None if match is None else (float(match[1]), float(match[2]), float(match[3]))


class Grbl:
    """A board on an open line."""

    def __init__(self, line: SerialLine, answer_timeout: timedelta) -> None:
        self._line, self._answer_timeout = line, answer_timeout
        self.version = ""
        """The version in its banner: ``1.1h``."""

    def wake(self) -> None:
        """Reset the board, so that its state is known: no incomplete line, no move, no work coordinates.

        Raises
        ------
        GantryFault
            It doesn't answer as GRBL 1.1 does.

        """
        for _ in range(MAX_RESETS):
            self._line.discard_input()
            self._line.send(RESET)
            if self._receive_banner() and self._is_synchronised():
                return
        problem = "the board doesn't answer; check its power, the port and the baud rate, and that it is GRBL 1.1"
        raise NoAnswer(f"{self._line.port}: {problem}")

    def _receive_banner(self) -> bool:
        for line in self._lines(self._answer_timeout):
            banner = _BANNER.match(line)
            if banner is not None:
                self.version = banner[1]
                return True
        return False

    def _is_synchronised(self) -> bool:
        """Whether every line gets its own answer from now on.

        Everything that is still on its way is received first, such as the banner of an earlier reset. Otherwise an
        ``ok`` too many would be taken for the answer to the next line, and so on.
        """
        with Deadline(self._answer_timeout) as deadline:
            while self._line.receive(QUIET_TIME) is not None:
                if deadline.passed():
                    return False
        self._line.send(EMPTY_LINES)
        answers = 0
        for line in self._lines(self._answer_timeout):
            if _BANNER.match(line):
                return False
            answers += line == "ok"
            if answers == ANSWERS_TO_EMPTY_LINES:
                return True
        return False

    def settings(self) -> BoardSettings:
        """Return the settings of the board.

        Raises
        ------
        GantryFault
            As `command`.

        """
        matches = (_SETTING.fullmatch(line) for line in self.command("$$"))
        return BoardSettings({int(match[1]): float(match[2]) for match in matches if match is not None})

    def command(
        self, text: str, *, timeout: timedelta | None = None, should_stop: Callable[[], bool] = lambda: False
    ) -> list[str]:
        """Send a line and return the lines that came before its ``ok``.

        Raises
        ------
        Stopped
            ``should_stop()`` returned True before the answer came.
        GantryFault
            The board refused, went into alarm, restarted, or didn't answer within ``timeout``.

        """
        self._line.send(text.encode() + b"\n")
        answer: deque[str] = deque(maxlen=MAX_ANSWER_LINES)
        for line in self._lines(timeout or self._answer_timeout, should_stop):
            if line == "ok":
                return list(answer)
            error = self._error_number(line)
            if error is not None:
                raise CommandRefused(error, text)
            answer.append(line)
        garbage = [line for line in answer if not line.startswith(("$", "[", "<"))]
        heard = f", but said {garbage[-1][:40]!r}" if garbage else ""
        raise NoAnswer(
            f"{self._line.port}: the board didn't answer {text!r}{heard}; check the cable, and keep it off the motors'"
        )

    def status(self) -> Status:
        """Ask for the status.

        Raises
        ------
        GantryFault
            Alarm, restart, or no answer.

        """
        self._line.send(STATUS)
        heard = ""
        for line in self._lines(self._answer_timeout):
            status = read_status(line)
            if status is not None:
                return status
            self._error_number(line)
            if line.startswith("<"):
                self._line.send(STATUS)  # damaged on its way
            heard = line or heard
        garbage = f" but {heard[:40]!r}" if heard else ""
        raise NoAnswer(f"{self._line.port}: the board doesn't report its state{garbage}; check its power and the cable")

    def send(self, signal: bytes) -> None:
        """Send a byte that the board obeys at once and doesn't answer: `HOLD`, `RESET`."""
        self._line.send(signal)

    def _lines(self, timeout: timedelta, should_stop: Callable[[], bool] = lambda: False) -> Iterator[str]:
        """Yield the lines that come within a time, without empty ones. Raises `Stopped`."""
        with Deadline(timeout) as deadline:
            while not deadline.passed():
                if should_stop():
                    raise Stopped
                line = self._line.receive(RECEIVE_TIMEOUT)
                if line:
                    yield line

    def _error_number(self, line: str) -> int | None:
        """Return the number of an ``error:``; raise the error that an alarm or a banner stands for."""
        code = _CODE.match(line)
        if code is not None and code[1] == "ALARM":
            raise Alarm(int(code[2]))
        if _BANNER.match(line):
            raise BoardRestarted(
                "the board restarted by itself, which loses the arm's position: check the power supply and the "
                "emergency stop, then `timelapsectl rig home`"
            )
        return int(code[2]) if code is not None else None
