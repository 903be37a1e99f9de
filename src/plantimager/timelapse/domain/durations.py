"""Durations in the forms that people write and read: ``1h30m`` in a definition, ``12 min`` on a screen."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

_NUMBER: Final = r"\d+(?:\.\d+)?"
_NEXT: Final = r"(?:[- ]?(?=\d)|\Z)"
"""Behind a unit: the next part, after a dash or a blank or neither, or the end."""

_DURATION: Final = (
    rf"(?a)(?:(?P<days>{_NUMBER}) ?d{_NEXT})?"
    rf"(?:(?P<hours>{_NUMBER}) ?h{_NEXT})?"
    rf"(?:(?P<minutes>{_NUMBER})(?: ?m(?:in)?{_NEXT}|(?<=h[0-5]\d)\Z))?"
    rf"(?:(?P<seconds>{_NUMBER}) ?s)?"
)

MAX_DURATION: Final = timedelta(days=366 * 100)
"""A hundred years. No experiment is longer, and no date overflows when it is added."""

ALLOWED: Final = "write seconds or 1h, 1h30m, 2d-3h"


def parse_duration(value: object) -> timedelta:
    """Return the duration that a person wrote: seconds as a number, or text such as ``1h30m`` or ``5 min``.

    Units are d, h, m or min, and s. Any part may be left out; between two parts, and before a unit, a blank may
    stand (``5 h 12 min``, as `format_duration` writes it), and between two parts a dash (``2d-3h-1m-0s``). The last
    part may have a fraction (``2.5h``), and ``2h30`` is two hours and a half. A bare number in quotes counts as
    seconds. The text must match whole: ``"20 mins"`` is refused, not read as 20 seconds.

    Raises
    ------
    ValueError
        Not a duration, negative, or longer than a hundred years.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"not a duration; {ALLOWED}")  # noqa: TRY004 - readers of configuration values raise ValueError
    try:
        duration = _parse_text(value) if isinstance(value, str) else timedelta(seconds=value)
    except (OverflowError, ValueError):
        raise ValueError(f"not a duration; {ALLOWED}") from None
    if duration < timedelta(0):
        raise ValueError(f"negative; {ALLOWED}")
    if duration > MAX_DURATION:
        raise ValueError("longer than 100 years")
    return duration


def _parse_text(text: str) -> timedelta:
    text = text.strip()
    if re.fullmatch(r"\d+(\.\d+)?", text, re.ASCII):
        return timedelta(seconds=float(text))
    match = re.fullmatch(_DURATION, text)
    parts = {unit: count for unit, count in match.groupdict().items() if count} if match else {}
    if not parts or any("." in count for count in list(parts.values())[:-1]):
        raise ValueError(text)
    return timedelta(**{unit: float(count) for unit, count in parts.items()})


def format_exact_duration(duration: timedelta) -> str:
    """Return ``duration`` in the form that `parse_duration` reads back exactly: ``1h30m``, ``2d3h``, ``1.5s``."""
    minutes, seconds = divmod(duration.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    parts = [f"{count}{unit}" for count, unit in ((duration.days, "d"), (hours, "h"), (minutes, "m")) if count]
    if duration.microseconds:
        parts.append(f"{seconds}.{duration.microseconds:06}".rstrip("0") + "s")
    elif seconds or not parts:
        parts.append(f"{seconds}s")
    return "".join(parts)


def format_duration(duration: timedelta) -> str:
    """Return ``duration`` without its sign in its two largest units: ``12 min``, ``6 min 28 s``, ``3 d 2 h``."""
    seconds = abs(duration.total_seconds())
    if seconds < 9.95:
        return f"{seconds:.1f}".rstrip("0").rstrip(".") + " s"
    total = round(seconds)
    for size, unit, smaller_size, smaller in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s")):
        if total >= size:
            count, rest = divmod(total, size)
            tail = rest // smaller_size
            return f"{count} {unit} {tail} {smaller}" if tail else f"{count} {unit}"
    return f"{total} s"


def format_stopwatch(duration: timedelta) -> str:
    """Return ``duration`` without its sign as minutes and seconds, or hours too: ``6:28``, ``1:02:07``."""
    total = round(abs(duration.total_seconds()))
    hours, rest = divmod(total, 3_600)
    minutes, seconds = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
