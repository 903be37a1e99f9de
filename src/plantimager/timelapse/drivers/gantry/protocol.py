"""The language of GRBL 1.1: one line sent, one ``ok``; ``?`` asks how things are; alarms and greetings come unasked.

A board answers a move with ``ok`` when it has planned it, not when it is done; after a soft limit it says nothing at
all until it is reset; and while it homes it doesn't answer ``?``. So every wait here has an end of its own.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from plantimager.timelapse.drivers.deadline import Deadline
from plantimager.timelapse.drivers.gantry import codes
from plantimager.timelapse.drivers.gantry.motion import Place, Settings
from plantimager.timelapse.drivers.gantry.port import GantryFault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import timedelta

    from plantimager.timelapse.drivers.gantry.port import Line

RESET: Final = b"\x18"
HOLD: Final = b"!"
STATUS: Final = b"?"
WAKE: Final = b"\r\n\r\n"
ANSWERS_TO_WAKE: Final = 4
"""Each CR and each LF is an empty line of its own."""

LISTEN: Final = 0.05
"""Seconds between two looks at whether a wait has to end."""

QUIET: Final = 0.1
"""Seconds without a word after which a board has said what it had to say; at 115 200 baud a line takes 10 ms."""

BOOT_TRIES: Final = 4
"""Resets, each with the time of an answer: a board that opening its port restarts needs two seconds to hear one."""

LONGEST_ANSWER: Final = 200
"""Lines that are kept of what comes before an ``ok``: ``$$`` takes 34, and a mad board may send them for ever."""

_BANNER: Final = re.compile(r"Grbl\s+(\S+)", re.IGNORECASE)
_NUMBER: Final = r"-?\d{1,7}(?:\.\d{1,9})?"
"""As a board writes one. What is longer was damaged on its way; as infinity it would upset every reckoning."""

_SETTING: Final = re.compile(rf"\$(\d{{1,3}})=({_NUMBER})(?: .*)?", re.ASCII)
_CODE: Final = re.compile(r"(error|ALARM):(\d{1,3})", re.ASCII)
_STATUS: Final = re.compile(r"<(\w+)(?::(\d{1,3}))?((?:\|[^|>]+)*)>", re.ASCII)
_PLACE: Final = re.compile(rf"({_NUMBER}),({_NUMBER}),({_NUMBER})", re.ASCII)


class Silent(GantryFault):
    """The board doesn't answer."""


class Restarted(GantryFault):
    """The board's banner came when nobody had reset it."""


class Alarm(GantryFault):
    """The board stopped by itself, and is locked."""

    def __init__(self, number: int, where: str = "") -> None:
        self.number = number
        super().__init__(codes.alarm(number, where))


class Refused(GantryFault):
    """The board didn't take a line."""

    def __init__(self, number: int, sent: str) -> None:
        self.number, self.sent = number, sent
        super().__init__(codes.error(number, sent))


class Stopped(Exception):
    """The wait was broken off because the caller's ``stop`` said so."""


def never() -> bool:
    """Stop nothing."""
    return False


@dataclass(frozen=True, slots=True)
class Status:
    """An answer to ``?``."""

    state: str
    """``Idle``, ``Run``, ``Hold``, ``Home``, ``Alarm``, ``Door`` …"""
    detail: int | None
    """The number behind it: ``Hold:0`` stands still, ``Hold:1`` is still slowing down."""
    machine: Place | None
    """Machine position, where told."""
    work: Place | None
    """Work position, told instead where ``$10`` is even."""
    offset: Place | None
    """What to take off the machine position for the work position; told now and then."""


def read_status(line: str) -> Status | None:
    """Return what a status line says, None for one that is none or is damaged."""
    match = _STATUS.fullmatch(line)
    if match is None:
        return None
    fields = dict(part.partition(":")[::2] for part in match[3].split("|")[1:])
    places = {key: _place(fields[key]) for key in ("MPos", "WPos", "WCO") if key in fields}
    if None in places.values() or not places.keys() & {"MPos", "WPos"}:
        return None
    detail = int(match[2]) if match[2] else None
    return Status(match[1], detail, places.get("MPos"), places.get("WPos"), places.get("WCO"))


def _place(text: str) -> Place | None:
    place = _PLACE.fullmatch(text)
    return None if place is None else (float(place[1]), float(place[2]), float(place[3]))


