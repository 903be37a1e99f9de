"""Tables that people write, read key by key: every fault is reported, none is hidden by the first.

A key that is missing, misspelt, of the wrong type or out of range becomes a `Fault` in a list that all tables of a
file share, and reading goes on. `keys` declares the keys of a table in one place.
"""

from __future__ import annotations

import difflib
import json
import math
from datetime import date, datetime, time
from typing import TYPE_CHECKING, Any, TypeVar, overload

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from enum import StrEnum

T = TypeVar("T")
U = TypeVar("U")
E = TypeVar("E", bound="StrEnum")

MAX_VALUE_CHARS = 60
"""Characters of a faulty value that a message repeats: enough to find it in the file."""

MIN_PART_CHARS = 4
"""Characters of a part of a key that suffice to suggest it: ``grace`` for ``grace_period``."""


class SecretRefused(ValueError):
    """What a reader refuses and no message may repeat, because a person may have written a secret there."""


class _Missing:
    def __repr__(self) -> str:
        return "missing"


MISSING = _Missing()
"""The value of a key that is absent, and the default of a key that is required."""


class Fault(Struct, frozen=True):
    """One thing that is wrong, worded ``[table] key = value: problem``."""

    table: str
    """Dotted name of the TOML table, empty for the top level."""
    key: str
    value: object
    problem: str
    """The problem, and what is allowed."""

    def __str__(self) -> str:
        parts = (f"[{self.table}]" if self.table else "", self.key)
        place = _escape(" ".join(_truncate(part) for part in parts if part))
        if self.value is MISSING:
            return f"{place}: {self.problem}"
        return f"{place} = {format_value(self.value)}: {self.problem}"


def format_value(value: object) -> str:
    """Return ``value`` on one line as TOML writes it, cut to `MAX_VALUE_CHARS`, control characters escaped."""
    if isinstance(value, datetime | date | time):
        text = value.isoformat()
    elif isinstance(value, float):
        text = repr(value)
    else:
        try:
            text = json.dumps(value, ensure_ascii=False, default=str)
        except ValueError:  # an integer of more digits than Python converts to text
            text = "a number of thousands of digits"
    return _truncate(_escape(text))


def _escape(text: str) -> str:
    """Escape what a terminal obeys or hides: control characters, and marks that change the reading order."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else f"\\u{ord(sign):04x}" for sign in text)


def _truncate(text: str) -> str:
    return text if len(text) <= MAX_VALUE_CHARS else text[: MAX_VALUE_CHARS - 1] + "…"


class Table:
    """A TOML table that is being read; `finish` reports the unknown keys."""

    def __init__(self, values: object, name: str, faults: list[Fault]) -> None:
        self.name, self.faults = name, faults
        self._known: list[str] = []
        if isinstance(values, dict):
            self._values: Mapping[str, Any] = values
        else:
            self._values = {}
            parent, _, key = name.rpartition(".")
            faults.append(Fault(parent, key, values, "write a table"))

    def add_fault(self, key: str, problem: str, value: object = MISSING) -> None:
        """Report a fault of a key, or of the whole table where ``key`` is empty."""
        self.faults.append(Fault(self.name, key, value, problem))

    @overload
    def read(self, key: str, read: Callable[[Any], T]) -> T | None: ...
    @overload
    def read(self, key: str, read: Callable[[Any], T], default: U) -> T | U: ...

    def read(self, key: str, read: Callable[[Any], T], default: object = MISSING) -> Any:
        """Return ``read(value)`` of a key.

        An absent key gives ``default``, and without one a fault and ``None``. ``read`` raises `ValueError` with what
        is allowed; this becomes a fault, too, and gives the same as an absent key.
        """
        self._known.append(key)
        if key not in self._values:
            if default is MISSING:
                self.add_fault(key, "required, but missing")
                return None
            return default
        value = self._values[key]
        try:
            return read(value)
        except ValueError as refusal:
            self.add_fault(key, str(refusal), MISSING if isinstance(refusal, SecretRefused) else value)
            return None if default is MISSING else default

    def has(self, key: str) -> bool:
        """Whether the file has that key, with a sound value or a faulty one."""
        return key in self._values

    def ignore(self, key: str) -> bool:
        """Count a key as known without reading it; return whether the file has it."""
        self._known.append(key)
        return key in self._values

    def subtable(self, key: str) -> Table:
        """Return the table under ``key``; an empty one where the key is absent."""
        self._known.append(key)
        return Table(self._values.get(key, {}), f"{self.name}.{key}" if self.name else key, self.faults)

    def rest(self) -> dict[str, Any]:
        """Return the keys that were not taken, with their values; they count as known from then on."""
        left = {key: value for key, value in self._values.items() if key not in self._known}
        self._known.extend(left)
        return left

    def finish(self) -> None:
        """Report every key that was not taken, with the known key that is closest to it."""
        for key in self._values:
            if key not in self._known:
                closest = _closest_key(key, self._known)
                guess = f"; did you mean {closest}?" if closest else f"; known are {', '.join(self._known)}"
                self.add_fault(key, f"unknown key{guess}")  # without its value, which may be a secret


def _closest_key(key: str, known: Sequence[str]) -> str | None:
    """Return the known key that a person may have meant: one spelled nearly the same, else one that contains it."""
    key = key.casefold()
    near = difflib.get_close_matches(key, known, n=1)
    if not near and len(key) >= MIN_PART_CHARS:
        near = [name for name in known if key in name]
    return near[0] if near else None


# Readers: each takes a TOML value and returns it checked, or raises ValueError with what is allowed.


def text(value: object) -> str:
    """Return a string that isn't empty."""
    if not isinstance(value, str) or not value:
        raise ValueError("write a text in quotes")
    return value


