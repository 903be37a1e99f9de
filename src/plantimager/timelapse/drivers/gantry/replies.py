"""The lines that a board of GRBL's family sends, in all its dialects: banners, states, settings, errors and alarms."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from plantimager.timelapse.drivers.gantry.motion import subtract

if TYPE_CHECKING:
    from collections.abc import Iterable

    from plantimager.timelapse.drivers.gantry.motion import Position

_BANNER: Final = re.compile(r"(?:Grbl(?:HAL)?\s+\S.*)|(?:\S.{0,80}'\$'.*(?:help|\]))", re.IGNORECASE)
"""``Grbl 1.1h ['$' for help]``; other firmwares have other names before the same end, in any language."""
_AFTER_NAME: Final = re.compile(r"\s*\[?\s*'\$'.*")

_NUMBER: Final = r"-?\d{1,7}(?:\.\d{1,9})?"
"""A number as a board writes it. A longer one was damaged on its way; as infinity it would spoil every calculation."""

_SETTING: Final = re.compile(rf"\$(\d{{1,4}})=({_NUMBER})(?: .*)?", re.ASCII)
_CODE: Final = re.compile(r"(error|alarm):\s*(\d+|.*).*", re.IGNORECASE)
_ALARM_WITHIN: Final = re.compile(r"[^\[].*(ALARM):(\d+).*")
"""An alarm that a board sends while it sends another line, or whose line has lost the end of the one before."""
_STATUS: Final = re.compile(r"\?*<(\w+)(?::(\d{1,3}))?((?:\|[^|>]*)*)>", re.ASCII)
"""The question may be before it, where the line sends back all that it is sent."""
_OLD_SEPARATOR: Final = re.compile(r",(?=[A-Z])")
"""Between the fields of a status of GRBL 0.9, where 1.1 has ``|``."""
_POSITION: Final = re.compile(rf"({_NUMBER}),({_NUMBER}),({_NUMBER})(?:,{_NUMBER}){{0,3}}", re.ASCII)
"""Three to six axes, of which the rig uses the first three."""
_TALK: Final = ("$", "[", "<", "ok", "error", "alarm", ">")
"""Beginnings of all lines that a board of the family sends."""

STATES: Final = frozenset({"Idle", "Run", "Hold", "Jog", "Home", "Alarm", "Door", "Check", "Sleep", "Tool"})
"""The states that the family has. Another one is probably a damaged one."""


@dataclass(frozen=True, slots=True)
class Status:
    """An answer to ``?``."""

    state: str
    """One of `STATES`, or what the board calls it."""
    detail: int | None
    """The number after it: ``Hold:0`` is at rest, ``Hold:1`` is still slowing down."""
    machine: Position | None
    """Machine position, where reported."""
    work: Position | None
    """Work position, reported instead where ``$10`` is even."""
    offset: Position | None
    """Machine position minus work position; reported now and then, after it was changed, and after a restart."""

    @property
    def is_at_rest(self) -> bool:
        """Whether the arm doesn't move."""
        return self.state not in ("Run", "Hold", "Jog", "Home") or (self.state, self.detail) == ("Hold", 0)

    @property
    def positions(self) -> tuple[Position | None, Position | None]:
        """Where the arm stands."""
        return self.machine, self.work


def read_status(line: str) -> Status | None:
    """Return the status in a line, None if the line is damaged or something else."""
    match = _STATUS.fullmatch(_OLD_SEPARATOR.sub("|", line))
    if match is None:
        return None
    fields = dict(part.partition(":")[::2] for part in match[3].split("|")[1:])
    positions = {key: _read_position(fields[key]) for key in ("MPos", "WPos", "WCO") if key in fields}
    if None in positions.values() or not positions.keys() & {"MPos", "WPos"}:
        return None
    machine, work, offset = (positions.get(key) for key in ("MPos", "WPos", "WCO"))
    if machine is not None and work is not None:  # GRBL 0.9
        offset = subtract(machine, work)
    return Status(match[1], int(match[2]) if match[2] else None, machine, work, offset)


def _read_position(text: str) -> Position | None:
    match = _POSITION.fullmatch(text)
    return None if match is None else (float(match[1]), float(match[2]), float(match[3]))


def read_firmware(line: str) -> str | None:
    """Return the name in a banner, ``Grbl 1.1h``; None if the line is none."""
    if line.startswith("[") or _BANNER.fullmatch(line) is None:
        return None
    return _AFTER_NAME.sub("", line).replace("[", "").strip()[:60]


def read_setting(line: str) -> tuple[int, float] | None:
    """Return number and value of a setting, None if the line is none or its value is a text."""
    match = _SETTING.fullmatch(line)
    return None if match is None else (int(match[1]), float(match[2]))


def read_code(line: str) -> tuple[str, str] | None:
    """Return ``error`` or ``alarm``, and its number or text; None if the line is neither."""
    match = _CODE.fullmatch(line) or _ALARM_WITHIN.fullmatch(line)
    return None if match is None else (match[1].lower(), match[2].strip()[:60])


def is_message(line: str) -> bool:
    """Whether a board may send this line at any time, as an answer to nothing."""
    return line.upper().startswith(("[MSG:", "[ECHO:", "<"))


def describe_heard(lines: Iterable[str], *, is_grbl: bool) -> str:
    """Return what is wrong with lines among which the answer is not, and what to do: a clause after "the board".

    ``is_grbl`` is whether the board has named itself; a line that makes no sense was damaged then.
    """
    heard = [line for line in lines if line]
    if not heard:
        return "doesn't answer; check its power, the port and the cable"
    foreign = [line for line in heard if not line.lower().startswith(_TALK) and read_firmware(line) is None]
    if not is_grbl and set(heard) == {"ok"}:  # a printer's board, too, says that, even to a question for the status
        foreign = heard
    last = (foreign or heard)[-1][:40]
    if any("\ufffd" in line for line in heard):
        return f"sends noise ({last!r}); check the baud rate, and keep the cable off the motors'"
    if is_grbl or not foreign:
        return f"says {last!r} instead; keep the cable off the motors', and switch the board off and on"
    return f"answers {last!r}, which is not the language of GRBL; look which firmware it has, and check the baud rate"
