"""``timelapse.toml``: the timelapse that a person asks for."""

# Annotations are evaluated here, since `Definition` declares keys.

import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, tzinfo
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final

from msgspec import Struct

from plantimager.timelapse.domain import schedule
from plantimager.timelapse.domain.durations import format_duration, format_exact_duration, parse_duration
from plantimager.timelapse.domain.schedule import MAX_SLOTS, Schedule
from plantimager.timelapse.domain.states import OnScanFailed, TimeLapseMode
from plantimager.timelapse.scan.configuration import read_scan_configuration
from plantimager.timelapse.settings.toml_file import TomlFile, load_toml, parse_toml
from plantimager.timelapse.settings.written_times import date_and_time, list_of_dates, read_slot, read_slots
from plantimager.timelapse.support.errors import FaultsFound
from plantimager.timelapse.support.faults import MISSING, Fault, Table, member_of, whole_number
from plantimager.timelapse.support.json_text import jsonable
from plantimager.timelapse.support.keys import Key, keys_of, read_key

MIN_INTERVAL: Final = timedelta(seconds=1)
MAX_RETRIES: Final = 100
"""Far more immediate attempts than fit before the next slot."""

_TIMELAPSE_ID: Final = r"(?!\.)[A-Za-z0-9._-]{1,64}"

IGNORED_KEYS: Final[Mapping[str, str]] = MappingProxyType(
    {"light_policy": "which light is on in a scan follows from the roles of the rig's switches"}
)
"""Keys of ``[timelapse]`` that the community's controller documents and that have no meaning here, each with the
reason. A file that has them is accepted, with a note. All its other keys are among those of `Definition`."""


# Readers of keys. `read_slot` and `read_slots` read dates with all that has to be known besides.


