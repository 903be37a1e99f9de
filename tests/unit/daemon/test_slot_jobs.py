"""The jobs in APScheduler: those of the next slot, however long the schedule is."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from operator import itemgetter

import pytest
from virtual_time import START, ScriptEnded, VirtualClock

from plantimager.timelapse.daemon.planner import SlotJobs
from plantimager.timelapse.daemon.scheduler import WallClockScheduler
from plantimager.timelapse.domain.states import TimeLapseMode, TimeLapseState
from plantimager.timelapse.domain.timelapse import TimeLapse

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
        notes = (partial(self.note, what) for what in ("slot", "warm", "late"))
        self.slot_jobs = SlotJobs(self.scheduler, *notes)

    def note(self, what, slot):
        self.called.append((what, slot, self.clock.now()))

    def arm(self):
        mode, state = TimeLapseMode.INTERVAL, TimeLapseState.SCHEDULED
        timelapse = TimeLapse(id="tl", mode=mode, state=state, schedule_times=SLOTS, next_idx=NEXT)
        self.slot_jobs.arm_warmup(timelapse, AT - MINUTE)
        self.slot_jobs.arm_slot(timelapse, AT)
        self.slot_jobs.arm_late(timelapse, AT + MINUTE)
        self.slot_jobs.arm_late(timelapse, None)

    @property
    def jobs(self):
        return sorted(((job.name, job.next_run_time) for job in self.scheduler.get_jobs()), key=itemgetter(1))


@pytest.fixture
def armed():
    """Return nothing armed yet."""
    return Armed()


def test_jobs_of_the_next_slot_are_what_get_jobs_shows(armed):
    """With names for people, and without the twenty slots after it."""
    armed.arm()
    expected = [("tl warm-up 3", AT - MINUTE), ("tl slot 3", AT), ("tl late 3", AT + MINUTE)]
    assert armed.jobs == expected


def test_jobs_are_called_with_the_slot_at_their_times(armed):
    """The warm-up first, the end of the grace period last."""
    armed.arm()
    with pytest.raises(ScriptEnded):
        armed.scheduler.start()
    assert armed.called == [("warm", NEXT, AT - MINUTE), ("slot", NEXT, AT), ("late", NEXT, AT + MINUTE)]


def test_job_that_was_removed_is_never_called(armed):
    """Removing is harmless where there are no jobs."""
    armed.slot_jobs.clear()
    armed.arm()
    armed.slot_jobs.clear()
    armed.slot_jobs.clear()
    assert armed.jobs == []
