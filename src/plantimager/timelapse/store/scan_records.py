"""The scan records of a store as records of slots, and back.

Real stores hold traps, and each is undone here: scan ids of three generations, scans that
succeeded but stand there as ``pending``, naive times, slots that nobody recorded, and a
``next_idx`` or a state that the records contradict.
"""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import repeat
from operator import attrgetter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeVar

from msgspec.structs import replace

from plantimager.timelapse.domain.schedule import format_instant, to_utc
from plantimager.timelapse.domain.states import FINAL, Reason, RecordStatus, TimeLapseState
from plantimager.timelapse.domain.timelapse import SlotRecord, scan_id_of, scan_ids_of
from plantimager.timelapse.store.checks import is_safe_name
from plantimager.timelapse.store.document import RECORD_KEYS
from plantimager.timelapse.store.logbook import read_count, read_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import tzinfo

    from plantimager.timelapse.store.document import TimelapseStore

_Scan = dict[str, Any]
_T = TypeVar("_T")

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


# --- out of the store -----------------------------------------------------------------------------


def read_records(
    store: TimelapseStore, schedule: Sequence[datetime], details: Mapping[str, Any], zone: tzinfo | None
) -> tuple[dict[int, SlotRecord], list[_Scan]]:
    """Return the record of each slot that has one, and the scans that belong to no slot.

    ``details`` is what `details_of` said of the slots when we wrote the store.
    """
    placed, unplaced = _place(store, schedule, details)
    return {record.slot: record for record in _read_placed(placed, details, zone)}, unplaced


def _place(
    store: TimelapseStore, schedule: Sequence[datetime], details: Mapping[str, Any]
) -> tuple[dict[int, _Scan], list[_Scan]]:
    """Find the slot of each scan: by what we noted, by its id, else by its place among the slots that have gone by."""
    noted = _slots_noted(details, len(schedule))
    if not noted and stand_in_their_places(
        [scan["scan_id"] for scan in store.scans], store.timelapse_id, len(schedule)
    ):
        return dict(enumerate(store.scans)), []
    named = _slots_by_scan_id(store, schedule)
    placed: dict[int, _Scan] = {}
    unplaced: list[_Scan] = []
    strangers: list[tuple[int, _Scan]] = []
    for position, scan in enumerate(store.scans):
        scan_id = scan["scan_id"]
        slot = noted[scan_id].pop(0) if noted.get(scan_id) else named.get(scan_id)
        if slot is None:
            strangers.append((position, scan))
        elif slot not in placed:
            placed[slot] = scan
        elif _is_success(scan) and not _is_success(placed[slot]):
            unplaced.append(placed[slot])
            placed[slot] = scan
        else:
            unplaced.append(scan)
    for position, scan in strangers:
        if position < store.next_idx and position not in placed:
            placed[position] = scan
        else:
            unplaced.append(scan)
    return placed, unplaced


def stand_in_their_places(scan_ids: Sequence[str], timelapse_id: str, n_slots: int) -> bool:
    """Whether each scan has the place and the id of its slot, as in all that the daemon writes."""
    return len(scan_ids) <= n_slots and scan_ids == scan_ids_of(timelapse_id, range(len(scan_ids)), n_slots)


def _slots_by_scan_id(store: TimelapseStore, schedule: Sequence[datetime]) -> dict[str, int]:
    """Return the scan ids that the controllers of all generations would have given the slots."""
    name = store.timelapse_id
    ids = {f"{name}_{slot}": slot for slot in range(len(schedule))}
    if len(schedule) == 1:
        ids[name] = 0
    if any(scan["scan_id"] not in ids for scan in store.scans):
        for slot, (text, instant) in enumerate(zip(store.schedule_times, schedule, strict=True)):
            for form in (text, format_instant(instant)):
                ids.setdefault(f"{name}_{form}", slot)
                ids.setdefault(f"{name}--{form.replace(':', '-').replace('+', '_')}", slot)
    return ids


def _slots_noted(details: Mapping[str, Any], n_slots: int) -> dict[str, list[int]]:
    """Return the slots whose scan id is not what it would be today, as we noted it, by that id."""
    slots: dict[str, list[int]] = {}
    for number, noted in details.items():
        if isinstance(noted, dict) and "scan_id" in noted and _names_slot(number, n_slots):
            slots.setdefault(str(noted["scan_id"]), []).append(int(number))
    return {scan_id: sorted(numbers) for scan_id, numbers in slots.items()}


