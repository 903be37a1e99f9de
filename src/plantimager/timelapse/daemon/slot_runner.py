"""The walk of a slot: from the job that comes due, over the driver's scan, to the record of how the slot ended.

Each step keeps the order of the design: build the next value, save it, adopt it, act, announce it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from plantimager.timelapse.daemon.attempt_request import is_running_attempt
from plantimager.timelapse.daemon.driver_calls import MIN_DELAY
from plantimager.timelapse.daemon.journal import Action, log_event
from plantimager.timelapse.daemon.journal_events import log_rig_wait
from plantimager.timelapse.daemon.planner import Planner, SlotJobs
from plantimager.timelapse.daemon.rig import Power, log_trouble
from plantimager.timelapse.daemon.transition import Circumstances
from plantimager.timelapse.domain.pausing import pause_at
from plantimager.timelapse.domain.power import warmup_at
from plantimager.timelapse.domain.states import TimeLapseState
from plantimager.timelapse.domain.wording import describe_slot
from plantimager.timelapse.drivers.base import Call
from plantimager.timelapse.support.errors import DriverError, ScanCancelled, ScanFailed, ScannerNotReady

if TYPE_CHECKING:
    from datetime import datetime

    from plantimager.timelapse.daemon.call_supervisor import CallSupervisor
    from plantimager.timelapse.daemon.common import Common
    from plantimager.timelapse.daemon.dataset_probe import DatasetProbe
    from plantimager.timelapse.daemon.driver_calls import CallOutcome
    from plantimager.timelapse.daemon.planner import RigPower
    from plantimager.timelapse.daemon.scheduler import WallClockScheduler
    from plantimager.timelapse.daemon.unsettled_attempts import UnsettledAttempts
    from plantimager.timelapse.domain.timelapse import TimeLapse
    from plantimager.timelapse.scan.request import ScanRequest


class SlotRunner:
    """Takes the slots of the timelapse, one after the other. Loop thread."""

    def __init__(
        self,
        common: Common,
        scheduler: WallClockScheduler,
        power: RigPower,
        supervisor: CallSupervisor,
        probe: DatasetProbe,
        attempts: UnsettledAttempts,
    ) -> None:
        self._keeper, self._clock, self._lifecycle = common.keeper, common.clock, common.lifecycle
        self._rig, self._hold = common.rig, common.hold
        self._supervisor, self._probe, self._attempts = supervisor, probe, attempts
        self._redated: ScanRequest | None = None
        """The last attempt whose beginning was corrected while it ran."""
        self.planner = Planner(common, power, SlotJobs(scheduler, self._slot_due, self._warm_up, self._slot_late))

    # --- what comes due -------------------------------------------------------------------------------

    def _warm_up(self, slot: int) -> None:
        """Prepare the rig for a slot: the job before it, or at it where there is no warm-up."""
        timelapse = self._confirm(slot)
        if timelapse is None:
            return
        if self._attempts.ask_about(slot) or self._confirm(slot) is None:  # it may have been found without a question
            return
        self._rig.prepare()
        if not self.planner.is_waiting_for_rig:  # else it is one more try, and the journal has the first
            log_event(Action.RIG_WARMUP, f"for {describe_slot(timelapse, slot)}", timelapse=timelapse, slot=slot)
        self.planner.plan()

    def _slot_due(self, slot: int) -> None:
        """Begin a slot: the job at its time, or when its rig is ready after that.

        The driver's `scan` is called at once, as the rig is at rest, or not at all: the call looks to the end of grace.
        """
        is_unsettled = self._attempts.must_ask_about(slot)  # a look, with which time passes
        timelapse, now = self._confirm(slot), self._clock.now()
        if timelapse is None:
            return
        if not self._rig.is_ready:
            self.planner.plan()
            return
        if is_unsettled or self._probe.is_away:
            self._rig.doubt_power()  # so that it is prepared once more, and the disk looked at, before the next try
        if self._probe.is_away or (is_unsettled and self._probe.trouble is not None):
            self._wait_for_rig(timelapse, ScannerNotReady(self._probe.trouble), now)
            return
        if is_unsettled:
            self.planner.plan()  # the driver is asked before the rig is prepared
            return
        circumstances = Circumstances(is_repeated=self.planner.has_begun)
        latest = timelapse.latest_start(slot)
        start_by = latest if now <= latest else None  # the newest of the missed slots is taken however late
        self._begin_attempt(timelapse.begin(now, self._clock.boot_id()), now, circumstances, start_by)

    def _slot_late(self, slot: int) -> None:
        """Skip a slot whose rig is still busy at the end of its grace period."""
        timelapse = self._keeper.timelapse
        if timelapse is not None and timelapse.next_idx == slot and not self._rig.is_at_rest:
            monitor = self._rig.monitor
            self.planner.skip_behind(Call.PREPARE if monitor is None else monitor.call)
        self._clock.wake()
        self.planner.plan()

    def _confirm(self, slot: int) -> TimeLapse | None:
        """Return the timelapse if the slot of a job is still next and in time; else plan afresh.

        Either way the loop takes another turn, which follows the call that the job led to.
        """
        self._clock.wake()
        timelapse, now = self._keeper.timelapse, self._clock.now()
        is_next = timelapse is not None and timelapse.next_idx == slot and not self._keeper.is_scanning
        if (
            timelapse is None
            or not is_next
            or pause_at(timelapse, now) is not None
            or timelapse.late_slots(now, run_latest=self.planner.run_latest)
        ):
            self.planner.plan()
            return None
        return timelapse

    def _begin_attempt(
        self, running: TimeLapse, now: datetime, circumstances: Circumstances, start_by: datetime | None = None
    ) -> None:
        """Save that an attempt runs, and have the driver make it."""
        running, request = self._attempts.begin(running, start_by)
        self._keeper.commit(running, now, circumstances, act=partial(self._rig.scan, request))

    # --- what comes back ------------------------------------------------------------------------------

    def take_outcomes(self) -> None:
        """Take in how driver calls have ended."""
        for outcome in self._rig.take_outcomes():
            if outcome.request is not None and outcome.call is Call.SCAN:
                self._end_attempt(outcome, outcome.request)
                continue
            if outcome.request is not None:
                self._attempts.take_answer(outcome, outcome.request)
                self._note_no_answer(outcome, outcome.request)
            elif outcome.call is Call.MANUAL:
                self._hold.end(outcome)
                if self._rig.power is not Power.LEFT:  # then the rig was only looked at
                    self._hold.release()
            elif outcome.problem is not None:
                self._note_trouble(outcome)
            self._free_rig(outcome.call)
        self._correct_start()

    def _correct_start(self) -> None:
        """Save when the running scan was really called, where that was notably later than judged."""
        monitor, timelapse = self._rig.monitor, self._keeper.timelapse
        if monitor is None or monitor.request is None or monitor.delay < MIN_DELAY or timelapse is None:
            return
        if monitor.request is not self._redated and is_running_attempt(timelapse, monitor.request):
            self._redated = monitor.request
            self._keeper.commit(timelapse.redate(monitor.delay), self._clock.now())

    def _free_rig(self, call: Call) -> None:
        """Plan afresh at the end of a call that the next slot may have waited for."""
        self.planner.skip_behind(call)
        self.planner.plan()

    def _end_attempt(self, outcome: CallOutcome, request: ScanRequest) -> None:
        """Record how an attempt ended, and go on: with the next attempt, or with the next slot."""
        timelapse, now = self._keeper.timelapse, self._clock.now()
        if timelapse is None or not is_running_attempt(timelapse, request):
            self._attempts.settle(request, outcome.result, now)
            self._free_rig(outcome.call)
            return
        if outcome.delay and request is not self._redated:
            timelapse = timelapse.redate(outcome.delay)
        problem, stopping = outcome.problem, self._lifecycle.phase.is_stopping
        if isinstance(problem, ScannerNotReady) and not stopping:
            self._wait_for_rig(timelapse, problem, now)
            return
        self.planner.end_wait()
        if problem is None:
            ended = timelapse.succeed(now, outcome.result.pictures if outcome.result else None)
        elif stopping:
            # As below; the next start asks.
            is_unsettled = not self._probe.look_at(request.dataset_dir.parent).is_in_sight
            ended = timelapse.interrupt(now, "the service was stopped", is_unsettled=is_unsettled)
        else:
            failure = self._failure(problem, request)
            # Its disk may have been pulled: then it may be whole, and another one may not.
            is_unsettled, now = not self._probe.look_at(request.dataset_dir.parent).is_in_sight, self._clock.now()
            ended = timelapse.fail_attempt(now, failure, is_unsettled=is_unsettled)
            if ended.state is TimeLapseState.RUNNING:
                given_up = self._attempt_again(timelapse, ended, failure, now, is_unsettled=is_unsettled)
                if given_up is None:
                    return
                ended = given_up
        circumstances = Circumstances(note=outcome.result.note if outcome.result else "", problem=problem)
        if stopping:
            self._keeper.commit(ended, now, circumstances)
            return
        judged = self.planner.judge(ended, now, f"slot {request.index} was still being taken")
        self._keeper.commit(judged, now, circumstances)  # one save, not two
        self._hold.release()
        self.planner.plan()

    def _attempt_again(
        self, timelapse: TimeLapse, again: TimeLapse, failure: Exception, now: datetime, *, is_unsettled: bool
    ) -> TimeLapse | None:
        """Make the next attempt, now or when the rig is ready; return the value of a slot that is failed instead."""
        why = self._probe.trouble
        if self._rig.is_ready and why is None:
            self._begin_attempt(again, now, Circumstances(problem=failure))
            return None
        if now > timelapse.latest_start(timelapse.next_idx):
            return timelapse.fail_attempt(now, failure, give_up=True, is_unsettled=is_unsettled)
        why = why or "the rig gets ready once more"  # as a driver that was replaced meanwhile
        waiting = timelapse if is_unsettled else again
        self._wait_for_rig(waiting, ScannerNotReady(f"{failure}; {why}"), now, is_unsettled=is_unsettled)
        return None

    def _wait_for_rig(
        self, timelapse: TimeLapse, problem: ScannerNotReady, now: datetime, *, is_unsettled: bool = False
    ) -> None:
        """Have the rig asked again within the grace period of the slot; no attempt is used."""
        circumstances = Circumstances(problem=problem, is_repeated=self.planner.is_waiting_for_rig)
        waiting, is_begun = timelapse.rig_not_ready(problem, is_unsettled=is_unsettled), self._keeper.is_scanning
        judged = self.planner.judge(waiting, now)
        if judged.current != timelapse.current or judged is not waiting:  # the same answer once more is no news
            self._keeper.commit(judged, now, circumstances)
        if is_begun:
            self._rig.doubt_power()
        if judged.next_at is not None and judged.next_idx == waiting.next_idx:
            self.planner.wait_for_rig(judged, now, is_begun=is_begun)
        else:
            self.planner.plan_afresh()

    def _failure(self, problem: BaseException, request: ScanRequest) -> Exception:
        """Return the error with which a failed attempt is recorded."""
        verdict = self._supervisor.verdict_on(request)
        if verdict is not None:
            return verdict
        if isinstance(problem, ScanCancelled):
            return ScanFailed("the driver stopped the scan, though nobody had cancelled it")
        if isinstance(problem, DriverError):
            return problem
        words = str(problem)
        return ScanFailed(f"{type(problem).__name__}{': ' if words else ''}{words}")

    def _note_trouble(self, outcome: CallOutcome) -> None:
        """Log that a call other than a scan failed, and have a rig asked again that a slot waits for."""
        timelapse, problem = self._awaiting_rig(), outcome.problem
        if outcome.call is not Call.PREPARE or timelapse is None:
            log_trouble(outcome)
            return
        if not isinstance(problem, ScannerNotReady):
            if not self.planner.is_waiting_for_rig:
                log_trouble(outcome)
            problem = ScannerNotReady(f"{outcome.call}: {problem or type(problem).__name__}")
        self._ask_again(timelapse, problem)

    def _note_no_answer(self, outcome: CallOutcome, request: ScanRequest) -> None:
        """Have the driver asked again, if it did not know what became of the slot that waits for the rig.

        Where that doesn't wait for an answer any more, its rig is prepared with the plan that follows.
        """
        timelapse = self._awaiting_rig()
        is_asked_again = outcome.is_no_answer and not self._attempts.is_unreadable(request)
        if is_asked_again and timelapse is not None and request.index == timelapse.next_idx:
            self._ask_again(timelapse, ScannerNotReady(f"{outcome.call}: {outcome.problem}"))

    def _awaiting_rig(self) -> TimeLapse | None:
        """Return the timelapse if its next slot waits for the rig now."""
        timelapse = self._keeper.timelapse
        if timelapse is None or not self._lifecycle.phase.keeps_schedule or self._keeper.is_scanning:
            return None
        warm_at = warmup_at(timelapse)
        return timelapse if warm_at is not None and self._clock.now() >= warm_at else None

    def _ask_again(self, timelapse: TimeLapse, problem: ScannerNotReady) -> None:
        """Have the rig asked again, for the slot that waits for it."""
        now = self._clock.now()
        if now >= timelapse.schedule_times[timelapse.next_idx]:
            self._wait_for_rig(timelapse, problem, now)
            return
        if not self.planner.is_waiting_for_rig:
            log_rig_wait(timelapse, timelapse.next_idx, str(problem), now, run_latest=self.planner.run_latest)
        self.planner.wait_for_rig(timelapse, now)
