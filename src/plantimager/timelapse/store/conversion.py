"""Conversion between the Structs of the file's text (`schema`) and the values of the domain: field by field, by name.

Thousands of records are converted column by column, which takes a third of the time of one by one.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import repeat
from operator import attrgetter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeVar

from msgspec import Struct, to_builtins

from plantimager.timelapse.domain.records import Ending, Pause, SlotRecord, scan_ids_of
from plantimager.timelapse.domain.schedule import to_utc
from plantimager.timelapse.domain.timelapse import TimeLapse
from plantimager.timelapse.store.schema import Logbook, Own, Scan, SlotDetails, Store

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_S = TypeVar("_S", bound=Struct)
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})

# --- records ----------------------------------------------------------------------------------------

_SCAN_FIELDS: Final = Scan.__struct_fields__
_scan_values: Final = attrgetter(*_SCAN_FIELDS)

_NO_DETAILS: Final = SlotDetails()


def read_records(
    slots: Sequence[int],
    scans: Sequence[Scan],
    details: Mapping[int, SlotDetails],
    unknown_keys: Iterable[Mapping[str, Any]] | None = None,
) -> dict[int, SlotRecord]:
    """Return the records of ``slots``, given the scan and the unknown keys of each, and details by slot."""
    noted = [*map(details.get, slots, repeat(_NO_DETAILS))]
    columns: dict[str, Iterable[Any]] = {name: map(attrgetter(name), noted) for name in SlotDetails.__struct_fields__}
    columns |= {name: [*map(attrgetter(name), scans)] for name in _SCAN_FIELDS}
    attempts = zip(columns["attempt"], columns["started_at"], strict=True)
    columns |= {
        "slot": slots,
        "attempt": [_usual_attempt(started_at) if number is None else number for number, started_at in attempts],
        "started_at": in_utc(columns["started_at"]),
        "finished_at": in_utc(columns["finished_at"]),
        "unknown_keys": repeat(_NOTHING) if unknown_keys is None else unknown_keys,
    }
    return dict(zip(slots, map(SlotRecord, *[columns[name] for name in SlotRecord.__struct_fields__]), strict=True))


def in_utc(times: Iterable[Any]) -> list[Any]:
    """Return aware times in UTC; ``None`` stays."""
    return [to_utc(at, UTC) if at is not None and at.tzinfo is not UTC else at for at in times]


def _usual_attempt(started_at: object) -> int:
    return 1 if started_at else 0


def scans_of(records: Sequence[SlotRecord]) -> list[dict[str, Any]]:
    """Return the entries of ``scans``, unknown keys included; times and words are for the encoder to write."""
    scans = [dict(zip(_SCAN_FIELDS, values, strict=True)) for values in map(_scan_values, records)]
    if any(map(attrgetter("unknown_keys"), records)):
        for scan, record in zip(scans, records, strict=True):
            scan.update(record.unknown_keys)
    return scans


def details_of(records: Sequence[SlotRecord], timelapse_id: str, n_slots: int) -> dict[str, dict[str, Any]]:
    """Return the entries of ``extra.timelapsed.slots``; a record in which all is as usual has none."""
    usual_ids = scan_ids_of(timelapse_id, map(attrgetter("slot"), records), n_slots)
    columns: dict[str, Iterable[Any]] = {name: map(attrgetter(name), records) for name in SlotDetails.__struct_fields__}
    columns |= {
        "scan_id": [None if r.scan_id == usual else r.scan_id for r, usual in zip(records, usual_ids, strict=True)],
        "attempt": [None if r.attempt == _usual_attempt(r.started_at) else r.attempt for r in records],
    }
    entries = to_builtins([*map(SlotDetails, *columns.values())])  # without what is as usual
    return {str(record.slot): entry for record, entry in zip(records, entries, strict=True) if entry}


# --- the timelapse ----------------------------------------------------------------------------------

_DURATIONS: Final = {"warmup": "warmup_sec", "standby_threshold": "standby_threshold_sec", "grace": "grace_period"}
"""The fields of a `TimeLapse` that the file has as seconds, with their keys."""
_SAME_NAME: Final = tuple(
    name for name in TimeLapse.__struct_fields__ if name in Store.__struct_fields__ and name != "schedule_times"
)
"""The fields of a `TimeLapse` that are keys of the file; its schedule is long, and converted on its own."""
_IN_OWN: Final[Mapping[str, tuple[str, type[Struct]]]] = MappingProxyType(
    {"ending": ("ending", Ending), "last_pause": ("pause", Pause)}
)
"""The fields of a `TimeLapse` that are among what is ours in the file, with their keys there and the domain's types."""


def read_timelapse_fields(store: Store, own: Own) -> dict[str, Any]:
    """Return the fields of a `TimeLapse` but schedule and records; what is absent has the domain's default."""
    fields = {name: value for name in _SAME_NAME if (value := getattr(store, name)) is not None}
    fields |= {name: timedelta(seconds=getattr(store, key)) for name, key in _DURATIONS.items()}
    in_own = {name: (kind, getattr(own, key)) for name, (key, kind) in _IN_OWN.items()}
    fields |= {name: convert_fields(kind, entry) for name, (kind, entry) in in_own.items() if entry is not None}
    if store.start_at is not None:
        fields["start_at"] = to_utc(store.start_at, UTC)
    return {"id": store.timelapse_id, **fields}


def frame_of(timelapse: TimeLapse) -> dict[str, Any]:
    """Return the documented keys of the file but ``version``, ``schedule_times``, ``scans`` and ``extra``."""
    return {
        "timelapse_id": timelapse.id,
        "current_idx": timelapse.current_idx,
        **{name: getattr(timelapse, name) for name in _SAME_NAME},
        **{key: _seconds(getattr(timelapse, name)) for name, key in _DURATIONS.items()},
    }


def _seconds(duration: timedelta) -> float:
    """Return a duration as stores have it: whole seconds as an integer."""
    seconds = duration.total_seconds()
    return int(seconds) if seconds.is_integer() else seconds


# --- what is ours -----------------------------------------------------------------------------------


def own_of(timelapse: TimeLapse, logbook: Logbook) -> dict[str, Any]:
    """Return ``extra.timelapsed`` without the details of slots; times are for the encoder to write."""
    values = {key: getattr(timelapse, name) for name, (key, _) in _IN_OWN.items()}
    own: dict[str, Any] = to_builtins({"log": logbook, "values": values}, builtin_types=(datetime,))
    return {**own["log"], **own["values"]}


def convert_fields(kind: type[_S], value: Struct) -> _S:
    """Return the Struct of another kind whose fields a value has."""
    return kind(*[getattr(value, name) for name in kind.__struct_fields__])
