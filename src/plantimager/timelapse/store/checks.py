"""The faults in the JSON object of a file, key by key, worded for the person who has to look at it.

The types of the `schema` say what is sound and what is allowed. A key that it doesn't declare is no fault.
"""

from __future__ import annotations

from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin

from msgspec import Meta, Struct, convert
from msgspec.structs import fields

from plantimager.timelapse.store.schema import Store
from plantimager.timelapse.support.faults import MISSING, Fault

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def faults_of(raw: Mapping[str, Any]) -> Iterator[Fault]:
    """Yield the faults in a store whose spelling is today's (`spellings.rewrite`)."""
    types = {field.name: field.type for field in fields(Store)}
    for field in fields(Store):
        if field.required and field.name not in raw:
            yield Fault("", field.name, MISSING, "required, but missing")
    for key, kind in types.items():
        if key in raw and not _is_sound(raw[key], list if _member(kind) else kind):
            yield _fault(key, raw[key], kind)
    yield from _faults_of_members("schedule_times", raw, types)
    yield from _fault_of_next_idx(raw.get("next_idx"), raw.get("schedule_times"))
    yield from _faults_of_members("scans", raw, types)


def _fault_of_next_idx(next_idx: Any, times: Any) -> Iterator[Fault]:
    if isinstance(times, list) and type(next_idx) is int and next_idx > len(times):
        allowed = f"beyond the schedule ({len(times)} slots); write a number from 0 to {len(times)}"
        yield Fault("", "next_idx", next_idx, allowed)


def _faults_of_members(key: str, raw: Mapping[str, Any], types: Mapping[str, Any]) -> Iterator[Fault]:
    """Yield the faults in the members of a list, each named by its place."""
    kind = _member(types[key])
    values = raw.get(key)
    for index, value in enumerate(values if isinstance(values, list) else ()):
        place = f"{key}[{index}]"
        if isinstance(kind, type) and issubclass(kind, Struct):
            yield from _faults_of_object(value, kind, place)
        elif not _is_sound(value, kind):
            yield _fault(place, value, kind)


def _faults_of_object(value: Any, kind: type[Struct], place: str) -> Iterator[Fault]:
    if not isinstance(value, dict):
        yield Fault("", place, value, "write an object")
        return
    for field in fields(kind):
        present = value.get(field.name, MISSING)
        if field.required if present is MISSING else not _is_sound(present, field.type):
            yield _fault(f"{place}.{field.name}", present, field.type)


def _fault(place: str, value: Any, kind: Any) -> Fault:
    is_secret = any(meta.extra and meta.extra.get("secret") for meta in _metas(kind))
    allowed = next(meta.description for meta in _metas(kind) if meta.description)
    return Fault("", place, MISSING if is_secret else value, allowed)


def _is_sound(value: Any, kind: Any) -> bool:
    try:
        value = convert(value, kind)
    except ValueError:  # msgspec's own, and that of a lone surrogate
        return False
    return all(meta.extra["holds"](value) for meta in _metas(kind) if meta.extra and "holds" in meta.extra)


def _member(kind: Any) -> Any:
    """Return the type of the members of a list; ``None`` for other types."""
    if get_origin(kind) is Annotated:
        return _member(get_args(kind)[0])
    return get_args(kind)[0] if get_origin(kind) is list else None


def _metas(kind: Any) -> Iterator[Meta]:
    """Yield the annotations of a type, the outermost first."""
    if get_origin(kind) is Annotated:
        inner, *metas = get_args(kind)
        yield from metas
        yield from _metas(inner)
    elif get_origin(kind) in (Union, UnionType):
        for member in get_args(kind):
            yield from _metas(member)
