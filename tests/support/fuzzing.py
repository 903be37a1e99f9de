"""Faulty input: real input, with values, lines and bytes changed as disks, people and programs change them.

Each function changes one thing. Its choices come from ``dice``, so the same seed gives the same inputs.
"""

from __future__ import annotations

import json
import re
import sys
import time
from typing import TYPE_CHECKING, Any, Final

from wild_board import escaped, unescaped

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

MAX_SECONDS: Final = 1.0
"""Seconds that any input may take. The slowest of a usual run takes a hundredth of that."""
TRACING_FACTOR: Final = 20
"""The factor by which a run may be slower while Python traces itself."""
MAX_INPUT_BYTES: Final = 400_000
"""The size at which an input is cut, since one that is doubled again and again would take all the time."""

NASTY: Final[tuple[Any, ...]] = (
    None, True, False, 0, -1, 1, 1e308, -0.0, float("nan"), float("inf"), 2**63, 2**64, -(2**63) - 1, 10**400,
    "", " ", "\0", "/", "..", ".", "a/b", "\ud800", "\x1b[2J", "ä", "\u202e", "x" * 300, "x" * 100_000, "2026-13-01",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00", "2026-06-22", "2026-06-22T08:00", "2026-06-22T08:00Z",
    "1970-01-01T00:00:00+00:00", "2026-W25-1", "20260622T080000", "2026-10-25T02:30:00", "running", "scanning",
    "pending", "cancelled", "1", [], {}, [None], [[]], {"": None}, {"a": {"b": [1]}}, [0] * 1000, "NaN", "null",
)  # fmt: skip

TOKENS: Final = (
    b"NaN", b"Infinity", b"1e999", b"-0", b"\xef\xbb\xbf", b"\xff\xfe", b"\xff", b"\xc3", b"\0", b"\0" * 512,
    b"[" * 2000, b'{"a":' * 2000, b"9" * 5000, b'"\\ud800"', b"\\", b'"', b"\n", b"\r\n", b"#", b"=", b"[", b"]",
    b"{", b"}", b",",
    b"1979-05-27T07:32:00", b"0x", b"inf", b"'''", b'"""', b"true", b"[[timelapse]]", b"[timelapse]\n", b"a.b.c = 1\n",
)  # fmt: skip

BOARD_LINES: Final = (
    "", "ok\r\n", "ok", "OK\r\n", "okok\r\n", "error:9\r\n", "error:22\r\n", "error:\r\n", "ALARM:1\r\n", "ALARM:3\r\n",
    "ALARM:255\r\n", "\r\nGrbl 1.1h ['$' for help]\r\n", "Grbl \r\n", "[MSG:Reset to continue]\r\n",
    "[MSG:Caution: Unlocked]\r\n", "<Idle|MPos:0.000,0.000,0.000|FS:0,0>\r\n", "<Idle|WPos:0.000,0.000,0.000>\r\n",
    "<Run|MPos:1.0,2.0>\r\n", "<Hold:0|MPos:0,0,0>\r\n", "<Hold:1|MPos:0,0,0>\r\n", "<Door:1|MPos:0,0,0>\r\n",
    "<Alarm|MPos:0,0,0>\r\n", "<Check|MPos:0,0,0>\r\n", "<Sleep|MPos:0,0,0>\r\n", "<Home|MPos:0,0,0>\r\n", "<>\r\n",
    "<|>\r\n", "<Idle|", "$100=80.000\r\n", "$22=0\r\n", "$13=1\r\n", "$3=255\r\n", "$10=2\r\n", "$110=0.001\r\n",
    "$20=1\r\n", "$130=-1\r\n", "\xff" * 700, "x" * 5000, "\x00", "\xd9\xa3", "\r", "\n", "\r\n" * 300, "|" * 600,
)  # fmt: skip
"""Lines that a GRBL board might send."""

NUMBERS: Final = (
    "0", "-0", "-1", "1", "255", "0.000001", "1e9", "nan", "inf", "9" * 20, "9" * 400, "0." + "0" * 320 + "1", ".5",
    "5.", "--1", "", "\xd9\xa3", "-331.988",
)  # fmt: skip

_NUMBER: Final = re.compile(r"-?\d+(?:\.\d+)?")


class TimeLimit:
    """A limit of `MAX_SECONDS` of processor time on a block of code, since a hang is a fault.

    ``waited`` returns the seconds that have passed on a virtual clock; a tenth of those is added to the limit.
    """

    def __init__(self, waited: Callable[[], float] = lambda: 0.0) -> None:
        self._waited = waited

    def __enter__(self) -> None:
        self._begun = time.thread_time()

    def __exit__(self, *_: object) -> None:
        took, limit = time.thread_time() - self._begun, MAX_SECONDS + self._waited() / 10
        assert took < limit * (TRACING_FACTOR if sys.gettrace() else 1), f"took {took:.1f} s"


def vary_bytes(content: bytes, dice: Random) -> bytes:
    """Cut out, overwrite or double a piece, as a failing disk or a person does."""
    start = dice.randrange(len(content) + 1)
    end = min(start + dice.randint(0, 80), len(content))
    match dice.choice(("cut", "token", "flip", "double", "end")):
        case "cut":
            return content[:start] + content[end:]
        case "token":
            return content[:start] + dice.choice(TOKENS) + content[end:]
        case "double":
            return content[:end] + content[start:]
        case "end":
            return content[:start]
    if start == len(content):
        return content
    return content[:start] + bytes([content[start] ^ 1 << dice.randrange(8)]) + content[start + 1 :]


