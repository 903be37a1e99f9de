"""The differences between two generations of a store, in words: what an edit by hand or a damaged disk has changed."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from enum import Enum
from itertools import islice, zip_longest
from typing import TYPE_CHECKING, Any, Final

from plantimager.timelapse.domain.durations import format_duration
from plantimager.timelapse.domain.records import SlotRecord
from plantimager.timelapse.domain.timelapse import TimeLapse
from plantimager.timelapse.store.loading import load_generation
from plantimager.timelapse.store.location import backup_path
from plantimager.timelapse.store.schema import Logbook
from plantimager.timelapse.support.errors import StoreError
from plantimager.timelapse.support.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from plantimager.timelapse.store.loading import LoadedTimelapse
    from plantimager.timelapse.store.stored_timelapse import StoredTimelapse

MAX_DIFFERENCES: Final = 8
"""Differences that are written out; the others are counted."""
MAX_VALUE_LENGTH: Final = 40
"""Characters of a value that are written out."""

_LONG: Final = ("schedule_times", "records")


def describe_alteration(loaded: LoadedTimelapse) -> str:
    """Return how a file that doesn't fit its digest differs from the generation before it."""
    backup, before = backup_path(loaded.path), None
    with suppress(StoreError):
        before = load_generation(backup)
    if before is None:
        return "there is no sound save before it to compare it with"
    differences = describe_differences(before.stored, loaded.stored)
    return (
        f"unlike {backup.name}, one save older: {differences}" if differences else f"it says the same as {backup.name}"
    )


def describe_differences(before: StoredTimelapse, now: StoredTimelapse) -> str:
    """Return how a store differs from another generation: ``slot 12: succeeded → failed; …``; empty if not at all."""
    found = _differences(before, now)
    shown = [*islice(found, MAX_DIFFERENCES)]
    more = sum(1 for _ in found)
    return "; ".join([*shown, *([f"and {more} more"] if more else [])])


def _differences(before: StoredTimelapse, now: StoredTimelapse) -> Iterator[str]:
    then, today = before.timelapse, now.timelapse
    short = [name for name in TimeLapse.__struct_fields__ if name not in _LONG]
    yield from _of_fields("", short, then, today)
    for slot, (at, other) in enumerate(zip_longest(then.schedule_times, today.schedule_times)):
        if at != other:
            yield f"slot {slot}: {_word(at)} → {_word(other)}"
    for slot in sorted({*then.records, *today.records}):
        yield from _of_records(slot, then.records.get(slot), today.records.get(slot))
    yield from _of_fields("", Logbook.__struct_fields__, before.logbook, now.logbook)
    yield from _of_keys("", before.kept.unknown_keys, now.kept.unknown_keys)
    yield from _of_keys("extra.", before.kept.extra, now.kept.extra)
    others = ("version", "own_unknown_keys", "details_unknown_keys", "scans")
    if [getattr(before.kept, name) for name in others] != [getattr(now.kept, name) for name in others]:
        yield "what others keep in it"


def _of_records(slot: int, before: SlotRecord | None, now: SlotRecord | None) -> Iterator[str]:
    if before is None or now is None:
        states = ("no record" if record is None else record.status.value for record in (before, now))
        yield f"slot {slot}: {' → '.join(states)}"
    elif before.status is not now.status:
        yield f"slot {slot}: {before.status.value} → {now.status.value}"
    else:
        yield from _of_fields(f"slot {slot}: ", SlotRecord.__struct_fields__, before, now)


def _of_fields(place: str, names: Iterable[str], before: Any, now: Any) -> Iterator[str]:
    for name in names:
        old, new = getattr(before, name), getattr(now, name)
        if old != new:  # in an object of others may be a secret, and spans are long
            words = (
                ""
                if isinstance(old, Mapping | tuple) or isinstance(new, Mapping | tuple)
                else f" {_word(old)} → {_word(new)}"
            )
            yield f"{place}{name}{words}"


def _of_keys(place: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names of keys with other values: the values may hold secrets."""
    for key in sorted({*before, *now}):
        if key not in now or key not in before or before[key] != now[key]:
            yield f"{place}{_shortened(key)}"


def _word(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, datetime):
        return value.isoformat(" ", "seconds" if not value.microsecond else "auto")
    if isinstance(value, timedelta):
        return format_duration(value)
    return _shortened(value.value if isinstance(value, Enum) else str(value))


def _shortened(value: str) -> str:
    text = one_line(value)
    return text if len(text) <= MAX_VALUE_LENGTH else f"{text[: MAX_VALUE_LENGTH - 1]}…"