class Grbl:
    """A board on an open line."""

    def __init__(self, line: Line, answer_timeout: timedelta) -> None:
        self._line, self._answer_timeout = line, answer_timeout
        self.version = ""
        """What its banner says: ``1.1h``."""

    def wake(self) -> None:
        """Reset the board, so that it is known what it knows: no half line, no move, no work coordinates.

        Raises
        ------
        GantryFault
            It doesn't answer as GRBL does.

        """
        for _ in range(BOOT_TRIES):
            self._line.forget()
            self._line.send(RESET)
            if self._hear_banner() and self._is_in_step():
                return
        problem = "the board doesn't answer; check its power, the port and the baud rate, and that it is GRBL 1.1"
        raise Silent(f"{self._line.port}: {problem}")

    def _hear_banner(self) -> bool:
        for said in self._lines(self._answer_timeout):
            banner = _BANNER.match(said)
            if banner is not None:
                self.version = banner[1]
                return True
        return False

    def _is_in_step(self) -> bool:
        """Whether every line gets its own answer from now on.

        What is still on its way (a second greeting, where an earlier reset was not waited for) comes first; an ``ok``
        too many would be taken for the answer to the next line, and so on for ever.
        """
        with Deadline(self._answer_timeout) as late:
            while self._line.receive(QUIET) is not None:
                if late.passed():
                    return False
        self._line.send(WAKE)
        answers = 0
        for said in self._lines(self._answer_timeout):
            if _BANNER.match(said):
                return False
            answers += said == "ok"
            if answers == ANSWERS_TO_WAKE:
                return True
        return False

    def settings(self) -> Settings:
        """Return the board's settings.

        Raises
        ------
        GantryFault
            It doesn't tell them.

        """
        found = (_SETTING.fullmatch(said) for said in self.command("$$"))
        return Settings({int(match[1]): float(match[2]) for match in found if match is not None})

    def command(self, text: str, *, within: timedelta | None = None, stop: Callable[[], bool] = never) -> list[str]:
        """Send a line and return what came before its ``ok``.

        Raises
        ------
        Stopped
            ``stop()`` said so before the answer came.
        GantryFault
            The board refused, went into alarm, restarted, or didn't answer ``within`` that time.

        """
        self._line.send(text.encode() + b"\n")
        said_before: deque[str] = deque(maxlen=LONGEST_ANSWER)
        for said in self._lines(within or self._answer_timeout, stop):
            if said == "ok":
                return list(said_before)
            code = self._judge(said)
            if code is not None:
                raise Refused(code, text)
            said_before.append(said)
        garbage = [said for said in said_before if not said.startswith(("$", "[", "<"))]
        heard = f", but said {garbage[-1][:40]!r}" if garbage else ""
        raise Silent(
            f"{self._line.port}: the board didn't answer {text!r}{heard}; check the cable, and keep it off the motors'"
        )

    def status(self) -> Status:
        """Ask how things are.

        Raises
        ------
        GantryFault
            Alarm, restart, or no answer.

        """
        self._line.send(STATUS)
        heard = ""
        for said in self._lines(self._answer_timeout):
            status = read_status(said)
            if status is not None:
                return status
            self._judge(said)
            if said.startswith("<"):
                self._line.send(STATUS)  # damaged on its way
            heard = said or heard
        garbage = f" but {heard[:40]!r}" if heard else ""
        raise Silent(f"{self._line.port}: the board doesn't tell its state{garbage}; check its power and the cable")

    def send(self, signal: bytes) -> None:
        """Send one of the bytes that are obeyed at once and not answered: `HOLD`, `RESET`."""
        self._line.send(signal)

    def _lines(self, within: timedelta, stop: Callable[[], bool] = never) -> Iterator[str]:
        """Yield lines until so much time has passed; empty ones are left out."""
        with Deadline(within) as late:
            while not late.passed():
                if stop():
                    raise Stopped
                said = self._line.receive(LISTEN)
                if said:
                    yield said

    def _judge(self, said: str) -> int | None:
        """Return the number of an ``error:``, raise what came by itself."""
        code = _CODE.match(said)
        if code is not None and code[1] == "ALARM":
            raise Alarm(int(code[2]))
        if _BANNER.match(said):
            raise Restarted(
                "the board restarted by itself, which loses the arm's position: check the power supply and the "
                "emergency stop, then `timelapsectl rig home`"
            )
        return int(code[2]) if code is not None else None
