"""What other controllers wrote, made sense of: the slot that each scan belongs to, and contradictions resolved.

A scan belongs to the slot that ``extra.timelapsed.slots`` or its id names, else to that of its place in the list. Older
controllers left slots without a record, went past scans that they had begun, or wrote a ``next_idx`` that the records
contradict.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from plantimager.timelapse.domain.records import SlotRecord, scan_id_of, scan_ids_of
from plantimager.timelapse.domain.schedule import format_instant
from plantimager.timelapse.domain.states import FINAL, Reason, RecordStatus, TimeLapseState
from plantimager.timelapse.store.schema import is_safe_name
from plantimager.timelapse.support.text import format_count

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plantimager.timelapse.store.schema import Own, Store

# --- the slots of scans -----------------------------------------------------------------------------


class Placement(Struct, frozen=True):
    """The scans of a file by their slots; a scan is named by its position in the list."""

    placed: Mapping[int, int]
    """The position of each slot's scan."""
    left_over: Sequence[int] = ()
    """The positions of scans that belong to no slot."""
    overruled: int = 0
    """How many scans stand before another one of their slot, which counts."""


def place_usual_scans(store: Store, own: Own) -> Placement | None:
    """Return the placement by what was noted and by today's ids; ``None`` where a scan has no slot of its own."""
    placed = {slot: position for position, slot in enumerate(_find_slots(store, own, {})) if slot is not None}
    return Placement(placed) if len(placed) == len(store.scans) else None


def place_scans(store: Store, own: Own, schedule_texts: Sequence[str]) -> Placement:
    """Return the placement of scans that any controller may have written.

    Of two scans of one slot the first that succeeded counts, else the first that is final, else the first: no slot is
    taken again because of another record. A scan whose id names no slot is that of its place among the slots before
    ``next_idx``: controllers appended one for each slot that they went past.
    """
    slots = _find_slots(store, own, {})
    if None in slots:
        slots = _find_slots(store, own, _older_ids(store, schedule_texts))
    placed: dict[int, int] = {}
    left_over, nameless, overruled = [], [], 0
    for position, slot in enumerate(slots):
        if slot is None:
            nameless.append(position)
        elif slot not in placed:
            placed[slot] = position
        elif _weight(store, position) > _weight(store, placed[slot]):
            left_over.append(placed[slot])
            placed[slot] = position
            overruled += 1
        else:
            left_over.append(position)
    for position in nameless:
        if position < store.next_idx and position not in placed:
            placed[position] = position
        else:
            left_over.append(position)
    return Placement(placed, left_over, overruled)


def _weight(store: Store, position: int) -> int:
    """Return how much a scan counts against another one of its slot."""
    status = store.scans[position].status
    return 2 if status is RecordStatus.SUCCEEDED else int(status.is_final)


def _find_slots(store: Store, own: Own, older_ids: Mapping[str, int]) -> Sequence[int | None]:
    """Return the slot that each scan names, ``None`` where it names none; two may name the same."""
    scan_ids, n_slots = [scan.scan_id for scan in store.scans], len(store.schedule_times)
    noted = {slot: entry.scan_id for slot, entry in own.slots.items() if entry.scan_id is not None}
    in_order = range(len(scan_ids))
    if not noted and len(scan_ids) <= n_slots and scan_ids == scan_ids_of(store.timelapse_id, in_order, n_slots):
        return in_order  # as in nearly all files
    slots_noted: dict[str, list[int]] = {}
    for slot, scan_id in sorted(noted.items()):
        if slot in range(n_slots):
            slots_noted.setdefault(scan_id, []).append(slot)
    todays_ids = zip(scan_ids_of(store.timelapse_id, range(n_slots), n_slots), range(n_slots), strict=True)
    ids = {**older_ids, **dict(todays_ids)}
    return [slots_noted[name].pop(0) if slots_noted.get(name) else ids.get(name) for name in scan_ids]


def _older_ids(store: Store, schedule_texts: Sequence[str]) -> dict[str, int]:
    """Return the scan ids that the controllers of all generations gave the slots, with the slots."""
    name = store.timelapse_id
    ids = {f"{name}_{slot}": slot for slot in range(len(schedule_texts))}
    for slot, (text, instant) in enumerate(zip(schedule_texts, store.schedule_times, strict=True)):
        for form in (text, format_instant(instant)):
            ids.setdefault(f"{name}_{form}", slot)
            ids.setdefault(f"{name}--{form.replace(':', '-').replace('+', '_')}", slot)
    return ids


# --- contradictions ---------------------------------------------------------------------------------


class Progress(Struct, frozen=True):
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
    """Whether a record says that its scan runs; older controllers saved the start without saying so.

    A pending record with an error is that of a slot which waits for its rig, after an attempt.
    """
    if record.status is not RecordStatus.PENDING:
        return record.status is RecordStatus.RUNNING
    return record.started_at is not None and record.finished_at is None and not record.error


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
