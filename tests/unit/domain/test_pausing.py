"""The pause: which slots it costs, when it ends, and what happened by the events."""

from __future__ import annotations

from datetime import timedelta

import pytest
from example_timelapse import EVERY, IN_STATE, at, taken, timelapse
from msgspec.structs import replace

from plantimager.timelapse.domain.events import PauseEnded, SlotsSkipped, TimelapsePaused, events_between
from plantimager.timelapse.domain.pausing import begin_pause, end_pause, keep_pause, next_to_take, pause_at
from plantimager.timelapse.domain.power import should_stand_by, warmup_at
from plantimager.timelapse.domain.records import Pause
from plantimager.timelapse.domain.states import Reason, RecordStatus, TimeLapseState
from plantimager.timelapse.domain.wording import describe_next_slot, format_status_line
from plantimager.timelapse.support.errors import IllegalTransition, ScannerNotReady

S = TimeLapseState


def reasons(value):
    return {slot: record.reason for slot, record in value.records.items() if record.status is RecordStatus.SKIPPED}


def test_slots_that_fall_due_in_a_pause_are_skipped_at_their_time_and_no_others():
    """The one at its beginning is in it, the one at its end is not: that can be taken."""
    paused = begin_pause(timelapse(5), at(1), "anna", at(3))
    one = keep_pause(paused, at(1))
    assert (reasons(one), one.next_idx, one.pause) == ({0: Reason.PAUSED, 1: Reason.PAUSED}, 2, paused.pause)
    assert one.records[1].error == {"type": "paused", "msg": "paused by anna"}
    assert keep_pause(one, at(1, 5)) is one, "once each"
    over = keep_pause(one, at(3))
    assert (sorted(reasons(over)), over.next_idx, over.pause) == ([0, 1, 2], 3, None)


def test_pause_that_is_over_when_the_machine_is_back_costs_only_its_own_slots():
    """Those after it were missed for another reason."""
    paused = begin_pause(taken(timelapse(6)), at(0, 600), "anna", at(2, 1))
    back = keep_pause(paused, at(4, 1))
    assert (sorted(reasons(back)), back.next_idx, back.pause) == ([1, 2], 3, None)
    assert back.skip_late_slots(at(4, 1), Reason.MISSED, "").records[3].reason is Reason.MISSED


def test_slot_before_the_pause_stays_open_until_one_in_it_is_due():
    """A rig that wasn't ready can be ready when the pause is over, within the grace period."""
    waiting = timelapse(3).rig_not_ready(ScannerNotReady("asleep"))
    paused = begin_pause(waiting, at(0, 10), "anna", None)
    assert keep_pause(paused, at(0, 60)) is paused
    assert end_pause(paused, at(0, 60), "ben").next_idx == 0
    both = keep_pause(paused, at(1))
    assert reasons(both) == {0: Reason.RIG_NOT_READY, 1: Reason.PAUSED}
    assert both.reopen_slots(at(1, 1)) is both  # a clock that was set, within the grace period: the pause has closed it


def test_pause_of_a_running_attempt_waits_for_its_end():
    """A scan under way is finished, not cut."""
    paused = begin_pause(IN_STATE[S.RUNNING], at(0, 5), "anna", None)
    assert paused.state is S.RUNNING
    assert keep_pause(paused, at(2)) is paused
    assert next_to_take(paused) == 0
    done = keep_pause(paused.succeed(at(2), 72), at(2))
    assert (done.records[0].status, reasons(done)) == (RecordStatus.SUCCEEDED, dict.fromkeys([1, 2], Reason.PAUSED))


def test_pause_that_a_person_ends_during_a_scan_costs_the_slots_that_fell_due_in_it():
    """It is over at once, and after the scan its slots are skipped, as if it had been ended after it."""
    paused = begin_pause(timelapse(6).begin(at(0), "b"), at(0, 5), "anna", None)
    resumed = end_pause(paused, at(2, 60), "ben")
    assert (resumed.state, pause_at(resumed, at(0, 9)), next_to_take(resumed)) == (S.RUNNING, None, 0)
    assert events_between(paused, resumed) == (PauseEnded(),)
    taken_later = resumed.succeed(at(3, 60), 72)
    done = keep_pause(taken_later, at(3, 60))
    assert (reasons(done), done.next_idx) == (dict.fromkeys([1, 2], Reason.PAUSED), 3)
    assert (done.pause, done.last_pause) == (None, Pause(at(0, 5), "anna", at(2, 60), "ben", is_over=True))
    assert events_between(taken_later, done) == (SlotsSkipped((1, 2), Reason.PAUSED, "paused by anna", None),)
    assert end_pause(paused.succeed(at(2), 72), at(2, 60), "ben").next_idx == 3


