"""JSON without losses: by orjson where that is exact, else by Python's slower ``json``.

orjson writes NaN as ``null``, reads integers beyond 64 bits as floats, and refuses to read a BOM, NaN and lone
surrogates. All that ``json`` can read must survive a round trip, so ``json`` reads and writes such documents.
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

MAX_LEVELS: Final = 200
"""The levels of nesting that are accepted.

Both libraries read more levels than they can write: orjson writes `_ORJSON_MAX_LEVELS`, ``json`` as many as the
stack allows.
"""

_ORJSON_MAX_LEVELS: Final = 254

_TOO_DEEP: Final = f"nested deeper than {MAX_LEVELS} levels"

_DIGITS_TO_ZEROS: Final = bytes.maketrans(b"123456789", b"000000000")
_HUGE_DIGITS: Final = len(str(2**63))
"""The least number of digits of an integer beyond 64 bits."""
_HUGE_INTEGER: Final = rb"(?:\A|[\s:,\[-])[0-9]{%d}" % _HUGE_DIGITS
"""The beginning of such an integer. It doesn't match inside a hexadecimal digest."""
_CHUNK_BYTES: Final = 2**16

_CONTAINERS: Final = (dict, list, tuple)

_ORJSON_INTEGERS: Final = range(-(2**63), 2**64)

JSON_LAYOUT: Final = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS
"""The options with which orjson lays text out as `dumps` does."""


class LoadedJson(Struct, frozen=True):
    """The value of a JSON text."""

    value: Any
    exact: bool
    """Whether orjson read it, and can therefore write it without loss: it refuses to read what it can't write."""


def loads(text: bytes) -> Any:
    """Return the value of a JSON text.

    Raises `ValueError` where it is not JSON, not in a Unicode encoding, or nested deeper than `MAX_LEVELS`.
    """
    return load(text).value


def load(text: bytes) -> LoadedJson:
    """Return the value of a JSON text, and whether orjson can write it; raise as `loads` does."""
    if not _may_hold_huge_integers(text):
        with contextlib.suppress(orjson.JSONDecodeError):
            value = orjson.loads(text)
            if not fits_orjson(value):
                raise ValueError(_TOO_DEEP)
            return LoadedJson(value, exact=True)
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    if is_deeper(value, MAX_LEVELS):
        raise ValueError(_TOO_DEEP)
    return LoadedJson(value, exact=False)


def _may_hold_huge_integers(text: bytes) -> bool:
    """Return whether a text may hold an integer beyond 64 bits.

    It is searched in chunks, since copying all of it takes as long as the search. A chunk is first searched for
    zeros after all digits became zeros, which is ten times as fast as the regular expression.
    """
    zeros = b"0" * _HUGE_DIGITS
    starts = range(0, len(text), _CHUNK_BYTES)
    chunks = (text[max(start - 1, 0) : start + _CHUNK_BYTES + _HUGE_DIGITS] for start in starts)
    return any(zeros in chunk.translate(_DIGITS_TO_ZEROS) and re.search(_HUGE_INTEGER, chunk) for chunk in chunks)


def fits_orjson(value: Any) -> bool:
    """Return whether orjson can write what it or msgspec has read: no integer is too large, no nesting too deep.

    It takes a quarter of the time of `is_deeper`.
    """
    for _ in range(_ORJSON_MAX_LEVELS - MAX_LEVELS):
        value = [value]
    try:
        orjson.dumps(value)
    except orjson.JSONEncodeError:
        return False
    return True


def is_deeper(value: Any, levels: int) -> bool:
    """Return whether a value is nested deeper than that many levels. No recursion: a text nests without limit.

    A container that several hold is looked at once a level, so one that holds itself costs no more.
    """
    level = [value] if isinstance(value, _CONTAINERS) else []
    for _ in range(levels):
        members = [item.values() if isinstance(item, dict) else item for item in level]
        level = [*{id(item): item for items in members for item in items if isinstance(item, _CONTAINERS)}.values()]
        if not level:
            return False
    return bool(level)


def dumps(value: Any, *, exact: bool | None = None, default: Callable[[Any], Any] | None = datetime.isoformat) -> bytes:
    """Return ``value`` as JSON with an indent of 2 and sorted keys, in UTF-8 where that can represent it.

    ``exact`` is the result of `is_exact`, where the caller knows it. ``default`` converts a value that JSON doesn't
    have; datetimes become ISO-8601 texts.

    Raises
    ------
    TypeError
        A value in it has no form in JSON.
    ValueError
        Nested too deep, or without end.
    """
    if is_exact(value) if exact is None else exact:
        with contextlib.suppress(orjson.JSONEncodeError):
            return orjson.dumps(value, option=JSON_LAYOUT)
    if is_deeper(value, MAX_LEVELS):  # `is_exact` ends at the first value that orjson would not write
        raise ValueError(_TOO_DEEP)
    try:
        text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, default=default)
        return text.encode()
    except UnicodeEncodeError:  # a lone surrogate, which needs an escape sequence
        return json.dumps(value, indent=2, sort_keys=True, default=default).encode()
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None


def is_exact(value: Any, levels: int = MAX_LEVELS) -> bool:
    """Return whether orjson writes ``value`` as ``json`` does: plain values, no NaN, huge integer or lone surrogate.

    Raises `ValueError` where it is nested deeper than ``levels``, or without end.
    """
    kind = type(value)
    if kind is str:
        return value.isascii() or _encodes(value)
    if value is None or kind is bool:
        return True
    if kind is int:
        return value in _ORJSON_INTEGERS
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
    """Return a value of TOML in the types of JSON: dates and times become ISO-8601 texts."""
    if isinstance(value, dict):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    return value.isoformat() if isinstance(value, datetime | date | time) else value
