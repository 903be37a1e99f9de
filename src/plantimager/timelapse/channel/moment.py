"""Times that come from a file or a socket which others may write: with a zone, and far from where dates end."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated

from msgspec import Meta, Struct

from plantimager.timelapse.store.schema import are_years_sound, times_in

Moment = Annotated[datetime, Meta(tz=True)]
"""For the fields of a `WithMoments`."""


class WithMoments(Struct, frozen=True):
    """A struct whose times can be shown in every zone; msgspec makes a fault of any other."""

    def __post_init__(self) -> None:
        """Refuse other times."""
        if not are_years_sound(times_in(self)):
            raise ValueError("a time is too far away")


def moment_in(text: str) -> datetime | None:
    """Return the time that a text of a file says, in UTC; ``None`` where it isn't one of `Moment`."""
    with suppress(ValueError, OverflowError):
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo is not None and are_years_sound([moment]) else None
    return None
