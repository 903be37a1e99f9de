"""The errors, alarms and states of GRBL's family: their meaning, and what a person does.

Only the numbers of GRBL 1.1 are the same in the whole family.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

THEN_HOME: Final = "then `timelapsectl rig home`"


class Code(NamedTuple):
    """One number."""

    meaning: str
    cure: str


_CORRECT_SETTINGS: Final = "correct the board's settings with a terminal (`$$` lists them)"
_NO_PROBE: Final = "no probe belongs to this rig; check what is wired to its input"
_AFTER_RESET: Final = f"check the power supply and the emergency stop, {THEN_HOME}"

ALARMS: Final = {
    1: Code("a limit switch was hit", f"check the belts, and what stands in the arm's way, {THEN_HOME}"),
    2: Code(
        "the goal is outside the board's soft limits",
        "compare $130-$132 with the limits in [drivers.grbl], or switch the soft limits off with $20=0",
    ),
    3: Code("the board was reset while the arm moved, which loses its position", _AFTER_RESET),
    4: Code("a probe was not in its first state", _NO_PROBE),
    5: Code("a probe touched nothing", _NO_PROBE),
    6: Code("homing was broken off by a reset", _AFTER_RESET),
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

_OF_THE_DRIVER: Final = {
    1: "a command without its letter",
    2: "a number that can't be read",
    3: "an unknown $ command",
    4: "a negative value where none may be",
    11: "a line too long for the board",
    15: "a jog beyond the travel",
    16: "a jog that isn't one",
    20: "an unknown G-code",
    21: "two G-codes that exclude each other",
    22: "no feed rate was given",
    23: "a G-code whose value must be whole",
    24: "two G-codes that want the same axes",
    25: "the same word twice",
    26: "a G-code without the axes it needs",
    27: "a line number that isn't one",
    28: "a G-code without a value it needs",
    29: "a work coordinate system that isn't there",
    30: "machine coordinates where none may be",
    31: "axes that nothing uses",
    32: "an arc without its plane's axes",
    33: "a goal that can't be one",
    34: "an arc whose radius can't be",
    35: "an arc without its centre",
    36: "values that nothing uses",
    37: "a tool length on the wrong axis",
    38: "a tool number that is too high",
}
_REPORT_IT: Final = (
    "the board refused it each time; look which firmware it has (`timelapsectl rig check`), and please report it with "
    "the line sent"
)

ERRORS: Final = {number: Code(meaning, _REPORT_IT) for number, meaning in _OF_THE_DRIVER.items()} | {
    5: Code("homing is switched off", "switch it on with $22=1, or write homing = false in [drivers.grbl]"),
    6: Code("the step pulse is shorter than 3 µs", f"{_CORRECT_SETTINGS}: $0 must be at least 3"),
    7: Code(
        "the settings were unreadable, and are the factory's now",
        "write the rig's settings to the board again ($$); if it comes back, replace the board",
    ),
    8: Code("the command is taken only while the arm stands still", "wait until it stands, or reset the board"),
    9: Code("locked after an alarm", "home it: `timelapsectl rig home`"),
    10: Code("soft limits without homing", f"{_CORRECT_SETTINGS}: $22=1 before $20=1"),
    12: Code("more steps a second than the board can make", f"{_CORRECT_SETTINGS}: lower $110-$112 or $100-$102"),
    13: Code("the safety door is open", "close the door, or check its switch"),
    14: Code("a start-up line too long for the board's memory", f"{_CORRECT_SETTINGS}: shorten $N0 and $N1"),
    17: Code("laser mode without a PWM output", f"{_CORRECT_SETTINGS}: $32=0"),
}

STATE_CURES: Final = {
    "Alarm": "it is locked; `timelapsectl rig home`",
    "Door": "the safety door is open, or its input is; close it",
    "Sleep": "it sleeps; switch it off and on",
    "Check": "it only checks G-code; switch it off and on",
    "Hold": "look at its hold input",
}
"""Of the states in which nothing moves."""

FINAL_STATES: Final = frozenset(STATE_CURES) - {"Hold"}
"""States that a board doesn't leave by itself."""

_SOFT_LIMIT: Final = 2
_ALARM_WORDS: Final = {"hard limit": 1, "soft limit": _SOFT_LIMIT, "abort": 3, "homing": 9}
_ERROR_WORDS: Final = {"homing": 5, "idle": 8, "lock": 9, "soft limit": 10, "door": 13}
"""What firmwares without numbers write, and the number that has the same cure."""

_UNKNOWN_COMMANDS: Final = (3, 20)
_UNKNOWN_WORDS: Final = ("statement", "unsupported", "unknown")
"""The errors of a command that a firmware doesn't have, by number and in words."""

_UNKNOWN_CURE: Final = "look it up in the manual of the board's firmware"


def describe_alarm(code: str, where: str = "") -> str:
    """Return what an alarm means and what to do; ``where`` follows the meaning: ``at x = 741 mm``."""
    return _describe("alarm", code, ALARMS, _ALARM_WORDS, where)


def may_be_damaged_line(code: str) -> bool:
    """Whether the alarm is that of a goal outside the soft limits, which a damaged byte may ask for."""
    return int(code) == _SOFT_LIMIT if code.isdecimal() else "soft limit" in code.lower()


def cure_of_state(state: str) -> str:
    """Return what a person does about a board that is in a state and should not be."""
    return STATE_CURES.get(state, "see with a terminal what it says")


def is_unknown_command(code: str) -> bool:
    """Whether the error is that of a command which the firmware doesn't have."""
    if code.isdecimal():
        return int(code) in _UNKNOWN_COMMANDS
    return any(word in code.lower() for word in _UNKNOWN_WORDS)


def describe_error(code: str, sent: str) -> str:
    """Return what an error means as an answer to the line ``sent``, and what to do."""
    return _describe("error", code, ERRORS, _ERROR_WORDS, f"as an answer to {sent!r}")


def _describe(kind: str, code: str, known: Mapping[int, Code], words: Mapping[str, int], where: str) -> str:
    """Return a sentence: ``GRBL alarm 1 (a limit switch was hit at x = 741 mm): check the belt, …``."""
    place = f" {where}" if where else ""
    if code.isdecimal():
        found = known.get(int(code), Code("it isn't one of GRBL 1.1", _UNKNOWN_CURE))
        return f"GRBL {kind} {int(code)} ({found.meaning}{place}): {found.cure}"
    number = next((number for word, number in words.items() if word in code.lower()), None)
    cure = known[number].cure if number is not None else _UNKNOWN_CURE
    return f"GRBL {kind} {code!r}{f' ({where})' if where else ''}: {cure}"
