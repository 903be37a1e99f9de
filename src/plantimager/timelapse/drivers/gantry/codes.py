"""The error and alarm numbers of GRBL 1.1 (``error:N``, ``ALARM:N``): their meaning, and what a person does."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

THEN_HOME: Final = "then `timelapsectl rig home`"


@dataclass(frozen=True, slots=True)
class Code:
    """One number."""

    meaning: str
    cure: str

    def describe(self, kind: str, number: int, where: str = "") -> str:
        """Return a sentence: ``GRBL alarm 1 (a limit switch was hit at x = 741 mm): check the belt, …``."""
        place = f" {where}" if where else ""
        return f"GRBL {kind} {number} ({self.meaning}{place}): {self.cure}"


_DRIVER_ERROR: Final = (
    "the driver sent what this board doesn't take; is it really GRBL 1.1? Please report it with the line sent"
)
_CORRECT_SETTINGS: Final = "correct the board's settings with a terminal (`$$` lists them)"

ALARMS: Final = MappingProxyType(
    {
        1: Code("a limit switch was hit", f"check the belts, and what stands in the arm's way, {THEN_HOME}"),
        2: Code(
            "the goal lies beyond the board's soft limits",
            "compare $130-$132 with the limits in [drivers.grbl], or switch the soft limits off with $20=0",
        ),
        3: Code(
            "the board was reset while the arm moved, which loses its position",
            f"check the power supply and the emergency stop, {THEN_HOME}",
        ),
        4: Code("a probe was not in its first state", "no probe belongs to this rig; check what is wired to its input"),
        5: Code("a probe touched nothing", "no probe belongs to this rig; check what is wired to its input"),
        6: Code("homing was broken off by a reset", f"check the power supply and the emergency stop, {THEN_HOME}"),
        7: Code("homing was broken off by the safety door", f"close the door, or check its switch, {THEN_HOME}"),
        8: Code(
            "homing could not get clear of a limit switch",
            f"check that no switch sticks, raise the pull-off ($27), {THEN_HOME}",
        ),
        9: Code(
            "homing did not find a limit switch",
            f"check the motors' power, the switches' wires and the travel ($130-$132), {THEN_HOME}",
        ),
    }
)

ERRORS: Final = MappingProxyType(
    {
        1: Code("a command without its letter", _DRIVER_ERROR),
        2: Code("a number that can't be read", _DRIVER_ERROR),
        3: Code("an unknown $ command", _DRIVER_ERROR),
        4: Code("a negative value where none may be", _DRIVER_ERROR),
        5: Code("homing is switched off", "switch it on with $22=1, or write homing = false in [drivers.grbl]"),
        6: Code("the step pulse is shorter than 3 µs", f"{_CORRECT_SETTINGS}: $0 must be at least 3"),
        7: Code(
            "the settings were unreadable, and are the factory's now",
            "write the rig's settings to the board again ($$); if it comes back, replace the board",
        ),
        8: Code("the command is taken only while the arm stands still", "wait until it stands, or reset the board"),
        9: Code("locked after an alarm", "home it: `timelapsectl rig home`"),
        10: Code("soft limits without homing", f"{_CORRECT_SETTINGS}: $22=1 before $20=1"),
        11: Code("a line too long for the board", _DRIVER_ERROR),
        12: Code("more steps a second than the board can make", f"{_CORRECT_SETTINGS}: lower $110-$112 or $100-$102"),
        13: Code("the safety door is open", "close the door, or check its switch"),
        14: Code("a start-up line too long for the board's memory", f"{_CORRECT_SETTINGS}: shorten $N0 and $N1"),
        15: Code("a jog beyond the travel", _DRIVER_ERROR),
        16: Code("a jog that isn't one", _DRIVER_ERROR),
        17: Code("laser mode without a PWM output", f"{_CORRECT_SETTINGS}: $32=0"),
        20: Code("an unknown G-code", _DRIVER_ERROR),
        21: Code("two G-codes that exclude each other", _DRIVER_ERROR),
        22: Code("no feed rate was given", _DRIVER_ERROR),
        23: Code("a G-code whose value must be whole", _DRIVER_ERROR),
        24: Code("two G-codes that want the same axes", _DRIVER_ERROR),
        25: Code("the same word twice", _DRIVER_ERROR),
        26: Code("a G-code without the axes it needs", _DRIVER_ERROR),
        27: Code("a line number that isn't one", _DRIVER_ERROR),
        28: Code("a G-code without a value it needs", _DRIVER_ERROR),
        29: Code("a work coordinate system that isn't there", _DRIVER_ERROR),
        30: Code("machine coordinates where none may be", _DRIVER_ERROR),
        31: Code("axes that nothing uses", _DRIVER_ERROR),
        32: Code("an arc without its plane's axes", _DRIVER_ERROR),
        33: Code("a goal that can't be one", _DRIVER_ERROR),
        34: Code("an arc whose radius can't be", _DRIVER_ERROR),
        35: Code("an arc without its centre", _DRIVER_ERROR),
        36: Code("values that nothing uses", _DRIVER_ERROR),
        37: Code("a tool length on the wrong axis", _DRIVER_ERROR),
        38: Code("a tool number that is too high", _DRIVER_ERROR),
    }
)

_UNKNOWN: Final = Code("unknown to GRBL 1.1", "look it up in the manual of the board's firmware")


def describe_alarm(number: int, where: str = "") -> str:
    """Return what ``ALARM:number`` means and what to do; ``where`` follows the meaning: ``at x = 741 mm``."""
    return ALARMS.get(number, _UNKNOWN).describe("alarm", number, where)


def describe_error(number: int, sent: str) -> str:
    """Return what ``error:number`` means as an answer to the line ``sent``, and what to do."""
    return ERRORS.get(number, _UNKNOWN).describe("error", number, f"as an answer to {sent!r}")
