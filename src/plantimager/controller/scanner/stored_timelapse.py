"""Between the value and the file: a `TimeLapse` read out of a `TimelapseStore`, and written back into it.

Real stores hold traps, and each is undone here: naive local times, states and scan ids of
three generations, scans that succeeded but stand there as ``pending``, slots that nobody
recorded. What is ours and has no key of its own goes under ``extra["timelapsed"]``.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from plantimager.controller.scanner.json_text import dumps, is_exact
from plantimager.controller.scanner.schedule import read_instant, write_instant
from plantimager.controller.scanner.states import (
    OnScanFailed,
    Reason,
    RecordStatus,
    TimeLapseMode,
    TimeLapseState,
)
from plantimager.controller.scanner.timelapse import Ending, SlotRecord, TimeLapse
from plantimager.controller.scanner.timelapse_store import TimelapseStore, seconds_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import tzinfo

OURS: Final = "timelapsed"
"""The key in ``extra`` under which all lies that the documented keys have no place for."""
CONFIG_SNAPSHOT: Final = "config_snapshot"
MOST_OUTAGES: Final = 1000
"""Spans without the daemon that a store remembers; the oldest go first."""

_OUR_RECORD_KEYS: Final = ("attempt", "interruptions", "pictures", "last_error", "boot_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Logbook:
    """What the daemon keeps in the store besides the timelapse: its own past."""

    saved_at: datetime | None = None
    """The last write; the clock can't be right when it is earlier."""
    definition_digest: str | None = None
    boot_id: str | None = None
    boots: int = 0
    """How many boots of the machine this timelapse has seen."""
    outages: tuple[tuple[datetime, datetime], ...] = ()
    """From the last sign of life before, to the first after, for each time the daemon was not there."""

    def came_back(self, at: datetime, boot_id: str) -> Logbook:
        """Return the log with the time since the last write entered as an outage."""
        outages = self.outages
        if self.saved_at is not None and at > self.saved_at:
            outages = (*outages, (self.saved_at, at))[-MOST_OUTAGES:]
        return replace(self, boot_id=boot_id, boots=self.boots + (boot_id != self.boot_id), outages=outages)


@dataclass(slots=True)
class StoredTimelapse:
    """A timelapse with the document that carries it, keys of others included.

    The document is kept between saves: a transition changes a record or two, and only those
    are turned into JSON values again.
    """

    store: TimelapseStore
    timelapse: TimeLapse
    logbook: Logbook
    unplaced: list[dict[str, Any]] = field(default_factory=list)
    """Scan records that belong to no slot; written back as they are."""
    notes: list[str] = field(default_factory=list)
    """What had to be understood of an older controller's file."""
    _written: dict[int, tuple[SlotRecord, dict[str, Any]]] = field(default_factory=dict)
    _exact: bool | None = None

    def evolved(self, timelapse: TimeLapse, logbook: Logbook) -> StoredTimelapse:
        """Return the document of the next value; this one stays as it is."""
        return replace(self, timelapse=timelapse, logbook=logbook)

    @property
    def configuration(self) -> Mapping[str, Any] | None:
        """The scan configuration that the store itself holds."""
        snapshot = self.store.extra.get(CONFIG_SNAPSHOT)
        return snapshot if isinstance(snapshot, dict) and snapshot else None

    def encode(self) -> bytes:
        """Return the text of the store."""
        timelapse, store = self.timelapse, self.store
        if self._exact is None:  # what others wrote never changes; what we write is always exact
            self._exact = is_exact([store.extra, store._unknown, self.unplaced]) and all(  # noqa: SLF001 - the same document
                is_exact([record.kept, record.error, record.scan_id]) for record in timelapse.records.values()
            )
        ours = _our_extra(timelapse, self.logbook, store.extra.get(OURS))
        mapping = {
            **store.as_mapping(),
            "timelapse_id": timelapse.id,
            "mode": timelapse.mode.value,
            "state": timelapse.state.value,
            "schedule_times": store.schedule_times,
            "next_idx": timelapse.next_idx,
            "current_idx": timelapse.current_idx,
            "warmup_sec": seconds_of(timelapse.warmup),
            "standby_threshold_sec": seconds_of(timelapse.standby_threshold),
            "grace_period": seconds_of(timelapse.grace),
            "start_at": None if timelapse.start_at is None else write_instant(timelapse.start_at),
            "on_scan_failed": timelapse.on_scan_failed.value,
            "scan_retries": timelapse.scan_retries,
            "scans": [*(self._scan_of(timelapse.records[slot]) for slot in sorted(timelapse.records)), *self.unplaced],
            "extra": {**store.extra, OURS: ours},
        }
        return dumps(mapping, exact=self._exact)

    def _scan_of(self, record: SlotRecord) -> dict[str, Any]:
        known = self._written.get(record.slot)
        if known is not None and known[0] is record:
            return known[1]
        scan = {
            **record.kept,
            "scan_id": record.scan_id,
            "started_at": None if record.started_at is None else write_instant(record.started_at),
            "finished_at": None if record.finished_at is None else write_instant(record.finished_at),
            "status": record.status.value,
            "error": record.error,
        }
        self._written[record.slot] = (record, scan)
        return scan