def test_pause_that_a_clock_ended_which_was_ahead_goes_on():
    """The wall clock rules, and shows now that its end is still to come; one that a person ended stays ended."""
    paused = begin_pause(timelapse(6), at(0, -9), "anna", at(4))
    ahead = keep_pause(paused, at(5, -9))
    assert (ahead.pause, ahead.last_pause, ahead.next_idx) == (None, replace(paused.pause, is_over=True), 4)
    behind = keep_pause(ahead.reopen_slots(at(0, -5)), at(0, -5))
    assert (behind, pause_at(behind, at(0))) == (paused, paused.pause)
    assert TimelapsePaused(paused.pause) in events_between(ahead, behind)
    ended = end_pause(paused, at(0, -8), "ben")
    assert keep_pause(ended, at(0, -9)) is ended


def test_last_slots_in_a_pause_complete_the_timelapse():
    """Nothing is left to go on with; a clock that was set back opens them again, and the pause is still there."""
    paused = begin_pause(timelapse(2), at(0, -9), "anna", None)
    over = keep_pause(paused, at(1))
    assert (over.state, pause_at(over, at(1))) == (S.COMPLETED, None)
    again = over.reopen_slots(at(0, 1))
    assert (again.state, again.next_idx, pause_at(again, at(1))) == (S.SCHEDULED, 1, paused.pause)


def test_slot_of_a_pause_is_not_opened_again_within_its_grace_period():
    """It was skipped by a person, not by the clock."""
    over = end_pause(keep_pause(begin_pause(timelapse(3), at(0, -9), "anna", None), at(1)), at(1), "ben")
    assert over.reopen_slots(at(1, 60)) is over


def test_second_pause_changes_the_end_of_the_first():
    """It began when the first one did."""
    first = begin_pause(timelapse(), at(0, 1), "anna", at(1))
    second = begin_pause(first, at(0, 9), "ben", None)
    assert second.pause == Pause(at(0, 1), "ben", None)
    assert begin_pause(first, at(1, 9), "ben", None).pause == Pause(at(1, 9), "ben", None), "that one was over"


@pytest.mark.parametrize("state", [S.COMPLETED, S.FAILED, S.CANCELLED, S.CONFIGURED])
def test_nothing_but_a_schedule_that_is_kept_can_be_paused(state):
    """The table says so."""
    with pytest.raises(IllegalTransition):
        begin_pause(IN_STATE[state], at(0), "anna", None)
    with pytest.raises(IllegalTransition):
        end_pause(IN_STATE[state], at(0), "ben")


def test_pause_and_its_end_are_events():
    """Slots that were skipped meanwhile are one, too, with the pause as their reason."""
    before = timelapse()
    paused = begin_pause(before, at(0, 1), "anna", at(2))
    assert events_between(before, paused) == (TimelapsePaused(paused.pause),)
    over = keep_pause(paused, at(2))
    skipped = SlotsSkipped((0, 1), Reason.PAUSED, "paused by anna", None)
    assert events_between(paused, over) == (skipped, PauseEnded())
    assert events_between(before, over) == (skipped,)


def test_rig_is_powered_down_in_a_pause_and_prepared_after_it():
    """A person may be at work in it."""
    paused = begin_pause(timelapse(warmup=timedelta(seconds=30)), at(0, -9), "anna", at(1, -10))
    assert should_stand_by(paused, at(0, -9))
    assert not should_stand_by(paused, at(1, -10))
    assert (next_to_take(paused), warmup_at(paused)) == (1, at(1, -10))
    assert warmup_at(begin_pause(timelapse(), at(0), "anna", at(0) + EVERY / 2)) == at(1, -30)
    assert warmup_at(begin_pause(timelapse(), at(0), "anna", None)) is None


def test_pause_is_in_the_status_line_and_in_place_of_the_next_slot():
    """Nobody waits in vain for a slot."""
    paused = begin_pause(taken(timelapse()), at(0, 600), "anna", None)
    assert (
        format_status_line(paused, at(1), progress=None, fresh=True) == "tl: paused until timelapsectl resume; 1 taken"
    )
    assert describe_next_slot(paused, at(1)) == "paused by anna until timelapsectl resume"