def boolean(value: object) -> bool:
    """Return ``true`` or ``false``."""
    if not isinstance(value, bool):
        raise ValueError("write true or false")  # noqa: TRY004 - readers raise ValueError, whatever is wrong
    return value


def whole_number(at_least: int, at_most: int | None = None) -> Callable[[object], int]:
    """Return a reader of whole numbers from ``at_least`` to ``at_most``, both included."""
    span = f"from {at_least} to {at_most}" if at_most is not None else f"of at least {at_least}"

    def read(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError(f"write a whole number {span}")  # noqa: TRY004 - as above
        if value < at_least or (at_most is not None and value > at_most):
            raise ValueError(f"out of range; write a whole number {span}")
        return value

    return read


def number(value: object) -> float:
    """Return a finite number."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            if math.isfinite(value):
                return float(value)
        except OverflowError:  # an integer of hundreds of digits
            pass
    raise ValueError("write a number")


def one_of(*words: str) -> Callable[[object], str]:
    """Return a reader of one of ``words``."""

    def read(value: object) -> str:
        if value not in words:
            raise ValueError(f"write one of {', '.join(words)}")
        return str(value)

    return read


def member_of(enumeration: type[E]) -> Callable[[object], E]:
    """Return a reader of the members of an enumeration, by their words."""
    read = one_of(*enumeration)
    return lambda value: enumeration(read(value))


def members_of(enumeration: type[E]) -> Callable[[object], tuple[E, ...]]:
    """Return a reader of lists of members of an enumeration, by their words."""
    words = [*enumeration]

    def read(value: object) -> tuple[E, ...]:
        if not isinstance(value, list) or any(word not in words for word in value):
            raise ValueError(f"write a list of {', '.join(words)}")
        return tuple(map(enumeration, value))

    return read


def program(value: object) -> tuple[str, ...]:
    """Return a program and its arguments that are run in a directory which the person doesn't know."""
    words = argv(value)
    if "/" in words[0] and not words[0].startswith("/"):
        raise ValueError("write the program's whole path, or its bare name: it isn't run in your current directory")
    if any("\0" in text(word or " ") for word in words):
        raise ValueError("a NUL can't be in a program's argument")
    return words


def argv(value: object) -> tuple[str, ...]:
    """Return a program and its arguments; no shell sees them."""
    if not isinstance(value, list) or not value or not all(isinstance(word, str) for word in value):
        raise ValueError('write a list of texts, the program first: ["/usr/local/bin/take-scan", "--quiet"]')
    if not value[0]:
        raise ValueError("the program (the first text) is empty")
    return tuple(value)
