"""What GRBL 1.1 means by ``error:N`` and ``ALARM:N``, and what a person does about it."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

HOME_IT: Final = "then `timelapsectl rig home`"


@dataclass(frozen=True, slots=True)
class Code:
    """One number of the board's."""

    meaning: str
    cure: str

    def worded(self, kind: str, number: int, where: str = "") -> str:
        """Return it as a sentence: ``GRBL alarm 1 (a limit switch was hit at x = 741 mm): check the belt, …``."""
        place = f" {where}" if where else ""
        return f"GRBL {kind} {number} ({self.meaning}{place}): {self.cure}"


_OURS: Final = (
    "the driver sent what this board doesn't take; is it really GRBL 1.1? Please report it with the line sent"
)
_SETTING: Final = "correct the board's settings with a terminal (`$$` lists them)"

ALARMS: Final = MappingProxyType(
    {
        1: Code("a limit switch was hit", f"check the belts, and what stands in the arm's way, {HOME_IT}"),
        2: Code(
            "the goal lies beyond the board's soft limits",
            "compare $130-$132 with the limits in [drivers.grbl], or switch the soft limits off with $20=0",
        ),
        3: Code(
            "the board was reset while the arm moved, which loses its position",
            f"check the power supply and the emergency stop, {HOME_IT}",
        ),
        4: Code("a probe was not in its first state", "no probe belongs to this rig; check what is wired to its input"),
        5: Code("a probe touched nothing", "no probe belongs to this rig; check what is wired to its input"),
        6: Code("homing was broken off by a reset", f"check the power supply and the emergency stop, {HOME_IT}"),
        7: Code("homing was broken off by the safety door", f"close the door, or check its switch, {HOME_IT}"),
        8: Code(
            "homing could not get clear of a limit switch",
            f"check that no switch sticks, raise the pull-off ($27), {HOME_IT}",
        ),
        9: Code(
            "homing did not find a limit switch",
            f"check the motors' power, the switches' wires and the travel ($130-$132), {HOME_IT}",
        ),
    }
)

ERRORS: Final = MappingProxyType(
    {
        1: Code("a command without its letter", _OURS),
        2: Code("a number that can't be read", _OURS),
        3: Code("an unknown $ command", _OURS),
        4: Code("a negative value where none may be", _OURS),
        5: Code("homing is switched off", "switch it on with $22=1, or write homing = false in [drivers.grbl]"),
        6: Code("the step pulse is shorter than 3 µs", f"{_SETTING}: $0 must be at least 3"),
        7: Code(
            "the settings were unreadable, and are the factory's now",
            "write the rig's settings to the board again ($$); if it comes back, replace the board",
        ),
        8: Code("the command is taken only while the arm stands still", "wait until it stands, or reset the board"),
        9: Code("locked after an alarm", "home it: `timelapsectl rig home`"),
        10: Code("soft limits without homing", f"{_SETTING}: $22=1 before $20=1"),
        11: Code("a line too long for the board", _OURS),
        12: Code("more steps a second than the board can make", f"{_SETTING}: lower $110-$112 or $100-$102"),
        13: Code("the safety door is open", "close the door, or check its switch"),
        14: Code("a start-up line too long for the board's memory", f"{_SETTING}: shorten $N0 and $N1"),
        15: Code("a jog beyond the travel", _OURS),
        16: Code("a jog that isn't one", _OURS),
        17: Code("laser mode without a PWM output", f"{_SETTING}: $32=0"),
        20: Code("an unknown G-code", _OURS),
        21: Code("two G-codes that exclude each other", _OURS),
        22: Code("no feed rate was given", _OURS),
        23: Code("a G-code whose value must be whole", _OURS),
        24: Code("two G-codes that want the same axes", _OURS),
        25: Code("the same word twice", _OURS),
        26: Code("a G-code without the axes it needs", _OURS),
        27: Code("a line number that isn't one", _OURS),
        28: Code("a G-code without a value it needs", _OURS),
        29: Code("a work coordinate system that isn't there", _OURS),
        30: Code("machine coordinates where none may be", _OURS),
        31: Code("axes that nothing uses", _OURS),
        32: Code("an arc without its plane's axes", _OURS),
        33: Code("a goal that can't be one", _OURS),
        34: Code("an arc whose radius can't be", _OURS),
        35: Code("an arc without its centre", _OURS),
        36: Code("values that nothing uses", _OURS),
        37: Code("a tool length on the wrong axis", _OURS),
        38: Code("a tool number that is too high", _OURS),
    }
)

_UNKNOWN: Final = Code("unknown to GRBL 1.1", "look it up in the manual of the board's firmware")


def alarm(number: int, where: str = "") -> str:
    """Return what ``ALARM:number`` means and what to do; ``where`` goes behind the meaning: ``at x = 741 mm``."""
    return ALARMS.get(number, _UNKNOWN).worded("alarm", number, where)


def error(number: int, sent: str) -> str:
    """Return what ``error:number`` means as an answer to the line ``sent``, and what to do."""
    return ERRORS.get(number, _UNKNOWN).worded("error", number, f"as an answer to {sent!r}")
