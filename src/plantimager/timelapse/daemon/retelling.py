"""The last slots of the store once more in the journal: of what journald is given last, a power cut takes half along.

Each of these lines has the field RETOLD, and says that it is one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from plantimager.timelapse.daemon.journal import Action, log_event
from plantimager.timelapse.daemon.journal_events import MAX_SLOTS_NAMED, describe_skipped
from plantimager.timelapse.domain import events
from plantimager.timelapse.domain.wording import describe_slots, format_local_time
from plantimager.timelapse.support.text import format_count

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from plantimager.timelapse.domain.timelapse import TimeLapse

MAX_RETOLD: Final = 20
"""Lines at most: the store has all."""


def log_retold(timelapse: TimeLapse, since: datetime, now: datetime) -> None:
    """Log once more how the last slots ended, `MAX_RETOLD` lines at most: those that ended ``since``."""
    recent = set(_ended_since(timelapse, since))
    before = replace(timelapse, records={slot: r for slot, r in timelapse.records.items() if slot not in recent})
    lines = [line for event in events.events_between(before, timelapse) if (line := _retell(event, timelapse, now))]
    for action, words, slots in sorted(lines, key=lambda line: line[2])[-MAX_RETOLD:]:
        slot = slots[0] if len(slots) == 1 else slots[:MAX_SLOTS_NAMED]
        log_event(action, f"retold from the store: {words}", timelapse=timelapse, slot=slot, retold="yes")


def _ended_since(timelapse: TimeLapse, since: datetime) -> Iterator[int]:
    """Yield the slots that ended ``since``, newest first; of one that was cut off the time of its end is not known."""
    for slot in range(timelapse.next_idx - 1, -1, -1):
        record = timelapse.records.get(slot)
        if record is None:
            return
        scheduled_at = timelapse.schedule_times[slot]
        ended_after = record.late  # of any size, where another program wrote it
        if ended_after is None and record.finished_at is not None:
            ended_after = record.finished_at - scheduled_at
        if ended_after is not None and ended_after < since - scheduled_at:
            return
        if record.reason is None or not record.reason.ends_timelapse:
            yield slot


def _retell(event: events.Event, timelapse: TimeLapse, now: datetime) -> tuple[Action, str, tuple[int, ...]] | None:
    """Return action, sentence and slots of an event that ends a slot; ``None`` for others."""
    if isinstance(event, events.SlotsSkipped):
        return Action.SLOT_SKIPPED, describe_skipped(event, timelapse, now, event.late), event.slots
    if not isinstance(event, events.SlotTaken | events.SlotFailed | events.SlotInterrupted):
        return None
    record, slot = event.record, (event.record.slot,)
    at = f" at {format_local_time(record.finished_at, now)}" if record.finished_at is not None else ""
    if isinstance(event, events.SlotTaken):
        pictures = f", {format_count(record.pictures, 'picture')}" if record.pictures is not None else ""
        return Action.SCAN_SUCCEEDED, f"{record.scan_id} was taken{at}{pictures}", slot
    if isinstance(event, events.SlotFailed):
        return Action.SCAN_FAILED, f"{record.scan_id} failed{at}: {record.error_text}", slot
    words = f"{describe_slots(timelapse, slot, now)}: {record.error_text}; it stays interrupted"
    return Action.SLOT_INTERRUPTED, words, slot
