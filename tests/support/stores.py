"""Stores for tests: JSON objects of files, their reading, and strategies that follow the schema."""

from __future__ import annotations

import types
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin, get_type_hints

from hypothesis import strategies as st
from msgspec import Struct
from msgspec.structs import fields

from plantimager.timelapse.domain.records import SlotRecord
from plantimager.timelapse.domain.states import OnScanFailed, RecordStatus, TimeLapseMode, TimeLapseState
from plantimager.timelapse.domain.timelapse import Ending
from plantimager.timelapse.store.loading import read_timelapse
from plantimager.timelapse.store.schema import OURS, Own, Scan, Store
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

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.integers(-(2**80), 2**80) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
UNKNOWN_KEYS = st.dictionaries(st.text(max_size=12).map(lambda key: f"their {key}"), JSON, max_size=3)
INSTANTS = st.datetimes(datetime(1980, 1, 1), datetime(2900, 1, 1), timezones=st.just(UTC)).map(datetime.isoformat)  # noqa: DTZ001 - hypothesis wants bounds so


def values_of(kind: Any) -> st.SearchStrategy[Any]:
    """Return a strategy for the JSON values that the schema allows for a type."""
    bounds: dict[str, Any] = {}
    while get_origin(kind) is Annotated:
        kind, *metas = get_args(kind)
        for meta in metas:
            bounds |= {name: bound for name in ("ge", "le") if (bound := getattr(meta, name)) is not None}
    if get_origin(kind) in (Union, types.UnionType):
        return st.one_of(*map(values_of, get_args(kind)))
    if get_origin(kind) is tuple:
        members = get_args(kind)
        if Ellipsis in members:
            return st.lists(values_of(members[0]), max_size=2)
        return st.tuples(*map(values_of, members)).map(list)
    if get_origin(kind) is list:
        return st.lists(values_of(get_args(kind)[0]), max_size=4)
    if get_origin(kind) is dict:
        key, value = get_args(kind)
        keys = st.integers(0, 5).map(str) if key is int else values_of(key)
        return st.dictionaries(keys, values_of(value), max_size=4)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return st.sampled_from([member.value for member in kind])
    if isinstance(kind, type) and issubclass(kind, Struct):
        return objects_of(kind)
    if kind in (int, float):
        numbers = st.integers if kind is int else st.floats
        return numbers(bounds.get("ge", -(2**70)), bounds.get("le", 2**70))
    return {types.NoneType: st.none(), bool: st.booleans(), str: st.text(max_size=6), datetime: INSTANTS, Any: JSON}[
        kind
    ]


def objects_of(kind: type[Struct]) -> st.SearchStrategy[dict[str, Any]]:
    """Return a strategy for the JSON objects that a Struct of the schema allows, keys with a default now and then."""
    required = {field.encode_name: values_of(field.type) for field in fields(kind) if field.required}
    optional = {field.encode_name: values_of(field.type) for field in fields(kind) if not field.required}
    return st.fixed_dictionaries(required, optional=optional)


def with_unknown_keys(objects: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """Return a strategy for such objects with keys of a newer version in them."""
    return st.builds(lambda known, unknown: {**known, **unknown}, objects, UNKNOWN_KEYS)


@st.composite
def files(draw: st.DrawFn) -> dict[str, Any]:
    """Return the JSON object of any sound file, with keys of a newer version everywhere."""
    raw = draw(with_unknown_keys(objects_of(Store)))
    own, scans = with_unknown_keys(objects_of(Own)), st.lists(with_unknown_keys(objects_of(Scan)), max_size=5)
    return {
        **raw,
        "timelapse_id": "tl",
        "next_idx": min(raw.get("next_idx", 0), len(raw["schedule_times"])),
        "scans": draw(scans),
        "extra": {**(raw.get("extra") or {}), OURS: draw(own)},
    }
