"""The conductor: turns what comes due into calls of the driver, and what comes back into transitions.

Everything here runs on the loop thread. Each step keeps the order of the design: build the next
value, save it, adopt it, act, tell.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from plantimager.controller.scanner.drivers.base import ScannerDriver, ScanRequest
from plantimager.controller.scanner.durations import spoken
from plantimager.controller.scanner.errors import (
    DriverError,
    DriverStalled,
    ScanCancelled,
    ScanFailed,
    ScannerNotReady,
    ScanTimedOut,
)
from plantimager.controller.scanner.power import wants_standby, warmup_at
from plantimager.controller.scanner.schedule import write_instant
from plantimager.controller.scanner.states import Reason, TimeLapseState
from plantimager.controller.timelapsed import reports
from plantimager.controller.timelapsed.config import Missed
from plantimager.controller.timelapsed.journal import Action, tell
from plantimager.controller.timelapsed.rig import Call, Outcome, Rig
from plantimager.controller.timelapsed.words import local_time, next_words, slot_words

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from pathlib import Path

    from plantimager.controller.scanner.stored_timelapse import StoredTimelapse
    from plantimager.controller.scanner.timelapse import TimeLapse
    from plantimager.controller.timelapsed.clock import Clock, ClockStep
    from plantimager.controller.timelapsed.config import Config
    from plantimager.controller.timelapsed.keeper import Keeper
    from plantimager.controller.timelapsed.scheduler import WallClockScheduler

SLOT_JOB: Final = "slot"
WARMUP_JOB: Final = "warm-up"

FIRST_PAUSE: Final = timedelta(seconds=2)
"""Before a rig that wasn't ready is asked again; doubled each time."""
LONGEST_PAUSE: Final = timedelta(seconds=30)
CANCEL_PATIENCE: Final = timedelta(seconds=30)
"""What a driver gets to come to its next safe point before it is given up."""
SAVE_PAUSE: Final = timedelta(seconds=10)
"""Between two tries to write a store that couldn't be written."""