def _timelapse_id(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(_TIMELAPSE_ID, value):
        raise ValueError("write letters, digits, ., _ and -, at most 64, no leading dot")
    return value


def _interval(value: object) -> timedelta:
    interval = parse_duration(value)
    if interval < MIN_INTERVAL:
        raise ValueError(f"too short; write {format_exact_duration(MIN_INTERVAL)} or more")
    return interval


class Definition(Struct, frozen=True, kw_only=True):
    """The content of a definition: sound in itself, not yet bound to the moment of its start."""

    name: Annotated[str, Key(_timelapse_id)]
    """What the timelapse and its datasets are called: letters, digits, ".", "_", "-", at most 64, not beginning with
    "."."""
    mode: Annotated[TimeLapseMode, Key(member_of(TimeLapseMode))]
    """When the slots are: "interval" is ``n_shots`` slots, an ``interval`` apart; "one_shot" is a single slot;
    "fixed_times" is the ``dates``."""
    interval: Annotated[timedelta, Key(_interval, "duration", 'Required in mode "interval"')] = timedelta(0)
    """Mode "interval": the time from one slot to the next, at least 1 s. It is real time: where clocks change, slots
    move by the hour on the wall clock."""
    n_shots: Annotated[int, Key(whole_number(1, MAX_SLOTS), "slots", 'Required in mode "interval"')] = 1
    """Mode "interval": how many slots, 1 to 100000."""
    start_at: Annotated[datetime | None, Key(date_and_time, absent="as soon as the rig has warmed up")] = None
    """Modes "interval" and "one_shot": the first slot, in ISO-8601, as text or as a date and time of TOML. Without an
    offset it is local time."""
    dates: Annotated[tuple[datetime, ...], Key(list_of_dates, absent='Required in mode "fixed_times"')] = ()
    """Mode "fixed_times": a list of dates and times, written as ``start_at`` is, in any order, each once; at most
    100000."""
    warmup: Annotated[timedelta, Key(parse_duration, "s", name="warmup_period")] = timedelta(seconds=30)
    """How long before a slot the rig is powered and prepared."""
    standby_threshold: Annotated[timedelta, Key(parse_duration, "s", name="standby_threshold_sec")] = timedelta(
        seconds=600
    )
    """The rig is powered down where the next slot is farther off than this; at least twice ``warmup_period``."""
    grace: Annotated[timedelta, Key(parse_duration, "s", name="grace_period")] = timedelta(seconds=120)
    """How late a slot may still start: after a power cut, or after a scan that took long."""
    on_scan_failed: Annotated[OnScanFailed, Key(member_of(OnScanFailed))] = OnScanFailed.SKIP_SCAN
    """What happens when all attempts at a slot have failed: with "skip_scan" the timelapse goes on with the next slot,
    with "fail_timelapse" it ends."""
    scan_retries: Annotated[int, Key(whole_number(0, MAX_RETRIES), "attempts")] = 0
    """How many further attempts a failed slot gets at once, 0 to 100."""
    configuration: Mapping[str, Any]
    """The whole file as JSON can carry it: ``timelapse``, and the community's scan configuration beside it."""
    digest: str
    """SHA-256 of the file's bytes, by which a file that was accepted before is known."""
    source: Path
    notes: tuple[str, ...] = ()
    """For a person: how it was understood."""

    @property
    def n_slots(self) -> int:
        """How many slots it has."""
        return {TimeLapseMode.ONE_SHOT: 1, TimeLapseMode.INTERVAL: self.n_shots}.get(self.mode, len(self.dates))

    def schedule(self, now: datetime, zone: tzinfo | None = None) -> Schedule:
        """Return the slots of the timelapse if it starts at ``now`` (aware), with all notes.

        Naive times are local in ``zone``, ``None`` being the host's own. Raises `FaultsFound` where the times make
        no schedule in this zone or from now on.
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
        return Schedule(slots, (*self.notes, *notes, *((past,) if past else ())))


_KEYS: Final = keys_of(Definition)

_MODES_OF: Final[Mapping[str, tuple[TimeLapseMode, ...]]] = MappingProxyType(
    {
        "interval": (TimeLapseMode.INTERVAL,),
        "n_shots": (TimeLapseMode.INTERVAL,),
        "start_at": (TimeLapseMode.ONE_SHOT, TimeLapseMode.INTERVAL),
        "dates": (TimeLapseMode.FIXED_TIMES,),
    }
)
"""The keys that say when the slots are, and the modes in which they mean something. Only ``start_at`` is optional."""


def read_definition(path: Path, zone: tzinfo | None = None) -> Definition:
    """Return the definition in a file; its naive times are checked as local in ``zone``.

    Raises as `load_toml` and `definition_of`.
    """
    return definition_of(load_toml(path), zone)


def parse_definition(content: bytes, path: Path, zone: tzinfo | None = None) -> Definition:
    """Return the definition in a text that was sent; ``path`` is where its author has it. Raises as above."""
    return definition_of(parse_toml(content, path), zone)


def definition_of(file: TomlFile, zone: tzinfo | None = None) -> Definition:
    """Return the definition that a file holds; raise `FaultsFound` with everything that is wrong with it."""
    faults: list[Fault] = []
    notes: list[str] = []
    scan = dict(file.values)
    asked = scan.pop("timelapse", MISSING)
    fields: dict[str, Any] = {}
    strays = [key.name for key in _KEYS.values() if key.name in scan and not isinstance(scan[key.name], dict)]
    faults += [Fault("", key, scan.pop(key), "stands in no table; write it below [timelapse]") for key in strays]
    if asked is MISSING:
        faults.append(Fault("timelapse", "", MISSING, "the table is missing; it says what to take, and when"))
    else:
        fields = _read_timelapse(Table(asked, "timelapse", faults), zone, notes)
    configuration = read_scan_configuration(scan, "", faults)
    if faults:
        raise FaultsFound(faults, file.path)
    return Definition(
        **fields,
        configuration={**configuration, "timelapse": jsonable(asked)},
        notes=tuple(notes),
        digest=file.digest,
        source=file.path,
    )


def _read_timelapse(table: Table, zone: tzinfo | None, notes: list[str]) -> dict[str, Any]:
    """Return the fields of `Definition` that ``[timelapse]`` gives."""
    fields = {field: read_key(table, _KEYS[field]) for field in ("name", "mode")}
    fields |= _read_times(table, fields["mode"], zone, notes)
    fields |= _read_power(table)
    fields |= {field: read_key(table, _KEYS[field]) for field in ("grace", "on_scan_failed", "scan_retries")}
    for key, reason in IGNORED_KEYS.items():
        if table.ignore(key):
            notes.append(f"{key} is ignored, a key of the community's controller that has no meaning here: {reason}")
    table.finish()
    return fields


def _read_power(table: Table) -> dict[str, timedelta]:
    """Read warm-up and standby: a rig that is powered down must have the time to warm up twice."""
    warmup = read_key(table, _KEYS["warmup"])
    key = _KEYS["standby_threshold"]
    too_short = (
        f"less than twice the warm-up of {format_duration(warmup)}; write {format_exact_duration(2 * warmup)} or more"
    )

    def long_enough(value: object) -> timedelta:
        threshold = parse_duration(value)
        if threshold < 2 * warmup:
            raise ValueError(too_short)
        return threshold

    if not table.has(key.name) and key.default < 2 * warmup:
        table.add_fault(key.name, f"missing, and its default of {format_duration(key.default)} is {too_short}")
    return {"warmup": warmup, "standby_threshold": read_key(table, key, long_enough)}


# --- when the slots are ------------------------------------------------------------------------


def _read_times(table: Table, mode: TimeLapseMode | None, zone: tzinfo | None, notes: list[str]) -> dict[str, Any]:
    """Read the keys that say when the slots are; one that means nothing in ``mode`` is a fault."""
    readers: dict[str, Callable[[Any], Any]] = {
        "start_at": partial(read_slot, zone=zone, notes=notes),
        "dates": partial(read_slots, zone=zone, notes=notes, table=table),
    }
    before = len(table.faults)
    fields: dict[str, Any] = {}
    for field, modes in _MODES_OF.items():
        read = readers.get(field, _KEYS[field].read)
        if mode is None:
            table.read(field, read, None)
        elif mode in modes:
            fields[field] = table.read(field, read, None if field == "start_at" else MISSING)
        else:
            table.read(field, partial(_refuse, f"only for mode {' and '.join(modes)}; this is {mode}"), None)
    if mode is TimeLapseMode.INTERVAL and len(table.faults) == before:
        _check_end(table, zone, **fields)
    return fields


def _check_end(table: Table, zone: tzinfo | None, interval: timedelta, n_shots: int, start_at: datetime | None) -> None:
    """Report a schedule of sound values whose last slot is out of range."""
    first = schedule.EARLIEST if start_at is None else schedule.to_utc(start_at, zone)
    try:
        schedule.last_slot(first, interval, n_shots)
    except ValueError as refusal:
        table.add_fault("n_shots", str(refusal), n_shots)


def _refuse(problem: str, value: object) -> None:
    del value
    raise ValueError(problem)
