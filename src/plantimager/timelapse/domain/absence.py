"""The time between two daemons: how much of it is known to be an outage. Pure: every instant is an argument."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from plantimager.timelapse.domain.states import TimeLapseState

if TYPE_CHECKING:
    from plantimager.timelapse.domain.timelapse import TimeLapse

Span = tuple[datetime, datetime]

SIGN_INTERVAL: Final = timedelta(seconds=90)
"""A machine or daemon that gives signs of life beside its saves gives one at least so often."""

SIGN_INTERVAL_IN_SCAN: Final = timedelta(seconds=1)
"""During a scan that reports progress it is a sign of life with every picture."""


class LastSign(Struct, frozen=True):
    """The last sign of life of a daemon."""

    at: datetime | None = None
    """``None`` where nothing is left of it."""
    has_ended: bool = False
    """Whether it then ended by itself: it was neither killed, nor did the power fail."""


class Absence(Struct, frozen=True):
    """The time from the last sign of life to the next one; each part has one span at most, with the outage last."""

    uncertain: tuple[Span, ...] = ()
    """In which a daemon may have run."""
    outage: tuple[Span, ...] = ()
    """In which none ran."""


NO_ABSENCE: Final = Absence()


def find_absence(timelapse: TimeLapse, saved_at: datetime | None, sign: LastSign, now: datetime) -> Absence:
    """Return what is known of the time until ``now``, for the store that was last saved at ``saved_at``.

    Where the last sign of life is the save itself, the daemon may have gone on for long: until the first slot that it
    would have recorded.
    """
    if saved_at is None or sign.at is None:
        return NO_ABSENCE
    due, seen_at = _first_due(timelapse, saved_at), sign.at
    interval = SIGN_INTERVAL_IN_SCAN if timelapse.state is TimeLapseState.RUNNING else SIGN_INTERVAL
    began = seen_at if due is None else min(seen_at, due)
    if began >= now:
        return NO_ABSENCE
    is_known = began == due or sign.has_ended or seen_at - saved_at >= interval
    off_from = began if is_known else min(due or now, now)
    uncertain = ((began, off_from),) if began < off_from else ()
    return Absence(uncertain, ((off_from, now),) if off_from < now else ())


def _first_due(timelapse: TimeLapse, saved_at: datetime) -> datetime | None:
    """Return by when a daemon would have saved again, as a slot was due; ``None`` where none is left."""
    first = timelapse.next_idx + (timelapse.state is TimeLapseState.RUNNING)
    ends = (timelapse.latest_start(slot) for slot in range(first, timelapse.n_slots))
    return next((end for end in ends if end > saved_at), None)