def _names_slot(number: str, n_slots: int) -> bool:
    # Python refuses to read numbers of thousands of digits.
    return number.isdecimal() and len(number) <= len(str(n_slots)) and int(number) < n_slots


_STATUSES: Final = {status.value: status for status in RecordStatus}
"""Ten times as fast as ``RecordStatus(word)``, for thousands of records."""


def _status_of(scan: _Scan) -> RecordStatus:
    status = _STATUSES[scan.get("status", "pending")]
    return _understood(status, scan.get("started_at"), scan.get("finished_at"), scan.get("error"))


def _understood(status: RecordStatus, started: object, finished: object, error: object) -> RecordStatus:
    if status is RecordStatus.PENDING and started and finished:
        # The older controllers never set the status of a scan that went well.
        return RecordStatus.FAILED if error else RecordStatus.SUCCEEDED
    return status


def _is_success(scan: _Scan) -> bool:
    return _status_of(scan) is RecordStatus.SUCCEEDED


def _read_placed(placed: Mapping[int, _Scan], details: Mapping[str, Any], zone: tzinfo | None) -> Iterator[SlotRecord]:
    scans = placed.values()
    notes = [note if isinstance(note, dict) else _NOTHING for note in map(details.get, map(str, placed))]
    unusual = set().union(*scans) - RECORD_KEYS
    return as_records(
        slot=placed,
        scan_id=[scan["scan_id"] for scan in scans],
        status=[_STATUSES[scan.get("status", "pending")] for scan in scans],
        attempt=_noted(notes, "attempt", read_count),
        interruptions=_noted(notes, "interruptions", read_count),
        started_at=[_moment(scan.get("started_at")) for scan in scans],
        finished_at=[_moment(scan.get("finished_at")) for scan in scans],
        error=[scan.get("error") for scan in scans],
        last_error=_noted(notes, "last_error", read_text),
        pictures=_noted(notes, "pictures", read_count),
        boot_id=_noted(notes, "boot_id", read_text),
        unknown_keys=[{key: scan[key] for key in scan.keys() & unusual} for scan in scans]
        if unusual
        else repeat(_NOTHING),
        zone=zone,
    )


def as_records(
    *,
    status: Sequence[RecordStatus],
    attempt: Iterable[int | None],
    interruptions: Iterable[int | None],
    started_at: Sequence[datetime | None],
    finished_at: Sequence[datetime | None],
    error: Sequence[Any],
    zone: tzinfo | None,
    unknown_keys: Iterable[Mapping[str, Any]] = repeat(_NOTHING),
    **others: Iterable[Any],
) -> Iterator[SlotRecord]:
    """Return records, given field by field: for thousands of them that takes a third of the time of one by one.

    What is ``None`` because nothing is noted of it gets its usual value; naive times are read in ``zone``.
    """
    if RecordStatus.PENDING in status:
        status = [*map(_understood, status, started_at, finished_at, error)]
    fields: dict[str, Iterable[Any]] = {
        "status": status,
        "attempt": [_usual_attempt(at) if n is None else n for n, at in zip(attempt, started_at, strict=True)],
        "interruptions": [n or 0 for n in interruptions],
        "started_at": _in_utc(started_at, zone),
        "finished_at": _in_utc(finished_at, zone),
        "error": error,
        "unknown_keys": unknown_keys,
        **others,
    }
    return map(SlotRecord, *[fields[name] for name in SlotRecord.__struct_fields__])


def _noted(notes: Iterable[Mapping[str, Any]], key: str, read: Callable[[Any], _T | None]) -> Sequence[_T | None]:
    """Return what was noted of each slot under a key that few have."""
    values = [note.get(key) for note in notes]
    return values if values.count(None) == len(values) else [*map(read, values)]


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _in_utc(moments: Sequence[datetime | None], zone: tzinfo | None) -> Sequence[datetime | None]:
    return [moment if moment is None or moment.tzinfo is UTC else to_utc(moment, zone) for moment in moments]


def _usual_attempt(started_at: object) -> int:
    """Return the number of the last attempt where nothing more is noted of it."""
    return 1 if started_at else 0


# --- what contradicts -----------------------------------------------------------------------------


