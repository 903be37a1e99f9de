"""``timelapse.toml``: the timelapse that a person asks for."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import date, datetime, time, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from plantimager.timelapse.domain import schedule
from plantimager.timelapse.domain.durations import format_duration, format_exact_duration, parse_duration
from plantimager.timelapse.domain.schedule import MAX_SLOTS, Schedule
from plantimager.timelapse.domain.states import OnScanFailed, TimeLapseMode
from plantimager.timelapse.scan.configuration import read_scan_configuration
from plantimager.timelapse.settings.toml_file import load_toml
from plantimager.timelapse.support.errors import FaultsFound
from plantimager.timelapse.support.faults import MISSING, Fault, Table, format_value, one_of, whole_number
from plantimager.timelapse.support.json_text import jsonable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import tzinfo
    from pathlib import Path

WARMUP: Final = timedelta(seconds=30)
STANDBY_THRESHOLD: Final = timedelta(seconds=600)
GRACE: Final = timedelta(seconds=120)

SHORTEST_INTERVAL: Final = timedelta(seconds=1)
MOST_RETRIES: Final = 100
"""Far more immediate attempts than fit before any next slot."""

_MOST_FAULTY_DATES: Final = 10
"""Faulty entries of one list that are told one by one."""

_NAME: Final = r"(?!\.)[A-Za-z0-9._-]{1,64}"

_MODES_OF: Final[Mapping[str, tuple[TimeLapseMode, ...]]] = {
    "start_at": (TimeLapseMode.ONE_SHOT, TimeLapseMode.INTERVAL),
    "interval": (TimeLapseMode.INTERVAL,),
    "n_shots": (TimeLapseMode.INTERVAL,),
    "dates": (TimeLapseMode.FIXED_TIMES,),
}
"""The keys that say when the slots are, and the modes in which they mean something."""

_KEYS: Final = frozenset(
    {
        *("name", "mode", "warmup_period", "standby_threshold_sec", "grace_period", "on_scan_failed", "scan_retries"),
        *_MODES_OF,
    }
)


class Definition(Struct, frozen=True):
    """What a definition asks for; sound in itself, not yet tied to the moment of its start."""

    name: str
    """The timelapse's id."""
    mode: TimeLapseMode
    configuration: Mapping[str, Any]
    """The whole file as JSON can carry it: ``timelapse``, and the community's scan configuration beside it."""
    digest: str
    """SHA-256 of the file's bytes: whether a file is the one that was taken up already."""
    source: Path
    interval: timedelta = timedelta(0)
    """Between two slots; mode interval alone."""
    n_shots: int = 1
    """Mode interval alone."""
    start_at: datetime | None = None
    """As written, naive or aware; ``None`` is a warm-up from the start on. Not in mode fixed_times."""
    dates: tuple[datetime, ...] = ()
    """As written, naive or aware. Mode fixed_times alone."""
    warmup: timedelta = WARMUP
    standby_threshold: timedelta = STANDBY_THRESHOLD
    grace: timedelta = GRACE
    on_scan_failed: OnScanFailed = OnScanFailed.SKIP_SCAN
    scan_retries: int = 0
    remarks: tuple[str, ...] = ()
    """What a person should be told about how it was understood."""

    def schedule(self, now: datetime, zone: tzinfo | None = None) -> Schedule:
        """Return the slots, were the timelapse to start at ``now`` (aware), and what to tell about them.

        Naive times are local in ``zone``, ``None`` being the host's own.

        Raises
        ------
        FaultsFound
            In this zone, or from now on, the times make no schedule.

        """
        start = self.start_at or now + self.warmup
        try:
            match self.mode:
                case TimeLapseMode.ONE_SHOT:
                    slots, notes = schedule.one_shot(start, zone)
                case TimeLapseMode.INTERVAL:
                    slots, notes = schedule.interval(start, self.interval, self.n_shots, zone)
                case TimeLapseMode.FIXED_TIMES:
                    slots, notes = schedule.fixed_times(self.dates, zone)
        except ValueError as refusal:
            raise FaultsFound([Fault("timelapse", "", MISSING, str(refusal))], self.source) from None
        past = schedule.note_past_slots(slots, now, self.grace)
        return Schedule(slots, (*self.remarks, *notes, *((past,) if past else ())))