# --- out of the store -----------------------------------------------------------------------------


def read_stored(store: TimelapseStore, zone: tzinfo | None) -> StoredTimelapse:
    """Return the timelapse that a sound store holds; naive times are read in ``zone`` (``None``: the host's)."""
    ours = _ours(store)
    schedule = tuple(read_instant(text, zone) for text in store.schedule_times)
    notes: list[str] = []
    records, unplaced = _place(store, ours, zone)
    next_idx, state = _straighten(store, schedule, records, notes)
    timelapse = TimeLapse(
        id=store.timelapse_id,
        mode=TimeLapseMode(store.mode),
        state=state,
        schedule_times=schedule,
        next_idx=next_idx,
        records=records,
        warmup=timedelta(seconds=store.warmup_sec),
        standby_threshold=timedelta(seconds=store.standby_threshold_sec),
        grace=timedelta(seconds=store.grace_period),
        start_at=None if store.start_at is None else read_instant(store.start_at, zone),
        on_scan_failed=OnScanFailed(store.on_scan_failed or OnScanFailed.SKIP_SCAN),
        scan_retries=store.scan_retries or 0,
        ending=_read_ending(ours.get("ending")),
    )
    text = replace(store, schedule_times=[write_instant(time) for time in schedule])
    return StoredTimelapse(store=text, timelapse=timelapse, logbook=read_logbook(store), unplaced=unplaced, notes=notes)


def new_stored(
    timelapse: TimeLapse, configuration: Mapping[str, Any], digest: str | None, file_name: str
) -> StoredTimelapse:
    """Return the document of a timelapse that was just defined."""
    store = TimelapseStore(
        _file_name=file_name,
        schedule_times=[write_instant(time) for time in timelapse.schedule_times],
        extra={CONFIG_SNAPSHOT: dict(configuration)} if configuration else {},
    )
    return StoredTimelapse(store=store, timelapse=timelapse, logbook=Logbook(definition_digest=digest))


def _place(
    store: TimelapseStore, ours: Mapping[str, Any], zone: tzinfo | None
) -> tuple[dict[int, SlotRecord], list[dict[str, Any]]]:
    """Find the slot of each scan record: by its scan id, else by its place in the list."""
    records: dict[int, SlotRecord] = {}
    unplaced: list[dict[str, Any]] = []
    leftover: list[tuple[int, dict[str, Any]]] = []
    named = _slots_by_scan_id(store)
    details = ours.get("slots")
    details = details if isinstance(details, dict) else {}
    for position, scan in enumerate(store.scans):
        slot = named.get(scan["scan_id"])
        if slot is None or slot in records:
            leftover.append((position, scan))
        else:
            records[slot] = _read_record(slot, scan, details.get(str(slot)), zone)
    for position, scan in leftover:
        if position < len(store.schedule_times) and position not in records:
            records[position] = _read_record(position, scan, details.get(str(position)), zone)
        else:
            unplaced.append(scan)
    return records, unplaced