def straighten(
    store: TimelapseStore, n_slots: int, records: dict[int, SlotRecord], notes: list[str]
) -> tuple[TimeLapseState, int, dict[int, SlotRecord]]:
    """Return state, ``next_idx`` and records that agree, and note what had to be mended."""
    records = dict(records)

    def record_of(slot: int) -> SlotRecord:
        return records.get(slot) or SlotRecord(slot=slot, scan_id=scan_id_of(store.timelapse_id, slot, n_slots))

    open_slots = {slot for slot, record in records.items() if record.status not in FINAL}
    for slot in open_slots:
        record = records[slot]
        if not is_safe_name(record.scan_id):  # it may be taken again, and then it is to name its dataset
            records[slot] = replace(record, scan_id=scan_id_of(store.timelapse_id, slot, n_slots))
    gone_by = [slot for slot in range(store.next_idx) if slot not in records or slot in open_slots]
    before = {slot: _as_passed(record_of(slot)) for slot in gone_by}
    gaps = sum(record.reason is Reason.NOT_RECORDED for record in before.values())
    if gaps:
        notes.append(f"{gaps} slot{'s' * (gaps > 1)} before slot {store.next_idx} had no record")
    records |= before

    next_idx = store.next_idx
    while next_idx in records and next_idx not in open_slots:
        next_idx += 1
    if next_idx > store.next_idx:
        notes.append(f"next_idx was {store.next_idx}, but the slots before {next_idx} are recorded")

    state = TimeLapseState(store.state)
    if state.is_active and next_idx == n_slots:
        state = TimeLapseState.COMPLETED
    current = records.get(next_idx)
    if state is TimeLapseState.SCHEDULED and current is not None and _is_under_way(current):
        state = TimeLapseState.RUNNING
    if state is TimeLapseState.RUNNING:
        running = record_of(next_idx)
        records[next_idx] = replace(running, status=RecordStatus.RUNNING, attempt=max(running.attempt, 1))
    for slot in open_slots:
        record = records[slot]
        if record.status is RecordStatus.RUNNING and (slot != next_idx or state is not TimeLapseState.RUNNING):
            records[slot] = _cut_off(record)
    return state, next_idx, records


def _as_passed(record: SlotRecord) -> SlotRecord:
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


def _is_under_way(record: SlotRecord) -> bool:
    """Whether a record says that its scan runs; older controllers saved the start without saying so."""
    begun = record.status is RecordStatus.PENDING and record.started_at is not None and record.finished_at is None
    return begun or record.status is RecordStatus.RUNNING


def _cut_off(record: SlotRecord) -> SlotRecord:
    error = {"type": RecordStatus.INTERRUPTED.value, "msg": "cut off; the controller of that time went on without it"}
    return replace(record, status=RecordStatus.INTERRUPTED, error=record.error or error, boot_id=None)


# --- into the store -------------------------------------------------------------------------------


def scans_of(records: Sequence[SlotRecord]) -> list[_Scan]:
    """Return the scan records of slots, keys of others in them included; their times are for the encoder to write."""
    scans: list[_Scan] = [
        {
            "scan_id": record.scan_id,
            "started_at": record.started_at,
            "finished_at": record.finished_at,
            "status": record.status,
            "error": record.error,
        }
        for record in records
    ]
    if any(map(attrgetter("unknown_keys"), records)):
        for scan, record in zip(scans, records, strict=True):
            scan.update(record.unknown_keys)
    return scans


def details_of(records: Sequence[SlotRecord], timelapse_id: str, n_slots: int) -> dict[str, dict[str, Any]]:
    """Return by slot what the documented keys have no place for, as far as it isn't as usual: of most slots nothing."""
    details = {}
    names = scan_ids_of(timelapse_id, [record.slot for record in records], n_slots)
    for record, name in zip(records, names, strict=True):
        known: dict[str, Any] = {}
        if record.attempt != _usual_attempt(record.started_at):
            known["attempt"] = record.attempt
        if record.interruptions:
            known["interruptions"] = record.interruptions
        if record.pictures is not None:
            known["pictures"] = record.pictures
        if record.last_error is not None:
            known["last_error"] = record.last_error
        if record.boot_id is not None:
            known["boot_id"] = record.boot_id
        if record.scan_id != name:
            known["scan_id"] = record.scan_id
        if known:
            details[str(record.slot)] = known
    return details
