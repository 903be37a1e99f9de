"""The schedule by the clock as it is set: which slots are taken, skipped and reopened when that changes."""

from __future__ import annotations

import pytest
from simulation import DAY, HOUR, MINUTE, NONE, SECOND, START, YEAR, Behaviour, Boot, Bounded, Life
from virtual_time import FROM_RTC

from plantimager.timelapse.domain.states import Reason, RecordStatus, TimeLapseState
from plantimager.timelapse.drivers.base import Call
from plantimager.timelapse.support.errors import ScannerNotReady


def test_clock_set_forward_over_slots(rig):
    """Slots within their grace period are taken; the others are skipped for this reason, in one line."""
    world = rig()
    world.define(every=HOUR, n=6, grace=10 * MINUTE)
    world.live((90 * MINUTE, lambda life: life.shift(3 * HOUR - 25 * MINUTE)))
    assert world.statuses() == ["succeeded", "skipped", "skipped", "succeeded", "succeeded", "succeeded"]
    assert world.reasons()[1:3] == [Reason.CLOCK_MOVED] * 2
    assert world.said("clock_moved") == ["forward by 2 h 35 min (09:30 → 12:05); schedule looked at afresh"]
    assert world.said("slot_skipped") == [
        "2 slots from 10:00 to 11:00 were missed: the clock was set forward by 2 h 35 min (grace 10 min)"
    ]
    assert world.scans_at()[1] == 4 * HOUR + 5 * MINUTE + SECOND  # behind its warm-up


def test_clock_set_backward_takes_nothing_twice(rig):
    """A slot that was taken stays taken; the schedule is kept by the clock as it is set now."""
    world = rig()
    world.define(every=HOUR, n=4)
    world.live((150 * MINUTE, lambda life: life.shift(-2 * HOUR)))
    assert world.taken() == [0, 1, 2, 3]
    assert world.statuses() == ["succeeded"] * 4
    assert world.scans_at() == [HOUR, 2 * HOUR, 3 * HOUR, 4 * HOUR]
    assert world.ledger[-2].true_at - START == 6 * HOUR + 30 * SECOND


@pytest.mark.parametrize("shift", [3 * HOUR, -3 * HOUR, 100 * YEAR, -40 * YEAR], ids=str)
def test_duration_of_a_running_scan_stays_right(rig, shift):
    """The journal and the record have its duration, without the shift of the clock."""
    world = rig()
    world.define(every=12 * HOUR, n=2)
    world.behaviour = lambda _: Behaviour(takes=388 * SECOND)
    world.live((HOUR + MINUTE, lambda life: life.shift(shift)), (2 * HOUR, Life.kill))
    record = world.stored().records[0]
    assert world.said("scan_succeeded")[0].startswith("tl_0 in 6 min 28 s, 1 picture")
    assert record.took == 388 * SECOND
    assert record.finished_at == START + HOUR + 388 * SECOND + shift


def test_clock_that_was_further_ahead_during_a_save_costs_no_slot(rig):
    """The loop learns of both settings at once, and of a clock that has only gone forward."""
    world = rig()
    world.define(start=-SECOND, grace=2 * MINUTE, warmup=NONE)
    world.saves = iter([SECOND, SECOND])
    ahead, back = (
        (SECOND / 2, lambda life: life.shift(3 * MINUTE)),
        (3 * SECOND / 2, lambda life: life.shift(-2 * MINUTE)),
    )
    world.live(ahead, back)
    assert "slots_given_back" in world.actions()
    assert world.statuses() == ["succeeded"]


def test_clock_set_forward_and_back_while_a_definition_is_taken_up_costs_no_slot(rig):
    """The loop learns of neither: both settings together are none, but the schedule was judged in between."""
    world = rig()
    world.define(at=[2 * SECOND, MINUTE], grace=5 * SECOND, warmup=NONE)
    world.slow = {Bounded.LOOK: SECOND, Call.PREPARE: NONE}
    world.saves = iter([SECOND / 5])
    there, back = (lambda life: life.shift(10 * SECOND)), (lambda life: life.shift(-10 * SECOND))
    world.live((NONE, there), (SECOND, back))
    assert world.said("slot_skipped") != []
    assert world.statuses() == ["succeeded"] * 2


def test_clock_set_to_its_beginning_in_mid_scan_leaves_a_store_that_can_be_read(rig):
    """A reset real-time clock says 1970; nothing in a store may be earlier."""
    world = rig()
    world.define(every=HOUR, n=2)
    world.behaviour = lambda _: Behaviour(takes=10 * MINUTE)
    world.live((HOUR + 5 * MINUTE, lambda life: life.shift(-100 * YEAR)), (2 * HOUR, Life.kill))
    assert world.stored().records[0].status is RecordStatus.SUCCEEDED
    assert world.stored().records[0].finished_at.year == 1970


def test_clock_is_no_reason_for_slots_that_a_slow_scan_made_late(rig):
    """During one scan three slots become late, then the clock is set forward over four more."""
    world = rig()
    world.define(every=MINUTE, n=10, grace=5 * SECOND)
    slow = iter([Behaviour(takes=260 * SECOND)])
    world.behaviour = lambda _: next(slow, Behaviour(takes=SECOND))
    world.live((HOUR + 220 * SECOND, lambda life: life.shift(4 * MINUTE)))
    expected = [None, *[Reason.MISSED] * 4, *[Reason.CLOCK_MOVED] * 4, None]
    assert world.reasons() == expected
    assert len(world.said("slot_skipped")) == 2