def _slots_by_scan_id(store: TimelapseStore) -> dict[str, int]:
    """Return every scan id that a controller of any generation may have given a slot."""
    name = store.timelapse_id
    ids = {f"{name}_{slot}": slot for slot in range(len(store.schedule_times))}
    if len(store.schedule_times) == 1:
        ids[name] = 0
    if any(scan["scan_id"] not in ids for scan in store.scans):
        for slot, text in enumerate(store.schedule_times):
            ids.setdefault(f"{name}_{text}", slot)
            ids.setdefault(f"{name}--{text.replace(':', '-').replace('+', '_')}", slot)
    return ids


def _read_record(slot: int, scan: Mapping[str, Any], details: Any, zone: tzinfo | None) -> SlotRecord:
    started, finished, error = scan.get("started_at"), scan.get("finished_at"), scan.get("error")
    status = RecordStatus(scan.get("status", RecordStatus.PENDING))
    if status is RecordStatus.PENDING and started and finished:
        # The older controllers never set the status of a scan that went well.
        status = RecordStatus.SUCCEEDED if error is None else RecordStatus.FAILED
    details = details if isinstance(details, dict) else {}
    return SlotRecord(
        slot=slot,
        scan_id=scan["scan_id"],
        status=status,
        attempt=_count(details.get("attempt"), default=1 if started else 0),
        interruptions=_count(details.get("interruptions")),
        started_at=read_instant(started, zone) if started else None,
        finished_at=read_instant(finished, zone) if finished else None,
        error=error,
        last_error=details.get("last_error") if isinstance(details.get("last_error"), str) else None,
        pictures=details.get("pictures") if type(details.get("pictures")) is int else None,
        boot_id=details.get("boot_id") if isinstance(details.get("boot_id"), str) else None,
        kept={key: value for key, value in scan.items() if key not in _SCAN_KEYS},
    )


_SCAN_KEYS: Final = frozenset(("scan_id", "started_at", "finished_at", "status", "error"))


def _straighten(
    store: TimelapseStore, schedule: tuple[datetime, ...], records: dict[int, SlotRecord], notes: list[str]
) -> tuple[int, TimeLapseState]:
    """Make records, ``next_idx`` and state agree, and note what had to be mended."""
    state = TimeLapseState(store.state)
    n_slots, next_idx = len(schedule), store.next_idx
    gaps = 0
    for slot in range(next_idx):
        record = records.get(slot)
        if record is None or record.status is RecordStatus.PENDING:
            gaps += 1
            error = {"type": Reason.NOT_RECORDED.value, "msg": "the controller of that time left no record"}
            before = record or SlotRecord(slot=slot, scan_id=_default_scan_id(store, slot))
            records[slot] = replace(before, status=RecordStatus.SKIPPED, error=error)
        elif record.status is RecordStatus.RUNNING:
            records[slot] = _cut(record)
    if gaps:
        notes.append(f"{gaps} slot{'s' * (gaps > 1)} before slot {next_idx} had no record")
    recorded = next_idx
    while next_idx < n_slots and next_idx in records and records[next_idx].status.is_final:
        next_idx += 1
    if next_idx > recorded:
        notes.append(f"next_idx was {recorded}, but the slots before {next_idx} are recorded")
    if state.is_active and next_idx >= n_slots:
        state = TimeLapseState.COMPLETED
    for slot, record in records.items():
        if slot > next_idx and record.status is RecordStatus.RUNNING:
            records[slot] = _cut(record)
    current = records.get(next_idx)
    if state is TimeLapseState.RUNNING:
        running = current or SlotRecord(slot=next_idx, scan_id=_default_scan_id(store, next_idx), attempt=1)
        records[next_idx] = replace(running, status=RecordStatus.RUNNING, attempt=max(running.attempt, 1))
    elif current is not None and current.status is RecordStatus.RUNNING:
        if state is TimeLapseState.SCHEDULED:
            state = TimeLapseState.RUNNING
        else:
            records[next_idx] = _cut(current)
    elif state is TimeLapseState.SCHEDULED and current is not None and _was_begun(current):
        records[next_idx] = replace(current, status=RecordStatus.RUNNING)
        state = TimeLapseState.RUNNING
    return next_idx, state