def read_definition(path: Path, zone: tzinfo | None = None) -> Definition:
    """Return the definition that stands in a file; its naive times are checked as local in ``zone``.

    Raises
    ------
    FileUnusable
        It can't be read or isn't TOML.
    FaultsFound
        With everything that is wrong with it.

    """
    file = load_toml(path)
    faults: list[Fault] = []
    remarks: list[str] = []
    scan = dict(file.values)
    asked = scan.pop("timelapse", MISSING)
    fields: dict[str, Any] = {}
    strays = [key for key in scan if key in _KEYS and not isinstance(scan[key], dict)]
    faults += [Fault("", key, scan.pop(key), "stands in no table; write it below [timelapse]") for key in strays]
    if asked is MISSING:
        faults.append(Fault("timelapse", "", MISSING, "the table is missing; it says what to take, and when"))
    else:
        fields = _read_timelapse(Table(asked, "timelapse", faults), zone, remarks)
    configuration = read_scan_configuration(scan, "", faults)
    if faults:
        raise FaultsFound(faults, path)
    return Definition(
        **fields,
        configuration={**configuration, "timelapse": jsonable(asked)},
        remarks=tuple(remarks),
        digest=file.digest,
        source=path,
    )


def _read_timelapse(table: Table, zone: tzinfo | None, remarks: list[str]) -> dict[str, Any]:
    """Return the fields of `Definition` that ``[timelapse]`` gives."""
    fields: dict[str, Any] = {
        "name": table.take("name", _timelapse_id),
        "mode": table.take("mode", lambda value: TimeLapseMode(one_of(*TimeLapseMode)(value))),
    }
    fields |= _read_times(table, fields["mode"], zone, remarks)
    fields |= _read_power(table)
    fields |= {
        "grace": table.take("grace_period", parse_duration, GRACE),
        "on_scan_failed": OnScanFailed(table.take("on_scan_failed", one_of(*OnScanFailed), OnScanFailed.SKIP_SCAN)),
        "scan_retries": table.take("scan_retries", whole_number(0, MOST_RETRIES), 0),
    }
    table.finish()
    return fields


def _read_power(table: Table) -> dict[str, timedelta]:
    """Read warm-up and standby: a rig that is powered down must have the time to warm up twice."""
    warmup = table.take("warmup_period", parse_duration, WARMUP)
    too_short = (
        f"less than twice the warm-up of {format_duration(warmup)}; write {format_exact_duration(2 * warmup)} or more"
    )

    def long_enough(value: object) -> timedelta:
        threshold = parse_duration(value)
        if threshold < 2 * warmup:
            raise ValueError(too_short)
        return threshold

    if not table.has("standby_threshold_sec") and 2 * warmup > STANDBY_THRESHOLD:
        problem = f"missing, and its default of {format_duration(STANDBY_THRESHOLD)} is {too_short}"
        table.faults.append(Fault(table.name, "standby_threshold_sec", MISSING, problem))
    return {
        "warmup": warmup,
        "standby_threshold": table.take("standby_threshold_sec", long_enough, STANDBY_THRESHOLD),
    }


# --- when the slots are ------------------------------------------------------------------------


