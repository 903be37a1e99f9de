"""What is told of each transition: one line an event, written after it is on disk.

Every function compares the value before with the one after, so that nothing is told that
didn't happen.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from typing import TYPE_CHECKING

from plantimager.timelapse.daemon.journal import Action, log_event
from plantimager.timelapse.domain.durations import format_duration
from plantimager.timelapse.domain.states import Reason, RecordStatus, TimeLapseState
from plantimager.timelapse.domain.wording import (
    describe_next_slot,
    describe_slot,
    describe_slots,
    describe_timelapse,
    format_local_time,
    ordinal,
)
from plantimager.timelapse.support.errors import DriverError

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from plantimager.timelapse.domain.timelapse import TimeLapse
    from plantimager.timelapse.scan.request import ScanResult


MOST_SLOTS_NAMED = 500
"""SLOT fields of one entry; journald takes a thousand fields."""


def store_held(timelapse: TimeLapse) -> None:
    """Tell of a store in which nothing is left to do."""
    draft = ", a draft that nobody armed; it is left alone until a timelapse begins"
    draft = "" if timelapse.state.is_terminal else draft
    words = f"{describe_timelapse(timelapse)}: {timelapse.state.value}{draft}; {timelapse.tally}"
    log_event(Action.STORE_FOUND, words, timelapse=timelapse)


def resumed(before: TimeLapse, after: TimeLapse, now: datetime, cut: str, *, recovered: bool) -> None:
    """Tell what was found at boot, and what became of the slot that was being taken; ``cut`` is what cut it off."""
    slot = before.next_idx
    was = ""
    if before.state is TimeLapseState.RUNNING:
        since = before.records[slot].started_at
        ago = f", begun {format_duration(now - since)} ago" if since is not None else ""
        was = f"; was scanning slot {slot} when {cut}{ago}"
    log_event(Action.RESUMED, f"{describe_timelapse(before)}{was}", timelapse=after)
    if recovered:
        words = f"{before.scan_id(slot)}: {describe_slot(before, slot)} had been finished; recorded as taken"
        log_event(Action.SCAN_RECOVERED, words, timelapse=after, slot=slot)
    elif before.state is TimeLapseState.RUNNING:
        slot_interrupted(after, slot, now)


def scan_started(running: TimeLapse, now: datetime) -> None:
    """Tell that an attempt begins."""
    slot = running.next_idx
    attempt = running.records[slot].attempt
    late = running.lateness(slot, now)
    words = f"{running.scan_id(slot)}, {describe_slot(running, slot)}"
    words += f", {ordinal(attempt)} attempt" if attempt > 1 else ""
    words += f", {format_duration(late)} late" if late >= timedelta(seconds=1) else ""
    log_event(Action.SCAN_STARTED, words, timelapse=running, slot=slot)


def attempt_failed(running: TimeLapse, problem: BaseException | None) -> None:
    """Tell that an attempt failed and the next one begins."""
    slot = running.next_idx
    following = running.records[slot].attempt
    words = f"{running.scan_id(slot)}: {problem}; {ordinal(following)} attempt starts now"
    log_event(
        Action.ATTEMPT_FAILED, words, timelapse=running, slot=slot, error=_unexpected(problem), attempt=following - 1
    )


def scan_ended(
    after: TimeLapse, slot: int, now: datetime, result: ScanResult | None, problem: BaseException | None
) -> None:
    """Tell how a slot ended whose scan ran."""
    record = after.records[slot]
    if record.status is RecordStatus.SUCCEEDED:
        took = f" in {format_duration(record.took)}" if record.took is not None else ""
        pictures = f", {record.pictures} pictures" if record.pictures is not None else ""
        note = f" ({result.note})" if result is not None and result.note else ""
        words = f"{record.scan_id}{took}{pictures}{note}; {describe_next_slot(after, now)}"
        log_event(Action.SCAN_SUCCEEDED, words, timelapse=after, slot=slot)
    elif record.status is RecordStatus.INTERRUPTED:
        slot_interrupted(after, slot, now)
    else:
        words = f"{record.scan_id}: {record.error_text}; {describe_next_slot(after, now)}"
        log_event(Action.SCAN_FAILED, words, timelapse=after, slot=slot, error=_unexpected(problem))


def slot_interrupted(timelapse: TimeLapse, slot: int, now: datetime) -> None:
    """Tell that a slot was cut off, and whether it will be attempted again."""
    record = timelapse.records[slot]
    grace = format_duration(timelapse.grace)
    words = f"slot {slot} ({format_local_time(timelapse.schedule_times[slot], now)}): {record.error_text}"
    if timelapse.next_idx == slot:
        words += f"; it is attempted again within its grace of {grace}"
    else:
        words += f"; {format_duration(timelapse.lateness(slot, now))} after its time, its grace of {grace} is over"
    log_event(Action.SLOT_INTERRUPTED, words, timelapse=timelapse, slot=slot)


def slots_passed(before: TimeLapse, after: TimeLapse, now: datetime, away: str = "") -> None:
    """Tell which slots were passed over: one line for all that share a cause; ``away`` is that of an absence."""
    causes = defaultdict[str, list[int]](list)
    skipped = RecordStatus.SKIPPED  # a member of an enum is not found for nothing, and there may be thousands
    for slot in range(before.next_idx, after.next_idx):
        record = after.records[slot]
        if record.status is skipped and before.records.get(slot) is not record:
            # Those that were just missed have nothing in common but that: each says how late it was.
            cause = record.error_text if away or record.reason is not Reason.MISSED else ""
            causes[cause].append(slot)
    for cause, slots in causes.items():
        were = "was" if len(slots) == 1 else "were"
        why = f" while {away}" if away and cause == away else f": {cause}" if cause else ""
        late = f"{format_duration(after.lateness(slots[0], now))} late, " if len(slots) == 1 else ""
        words = f"{describe_slots(after, slots, now)} {were} missed{why} ({late}grace {format_duration(after.grace)})"
        log_event(Action.SLOT_SKIPPED, words, timelapse=after, slot=slots[:MOST_SLOTS_NAMED])


def slots_given_back(before: TimeLapse, after: TimeLapse, now: datetime) -> None:
    """Tell which slots that were passed over can be taken after all."""
    reopened = range(after.next_idx, before.next_idx)
    back = [slot for slot in reopened if slot not in after.records or not after.records[slot].status.is_final]
    if back:
        words = f"{describe_slots(after, back, now)}, passed over under a wrong clock, can still be taken"
        log_event(Action.SLOTS_GIVEN_BACK, words, timelapse=after, slot=back[:MOST_SLOTS_NAMED])


def timelapse_over(before: TimeLapse, after: TimeLapse, datasets: Path) -> None:
    """Tell that the last slot is through, or that a failed one ended the timelapse."""
    if before.state.is_terminal or not after.state.is_terminal:
        return
    if after.state is TimeLapseState.COMPLETED:
        log_event(Action.TIMELAPSE_COMPLETED, f"{after.id}: {after.tally}; datasets in {datasets}", timelapse=after)
    elif after.state is TimeLapseState.FAILED and after.ending is not None:
        log_event(Action.TIMELAPSE_FAILED, f"{after.id}: {after.ending.why}; {after.tally}", timelapse=after)


def datasets_out_of_reach(timelapse: TimeLapse, trouble: str) -> None:
    """Tell that datasets can't be put where they are to go."""
    words = f"{trouble}; slots wait for it, within their grace of {format_duration(timelapse.grace)}"
    log_event(Action.DATASETS_OUT_OF_REACH, words, timelapse=timelapse)


def rig_trouble(call: str, problem: BaseException) -> None:
    """Tell that a call other than a scan failed."""
    log_event(Action.RIG_TROUBLE, f"{call}: {problem or type(problem).__name__}", error=_unexpected(problem))


def _unexpected(problem: BaseException | None) -> BaseException | None:
    """Return what deserves its traceback in the journal: a fault of the driver, not of the rig."""
    return None if problem is None or isinstance(problem, DriverError) else problem