def test_clock_that_was_wrong_and_set_right_within_one_scan_is_no_reason(rig):
    """In the end the clock was not moved."""
    world = rig()
    world.define(every=MINUTE, n=4, grace=5 * SECOND)
    world.behaviour = lambda _: Behaviour(takes=100 * SECOND)
    there, back = (lambda life: life.shift(YEAR)), (lambda life: life.shift(-YEAR))
    world.live((HOUR + 10 * SECOND, there), (HOUR + 20 * SECOND, back))
    assert world.reasons() == [None, Reason.MISSED, None, Reason.MISSED]


def test_slots_skipped_by_a_wrong_answer_from_the_network_are_reopened(rig):
    """Forward by ten years, and back a minute later: the rest of the schedule is kept."""
    world = rig()
    world.define(every=HOUR, n=5)
    lie, truth = (lambda life: life.shift(10 * YEAR)), (lambda life: life.shift(-10 * YEAR))
    life = world.live((90 * MINUTE, lie), (91 * MINUTE, truth))
    assert "timelapse_completed" in world.actions()[: world.actions().index("slots_given_back")]
    assert world.said("slots_given_back") == [
        "4 slots from 10:00 to 13:00, closed under a wrong clock, can still be taken"
    ]
    assert world.statuses() == ["succeeded"] * 5
    assert world.scans_at() == [HOUR * number for number in range(1, 6)]
    assert life.notices.statuses[-1].startswith("tl: completed; 5 taken")


def test_slots_are_reopened_after_the_scan_in_which_the_clock_was_set_right(rig):
    """While a scan runs, no slot is closed or reopened; that is done at its end."""
    world = rig()
    world.define(every=HOUR, n=6)
    world.behaviour = lambda _: Behaviour(takes=MINUTE)
    lie, truth = (lambda life: life.shift(3 * HOUR)), (lambda life: life.shift(-3 * HOUR))
    world.live((HOUR + 40 * MINUTE, lie), (2 * HOUR + SECOND, truth))
    assert world.statuses() == ["succeeded"] * 6
    assert world.taken() == [0, 4, 1, 2, 3, 5]


def test_slot_that_waited_for_its_rig_under_a_wrong_clock_is_reopened(rig):
    """The wrong clock closed it, and the rig became ready in time."""
    world = rig()
    world.define(every=HOUR, n=3, grace=30 * MINUTE)
    ready_at = HOUR + 10 * MINUTE
    absent = Behaviour(takes=SECOND, problem=ScannerNotReady("no USB device"))
    world.behaviour = lambda _: absent if world.lives[-1].clock.elapsed < ready_at else Behaviour(takes=SECOND)
    lie, truth = (lambda life: life.shift(DAY)), (lambda life: life.shift(-DAY))
    world.live((HOUR + 5 * MINUTE, lie), (HOUR + 6 * MINUTE, truth))
    assert world.statuses() == ["succeeded"] * 3
    assert [record.attempt for record in world.stored().records.values()] == [1, 1, 1]


def test_scan_that_was_cut_off_before_a_boot_with_a_wrong_clock_is_attempted_again(rig):
    """The board's clock is a day ahead until the network sets it right, and the grace period isn't over."""
    world = rig()
    world.define(every=HOUR, n=3, grace=30 * MINUTE)
    world.behaviour = lambda _: Behaviour(takes=MINUTE)
    world.live((HOUR + 10 * SECOND, Life.kill))
    world.live(boot=Boot(wrong_by=DAY, evidence=FROM_RTC, ntp_after=30 * SECOND))
    assert world.statuses() == ["succeeded"] * 3
    first = world.stored().records[0]
    assert (first.attempt, first.interruptions) == (2, 1)


@pytest.mark.parametrize("years", [1, 100])
def test_slots_are_reopened_by_a_restart_after_the_clock_was_set_right(rig, years):
    """Also by the next boot, and also when the timelapse had completed under the wrong clock."""
    world = rig()
    world.define(every=HOUR, n=4)
    world.live((90 * MINUTE, lambda life: life.shift(years * YEAR)), (100 * MINUTE, Life.kill))
    assert world.stored().state is TimeLapseState.COMPLETED
    world.live(boot=Boot(takes=15 * MINUTE))
    assert world.statuses() == ["succeeded"] * 4
    assert world.said("resumed")[-1] == "tl, 4 slots, 4 done"


def test_clock_that_was_set_right_is_trusted_by_the_next_start(rig):
    """A store that says it was written tomorrow would have a rig without network wait until then."""
    world = rig()
    world.define(grace=DAY)
    lie, truth = (lambda life: life.shift(20 * HOUR)), (lambda life: life.shift(-20 * HOUR))
    world.live((MINUTE, lie), (10 * MINUTE, truth), (11 * MINUTE, Life.kill))
    assert world.statuses() == ["succeeded"]
    life = world.live(boot=Boot(evidence=FROM_RTC))
    assert world.said("clock_wait") == []
    assert life.notices.is_ready


def test_machine_that_was_suspended_skips_missed_slots_when_it_wakes_up(rig):
    """At once, without a warm-up for them, and with a true STATUS."""
    world = rig()
    world.define(every=HOUR, n=6, grace=MINUTE)
    asleep = (90 * MINUTE, lambda life: life.clock.suspend(3 * HOUR))
    life = world.live(asleep, (91 * MINUTE + 3 * HOUR, Life.kill))
    assert world.statuses() == ["succeeded", "skipped", "skipped", "skipped"]
    assert world.reasons()[1:] == [Reason.MISSED] * 3
    assert world.said("clock_moved") == []
    assert len(world.said("slot_skipped")) == 1
    assert len(world.said("rig_warmup")) == 1
    assert life.notices.statuses[-1] == "tl: waiting for slot 4 of 6 at 13:00; 1 taken, 3 skipped"
