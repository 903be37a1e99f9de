"""Stores for tests: JSON objects of files, their reading, and examples that follow the schema.

Their strategies are a module of their own, `store_strategies`: the benchmarks use these and have no hypothesis.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin, get_type_hints

from msgspec import Struct

from plantimager.timelapse.domain.records import SlotRecord
from plantimager.timelapse.domain.states import OnScanFailed, RecordStatus, TimeLapseMode, TimeLapseState
from plantimager.timelapse.domain.timelapse import Ending
from plantimager.timelapse.store.loading import read_timelapse
from plantimager.timelapse.support.json_text import dumps

if TYPE_CHECKING:
    from datetime import tzinfo

    from plantimager.timelapse.store.stored_timelapse import StoredTimelapse

PATH = Path("s.json")
HOURS = [f"2026-06-22T{hour:02}:00:00+00:00" for hour in range(6, 12)]


def scan(scan_id: str = "tl_0", status: str = "succeeded", **changes: object) -> dict[str, Any]:
    """Return a scan record with all documented keys."""
    return {"scan_id": scan_id, "started_at": None, "finished_at": None, "status": status, "error": None, **changes}


def store_of(
    *scans: dict[str, Any], n_slots: int = 4, next_idx: int | None = None, **changes: object
) -> dict[str, Any]:
    """Return the JSON object of a store that is under way, with so many of its slots behind it as it has scans."""
    values = {
        "timelapse_id": "tl",
        "mode": "interval",
        "state": "scheduled",
        "schedule_times": HOURS[:n_slots],
        "next_idx": len(scans) if next_idx is None else next_idx,
        "scans": list(scans),
    }
    return {**values, **changes}


def read(raw: Mapping[str, Any], zone: tzinfo | None = UTC) -> StoredTimelapse:
    """Return what is in the file that has this JSON object for its text."""
    return read_timelapse(dumps(raw), PATH, zone)


def read_again(stored: StoredTimelapse, zone: tzinfo | None = UTC) -> StoredTimelapse:
    """Return what a later daemon reads of what was written."""
    return read_timelapse(stored.encode(), PATH, zone)


def read_and_write(raw: Mapping[str, Any], zone: tzinfo | None = UTC) -> StoredTimelapse:
    """Return what is in a file; what was understood of it is still so once it was written, in any zone."""
    stored = read(raw, zone)
    again = read_again(stored, timezone(timedelta(hours=-11)))
    assert again.timelapse == stored.timelapse
    assert (again.kept, again.notes) == (stored.kept, ())
    assert again.encode() == stored.encode()
    return stored


def statuses(stored: StoredTimelapse) -> list[RecordStatus | None]:
    """Return the status of each slot's record."""
    records = stored.timelapse.records
    return [records[slot].status if slot in records else None for slot in range(stored.timelapse.n_slots)]


# --- values by type ----------------------------------------------------------------------------------

AT = datetime(2026, 6, 22, 8, 0, 30, tzinfo=UTC)


NAMES = {
    **{kind.__name__: kind for kind in (datetime, timedelta, Mapping, Ending, SlotRecord)},
    **{kind.__name__: kind for kind in (OnScanFailed, RecordStatus, TimeLapseMode, TimeLapseState)},
    "Any": Any,
}
"""What the domain's annotations name: they are texts there, and some of these are imported for types alone."""


def types_of(kind: type[Struct]) -> dict[str, Any]:
    """Return the fields of a Struct with their types."""
    return get_type_hints(kind, localns=NAMES, include_extras=True)


def example_of(kind: Any, other_than: object = None) -> Any:
    """Return a value of a type that is not ``other_than``; the same for all fields of the type.

    Raises
    ------
    TypeError
        There is no example for the type yet.
    """
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) in (Union, types.UnionType):
        return example_of(next(member for member in get_args(kind) if member is not types.NoneType), other_than)
    if get_origin(kind) is tuple:
        members = get_args(kind)
        return tuple(example_of(member) for member in members if member is not Ellipsis)
    if get_origin(kind) is list:
        return [example_of(get_args(kind)[0])]
    if get_origin(kind) in (dict, Mapping):
        return {example_of(get_args(kind)[0]): example_of(get_args(kind)[1])}
    if kind is Any:
        return {"msg": "ALARM:1"}
    if isinstance(kind, type) and issubclass(kind, Enum):
        return next(member for member in kind if member is not other_than)
    if isinstance(kind, type) and issubclass(kind, Struct):
        return kind(**{name: example_of(annotation) for name, annotation in types_of(kind).items()})
    return _EXAMPLES[kind]


_EXAMPLES = {bool: True, int: 7, float: 7.5, str: "seven", datetime: AT, timedelta: timedelta(seconds=7)}
