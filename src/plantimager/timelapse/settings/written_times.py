"""Dates and times as people write them in a definition, and the slots that they mean."""

from __future__ import annotations

from contextlib import suppress
from datetime import date, datetime, time
from typing import TYPE_CHECKING, Final

from plantimager.timelapse.domain import schedule
from plantimager.timelapse.domain.schedule import MAX_SLOTS
from plantimager.timelapse.support.faults import format_value

if TYPE_CHECKING:
    from datetime import tzinfo

    from plantimager.timelapse.support.faults import Table

_MAX_FAULTY_DATES: Final = 10
"""Faulty entries of one list that are reported one by one."""


def date_and_time(value: object) -> datetime:
    """Return a date and time as written, naive or aware; midnight where it has no time of day."""
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime.combine(value, time.min)
    if isinstance(value, str):
        with suppress(ValueError):
            return datetime.fromisoformat(value)
    raise ValueError("not a date and time; write 2026-06-22T08:00:00 (local) or 2026-06-22T06:00:00+00:00")


def list_of_dates(value: object) -> list[object]:
    """Return a list that has as many entries as a timelapse may have slots, each still as written."""
    if not isinstance(value, list) or not value:
        raise ValueError('write a list of dates and times: ["2026-06-22T08:00:00", "2026-06-23T08:00:00"]')
    if len(value) > MAX_SLOTS:
        raise ValueError(f"{len(value)} dates; at most {MAX_SLOTS}")
    return value


def read_slot(value: object, zone: tzinfo | None, notes: list[str]) -> datetime:
    """Return one date and time, as written, that can be a slot."""
    moment = date_and_time(value)
    schedule.slot_at(moment, zone)
    if _has_no_time_of_day(value):
        notes.append(f"{format_value(value)} has no time of day; taken as {moment.isoformat()}")
    return moment


def read_slots(value: object, zone: tzinfo | None, notes: list[str], table: Table) -> tuple[datetime, ...]:
    """Return a list of dates and times; a faulty entry is reported under its index."""
    entries = list_of_dates(value)
    problems: dict[int, str] = {}
    moments: dict[int, datetime] = {}
    for index, entry in enumerate(entries):
        try:
            moments[index] = read_slot(entry, zone, notes)
        except ValueError as refusal:
            problems[index] = str(refusal)
    indices = list(moments)
    for index, twin in schedule.duplicates(schedule.to_utc(moment, zone) for moment in moments.values()):
        problems[indices[index]] = f"the same instant as dates[{indices[twin]}]; write each once"
    for index in sorted(problems)[:_MAX_FAULTY_DATES]:
        table.add_fault(f"dates[{index}]", problems[index], entries[index])
    if len(problems) > _MAX_FAULTY_DATES:
        table.add_fault("dates", f"{len(problems) - _MAX_FAULTY_DATES} more entries at fault")
    return tuple(moments.values())


def _has_no_time_of_day(value: object) -> bool:
    if isinstance(value, str):
        with suppress(ValueError):
            return bool(date.fromisoformat(value))
    return not isinstance(value, str | datetime)
