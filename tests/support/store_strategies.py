"""Strategies for the files of stores that follow the schema."""

from __future__ import annotations

import types
from datetime import UTC, datetime
from enum import Enum
from typing import Annotated, Any, Union, get_args, get_origin

from hypothesis import strategies as st
from msgspec import Struct
from msgspec.structs import fields

from plantimager.timelapse.store.schema import OWN_KEY, Own, Scan, Store

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


_STORES, _OWN = (with_unknown_keys(objects_of(kind)) for kind in (Store, Own))  # made once: it takes as long as a draw
_SCANS = st.lists(with_unknown_keys(objects_of(Scan)), max_size=5)


@st.composite
def files(draw: st.DrawFn) -> dict[str, Any]:
    """Return the JSON object of any sound file, with keys of a newer version everywhere."""
    raw = draw(_STORES)
    return {
        **raw,
        "timelapse_id": "tl",
        "next_idx": min(raw.get("next_idx", 0), len(raw["schedule_times"])),
        "scans": draw(_SCANS),
        "extra": {**(raw.get("extra") or {}), OWN_KEY: draw(_OWN)},
    }
