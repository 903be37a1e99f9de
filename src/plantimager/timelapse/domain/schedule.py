"""The schedule of a timelapse: instants in UTC, made from the times that a person wrote.

A time without an offset is local time in a *zone*. The zone is an argument everywhere: a `tzinfo`, or ``None`` for
the zone of the host at the time of the call. No function reads a clock. All arithmetic is in UTC.

When the clocks change, a local time may not exist or may come twice. PEP 495 decides both: a time that the clocks leap
over is moved later by the length of the leap, and a time that comes twice means the first. `Schedule.notes` names
every such time.
"""

from __future__ import annotations

from bisect import bisect_left
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

from plantimager.timelapse.domain.durations import MAX_DURATION, format_duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import tzinfo

MAX_SLOTS: Final = 100_000
"""Eleven years of hourly slots. A greater number is taken for a mistake."""

EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(9000, 1, 1, tzinfo=UTC)
"""The bounds of the slots that a person may ask for. Within them no grace period or offset overflows a date."""

_OUT_OF_RANGE: Final = f"out of range; the years are {EARLIEST.year} to {LATEST.year - 1}"
_DAY: Final = timedelta(days=1)


class Schedule(NamedTuple):
    """The slots of a timelapse, and notes on them that a person should see before it starts."""

    slots: tuple[datetime, ...]
    """The instants in order, in UTC, no two of them equal."""
    notes: tuple[str, ...] = ()
    """Sentences without a full stop."""


# --- instants and their text -----------------------------------------------------------------


def format_instant(instant: datetime) -> str:
    """Return an aware time in UTC as ISO-8601 with offset: ``2026-06-22T06:00:30+00:00``.

    Raises
    ------
    ValueError
        The time is naive, so the instant is unknown.
    """
    if instant.tzinfo is None:
        raise ValueError(f"{instant.isoformat()} has no offset")
    return (instant if instant.tzinfo is UTC else instant.astimezone(UTC)).isoformat()


def to_utc(moment: datetime, zone: tzinfo | None) -> datetime:
    """Return ``moment`` in UTC. A naive one is local time in ``zone``, or in the host's zone for ``None``.

    Raises
    ------
    ValueError
        Beyond the years 1 to 9999 in UTC.
    """
    if moment.tzinfo is UTC:
        return moment
    try:
        if moment.tzinfo is None and zone is None:
            # Not astimezone(), which contradicts PEP 495 in the hour that the clocks of the host leap over.
            return datetime.fromtimestamp(moment.timestamp(), UTC)
        return (moment.replace(tzinfo=zone) if moment.tzinfo is None else moment).astimezone(UTC)
    except (OverflowError, OSError, ValueError):
        raise ValueError("beyond the years that a date can have") from None


def shift_instant(instant: datetime, shift: timedelta) -> datetime:
    """Return an instant by a clock that was set, within the bounds of the years; it may be from a file."""
    earliest, latest = EARLIEST - instant, LATEST - _DAY - instant
    return instant + min(max(shift, earliest), latest)


# --- schedules -------------------------------------------------------------------------------


def one_shot(start: datetime, zone: tzinfo | None) -> Schedule:
    """Return the schedule of a single slot at ``start``, which is local time in ``zone`` where it is naive.

    Raises
    ------
    ValueError
        ``start`` is before `EARLIEST`, or not before `LATEST`.
    """
    return Schedule((slot_at(start, zone),), _clock_change_notes([start], zone))


def interval(start: datetime, every: timedelta, n_shots: int, zone: tzinfo | None) -> Schedule:
    """Return the schedule of ``n_shots`` slots, the first at ``start``, each ``every`` after the one before.

    ``start`` is local time in ``zone`` where it is naive. ``every`` is elapsed time, also over a change of the
    clocks: the notes say where slots leave their hours of the day.

    Raises
    ------
    ValueError
        ``every`` isn't positive, ``n_shots`` isn't from 1 to `MAX_SLOTS`, a slot is before `EARLIEST` or not before
        `LATEST`, or the last one is more than a hundred years after the first.
    """
    first = slot_at(start, zone)
    last_slot(first, every, n_shots)
    slots = tuple([first + every * index for index in range(n_shots)])
    shifted = _hour_shift_note(slots, every, zone)
    return Schedule(slots, _clock_change_notes([start], zone) + ((shifted,) if shifted else ()))


