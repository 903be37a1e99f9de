"""The events between two values of a timelapse: every change yields some, and they account for every closed slot."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

import pytest
from event_fold import EventFold
from example_timelapse import CALLS, EVERY, FAILURE, IN_STATE, LOOKS, at, taken, timelapse
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from plantimager.timelapse.domain.events import (
    SETTINGS,
    AttemptFailed,
    AttemptInterrupted,
    AttemptRedated,
    AttemptStarted,
    DefinitionAccepted,
    DraftFound,
    RigNotReady,
    SlotFailed,
    SlotInterrupted,
    SlotsReopened,
    SlotsSkipped,
    SlotTaken,
    TimelapseAmended,
    TimelapseCancelled,
    TimelapseCompleted,
    TimelapseFailed,
    events_between,
)
from plantimager.timelapse.domain.pausing import begin_pause
from plantimager.timelapse.domain.records import SlotRecord
from plantimager.timelapse.domain.states import TRANSITIONS, OnScanFailed, Reason, RecordStatus, TimeLapseState, Trigger
from plantimager.timelapse.support.errors import ScannerNotReady, TimelapsedError

S = TimeLapseState
ABSENT = ScannerNotReady("no such port")


def skipped(timelapse_value, late, reason=Reason.MISSED, why=""):
    return timelapse_value.skip_late_slots(late, reason, why)


REOPENABLE = {S.SCHEDULED: skipped(timelapse(), at(2)), S.COMPLETED: skipped(timelapse(), at(9))}
"""Slots that only the clock has closed."""


def test_slot_that_was_skipped_while_its_disk_was_away_can_be_whole_after_all():
    """The fold follows it: whether an attempt is still to be asked about is no matter of what its slot counted as."""
    waiting = timelapse(scan_retries=1).begin(at(0), "b").rig_not_ready(ABSENT, is_unsettled=True)
    late = skipped(waiting, at(0, 300))
    values = [waiting, late, late.succeed_after_all(0, at(0, 400), 3, at(0, 30))]
    fold = EventFold()
    for value in values:
        fold.follow(value)
    assert (late.records[0].status, fold.endings) == (RecordStatus.SKIPPED, {0: RecordStatus.SUCCEEDED})


# --- one transition -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("state", "trigger"), TRANSITIONS)
def test_every_transition_of_the_table_yields_events(state, trigger):
    """Nothing that happens to a timelapse goes unheard."""
    before = REOPENABLE[state] if trigger is Trigger.SLOTS_REOPENED else IN_STATE[state]
    if trigger is Trigger.PAUSE_ENDED:
        before = begin_pause(before, at(0), "ada", None)
    after = {**CALLS, **LOOKS}[trigger](before)
    assert after != before
    assert events_between(before, after)


@pytest.mark.parametrize("state", S)
def test_equal_values_have_no_events(state):
    """They may be one object or two."""
    value = IN_STATE[state]
    assert events_between(value, value) == ()
    assert events_between(value, replace(value, records=dict(value.records))) == ()


@pytest.mark.parametrize("state", [S.CANCELLED, S.FAILED])
def test_timelapse_with_the_name_of_one_that_gave_it_back_begins(state):
    """It goes on with nothing of the first."""
    before = replace(IN_STATE[state], records={0: skipped(timelapse(), at(9)).records[0]})
    assert before.id == timelapse().id
    assert events_between(before, timelapse()) == (DefinitionAccepted(),)


def test_definition_that_is_accepted_begins_a_timelapse():
    """It begins where there was none, one of another name, or a draft."""
    value = timelapse()
    for before in (None, replace(IN_STATE[S.CANCELLED], id="other"), IN_STATE[S.CONFIGURED]):
        assert events_between(before, value) == (DefinitionAccepted(),)


def test_draft_is_nothing_that_begins():
    """Nobody armed it, so nothing has happened."""
    assert events_between(None, IN_STATE[S.CONFIGURED]) == (DraftFound(),)


def test_due_slot_starts():
    """The event has its record as it is now."""
    running = timelapse().begin(at(0), "b")
    assert events_between(timelapse(), running) == (AttemptStarted(running.current),)


def test_slot_that_succeeds_is_taken():
    """The last one also completes the timelapse."""
    running = timelapse(1).begin(at(0), "b")
    done = running.succeed(at(0, 9), 72)
    assert events_between(running, done) == (SlotTaken(done.records[0]), TimelapseCompleted())


def test_failed_attempt_with_a_retry_is_followed_by_the_next():
    """The event names the attempt that failed."""
    first = timelapse(scan_retries=1).begin(at(0), "b")
    second = first.fail_attempt(at(0, 9), FAILURE)
    assert events_between(first, second) == (AttemptFailed(second.current, 1), AttemptStarted(second.current))


def test_slot_whose_attempts_all_fail_is_failed():
    """Under skip_scan the schedule goes on."""
    running = timelapse().begin(at(0), "b")
    after = running.fail_attempt(at(0, 9), FAILURE)
    assert events_between(running, after) == (SlotFailed(after.records[0]),)


def test_failed_slot_that_ends_the_timelapse_skips_the_rest():
    """One event has all of them, for one cause."""
    running = timelapse(3, on_scan_failed=OnScanFailed.FAIL_TIMELAPSE).begin(at(0), "b")
    after = running.fail_attempt(at(0, 9), FAILURE)
    failed, rest, over = events_between(running, after)
    assert failed == SlotFailed(after.records[0])
    assert (rest.slots, rest.reason, rest.late) == ((1, 2), Reason.TIMELAPSE_FAILED, None)
    assert rest.reason.ends_timelapse
    assert over == TimelapseFailed()


def test_rig_that_is_not_ready_is_an_event_each_time():
    """In the end the slot is skipped for it."""
    running = timelapse().begin(at(0), "b")
    waiting = running.rig_not_ready(ABSENT)
    assert events_between(running, waiting) == (RigNotReady(waiting.current),)
    over = skipped(waiting, at(0, 300))
    assert events_between(waiting, over) == (
        SlotsSkipped((0,), Reason.RIG_NOT_READY, "no such port", timedelta(seconds=300)),
    )


def test_attempt_that_is_cut_off_leaves_its_slot_open():
    """The slot is closed when its grace period is over, by another event."""
    running = timelapse().begin(at(0), "b")
    cut = running.interrupt(at(0, 9), "the service was stopped")
    assert events_between(running, cut) == (AttemptInterrupted(cut.current),)
    late = skipped(cut, at(0, 300))
    assert events_between(cut, late) == (SlotInterrupted(late.records[0]),)
    assert events_between(running, late) == (AttemptInterrupted(late.records[0]), SlotInterrupted(late.records[0]))


def test_cancelling_ends_the_running_slot_and_the_rest():
    """The slot was begun and not finished; the others were not begun."""
    running = timelapse(3).begin(at(0), "b")
    after = running.cancel(at(0, 9), "ada", "why")
    cut, closed, rest, over = events_between(running, after)
    assert (cut, closed) == (AttemptInterrupted(after.records[0]), SlotInterrupted(after.records[0]))
    assert (rest.slots, rest.reason) == ((1, 2), Reason.CANCELLED)
    assert over == TimelapseCancelled()


def test_attempt_is_redated_when_the_clock_is_set():
    """Nothing else happened."""
    running = timelapse().begin(at(0), "b")
    after = running.redate(EVERY)
    assert events_between(running, after) == (AttemptRedated(after.current),)


# --- slots that share a cause -------------------------------------------------------------------------------


def test_slots_that_were_merely_late_are_one_event():
    """Though each record says how late its own slot was."""
    after = skipped(timelapse(), at(2, 300))
    assert events_between(timelapse(), after) == (SlotsSkipped((0, 1, 2), Reason.MISSED, "", timedelta(minutes=65)),)


def test_slots_with_different_causes_are_different_events():
    """The events are in the order of their first slots."""
    first = skipped(timelapse(), at(1, 200), why="the rig was off")
    after = skipped(skipped(first, at(2, 200)), at(3, 200), Reason.CLOCK_MOVED, "the clock was set forward by 3 h")
    assert [(event.slots, event.reason, event.cause) for event in events_between(timelapse(), after)[:-1]] == [
        ((0, 1), Reason.MISSED, "the rig was off"),
        ((2,), Reason.MISSED, ""),
        ((3,), Reason.CLOCK_MOVED, "the clock was set forward by 3 h"),
    ]


def test_slots_that_were_closed_and_are_open_again_are_reopened():
    """A slot that was taken meanwhile stays closed."""
    wrong = taken(skipped(timelapse(), at(2, 1)))
    back = wrong.reopen_slots(at(1))
    assert events_between(wrong, back) == (SlotsReopened((1,)),)


def test_slot_taken_and_slots_reopened_by_one_save_are_told_in_this_order():
    """The clock was set back during the scan."""
    running = skipped(timelapse(), at(2, 1)).begin(at(2), "b")
    after = running.succeed(at(1)).reopen_slots(at(1))
    assert events_between(running, after) == (SlotTaken(after.records[2]), SlotsReopened((1,)))


# --- other programs' changes --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("grace", EVERY),
        ("schedule_times", (at(0), at(1))),
        ("scan_retries", 3),
        ("on_scan_failed", OnScanFailed.FAIL_TIMELAPSE),
    ],
)
def test_changed_settings_are_an_amendment(name, value):
    """It names what was changed."""
    assert name in SETTINGS
    assert events_between(timelapse(), timelapse(**{name: value})) == (TimelapseAmended((name,)),)


def test_change_that_no_transition_makes_is_an_amendment():
    """Another program may have written the store."""
    before = skipped(timelapse().begin(at(0), "b").interrupt(None, "x"), at(0, 300))
    after = replace(before, records={0: replace(before.records[0], unknown_keys={"note": 1})})
    assert events_between(before, after) == (TimelapseAmended(("records",)),)


def test_error_of_another_controller_gives_no_lateness():
    """Any JSON may stand in it."""
    for error in ({"type": "x", "late_sec": 1e300}, {"late_sec": "9"}, {"late_sec": float("nan")}, "x", None):
        record = SlotRecord(0, "tl_0", RecordStatus.SKIPPED, error=error)
        after = timelapse(next_idx=1, records={0: record})
        (event,) = events_between(timelapse(), after)
        assert (event.slots, event.late) == ((0,), None)


# --- what always holds --------------------------------------------------------------------------------------


STEPS = (
    lambda value, now: value.begin(now, "b"),
    lambda value, now: value.succeed(now, 1),
    lambda value, now: value.fail_attempt(now, FAILURE),
    lambda value, _: value.rig_not_ready(ABSENT),
    lambda value, now: value.interrupt(now, "stopped"),
    skipped,
    lambda value, now: skipped(value, now, Reason.CLOCK_MOVED, "the clock was set"),
    lambda value, now: value.reopen_slots(now),
    lambda value, _: value.redate(EVERY),
    lambda value, now: value.cancel(now, "ada", "why"),
)


@st.composite
def walks(draw):
    """Return the values of a timelapse to which the table's transitions happen in any order, at any time."""
    value = timelapse(
        draw(st.integers(1, 5)),
        scan_retries=draw(st.integers(0, 2)),
        on_scan_failed=draw(st.sampled_from(OnScanFailed)),
    )
    values = [value]
    for step, late in draw(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(-4000, 12_000)), max_size=30)):
        if step is STEPS[-1] and late < 11_000:  # seldom, or no walk would be long
            continue
        with suppress(TimelapsedError):  # a step that the state refuses, or that no slot is left for
            value = step(value, at(0, late))
            values.append(value)
    return values


