"""Checking what people write: every fault of a table at once, none hidden by the first.

A `Table` is read key by key; what is missing, misspelt, of the wrong type or out of
range becomes a `Fault` in a list that the reader shares, and reading goes on.
"""

from __future__ import annotations

import json
import math
from datetime import date, datetime, time
from typing import TYPE_CHECKING, Any, TypeVar, overload

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

T = TypeVar("T")
U = TypeVar("U")

LONGEST_VALUE_SHOWN = 60
"""Characters of an offending value that a message repeats; enough to find it by."""

SHORTEST_PART = 4
"""Characters of a part of a key that still point to it: ``grace`` of ``grace_period``, not ``at`` of ``dates``."""


class _Missing:
    def __repr__(self) -> str:
        return "missing"


MISSING = _Missing()
"""Stands for the value of a key that is not there."""


class Fault(Struct, frozen=True):
    """One thing that is wrong, worded ``[table] key = value: problem``."""

    table: str
    """Dotted name of the TOML table, empty for the top level."""
    key: str
    value: object
    problem: str
    """What is wrong and what is allowed."""

    def __str__(self) -> str:
        parts = (f"[{self.table}]" if self.table else "", self.key)
        place = _printable(" ".join(_cut(part) for part in parts if part))
        if self.value is MISSING:
            return f"{place}: {self.problem}"
        return f"{place} = {format_value(self.value)}: {self.problem}"


def format_value(value: object) -> str:
    """Return ``value`` on one line as TOML would have it, cut when long, with nothing in it that moves a cursor."""
    if isinstance(value, datetime | date | time):
        text = value.isoformat()
    elif isinstance(value, float):
        text = repr(value)
    else:
        try:
            text = json.dumps(value, ensure_ascii=False, default=str)
        except ValueError:  # more digits than Python is willing to write out
            text = "a number of thousands of digits"
    return _cut(_printable(text))


def _printable(text: str) -> str:
    """Escape what a terminal would obey or hide: control characters, and marks that turn the reading order."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else f"\\u{ord(sign):04x}" for sign in text)


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_VALUE_SHOWN else text[: LONGEST_VALUE_SHOWN - 1] + "…"


class Table:
    """A TOML table that is being read; unknown keys are found by `finish`."""

    def __init__(self, values: object, name: str, faults: list[Fault]) -> None:
        self.name, self.faults = name, faults
        self._known: list[str] = []
        if isinstance(values, dict):
            self._values: Mapping[str, Any] = values
        else:
            self._values = {}
            self._faulty(name.rpartition(".")[2], values, "write a table", table=name.rpartition(".")[0])

    def _faulty(self, key: str, value: object, problem: str, *, table: str | None = None) -> None:
        self.faults.append(Fault(self.name if table is None else table, key, value, problem))

    @overload
    def take(self, key: str, read: Callable[[Any], T]) -> T | None: ...
    @overload
    def take(self, key: str, read: Callable[[Any], T], default: U) -> T | U: ...

    def take(self, key: str, read: Callable[[Any], T], default: object = MISSING) -> Any:
        """Return ``read(value)`` of a key.

        Where the key is absent: ``default``; a key without a default is a fault and gives ``None``.
        ``read`` raises `ValueError` with what is allowed; that becomes a fault too.
        """
        self._known.append(key)
        if key not in self._values:
            if default is MISSING:
                self._faulty(key, MISSING, "required, but missing")
                return None
            return default
        value = self._values[key]
        try:
            return read(value)
        except ValueError as refusal:
            self._faulty(key, value, str(refusal))
            return None if default is MISSING else default

    def has(self, key: str) -> bool:
        """Whether the person wrote that key, rightly or wrongly."""
        return key in self._values

    def subtable(self, key: str) -> Table:
        """Return the table under ``key``, an empty one when it is absent."""
        self._known.append(key)
        return Table(self._values.get(key, {}), f"{self.name}.{key}" if self.name else key, self.faults)

    def rest(self) -> dict[str, Any]:
        """Return the keys that were not taken, and count them as known."""
        left = {key: value for key, value in self._values.items() if key not in self._known}
        self._known.extend(left)
        return left

    def finish(self) -> None:
        """Report every key that nobody took, with the likeliest spelling."""
        for key in self._values:
            if key not in self._known:
                meant = _likeliest(key, self._known)
                guess = f"; did you mean {meant}?" if meant else f"; known are {', '.join(self._known)}"
                # Its value is left out: nobody knows what it is, it may be a secret.
                self._faulty(key, MISSING, f"unknown key{guess}")


def _likeliest(key: str, known: Sequence[str]) -> str | None:
    """Return the known key that a person may have meant: one that is nearly the same, or else has it as a part."""
    key = key.casefold()
    import difflib  # noqa: PLC0415 - because as a rule nothing is misspelt, and every start would pay for it

    near = difflib.get_close_matches(key, known, n=1)
    if not near and len(key) >= SHORTEST_PART:
        near = [name for name in known if key in name]
    return near[0] if near else None


# Readers for `Table.take`: each takes a TOML value and returns it checked, or raises ValueError
# with what is allowed.


def text(value: object) -> str:
    """Read a string that isn't empty."""
    if not isinstance(value, str) or not value:
        raise ValueError("write a text in quotes")
    return value


def boolean(value: object) -> bool:
    """Read ``true`` or ``false``."""
    if not isinstance(value, bool):
        raise ValueError("write true or false")  # noqa: TRY004 - readers raise ValueError, whatever is wrong
    return value


def whole_number(at_least: int, at_most: int | None = None) -> Callable[[object], int]:
    """Return a reader of whole numbers from ``at_least`` to ``at_most``."""
    span = f"from {at_least} to {at_most}" if at_most is not None else f"of at least {at_least}"

    def read(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError(f"write a whole number {span}")  # noqa: TRY004 - as above
        if value < at_least or (at_most is not None and value > at_most):
            raise ValueError(f"out of range; write a whole number {span}")
        return value

    return read


def number(value: object) -> float:
    """Read a finite number."""
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


def argv(value: object) -> tuple[str, ...]:
    """Read a program with its arguments; no shell ever sees it."""
    if not isinstance(value, list) or not value or not all(isinstance(word, str) for word in value):
        raise ValueError('write a list of texts, the program first: ["/usr/local/bin/take-scan", "--quiet"]')
    if not value[0]:
        raise ValueError("the program (the first text) is empty")
    return tuple(value)
