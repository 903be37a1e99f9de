"""State, ``next_idx`` and records that contradict each other, made to agree.

Older controllers left slots without a record, went past scans that they had begun, or wrote a ``next_idx`` that the
records contradict.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from plantimager.timelapse.domain.records import SlotRecord, scan_id_of
from plantimager.timelapse.domain.states import FINAL, Reason, RecordStatus, TimeLapseState
from plantimager.timelapse.store.schema import is_safe_name
from plantimager.timelapse.support.text import format_count

if TYPE_CHECKING:
    from collections.abc import Mapping


class Progress(NamedTuple):
    """The progress of a timelapse; the fields are those of a `TimeLapse`."""

    state: TimeLapseState
    next_idx: int
    records: Mapping[int, SlotRecord]


def reconcile(timelapse_id: str, n_slots: int, found: Progress) -> tuple[Progress, list[str]]:
    """Return what was found with all contradictions resolved, and what a person should know of that."""
    records, notes = dict(found.records), []

    def record_of(slot: int) -> SlotRecord:
        return records.get(slot) or SlotRecord(slot=slot, scan_id=scan_id_of(timelapse_id, slot, n_slots))

    open_slots = {slot for slot, record in records.items() if record.status not in FINAL}
    for slot in open_slots:
        record = records[slot]
        if not is_safe_name(record.scan_id):  # it may be taken again, and then it is to name its dataset
            records[slot] = replace(record, scan_id=scan_id_of(timelapse_id, slot, n_slots))

    behind = [slot for slot in range(found.next_idx) if slot not in records or slot in open_slots]
    closed = {slot: _closed(record_of(slot)) for slot in behind}
    gaps = sum(record.reason is Reason.NOT_RECORDED for record in closed.values())
    if gaps:
        notes.append(f"{format_count(gaps, 'slot')} before slot {found.next_idx} had no record")
    records |= closed

    next_idx = found.next_idx
    while next_idx in records and next_idx not in open_slots:
        next_idx += 1
    if next_idx > found.next_idx:
        notes.append(f"next_idx was {found.next_idx}, but the slots before {next_idx} are recorded")

    state = _state(found.state, records.get(next_idx), is_over=next_idx == n_slots)
    if state is TimeLapseState.RUNNING:
        running = record_of(next_idx)
        records[next_idx] = replace(running, status=RecordStatus.RUNNING, attempt=max(running.attempt, 1))
    for slot in open_slots:
        record = records[slot]
        if record.status is RecordStatus.RUNNING and (slot != next_idx or state is not TimeLapseState.RUNNING):
            records[slot] = _cut_off(record)
    return Progress(state, next_idx, records), notes


def _state(state: TimeLapseState, current: SlotRecord | None, *, is_over: bool) -> TimeLapseState:
    """Return the state that the records speak for."""
    if state.is_active and is_over:
        return TimeLapseState.COMPLETED
    if state is TimeLapseState.SCHEDULED and current is not None and _is_under_way(current):
        return TimeLapseState.RUNNING
    return state


def _is_under_way(record: SlotRecord) -> bool:
    """Whether a record says that its scan runs; older controllers saved the start without saying so."""
    begun = record.status is RecordStatus.PENDING and record.started_at is not None and record.finished_at is None
    return begun or record.status is RecordStatus.RUNNING


def _closed(record: SlotRecord) -> SlotRecord:
    """Return the final record of a slot that its controller went past."""
    if record.status is RecordStatus.RUNNING:
        return _cut_off(record)
    if record.status is not RecordStatus.PENDING:
        return record
    if record.error:
        return replace(record, status=RecordStatus.FAILED)
    if record.started_at is not None:
        return _cut_off(record)
    error = {"type": Reason.NOT_RECORDED.value, "msg": "the controller of that time left no record"}
    return replace(record, status=RecordStatus.SKIPPED, error=error)


def _cut_off(record: SlotRecord) -> SlotRecord:
    error = {"type": RecordStatus.INTERRUPTED.value, "msg": "cut off; the controller of that time went on without it"}
    return replace(record, status=RecordStatus.INTERRUPTED, error=record.error or error, boot_id=None)