@given(walks())
@settings(max_examples=300, deadline=None)
def test_events_of_any_history_give_every_closed_slot_exactly_one_ending(values):
    """An open slot has none; no change is without an event, and no event without a change."""
    fold = EventFold()
    for value in values:
        fold.follow(value)


@given(walks(), st.data())
@settings(max_examples=300, deadline=None)
def test_events_between_values_that_are_far_apart_give_the_same_endings(values, data):
    """A relay that was down for weeks sees the first value and the last."""
    fold = EventFold(step_by_step=False)
    for index in sorted(data.draw(st.sets(st.integers(0, len(values) - 1), max_size=4)) | {len(values) - 1}):
        fold.follow(values[index])


def test_slot_that_was_skipped_and_is_cut_off_by_the_next_look_has_an_end():
    """The clock was set back, the slot begun, and the timelapse cancelled meanwhile."""
    begun = timelapse(1)
    skipped = begun.skip_late_slots(at(3), Reason.MISSED, "")
    cancelled = skipped.reopen_slots(at(0)).begin(at(0), "b").cancel(at(3), "ada", "why")
    fold = EventFold(step_by_step=False)
    fold.follow(skipped)
    fold.follow(cancelled)
    assert fold.endings == {0: RecordStatus.INTERRUPTED}


def test_triggers_of_the_walks_are_all_there_are():
    """A trigger that is added to the table is added to the walks."""
    assert {trigger for _, trigger in TRANSITIONS} == {*Trigger} == {*CALLS, *LOOKS}
