"""The records of slots that are closed without having been taken, and of those that are open again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from plantimager.timelapse.domain.durations import format_duration
from plantimager.timelapse.domain.records import SlotRecord, lateness_suffix
from plantimager.timelapse.domain.states import RecordStatus

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from collections.abc import Set as AbstractSet
    from datetime import datetime, timedelta
    from typing import Any

    from plantimager.timelapse.domain.states import Reason


def late_errors(
    times: Iterable[datetime], at: datetime, reason: Reason, why: str, grace: timedelta
) -> list[dict[str, Any]]:
    """Return the errors of slots that are late ``at``; an empty ``why`` stands for how late each of them is."""
    at = at.replace(microsecond=at.microsecond // 1000 * 1000)  # milliseconds will do, and keep the store small
    kind, suffix = reason.value, lateness_suffix(grace)
    return [
        {"type": kind, "msg": why or format_duration(late) + suffix, "late_sec": late.total_seconds()}
        for late in [at - time for time in times]
    ]


def close_late(
    records: Mapping[int, SlotRecord], slots: Iterable[int], names: Iterable[str], errors: Iterable[dict[str, Any]]
) -> list[SlotRecord]:
    """Return the final records of late slots, whose names and errors are given."""
    get, skipped = records.get, RecordStatus.SKIPPED
    return [  # most have no record yet, and there may be thousands: arguments by position are the fastest
        SlotRecord(slot, name, skipped, 0, 0, None, None, error)
        if (record := get(slot)) is None
        else record.closed_late(error)
        for slot, name, error in zip(slots, names, errors, strict=True)
    ]


def reopen(records: Mapping[int, SlotRecord], slots: AbstractSet[int]) -> dict[int, SlotRecord]:
    """Return the records with those of ``slots`` open: their attempts stay, but not why they were skipped."""
    reopened = {slot: record for slot, record in records.items() if slot not in slots or record.attempt}
    for slot in slots & reopened.keys():
        if reopened[slot].status is RecordStatus.SKIPPED:
            reopened[slot] = replace(reopened[slot], status=RecordStatus.PENDING, error=None, started_at=None)
    return reopened
