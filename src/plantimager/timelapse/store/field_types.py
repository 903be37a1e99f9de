"""The types of persisted fields, each with the words that a fault report uses for it.

The ``description`` of a type says what a person may write there. ``holds`` in its ``extra`` is a condition that
msgspec can't express, and ``secret`` keeps the value out of every report.
"""

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from operator import attrgetter
from typing import Annotated, Final

from msgspec import Meta

from plantimager.timelapse.domain.durations import MAX_DURATION
from plantimager.timelapse.domain.schedule import EARLIEST, LATEST

MAX_NAME_BYTES: Final = 200
"""With a suffix of ours still below the 255 that file systems take."""


def is_safe_name(name: str) -> bool:
    """Whether a timelapse id or scan id from a store may become a file name."""
    return (
        bool(name)
        and name.isprintable()
        and "/" not in name
        and not name.startswith(".")
        and len(name.encode()) <= MAX_NAME_BYTES
    )


def are_years_sound(times: Iterable[datetime]) -> bool:
    """Whether times are far from where dates end, whatever zone a naive one is read in."""
    return all(EARLIEST.year <= year < LATEST.year for year in set(map(attrgetter("year"), times)))


def allowed_words(words: type[StrEnum]) -> str:
    """Return the description of a field that holds one of these words."""
    return f"write one of {', '.join(words)}"


def _has_sound_year(time: datetime | None) -> bool:
    return time is None or are_years_sound([time])


_TIME: Final = f"write an ISO-8601 date and time of the years {EARLIEST.year} to {LATEST.year - 1}"
_SAFE_NAME: Final = f"not empty, no '/', no leading dot, at most {MAX_NAME_BYTES} bytes"
_MAX_SECONDS: Final = int(MAX_DURATION.total_seconds())

Instant = Annotated[datetime, Meta(tz=True, description=_TIME, extra={"holds": _has_sound_year})]
OptionalInstant = Annotated[Instant | None, Meta(description=f"{_TIME}, or null")]
WholeNumber = Annotated[int, Meta(description="write a whole number")]
Count = Annotated[int, Meta(ge=0, description="write a whole number of at least 0")]
Seconds = Annotated[
    Annotated[int, Meta(ge=0, le=_MAX_SECONDS)] | Annotated[float, Meta(ge=0, le=_MAX_SECONDS)],
    Meta(description="write seconds: a number from 0 to 100 years"),
]
Name = Annotated[
    str, Meta(description=f"write a name that can name a file: {_SAFE_NAME}", extra={"holds": is_safe_name})
]
Text = Annotated[str, Meta(description="write a text")]
