"""The state machine: every transition and its records, and the invariants."""

from __future__ import annotations

from datetime import timedelta

import pytest
from example_timelapse import CALLS, FAILURE, IN_STATE, LOOKS, at, taken, timelapse
from msgspec.structs import replace

from plantimager.timelapse.domain.records import MAX_REPEATED_TEXT_BYTES, MAX_TEXT_BYTES, SlotRecord
from plantimager.timelapse.domain.states import TRANSITIONS, OnScanFailed, Reason, RecordStatus, TimeLapseState
from plantimager.timelapse.domain.timelapse import MINIMUM_GRACE
from plantimager.timelapse.support.errors import IllegalTransition, ScanFailed, ScannerNotReady, TimelapsedError

S, R = TimeLapseState, RecordStatus


def statuses(timelapse):
    return [timelapse.records[slot].status if slot in timelapse.records else None for slot in range(timelapse.n_slots)]


# --- single transitions -------------------------------------------------------------------------


def test_due_slot_is_on_record_as_running_before_anything_happens():
    """A start after a power cut finds attempt, boot and time in the store."""
    running = timelapse().begin(at(0, 1), "boot-1")
    assert running.state is S.RUNNING
    assert running.current == SlotRecord(
        slot=0, scan_id="tl_0", status=R.RUNNING, attempt=1, started_at=at(0, 1), boot_id="boot-1"
    )
    assert running.current_idx == 0


def test_success_makes_the_next_slot_next():
    """The record is final, and nothing of the attempt's machinery is left in it."""
    after = timelapse().begin(at(0), "b").succeed(at(0, 388), 72)
    assert (after.state, after.next_idx, after.next_at) == (S.SCHEDULED, 1, at(1))
    assert after.records[0] == SlotRecord(
        slot=0, scan_id="tl_0", status=R.SUCCEEDED, attempt=1, started_at=at(0), finished_at=at(0, 388), pictures=72
    )
    assert after.records[0].took == timedelta(seconds=388)


def test_success_of_the_last_slot_completes_the_timelapse():
    """Finishing the scan and ending the timelapse are one value, so that they are one save."""
    after = taken(timelapse(1))
    assert (after.state, after.next_idx, after.next_at) == (S.COMPLETED, 1, None)


def test_single_slot_is_scanned_under_the_bare_id():
    """The dataset of a one-shot is named like the timelapse."""
    assert timelapse(1).begin(at(0), "b").current.scan_id == "tl"
    assert timelapse(2).begin(at(0), "b").current.scan_id == "tl_0"


def test_failed_attempt_is_followed_by_the_next_at_once_while_retries_are_left():
    """The error of the last attempt stays on record while the next one runs, and after it succeeded."""
    first = timelapse(scan_retries=1).begin(at(0), "b")
    second = first.fail_attempt(at(0, 60), FAILURE)
    assert second.state is S.RUNNING
    assert (second.current.attempt, second.current.started_at) == (2, at(0, 60))
    assert second.current.error == {"type": "ScanFailed", "msg": "camera time-out"}
    done = second.succeed(at(0, 400))
    assert done.records[0].error is None
    assert done.records[0].last_error == "camera time-out"


def test_exhausted_slot_is_failed_and_the_next_one_awaited():
    """A slot has one attempt and ``scan_retries`` more; then `skip_scan` goes on with the next."""
    running = timelapse(scan_retries=2).begin(at(0), "b")
    for _ in range(2):
        running = running.fail_attempt(at(0, 10), FAILURE)
        assert running.state is S.RUNNING
    after = running.fail_attempt(at(0, 10), FAILURE)
    assert (after.state, after.next_idx) == (S.SCHEDULED, 1)
    assert (after.records[0].status, after.records[0].attempt) == (R.FAILED, 3)
    assert after.records[0].error_text == "camera time-out"


def test_last_slot_that_fails_completes_the_timelapse():
    """Under `skip_scan` a failure ends nothing but its slot."""
    assert timelapse(1).begin(at(0), "b").fail_attempt(at(0, 1), FAILURE).state is S.COMPLETED


def test_no_retry_takes_the_time_of_the_next_slot():
    """From the next slot's instant on, that slot goes first."""
    running = timelapse(scan_retries=5).begin(at(0), "b")
    assert running.fail_attempt(at(1, -1), FAILURE).state is S.RUNNING
    assert running.fail_attempt(at(1), FAILURE).records[0].status is R.FAILED


