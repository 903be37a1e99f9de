"""A timelapse as a frozen value: each thing that happens to it gives the next value.

Nothing here reads a clock, a disk or a thread: every instant is an argument (aware, UTC).
The daemon builds the next value, saves it, and only then adopts it.
"""

from __future__ import annotations

from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct, field
from msgspec.structs import replace

from plantimager.timelapse.domain.closing import close_late, late_errors, reopen
from plantimager.timelapse.domain.records import (
    MAX_REPEATED_TEXT_BYTES,
    Ending,
    Pause,
    SlotRecord,
    Tally,
    error_of,
    scan_id_of,
    scan_ids_of,
    storable_text,
)
from plantimager.timelapse.domain.schedule import shift_instant
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
from plantimager.timelapse.support.errors import DriverStalled, IllegalTransition, TimelapsedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

MINIMUM_GRACE: Final = timedelta(seconds=1)
"""No slot starts at its very instant: with a grace period of 0, which stores may hold, none would ever be taken."""


class TimeLapse(Struct, frozen=True, kw_only=True, dict=True):
    """One experiment: an id, a mode, a list of slots, and a record for each slot that was reached.

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
    last_pause: Pause | None = None

    def __post_init__(self) -> None:
        """Check what every value must hold; the store checks what costs a pass over all slots."""
        last = self.n_slots - 1 if self.state.is_active else self.n_slots
        if not 0 <= self.next_idx <= last:
            raise TimelapsedError(f"{self.id}: {self.state.value}, but next_idx = {self.next_idx} of {self.n_slots}")
        current = self.records.get(self.next_idx)
        if (self.state is TimeLapseState.RUNNING) != (current is not None and current.status is RecordStatus.RUNNING):
            status = current.status.value if current is not None else "without a record"
            raise TimelapsedError(f"{self.id}: {self.state.value}, but slot {self.next_idx} is {status}")

    # --- its parts --------------------------------------------------------------------------

    @property
    def n_slots(self) -> int:
        """How many slots the schedule has."""
        return len(self.schedule_times)

    @property
    def next_at(self) -> datetime | None:
        """When the next slot is due; ``None`` after the last, and when the timelapse isn't active."""
        return self.schedule_times[self.next_idx] if self.state.is_active else None

    @property
    def pause(self) -> Pause | None:
        """The pause, until it is recorded that it is over."""
        return None if self.last_pause is None or self.last_pause.is_over else self.last_pause

    @property
    def scan_ids(self) -> Iterator[str]:
        """The names of the scans that have a record, in the order of the slots."""
        return (self.records[slot].scan_id for slot in sorted(self.records))

    @property
    def current(self) -> SlotRecord | None:
        """The record of the slot in progress."""
        return self.records.get(self.next_idx)

    @property
    def current_idx(self) -> int:
        """The slot that is being taken, or else the last one that was reached; a key of the store."""
        return self.next_idx if self.state is TimeLapseState.RUNNING else max(self.next_idx - 1, 0)

    @cached_property
    def unsettled(self) -> list[int]:
        """The slots whose last attempt is unsettled."""
        of_attempts = [record for record in self.records.values() if record.boot_id is not None]  # few of thousands
        return sorted(record.slot for record in of_attempts if record.is_unsettled)

    @cached_property
    def tally(self) -> Tally:
        """How many slots ended how; counted once for each value, since every status line shows it."""
        final = [r.status for r in self.records.values() if r.slot < self.next_idx or r.status.is_final]
        return Tally(
            taken=final.count(RecordStatus.SUCCEEDED),
            failed=final.count(RecordStatus.FAILED),
            skipped=final.count(RecordStatus.SKIPPED),
            interrupted=final.count(RecordStatus.INTERRUPTED),
        )

    def scan_id(self, slot: int) -> str:
        """Return the name of a slot's dataset: the recorded one, or else the usual one."""
        record = self.records.get(slot)
        return record.scan_id if record is not None else scan_id_of(self.id, slot, self.n_slots)

    def lateness(self, slot: int, at: datetime) -> timedelta:
        """Return how long ago a slot was due; negative before it."""
        return at - self.schedule_times[slot]

    def latest_start(self, slot: int) -> datetime:
        """Return the end of a slot's grace period."""
        return self.schedule_times[slot] + max(self.grace, MINIMUM_GRACE)

    def judge_at(self, at: datetime) -> datetime | None:
        """Return the next instant after ``at`` at which the next slot may become late; ``None`` where there is none."""
        following = self._open_from(self.next_idx + 1, self.records)
        instants = [self.latest_start(self.next_idx) + timedelta.resolution, *self.schedule_times[following:][:1]]
        return min((instant for instant in instants if instant > at), default=None)

    def open_until(self, slot: int, *, run_latest: bool) -> datetime | None:
        """Return until when an open slot can be begun; ``None`` where it waits however long it takes."""
        over_at, following = self.latest_start(slot), self._open_from(slot + 1, self.records)
        if not run_latest or self._was_cut_off(slot):
            return over_at
        return max(over_at, self.schedule_times[following]) if following < self.n_slots else None

    def is_closed(self, slot: int) -> bool:
        """Whether a slot has its last record; one that was interrupted has it once the schedule is past the slot."""
        record = self.records.get(slot)
        return record is not None and (record.status.is_final or slot < self.next_idx)

    def _earliest_in_time(self, at: datetime) -> datetime:
        """Return the time from which on slots are not later than their grace period."""
        return at - max(self.grace, MINIMUM_GRACE)

    def late_slots(self, at: datetime, *, run_latest: bool = False) -> list[int]:
        """Return the open slots from ``next_idx`` on that are later than their grace period; none during a scan.

        With ``run_latest`` the newest of them is left out, so that it is taken however late; not where the slot after
        it is due, or where an attempt of it was cut off.
        """
        late: list[int] = []
        if self.state is not TimeLapseState.SCHEDULED:
            return late
        slot, n_slots, times, in_time = self.next_idx, self.n_slots, self.schedule_times, self._earliest_in_time(at)
        while slot < n_slots and times[slot] < in_time:
            late.append(slot)
            slot += 1
            if slot in self.records:
                slot = self._open_from(slot, self.records)
        if run_latest and late and not self._is_due(slot, at) and not self._was_cut_off(late[-1]):
            late.pop()
        return late

    # --- its transitions --------------------------------------------------------------------

    def begin(self, at: datetime, boot_id: str) -> TimeLapse:
        """Return the value after *slot due*: the next slot's next attempt runs."""
        before, status = self._record(self.next_idx), RecordStatus.RUNNING
        number = before.attempt + 1
        record = replace(before, status=status, attempt=number, started_at=at, finished_at=None, boot_id=boot_id)
        return self._with(Trigger.SLOT_DUE, TimeLapseState.RUNNING, records=self._and(record))

    def succeed(self, at: datetime | None, pictures: int | None = None) -> TimeLapse:
        """Return the value after *scan ok*: the slot is taken; it isn't always known when (``None``)."""
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
        return self.close([done], Trigger.SCAN_OK)

    def fail_attempt(
        self, at: datetime, problem: Exception, *, give_up: bool = False, is_unsettled: bool = False
    ) -> TimeLapse:
        """Return the value after *attempt failed*: the next attempt runs, or the slot is failed.

        A slot is attempted again while ``scan_retries`` allow it and the next slot isn't due yet; never with
        ``give_up``. A failed slot ends the timelapse under ``fail_timelapse``. ``is_unsettled``: it may be whole.
        """
        record = self._running(Trigger.ATTEMPT_FAILED)
        error = error_of(problem, self.n_slots)
        following = self._open_from(record.slot + 1, self.records)
        has_retries = record.attempt - record.interruptions <= self.scan_retries
        if has_retries and not give_up and not self._is_due(following, at):
            again = replace(record, attempt=record.attempt + 1, started_at=at, error=error)
            return self._with(Trigger.ATTEMPT_FAILED, TimeLapseState.RUNNING, records=self._and(again))
        is_unsettled |= isinstance(problem, DriverStalled) and problem.abandoned
        boot_id = record.boot_id if is_unsettled else None
        done = replace(record, status=RecordStatus.FAILED, finished_at=at, error=error, boot_id=boot_id)
        if self.on_scan_failed is OnScanFailed.SKIP_SCAN:
            return self.close([done], Trigger.EXHAUSTED)
        ending = Ending(at, "timelapsed", _failed_by(record.slot))
        return self._end(TimeLapseState.FAILED, Trigger.EXHAUSTED, [done], ending, Reason.TIMELAPSE_FAILED)

    def rig_not_ready(self, problem: Exception, *, is_unsettled: bool = False) -> TimeLapse:
        """Return the value after *rig not ready*: the next slot waits; no attempt was used but one ``is_unsettled``."""
        check_transition(self.state, Trigger.RIG_NOT_READY)
        before, is_undone = self._record(self.next_idx), self.state is TimeLapseState.RUNNING and not is_unsettled
        waiting = replace(
            before,
            status=RecordStatus.PENDING,
            attempt=before.attempt - is_undone,
            started_at=None if is_undone else before.started_at,
            finished_at=None,
            error={**error_of(problem, self.n_slots), "type": Reason.RIG_NOT_READY.value},
            boot_id=None if is_undone else before.boot_id,
        )
        return self._with(Trigger.RIG_NOT_READY, TimeLapseState.SCHEDULED, records=self._and(waiting))

    def interrupt(self, at: datetime | None, why: str, *, is_unsettled: bool = False) -> TimeLapse:
        """Return the value after *interrupted*: the attempt was cut off ``at``, or at an unknown time (``None``).

        The slot stays next; `skip_late_slots` closes it after its grace period. ``is_unsettled``: it may be whole.
        """
        record = self._running(Trigger.INTERRUPTED)
        cut = replace(
            record,
            status=RecordStatus.INTERRUPTED,
            finished_at=at,
            error={"type": RecordStatus.INTERRUPTED.value, "msg": why},
            interruptions=record.interruptions + 1,
            boot_id=record.boot_id if is_unsettled else None,
        )
        return self._with(Trigger.INTERRUPTED, TimeLapseState.SCHEDULED, records=self._and(cut))

    def put_into(self, directory: str | None) -> TimeLapse:
        """Return the value in which the running attempt puts its dataset into a directory of datasets."""
        return replace(self, records=self._and(replace(self.records[self.next_idx], directory=directory)))

    def redate(self, shift: timedelta) -> TimeLapse:
        """Return the value after *clock set*: the running attempt began ``shift`` later; its duration stays right."""
        record = self._running(Trigger.CLOCK_SET)
        if record.started_at is not None:
            record = replace(record, started_at=shift_instant(record.started_at, shift))
        return self._with(Trigger.CLOCK_SET, TimeLapseState.RUNNING, records=self._and(record))

    def skip_late_slots(self, at: datetime, reason: Reason, why: str, *, run_latest: bool = False) -> TimeLapse:
        """Return the value after *slots later than grace*: each has its final record. This value if none is late.

        ``reason`` and ``why`` (a text) go into the records of slots that were never begun. A slot that was interrupted
        keeps its record; one whose rig wasn't ready keeps that as its reason.
        """
        late = self.late_slots(at, run_latest=run_latest)
        if not late:
            return self
        errors = late_errors([self.schedule_times[slot] for slot in late], at, reason, why, self.grace)
        names = scan_ids_of(self.id, late, self.n_slots)
        return self.close(close_late(self.records, late, names, errors), Trigger.SLOTS_LATE)

    def cancel(self, at: datetime, who: str, why: str) -> TimeLapse:
        """Return the value after *cancelled*: the running slot is interrupted and unsettled; the rest is skipped."""
        check_transition(self.state, Trigger.CANCELLED)
        ending = Ending(at, storable_text(who), storable_text(why))
        cut = []
        if self.state is TimeLapseState.RUNNING:
            error = {"type": Reason.CANCELLED.value, "msg": f"cancelled by {ending.who}: {ending.why}"}
            running = self._running(Trigger.CANCELLED)
            cut = [replace(running, status=RecordStatus.INTERRUPTED, finished_at=at, error=error)]
        return self._end(TimeLapseState.CANCELLED, Trigger.CANCELLED, cut, ending, Reason.CANCELLED)

    def succeed_after_all(self, slot: int, at: datetime, pictures: int | None, end: datetime | None) -> TimeLapse:
        """Return the value after *scan is whole after all*: its slot is taken.

        A timelapse that has ended stays so, unless because this slot failed: then it goes on with the slots that now
        are in the future or within their grace period. ``end`` is when the dataset was finished.
        """
        check_transition(self.state, Trigger.WHOLE_AFTER_ALL)
        record = self._record(slot)
        changes: dict[str, Any] = {"pictures": pictures, "finished_at": record.end_of_attempt(end, at)}
        taken = replace(record, status=RecordStatus.SUCCEEDED, **changes, error=None, boot_id=None)
        if slot == self.next_idx:
            return self.close([taken], Trigger.WHOLE_AFTER_ALL)
        records = self._and(taken)
        if self.state is not TimeLapseState.FAILED or self.ending is None or self.ending.why != _failed_by(slot):
            return self._with(Trigger.WHOLE_AFTER_ALL, self.state, records=records)
        times, in_time = self.schedule_times, self._earliest_in_time(at)
        skipped = (record.slot for record in records.values() if record.reason is Reason.TIMELAPSE_FAILED)
        reopened = {later for later in skipped if times[later] >= in_time}
        state = TimeLapseState.SCHEDULED if reopened else TimeLapseState.COMPLETED
        values = {"records": reopen(records, reopened), "next_idx": min(reopened, default=self.n_slots)}
        return self._with(Trigger.WHOLE_AFTER_ALL, state, **values, ending=None)

    def settle(self, slot: int) -> TimeLapse:
        """Return the value in which an attempt stays as it is recorded, and nobody asks about it any more."""
        return replace(self, records=self._and(replace(self.records[slot], boot_id=None)))

    def reopen_slots(self, at: datetime) -> TimeLapse:
        """Return the value after *slots reopened*: those closed by a wrong clock are open. This value if none is.

        Slots are reopened that are, by the clock as it is now, in the future or within their grace period; those that
        fell due in a pause only where they are in the future.
        """
        in_time = self._earliest_in_time(at)
        closed = [record for slot, record in self.records.items() if slot < self.next_idx and record.may_reopen]
        since = {record.slot: at if record.was_paused else in_time for record in closed}
        reopened = {slot for slot, earliest in since.items() if self.schedule_times[slot] >= earliest}
        if not reopened or (self.state, Trigger.SLOTS_REOPENED) not in TRANSITIONS:
            return self
        records = reopen(self.records, reopened)
        return self._with(Trigger.SLOTS_REOPENED, TimeLapseState.SCHEDULED, records=records, next_idx=min(reopened))

    def close(self, done: Iterable[SlotRecord], event: Trigger) -> TimeLapse:
        """Return the value in which slots have their final records, and the next open one is next, if there is one."""
        done = list(done)
        records = self._and(*done)
        following = self._open_from(done[-1].slot + 1, records)
        state = TimeLapseState.SCHEDULED if following < self.n_slots else TimeLapseState.COMPLETED
        return self._with(event, state, records=records, next_idx=following)

    # --- the steps of a transition -----------------------------------------------------------

    def _running(self, event: Trigger) -> SlotRecord:
        """Return the record of the running attempt."""
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

    def _record(self, slot: int) -> SlotRecord:
        """Return the record of a slot, or an empty one where it has none yet."""
        return self.records.get(slot) or SlotRecord(slot=slot, scan_id=self.scan_id(slot))

    def _and(self, *records: SlotRecord) -> ChunkedMap[SlotRecord]:
        return ChunkedMap(self.records).evolved({record.slot: record.without_place for record in records})

    def _open_from(self, slot: int, records: Mapping[int, SlotRecord]) -> int:
        """Return the first slot from ``slot`` on without a final record."""
        while slot < self.n_slots and (record := records.get(slot)) is not None and record.status.is_final:
            slot += 1
        return slot

    def _end(
        self, state: TimeLapseState, event: Trigger, done: Iterable[SlotRecord], ending: Ending, reason: Reason
    ) -> TimeLapse:
        """Return the value in which the timelapse ends early, and every slot that is still open is skipped."""
        words = storable_text(f"ended by {ending.who}: {ending.why}", MAX_REPEATED_TEXT_BYTES)
        error = {"type": reason.value, "msg": words}
        rest = map(self._record, range(self.next_idx, self.n_slots))
        still_open = [record for record in rest if record.status is RecordStatus.PENDING]
        skipped = [replace(record, status=RecordStatus.SKIPPED, error=error) for record in still_open]
        records = self._and(*done, *skipped)
        return self._with(event, state, records=records, next_idx=self.n_slots, ending=ending)

    def _with(self, event: Trigger, state: TimeLapseState, **changes: Any) -> TimeLapse:
        """Return the value after an event that the table of transitions allows, or raise `IllegalTransition`."""
        check_transition(self.state, event, state)
        return replace(self, state=state, **changes)


def _failed_by(slot: int) -> str:
    """Return why a timelapse ended whose slot failed; it is told apart by that from one that ended otherwise."""
    return f"slot {slot} failed and on_scan_failed is fail_timelapse"