def _read_times(table: Table, mode: TimeLapseMode | None, zone: tzinfo | None, remarks: list[str]) -> dict[str, Any]:
    """Read the keys that say when the slots are; one that means nothing in ``mode`` is a fault."""
    readers: tuple[tuple[str, Callable[[Any], Any], object], ...] = (
        ("interval", _interval, MISSING),
        ("n_shots", whole_number(1, MAX_SLOTS), MISSING),
        ("start_at", partial(_slot, zone=zone, remarks=remarks), None),
        ("dates", partial(_slots, zone=zone, remarks=remarks, table=table), MISSING),
    )
    before = len(table.faults)
    fields: dict[str, Any] = {}
    for key, read, default in readers:
        if mode is None:
            table.take(key, read, None)
        elif mode in _MODES_OF[key]:
            fields[key] = table.take(key, read, default)
        else:
            table.take(key, partial(_refuse, f"only for mode {' and '.join(_MODES_OF[key])}; this is {mode}"), None)
    if mode is TimeLapseMode.INTERVAL and len(table.faults) == before:
        _check_end(table, zone, **fields)
    return fields


def _check_end(table: Table, zone: tzinfo | None, interval: timedelta, n_shots: int, start_at: datetime | None) -> None:
    """Report a schedule whose single values are sound and whose last slot is not."""
    first = schedule.EARLIEST if start_at is None else schedule.to_utc(start_at, zone)
    try:
        schedule.last_slot(first, interval, n_shots)
    except ValueError as refusal:
        table.faults.append(Fault(table.name, "n_shots", n_shots, str(refusal)))


# Readers for `Table.take`.


def _timelapse_id(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(_NAME, value):
        raise ValueError("write letters, digits, ., _ and -, at most 64, no leading dot")
    return value


def _interval(value: object) -> timedelta:
    interval = parse_duration(value)
    if interval < SHORTEST_INTERVAL:
        raise ValueError(f"too short; write {format_exact_duration(SHORTEST_INTERVAL)} or more")
    return interval


def _slot(value: object, zone: tzinfo | None, remarks: list[str]) -> datetime:
    """Read one date and time, as written; TOML's own kinds as well as ISO-8601 text."""
    moment = _moment(value)
    schedule.slot_at(moment, zone)
    if _has_no_time_of_day(value):
        remarks.append(f"{format_value(value)} has no time of day; taken as {moment.isoformat()}")
    return moment


def _slots(value: object, zone: tzinfo | None, remarks: list[str], table: Table) -> tuple[datetime, ...]:
    """Read a list of dates and times; what is wrong with an entry is told of that entry."""
    if not isinstance(value, list) or not value:
        raise ValueError('write a list of dates and times: ["2026-06-22T08:00:00", "2026-06-23T08:00:00"]')
    if len(value) > MAX_SLOTS:
        raise ValueError(f"{len(value)} dates; at most {MAX_SLOTS}")
    problems: dict[int, str] = {}
    moments: dict[int, datetime] = {}
    for index, entry in enumerate(value):
        try:
            moments[index] = _slot(entry, zone, remarks)
        except ValueError as refusal:
            problems[index] = str(refusal)
    indices = list(moments)
    for index, twin in schedule.duplicates(schedule.to_utc(moment, zone) for moment in moments.values()):
        problems[indices[index]] = f"the same instant as dates[{indices[twin]}]; write each once"
    for index in sorted(problems)[:_MOST_FAULTY_DATES]:
        table.faults.append(Fault(table.name, f"dates[{index}]", value[index], problems[index]))
    if len(problems) > _MOST_FAULTY_DATES:
        untold = f"{len(problems) - _MOST_FAULTY_DATES} more entries at fault"
        table.faults.append(Fault(table.name, "dates", MISSING, untold))
    return tuple(moments.values())


def _moment(value: object) -> datetime:
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime.combine(value, time.min)
    if isinstance(value, str):
        with suppress(ValueError):
            return datetime.fromisoformat(value)
    raise ValueError("not a date and time; write 2026-06-22T08:00:00 (local) or 2026-06-22T06:00:00+00:00")


def _has_no_time_of_day(value: object) -> bool:
    if not isinstance(value, str):
        return not isinstance(value, datetime)
    try:
        date.fromisoformat(value)
    except ValueError:
        return False
    return True


def _refuse(problem: str, value: object) -> None:
    del value
    raise ValueError(problem)