def test_slot_given_up_is_not_tried_again():
    """A hung driver gets no second chance in the same process, whatever ``scan_retries`` says."""
    after = timelapse(scan_retries=5).begin(at(0), "b").fail_attempt(at(0, 1), FAILURE, give_up=True)
    assert after.records[0].status is R.FAILED


def test_exhausted_slot_ends_the_timelapse_under_fail_timelapse():
    """Every slot that will not be taken says why, and the timelapse says who ended it."""
    running = timelapse(3, on_scan_failed=OnScanFailed.FAIL_TIMELAPSE).begin(at(0), "b")
    after = running.fail_attempt(at(0, 30), FAILURE)
    assert (after.state, after.next_idx, after.next_at) == (S.FAILED, 3, None)
    assert statuses(after) == [R.FAILED, R.SKIPPED, R.SKIPPED]
    assert after.records[2].reason is Reason.TIMELAPSE_FAILED
    assert (after.ending.who, after.ending.at) == ("timelapsed", at(0, 30))
    assert "slot 0 failed" in after.ending.why


def test_rig_that_is_not_ready_uses_no_attempt():
    """The slot waits for the rig, within its grace, and says what it waits for."""
    waiting = timelapse().begin(at(0), "b").rig_not_ready(ScannerNotReady("no such port"))
    assert (waiting.state, waiting.next_idx) == (S.SCHEDULED, 0)
    assert (waiting.current.status, waiting.current.attempt, waiting.current.started_at) == (R.PENDING, 0, None)
    assert waiting.current.reason is Reason.RIG_NOT_READY
    assert waiting.tally.done == 0
    assert waiting.begin(at(0, 30), "b").current.attempt == 1


def test_tally_that_was_counted_once_is_counted_anew_for_the_next_value():
    """It is cached with one value, not with the next."""
    before = timelapse(3)
    assert str(before.tally) == "0 taken, 0 failed, 0 skipped"
    assert str(taken(before).tally) == "1 taken, 0 failed, 0 skipped"
    assert str(taken(taken(before)).tally) == "2 taken, 0 failed, 0 skipped"


def test_slot_whose_rig_never_came_says_so():
    """The reason of a skipped slot is the rig, not the lateness that followed from it."""
    waiting = timelapse().begin(at(0), "b").rig_not_ready(ScannerNotReady("no such port"))
    after = waiting.skip_late_slots(at(0, 121), Reason.MISSED, "")
    assert after.records[0].status is R.SKIPPED
    assert after.records[0].reason is Reason.RIG_NOT_READY
    assert after.records[0].error_text == "no such port"
    assert after.records[0].error["late_sec"] == 121


def test_attempts_before_the_rig_went_away_stay_on_record():
    """A slot that was interrupted once and then found no rig keeps the count of its attempts."""
    cut = timelapse().begin(at(0), "b").interrupt(at(0, 10), "the service was stopped")
    waiting = cut.begin(at(0, 20), "b").rig_not_ready(ScannerNotReady("no port"))
    after = waiting.skip_late_slots(at(0, 200), Reason.MISSED, "")
    assert (after.records[0].attempt, after.records[0].interruptions) == (1, 1)


def test_interrupted_slot_stays_next_and_costs_no_retry():
    """Stop is pause: the next start tries again, with all its retries."""
    cut = timelapse(scan_retries=0).begin(at(0), "b").interrupt(at(0, 10), "the service was stopped")
    assert (cut.state, cut.next_idx, cut.tally.done) == (S.SCHEDULED, 0, 0)
    assert (cut.current.status, cut.current.error_text) == (R.INTERRUPTED, "the service was stopped")
    again = cut.begin(at(0, 60), "b2")
    assert (again.current.attempt, again.current.interruptions) == (2, 1)
    assert again.fail_attempt(at(0, 90), FAILURE).records[0].status is R.FAILED


def test_interrupted_slot_later_than_grace_keeps_its_record():
    """It was interrupted; its lateness adds nothing to that."""
    cut = timelapse().begin(at(0), "b").interrupt(None, "the power went while it was being taken")
    after = cut.skip_late_slots(at(2, 1), Reason.MISSED, "the rig was off")
    assert statuses(after) == [R.INTERRUPTED, R.SKIPPED, None, None]
    assert after.records[0] == cut.records[0]
    assert (after.tally.interrupted, after.tally.skipped, after.tally.done) == (1, 1, 2)