@dataclass(frozen=True, slots=True)
class _Absence:
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
        self.configuration: Mapping[str, Any] = {}
        """The scan configuration of the timelapse that is held."""
        self.armed = False
        """Whether time may be acted on: the clock is trusted and nobody is stopping us."""
        self.warm: bool | None = None
        """Whether the rig is powered up, as far as we know."""
        self.abandoned: str | None = None
        """Why the process has to be replaced: a driver call that never ends."""
        self._verdict: ScanFailed | None = None
        """Why the running scan was cancelled by us."""
        self._stopping = False
        self._absence: _Absence | None = None
        self._late: tuple[Reason, str] = (Reason.MISSED, "")
        """What slots are recorded with that turn out to be late."""
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

    def resume(self, stored: StoredTimelapse, configuration: Mapping[str, Any]) -> None:
        """Go on with a timelapse that was read from the store, as DESIGN's section on resume has it.

        One pass and one save settle what became of the slot that was being taken and of those that
        went by; then the rest is armed.
        """
        self.configuration = configuration
        self.keeper.hold(stored)
        before = stored.timelapse
        for note in stored.notes:
            tell(Action.STORE_FOUND, f"{before.id}: {note}", timelapse=before)
        if not before.state.is_active:
            reports.store_held(before)
            self.settle_rig()
            return
        now, boot_id = self.clock.now(), self.clock.boot_id()
        log = stored.logbook
        cut = _cut_words(log.boot_id, boot_id)
        settled, recovered = before, False
        if before.state is TimeLapseState.RUNNING:
            settled, recovered = self._settle_running(before, now, cut)
        settled = settled.give_back(now)
        away = _away_words(log.boot_id, boot_id)
        after = self._pass_late(settled, now, away)
        self.keeper.commit(after, now, logbook=log.came_back(now, boot_id))
        reports.resumed(before, after, now, cut, recovered=recovered)
        reports.slots_given_back(before, after, now)
        reports.slots_passed(settled, after, now, away)
        reports.timelapse_over(before, after, self.datasets)
        self.plan()
        self.settle_rig()

    def begin(self, configuration: Mapping[str, Any]) -> None:
        """Start to keep the timelapse that the keeper has just begun."""
        self.configuration = configuration
        self._absence = None
        self.plan()
        self.settle_rig()

    def _settle_running(self, timelapse: TimeLapse, now: datetime, cut: str) -> tuple[TimeLapse, bool]:
        """Find out what became of the attempt that was cut off: finished after all, or interrupted."""
        result = None
        try:
            result = self.driver.recover(self._request(timelapse))
        except Exception as problem:  # noqa: BLE001 - a driver may raise anything; then the attempt counts as cut off
            reports.rig_trouble("recover", problem)
        if result is not None:
            return timelapse.succeed(now, result.pictures), True
        return timelapse.interrupt(None, f"{cut} while it was being taken"), False

    # --- the schedule ---------------------------------------------------------------------------

    def plan(self) -> None:
        """Look at the schedule afresh: record what went by, arm what comes next. Any time; does no harm twice."""
        timelapse = self.timelapse
        self._disarm()
        if timelapse is None or not self.armed or self.scanning or self.abandoned:
            return
        now = self.clock.now()
        after = self._pass_late(timelapse, now)
        if after is not timelapse:
            self.keeper.commit(after, now)
            reports.slots_passed(timelapse, after, now)
            reports.timelapse_over(timelapse, after, self.datasets)
            self.settle_rig()
        self._late = (Reason.MISSED, "")
        if after.next_at is None:
            return
        at = after.next_at
        if self._absence is not None and self._absence.slot == after.next_idx:
            at = self._absence.again_at
        warm_at = warmup_at(after)
        self.scheduler.arm(SLOT_JOB, at, self._slot_due, after.next_idx, name=f"{after.id} slot {after.next_idx}")
        if warm_at is not None and not (self.warm and warm_at <= now):
            name = f"{after.id} warm-up for slot {after.next_idx}"
            self.scheduler.arm(WARMUP_JOB, warm_at, self._warm_up, after.next_idx, name=name)

    def _disarm(self) -> None:
        for job_id in (SLOT_JOB, WARMUP_JOB):
            if self.scheduler.get_job(job_id) is not None:
                self.scheduler.remove_job(job_id)

    def suspend(self) -> None:
        """Act on no time any more: the clock isn't trusted, or the end has come."""
        self.armed = False
        self._disarm()

    def clock_moved(self, step: ClockStep) -> None:
        """Look at everything afresh after the clock was set; slots that it jumped over say so in their record."""
        timelapse = self.timelapse
        self._absence = None
        if step.shift > timedelta(0):
            now = self.clock.now()
            words = f"the clock was set forward by {spoken(step.shift)}, from {local_time(step.before, now)}"
            self._late = (Reason.CLOCK_MOVED, words)
        elif timelapse is not None and not self.scanning:
            now = self.clock.now()
            after = timelapse.give_back(now)
            if after is not timelapse:
                self.keeper.commit(after, now)
                reports.slots_given_back(timelapse, after, now)
        self.plan()
        self.settle_rig()

    def _pass_late(self, timelapse: TimeLapse, now: datetime, away: str = "") -> TimeLapse:
        reason, words = self._late
        if away and reason is Reason.MISSED:
            words = away
        return timelapse.pass_late(now, reason, words, run_latest=self.config.missed is Missed.RUN_LATEST)

    # --- a slot ---------------------------------------------------------------------------------

    def _warm_up(self, slot: int) -> None:
        timelapse = self.timelapse
        if timelapse is None or timelapse.next_idx != slot or not self.rig.idle:
            return
        self.warm = True
        self.rig.submit(self.driver, Call.PREPARE)
        tell(Action.RIG_WARMUP, f"for {slot_words(timelapse, slot)}", timelapse=timelapse, slot=slot)

    def _slot_due(self, slot: int) -> None:
        timelapse = self.timelapse
        if timelapse is None or timelapse.next_at is None or timelapse.next_idx != slot or self.scanning:
            return
        now = self.clock.now()
        after = self._pass_late(timelapse, now)
        if after is not timelapse or now < timelapse.next_at:
            self.plan()
            return
        running = timelapse.begin(now, self.clock.boot_id())
        self.keeper.commit(running, now)
        self.warm = True
        self._scan(running)
        if self._absence is None:
            reports.scan_started(running, now)

    def _scan(self, timelapse: TimeLapse) -> None:
        """Have the running attempt taken."""
        self._verdict = None
        request = self._request(timelapse)
        try:
            self.datasets.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as problem:
            refused = ScanFailed(f"{self.datasets}: datasets can't be put there: {problem.strerror}")
            self.scan_ended(Outcome(Call.SCAN, request, problem=refused))
            return
        self.rig.submit(self.driver, Call.SCAN, request)

    def _request(self, timelapse: TimeLapse) -> ScanRequest:
        slot = timelapse.next_idx
        record = timelapse.records[slot]
        begin = timelapse.start_at or timelapse.schedule_times[0]
        about = self.configuration.get("timelapse")
        about = {**(about if isinstance(about, dict) else {}), "start_at": write_instant(begin)}
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

    def rig_answered(self, outcome: Outcome) -> None:
        """Take in how a driver call ended."""
        if outcome.call is Call.SCAN:
            self.scan_ended(outcome)
        elif outcome.problem is not None:
            if outcome.call is Call.PREPARE:
                self.warm = None
            if isinstance(outcome.problem, ScannerNotReady):
                tell(Action.RIG_NOT_READY, f"{outcome.call}: {outcome.problem}", timelapse=self.timelapse)
            else:
                reports.rig_trouble(outcome.call, outcome.problem)

    def scan_ended(self, outcome: Outcome) -> None:
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
            ended = timelapse.succeed(now, outcome.result.pictures if outcome.result else None)
        elif self._stopping:
            ended = timelapse.interrupt(now, "the service was stopped")
        else:
            problem = self._judged(problem)
            ended = timelapse.fail_attempt(now, problem)
        self._absence = None
        if ended.state is TimeLapseState.RUNNING:
            self.keeper.commit(ended, now)
            reports.attempt_failed(ended, problem, now)
            self._scan(ended)
            return
        after = ended if self._stopping else self._pass_late(ended, now)
        self.keeper.commit(after, now)
        reports.scan_ended(after, request.index, now, outcome.result, outcome.problem)
        reports.slots_passed(ended, after, now)
        reports.timelapse_over(timelapse, after, self.datasets)
        if not self._stopping:
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
        tries = self._absence.tries + 1 if self._absence is not None and self._absence.slot == slot else 0
        pause = min(FIRST_PAUSE * 2 ** min(tries, 10), LONGEST_PAUSE)
        last_chance = timelapse.schedule_times[slot] + timelapse.grace
        again_at = now + pause if now >= last_chance else min(now + pause, last_chance)
        self._absence = _Absence(slot, tries, again_at)
        self.warm = None
        if tries == 0:
            until = f"it is asked again until {local_time(last_chance, now)}"
            tell(Action.RIG_NOT_READY, f"{slot_words(waiting, slot)}: {problem}; {until}", timelapse=waiting, slot=slot)
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
        tell(Action.TIMELAPSE_CANCELLED, f"{after.id} by {who}: {why}; {after.tally}", timelapse=after)
        self._absence = None
        self.plan()
        self.settle_rig()
        return after

    # --- power ----------------------------------------------------------------------------------

    def settle_rig(self) -> None:
        """Power the rig down when there is nothing to do for it for a while."""
        if self.warm is False or self.scanning or self.abandoned or not self.armed:
            return
        timelapse = self.timelapse
        now = self.clock.now()
        if wants_standby(timelapse, now):
            self.warm = False
            self.rig.submit(self.driver, Call.STANDBY)
            why = "nothing to do" if timelapse is None else next_words(timelapse, now)
            tell(Action.RIG_STANDBY, why, timelapse=timelapse)

    # --- stopping -------------------------------------------------------------------------------

    def stop(self) -> None:
        """Begin to stop: act on no time any more, and (see `watch`) have the scan come to its next safe point."""
        self._stopping = True
        self.suspend()

    def record_stop(self) -> None:
        """Put a last sign of life on record; a scan that is still running counts as interrupted."""
        timelapse = self.timelapse
        if timelapse is None or not timelapse.state.is_active:
            return
        now = self.clock.now()
        after = timelapse
        if timelapse.state is TimeLapseState.RUNNING:
            after = timelapse.interrupt(now, "the service was stopped, and the driver did not stop in time")
            reports.slot_interrupted(after, after.next_idx, now)
        self.keeper.commit(after, now)

    # --- watching -------------------------------------------------------------------------------

    def watch(self) -> float | None:
        """Look after the driver call that is being made and after the disk; return when to look again, in s."""
        waits = [self._watch_save()]
        watch = self.rig.watch
        if watch is not None and self.abandoned is None:
            waits.append(self._watch_call())
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

    def _watch_call(self) -> float | None:
        watch = self.rig.watch
        if watch is None:
            return None
        if self._stopping or self._is_outdated(watch.request):
            watch.cancel()
        now = self.clock.monotonic()
        if watch.cancelled_at is not None:
            left = watch.cancelled_at + CANCEL_PATIENCE.total_seconds() - now
            if left > 0:
                return left
            self._abandon()
            return None
        stalled_in = watch.last_sign + self.config.stall_timeout.total_seconds() - now
        over_in = watch.began + self.config.scan_timeout.total_seconds() - now
        if min(stalled_in, over_in) > 0:
            return min(stalled_in, over_in)
        if stalled_in <= 0:
            self._verdict = DriverStalled(self.config.driver, self.config.stall_timeout, abandoned=False)
        else:
            self._verdict = ScanTimedOut(self.config.driver, self.config.scan_timeout)
        watch.cancel()
        slot = self.timelapse.next_idx if self.timelapse is not None and self.scanning else None
        tell(Action.DRIVER_STALLED, str(self._verdict), timelapse=self.timelapse, slot=slot)
        return CANCEL_PATIENCE.total_seconds()

    def _abandon(self) -> None:
        """Give up a driver call that doesn't end: record it, and have the process replaced."""
        timelapse = self.timelapse
        stalled = DriverStalled(self.config.driver, self.config.stall_timeout, abandoned=True)
        self.abandoned = str(stalled)
        self._disarm()
        if timelapse is not None and timelapse.state is TimeLapseState.RUNNING:
            now = self.clock.now()
            if self._stopping:
                self.record_stop()
            else:
                after = timelapse.fail_attempt(now, stalled, give_up=True)
                self.keeper.commit(after, now)
                reports.scan_ended(after, timelapse.next_idx, now, None, stalled)
                reports.timelapse_over(timelapse, after, self.datasets)
        tell(Action.DRIVER_ABANDONED, f"{stalled}; the daemon must be restarted", timelapse=self.timelapse)


def _cut_words(boot_then: str | None, boot_now: str) -> str:
    """Return what cut a scan off, to go behind "when"."""
    if boot_then is None:
        return "its controller ended"
    return "the daemon was killed" if boot_then == boot_now else "the power went"


def _away_words(boot_then: str | None, boot_now: str) -> str:
    """Return why slots went by, to go behind "while"."""
    if boot_then is None:
        return "no daemon kept the schedule"
    return "the daemon was not running" if boot_then == boot_now else "the rig was off"
