"""Times and words of live objects as the documented store has them, under the names that its documentation has."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import Any, TypeVar

_E = TypeVar("_E", bound=Enum)


def _dt_to_iso(dt: datetime | None) -> str | None:
    """Return a time as ISO-8601; a naive one stays naive."""
    return dt.isoformat() if dt else None


def _iso_to_dt(s: str | None) -> datetime | None:
    """Return the time that an ISO-8601 text says; one without an offset is naive."""
    return datetime.fromisoformat(s) if s else None


def _enum_to_str(e: Enum | str | None) -> str | None:
    """Return the word of an enum's member: its value, or where that is no text, its name in small letters."""
    if isinstance(e, Enum):
        return e.value if isinstance(e.value, str) else e.name.lower()
    return None if e is None else str(e)


def _str_to_enum(cls: type[_E], s: str | None) -> _E | None:
    """Return the member of an enum that a word stands for: its value, or else its name in small letters.

    Raises `ValueError` where there is none.
    """
    by_name = next((member for member in cls if _enum_to_str(member) == s), None)
    return None if s is None else by_name or cls(s)


def time_text(time: Any) -> str | None:
    """Return a scan's time as ISO-8601: seconds since the epoch as naive local time, a datetime as it is.

    The controller's 0 means not yet. Raises `TypeError` or `ValueError` for what is no time.
    """
    if not time or isinstance(time, datetime):
        return _dt_to_iso(time)
    if isinstance(time, str):
        raise TypeError(f"a text is no time of a scan: {time!r}")
    return _dt_to_iso(datetime.fromtimestamp(float(time)))  # noqa: DTZ006 - as documented