def test_slots_later_than_grace_are_skipped_in_one_step():
    """Each says how late it was and why, and the first that can be taken is next."""
    after = timelapse().skip_late_slots(at(2, 60), Reason.MISSED, "the rig was off")
    assert statuses(after) == [R.SKIPPED, R.SKIPPED, None, None]
    assert after.next_idx == 2
    assert after.records[1].error == {"type": "missed", "msg": "the rig was off", "late_sec": 1860.0}


def test_all_slots_late_completes_the_timelapse():
    """Nothing is left to wait for."""
    after = timelapse().skip_late_slots(at(9), Reason.MISSED, "")
    assert (after.state, after.tally.skipped) == (S.COMPLETED, 4)
    assert after.records[0].error_text == "4 h 30 min late, grace 2 min"


@pytest.mark.parametrize(("late", "passed"), [(-1, False), (0, False), (120, False), (120.001, True)])
def test_grace_period_is_the_latest_start(late, passed):
    """At its end a slot may still start, after it no more."""
    now = at(0) + timedelta(seconds=late)
    assert (timelapse().skip_late_slots(now, Reason.MISSED, "").next_idx == 1) is passed


def test_grace_of_zero_still_lets_slots_start():
    """Old stores may say 0, and no slot starts at its very instant."""
    assert not timelapse(grace=timedelta(0)).late_slots(at(0) + MINIMUM_GRACE)
    assert timelapse(grace=timedelta(0)).late_slots(at(0) + MINIMUM_GRACE * 1.001) == [0]


def test_run_latest_leaves_the_newest_late_slot_open():
    """It is taken at once, however late; the others are skipped."""
    after = timelapse().skip_late_slots(at(2, 300), Reason.MISSED, "", run_latest=True)
    assert after.next_idx == 2
    assert after.skip_late_slots(at(2, 900), Reason.MISSED, "", run_latest=True) is after


def test_run_latest_gives_way_to_a_slot_that_is_due():
    """Of two scans at one moment, the one that is in time is taken."""
    after = timelapse().skip_late_slots(at(3, 10), Reason.MISSED, "", run_latest=True)
    assert (after.next_idx, after.tally.skipped) == (3, 3)


def test_run_latest_leaves_the_newest_slot_that_is_open():
    """A slot that was taken already, before the clock was set back, is not the one to run."""
    there_and_back = replace(timelapse(3), records={1: taken(taken(timelapse(3))).records[1]})
    assert there_and_back.late_slots(at(1, 300), run_latest=True) == []
    assert there_and_back.skip_late_slots(at(1, 300), Reason.MISSED, "", run_latest=True) is there_and_back


def test_cancelling_gives_every_slot_its_record():
    """A slot that was taken stays taken; the others say who ended the timelapse, and why."""
    after = taken(timelapse(3)).cancel(at(1), "ada", "the plant wilted")
    assert (after.state, after.next_idx) == (S.CANCELLED, 3)
    assert statuses(after) == [R.SUCCEEDED, R.SKIPPED, R.SKIPPED]
    assert after.records[2].reason is Reason.CANCELLED
    assert after.records[2].error_text == "ended by ada: the plant wilted"
    assert (after.ending.who, after.ending.why, after.ending.at) == ("ada", "the plant wilted", at(1))


def test_cancelling_a_running_scan_records_it_as_interrupted():
    """It was begun, and it was not finished."""
    after = timelapse(2).begin(at(0), "b").cancel(at(0, 9), "ada", "no reason given")
    assert statuses(after) == [R.INTERRUPTED, R.SKIPPED]
    assert after.records[0].finished_at == at(0, 9)


def test_reason_of_a_person_is_cut_to_fit_many_records():
    """Megabytes of reason in each of a hundred thousand records would fill the disk."""
    after = timelapse().cancel(at(0), "a" * 9000, "w" * 9000)
    assert len(after.ending.why) < MAX_TEXT_BYTES + 40
    assert len(after.records[3].error_text) < MAX_REPEATED_TEXT_BYTES + 40


