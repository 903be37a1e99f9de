"""The conductor: turns what comes due into calls of the driver, and what comes back into transitions.

Everything here runs on the loop thread. Each step keeps the order of the design: build the next
value, save it, adopt it, act, tell.
"""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct
from msgspec.structs import replace

from plantimager.timelapse.daemon import reports
from plantimager.timelapse.daemon.agenda import Agenda
from plantimager.timelapse.daemon.journal import Action, log_event
from plantimager.timelapse.daemon.manual_hold import ManualHold
from plantimager.timelapse.daemon.rig_thread import PROGRESS_INTERVAL, CallMonitor, CallOutcome, Rig, call_with_timeout
from plantimager.timelapse.domain.durations import format_duration
from plantimager.timelapse.domain.power import wants_standby
from plantimager.timelapse.domain.schedule import EARLIEST, format_instant
from plantimager.timelapse.domain.states import Reason, TimeLapseState
from plantimager.timelapse.domain.timelapse import MINIMUM_GRACE
from plantimager.timelapse.domain.wording import describe_next_slot, describe_slot, format_local_time
from plantimager.timelapse.drivers.base import Call, ScannerDriver
from plantimager.timelapse.drivers.manual_control import ManualControl
from plantimager.timelapse.scan.request import ScanRequest
from plantimager.timelapse.settings.config import Missed
from plantimager.timelapse.support.durable import write_refusal
from plantimager.timelapse.support.errors import (
    DriverError,
    DriverStalled,
    ManualCommandRefused,
    ScanCancelled,
    ScanFailed,
    ScannerNotReady,
    ScanTimedOut,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from pathlib import Path

    from plantimager.timelapse.daemon.keeper import Keeper
    from plantimager.timelapse.daemon.manual_hold import ManualRequest
    from plantimager.timelapse.daemon.scheduler import WallClockScheduler
    from plantimager.timelapse.domain.timelapse import TimeLapse
    from plantimager.timelapse.settings.config import Config
    from plantimager.timelapse.support.clock import Clock, ClockStep

FIRST_PAUSE: Final = timedelta(seconds=2)
"""Before a rig that wasn't ready is asked again; doubled each time."""
LONGEST_PAUSE: Final = timedelta(seconds=30)
CANCEL_PATIENCE: Final = timedelta(seconds=30)
"""What a driver gets to come to its next safe point before it is given up."""
LAST_CALL: Final = timedelta(seconds=1)
"""How long before the end of its grace period a slot's rig is asked once more: at the very end it would be too late."""
DATASETS_LIMIT: Final = timedelta(seconds=5)
"""For a look at the datasets' disk, which may be another computer's."""
SAVE_PAUSE: Final = timedelta(seconds=10)
"""Between two tries to write a store that couldn't be written."""


class _Absence(Struct, frozen=True):
    """A rig that isn't ready: since how many tries, and when it is asked again."""

    slot: int
    tries: int
    again_at: datetime


class Conductor:
    """Keeps one timelapse going: the schedule armed, the rig busy, the store true."""

    def __init__(
        self,
        keeper: Keeper,
        scheduler: WallClockScheduler,
        rig: Rig,
        clock: Clock,
        driver: ScannerDriver,
        config: Config,
        datasets: Path,
    ) -> None:
        self.keeper, self.scheduler, self.rig, self.clock = keeper, scheduler, rig, clock
        self.driver, self.config, self.datasets = driver, config, datasets
        self.agenda = Agenda(scheduler, self._slot_due, self._warm_up)
        self.configuration: Mapping[str, Any] = {}
        """The scan configuration of the timelapse that is held."""
        self.armed = False
        """Whether time may be acted on: the clock is trusted and nobody is stopping us."""
        self.warm: bool | None = None
        """Whether the rig is powered up, as far as we know."""
        self.datasets_trouble: str | None = None
        """Why datasets can't be put where they are to go, as of the last look."""
        self.abandoned: str | None = None
        """Why the process has to be replaced: a driver call that never ends."""
        self.manual_hold = ManualHold(clock)
        """The hold that a person has on the rig between scans."""
        self._verdict: ScanFailed | None = None
        """Why the running scan was cancelled by us."""
        self._stopping = False
        self._absence: _Absence | None = None
        self._shift = timedelta(0)
        """How far the clock was set since the schedule was last judged by it; negative for backward."""
        self._retry_at: float | None = None

    # --- what is held ---------------------------------------------------------------------------

    @property
    def timelapse(self) -> TimeLapse | None:
        """The timelapse as it is now."""
        return self.keeper.timelapse

    @property
    def scanning(self) -> bool:
        """Whether a scan is being taken."""
        return self.timelapse is not None and self.timelapse.state is TimeLapseState.RUNNING

    @property
    def progress(self) -> tuple[int, int] | None:
        """How far the running scan is: done, total; ``None`` before its first sign."""
        watch = self.rig.watch
        return watch.steps[:2] if self.scanning and watch is not None and watch.steps[1] else None

    # --- beginning ------------------------------------------------------------------------------

    def begin(self, configuration: Mapping[str, Any]) -> None:
        """Start to keep the timelapse that the keeper holds: one that was just defined, or resumed."""
        self.configuration = configuration
        self._absence = None
        self.plan()
        self.settle_rig()

    def look_at_datasets(self) -> None:
        """Look whether datasets can be put where they are to go: before the next slot is due, not only then."""
        before, self.datasets_trouble = self.datasets_trouble, None
        if self.timelapse is None or not self.timelapse.state.is_active:
            return
        try:
            why = call_with_timeout(DATASETS_LIMIT, "datasets", partial(write_refusal, self.datasets))
        except DriverStalled:  # the server of a network disk is gone
            why = f"no answer within {format_duration(DATASETS_LIMIT)}"
        if why is None:
            return
        self.datasets_trouble = f"{self.datasets}: datasets can't be put there: {why}"
        if self.datasets_trouble != before:
            reports.datasets_out_of_reach(self.timelapse, self.datasets_trouble)

    # --- the schedule ---------------------------------------------------------------------------

    def plan(self) -> None:
        """Look at the schedule afresh: record what went by, arm what comes next. Any time; does no harm twice."""
        timelapse = self.timelapse
        self.agenda.clear()
        if timelapse is None or not self.armed or self.scanning or self.abandoned:
            return
        now = self.clock.now()
        after = self.judge(timelapse, now)
        if after is not timelapse:
            self.keeper.commit(after, now)
            reports.slots_given_back(timelapse, after, now)
            reports.slots_passed(timelapse, after, now)
            reports.timelapse_over(timelapse, after, self.datasets)
            self.settle_rig()
        if after.next_at is None:
            return
        at = after.next_at
        if self._absence is not None and self._absence.slot != after.next_idx:
            self._absence = None
        if self._absence is not None:
            at = max(at, self._absence.again_at)  # which is earlier where the clock was set back
        self.agenda.put(after, at, now, warm=self.warm is True)

    def suspend(self) -> None:
        """Act on no time any more: the clock isn't trusted, or the end has come."""
        self.armed = False
        self.agenda.clear()

    def clock_moved(self, step: ClockStep) -> None:
        """Look at everything afresh after the clock was set; slots that it jumped over say so in their record."""
        self._absence = None
        self._shift += step.shift
        now = self.clock.now()
        timelapse = self.timelapse
        if timelapse is not None and timelapse.state is TimeLapseState.RUNNING:
            self.keeper.commit(_redated(timelapse, step.shift), now)
        self.plan()
        saved_at = self.keeper.logbook.saved_at
        if saved_at is not None and saved_at > now:
            self.keeper.retry(now)  # or the next start would not trust a clock that is behind the last write
        self.settle_rig()

    def judge(self, timelapse: TimeLapse, now: datetime, away: str = "") -> TimeLapse:
        """Return what the schedule is by the clock as it is set now: slots given back, and slots passed.

        Those that were late before the clock was set forward owe nothing to that; ``away`` says why they were missed.
        """
        shift, self._shift = self._shift, timedelta(0)
        if shift < timedelta(0):
            timelapse = timelapse.reopen_slots(now)
        unset = now - max(shift, timedelta(0))
        timelapse = timelapse.skip_late_slots(unset, Reason.MISSED, away, run_latest=self._run_latest)
        words = f"the clock was set forward by {format_duration(shift)}"
        return timelapse.skip_late_slots(now, Reason.CLOCK_MOVED, words, run_latest=self._run_latest)

    @property
    def _run_latest(self) -> bool:
        return self.config.missed is Missed.RUN_LATEST

    # --- a slot ---------------------------------------------------------------------------------

    def _warm_up(self, slot: int) -> None:
        timelapse = self._still_next(slot)
        if timelapse is None:
            return
        self.look_at_datasets()
        self.warm = True
        self.rig.submit(self.driver, Call.PREPARE)
        if self._absence is None:  # else it is one more try, of which the journal knows
            log_event(Action.RIG_WARMUP, f"for {describe_slot(timelapse, slot)}", timelapse=timelapse, slot=slot)

    def _slot_due(self, slot: int) -> None:
        timelapse, now = self._still_next(slot), self.clock.now()
        if timelapse is None:
            return
        running = timelapse.begin(now, self.clock.boot_id())
        self.keeper.commit(running, now)
        self._scan(running, now)

    def _still_next(self, slot: int) -> TimeLapse | None:
        """Return the timelapse if the job of a slot that is due has still its point; else look at everything afresh.

        Either way the loop takes another turn, to tell and to watch what the job led to.
        """
        self.scheduler.wakeup()
        timelapse, now = self.timelapse, self.clock.now()
        is_next = timelapse is not None and timelapse.next_idx == slot
        if timelapse is None or not is_next or timelapse.late_slots(now, run_latest=self._run_latest):
            self.plan()
            return None
        return timelapse

    def _scan(self, timelapse: TimeLapse, now: datetime) -> None:
        """Have the running attempt taken."""
        self._verdict = None
        self.warm = True
        request = self.scan_request(timelapse)
        self.rig.submit(self.driver, Call.SCAN, request)
        if self._absence is None:
            reports.scan_started(timelapse, now)

    def scan_request(self, timelapse: TimeLapse) -> ScanRequest:
        """Return what the driver is told of the running attempt."""
        slot = timelapse.next_idx
        record = timelapse.records[slot]
        begin = timelapse.start_at or timelapse.schedule_times[0]
        about = self.configuration.get("timelapse")
        about = {**(about if isinstance(about, dict) else {}), "start_at": format_instant(begin)}
        return ScanRequest(
            scan_id=record.scan_id,
            timelapse_id=timelapse.id,
            index=slot,
            attempt=record.attempt,
            scheduled_at=timelapse.schedule_times[slot],
            started_at=record.started_at,
            dataset_dir=self.datasets / record.scan_id,
            configuration={**self.configuration, "timelapse": about},
        )

    def rig_answered(self, outcome: CallOutcome) -> None:
        """Take in how a driver call ended."""
        if outcome.call is Call.SCAN:
            self.scan_ended(outcome)
        elif outcome.call is Call.MANUAL:
            if outcome.problem is not None:
                self.warm = None
            self.manual_hold.end(outcome)
            if not isinstance(self.driver, ManualControl):  # whose rig was only looked at
                self.manual_hold.let_go()
        elif outcome.problem is not None:
            if outcome.call is Call.PREPARE:
                self.warm = None
            if not isinstance(outcome.problem, ScannerNotReady):
                reports.rig_trouble(outcome.call, outcome.problem)
            elif self._absence is None:
                log_event(Action.RIG_NOT_READY, f"{outcome.call}: {outcome.problem}", timelapse=self.timelapse)

    def scan_ended(self, outcome: CallOutcome) -> None:
        """Record how an attempt ended, and go on: with its next attempt, or with the next slot."""
        timelapse, request = self.timelapse, outcome.request
        if timelapse is None or request is None or not self._is_running(timelapse, request):
            return  # cancelled by the operator meanwhile, and recorded so
        now = self.clock.now()
        problem = outcome.problem
        if isinstance(problem, ScannerNotReady) and not self._stopping:
            self._wait_for_rig(timelapse, problem, now)
            return
        if problem is None:
            self.datasets_trouble = None  # or it would be shown until the next look
            ended = timelapse.succeed(now, outcome.result.pictures if outcome.result else None)
        elif self._stopping:
            ended = timelapse.interrupt(now, "the service was stopped")
        else:
            problem = self._judged(problem)
            ended = timelapse.fail_attempt(now, problem)
        self._absence = None
        if ended.state is TimeLapseState.RUNNING:
            self.keeper.commit(ended, now)
            reports.attempt_failed(ended, problem)
            self._scan(ended, now)
            return
        after = ended if self._stopping else self.judge(ended, now)
        self.keeper.commit(after, now)
        reports.scan_ended(after, request.index, now, outcome.result, outcome.problem)
        reports.slots_given_back(ended, after, now)
        reports.slots_passed(ended, after, now)
        reports.timelapse_over(timelapse, after, self.datasets)
        if not self._stopping:
            self.manual_hold.let_go()
            self.plan()
            self.settle_rig()

    @staticmethod
    def _is_running(timelapse: TimeLapse, request: ScanRequest) -> bool:
        record = timelapse.current
        return (
            timelapse.state is TimeLapseState.RUNNING
            and record is not None
            and (timelapse.id, record.slot, record.attempt) == (request.timelapse_id, request.index, request.attempt)
        )

    def _is_outdated(self, request: ScanRequest | None) -> bool:
        """Whether a scan is under way, or was queued, that the operator has cancelled."""
        return request is not None and (self.timelapse is None or not self._is_running(self.timelapse, request))

    def _judged(self, problem: BaseException) -> Exception:
        """Return what an attempt is recorded as failed with."""
        if self._verdict is not None:
            return self._verdict
        if isinstance(problem, ScanCancelled):
            return ScanFailed("the driver stopped the scan, though nobody had cancelled it")
        if isinstance(problem, DriverError):
            return problem
        words = str(problem)
        return ScanFailed(f"{type(problem).__name__}{': ' if words else ''}{words}")

    def _wait_for_rig(self, timelapse: TimeLapse, problem: ScannerNotReady, now: datetime) -> None:
        """Try again within the grace period, ever more slowly, and once more at its end; no attempt is used."""
        slot = timelapse.next_idx
        waiting = timelapse.rig_not_ready(problem)
        self.keeper.commit(waiting, now)
        tries = self._absence.tries + 1 if self._absence is not None else 0
        again_at = now + min(FIRST_PAUSE * 2 ** min(tries, 10), LONGEST_PAUSE)
        over_at = timelapse.schedule_times[slot] + max(timelapse.grace, MINIMUM_GRACE)
        last_call = over_at - LAST_CALL
        if now < last_call:
            again_at = min(again_at, last_call)
        elif now <= over_at:
            again_at = over_at + timedelta.resolution  # later than its grace: it is given up
        self._absence = _Absence(slot, tries, again_at)
        self.warm = None
        if tries == 0:
            end = format_local_time(over_at, now) if now <= over_at else "the next slot is due"
            until = f"it is asked again until {end}"
            log_event(
                Action.RIG_NOT_READY,
                f"{describe_slot(waiting, slot)}: {problem}; {until}",
                timelapse=waiting,
                slot=slot,
            )
        self.plan()

    # --- people ---------------------------------------------------------------------------------

    def cancel(self, who: str, why: str) -> TimeLapse:
        """Cancel the timelapse; a running scan is stopped at its next safe point.

        Raises
        ------
        IllegalTransition
            It isn't active.

        """
        timelapse = self.timelapse
        if timelapse is None:
            raise LookupError("there is no timelapse")
        now = self.clock.now()
        after = timelapse.cancel(now, who, why)
        self.keeper.commit(after, now)
        log_event(Action.TIMELAPSE_CANCELLED, f"{after.id} by {who}: {why}; {after.tally}", timelapse=after)
        self._absence = None
        self.plan()
        self.settle_rig()
        return after

    def run_manual(self, manual: ManualRequest) -> None:
        """Have the rig do what a person asks for; the manual is answered when it is done.

        Raises
        ------
        NotByHand
            The timelapse comes first, somebody else is at the rig, or the driver offers no such thing.

        """
        if self.abandoned is not None:
            raise ManualCommandRefused(f"{self.abandoned}; the daemon is about to be restarted")
        self.manual_hold.check_free(self.timelapse, self.rig.watch)
        manual.check_offered(self.driver)
        if isinstance(self.driver, ManualControl):
            self.warm = True
        self.manual_hold.begin(manual)
        self.rig.submit(self.driver, Call.MANUAL, manual=manual)

    # --- power ----------------------------------------------------------------------------------

    def settle_rig(self) -> None:
        """Power the rig down when there is nothing to do for it for a while."""
        if self.warm is False or self.scanning or self.abandoned or not self.armed or self.manual_hold.on:
            return
        timelapse = self.timelapse
        now = self.clock.now()
        if wants_standby(timelapse, now):
            self.warm = False
            self.rig.submit(self.driver, Call.STANDBY)
            why = "nothing to do" if timelapse is None else describe_next_slot(timelapse, now)
            log_event(Action.RIG_STANDBY, why, timelapse=timelapse)

    # --- stopping -------------------------------------------------------------------------------

    def stop(self) -> None:
        """Begin to stop: act on no time any more, and (see `watch`) have the scan come to its next safe point."""
        self._stopping = True
        self.suspend()

    def record_stop(self) -> None:
        """Put a last sign of life on record; a scan that is still running counts as interrupted."""
        timelapse, now = self.timelapse, self.clock.now()
        if timelapse is None or not timelapse.state.is_active:
            if self.keeper.trouble is not None:
                self.keeper.retry(now)
            return
        after = timelapse
        if timelapse.state is TimeLapseState.RUNNING:
            after = timelapse.interrupt(now, "the service was stopped, and the driver did not stop in time")
        self.keeper.commit(after, now)
        if after is not timelapse:
            reports.slot_interrupted(after, after.next_idx, now)

    # --- watching -------------------------------------------------------------------------------

    def watch(self) -> float | None:
        """Look after the driver call that is being made and after the disk; return when to look again, in s."""
        waits = [self._watch_save(), self._watch_manual_hold()]
        watch = self.rig.watch
        if watch is not None and self.abandoned is None:
            waits.append(self._watch_call(watch))
        return min((wait for wait in waits if wait is not None), default=None)

    def _watch_save(self) -> float | None:
        if self.keeper.trouble is None:
            self._retry_at = None
            return None
        now = self.clock.monotonic()
        if self._retry_at is None:
            self._retry_at = now + SAVE_PAUSE.total_seconds()
        elif now >= self._retry_at:
            if self.keeper.retry(self.clock.now()):
                self._retry_at = None
                return None
            self._retry_at = now + SAVE_PAUSE.total_seconds()
        return self._retry_at - now

    def _watch_manual_hold(self) -> float | None:
        """Let the rig settle when a person has left it alone for long enough."""
        left = self.manual_hold.left
        if left != 0:
            return left
        self.manual_hold.let_go()
        self.settle_rig()
        if self.warm is not False and self.armed and not self.scanning and self.abandoned is None:
            # A slot is too near for standby. Being prepared the rig is as the timelapse wants it, lights included.
            self.rig.submit(self.driver, Call.PREPARE)
        return None

    def _watch_call(self, watch: CallMonitor) -> float | None:
        gives_way = watch.manual is not None and self.manual_hold.must_end(self.timelapse, stopping=self._stopping)
        if gives_way or self._stopping or self._is_outdated(watch.request):
            watch.cancel()
        now = self.clock.monotonic()
        if watch.cancelled_at is not None:
            left = watch.cancelled_at + CANCEL_PATIENCE.total_seconds() - now
            if left > 0:
                return left
            self._abandon(watch)
            return None
        stalled_in = watch.last_sign + self.config.stall_timeout.total_seconds() - now
        over_in = watch.began + self.config.scan_timeout.total_seconds() - now
        if min(stalled_in, over_in) > 0:
            # Progress that came too soon after the last to wake the loop is shown all the same.
            unseen = [PROGRESS_INTERVAL] if now - watch.last_sign < PROGRESS_INTERVAL else []
            return min(stalled_in, over_in, *unseen)
        verdict: ScanFailed = ScanTimedOut(self.config.driver, self.config.scan_timeout)
        if stalled_in <= 0:
            verdict = DriverStalled(self.config.driver, self.config.stall_timeout, abandoned=False)
        watch.cancel()
        slot = watch.request.index if watch.request is not None else None
        if slot is not None:  # any other call that hangs says nothing about a scan that waits behind it
            self._verdict = verdict
        if watch.manual is not None:
            self.manual_hold.break_off(str(verdict))
        log_event(Action.DRIVER_STALLED, str(verdict), timelapse=self.timelapse, slot=slot)
        return CANCEL_PATIENCE.total_seconds()

    def _abandon(self, watch: CallMonitor) -> None:
        """Give up a driver call that doesn't end: record it, and have the process replaced."""
        timelapse = self.timelapse
        stalled = DriverStalled(self.config.driver, self.config.stall_timeout, abandoned=True)
        self.abandoned = str(stalled)
        self.manual_hold.abandon(f"{stalled}; the daemon is restarted")
        self.agenda.clear()
        if timelapse is not None and timelapse.state is TimeLapseState.RUNNING:
            now = self.clock.now()
            if self._stopping:
                self.record_stop()
            elif watch.request is None or self._is_outdated(watch.request):
                after = timelapse.interrupt(now, "the driver hung in the call before it")
                self.keeper.commit(after, now)
                reports.slot_interrupted(after, after.next_idx, now)
            else:
                after = timelapse.fail_attempt(now, stalled, give_up=True)
                self.keeper.commit(after, now)
                reports.scan_ended(after, timelapse.next_idx, now, None, stalled)
                reports.timelapse_over(timelapse, after, self.datasets)
        log_event(Action.DRIVER_ABANDONED, f"{stalled}; the daemon must be restarted", timelapse=self.timelapse)


def _redated(timelapse: TimeLapse, shift: timedelta) -> TimeLapse:
    """Return the running attempt's beginning by the clock as it is set now: so its duration stays right."""
    record = timelapse.records[timelapse.next_idx]
    if record.started_at is None:
        return timelapse
    began = replace(record, started_at=max(record.started_at + shift, EARLIEST))
    return replace(timelapse, records={**timelapse.records, record.slot: began})