def _was_begun(record: SlotRecord) -> bool:
    """Whether an older controller saved the start of a scan without saying that it runs."""
    return record.status is RecordStatus.PENDING and record.started_at is not None and record.finished_at is None


def _cut(record: SlotRecord) -> SlotRecord:
    error = {"type": RecordStatus.INTERRUPTED.value, "msg": "cut off; the controller of that time went on without it"}
    return replace(record, status=RecordStatus.INTERRUPTED, error=error, boot_id=None)


def _default_scan_id(store: TimelapseStore, slot: int) -> str:
    return store.timelapse_id if len(store.schedule_times) == 1 else f"{store.timelapse_id}_{slot}"


def _read_ending(raw: Any) -> Ending | None:
    if not isinstance(raw, dict):
        return None
    at = _instant(raw.get("at"))
    return None if at is None else Ending(at, str(raw.get("who", "")), str(raw.get("why", "")))


def _ours(store: TimelapseStore) -> Mapping[str, Any]:
    ours = store.extra.get(OURS)
    return ours if isinstance(ours, dict) else {}


def read_logbook(store: TimelapseStore) -> Logbook:
    """Return what a store says of the daemon's past; empty where another controller wrote it."""
    ours = _ours(store)
    spans = ours.get("outages")
    return Logbook(
        saved_at=_instant(ours.get("saved_at")),
        definition_digest=ours.get("definition") if isinstance(ours.get("definition"), str) else None,
        boot_id=ours.get("boot_id") if isinstance(ours.get("boot_id"), str) else None,
        boots=_count(ours.get("boots")),
        outages=tuple(_outages(spans if isinstance(spans, list) else [])),
    )


def _outages(spans: list[Any]) -> Iterator[tuple[datetime, datetime]]:
    for span in spans:
        if isinstance(span, list) and len(span) == 2:
            start, end = _instant(span[0]), _instant(span[1])
            if start is not None and end is not None:
                yield start, end


def _count(value: Any, *, default: int = 0) -> int:
    return value if type(value) is int and value >= 0 else default


def _instant(text: Any) -> datetime | None:
    """Read one of our own times, which always have an offset; what isn't one is as good as absent."""
    try:
        time = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return time if time.tzinfo is not None else None


# --- into the store -------------------------------------------------------------------------------


def _our_extra(timelapse: TimeLapse, logbook: Logbook, before: Any) -> dict[str, Any]:
    kept = before if isinstance(before, dict) else {}
    ours = {
        **kept,  # keys of a newer timelapsed
        "slots": {str(slot): details for slot, record in timelapse.records.items() if (details := _details(record))},
        "saved_at": None if logbook.saved_at is None else write_instant(logbook.saved_at),
        "definition": logbook.definition_digest,
        "boot_id": logbook.boot_id,
        "boots": logbook.boots,
        "outages": [[write_instant(start), write_instant(end)] for start, end in logbook.outages],
        "ending": None,
    }
    if timelapse.ending is not None:
        end = timelapse.ending
        ours["ending"] = {"at": write_instant(end.at), "who": end.who, "why": end.why}
    return {key: value for key, value in ours.items() if value is not None}


def _details(record: SlotRecord) -> dict[str, Any]:
    return {key: value for key in _OUR_RECORD_KEYS if (value := getattr(record, key))}
