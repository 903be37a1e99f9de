"""When the slots of a timelapse are: from what a person wrote to instants in UTC.

A time that a person wrote may lack an offset; it then means the local time of a *zone*. That is
an argument everywhere: a `tzinfo`, or ``None`` for the zone that the host is set to. The
latter is looked up when it is needed, so that it is the zone *at the time of reading*, and it
reads no clock. All arithmetic is in UTC.

Twice a year the clocks change, and a local time may not exist or come twice. Both are decided as
PEP 495 does: a time that the clocks leap over is as much later as they leap, of a time that
comes twice the first is meant. That is never done in silence: `Schedule.notes` tells it.
"""

from __future__ import annotations

from bisect import bisect_left
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from plantimager.timelapse.domain.durations import MAX_DURATION, format_duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import tzinfo

MAX_SLOTS: Final = 100_000
"""Eleven years of hourly slots; a greater number is a slip of the pen."""

EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(9000, 1, 1, tzinfo=UTC)
"""The bounds of slots that a person asks for: a grace period or a zone's offset never overflows a date on them."""

_OUT_OF_RANGE: Final = f"out of range; the years are {EARLIEST.year} to {LATEST.year - 1}"
_DAY: Final = timedelta(days=1)


class Schedule(NamedTuple):
    """The slots of a timelapse, and what a person should be told about them before it starts."""

    slots: tuple[datetime, ...]
    """In order, in UTC, no two alike."""
    notes: tuple[str, ...] = ()
    """Whole sentences without a full stop."""


# --- instants and their text -----------------------------------------------------------------


def parse_instant(text: str, zone: tzinfo | None) -> datetime:
    """Return the instant, in UTC, that an ISO-8601 text means.

    It reads all that `datetime.fromisoformat` reads; the first of two where the text comes twice.

    Raises
    ------
    ValueError
        Not a text, not ISO-8601, or beyond the years 1 to 9999 in UTC.

    """
    try:
        return to_utc(datetime.fromisoformat(text), zone)
    except (TypeError, ValueError):
        raise ValueError("not an ISO-8601 date and time") from None


def format_instant(instant: datetime) -> str:
    """Return an aware time as UTC in ISO-8601 with offset: ``2026-06-22T06:00:30+00:00``.

    Raises
    ------
    ValueError
        It is naive: nobody could say which instant it is.

    """
    if instant.tzinfo is None:
        raise ValueError(f"{instant.isoformat()} has no offset")
    return (instant if instant.tzinfo is UTC else instant.astimezone(UTC)).isoformat()


def to_utc(moment: datetime, zone: tzinfo | None) -> datetime:
    """Return ``moment`` in UTC; a naive one is local time in ``zone``, ``None`` being the host's own.

    Raises
    ------
    ValueError
        Beyond the years 1 to 9999 in UTC.

    """
    if moment.tzinfo is UTC:
        return moment
    try:
        if moment.tzinfo is None and zone is None:
            # Not astimezone(): in the hour that the clocks leap over, its host zone contradicts PEP 495.
            return datetime.fromtimestamp(moment.timestamp(), UTC)
        return (moment.replace(tzinfo=zone) if moment.tzinfo is None else moment).astimezone(UTC)
    except (OverflowError, OSError, ValueError):
        raise ValueError("beyond the years that a date can have") from None


# --- schedules -------------------------------------------------------------------------------


def one_shot(start: datetime, zone: tzinfo | None) -> Schedule:
    """Return the schedule of a single slot.

    Raises
    ------
    ValueError
        ``start`` is beyond `EARLIEST` and `LATEST`.

    """
    return Schedule((slot_at(start, zone),), _remarks_on([start], zone))


def interval(start: datetime, every: timedelta, n_shots: int, zone: tzinfo | None) -> Schedule:
    """Return ``n_shots`` slots, the first at ``start``, ``every`` apart in real time.

    Raises
    ------
    ValueError
        ``every`` isn't positive, ``n_shots`` isn't from 1 to `MAX_SLOTS`, or a slot is beyond
        `EARLIEST` and `LATEST` or more than a hundred years after the first.

    """
    first = slot_at(start, zone)
    last_slot(first, every, n_shots)
    slots = tuple([first + every * index for index in range(n_shots)])
    shift = _wall_clock_shift(slots, every, zone)
    return Schedule(slots, _remarks_on([start], zone) + ((shift,) if shift else ()))


