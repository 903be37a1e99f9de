"""The scheduler on a virtual clock: when jobs run, in which order, and what ends the loop."""

import functools
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise

import pytest
from apscheduler.events import EVENT_JOB_EXECUTED, EVENT_JOB_REMOVED
from apscheduler.schedulers import SchedulerNotRunningError, base
from apscheduler.schedulers.base import BaseScheduler
from apscheduler.triggers.interval import IntervalTrigger
from hypothesis import given
from hypothesis import strategies as st
from virtual_time import START, ScriptEnded, VirtualClock

from plantimager.timelapse.daemon.scheduler import WallClockScheduler
from plantimager.timelapse.support.clock import SystemClock, Wake

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


class Rig:
    """A scheduler on a virtual clock, and a list of what it ran."""

    def __init__(self, **clock):
        self.clock = VirtualClock(**clock)
        self.turns = []
        self.ran = []
        """Each job that ran: its id, how long the clock had been running, and what the wall clock showed."""
        self.timeout = None
        self.scheduler = WallClockScheduler(self.clock, turn=self.turn)

    def turn(self, wake):
        self.turns.append(wake)
        return self.timeout

    def job(self, job_id):
        self.ran.append((job_id, self.clock.elapsed, self.clock.now()))

    def arm(self, job_id, after):
        self.scheduler.arm(job_id, START + after, self.job, job_id)

    def script(self, happenings):
        for moment, (what, *amount) in happenings:
            self.clock.at(moment, functools.partial(getattr(self.clock, what), *amount))

    def run(self):
        """Run until nothing is left to happen."""
        with pytest.raises(ScriptEnded):
            self.scheduler.start()

    @property
    def order(self):
        return [job_id for job_id, _, _ in self.ran]


@pytest.fixture
def rig():
    """Make a rig whose clock shows START."""
    return Rig()


# When a job runs


def test_job_runs_at_its_time_and_once(rig):
    """Neither early nor late on a clock that isn't set."""
    rig.arm("slot", HOUR)
    rig.run()
    assert rig.ran == [("slot", HOUR, START + HOUR)]
    assert rig.scheduler.get_jobs() == []


@pytest.mark.parametrize("late", [timedelta(0), timedelta(microseconds=1), timedelta(days=36_500)])
def test_job_that_is_late_runs_at_once(rig, late):
    """The caller judges lateness."""
    rig.arm("slot", -late)
    rig.run()
    assert rig.ran == [("slot", timedelta(0), START)]


def test_clock_set_forward_over_a_job_runs_it_at_once(rig):
    """The wall clock shows its time, so it is due."""
    rig.arm("slot", 5 * HOUR)
    rig.clock.at(HOUR, lambda: rig.clock.shift(10 * HOUR))
    rig.run()
    assert rig.ran == [("slot", HOUR, START + 11 * HOUR)]


def test_clock_set_forward_brings_a_job_nearer(rig):
    """APScheduler's own schedulers would run it four hours late."""
    rig.arm("slot", 5 * HOUR)
    rig.clock.at(MINUTE, lambda: rig.clock.shift(4 * HOUR))
    rig.run()
    assert rig.ran == [("slot", HOUR, START + 5 * HOUR)]


def test_clock_set_back_postpones_a_job(rig):
    """It waits for the wall clock to show its time."""
    rig.arm("slot", HOUR)
    rig.clock.at(MINUTE, lambda: rig.clock.shift(-4 * HOUR))
    rig.run()
    assert rig.ran == [("slot", 5 * HOUR, START + HOUR)]


def test_clock_set_back_after_a_job_does_not_repeat_it(rig):
    """A job that ran is removed."""
    rig.arm("slot", HOUR)
    rig.clock.at(2 * HOUR, lambda: rig.clock.shift(-4 * HOUR))
    rig.run()
    assert rig.order == ["slot"]


def test_clock_set_back_between_the_wake_up_and_the_look_at_it(rig):
    """Whether a job is due is judged by the clock as it is now, not by the reason for the wake-up."""
    rig.arm("slot", HOUR)
    rig.clock.at(HOUR, rig.clock.wake)

    def turn(wake):
        if Wake.DUE in wake and rig.clock.elapsed == HOUR:
            rig.clock.shift(-MINUTE)

    rig.scheduler._turn = turn
    rig.run()
    assert rig.ran == [("slot", HOUR + MINUTE, START + HOUR)]


