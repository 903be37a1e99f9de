"""What happened to a timelapse, as frozen values: the events between one value and the next.

`events_between` is pure and total: two values that differ in anything yield at least one event. The daemon derives the
events of every transition once it is on disk, for the journal and the live status. Two values may also be many
transitions apart, as those of a store that is read now and then; then the events give what became of each slot, not
each step on the way.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from plantimager.timelapse.domain.records import Pause, SlotRecord, lateness_suffix
from plantimager.timelapse.domain.states import Reason, RecordStatus, TimeLapseState
from plantimager.timelapse.support.chunked_map import ChunkedMap

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import timedelta

    from plantimager.timelapse.domain.timelapse import TimeLapse


class Event(Struct, frozen=True):
    """One thing that happened to a timelapse."""


# --- the timelapse --------------------------------------------------------------------------------


class DefinitionAccepted(Event, frozen=True):
    """The timelapse begins."""


class DraftFound(Event, frozen=True):
    """The timelapse is a draft, which keeps no schedule."""


class TimelapseAmended(Event, frozen=True):
    """Parts of the timelapse were changed by other means than its schedule being kept."""

    fields: tuple[str, ...]


class TimelapsePaused(Event, frozen=True):
    """The operator has paused the timelapse, or changed its pause."""

    pause: Pause


class PauseEnded(Event, frozen=True):
    """The timelapse goes on: by the operator's word, or because the time of its pause is over."""


class TimelapseEnded(Event, frozen=True):
    """The timelapse is over."""


class TimelapseCompleted(TimelapseEnded, frozen=True):
    """The last slot is closed."""


class TimelapseFailed(TimelapseEnded, frozen=True):
    """A failed slot ended the timelapse."""


class TimelapseCancelled(TimelapseEnded, frozen=True):
    """The operator ended the timelapse."""


# --- an attempt -----------------------------------------------------------------------------------


class SlotEvent(Event, frozen=True):
    """Something that happened to one slot."""

    record: SlotRecord
    """The slot's record as it is afterwards."""


class AttemptStarted(SlotEvent, frozen=True):
    """An attempt begins: the first of a slot, or a further one."""


class AttemptRedated(SlotEvent, frozen=True):
    """The clock was set during an attempt, whose beginning is recorded by the clock as it is now."""


class AttemptFailed(SlotEvent, frozen=True):
    """An attempt failed, and the next one begins at once."""

    attempt: int
    """The number of the attempt that failed."""


class AttemptInterrupted(SlotEvent, frozen=True):
    """An attempt was cut off: by a stop, by the end of the process or the power, or by the operator."""


class RigNotReady(SlotEvent, frozen=True):
    """The rig isn't ready for the slot, which waits for it; no attempt was used."""


# --- the end of a slot ----------------------------------------------------------------------------


class SlotTaken(SlotEvent, frozen=True):
    """The slot's dataset is whole."""


class SlotFailed(SlotEvent, frozen=True):
    """All attempts at the slot failed."""


class SlotInterrupted(SlotEvent, frozen=True):
    """The slot is closed, and its last attempt was cut off."""


class SlotsSkipped(Event, frozen=True):
    """Slots are closed that were not taken, all for the same cause."""

    slots: tuple[int, ...]
    reason: Reason | None
    """``None`` where another controller gave a reason of its own."""
    cause: str
    """What they have in common, in words; empty where each was just later than its grace period."""
    late: timedelta | None
    """How late the first of them was when it was skipped; ``None`` where lateness wasn't the cause."""


class SlotsReopened(Event, frozen=True):
    """Slots that were closed can still be taken."""

    slots: tuple[int, ...]


SETTINGS: Final = (
    "mode",
    "schedule_times",
    "warmup",
    "standby_threshold",
    "grace",
    "start_at",
    "on_scan_failed",
    "scan_retries",
)
"""The fields of a timelapse that only an amendment changes."""

_ENDINGS: Final[Mapping[TimeLapseState, type[TimelapseEnded]]] = {
    TimeLapseState.COMPLETED: TimelapseCompleted,
    TimeLapseState.FAILED: TimelapseFailed,
    TimeLapseState.CANCELLED: TimelapseCancelled,
}


def begins_anew(before: TimeLapse, after: TimeLapse) -> bool:
    """Whether ``after`` is another timelapse than ``before``: none goes on that a person or a failure has ended.

    One goes on whose failure was none.
    """
    has_ended = before.state in (TimeLapseState.CANCELLED, TimeLapseState.FAILED)
    return before.id != after.id or (has_ended and after.state.is_active and not _is_whole_after_all(before, after))


def _is_whole_after_all(before: TimeLapse, after: TimeLapse) -> bool:
    """Whether an attempt that had failed is recorded as taken."""
    failed = (record for record in before.records.values() if record.status is RecordStatus.FAILED)
    return any(
        (now := after.records.get(record.slot)) is not None
        and now.status is RecordStatus.SUCCEEDED
        and (now.scan_id, now.attempt, now.started_at) == (record.scan_id, record.attempt, record.started_at)
        for record in failed
    )


def events_between(before: TimeLapse | None, after: TimeLapse) -> tuple[Event, ...]:
    """Return what happened from one value to the next; nothing where they are equal.

    ``before`` is ``None``, or another timelapse, where ``after`` begins. The order is that of a transition: what
    became of the running attempt, which slots were reopened, which were skipped, and whether that was the end of a
    pause, or of all.
    """
    begins = before is None or begins_anew(before, after)
    if before is None or begins:
        before = replace(after, state=TimeLapseState.CONFIGURED, next_idx=0, records={}, ending=None, last_pause=None)
    skipped, slots = _slots_that_changed(before, after)
    events = [
        *_beginning(before, after, begins=begins),
        *(event for slot in slots for event in _attempt_events(before, after, slot)),
        *_reopened(before, after, slots),
        *_interrupted(before, after, slots),
        *_skipped(skipped, after),
    ]
    if _kept_pause(before) is not None and _kept_pause(after) is None:
        events.append(PauseEnded())
    if after.state is not before.state and after.state in _ENDINGS:
        events.append(_ENDINGS[after.state]())
    if not events:  # another program may have changed anything
        amended = tuple(name for name in after.__struct_fields__ if getattr(before, name) != getattr(after, name))
        return (TimelapseAmended(amended),) if amended else ()
    return tuple(events)