def test_text_that_no_file_can_hold_is_corrected():
    """A command line may hold bytes that are no text; they must not make the store unwritable."""
    after = timelapse().cancel(at(0), "ada\udcff", "wilted\ud800")
    assert (after.ending.who, after.ending.why) == ("ada\\xff", "wilted?")
    failed = timelapse().begin(at(0), "b").fail_attempt(at(0), ScanFailed("x\ud800" + "y" * 9000))
    assert failed.records[0].error_text.startswith("x?yyy")
    assert failed.records[0].error_text.endswith("… (9002 characters in all)")


def test_error_without_words_is_named_by_its_type():
    """An empty message is no explanation."""
    failed = timelapse().begin(at(0), "b").fail_attempt(at(0), TimeoutError())
    assert failed.records[0].error == {"type": "TimeoutError", "msg": "TimeoutError"}


def test_slots_skipped_under_a_wrong_clock_are_reopened():
    """The clock was ahead, slots were skipped, the clock was set right: the slots can be taken after all."""
    wrong = timelapse().skip_late_slots(at(9), Reason.MISSED, "")
    assert wrong.state is S.COMPLETED
    back = wrong.reopen_slots(at(1, 60))
    assert (back.state, back.next_idx) == (S.SCHEDULED, 1)
    assert statuses(back) == [R.SKIPPED, None, None, None]


def test_attempts_of_a_slot_that_is_reopened_stay_on_record():
    """One that was cut off stays so while it is next; one that waited for its rig waits again."""
    cut = timelapse().begin(at(0), "b").interrupt(None, "the power went").skip_late_slots(at(0, 300), Reason.MISSED, "")
    back = cut.reopen_slots(at(0, 60))
    assert (back.next_idx, back.current) == (0, cut.records[0])
    absent = timelapse(scan_retries=1).begin(at(0), "b").fail_attempt(at(0, 1), ScanFailed("no light"))
    absent = absent.rig_not_ready(ScannerNotReady("no USB")).skip_late_slots(at(0, 300), Reason.MISSED, "")
    back = absent.reopen_slots(at(0, 60))
    assert (back.next_idx, back.current.status, back.current.attempt) == (0, R.PENDING, 1)
    assert back.begin(at(0, 70), "b").current.attempt == 2


def test_slot_that_is_reopened_does_not_say_any_more_why_it_was_skipped():
    """An attempt that then succeeds would name it as its last error."""
    waiting = timelapse().begin(at(0), "b").rig_not_ready(FAILURE)
    waiting = replace(waiting, records={0: replace(waiting.records[0], attempt=1)})
    skipped = waiting.skip_late_slots(at(1), Reason.CLOCK_MOVED, "the clock was set forward by 30 min")
    record = skipped.reopen_slots(at(0, 10)).records[0]
    assert (record.status, record.attempt, record.error) == (RecordStatus.PENDING, 1, None)


@pytest.mark.parametrize("n_slots", [1, 3])
@pytest.mark.parametrize("grace", [timedelta(0), timedelta(minutes=2), timedelta(hours=1)])
@pytest.mark.parametrize("run_latest", [False, True])
@pytest.mark.parametrize("is_cut_off", [False, True])
def test_slot_is_open_until_it_is_late(n_slots, grace, run_latest, is_cut_off):
    """What a person is told agrees with what is done."""
    value = timelapse(n_slots, grace=grace)
    value = value.begin(at(0), "b").interrupt(at(0), "cut") if is_cut_off else value
    until = value.open_until(value.next_idx, run_latest=run_latest)
    instants = [at(slot, late) for slot in range(4) for late in (0, 1, 120, 121)]
    for instant in [*instants, *([until - timedelta.resolution, until] if until is not None else [])]:
        is_late = 0 in value.late_slots(instant, run_latest=run_latest)
        assert not is_late or (until is not None and instant >= until), instant
    if until is not None:
        assert 0 in value.late_slots(until + timedelta.resolution, run_latest=run_latest)


def test_nothing_is_reopened_under_a_clock_that_only_goes_on():
    """A late slot stays late."""
    after = timelapse().skip_late_slots(at(2, 1), Reason.MISSED, "")
    assert after.reopen_slots(at(2, 1)) is after
    assert after.reopen_slots(at(9)) is after


@pytest.mark.parametrize("end", [lambda t: t.cancel(at(0), "ada", "why"), lambda t: replace(t, state=S.CONFIGURED)])
def test_nothing_is_reopened_in_a_timelapse_that_was_ended(end):
    """Only the schedule's own end can turn out to have been a mistake of the clock."""
    ended = end(timelapse().skip_late_slots(at(1, 300), Reason.MISSED, ""))
    assert ended.reopen_slots(at(0)) is ended