def test_job_that_came_due_in_a_suspend_runs_on_resume(rig):
    """At once, not later by the time of the suspend."""
    rig.arm("slot", HOUR)
    rig.clock.at(30 * MINUTE, lambda: rig.clock.suspend(3 * HOUR))
    rig.run()
    assert rig.ran == [("slot", 3.5 * HOUR, START + 3.5 * HOUR)]


def test_job_after_a_suspend_runs_at_its_time(rig):
    """The suspend counts."""
    rig.arm("slot", HOUR)
    rig.clock.at(15 * MINUTE, lambda: rig.clock.suspend(30 * MINUTE))
    rig.run()
    assert rig.ran == [("slot", HOUR, START + HOUR)]


def test_time_of_a_job_may_be_of_any_zone(rig):
    """It is an instant."""
    rig.scheduler.arm("slot", (START + HOUR).astimezone(timezone(timedelta(hours=5.5))), rig.job, "slot")
    rig.run()
    assert rig.ran == [("slot", HOUR, START + HOUR)]


def test_naive_time_is_refused(rig):
    """APScheduler would take it for its own zone."""
    with pytest.raises(ValueError, match=r"job slot can't be armed for 2026-06-22 09:00:00, which has no time zone"):
        rig.scheduler.arm("slot", datetime(2026, 6, 22, 9), rig.job, "slot")  # noqa: DTZ001 - because that is the point


# In which order


def test_jobs_run_by_time_and_then_in_the_order_in_which_they_came(rig):
    """A warm-up that was armed before its slot runs before it, whatever their ids."""
    for job_id, after in (("z", HOUR), ("b", MINUTE), ("a", HOUR), ("y", MINUTE), ("past", -HOUR)):
        rig.arm(job_id, after)
    rig.run()
    assert rig.order == ["past", "b", "y", "z", "a"]


def test_job_armed_anew_takes_the_place_of_the_old_one_and_goes_last(rig):
    """One job for each id; among those of the same time it is the latest."""
    rig.arm("slot", 2 * HOUR)
    rig.arm("other", HOUR)
    rig.arm("slot", HOUR)
    rig.run()
    assert rig.order == ["other", "slot"]


def test_job_may_arm_itself_anew(rig):
    """As a slot does that is attempted again; APScheduler would remove it after the run."""

    def slot(attempt):
        rig.job(attempt)
        if attempt < 3:
            rig.scheduler.arm("slot", rig.clock.now() + MINUTE, slot, attempt + 1)

    rig.scheduler.arm("slot", START, slot, 1)
    rig.run()
    assert rig.ran == [(n + 1, n * MINUTE, START + n * MINUTE) for n in range(3)]


def test_job_may_remove_itself(rig):
    """It is removed by then, and not once more afterwards."""
    rig.scheduler.arm("slot", START, lambda: rig.scheduler.remove_job("slot"))
    rig.run()
    assert rig.scheduler.get_jobs() == []


def test_job_may_postpone_itself(rig):
    """With APScheduler's own methods, too."""

    def slot():
        rig.job("slot")
        if len(rig.ran) < 2:
            rig.scheduler.modify_job("slot", next_run_time=START + 2 * HOUR)

    rig.scheduler.arm("slot", START + HOUR, slot)
    rig.run()
    assert [at for _, at, _ in rig.ran] == [HOUR, 2 * HOUR]


def test_job_may_remove_another_that_is_due(rig):
    """After a cancellation no slot is taken."""
    rig.scheduler.arm("cancel", START, lambda: rig.scheduler.remove_job("slot"))
    rig.arm("slot", timedelta(0))
    rig.run()
    assert rig.ran == []


def test_job_may_postpone_another_that_is_due(rig):
    """It runs at its new time only."""
    rig.scheduler.arm("first", START, lambda: rig.arm("slot", HOUR))
    rig.arm("slot", timedelta(0))
    rig.run()
    assert rig.ran == [("slot", HOUR, START + HOUR)]


