"""A timelapse as a frozen value: what happens to it gives the next value.

Nothing here reads a clock, a disk or a thread: every instant is an argument (aware, UTC).
The daemon builds the next value, saves it, and only then adopts it.
"""

from __future__ import annotations

from datetime import timedelta
from functools import cached_property
from itertools import accumulate
from json import dumps
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct, field
from msgspec.structs import replace

from plantimager.timelapse.domain.durations import format_duration
from plantimager.timelapse.domain.states import (
    TRANSITIONS,
    OnScanFailed,
    Reason,
    RecordStatus,
    TimeLapseMode,
    TimeLapseState,
    Trigger,
    check_transition,
)
from plantimager.timelapse.support.chunked_map import ChunkedMap
from plantimager.timelapse.support.errors import IllegalTransition, TimelapsedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

__all__ = [
    "Ending",
    "SlotRecord",
    "Tally",
    "TimeLapse",
    "TimeLapseMode",
    "TimeLapseState",
]

MAX_TEXT_BYTES: Final = 500
"""Bytes of an error, or of a person's reason, that are kept: escaped as JSON, or control characters would count six."""
MAX_REPEATED_TEXT_BYTES: Final = 80
"""Bytes of a text that stands in the records of many slots: a hundred thousand of them must still fit a store."""

MANY_SLOTS: Final = 10_000
"""Slots from which on even the errors of single slots are cut to `MAX_REPEATED_TEXT_BYTES`."""

MINIMUM_GRACE: Final = timedelta(seconds=1)
"""No slot starts at its very instant: with a grace period of 0, which stores may hold, none would ever be taken."""


def scan_id_of(timelapse_id: str, slot: int, n_slots: int) -> str:
    """Return the usual name of a slot's dataset: ``{timelapse_id}_{slot}``, the bare id for a single slot."""
    return scan_ids_of(timelapse_id, [slot], n_slots)[0]


def scan_ids_of(timelapse_id: str, slots: Iterable[int], n_slots: int) -> list[str]:
    """Return what `scan_id_of` gives for each of thousands of slots, in a quarter of the time."""
    return [timelapse_id for _ in slots] if n_slots == 1 else [f"{timelapse_id}_{slot}" for slot in slots]


def _may_come_back(record: SlotRecord) -> bool:
    """Whether a slot was closed by the clock alone, so that a clock that was set right may open it again."""
    if record.status is RecordStatus.SKIPPED:
        return record.reason in (Reason.MISSED, Reason.CLOCK_MOVED, Reason.RIG_NOT_READY)
    return record.status is RecordStatus.INTERRUPTED


def _passed_again(record: SlotRecord, error: dict[str, Any]) -> SlotRecord:
    """Return the final record of a slot that went by after it was begun, or after its rig wasn't ready."""
    if record.status is RecordStatus.INTERRUPTED:
        return record
    if record.reason is Reason.RIG_NOT_READY:
        error = {**error, "type": Reason.RIG_NOT_READY.value, "msg": record.error_text}
    return replace(record, status=RecordStatus.SKIPPED, error=error)


def error_of(problem: Exception, n_slots: int = 1) -> dict[str, Any]:
    """Return the fields of an error for `SlotRecord.error`; in a timelapse so long that all may fail, shortened."""
    kind = type(problem).__name__
    longest = MAX_TEXT_BYTES if n_slots <= MANY_SLOTS else MAX_REPEATED_TEXT_BYTES
    return {"type": kind, "msg": _storable(str(problem) or kind, longest)}


def _storable(text: str, longest: int = MAX_TEXT_BYTES) -> str:
    """Return a text without the surrogates that no UTF-8 file can carry, cut to ``longest`` bytes of JSON."""
    text = text.encode(errors="replace").decode()
    sizes = accumulate(len(dumps(sign, ensure_ascii=False).encode()) - len('""') for sign in text[:longest])
    kept = sum(size <= longest for size in sizes)
    return text if kept == len(text) else f"{text[:kept]}… ({len(text)} characters in all)"