def fixed_times(moments: Sequence[datetime], zone: tzinfo | None) -> Schedule:
    """Return a slot for each of ``moments``, in order of time.

    Raises
    ------
    ValueError
        There are none or more than `MAX_SLOTS`, one is beyond `EARLIEST` and `LATEST`, or two are the same instant.

    """
    if not 1 <= len(moments) <= MAX_SLOTS:
        raise ValueError(f"a schedule has from 1 to {MAX_SLOTS} slots")
    instants = [slot_at(moment, zone) for moment in moments]
    if twins := duplicates(instants):
        index, twin = twins[0]
        raise ValueError(f"dates {twin} and {index} are the same instant, {format_instant(instants[index])}")
    slots = tuple(sorted(instants))
    notes = _remarks_on(moments, zone)
    if list(slots) != instants:
        notes = ("the dates were not in order of time and have been sorted", *notes)
    return Schedule(slots, notes)


def last_slot(first: datetime, every: timedelta, n_shots: int) -> datetime:
    """Return the last of ``n_shots`` slots from ``first`` (UTC) on.

    Raises
    ------
    ValueError
        As `interval` does.

    """
    if every <= timedelta(0):
        raise ValueError("an interval is longer than 0 s")
    if not 1 <= n_shots <= MAX_SLOTS:
        raise ValueError(f"a schedule has from 1 to {MAX_SLOTS} slots")
    if every > MAX_DURATION / max(n_shots - 1, 1):
        raise ValueError("at this interval they take longer than 100 years")
    last = first + every * (n_shots - 1)
    if last >= LATEST:
        raise ValueError(f"the last slot is {_OUT_OF_RANGE}")
    return last


def slot_at(moment: datetime, zone: tzinfo | None) -> datetime:
    """Return ``moment`` in UTC, refusing what can't be a slot.

    Raises
    ------
    ValueError
        Before `EARLIEST`, or not before `LATEST`.

    """
    instant = to_utc(moment, zone)
    if not EARLIEST <= instant < LATEST:
        raise ValueError(_OUT_OF_RANGE)
    return instant


def duplicates(instants: Iterable[datetime]) -> list[tuple[int, int]]:
    """Return (index, index of its first twin) of every instant that was there before."""
    first_seen: dict[datetime, int] = {}
    twins = []
    for index, instant in enumerate(instants):
        twin = first_seen.setdefault(instant, index)
        if twin != index:
            twins.append((index, twin))
    return twins


# --- notes -----------------------------------------------------------------------------------


def note_past_slots(slots: Sequence[datetime], now: datetime, grace: timedelta) -> str | None:
    """Say how many slots can't be taken any more, where there are any."""
    late = sum(slot + grace < now for slot in slots)
    if not late:
        return None
    ago = f"due longer ago than the grace period of {format_duration(grace)}"
    return f"already missed: {late} of {len(slots)} slots, {ago}"


def _remarks_on(moments: Iterable[datetime], zone: tzinfo | None) -> tuple[str, ...]:
    """Say of every local time that the clocks leap over, or that comes twice, how it was understood."""
    return tuple(remark for moment in moments if (remark := _clock_change_at(moment, zone)))


def _clock_change_at(moment: datetime, zone: tzinfo | None) -> str | None:
    if moment.tzinfo is not None:
        return None
    taken, other = (to_utc(moment.replace(fold=fold), zone) for fold in (0, 1))
    if taken == other:
        return None
    if taken > other:
        return f"{moment.isoformat()} doesn't exist: the clocks leap over it; taken as {_local(taken, zone)}"
    return (
        f"{moment.isoformat()} comes twice: the clocks go back over it; the first is taken, {_local(taken, zone)}; "
        f"write {_local(other, zone)} for the second"
    )


def _wall_clock_shift(slots: Sequence[datetime], every: timedelta, zone: tzinfo | None) -> str | None:
    """Say where the slots of an interval leave their hours of the day because the clocks change.

    Only of a schedule that falls on the same hours every day, and only where the change moves it.
    """
    if every % _DAY and _DAY % every:
        return None

    def offset(index: int) -> timedelta:
        return slots[index].astimezone(zone).utcoffset() or timedelta(0)

    stride = max(_DAY // every, 1)  # no zone changes twice in a day
    for early in range(0, len(slots) - 1, stride):
        late = min(early + stride, len(slots) - 1)
        before, after = offset(early), offset(late)
        if (after - before) % every:
            index = bisect_left(range(late), True, lo=early, key=lambda index: offset(index) != before)
            return _shift_note(index, slots[index], after - before, zone)
    return None


def _shift_note(index: int, slot: datetime, shift: timedelta, zone: tzinfo | None) -> str:
    direction = "later" if shift > timedelta(0) else "earlier"
    return (
        f"the clocks change before slot {index}, {_local(slot, zone)}: from there on the slots are "
        f"{format_duration(shift)} {direction} by the wall clock; an interval is real time, fixed_times keep their hour"
    )


def _local(instant: datetime, zone: tzinfo | None) -> str:
    return instant.astimezone(zone).isoformat()