def fixed_times(moments: Sequence[datetime], zone: tzinfo | None) -> Schedule:
    """Return the schedule of one slot for each of ``moments``, in order of time.

    Each moment is local time in ``zone`` where it is naive, so its hour of the day stays over a change of the clocks.

    Raises
    ------
    ValueError
        ``moments`` is empty or has more than `MAX_SLOTS`, one is before `EARLIEST` or not before `LATEST`, or two are
        the same instant.
    """
    if not 1 <= len(moments) <= MAX_SLOTS:
        raise ValueError(f"a schedule has from 1 to {MAX_SLOTS} slots")
    instants = [slot_at(moment, zone) for moment in moments]
    if repeated := duplicates(instants):
        index, first = repeated[0]
        raise ValueError(f"dates {first} and {index} are the same instant, {format_instant(instants[index])}")
    slots = tuple(sorted(instants))
    notes = _clock_change_notes(moments, zone)
    if list(slots) != instants:
        notes = ("the dates were not in order of time and have been sorted", *notes)
    return Schedule(slots, notes)


def last_slot(first: datetime, every: timedelta, n_shots: int) -> datetime:
    """Return the last of ``n_shots`` slots that are ``every`` apart, the first at ``first`` (UTC).

    Raises
    ------
    ValueError
        As `interval` raises it.
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


def interval_of(slots: Sequence[datetime]) -> timedelta | None:
    """Return the time between the last slots; ``None`` where the last three have no common one.

    That may be after an amendment: a single new slot is as far from the one before as it happens to be.
    """
    gaps = {later - earlier for earlier, later in pairwise(slots[-3:])}
    return gaps.pop() if len(gaps) == 1 else None


def slot_at(moment: datetime, zone: tzinfo | None) -> datetime:
    """Return ``moment`` in UTC as a slot; a naive one is local time in ``zone``.

    Raises
    ------
    ValueError
        It is before `EARLIEST`, or not before `LATEST`.
    """
    instant = to_utc(moment, zone)
    if not EARLIEST <= instant < LATEST:
        raise ValueError(_OUT_OF_RANGE)
    return instant


def duplicates(instants: Iterable[datetime]) -> list[tuple[int, int]]:
    """Return the index of every instant that repeats an earlier one, with the index of the first of its kind."""
    first_seen: dict[datetime, int] = {}
    indexed = [(index, first_seen.setdefault(instant, index)) for index, instant in enumerate(instants)]
    return [(index, first) for index, first in indexed if index != first]


# --- notes -----------------------------------------------------------------------------------


def note_past_slots(slots: Sequence[datetime], now: datetime, grace: timedelta) -> str | None:
    """Return a note on the slots that are past their grace period at ``now``; `None` where there are none."""
    late = sum(slot + grace < now for slot in slots)
    if not late:
        return None
    ago = f"due longer ago than the grace period of {format_duration(grace)}"
    return f"already missed: {late} of {len(slots)} slots, {ago}"


def _clock_change_notes(moments: Iterable[datetime], zone: tzinfo | None) -> tuple[str, ...]:
    """Return a note on every local time that doesn't exist or comes twice."""
    return tuple(note for moment in moments if (note := _clock_change_note(moment, zone)))


def _clock_change_note(moment: datetime, zone: tzinfo | None) -> str | None:
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


def _hour_shift_note(slots: Sequence[datetime], every: timedelta, zone: tzinfo | None) -> str | None:
    """Return a note on the first slot of an interval that leaves its hour of the day because the clocks change.

    Only a schedule that has the same hours on every day gets one, and only for a change that moves its slots.
    """
    if every % _DAY and _DAY % every:
        return None

    def offset(index: int) -> timedelta:
        return slots[index].astimezone(zone).utcoffset() or timedelta(0)

    stride = max(_DAY // every, 1)  # no zone changes its clocks twice in a day
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
