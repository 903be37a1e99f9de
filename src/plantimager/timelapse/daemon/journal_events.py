"""The journal's sentences for the events of a timelapse; no other module words one, except for an amendment's.

A line is written when its transition is on disk, and when the daemon has acted on it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from plantimager.timelapse.daemon.journal import Action, log_event
from plantimager.timelapse.domain import events
from plantimager.timelapse.domain.durations import format_duration
from plantimager.timelapse.domain.pausing import describe_pause, pause_at
from plantimager.timelapse.domain.states import Reason, TimeLapseState
from plantimager.timelapse.domain.wording import (
    describe_end_of_pause,
    describe_next_slot,
    describe_slot,
    describe_slots,
    describe_timelapse,
    format_local_time,
    ordinal,
)
from plantimager.timelapse.settings.acceptance import describe_start
from plantimager.timelapse.support.text import format_count

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from plantimager.timelapse.daemon.active_config import ActiveConfig
    from plantimager.timelapse.daemon.rig import Rig
    from plantimager.timelapse.daemon.transition import Transition
    from plantimager.timelapse.domain.records import SlotRecord
    from plantimager.timelapse.domain.timelapse import TimeLapse

MAX_SLOTS_NAMED: Final = 500
"""SLOT fields of one entry; journald takes a thousand fields."""

READY_AFTER: Final = timedelta(seconds=10)
"""How long after its beginning an attempt counts as one that the driver was ready for; most drivers know at once."""

SILENT: Final = (events.AttemptRedated, events.DraftFound, events.TimelapseAmended)
"""Events without a line here: the clock that was set has had its own, and so has an attempt that stays failed; that of
an amendment is written by `AmendIntake`, which knows its file and its notes."""


class EventJournal:
    """Writes the lines of every transition; subscribed to the store keeper. Loop thread.

    While a slot waits for its rig, it has one line. A further attempt that the driver isn't ready for either has none.
    """

    def __init__(self, active: ActiveConfig, rig: Rig) -> None:
        self._active, self._rig = active, rig
        self._unsaid: tuple[events.AttemptStarted, Transition] | None = None
        """The beginning of an attempt during such a wait, which has no line yet."""
        self._has_begun = False
        """Whether the last line about the slot says that an attempt began."""

    def on_transition(self, transition: Transition) -> None:
        """Write the lines of a transition, in the order of its events."""
        if transition.circumstances.cut_off_by:
            _log_resumed(transition)
        if transition.after.state is not TimeLapseState.RUNNING:
            self._unsaid = None
        for event in transition.events:
            if isinstance(event, events.AttemptStarted):
                self._take_start(event, transition)
            elif isinstance(event, events.RigNotReady):
                self._log_not_ready(event, transition)
            elif isinstance(event, events.TimelapseCompleted):
                self._log_completed(transition)
            elif not isinstance(event, SILENT):
                _LINES[type(event)](event, transition)

    def watch(self) -> float | None:
        """Log the beginning of an attempt that goes on; return in how many seconds to call this again."""
        if self._unsaid is None:
            return None
        age = self._rig.monitor.age if self._rig.monitor is not None else timedelta(0)
        if age < READY_AFTER:
            return (READY_AFTER - age).total_seconds()
        self._log_started(*self._unsaid)
        return None

    def _take_start(self, event: events.AttemptStarted, transition: Transition) -> None:
        if transition.circumstances.is_repeated:
            self._unsaid = event, transition
        else:
            self._log_started(event, transition)

    def _log_started(self, event: events.AttemptStarted, transition: Transition) -> None:
        running, record, slot = transition.after, event.record, event.record.slot
        late = running.lateness(slot, transition.at)
        words = f"{record.scan_id}, {describe_slot(running, slot)}"
        words += f", {ordinal(record.attempt)} attempt" if record.attempt > 1 else ""
        words += f", {format_duration(late)} late" if late >= timedelta(seconds=1) else ""
        log_event(Action.SCAN_STARTED, words, timelapse=running, slot=slot)
        self._unsaid, self._has_begun = None, True

    def _log_not_ready(self, event: events.RigNotReady, transition: Transition) -> None:
        """Log that a slot waits for its rig, unless the last line about it says that, and why."""
        before, record, circumstances = transition.before, event.record, transition.circumstances
        known = before.records.get(record.slot) if before is not None else None
        is_news = known is not None and known.reason is Reason.RIG_NOT_READY and known.error != record.error
        if circumstances.is_repeated and not is_news and not self._has_begun:
            return
        words = _words_of(circumstances.problem, record)
        log_rig_wait(transition.after, record.slot, words, transition.at, run_latest=self._active.run_latest)
        self._has_begun = False

    def _log_completed(self, transition: Transition) -> None:
        after = transition.after
        words = f"{describe_end(after)}; datasets in {self._active.datasets}"
        log_event(Action.TIMELAPSE_COMPLETED, words, timelapse=after)


def log_rig_wait(timelapse: TimeLapse, slot: int, why: str, now: datetime, *, run_latest: bool) -> None:
    """Log that a slot waits for its rig, and until when that is asked again."""
    until = timelapse.open_until(slot, run_latest=run_latest)
    end = "it is ready" if until is None else "the next slot is due"
    if until == timelapse.latest_start(slot):
        end = format_local_time(until, now)
    words = f"{describe_slot(timelapse, slot)}: {why}; it is asked again until {end}"
    log_event(Action.RIG_NOT_READY, words, timelapse=timelapse, slot=slot)


# --- a timelapse ----------------------------------------------------------------------------------------


def _log_accepted(_: events.DefinitionAccepted, transition: Transition) -> None:
    origin, note = transition.circumstances.origin, transition.circumstances.note
    words = describe_start(transition.after, origin, transition.at)
    log_event(Action.DEFINITION_ACCEPTED, f"{words}{f'; {note}' if note else ''}", timelapse=transition.after)


def _log_resumed(transition: Transition) -> None:
    """Log what a start found in the store; what became of the running slot is an event."""
    before, words = transition.before, ""
    if before is None:
        return
    if before.state is TimeLapseState.RUNNING:
        since = before.records[before.next_idx].started_at
        known = since is not None and since <= transition.at  # the clock may have been set back
        ago = f", begun {format_duration(transition.at - since)} ago" if since is not None and known else ""
        words = f"; was scanning slot {before.next_idx} when {transition.circumstances.cut_off_by}{ago}"
    pause = pause_at(transition.after, transition.at)
    paused = "" if pause is None else f"; {describe_pause(pause)} {describe_end_of_pause(pause.until, transition.at)}"
    log_event(Action.RESUMED, f"{describe_timelapse(before)}{words}{paused}", timelapse=transition.after)


def _log_paused(event: events.TimelapsePaused, transition: Transition) -> None:
    pause, now = event.pause, transition.at
    words = (
        f"{transition.after.id}: {describe_pause(pause)} {describe_end_of_pause(pause.until, now)}; slots that fall due"
    )
    words += " meanwhile are skipped"
    log_event(Action.PAUSED, words, timelapse=transition.after)


def _log_pause_ended(_: events.PauseEnded, transition: Transition) -> None:
    after, who = transition.after, transition.circumstances.origin
    words = f"by {who}" if who else "its time is over"
    log_event(Action.PAUSE_ENDED, f"{after.id}: {words}; {describe_next_slot(after, transition.at)}", timelapse=after)


ACTION_OF_END: Final = {
    TimeLapseState.COMPLETED: Action.TIMELAPSE_COMPLETED,
    TimeLapseState.FAILED: Action.TIMELAPSE_FAILED,
    TimeLapseState.CANCELLED: Action.TIMELAPSE_CANCELLED,
}


def describe_end(timelapse: TimeLapse) -> str:
    """Return how a timelapse ended, and what became of its slots."""
    ending = timelapse.ending
    if ending is None:
        return f"{timelapse.id}: {timelapse.tally}"
    why = f" by {ending.who}" if timelapse.state is TimeLapseState.CANCELLED else ""
    return f"{timelapse.id}{why}: {ending.why}; {timelapse.tally}"


def _log_ended(_: events.TimelapseEnded, transition: Transition) -> None:
    after = transition.after
    log_event(ACTION_OF_END[after.state], describe_end(after), timelapse=after)


# --- an attempt -----------------------------------------------------------------------------------------


def _log_attempt_failed(event: events.AttemptFailed, transition: Transition) -> None:
    after, record, problem = transition.after, event.record, transition.circumstances.problem
    words = f"{record.scan_id}: {_words_of(problem, record)}; {ordinal(record.attempt)} attempt starts now"
    attempt = event.attempt  # the record has that of the next
    log_event(Action.ATTEMPT_FAILED, words, timelapse=after, slot=record.slot, error=problem, attempt=attempt)


def _log_interrupted(event: events.AttemptInterrupted, transition: Transition) -> None:
    """Log that an attempt was cut off, and whether another follows; that of a cancelled timelapse needs no line."""
    after, now, record, slot = transition.after, transition.at, event.record, event.record.slot
    if record.reason is Reason.CANCELLED:
        return
    over_at = after.latest_start(slot)
    grace = format_duration(over_at - after.schedule_times[slot])
    words = f"slot {slot} ({format_local_time(after.schedule_times[slot], now)}): {record.error_text}"
    if after.next_idx == slot and now <= over_at:
        words += f"; it can be attempted again until {format_local_time(over_at, now)}, within its grace of {grace}"
    else:
        words += f"; {format_duration(after.lateness(slot, now))} after its time, its grace of {grace} is over"
    log_event(Action.SLOT_INTERRUPTED, words, timelapse=after, slot=slot)


def _log_given_up(event: events.SlotInterrupted, transition: Transition) -> None:
    """Log that a slot whose attempt was cut off before is closed; that of a timelapse which has ended needs no line."""
    after, slot = transition.after, event.record.slot
    cut_off = (other for other in transition.events if isinstance(other, events.AttemptInterrupted))
    is_told = any(other.record.slot == slot for other in cut_off)
    if is_told or after.ending is not None:
        return
    words = f"slot {slot} ({format_local_time(after.schedule_times[slot], transition.at)}) was not attempted again"
    words += f" within its grace of {format_duration(after.grace)}; it stays interrupted"
    log_event(Action.SLOT_INTERRUPTED, words, timelapse=after, slot=slot)


# --- the end of a slot ----------------------------------------------------------------------------------


def _log_taken(event: events.SlotTaken, transition: Transition) -> None:
    after, record = transition.after, event.record
    note = f" ({transition.circumstances.note})" if transition.circumstances.note else ""
    if transition.circumstances.cut_off_by or transition.circumstances.is_found:
        words = f"{record.scan_id}: {describe_slot(after, record.slot)} had been finished; recorded as taken{note}"
        log_event(Action.SCAN_RECOVERED, words, timelapse=after, slot=record.slot)
        return
    took = f" in {format_duration(record.took)}" if record.took is not None else ""
    pictures = f", {format_count(record.pictures, 'picture')}" if record.pictures is not None else ""
    words = f"{record.scan_id}{took}{pictures}{note}"
    words += f"; {describe_next_slot(after, transition.at)}"
    log_event(Action.SCAN_SUCCEEDED, words, timelapse=after, slot=record.slot)


def _log_failed(event: events.SlotFailed, transition: Transition) -> None:
    after, record = transition.after, event.record
    words = f"{record.scan_id}: {record.error_text}; {describe_next_slot(after, transition.at)}"
    log_event(Action.SCAN_FAILED, words, timelapse=after, slot=record.slot, error=transition.circumstances.problem)


def _log_skipped(event: events.SlotsSkipped, transition: Transition) -> None:
    """Log which slots were skipped for one cause; where that ended the timelapse, its line is enough."""
    after, slots, now = transition.after, event.slots, transition.at
    if event.reason is not None and event.reason.ends_timelapse:
        return
    # At a start: how late it was when the daemon was there again; else: by now.
    late = event.late if transition.circumstances.cut_off_by else None
    words = describe_skipped(event, after, now, late or after.lateness(slots[0], now))
    log_event(action_of_skipped(event), words, timelapse=after, slot=slots[:MAX_SLOTS_NAMED])


def action_of_skipped(event: events.SlotsSkipped) -> Action:
    """Return the action of slots that were skipped: there is nothing to do about those of a pause."""
    return Action.SLOT_PAUSED if event.reason is Reason.PAUSED else Action.SLOT_SKIPPED


def describe_skipped(event: events.SlotsSkipped, after: TimeLapse, now: datetime, late: timedelta | None) -> str:
    """Return which slots were skipped, and why; ``late`` is how late a single one was."""
    slots = describe_slots(after, event.slots, now)
    why = f": {event.cause}" if event.cause else ""
    if event.reason is Reason.PAUSED:
        return f"{slots}{why}"
    if event.cause and event.reason is Reason.MISSED:
        why = f" while {event.cause}"
    were = "was" if len(event.slots) == 1 else "were"
    if event.reason is Reason.RIG_NOT_READY and event.late is None:
        return f"{slots} {were} missed{why}; its grace was not over when it was paused"
    lateness = f"{format_duration(late)} late, " if late is not None and len(event.slots) == 1 else ""
    return f"{slots} {were} missed{why} ({lateness}grace {format_duration(after.grace)})"


def _log_reopened(event: events.SlotsReopened, transition: Transition) -> None:
    after, slots = transition.after, event.slots
    had_failed = transition.before is not None and transition.before.state is TimeLapseState.FAILED
    cause = "skipped for a failure that was none" if had_failed else "closed under a wrong clock"
    words = f"{describe_slots(after, slots, transition.at)}, {cause}, can still be taken"
    log_event(Action.SLOTS_GIVEN_BACK, words, timelapse=after, slot=slots[:MAX_SLOTS_NAMED])


def _words_of(problem: BaseException | None, record: SlotRecord) -> str:
    """Return what the driver said, which may be longer than the record of it."""
    return str(problem) if problem is not None else record.error_text


_LINES: Final[Mapping[type[events.Event], Callable[[Any, Transition], None]]] = {
    events.DefinitionAccepted: _log_accepted,
    events.AttemptFailed: _log_attempt_failed,
    events.AttemptInterrupted: _log_interrupted,
    events.SlotTaken: _log_taken,
    events.SlotFailed: _log_failed,
    events.SlotInterrupted: _log_given_up,
    events.SlotsSkipped: _log_skipped,
    events.SlotsReopened: _log_reopened,
    events.TimelapsePaused: _log_paused,
    events.PauseEnded: _log_pause_ended,
    events.TimelapseFailed: _log_ended,
    events.TimelapseCancelled: _log_ended,
}
"""What words an event: all but `SILENT`, and those that `EventJournal` words itself."""