def test_slot_taken_under_a_wrong_clock_is_not_taken_again():
    """After going back it is jumped over: the next slot is the lowest without a final record."""
    late = timelapse().skip_late_slots(at(2, 1), Reason.MISSED, "")  # 0 and 1 are skipped
    done = taken(late)
    back = done.reopen_slots(at(1))
    assert (back.next_idx, statuses(back)) == (1, [R.SKIPPED, None, R.SUCCEEDED, None])
    assert taken(back).next_idx == 3


def test_unknown_keys_of_a_record_survive_every_transition():
    """They are another program's, and stay in the record."""
    before = replace(
        timelapse(),
        records={slot: SlotRecord(slot=slot, scan_id=f"x{slot}", unknown_keys={"theirs": slot}) for slot in (0, 1)},
    )
    for after in (
        taken(before),
        before.skip_late_slots(at(0, 300), Reason.MISSED, ""),
        before.cancel(at(0), "ada", "why"),
    ):
        assert (after.records[0].unknown_keys, after.records[0].scan_id) == ({"theirs": 0}, "x0")
    assert after.records[1].unknown_keys == {"theirs": 1}


# --- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize("event", CALLS)
@pytest.mark.parametrize("state", S)
def test_every_event_leads_where_the_table_says_or_is_refused(state, event):
    """The methods and the table agree, in both directions."""
    allowed = TRANSITIONS.get((state, event))
    if allowed:
        assert CALLS[event](IN_STATE[state]).state in allowed
    else:
        with pytest.raises(IllegalTransition, match=f"that is {state.value} can't take"):
            CALLS[event](IN_STATE[state])


@pytest.mark.parametrize("event", LOOKS)
@pytest.mark.parametrize("state", S)
def test_looking_at_the_schedule_changes_nothing_where_the_table_has_no_row(state, event):
    """The daemon looks at any time; only a schedule that is kept can change by it."""
    before = IN_STATE[state]
    after = LOOKS[event](before)
    assert after is before or after.state in TRANSITIONS[state, event]


def test_every_row_of_the_table_has_a_method():
    """The table has no unused row."""
    assert {event for _, event in TRANSITIONS} == {*CALLS, *LOOKS}


@pytest.mark.parametrize(
    "changes",
    [
        {"next_idx": -1},
        {"next_idx": 5},
        {"next_idx": 4},
        {"schedule_times": ()},
        {"state": S.RUNNING},
        {"records": {0: SlotRecord(slot=0, scan_id="tl_0", status=R.RUNNING)}},
        {"state": S.CANCELLED, "records": {0: SlotRecord(slot=0, scan_id="tl_0", status=R.RUNNING)}},
    ],
)
def test_value_that_contradicts_itself_is_never_made(changes):
    """State, next slot and its record always agree."""
    with pytest.raises(TimelapsedError, match=r"^tl: "):
        timelapse(**changes)


@pytest.mark.parametrize(
    ("error", "text", "reason"),
    [
        (None, "", None),
        ("ALARM:1", "ALARM:1", None),
        ({"msg": "ALARM:1"}, "ALARM:1", None),
        ({"type": "CncError"}, "CncError", None),
        ({"type": ["x"], "msg": None}, "['x']", None),
        ({"type": "missed", "msg": "the rig was off"}, "the rig was off", Reason.MISSED),
        (["a", 1], "['a', 1]", None),
    ],
)
def test_error_of_any_controller_has_words(error, text, reason):
    """A person can read any JSON in its place."""
    record = SlotRecord(slot=0, scan_id="x", error=error)
    assert (record.error_text, record.reason) == (text, reason)


def test_tally_counts_what_is_final_and_words_it():
    """An interrupted slot counts once it is closed, and is named only where there is one."""
    done = taken(timelapse(5)).begin(at(1), "b").fail_attempt(at(1, 9), FAILURE)
    cut = done.begin(at(2), "b").interrupt(at(2, 9), "stopped")
    assert str(cut.tally) == "1 taken, 1 failed, 0 skipped"
    assert (
        str(cut.skip_late_slots(at(3, 300), Reason.MISSED, "").tally) == "1 taken, 1 failed, 1 skipped, 1 interrupted"
    )