def vary_json(content: bytes, dice: Random) -> bytes:
    """Replace, remove or double one value anywhere in a JSON document, or change some bytes."""
    if dice.random() < 0.3:
        return vary_bytes(content, dice)
    try:
        document = json.loads(content)
        _change_somewhere(document, dice)
        # json.dumps writes NaN and lone surrogates, as some programs do.
        return json.dumps(document, indent=2, sort_keys=True).encode()
    except (ValueError, RecursionError):
        return vary_bytes(content, dice)


def _change_somewhere(document: Any, dice: Random) -> None:
    at = document
    while isinstance(at, dict | list) and at:
        key = dice.choice(list(at)) if isinstance(at, dict) else dice.randrange(len(at))
        if not isinstance(at[key], dict | list) or dice.random() < 0.4:
            _change(at, key, dice)
            return
        at = at[key]


def _change(at: Any, key: Any, dice: Random) -> None:
    match dice.choice(("replace", "replace", "remove", "double")):
        case "replace":
            at[key] = dice.choice(NASTY)
        case "remove":
            del at[key]
        case "double" if isinstance(at, list):
            at.append(at[key])
        case "double":
            at[f"{key}_"] = at[key]


def vary_lines(content: bytes, dice: Random) -> bytes:
    """Change a line of a text of keys and values as people and editors do, or change some bytes."""
    lines = content.split(b"\n")
    at = dice.randrange(len(lines))
    key, is_value, _ = lines[at].partition(b" = ")
    match dice.choice(("value", "value", "remove", "double", "key", "bytes")):
        case "value" if is_value:
            value = _as_toml(dice.choice(NASTY)) if dice.random() < 0.6 else dice.choice(TOKENS)
            lines[at] = key + b" = " + value
        case "remove":
            del lines[at]
        case "double":
            lines.insert(dice.randrange(len(lines)), lines[at])
        case "key" if is_value:
            lines[at] = key[:-1] + lines[at][len(key) :]
        case _:
            return vary_bytes(content, dice)
    return b"\n".join(lines)


def _as_toml(value: Any) -> bytes:
    """Return a value in TOML, or in a form close to it."""
    if isinstance(value, dict):
        return b"{ a = 1 }" if value else b"{}"
    return json.dumps(value).replace("NaN", "nan").replace("Infinity", "inf").encode()


def vary_answer(answer: str, dice: Random) -> str:
    """Change the answer of a board: a line, a number in it, or a character, as a bad cable does."""
    lines = answer.splitlines(keepends=True) or [""]
    at = dice.randrange(len(lines))
    match dice.choice(("number", "number", "remove", "double", "line", "character", "end")):
        case "number" if numbers := list(_NUMBER.finditer(lines[at])):
            number = dice.choice(numbers)
            lines[at] = lines[at][: number.start()] + dice.choice(NUMBERS) + lines[at][number.end() :]
        case "remove":
            del lines[at]
        case "double":
            lines.insert(at, lines[at] * dice.choice((1, 1, 100)))
        case "line":
            lines[at : at + dice.randint(0, 1)] = [dice.choice(BOARD_LINES)]
        case "character" if lines[at]:
            place = dice.randrange(len(lines[at]))
            lines[at] = lines[at][:place] + chr(dice.randrange(256)) * dice.randint(0, 2) + lines[at][place + 1 :]
        case "end" if lines[at]:
            lines[at:] = [lines[at][: dice.randrange(len(lines[at]))]]
    return "".join(lines)


def vary_answers(content: bytes, dice: Random) -> bytes:
    """Change the answers of a board as `vary_answer` does, or change some bytes."""
    if dice.random() < 0.2:
        return vary_bytes(content, dice)
    return vary_answer(content.decode("latin-1"), dice).encode("latin-1")


def vary_sheet(content: bytes, dice: Random, answers: tuple[str, ...]) -> bytes:
    """Change a mishap sheet (see `wild_board`); ``answers`` are those of a board without mishaps."""
    lines = [line for line in content.split(b"\n") if line]
    match dice.choice(("add", "add", "add", "worse", "remove", "option", "bytes")):
        case "add":
            number = dice.randrange(len(answers) + 8)
            said = vary_answer(answers[number % len(answers)], dice)
            how = dice.choice((b"",) * 8 + (b"!slow ", b"!flood ", b"!unplug"))
            lines.append(b"%d %s%s" % (number, how, escaped(said)))
        case "worse" if lines:
            at = dice.randrange(len(lines))
            number, _, said = lines[at].partition(b" ")
            lines[at] = number + b" " + escaped(vary_answer(unescaped(said), dice))
        case "remove" if lines:
            del lines[dice.randrange(len(lines))]
        case "option":
            faults = ("alarm 1", "reset", "unplug", "silent", "garbage", "noise", "stuck", "short", "idle first")
            faults += ("hold", "error 9", "no home", "home for ever", "deaf", "boots")
            stop = b"stop %d" % dice.randrange(40)
            lines.append(dice.choice((b"homing no", stop, b"fault " + dice.choice(faults).encode())))
        case _:
            return vary_bytes(content, dice)
    return b"\n".join(lines)
