"""The jobs in APScheduler: the next slot and its warm-up, however long the schedule is."""

from __future__ import annotations

from datetime import timedelta
from operator import itemgetter

import pytest
from virtual_time import START, ScriptEnded, VirtualClock

from plantimager.timelapse.daemon.scheduler import WallClockScheduler
from plantimager.timelapse.daemon.slot_jobs import SlotJobs
from plantimager.timelapse.domain.timelapse import TimeLapse, TimeLapseMode, TimeLapseState

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
SLOTS = tuple(START + number * HOUR for number in range(1, 25))
NEXT = 3
AT = SLOTS[NEXT]


class Armed:
    """The jobs in a scheduler on a virtual clock, and what they called."""

    def __init__(self):
        self.called = []
        self.clock = VirtualClock()
        self.scheduler = WallClockScheduler(self.clock, turn=lambda _: None)
        self.slot_jobs = SlotJobs(
            self.scheduler, lambda slot: self.note("slot", slot), lambda slot: self.note("warm", slot)
        )

    def note(self, what, slot):
        self.called.append((what, slot, self.clock.now()))

    def arm(self, at=AT, now=START, *, warm=False, warmup=MINUTE):
        mode, state = TimeLapseMode.INTERVAL, TimeLapseState.SCHEDULED
        timelapse = TimeLapse(id="tl", mode=mode, state=state, schedule_times=SLOTS, next_idx=NEXT, warmup=warmup)
        self.slot_jobs.arm(timelapse, at, now, warm=warm)

    @property
    def jobs(self):
        return sorted(((job.name, job.next_run_time) for job in self.scheduler.get_jobs()), key=itemgetter(1))


@pytest.fixture
def armed():
    """Return nothing armed yet."""
    return Armed()


def test_next_slot_and_its_warm_up_are_what_get_jobs_shows(armed):
    """With names for people, and without the twenty slots after them."""
    armed.arm()
    assert armed.jobs == [("tl warm-up for slot 3", AT - MINUTE), ("tl slot 3", AT)]


def test_both_are_called_with_the_slot_at_their_times(armed):
    """The warm-up first."""
    armed.arm()
    with pytest.raises(ScriptEnded):
        armed.scheduler.start()
    assert armed.called == [("warm", NEXT, AT - MINUTE), ("slot", NEXT, AT)]


def test_rig_that_is_asked_again_is_warmed_up_for_the_slot_itself(armed):
    """The slot is postponed; its number and warm-up stay."""
    armed.arm(AT + MINUTE, AT)
    assert armed.jobs == [("tl warm-up for slot 3", AT - MINUTE), ("tl slot 3", AT + MINUTE)]


def test_warm_rig_is_not_warmed_up_once_more(armed):
    """When it is time for it; one that is still warm from the slot before may go to standby until then."""
    armed.arm(now=AT - MINUTE, warm=True)
    assert armed.jobs == [("tl slot 3", AT)]
    armed.slot_jobs.clear()
    armed.arm(warm=True)
    assert len(armed.jobs) == 2


def test_rig_without_a_warm_up_has_no_job_for_it(armed):
    """Zero means that there is none."""
    armed.arm(warmup=timedelta(0))
    assert armed.jobs == [("tl slot 3", AT)]


def test_job_that_was_removed_is_never_called(armed):
    """Removing is harmless where there are no jobs."""
    armed.slot_jobs.clear()
    armed.arm()
    armed.slot_jobs.clear()
    armed.slot_jobs.clear()
    assert armed.jobs == []
