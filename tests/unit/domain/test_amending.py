"""The amendment: what is due or on record stays, and what is to come is another definition's."""

from __future__ import annotations

from datetime import timedelta

import pytest
from example_timelapse import IN_STATE, START, at, taken, timelapse
from hypothesis import given
from hypothesis import strategies as st

from plantimager.timelapse.domain.amending import amend, describe_amendment, n_kept, slots_behind, slots_to_come
from plantimager.timelapse.domain.events import TimelapseAmended, events_between
from plantimager.timelapse.domain.states import OnScanFailed, Reason, RecordStatus, TimeLapseMode, TimeLapseState
from plantimager.timelapse.store.schema import Logbook
from plantimager.timelapse.store.stored_timelapse import StoredTimelapse
from plantimager.timelapse.support.errors import IllegalTransition, ScannerNotReady
from stores import read_again

S = TimeLapseState
MINUTE = timedelta(minutes=1)


def test_slots_after_now_are_those_of_the_new_definition():
    """What was taken keeps its number, its time and its record."""
    before = taken(taken(timelapse(4)))
    defined = timelapse(9, schedule_times=tuple(START + 20 * MINUTE * slot for slot in range(9)), grace=MINUTE)
    after = amend(before, defined, at(1, 600))
    assert after.schedule_times == (at(0), at(1), *(START + MINUTE * late for late in (60, 80, 100, 120, 140, 160)))
    assert (after.records, after.next_idx, after.grace) == (before.records, 2, MINUTE)
    assert events_between(before, after) == (TimelapseAmended(("schedule_times", "grace")),)
    words = "2 slots to come become 6, the last at "
    assert describe_amendment(before, after, at(1, 600)).startswith(words)
    assert describe_amendment(before, after, at(1, 600)).endswith("; grace")


def test_what_is_said_of_the_scan_stands_beside_times_that_stay():
    """The slots to come are others all the same."""
    words = describe_amendment(timelapse(4), timelapse(4), at(0), "the scan")
    assert words == "the 3 slots to come keep their times; the scan"


def test_slot_that_is_due_stays_though_the_new_definition_has_none_there():
    """Its rig isn't ready yet, and its grace period isn't over."""
    waiting = timelapse(3).rig_not_ready(ScannerNotReady("asleep"))
    later = timelapse(2, schedule_times=(at(5), at(6)))
    assert amend(waiting, later, at(0, 30)).schedule_times == (at(0), at(5), at(6))
    assert amend(timelapse(3), later, at(0)).schedule_times == (at(0), at(5), at(6)), "due at this very moment"


def test_slot_that_is_being_taken_stays():
    """The attempt goes on, and is recorded as its own."""
    after = amend(IN_STATE[S.RUNNING], timelapse(2, schedule_times=(at(5), at(6))), at(0, 9))
    assert (after.state, after.schedule_times) == (S.RUNNING, (at(0), at(5), at(6)))
    done = after.succeed(at(0, 300), 72)
    assert (done.state, done.next_at, done.records[0].scan_id) == (S.SCHEDULED, at(5), "tl_0")


def test_timelapse_of_one_slot_can_come_to_have_more():
    """The dataset of its first keeps its name, also over a restart."""
    before = timelapse(1, mode=TimeLapseMode.ONE_SHOT).begin(at(0), "b")
    after = amend(before, timelapse(3), at(0, 9)).succeed(at(0, 99), 1)
    again = read_again(StoredTimelapse(taken(after), Logbook())).timelapse
    assert again == taken(after)
    assert [again.scan_id(slot) for slot in range(3)] == ["tl", "tl_1", "tl_2"]


def test_records_of_a_clock_that_was_set_back_stay():
    """They are of slots that are, by the clock as it is now, still to come."""
    before = taken(taken(timelapse(4)))
    assert n_kept(before, at(0, -99)) == 2
    after = amend(before, timelapse(2, schedule_times=(at(0), at(7))), at(0, -99))
    assert after.schedule_times == (at(0), at(1), at(7))


def test_timelapse_of_which_nothing_was_due_gets_the_new_schedule_whole():
    """And its beginning."""
    defined = timelapse(2, schedule_times=(at(3), at(4)), start_at=at(3))
    after = amend(timelapse(4, start_at=at(0)), defined, at(0, -60))
    assert (after.schedule_times, after.start_at) == ((at(3), at(4)), at(3))
    assert amend(timelapse(4, start_at=at(0)), defined, at(0)).start_at == at(0)
    past = timelapse(2, schedule_times=(at(-2), at(3)), start_at=at(-2))
    assert amend(timelapse(4, start_at=at(0)), past, at(0, -60)).start_at == at(3)


@pytest.mark.parametrize("state", [S.COMPLETED, S.FAILED, S.CANCELLED, S.CONFIGURED])
def test_nothing_but_a_schedule_that_is_kept_can_be_amended(state):
    """The table says so."""
    with pytest.raises(IllegalTransition):
        amend(IN_STATE[state], timelapse(), at(0))


@given(
    n_slots=st.integers(1, 6),
    steps=st.lists(st.sampled_from(["take", "skip", "begin"]), max_size=5),
    minutes=st.integers(-40, 200),
    offsets=st.sets(st.integers(-10, 400), min_size=1, max_size=8),
)
def test_whatever_is_amended_stays_a_timelapse(n_slots, steps, minutes, offsets):
    """Times ascend, records and next slot are as they were, the store reads it again, and all that is new is ahead."""
    before = timelapse(n_slots)
    for step in steps:
        if before.state is not S.SCHEDULED:
            break
        slot = before.next_idx
        before = {
            "take": taken,
            "skip": lambda value, slot=slot: value.skip_late_slots(at(slot, 121), Reason.MISSED, ""),
            "begin": lambda value, slot=slot: value.begin(at(slot), "b"),
        }[step](before)
    if not before.state.is_active:
        return
    now = START + MINUTE * minutes
    defined = timelapse(
        len(offsets),
        schedule_times=tuple(START + MINUTE * minute for minute in sorted(offsets)),
        on_scan_failed=OnScanFailed.FAIL_TIMELAPSE,
    )
    if not slots_behind(before, defined.schedule_times, now):
        return
    after = amend(before, defined, now)
    times, kept = after.schedule_times, n_kept(before, now)
    assert list(times) == sorted({*times})
    assert times[:kept] == before.schedule_times[:kept]
    assert (after.records, after.next_idx, after.state) == (before.records, before.next_idx, before.state)
    assert slots_to_come(after, now) == times[kept:]
    assert all(time > now and time in defined.schedule_times for time in times[kept:])
    assert after == before or events_between(before, after)
    assert read_again(StoredTimelapse(after, Logbook())).timelapse == after
    assert amend(after, defined, now) == after, "once more changes nothing"
    running = RecordStatus.RUNNING
    assert (after.current is not None and after.current.status is running) == (after.state is S.RUNNING)
