"""What is left out of a store that would be too large to be read again: the details of the oldest slots.

Status, times, attempts and pictures of every slot are kept. Only the errors and unknown keys that another controller
wrote can be so large.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from plantimager.timelapse.domain.records import MAX_REPEATED_TEXT_BYTES, SlotRecord, storable_text
from plantimager.timelapse.support.chunked_map import ChunkedMap
from plantimager.timelapse.support.json_text import dumps

if TYPE_CHECKING:
    from plantimager.timelapse.store.stored_timelapse import StoredTimelapse

MARGIN: Final = 10
"""A tenth of the limit is freed as well: not every save is to shorten more."""


def shorten_records(stored: StoredTimelapse, size: int, limit: int) -> tuple[StoredTimelapse, int]:
    """Return a store whose text has ``size`` bytes, with its oldest records short, and the number of those.

    As many are as bring the text below ``limit``; all, where that is not enough.
    """
    timelapse, excess = stored.timelapse, size - limit + limit // MARGIN
    changes: dict[int, SlotRecord] = {}
    for slot in sorted(timelapse.records):
        record = timelapse.records[slot]
        freed = _size(record) - _size(short := _shortened(record)) if record.status.is_final else 0
        if freed > 0:
            changes[slot] = short
            excess -= freed
        if excess <= 0:
            break
    records = timelapse.records if isinstance(timelapse.records, ChunkedMap) else ChunkedMap(timelapse.records)
    return replace(stored, timelapse=replace(timelapse, records=records.evolved(changes))), len(changes)


def _shortened(record: SlotRecord) -> SlotRecord:
    return replace(record, error=_shortened_error(record), last_error=_short(record.last_error), unknown_keys={})


def _shortened_error(record: SlotRecord) -> Any:
    if not isinstance(record.error, dict):
        return record.error and {"type": "error", "msg": _short(record.error_text)}
    kept = {key: value for key, value in record.error.items() if isinstance(value, int | float)}
    kind = record.error.get("type")
    return {**kept, "type": _short(kind if isinstance(kind, str) else "error"), "msg": _short(record.error_text)}


def _short(text: str | None) -> str | None:
    return text and storable_text(text, MAX_REPEATED_TEXT_BYTES)


def _size(record: SlotRecord) -> int:
    return len(dumps([record.error, record.last_error, dict(record.unknown_keys)]))
