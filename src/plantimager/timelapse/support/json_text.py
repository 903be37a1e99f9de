"""JSON that loses nothing: fast where orjson is exact, Python's own ``json`` where it isn't.

orjson turns NaN into ``null`` when writing, reads integers beyond 64 bits as floats, and
refuses to read a BOM, NaN and lone surrogates. Whatever ``json`` can read has to survive a round
trip, so such documents take the slow path, both ways.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
from datetime import date, datetime, time
from typing import TYPE_CHECKING, Any, Final

import orjson
from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable

DEEPEST: Final = 200
"""Levels of nesting. Both read many more than they can write again: `_ORJSON_WRITES`, ``json`` what the stack has left.
"""

_ORJSON_WRITES: Final = 254
"""Levels."""

_TOO_DEEP: Final = f"nested deeper than {DEEPEST} levels"

_DIGITS_TO_ZEROS: Final = bytes.maketrans(b"123456789", b"000000000")
_LONG: Final = len(str(2**63))
"""Digits, as many as an integer beyond 64 bits has at least."""
_LONG_NUMBER: Final = re.compile(rb"(?:\A|[\s:,\[-])[0-9]{%d}" % _LONG)
"""What may be one: in a digest of hexadecimal digits nothing is."""
_PART: Final = 2**16

_CONTAINERS: Final = frozenset({dict, list})

_INT_64: Final = range(-(2**63), 2**64)

OPTIONS: Final = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS
"""How orjson writes as `dumps` does."""


class LoadedJson(Struct, frozen=True):
    """What a JSON text holds."""

    value: Any
    exact: bool
    """Whether orjson has read it: then it is exact, for what orjson can't write as it is, it doesn't read either."""


def loads(text: bytes) -> Any:
    """Return what a JSON text holds.

    Raises
    ------
    ValueError
        Not JSON, not in a Unicode encoding, or nested deeper than `DEEPEST`.

    """
    return load(text).value


def load(text: bytes) -> LoadedJson:
    """Return what a JSON text holds, and whether it is exact; raises as `loads` does."""
    if not _may_hold_long_numbers(text):
        with contextlib.suppress(orjson.JSONDecodeError):
            value = orjson.loads(text)
            if not fits_orjson(value):
                raise ValueError(_TOO_DEEP)
            return LoadedJson(value, exact=True)
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    if _is_too_deep(value):
        raise ValueError(_TOO_DEEP)
    return LoadedJson(value, exact=False)


def _may_hold_long_numbers(text: bytes) -> bool:
    """Whether there is an integer of as many digits; a part at a time, since a copy of the whole takes as long again.

    With all digits as zeros a part is searched ten times as fast as by a regular expression, which decides the rest.
    """
    zeros = b"0" * _LONG
    parts = (text[max(begin - 1, 0) : begin + _PART + _LONG] for begin in range(0, len(text), _PART))
    return any(zeros in part.translate(_DIGITS_TO_ZEROS) and _LONG_NUMBER.search(part) for part in parts)


def fits_orjson(value: Any) -> bool:
    """Whether orjson can write what it or msgspec has read, nested no deeper than `DEEPEST`: no integer is too large.

    A quarter of the time of `_is_too_deep`.
    """
    for _ in range(_ORJSON_WRITES - DEEPEST):
        value = [value]
    try:
        orjson.dumps(value)
    except orjson.JSONEncodeError:
        return False
    return True


def _is_too_deep(value: Any) -> bool:
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(DEEPEST):
        members = [item.values() if isinstance(item, dict) else item for item in level]
        level = [item for items in members for item in items if type(item) in _CONTAINERS]
        if not level:
            return False
    return True


def dumps(value: Any, *, exact: bool | None = None, default: Callable[[Any], Any] | None = datetime.isoformat) -> bytes:
    """Return ``value`` as JSON with an indent of 2 and sorted keys, UTF-8 where that can carry it.

    ``exact`` is what `is_exact` says of it, where the caller already knows. ``default`` gives what stands for a value
    that JSON doesn't have: of a datetime its ISO-8601 text.

    Raises
    ------
    TypeError, ValueError
        Something in it is not JSON; RecursionError never leaves.

    """
    if is_exact(value) if exact is None else exact:
        with contextlib.suppress(orjson.JSONEncodeError):
            return orjson.dumps(value, option=OPTIONS)
    try:
        text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, default=default)
        return text.encode()
    except UnicodeEncodeError:  # a lone surrogate: only its escape can carry it
        return json.dumps(value, indent=2, sort_keys=True, default=default).encode()
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None


def is_exact(value: Any, levels: int = DEEPEST) -> bool:
    """Whether orjson writes ``value`` as ``json`` would: plain values, no NaN, no huge integer, no lone surrogate.

    Raises
    ------
    ValueError
        Nested deeper than ``levels``, or for ever.

    """
    kind = type(value)
    if kind is str:
        return value.isascii() or _encodes(value)
    if value is None or kind is bool:
        return True
    if kind is int:
        return value in _INT_64
    if kind is float:
        return math.isfinite(value)
    if kind not in (dict, list, tuple):
        return False
    if not levels:
        raise ValueError(_TOO_DEEP)
    if kind is dict:
        return all(type(key) is str and is_exact(key) and is_exact(item, levels - 1) for key, item in value.items())
    return all(is_exact(item, levels - 1) for item in value)


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def jsonable(value: Any) -> Any:
    """Return a value of TOML as JSON can hold it: dates and times become their ISO-8601 text."""
    if isinstance(value, dict):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    return value.isoformat() if isinstance(value, datetime | date | time) else value