def _beginning(before: TimeLapse, after: TimeLapse, *, begins: bool) -> Iterator[Event]:
    """Yield that a timelapse begins, or that its settings were changed."""
    draft = TimeLapseState.CONFIGURED
    if before.state is draft and after.state is not draft:
        yield DefinitionAccepted()
    elif begins:
        yield DraftFound()
    settings = [(name, getattr(before, name), getattr(after, name)) for name in SETTINGS]
    changed = tuple(name for name, old, new in settings if old is not new and old != new)
    if changed:
        yield TimelapseAmended(changed)
    pause = _kept_pause(after)
    if pause is not None and pause != before.pause:
        yield TimelapsePaused(pause)


def _kept_pause(timelapse: TimeLapse) -> Pause | None:
    """Return the pause, unless a person has ended it: then it is there until the end of a scan."""
    pause = timelapse.pause
    return None if pause is None or pause.ended_by else pause


def _slots_that_changed(before: TimeLapse, after: TimeLapse) -> tuple[list[SlotRecord], list[int]]:
    """Return the records of slots that were skipped, and all other slots that changed; both in the order of the slots.

    A slot changed if its record differs, or if it is closed, or open again, only by ``next_idx``.
    """
    passed = range(min(before.next_idx, after.next_idx), max(before.next_idx, after.next_idx))
    if before.records is after.records:
        return [], [*passed]
    keys = [*ChunkedMap(after.records).changed_keys(ChunkedMap(before.records))]  # of a hundred thousand slots
    find, skip = before.records.get, RecordStatus.SKIPPED
    changed = [record for slot in keys if (record := after.records.get(slot)) is not None and record != find(slot)]
    skipped = {
        record.slot: record for record in changed if record.status is skip and _is_news(find(record.slot), record)
    }
    others = {record.slot for record in changed if record.status is not skip}
    others.update(slot for slot in passed if slot not in skipped)
    others.update(slot for slot in keys if slot not in after.records)
    return [skipped[slot] for slot in sorted(skipped)], sorted(others)


def _is_news(old: SlotRecord | None, new: SlotRecord) -> bool:
    """Whether a record says something else than before; not so where only nobody asks about its attempt any more."""
    return old is None or replace(old, boot_id=new.boot_id, directory=new.directory) != new


def _attempt_events(before: TimeLapse, after: TimeLapse, slot: int) -> Iterator[Event]:
    """Yield what happened to the attempts at a slot, its success or failure included."""
    old, new = before.records.get(slot), after.records.get(slot)
    if new is None or old == new:
        return
    if new.status is RecordStatus.RUNNING:
        yield from _running_events(old, new)
    elif new.status is RecordStatus.SUCCEEDED:
        yield SlotTaken(new)
    elif new.status is RecordStatus.FAILED:
        if old is None or (old.status, old.attempt) != (new.status, new.attempt):
            yield SlotFailed(new)
    elif new.status is RecordStatus.INTERRUPTED:
        if old is None or (old.status, old.attempt) != (new.status, new.attempt):
            yield AttemptInterrupted(new)
    elif new.status is RecordStatus.PENDING and new.reason is Reason.RIG_NOT_READY and not before.is_closed(slot):
        yield RigNotReady(new)


def _running_events(old: SlotRecord | None, new: SlotRecord) -> Iterator[Event]:
    """Yield what happened to a slot of which an attempt runs now."""
    if old is not None and old.status is RecordStatus.RUNNING:
        if new.interruptions > old.interruptions:
            yield AttemptInterrupted(new)
        elif new.attempt > old.attempt:
            yield AttemptFailed(new, old.attempt)
        elif new.error != old.error:
            yield RigNotReady(new)
        else:
            yield AttemptRedated(new)
            return
    yield AttemptStarted(new)


def _reopened(before: TimeLapse, after: TimeLapse, slots: list[int]) -> Iterator[Event]:
    """Yield which slots were reopened, in one event."""
    reopened = tuple(slot for slot in slots if before.is_closed(slot) and not after.is_closed(slot))
    if reopened:
        yield SlotsReopened(reopened)


def _interrupted(before: TimeLapse, after: TimeLapse, slots: list[int]) -> Iterator[Event]:
    """Yield which slots were closed with an attempt that was cut off."""
    for slot in slots:
        old, record = before.records.get(slot), after.records.get(slot)
        if record is None or record.status is not RecordStatus.INTERRUPTED or not after.is_closed(slot):
            continue
        if old is None or old.status is not record.status or not before.is_closed(slot):
            yield SlotInterrupted(record)


def _skipped(records: list[SlotRecord], after: TimeLapse) -> Iterator[Event]:
    """Yield which slots were skipped: one event for all that share a cause."""
    groups = defaultdict[tuple[Reason | None, str], list[SlotRecord]](list)
    merely_late = lateness_suffix(after.grace)
    for record in records:
        cause = record.error_text
        groups[record.reason, "" if cause.endswith(merely_late) else cause].append(record)
    for (reason, cause), alike in groups.items():
        yield SlotsSkipped(tuple(record.slot for record in alike), reason, cause, alike[0].late)
