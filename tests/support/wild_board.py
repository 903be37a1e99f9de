r"""A GRBL board that answers wrongly, on a line whose time passes only while the driver waits.

The faults are in a *mishap sheet*, some lines of text that a person can read and a fuzzer can change::

    homing no                       the gantry has no limit switches
    fault alarm 1                   a fault of `grbl_stand_in.Board`
    stop 40                         the caller wants to stop when it is asked for the 40th time
    7 error:9\r\n                   the board's 7th answer (from 0) is this instead
    9                               the 9th is lost
    12 !slow <Idle|MPos:0,0,0>      from the 12th on every byte takes nearly as long as the driver waits
    15 !flood [MSG:here I am]\r\n    this is repeated until a reset
    20 !unplug                      the cable is pulled, and plugged in again when the port is next opened

All other answers are right, so that the driver meets a working board after a mishap. Lines that make no sense are
ignored.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self
from unittest.mock import patch

import serial
from grbl_stand_in import DIALECTS, SETTINGS, Board, Dialect

from plantimager.timelapse.drivers.gantry import board as gantry_board
from plantimager.timelapse.drivers.gantry import board_settings, move, port
from plantimager.timelapse.drivers.gantry.arm import Arm
from plantimager.timelapse.drivers.gantry.arm_options import ArmOptions
from plantimager.timelapse.drivers.gantry.port import SerialLine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import timedelta

BYTE_TIME = 10 / 115_200
"""Seconds that a byte takes: eight bits and two for the frame."""
SLOW = 0.9 * gantry_board.RECEIVE_TIMEOUT
"""Seconds that a byte takes where the board is ``!slow``: there is always something new, and never a whole line."""
REST = gantry_board.RECEIVE_TIMEOUT / 2
"""Seconds between two parts of a ``!flood``."""

_LINE = re.compile(rb"(\d{1,4})(?: (!slow |!flood |!unplug)?(.*))?", re.DOTALL)
_FAULT = re.compile(r"(alarm|error) \d{1,3}|(?!alarm|error)[a-z ]+", re.ASCII)
_OPTION = re.compile(rb"(homing|fault|stop) (.{1,40})")
_ESCAPE = re.compile(r"\\(x[0-9a-f]{2}|[rnt\\])")
_SIGNS = {"r": "\r", "n": "\n", "t": "\t", "\\": "\\"}


@dataclass
class Sheet:
    """The content of a mishap sheet."""

    answers: dict[int, tuple[str, str]] = field(default_factory=dict)
    """By the number of the answer: how it comes (``!slow``, ``!flood``, ``!unplug`` or nothing) and its text."""
    homing: bool = True
    fault: str = ""
    stop: int | None = None

    @classmethod
    def read(cls, content: bytes) -> Self:
        """Return the content of a sheet, as far as it makes sense."""
        sheet = cls()
        for line in content.split(b"\n"):
            if option := _OPTION.fullmatch(line):
                sheet._set(option[1].decode(), option[2].decode(errors="replace"))
            elif mishap := _LINE.fullmatch(line):
                how = (mishap[2] or b"").decode().strip()
                sheet.answers[int(mishap[1])] = how, unescaped(mishap[3] or b"")
        return sheet

    def _set(self, option: str, value: str) -> None:
        if option == "homing":
            self.homing = value != "no"
        elif option == "stop" and value.isdecimal():
            self.stop = int(value)
        elif option == "fault" and _FAULT.fullmatch(value):
            self.fault = value


def escaped(answer: str) -> bytes:
    """Return an answer as it is written in a sheet."""
    return answer.encode("unicode_escape")


def unescaped(text: bytes) -> str:
    """Return an answer from a sheet; every character is one byte on the line."""
    return _ESCAPE.sub(lambda escape: _SIGNS.get(escape[1]) or chr(int(escape[1][1:], 16)), text.decode("latin-1"))


class VirtualLine:
    """A stand-in for `serial.Serial`, with the board, its mishaps and the time."""

    def __init__(
        self, sheet: Sheet, *, slow: bool = False, dialect: Dialect = DIALECTS["grbl"], board: Board | None = None
    ) -> None:
        self.sheet = sheet
        self.board = board or Board({**SETTINGS, 22: "1" if sheet.homing else "0"}, fault=sheet.fault, dialect=dialect)
        self.damage: Callable[[str, int, str], str] = lambda _direction, _number, byte: byte
        """What becomes of a byte ``"to"`` or ``"from"`` the board, by its number."""
        self.passed = {"to": 0, "from": 0}
        """How many bytes have passed each way."""
        self.now = 0.0
        """Seconds."""
        self.answers: list[str] = []
        """All answers of the board, before the mishaps."""
        self.timeout = 0.0
        self.reports_every = 0.0
        """Seconds between two status reports that the board sends unasked; 0 where it sends none."""
        self._next_report = 0.0
        self._coming = bytearray()
        self._flood = b""
        self._slow, self._unplugged = slow, False

    def open(self, *_: object, **__: object) -> VirtualLine:
        """Stand in for the constructor of `serial.Serial`."""
        self._unplugged = self.board.unplugged = False
        self.reset_input_buffer()
        return self

    # --- what the driver uses of `serial.Serial` -------------------------------------------------

    @property
    def in_waiting(self) -> int:
        self._raise_if_unplugged()
        return len(self._coming) or len(self._flood)

    def read(self, size: int) -> bytes:
        """Return what comes within `timeout`; its time passes."""
        self._raise_if_unplugged()
        if not self._coming and self._flood:
            self.now += REST
            self._coming += self._flood
        if self.reports_every and not self._coming and self.now + self.timeout >= self._next_report:
            self.now = max(self.now, self._next_report)
            self._next_report = self.now + self.reports_every
            self._coming += self.board.hear("?").encode("latin-1")
        size = min(size, len(self._coming), 1 if self._slow else size)
        took = size * (SLOW if self._slow else BYTE_TIME)
        if not size or took > self.timeout > 0:
            self.now += self.timeout
            return b""
        self.now += took
        came = bytes(self._coming[:size])
        del self._coming[:size]
        return came

    def write(self, data: bytes) -> None:
        self._raise_if_unplugged()
        for byte in self._pass("to", data.decode("latin-1")):
            if byte == gantry_board.RESET.decode():
                self._flood, self._slow = b"", False
            said = self.board.hear(byte)
            if said:
                self._answer(said)

    def _pass(self, direction: str, text: str) -> str:
        """Return what arrives of a text."""
        first = self.passed[direction]
        self.passed[direction] += len(text)
        return "".join(self.damage(direction, first + number, byte) for number, byte in enumerate(text))

    def reset_input_buffer(self) -> None:
        self._coming.clear()

    def close(self) -> None:
        self._coming.clear()

    def say(self, data: bytes) -> None:
        """Say something unasked."""
        self._coming += data

    # --- mishaps ---------------------------------------------------------------------------

    def _answer(self, said: str) -> None:
        self.answers.append(said)
        how, said = self.sheet.answers.get(len(self.answers) - 1, ("", said))
        if how == "!unplug":
            self._unplugged = True
        if how == "!slow":
            self._slow = True
        if how == "!flood":
            self._flood = said.encode("latin-1")
        self._coming += self._pass("from", said).encode("latin-1")

    def _raise_if_unplugged(self) -> None:
        if self._unplugged or self.board.unplugged:
            raise serial.SerialException(5, "Input/output error")

    # --- time -----------------------------------------------------------------------

    def wait(self, seconds: float) -> bool:
        """Wait, as the `Wait` of an arm."""
        self.now += seconds
        if self.sheet.stop is not None:
            self.sheet.stop -= 1
        return self.sheet.stop is not None and self.sheet.stop < 0

    @contextlib.contextmanager
    def deadline(self, after: timedelta) -> Iterator[VirtualDeadline]:
        """Stand in for `Deadline`."""
        yield VirtualDeadline(self, self.now + after.total_seconds())


@dataclass(frozen=True)
class VirtualDeadline:
    """A `Deadline` in the time of the line."""

    line: VirtualLine
    at: float

    def passed(self) -> bool:
        return self.line.now >= self.at


@contextlib.contextmanager
def wild_line(line: VirtualLine, said: bytes = b"") -> Iterator[SerialLine]:
    """Return the driver's end of a line, on which ``said`` has come already."""
    with patch.object(port, "Port", line.open), patch.object(gantry_board, "Deadline", line.deadline):
        opened = SerialLine("/dev/ttyWILD", 115_200)
        line.say(said)
        yield opened


@contextlib.contextmanager
def wild_arm(
    sheet: Sheet,
    *,
    dialect: Dialect = DIALECTS["grbl"],
    board: Board | None = None,
    expected: Iterable[int] = (),
    feed: float | None = None,
) -> Iterator[tuple[Arm, VirtualLine]]:
    """Return an arm whose board has the mishaps of a sheet.

    It is one of a ``dialect``, or a ``board``; the options have the settings that the dialect doesn't list, and those
    that are ``expected``.
    """
    line = VirtualLine(sheet, dialect=dialect, board=board)
    known = board_settings.MEANINGS.keys() & {*dialect.unlisted, *expected}
    settings = {number: float(SETTINGS[number]) for number in known}
    with (
        patch.object(port, "Port", line.open),
        patch.object(gantry_board, "Deadline", line.deadline),
        patch.object(move, "Deadline", line.deadline),
    ):
        made = Arm(ArmOptions(port="/dev/ttyWILD", homing=sheet.homing, expected=settings, feed=feed))
        try:
            yield made, line
        finally:
            made.close()
