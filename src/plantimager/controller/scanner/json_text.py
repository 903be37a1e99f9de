"""JSON that loses nothing: fast where orjson is exact, Python's own ``json`` where it isn't.

orjson turns NaN into ``null`` when writing, reads integers beyond 64 bits as floats, and
refuses a BOM, NaN and lone surrogates. Whatever ``json`` can read has to survive a round
trip, so such documents take the slow path, both ways.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final

import orjson

_LONG_NUMBER: Final = re.compile(rb"[0-9]{16}")
"""Digits that may be an integer beyond 64 bits or a float of more digits than orjson's repr keeps."""

_INT_64: Final = range(-(2**63), 2**64)

_OPTIONS: Final = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS


def loads(text: bytes) -> Any:
    """Return what a JSON text holds.

    Raises
    ------
    ValueError
        Not JSON, not UTF-8, or nested deeper than Python's stack.

    """
    if not _LONG_NUMBER.search(text):
        try:
            return orjson.loads(text)
        except orjson.JSONDecodeError:
            pass
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def dumps(value: Any, *, exact: bool | None = None) -> bytes:
    """Return ``value`` as JSON with an indent of 2 and sorted keys, UTF-8 where that can carry it.

    ``exact`` is what `is_exact` says of it, where the caller already knows.

    Raises
    ------
    TypeError, ValueError
        Something in it is not JSON; RecursionError never leaves.

    """
    try:
        if is_exact(value) if exact is None else exact:
            return orjson.dumps(value, option=_OPTIONS)
        text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    try:
        return text.encode()
    except UnicodeEncodeError:  # a lone surrogate: only its escape can carry it
        return json.dumps(value, indent=2, sort_keys=True).encode()


def is_exact(value: Any) -> bool:
    """Whether orjson writes ``value`` as ``json`` would: no NaN, no huge integer, no lone surrogate, text keys."""
    if value is None or value is True or value is False:
        return True
    if isinstance(value, str):
        return value.isascii() or _encodes(value)
    if isinstance(value, int):
        return value in _INT_64
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return all(type(key) is str and is_exact(key) and is_exact(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return all(map(is_exact, value))
    return False


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