class SlotRecord(Struct, frozen=True, gc=False):
    """What became of one slot, or is becoming of it."""

    slot: int
    scan_id: str
    status: RecordStatus = RecordStatus.PENDING
    attempt: int = 0
    """The number of the last attempt; 0 where the driver was never called."""
    interruptions: int = 0
    """How many of the attempts were cut off by a stop or a power cut; they use up no retry."""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    error: Any = None
    """``{"type": …, "msg": …}`` as we write it; whatever JSON another controller wrote."""
    last_error: str | None = None
    """Why the attempt before this one failed, once a later one succeeded."""
    pictures: int | None = None
    boot_id: str | None = None
    """The machine's boot during which the running attempt began."""
    unknown_keys: Mapping[str, Any] = MappingProxyType({})
    """The keys of a stored record that we don't know."""

    @property
    def reason(self) -> Reason | None:
        """Why the slot was not taken, where that was the daemon's own decision."""
        kind = self.error.get("type") if isinstance(self.error, dict) else None
        return _REASONS.get(kind) if isinstance(kind, str) else None

    @property
    def error_text(self) -> str:
        """The error in words, whoever wrote it; empty without one."""
        if isinstance(self.error, dict):
            return str(self.error.get("msg") or self.error.get("type") or "")
        return str(self.error or "")

    @property
    def took(self) -> timedelta | None:
        """How long the last attempt lasted by the wall clock."""
        if self.started_at is None or self.finished_at is None:
            return None
        return self.finished_at - self.started_at


_REASONS: Final = {reason.value: reason for reason in Reason}


class Ending(Struct, frozen=True):
    """Who or what ended a timelapse before its last slot, when, and why."""

    at: datetime
    who: str
    why: str


class Tally(Struct, frozen=True):
    """How many slots ended how."""

    taken: int
    failed: int
    skipped: int
    interrupted: int

    @property
    def done(self) -> int:
        """How many slots have their final record."""
        return self.taken + self.failed + self.skipped + self.interrupted

    def __str__(self) -> str:
        parts = [f"{self.taken} taken", f"{self.failed} failed", f"{self.skipped} skipped"]
        if self.interrupted:
            parts.append(f"{self.interrupted} interrupted")
        return ", ".join(parts)


