"""APScheduler, bound to the wall clock and to one thread.

APScheduler 3 computes how long to sleep and then sleeps that long, so it fires late after a suspend or a clock set
forward. It runs jobs in threads, and logs and drops what they raise. The scheduler here waits for an *instant*, wakes
up when the clock is set, and runs jobs in its own loop, which lets through what they raise.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from apscheduler.events import EVENT_JOB_EXECUTED, JobExecutionEvent
from apscheduler.executors.base import BaseExecutor
from apscheduler.jobstores.base import BaseJobStore, ConflictingIdError, JobLookupError
from apscheduler.schedulers.base import STATE_RUNNING, BaseScheduler
from apscheduler.triggers.date import DateTrigger

from plantimager.timelapse.support.clock import MIN_STEP, Wake

if TYPE_CHECKING:
    from collections.abc import Callable

    from apscheduler.job import Job

    from plantimager.timelapse.support.clock import Clock

NEVER: Final = datetime.max.replace(tzinfo=UTC)


class WallClockScheduler(BaseScheduler):
    """A scheduler whose `start` keeps the schedule in the calling thread until `shutdown`.

    After every wake-up, and once before the first sleep, it calls ``turn`` with the reason, then runs the jobs that
    are due, the earliest first. A job runs before the turn where its time alone ended the sleep. ``turn`` returns
    after how many seconds (of the monotonic clock) to call it again even if nothing happens, `None` for not at all.
    Both run on the loop's thread; what they raise ends the loop and is raised by `start`. All other methods are for
    any thread.

    A job whose time is past runs at once, however late: the caller judges lateness.
    """

    def __init__(self, clock: Clock, *, turn: Callable[[Wake], float | None], **options: Any) -> None:
        self._clock, self._turn = clock, turn
        defaults = {"misfire_grace_time": None, "coalesce": True, "max_instances": 1}
        super().__init__(**{"timezone": UTC, "job_defaults": defaults, **options})

    def arm(
        self, job_id: str, at: datetime, func: Callable[..., object], *args: object, name: str | None = None
    ) -> Job:
        """Have ``func(*args)`` called at ``at``, once; this takes the place of a job of the same id.

        Raises
        ------
        ValueError
            ``at`` is naive, and so no instant.
        """
        if at.tzinfo is None:
            raise ValueError(f"job {job_id} can't be armed for {at}, which has no time zone")
        at = at.astimezone(UTC)
        return self.add_job(
            func,
            DateTrigger(at, UTC),
            args,
            id=job_id,
            name=name or job_id,
            next_run_time=at,  # else APScheduler would ask the OS for the time
            replace_existing=True,
        )

    def start(self, paused: bool = False) -> None:
        """Keep the schedule until `shutdown`.

        Raises
        ------
        BaseException
            ``turn`` or a job raised it. The scheduler is shut down by then.
        """
        super().start(paused)
        try:
            self._loop()
        finally:
            if self.running:
                self.shutdown()

    def shutdown(self, wait: bool = True) -> None:
        """End the loop after the job or turn that is running, without waiting for it."""
        super().shutdown(wait)
        self.wakeup()

    def wakeup(self) -> None:
        """Have the loop take a turn now. Any thread, and signal handlers."""
        self._clock.wake()

    def _loop(self) -> None:
        """Sleep, run jobs and take turns until `shutdown`.

        The next job is looked up before the sleep, so that little is done between its time and its call: every
        microsecond there is one of lateness.
        """
        wake, following = Wake.WOKEN, None
        while True:
            if following is not None and wake == Wake.DUE:
                self._run_on_time(*following)
                if not self.running:
                    return
            timeout = self._turn(wake)
            self._process_jobs()
            if not self.running:
                return
            following = self._next_job()
            wake = self._clock.wait(None if following is None else following[1], timeout)

    def _run_on_time(self, job: Job, at: datetime) -> None:
        """Run a job whose time alone ended the sleep, before the turn.

        A job that is late all the same waits for the turn: when the clock is set over a timer, or the machine wakes
        up after it, the kernel may let the timer run out an instant before it reports the cause.
        """
        now = self._clock.now()
        if now - at < MIN_STEP:
            self._run_if_due(job, now)

    def _process_jobs(self) -> None:
        """Run the jobs that are due, the earliest first.

        This replaces APScheduler's own method, which asks the OS for the time, locks out other threads while a job
        runs, removes a job that was armed anew under its own id, and logs what executors raise.
        """
        now = self._clock.now()
        with self._jobstores_lock:
            due = [job for store in self._jobstores.values() for job in store.get_due_jobs(now)]
        for job in sorted(due, key=_run_time):
            self._run_if_due(job, now)
            now = self._clock.now()

    def _next_job(self) -> tuple[Job, datetime] | None:
        """Return the next job and its time, `None` if there is none or the scheduler is paused."""
        if self.state != STATE_RUNNING:
            return None
        with self._jobstores_lock:
            jobs = [job for store in self._jobstores.values() for job in store.get_all_jobs()]
        job = min(jobs, key=_run_time, default=None)
        return None if job is None or job.next_run_time is None else (job, job.next_run_time)

    def _run_if_due(self, job: Job, now: datetime) -> None:
        """Run a job that was found due, if it still is.

        A job before it, or another thread, may have removed, postponed or armed it anew, paused or stopped the
        scheduler, or set the clock back.
        """
        if self.state == STATE_RUNNING and self.get_job(job.id) is job and _run_time(job) <= now:
            run_time = job.next_run_time
            self._lookup_executor(job.executor).submit_job(job, [run_time])
            self._reschedule(job, run_time, self._clock.now())

    def _reschedule(self, job: Job, run_time: datetime, now: datetime) -> None:
        """Remove a job that ran, or move it to its next time, unless it has done so itself."""
        with self._jobstores_lock:
            if self.get_job(job.id) is not job or job.next_run_time != run_time:
                return
            following = job.trigger.get_next_fire_time(run_time, now)
            while following is not None and following <= now:  # many missed times of a repeated job count as one
                following = job.trigger.get_next_fire_time(following, now)
            if following is None:
                self.remove_job(job.id)
            else:
                self.modify_job(job.id, next_run_time=following)

    def _create_default_executor(self) -> InlineExecutor:
        return InlineExecutor()

    def _create_default_jobstore(self) -> OrderedJobStore:
        return OrderedJobStore()


class InlineExecutor(BaseExecutor):
    """An executor that runs a job at once, on the loop's thread, and lets through what it raises.

    APScheduler's own `DebugExecutor` catches even `SystemExit`, and keeps a count for every job id that it has seen.
    """

    def submit_job(self, job: Job, run_times: list[datetime]) -> None:
        """Run ``job`` now; no instances are counted, since there is never a second one."""
        self._do_submit_job(job, run_times)

    def _do_submit_job(self, job: Job, run_times: list[datetime]) -> None:
        result = job.func(*job.args, **job.kwargs)
        alias = job._jobstore_alias  # noqa: SLF001 - APScheduler has no other way for executors
        for run_time in run_times:
            event = JobExecutionEvent(EVENT_JOB_EXECUTED, job.id, alias, run_time, retval=result)
            self._scheduler._dispatch_event(event)  # noqa: SLF001 - the way in which executors notify listeners


class OrderedJobStore(BaseJobStore):
    """Jobs in memory, sorted by time and then by the order of their arming, where APScheduler's own sorts by id.

    Each look sorts them: the daemon has only the jobs of the next slot.
    """

    def __init__(self) -> None:
        super().__init__()
        self._jobs: dict[str, Job] = {}

    def lookup_job(self, job_id: str) -> Job | None:
        """Return the job, `None` if there is none."""
        return self._jobs.get(job_id)

    def get_due_jobs(self, now: datetime) -> list[Job]:
        """Return the jobs for ``now`` and before."""
        return [job for job in self.get_all_jobs() if _run_time(job) <= now]

    def get_next_run_time(self) -> datetime | None:
        """Return the time of the earliest job, `None` if all are paused or there is none."""
        return min((job.next_run_time for job in self._jobs.values() if job.next_run_time is not None), default=None)

    def get_all_jobs(self) -> list[Job]:
        """Return all jobs, the paused ones last."""
        return sorted(self._jobs.values(), key=_run_time)

    def add_job(self, job: Job) -> None:
        """Add a job; its id must be new."""
        if job.id in self._jobs:
            raise ConflictingIdError(job.id)
        self._jobs[job.id] = job

    def update_job(self, job: Job) -> None:
        """Put ``job`` in the place of the one with its id, as the latest in the order."""
        self.remove_job(job.id)
        self._jobs[job.id] = job

    def remove_job(self, job_id: str) -> None:
        """Remove a job, which must be there."""
        if self._jobs.pop(job_id, None) is None:
            raise JobLookupError(job_id)

    def remove_all_jobs(self) -> None:
        """Remove all jobs."""
        self._jobs.clear()

    def shutdown(self) -> None:
        """Remove all jobs: a scheduler that is started again starts without any."""
        self.remove_all_jobs()


def _run_time(job: Job) -> datetime:
    """Return the time by which a job is sorted; a paused job comes last."""
    return NEVER if job.next_run_time is None else job.next_run_time