def test_jobs_that_came_due_during_a_long_job_run_after_it(rig):
    """On the one thread, one after the other, none lost."""
    rig.scheduler.arm("long", START, rig.clock.pass_time, 2 * HOUR)
    rig.arm("slot 2", 2 * HOUR)
    rig.arm("slot 1", HOUR)
    rig.run()
    assert rig.ran == [("slot 1", 2 * HOUR, START + 2 * HOUR), ("slot 2", 2 * HOUR, START + 2 * HOUR)]


# Turns


def test_turn_is_taken_before_the_first_job(rig):
    """So that nothing runs before the daemon has looked at the clock."""
    rig.scheduler._turn = lambda _: rig.job("turn")
    rig.arm("slot", -HOUR)
    rig.run()
    assert rig.order[:2] == ["turn", "slot"]


def test_job_whose_time_alone_ends_the_sleep_runs_before_the_turn(rig):
    """Nothing else has happened, and the turn would make it late."""
    rig.scheduler._turn = lambda _: rig.job("turn")
    rig.arm("slot", HOUR)
    rig.run()
    assert [job_id for job_id, at, _ in rig.ran if at == HOUR] == ["slot", "turn"]


def test_turn_is_taken_before_a_job_if_anything_else_happened(rig):
    """A clock that is set to just that time, a signal, the end of a scan."""
    rig.scheduler._turn = lambda _: rig.job("turn")
    rig.arm("slot", HOUR)
    rig.clock.at(HOUR, rig.clock.wake)
    rig.run()
    assert [job_id for job_id, at, _ in rig.ran if at == HOUR] == ["turn", "slot"]


def test_turn_is_taken_before_a_job_that_is_late_without_a_reason(rig):
    """The kernel may report that the clock was set an instant after the timer has run out for it."""

    def set_without_telling():
        rig.clock.shift(2 * HOUR)
        rig.clock._was_set = False

    rig.scheduler._turn = lambda _: rig.job("turn")
    rig.arm("slot", HOUR)
    rig.clock.at(HOUR, set_without_telling)
    rig.run()
    assert [job_id for job_id, at, _ in rig.ran if at == HOUR] == ["turn", "slot"]


def test_job_that_is_postponed_as_its_time_comes_runs_at_its_new_time(rig):
    """Another thread postponed it, and its wake-up has not come yet."""
    rig.arm("slot", HOUR)
    rig.clock.at(
        HOUR, lambda: (rig.scheduler.modify_job("slot", next_run_time=START + 2 * HOUR), rig.clock._woken.clear())
    )
    rig.run()
    assert [at for _, at, _ in rig.ran] == [2 * HOUR]


def test_turn_may_remove_a_job_that_is_due(rig):
    """While the clock isn't trusted, nothing runs that a wrong clock made due."""

    def turn(wake):
        if Wake.CLOCK_SET in wake:
            rig.scheduler.remove_all_jobs()

    rig.scheduler._turn = turn
    rig.arm("slot", HOUR)
    rig.clock.at(MINUTE, lambda: rig.clock.shift(timedelta(days=3650)))
    rig.run()
    assert rig.ran == []


def test_turn_is_given_its_reason(rig):
    """Once at the start (and for APScheduler's own wake-up there), then for each wake-up."""
    rig.arm("slot", HOUR)
    rig.clock.at(2 * HOUR, lambda: rig.clock.shift(-MINUTE))
    rig.clock.at(3 * HOUR, rig.scheduler.wakeup)
    rig.clock.at(4 * HOUR, lambda: rig.clock.suspend(HOUR))
    rig.run()
    assert rig.turns == [Wake.WOKEN, Wake.WOKEN, Wake.DUE, Wake.CLOCK_SET, Wake.WOKEN, Wake.CLOCK_SET]


def test_turn_is_taken_again_after_the_time_it_asks_for():
    """In seconds of the monotonic clock, which the watchdog uses, too."""
    rig = Rig(limit=timedelta(seconds=100))
    rig.timeout = 15.0
    rig.clock.at(timedelta(seconds=20), lambda: rig.clock.shift(-HOUR))
    rig.run()
    assert rig.turns[2:] == [Wake.TIMEOUT, Wake.CLOCK_SET, *[Wake.TIMEOUT] * 5]
    assert rig.clock.elapsed == timedelta(seconds=95)


def test_idle_scheduler_sleeps(rig):
    """A job ten years away and nothing else: not a single wake-up until then."""
    rig.arm("slot", timedelta(days=3650))
    rig.run()
    assert rig.clock.wakes == [Wake.WOKEN, Wake.DUE]


