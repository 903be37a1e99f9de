"""Files as nobody should write them: real ones, with values and bytes changed as disks, people and programs do."""

from __future__ import annotations

import copy
import json
import random
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from plantimager.controller.timelapsed.clock import SystemClock
from soaking import scaled

if TYPE_CHECKING:
    from collections.abc import Callable

STORES: Final = Path(__file__).parent / "stores"
LONGEST: Final = 1.0
"""Seconds that any input may take; the slowest of a good run takes a hundredth of that."""

MUCH: Final = settings(
    max_examples=scaled(200, 2_000),
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
"""The same inputs in every run; `soak` looks for others."""

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

_places = st.integers(0, 2**16)


@st.composite
def _changed_value(draw: Any, document: Any) -> Any:
    """Return a JSON document with a few of its values replaced, removed or doubled, wherever they are."""
    document = copy.deepcopy(document)
    for _ in range(draw(st.integers(0, 4))):
        at = document
        for _ in range(draw(st.integers(1, 4))):
            keys = list(at) if isinstance(at, dict) else list(range(len(at)))
            if not keys:
                break
            key = keys[draw(_places) % len(keys)]
            if not isinstance(at[key], dict | list) or draw(st.booleans()):
                _change(at, key, draw(st.sampled_from(("replace", "replace", "remove", "double"))), draw)
                break
            at = at[key]
    return document


def _change(at: Any, key: Any, how: str, draw: Any) -> None:
    if how == "replace":
        at[key] = copy.deepcopy(draw(st.sampled_from(NASTY)))
    elif how == "remove":
        del at[key]
    elif isinstance(at, list):
        at.append(copy.deepcopy(at[key]))
    else:
        at[f"{key}_"] = at[key]


@st.composite
def _changed_bytes(draw: Any, content: bytes) -> bytes:
    """Return a text with pieces of it cut out, overwritten or doubled, as a failing disk or a person would."""
    for _ in range(draw(st.integers(0, 3))):
        start = draw(_places) % (len(content) + 1)
        end = min(start + draw(st.integers(0, 80)), len(content))
        how = draw(st.sampled_from(("cut", "token", "flip", "double", "end")))
        if how == "cut":
            content = content[:start] + content[end:]
        elif how == "token":
            content = content[:start] + draw(st.sampled_from(TOKENS)) + content[end:]
        elif how == "flip" and start < len(content):
            content = content[:start] + bytes([content[start] ^ 1 << draw(st.integers(0, 7))]) + content[start + 1 :]
        elif how == "double":
            content = content[:end] + content[start:]
        elif how == "end":
            content = content[:start]
    return content


def stores() -> st.SearchStrategy[bytes]:
    """Return stores of all generations, with something wrong with them, or nothing."""
    small = [path for path in sorted(STORES.glob("*.json")) if path.stat().st_size < 50_000]
    documents = [json.loads(path.read_bytes()) for path in small]
    values = st.sampled_from(documents).flatmap(_changed_value)
    # A plain dump: it writes NaN and half characters too, which some program will.
    texts = values.map(lambda document: json.dumps(document, indent=2, sort_keys=True).encode())
    return texts | texts.flatmap(_changed_bytes)


@st.composite
def toml_files(draw: Any, sources: tuple[bytes, ...]) -> bytes:
    """Return TOML files with lines changed as people and editors change them."""
    lines = draw(st.sampled_from(sources)).split(b"\n")
    for _ in range(draw(st.integers(0, 4))):
        at = draw(_places) % len(lines)
        key, is_value, _ = lines[at].partition(b" = ")
        how = draw(st.sampled_from(("value", "value", "remove", "double", "key")))
        if how == "value" and is_value:
            lines[at] = key + b" = " + draw(st.sampled_from(NASTY).map(_as_toml) | st.sampled_from(TOKENS))
        elif how == "remove" and len(lines) > 1:
            del lines[at]
        elif how == "double":
            lines.insert(at, lines[at])
        elif how == "key" and is_value:
            lines[at] = key[:-1] + lines[at][len(key) :]
    return draw(_changed_bytes(b"\n".join(lines)))


def _as_toml(value: Any) -> bytes:
    """Return a value as TOML has it, or something like it."""
    if isinstance(value, dict):
        return b"{ a = 1 }" if value else b"{}"
    return json.dumps(value).replace("NaN", "nan").replace("Infinity", "inf").encode()


class Patience:
    """Holds a piece of code to `LONGEST`: a hang is a fault like any other. By processor time, not the clock's."""

    def __enter__(self) -> None:
        self._begun = time.thread_time()

    def __exit__(self, *_: object) -> None:
        took = time.thread_time() - self._begun
        assert took < LONGEST, f"took {took:.1f} s"


# Coverage-guided, for as long as one likes.


STACK: Final = 1 << 29
"""Bytes: while Python traces itself, deep nesting in a file takes the stack of C, which ends without an exception."""


def explore(test: Callable[..., object], sources: Path, minutes: float) -> int:
    """Feed a hypothesis test with bytes that reach ever more of ``sources``; return how many inputs were tried.

    What the test raises is raised here; hypothesis tells the input with it.
    """
    before = threading.stack_size(STACK)
    try:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(_explore, test.hypothesis.fuzz_one_input, str(sources), minutes).result()
    finally:
        threading.stack_size(before)


def _explore(feed: Callable[[bytes], object], sources: str, minutes: float) -> int:
    clock = SystemClock()
    tried, end = 0, clock.monotonic() + minutes * 60
    dice = random.Random(0)
    corpus, seen = [dice.randbytes(size) for size in (64, 256, 1024)], set[tuple[str, int]]()
    while clock.monotonic() < end:
        varied = bytearray(dice.choice(corpus))
        for _ in range(dice.randint(1, 8)):
            varied[dice.randrange(len(varied))] = dice.randrange(256)
        found = set[tuple[str, int]]()
        sys.settrace(partial(_trace, sources, found))
        try:
            feed(bytes(varied))
        finally:
            sys.settrace(None)
        tried += 1
        if not found <= seen:
            seen |= found
            corpus.append(bytes(varied))
    clock.close()
    return tried


def _trace(sources: str, found: set[tuple[str, int]], frame: Any, event: str, _: object) -> Any:
    """Note the lines of our own code that are run; `sys.settrace` calls this for every function."""
    if not frame.f_code.co_filename.startswith(sources):
        return None
    if event == "line":
        found.add((frame.f_code.co_filename, frame.f_lineno))
    return partial(_trace, sources, found)