class TimeLapse(Struct, frozen=True, kw_only=True, dict=True):
    """One experiment: an id, a mode, a list of slots, and a record for each slot that came by.

    ``next_idx`` is the lowest slot without a final record, ``len(schedule_times)`` when there
    is none. The record of ``next_idx`` itself, where there is one, is that of a slot in progress.
    """

    id: str
    mode: TimeLapseMode
    state: TimeLapseState
    schedule_times: tuple[datetime, ...]
    next_idx: int = 0
    records: Mapping[int, SlotRecord] = field(default_factory=dict)
    warmup: timedelta = timedelta(seconds=30)
    standby_threshold: timedelta = timedelta(seconds=600)
    grace: timedelta = timedelta(seconds=120)
    start_at: datetime | None = None
    on_scan_failed: OnScanFailed = OnScanFailed.SKIP_SCAN
    scan_retries: int = 0
    ending: Ending | None = None

    def __post_init__(self) -> None:
        """Hold what every value must hold; what costs a pass over all slots is checked by the store."""
        last = self.n_slots - 1 if self.state.is_active else self.n_slots
        if not 0 <= self.next_idx <= last:
            raise TimelapsedError(f"{self.id}: {self.state.value}, but next_idx = {self.next_idx} of {self.n_slots}")
        current = self.records.get(self.next_idx)
        if (self.state is TimeLapseState.RUNNING) != (current is not None and current.status is RecordStatus.RUNNING):
            status = current.status.value if current is not None else "without a record"
            raise TimelapsedError(f"{self.id}: {self.state.value}, but slot {self.next_idx} is {status}")

    # --- what it is -------------------------------------------------------------------------

    @property
    def n_slots(self) -> int:
        """How many slots the schedule has."""
        return len(self.schedule_times)

    @property
    def next_at(self) -> datetime | None:
        """When the next slot is due; ``None`` after the last, and when the timelapse isn't active."""
        return self.schedule_times[self.next_idx] if self.state.is_active else None

    @property
    def current(self) -> SlotRecord | None:
        """The record of the slot in progress."""
        return self.records.get(self.next_idx)

    @property
    def current_idx(self) -> int:
        """The store's word for the slot being taken, or else the last one that came by."""
        return self.next_idx if self.state is TimeLapseState.RUNNING else max(self.next_idx - 1, 0)

    @cached_property
    def tally(self) -> Tally:
        """How many slots ended how; counted once, since every status tells it."""
        final = [r.status for r in self.records.values() if r.slot < self.next_idx or r.status.is_final]
        return Tally(
            taken=final.count(RecordStatus.SUCCEEDED),
            failed=final.count(RecordStatus.FAILED),
            skipped=final.count(RecordStatus.SKIPPED),
            interrupted=final.count(RecordStatus.INTERRUPTED),
        )

    def scan_id(self, slot: int) -> str:
        """Return the name of a slot's dataset: that on record, or else the usual one."""
        record = self.records.get(slot)
        return record.scan_id if record is not None else scan_id_of(self.id, slot, self.n_slots)

    def lateness(self, slot: int, at: datetime) -> timedelta:
        """Return how long ago a slot was due; negative before it."""
        return at - self.schedule_times[slot]

    def _in_time(self, at: datetime) -> datetime:
        """Return from which time on slots are not later than their grace period."""
        return at - max(self.grace, MINIMUM_GRACE)

    def late_slots(self, at: datetime, *, run_latest: bool = False) -> list[int]:
        """Return the open slots from ``next_idx`` on that are later than their grace period; none during a scan.

        With ``run_latest`` the newest of them is left out, unless the one after it is due, or an attempt of it was
        cut off: it is to be taken, however late.
        """
        late: list[int] = []
        if self.state is not TimeLapseState.SCHEDULED:
            return late
        slot, n_slots, times, in_time = self.next_idx, self.n_slots, self.schedule_times, self._in_time(at)
        while slot < n_slots and times[slot] < in_time:
            late.append(slot)
            slot += 1
            if slot in self.records:
                slot = self._open_from(slot, self.records)
        if run_latest and late and not self._is_due(slot, at) and not self._was_cut_off(late[-1]):
            late.pop()
        return late

    # --- what happens to it -----------------------------------------------------------------

    def begin(self, at: datetime, boot_id: str) -> TimeLapse:
        """Slot due: the next slot's next attempt starts."""
        before = self._record(self.next_idx)
        record = replace(
            before,
            status=RecordStatus.RUNNING,
            attempt=before.attempt + 1,
            started_at=at,
            finished_at=None,
            boot_id=boot_id,
        )
        return self._with(Trigger.SLOT_DUE, TimeLapseState.RUNNING, records=self._and(record))

    def succeed(self, at: datetime, pictures: int | None = None) -> TimeLapse:
        """Scan ok: the slot is taken."""
        record = self._running(Trigger.SCAN_OK)
        done = replace(
            record,
            status=RecordStatus.SUCCEEDED,
            finished_at=at,
            error=None,
            last_error=record.error_text or None,
            pictures=pictures,
            boot_id=None,
        )
        return self._close([done], Trigger.SCAN_OK)

    def fail_attempt(self, at: datetime, problem: Exception, *, give_up: bool = False) -> TimeLapse:
        """Attempt failed: the next one starts at once, or the slot is exhausted.

        It is retried while ``scan_retries`` allow it and the next slot isn't due yet; never with
        ``give_up``. An exhausted slot ends the timelapse under ``fail_timelapse``.
        """
        record = self._running(Trigger.ATTEMPT_FAILED)
        error = error_of(problem, self.n_slots)
        following = self._open_from(record.slot + 1, self.records)
        has_retries = record.attempt - record.interruptions <= self.scan_retries
        if has_retries and not give_up and not self._is_due(following, at):
            again = replace(record, attempt=record.attempt + 1, started_at=at, error=error)
            return self._with(Trigger.ATTEMPT_FAILED, TimeLapseState.RUNNING, records=self._and(again))
        done = replace(record, status=RecordStatus.FAILED, finished_at=at, error=error, boot_id=None)
        if self.on_scan_failed is OnScanFailed.SKIP_SCAN:
            return self._close([done], Trigger.EXHAUSTED)
        why = f"slot {record.slot} failed and on_scan_failed is fail_timelapse"
        ending = Ending(at, "timelapsed", why)
        return self._end(TimeLapseState.FAILED, Trigger.EXHAUSTED, [done], ending, Reason.TIMELAPSE_FAILED)

    def rig_not_ready(self, problem: Exception) -> TimeLapse:
        """Rig not ready: no attempt was used; the slot waits for the next try."""
        record = self._running(Trigger.RIG_NOT_READY)
        waiting = replace(
            record,
            status=RecordStatus.PENDING,
            attempt=record.attempt - 1,
            started_at=None,
            error={**error_of(problem, self.n_slots), "type": Reason.RIG_NOT_READY.value},
            boot_id=None,
        )
        return self._with(Trigger.RIG_NOT_READY, TimeLapseState.SCHEDULED, records=self._and(waiting))

    def interrupt(self, at: datetime | None, why: str) -> TimeLapse:
        """Service stopped at ``at``, or found dead in mid-scan (``None``: nobody knows when).

        The slot stays next; `skip_late_slots` closes it after its grace.
        """
        record = self._running(Trigger.INTERRUPTED)
        cut = replace(
            record,
            status=RecordStatus.INTERRUPTED,
            finished_at=at,
            error={"type": RecordStatus.INTERRUPTED.value, "msg": why},
            interruptions=record.interruptions + 1,
            boot_id=None,
        )
        return self._with(Trigger.INTERRUPTED, TimeLapseState.SCHEDULED, records=self._and(cut))

    def skip_late_slots(self, at: datetime, reason: Reason, why: str, *, run_latest: bool = False) -> TimeLapse:
        """Slots later than grace: each gets its final record, all in one step; itself when none is late.

        ``reason`` and ``why`` (words) go into the records of slots that nobody ever began; one
        that was interrupted stays so, one whose rig wasn't ready says that.
        """
        late = self.late_slots(at, run_latest=run_latest)
        if not late:
            return self
        return self._close(self._passed(late, at, reason, why), Trigger.SLOTS_LATE)

    def cancel(self, at: datetime, who: str, why: str) -> TimeLapse:
        """End it for the operator: what runs counts as interrupted, what remains as skipped."""
        check_transition(self.state, Trigger.CANCELLED)
        ending = Ending(at, _storable(who), _storable(why))
        cut = []
        if self.state is TimeLapseState.RUNNING:
            error = {"type": Reason.CANCELLED.value, "msg": f"cancelled by {ending.who}: {ending.why}"}
            running = self._running(Trigger.CANCELLED)
            cut = [replace(running, status=RecordStatus.INTERRUPTED, finished_at=at, error=error, boot_id=None)]
        return self._end(TimeLapseState.CANCELLED, Trigger.CANCELLED, cut, ending, Reason.CANCELLED)

    def reopen_slots(self, at: datetime) -> TimeLapse:
        """Slots given back: those closed under a wrong clock that are again ahead or in grace; itself when none is.

        What was attempted of them stays on record.
        """
        times, in_time = self.schedule_times, self._in_time(at)
        back = {
            slot: record
            for slot, record in self.records.items()
            if times[slot] >= in_time and slot < self.next_idx and _may_come_back(record)
        }
        if not back or (self.state, Trigger.SLOTS_GIVEN_BACK) not in TRANSITIONS:
            return self
        records = {slot: record for slot, record in self.records.items() if slot not in back or record.attempt}
        for slot in back.keys() & records.keys():
            if records[slot].status is RecordStatus.SKIPPED:
                records[slot] = replace(records[slot], status=RecordStatus.PENDING)
        first = min(back)
        return self._with(Trigger.SLOTS_GIVEN_BACK, TimeLapseState.SCHEDULED, records=records, next_idx=first)

    # --- the steps they are made of ----------------------------------------------------------

    def _running(self, event: Trigger) -> SlotRecord:
        check_transition(self.state, event)
        record = self.current
        if record is None or record.status is not RecordStatus.RUNNING:
            raise IllegalTransition(self.state.value, event.value)
        return record

    def _was_cut_off(self, slot: int) -> bool:
        record = self.records.get(slot)
        return record is not None and record.status is RecordStatus.INTERRUPTED

    def _is_due(self, slot: int, at: datetime) -> bool:
        return slot < self.n_slots and self.lateness(slot, at) >= timedelta(0)

    def _passed(self, slots: Sequence[int], at: datetime, reason: Reason, why: str) -> list[SlotRecord]:
        times, get, skipped = self.schedule_times, self.records.get, RecordStatus.SKIPPED
        at = at.replace(microsecond=at.microsecond // 1000 * 1000)  # nobody wants to know it better
        kind, grace = reason.value, format_duration(self.grace)
        errors = [
            {
                "type": kind,
                "msg": why or f"{format_duration(late)} late, grace {grace}",
                "late_sec": late.total_seconds(),
            }
            for late in [at - times[slot] for slot in slots]
        ]
        names = scan_ids_of(self.id, slots, self.n_slots)
        return [  # as a rule there is no record, and there may be thousands: by position is the quickest
            SlotRecord(slot, name, skipped, 0, 0, None, None, error)
            if (record := get(slot)) is None
            else _passed_again(record, error)
            for slot, name, error in zip(slots, names, errors, strict=True)
        ]

    def _record(self, slot: int) -> SlotRecord:
        """Return what is on record of a slot, or a record to begin with."""
        return self.records.get(slot) or SlotRecord(slot=slot, scan_id=self.scan_id(slot))

    def _and(self, *records: SlotRecord) -> ChunkedMap[SlotRecord]:
        before = self.records if isinstance(self.records, ChunkedMap) else ChunkedMap(self.records)
        return before.evolved({record.slot: record for record in records})

    def _open_from(self, slot: int, records: Mapping[int, SlotRecord]) -> int:
        while slot < self.n_slots and (record := records.get(slot)) is not None and record.status.is_final:
            slot += 1
        return slot

    def _close(self, done: Iterable[SlotRecord], event: Trigger) -> TimeLapse:
        """Give slots their final records and go on to the next open one, or complete."""
        done = list(done)
        records = self._and(*done)
        following = self._open_from(done[-1].slot + 1, records)
        state = TimeLapseState.SCHEDULED if following < self.n_slots else TimeLapseState.COMPLETED
        return self._with(event, state, records=records, next_idx=following)

    def _end(
        self, state: TimeLapseState, event: Trigger, done: Iterable[SlotRecord], ending: Ending, reason: Reason
    ) -> TimeLapse:
        """End before the last slot: every slot that is still open gets its record."""
        error = {
            "type": reason.value,
            "msg": _storable(f"ended by {ending.who}: {ending.why}", MAX_REPEATED_TEXT_BYTES),
        }
        rest = map(self._record, range(self.next_idx, self.n_slots))
        still_open = [record for record in rest if record.status is RecordStatus.PENDING]
        skipped = [replace(record, status=RecordStatus.SKIPPED, error=error) for record in still_open]
        records = self._and(*done, *skipped)
        return self._with(event, state, records=records, next_idx=self.n_slots, ending=ending)

    def _with(self, event: Trigger, state: TimeLapseState, **changes: Any) -> TimeLapse:
        check_transition(self.state, event, state)
        return replace(self, state=state, **changes)