def test_scheduler_without_jobs_never_wakes_up(rig):
    """There is nothing to wait for."""
    rig.run()
    assert rig.clock.wakes == [Wake.WOKEN]


# What ends the loop


@pytest.mark.parametrize("error", [RuntimeError, SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("who", ["job", "turn"])
def test_failure_is_raised_by_start(rig, who, error):
    """APScheduler would log it and go on. A mistake of the daemon must end it, so that systemd restarts it."""

    def fail(*_):
        raise error("no space left")

    if who == "job":
        rig.scheduler.arm("slot", START + HOUR, fail)
    else:
        rig.scheduler._turn = fail
    rig.arm("next", 2 * HOUR)
    with pytest.raises(error, match="no space left"):
        rig.scheduler.start()
    assert not rig.scheduler.running
    assert rig.ran == []


def test_shutdown_in_a_job_ends_the_loop_after_it(rig):
    """Other jobs that are due don't run."""
    rig.scheduler.arm("last", START + HOUR, rig.scheduler.shutdown)
    rig.arm("slot", HOUR)
    rig.scheduler.start()
    assert rig.ran == []
    assert rig.clock.elapsed == HOUR


def test_shutdown_in_a_turn_ends_the_loop_before_any_job(rig):
    """SIGTERM is handled in the turn."""
    rig.scheduler._turn = lambda _: rig.scheduler.shutdown()
    rig.arm("slot", -HOUR)
    rig.scheduler.start()
    assert rig.ran == []


def test_shutdown_of_a_scheduler_that_does_not_run_is_refused(rig):
    """As by every scheduler of APScheduler."""
    with pytest.raises(SchedulerNotRunningError):
        rig.scheduler.shutdown()


def test_scheduler_can_be_started_again(rig):
    """The jobs of the first run are gone."""
    rig.scheduler.arm("last", START, rig.scheduler.shutdown)
    rig.arm("left over", HOUR)
    rig.scheduler.start()
    rig.arm("slot", HOUR)
    rig.run()
    assert rig.order == ["slot"]


def test_other_threads_arm_and_end_a_sleeping_scheduler():
    """On the machine's own clock: each call ends the sleep at once; the job runs on the loop's thread."""
    clock = SystemClock()
    ran_on = []
    armed = threading.Event()
    ran = threading.Event()

    def turn(_):
        armed.set()

    def job():
        ran_on.append(threading.current_thread())
        ran.set()

    scheduler = WallClockScheduler(clock, turn=turn)
    loop = threading.Thread(target=scheduler.start)
    loop.start()
    assert armed.wait(60)
    scheduler.arm("slot", clock.now(), job)
    assert ran.wait(60)
    scheduler.shutdown()
    loop.join(60)
    assert not loop.is_alive()
    assert ran_on == [loop]
    clock.close()


# As a scheduler of APScheduler


def test_other_threads_see_the_jobs_while_one_runs(rig):
    """APScheduler's own loop would lock them out until it is over."""
    seen = []

    def long_job():
        other = threading.Thread(target=lambda: seen.extend(rig.scheduler.get_jobs()))
        other.start()
        other.join(60)

    rig.scheduler.arm("long", START, long_job)
    rig.arm("slot", HOUR)
    rig.run()
    assert [job.id for job in seen] == ["long", "slot"]


def test_jobs_are_shown_with_their_names_and_times(rig):
    """Also before the start; while it runs, the next one first."""
    rig.scheduler.arm("slot 4", START + HOUR, rig.job, "slot 4", name="slot 4 of 24")
    rig.arm("warm-up", 59 * MINUTE)

    def jobs():
        return [(job.id, job.name, job.next_run_time) for job in rig.scheduler.get_jobs()]

    slot, warm_up = ("slot 4", "slot 4 of 24", START + HOUR), ("warm-up", "warm-up", START + 59 * MINUTE)
    assert jobs() == [slot, warm_up]
    rig.clock.at(MINUTE, lambda: rig.turns.append(jobs()))
    rig.run()
    assert [warm_up, slot] in rig.turns


def test_plain_add_job_works(rig):
    """With a date trigger by name, as the documentation of APScheduler has it."""
    rig.scheduler.add_job(rig.job, "date", ["slot"], run_date=START + HOUR)
    rig.run()
    assert rig.ran == [("slot", HOUR, START + HOUR)]


def test_repeated_job_counts_many_missed_times_as_one(rig):
    """After an outage it runs once, then at its next regular time."""
    trigger = IntervalTrigger(hours=1, start_date=START, timezone=UTC)
    rig.scheduler.add_job(rig.job, trigger, ["tick"], id="tick", next_run_time=START)
    rig.clock.at(150 * MINUTE, lambda: rig.clock.suspend(10 * HOUR))
    rig.clock.at(14.5 * HOUR, rig.scheduler.shutdown)
    rig.scheduler.start()
    assert [at / HOUR for _, at, _ in rig.ran] == [0, 1, 2, 12.5, 13, 14]


def test_paused_scheduler_runs_nothing_until_it_is_resumed(rig):
    """Turns go on."""
    rig.arm("slot", HOUR)
    rig.clock.at(MINUTE, rig.scheduler.pause)
    rig.clock.at(MINUTE, rig.scheduler.wakeup)
    rig.clock.at(2 * HOUR, rig.scheduler.resume)
    rig.run()
    assert rig.ran == [("slot", 2 * HOUR, START + 2 * HOUR)]


def test_paused_job_waits_until_it_is_resumed(rig):
    """The others don't."""
    rig.arm("slot", HOUR)
    rig.arm("other", HOUR)
    rig.clock.at(MINUTE, lambda: rig.scheduler.pause_job("slot"))
    rig.clock.at(2 * HOUR, lambda: rig.scheduler.modify_job("slot", next_run_time=START + 3 * HOUR))
    rig.run()
    assert [(job_id, at) for job_id, at, _ in rig.ran] == [("other", HOUR), ("slot", 3 * HOUR)]


def test_listeners_are_notified_of_a_job_that_ran(rig):
    """Ended, then taken off the list."""
    heard = []
    rig.scheduler.add_listener(
        lambda event: heard.append((event.code, event.job_id, event.jobstore)), EVENT_JOB_REMOVED | EVENT_JOB_EXECUTED
    )
    rig.arm("slot", HOUR)
    rig.run()
    assert heard == [(EVENT_JOB_EXECUTED, "slot", "default"), (EVENT_JOB_REMOVED, "slot", "default")]


def test_wrong_host_zone_is_no_obstacle(rig, monkeypatch):
    """APScheduler looks up the host's zone where it isn't given one, which fails on a broken one."""

    def broken():
        raise LookupError("/etc/timezone: no such zone")

    for module in ("apscheduler.schedulers.base", "apscheduler.triggers.date"):
        monkeypatch.setattr(f"{module}.get_localzone", broken)
    rig = Rig()
    rig.arm("slot", HOUR)
    rig.run()
    assert rig.order == ["slot"]


def test_operating_system_is_not_asked_for_the_time(rig, monkeypatch):
    """Only the clock that was passed in is."""

    class NoTime(datetime):
        @classmethod
        def now(cls, *_):
            raise AssertionError("asked the operating system")

    monkeypatch.setattr("apscheduler.schedulers.base.datetime", NoTime)
    monkeypatch.setattr("apscheduler.executors.base.datetime", NoTime)
    rig.arm("slot", HOUR)
    rig.scheduler.arm("early", START, rig.arm, "late", -HOUR)
    rig.run()
    assert rig.order == ["late", "slot"]


def test_good_run_logs_nothing_at_warning(rig, caplog):
    """APScheduler logs each job at INFO, and nothing from WARNING on."""
    rig.arm("slot", HOUR)
    rig.run()
    assert {record.name for record in caplog.records} <= {"apscheduler.scheduler"}
    assert all(record.levelname in ("DEBUG", "INFO") for record in caplog.records)


def test_nothing_is_left_of_jobs_that_ran(rig):
    """Ten thousand ids leave no trace in the scheduler or its executor."""
    for slot in range(10_000):
        rig.scheduler.arm(f"slot {slot}", START, int)
    rig.run()
    assert rig.scheduler.get_jobs() == []
    assert not rig.scheduler._executors["default"]._instances


def test_apscheduler_has_what_the_scheduler_overrides():
    """These private parts of APScheduler are used; if one goes, this test finds out before a rig does."""
    assert callable(BaseScheduler._process_jobs)  # else ours overrides nothing
    assert callable(BaseScheduler._create_default_executor)
    assert callable(BaseScheduler._create_default_jobstore)
    assert callable(BaseScheduler._dispatch_event)
    scheduler = WallClockScheduler(VirtualClock(), turn=lambda _: None)
    with (
        scheduler._jobstores_lock,
        scheduler._jobstores_lock,
    ):  # re-entrant: `_claim` holds it and calls the public methods
        assert scheduler._jobstores == {}
    assert base.STATE_RUNNING == 1


def test_import_costs_no_more_than_apscheduler_itself():
    """For a fast boot: beside APScheduler's core, its date trigger and msgspec, only small modules are loaded."""
    program = (
        "import sys, apscheduler.schedulers.base, apscheduler.triggers.date, msgspec\n"
        "before = set(sys.modules)\n"
        "import plantimager.timelapse.daemon.scheduler\n"
        "print(*{name.partition('.')[0] for name in set(sys.modules) - before})"
    )
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert set(loaded.split()) <= {"plantimager", "ctypes", "_ctypes", "dataclasses", "copy", "__future__"}


# Whatever happens to the clock


MICROSECONDS = st.integers(-(10**11), 10**11).map(lambda count: timedelta(microseconds=count))
MOMENTS = st.timedeltas(timedelta(microseconds=1), timedelta(days=1))
HAPPENINGS = st.lists(
    st.tuples(
        MOMENTS,
        st.one_of(
            st.tuples(st.just("shift"), MICROSECONDS),
            st.tuples(st.just("suspend"), MOMENTS),
            st.tuples(st.just("wake")),
        ),
    ),
    max_size=12,
)


def first_moment(at, happenings):
    """Return when, on a machine to which these things happen, a wall clock first shows ``at`` to somebody awake.

    Worked out without the clock under test: between two happenings the wall clock runs evenly.
    """
    shift, awake_from = timedelta(0), timedelta(0)
    timeline = [*sorted(happenings, key=lambda happening: happening[0]), (timedelta.max, ("end",))]
    for until, (what, *amount) in timeline:
        moment = max(at - START - shift, awake_from)
        if moment < until:
            return moment
        awake_from = max(awake_from, until)
        if what == "shift":
            shift += amount[0]
        elif what == "suspend":
            awake_from += amount[0]
    raise AssertionError("time ends only after every job")


@given(jobs=st.lists(MICROSECONDS, max_size=20), happenings=HAPPENINGS)
def test_each_job_runs_once_and_as_soon_as_the_clock_shows_its_time(jobs, happenings):
    """Random jobs on a clock that is set, suspended and woken at random: never early, never twice, never late."""
    rig = Rig()
    for number, after in enumerate(jobs):
        rig.arm(f"{number}", after)
    rig.script(happenings)
    rig.run()
    assert sorted(rig.order, key=int) == [f"{number}" for number in range(len(jobs))]
    for job_id, elapsed, shown in rig.ran:
        at = START + jobs[int(job_id)]
        assert shown >= at
        assert elapsed == first_moment(at, happenings)
    for (one, one_at, _), (other, other_at, _) in pairwise(rig.ran):
        same_moment = one_at == other_at
        assert not same_moment or (jobs[int(one)], int(one)) < (jobs[int(other)], int(other))
    assert len(rig.clock.wakes) <= 1 + len(jobs) + len(happenings)


@given(jobs=st.lists(MICROSECONDS, max_size=20), happenings=HAPPENINGS, long=st.timedeltas(timedelta(0), HOUR))
def test_each_job_runs_once_and_in_time_order_when_jobs_take_long(jobs, happenings, long):
    """One after the other, each not before its time, whatever happens meanwhile."""
    rig = Rig()

    def job(number, at):
        assert rig.clock.now() >= at
        rig.job(number)
        rig.clock.pass_time(long)

    for number, after in enumerate(jobs):
        rig.scheduler.arm(f"{number}", START + after, job, number, START + after)
    rig.script(happenings)
    rig.run()
    assert sorted(rig.order) == list(range(len(jobs)))
    for (_, began, _), (_, following, _) in pairwise(rig.ran):
        assert following - began >= long
