r"""A GRBL board that says what no board should, on a line whose time passes only when somebody waits for it.

What is wrong stands in a *mishap sheet*, a few lines of text that a person can read and a fuzzer can change::

    homing no                       the gantry has no limit switches
    fault alarm 1                   what `grbl_stand_in.Board` knows by itself
    stop 40                         the caller wants to stop when it is asked for the 40th time
    7 error:9\r\n                   the board's 7th answer (from 0) is this instead
    9                               the 9th is lost
    12 !slow <Idle|MPos:0,0,0>      from the 12th on every byte takes nearly as long as anybody listens
    15 !flood [MSG:here I am]\r\n    this comes again and again, until a reset
    20 !unplug                      the cable is pulled, and plugged in again when the port is next opened

All other answers are the real ones, so that what a driver does after a mishap is met by a board that knows its trade.
Lines that make no sense mean nothing.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self
from unittest.mock import patch

import serial
from grbl_stand_in import SETTINGS, Board

from plantimager.timelapse.drivers.gantry import arm, port, protocol
from plantimager.timelapse.drivers.gantry.arm import Arm
from plantimager.timelapse.drivers.gantry.options import ArmOptions
from plantimager.timelapse.drivers.gantry.port import Line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import timedelta

BYTE_TIME = 10 / 115_200
"""Seconds that a byte is on its way: eight bits and two that frame it."""
SLOW = 0.9 * protocol.LISTEN
"""Seconds that it takes where the board is ``!slow``: always something new, and never a whole line."""
REST = protocol.LISTEN / 2
"""Seconds between two parts of a ``!flood``."""

_LINE = re.compile(rb"(\d{1,4})(?: (!slow |!flood |!unplug)?(.*))?", re.DOTALL)
_FAULT = re.compile(r"(alarm|error) \d{1,3}|(?!alarm|error)[a-z ]+", re.ASCII)
_OPTION = re.compile(rb"(homing|fault|stop) (.{1,40})")
_ESCAPE = re.compile(r"\\(x[0-9a-f]{2}|[rnt\\])")
_SIGNS = {"r": "\r", "n": "\n", "t": "\t", "\\": "\\"}


@dataclass
class Sheet:
    """A mishap sheet, read."""

    answers: dict[int, tuple[str, str]] = field(default_factory=dict)
    """By the answer's number: how it comes (``!slow``, ``!flood``, ``!unplug`` or nothing) and what it is."""
    homing: bool = True
    fault: str = ""
    stop: int | None = None

    @classmethod
    def read(cls, content: bytes) -> Self:
        """Return what a sheet says, as far as it makes sense."""
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
    """Return an answer as a sheet has it."""
    return answer.encode("unicode_escape")


def unescaped(text: bytes) -> str:
    """Return the answer that stands in a sheet; every character is one byte on the line."""
    return _ESCAPE.sub(lambda escape: _SIGNS.get(escape[1]) or chr(int(escape[1][1:], 16)), text.decode("latin-1"))


class VirtualLine:
    """What `serial.Serial` is to the driver; the board behind it, its mishaps and the time."""

    def __init__(self, sheet: Sheet, *, slow: bool = False) -> None:
        self.sheet = sheet
        self.board = Board({**SETTINGS, 22: "1" if sheet.homing else "0"}, fault=sheet.fault)
        self.now = 0.0
        """Seconds."""
        self.answers: list[str] = []
        """All that the board would have said, were it not for the mishaps."""
        self.timeout = 0.0
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
        self._hold_together()
        return len(self._coming) or len(self._flood)

    def read(self, size: int) -> bytes:
        """Return what comes within `timeout`; the time that takes passes."""
        self._hold_together()
        if not self._coming and self._flood:
            self.now += REST
            self._coming += self._flood
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
        self._hold_together()
        for byte in data.decode("latin-1"):
            if byte == protocol.RESET.decode():
                self._flood, self._slow = b"", False
            said = self.board.hear(byte)
            if said:
                self._answer(said)

    def reset_input_buffer(self) -> None:
        self._coming.clear()

    def close(self) -> None:
        self._coming.clear()

    def say(self, data: bytes) -> None:
        """Say something unasked."""
        self._coming += data

    # --- what goes wrong ---------------------------------------------------------------------------

    def _answer(self, said: str) -> None:
        self.answers.append(said)
        how, said = self.sheet.answers.get(len(self.answers) - 1, ("", said))
        if how == "!unplug":
            self._unplugged = True
        if how == "!slow":
            self._slow = True
        if how == "!flood":
            self._flood = said.encode("latin-1")
        self._coming += said.encode("latin-1")

    def _hold_together(self) -> None:
        if self._unplugged or self.board.unplugged:
            raise serial.SerialException(5, "Input/output error")

    # --- what asks for the time -----------------------------------------------------------------------

    def wait(self, seconds: float) -> bool:
        """Be a `Wait` of the arm's."""
        self.now += seconds
        if self.sheet.stop is not None:
            self.sheet.stop -= 1
        return self.sheet.stop is not None and self.sheet.stop < 0

    @contextlib.contextmanager
    def deadline(self, after: timedelta) -> Iterator[VirtualDeadline]:
        """Stand in for `programs.Deadline`."""
        yield VirtualDeadline(self, self.now + after.total_seconds())


@dataclass(frozen=True)
class VirtualDeadline:
    """A `Deadline` of the line's own time."""

    line: VirtualLine
    at: float

    def passed(self) -> bool:
        return self.line.now >= self.at


@contextlib.contextmanager
def wild_line(line: VirtualLine, said: bytes = b"") -> Iterator[Line]:
    """Return the driver's end of a line on which something was said already."""
    with patch.object(port.serial, "Serial", line.open), patch.object(protocol, "Deadline", line.deadline):
        opened = Line("/dev/ttyWILD", 115_200)
        line.say(said)
        yield opened


@contextlib.contextmanager
def wild_arm(sheet: Sheet) -> Iterator[tuple[Arm, VirtualLine]]:
    """Return an arm whose board misbehaves as the sheet says."""
    line = VirtualLine(sheet)
    with (
        patch.object(port.serial, "Serial", line.open),
        patch.object(protocol, "Deadline", line.deadline),
        patch.object(arm, "Deadline", line.deadline),
        patch.object(port, "_keep_dtr"),  # it has none
    ):
        made = Arm(ArmOptions(port="/dev/ttyWILD", homing=sheet.homing))
        try:
            yield made, line
        finally:
            made.close()
