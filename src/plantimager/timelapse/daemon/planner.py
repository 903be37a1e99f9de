"""The schedule by the clock as it is set now: which slots are late, which can be taken after all, which is armed."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from plantimager.timelapse.daemon.journal import Action, log_event
from plantimager.timelapse.daemon.rig import Power
from plantimager.timelapse.domain.durations import format_duration
from plantimager.timelapse.domain.pausing import describe_pause, keep_pause, pause_at, set_pause_back
from plantimager.timelapse.domain.power import RigWait, rig_wait_after, should_stand_by
from plantimager.timelapse.domain.states import Reason
from plantimager.timelapse.domain.wording import describe_next_slot, format_local_time
from plantimager.timelapse.drivers.base import Call
from plantimager.timelapse.support.clock import MIN_STEP, boot_time

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from plantimager.timelapse.daemon.common import Common
    from plantimager.timelapse.daemon.scheduler import WallClockScheduler
    from plantimager.timelapse.domain.timelapse import TimeLapse
    from plantimager.timelapse.support.clock import ClockStep


class RigPower:
    """Powers the rig down when there is nothing to do for it for a while. Loop thread."""

    def __init__(self, common: Common) -> None:
        self._keeper, self._clock, self._lifecycle = common.keeper, common.clock, common.lifecycle
        self._rig, self._hold = common.rig, common.hold

    def stand_by_if_free(self) -> None:
        """Put the rig into standby, unless it is needed soon, or a person has it."""
        timelapse, now = self._keeper.timelapse, self._clock.now()
        if self._rig.power in (Power.STANDBY, Power.ASKED) or not self._is_free or self._hold.is_on:
            return
        if should_stand_by(timelapse, now):
            self._rig.stand_by()
            why = "nothing to do" if timelapse is None else describe_next_slot(timelapse, now)
            log_event(Action.RIG_STANDBY, why, timelapse=timelapse)

    def watch(self) -> float | None:
        """End a person's hold on the rig when its time is over; return in how many seconds to call this again."""
        time_left = self._hold.time_left
        if time_left != 0:
            return time_left
        self._hold.release()
        self.stand_by_if_free()
        if self._rig.power is not Power.STANDBY and self._is_free:
            # The next slot is too near for standby. Preparing puts lights and arm as the timelapse wants them.
            self._rig.prepare()
        return None

    @property
    def _is_free(self) -> bool:
        """Whether the schedule is kept, and no scan is being taken."""
        return self._lifecycle.phase.keeps_schedule and not self._keeper.is_scanning


BUSY: Final = {
    Call.SCAN: "the scan of a cancelled timelapse was still ending",
    Call.PREPARE: "the rig was still getting ready",
    Call.STANDBY: "the rig was still powering down",
    Call.MANUAL: "a manual command was still ending",
    Call.CLOSE: "the driver that was replaced was still closing",
    Call.RECOVER: "the driver was still looking for the scan of an earlier attempt",
}
"""Why the rig isn't ready while a call is being made."""


SLOT_JOB: Final = "slot"
WARMUP_JOB: Final = "warm-up"
LATE_JOB: Final = "late"


class SlotJobs:
    """What is in APScheduler: the jobs of the next slot, each of which is given its number. Loop thread.

    No others, however long the schedule is: the timelapse alone knows the slots after it.
    """

    def __init__(
        self,
        scheduler: WallClockScheduler,
        slot_due: Callable[[int], object],
        warm_up: Callable[[int], object],
        slot_late: Callable[[int], object],
    ) -> None:
        self._scheduler = scheduler
        self._jobs = {SLOT_JOB: slot_due, WARMUP_JOB: warm_up, LATE_JOB: slot_late}

    def clear(self) -> None:
        """Remove all jobs."""
        for job_id in self._jobs:
            if self._scheduler.get_job(job_id) is not None:
                self._scheduler.remove_job(job_id)

    def arm_slot(self, timelapse: TimeLapse, at: datetime) -> None:
        """Have the next slot begun: the rig is ready."""
        self._arm(SLOT_JOB, timelapse, at)

    def arm_warmup(self, timelapse: TimeLapse, at: datetime) -> None:
        """Have the rig prepared for the next slot."""
        self._arm(WARMUP_JOB, timelapse, at)

    def arm_late(self, timelapse: TimeLapse, at: datetime | None) -> None:
        """Have the next slot judged: in a pause, or at the end of its grace period, by which no rig may be ready."""
        if at is not None:
            self._arm(LATE_JOB, timelapse, at)

    def _arm(self, job_id: str, timelapse: TimeLapse, at: datetime) -> None:
        slot = timelapse.next_idx
        self._scheduler.arm(job_id, at, self._jobs[job_id], slot, name=f"{timelapse.id} {job_id} {slot}")


class Planner:
    """Closes late slots, reopens those that a wrong clock has closed, and arms the next one. Loop thread."""

    def __init__(self, common: Common, power: RigPower, jobs: SlotJobs) -> None:
        self._keeper, self._clock, self._lifecycle = common.keeper, common.clock, common.lifecycle
        self._active, self._rig = common.active, common.rig
        self._power, self._jobs = power, jobs
        self._shift = timedelta(0)
        """How far the clock was set since the schedule was last judged by it; negative for backward."""
        self._judged_by: datetime | None = None
        """What the clock that the schedule was last judged by shows for the machine's boot."""
        self._wait: RigWait | None = None
        """The wait for a rig that isn't ready for the next slot."""

    # --- the plan -------------------------------------------------------------------------------------

    def plan(self) -> None:
        """Look at the schedule afresh: close late slots, power the rig down, arm the next slot.

        Harmless at any time, also twice.
        """
        self._jobs.clear()
        if self._keeper.is_scanning or not self._lifecycle.phase.keeps_schedule:
            return
        timelapse, now = self._keeper.timelapse, self._clock.now()
        if timelapse is None:
            self._shift = timedelta(0)  # it was set over nobody's slots
        else:
            judged = self.judge(timelapse, now)
            if judged is not timelapse:
                self._keeper.commit(judged, now)
            timelapse = judged
        if timelapse is None or timelapse.next_at is None or pause_at(timelapse, now) is not None:
            self._rig.withdraw_prepare()
        self._power.stand_by_if_free()
        if timelapse is not None and timelapse.next_at is not None:
            self._arm(timelapse, timelapse.next_at, now)

    def plan_afresh(self) -> None:
        """Plan without regard to a rig that wasn't ready: for another timelapse, or another clock."""
        self._wait = None
        self.plan()

    def watch(self) -> None:
        """Arm nothing any more once the schedule isn't kept."""
        if not self._lifecycle.phase.keeps_schedule:
            self._jobs.clear()

    def judge(self, timelapse: TimeLapse, now: datetime, absence: str = "") -> TimeLapse:
        """Return what the timelapse is by the clock as it is set now, with late slots skipped and others reopened.

        Slots that fell due in a pause have that as their reason, and those that were late before it, or before the
        clock was set forward, don't have that; ``absence`` is why they were missed, to follow "while".
        """
        shift, self._shift = self._shift, timedelta(0)
        if shift or self._is_behind:  # forward, too: it may have been further ahead meanwhile, during a save
            timelapse = timelapse.reopen_slots(now)
        self._judged_by = boot_time(self._clock)
        run_latest, unshifted = self._active.run_latest, now - max(shift, timedelta(0))
        if absence and timelapse.pause is not None:
            before = min(unshifted, timelapse.pause.since)
            timelapse = timelapse.skip_late_slots(before, Reason.MISSED, absence, run_latest=run_latest)
        timelapse = keep_pause(timelapse, now)
        reason, cause, pause = Reason.MISSED, absence, pause_at(timelapse, now)
        if pause is not None and not absence:
            reason, cause = Reason.PAUSED, describe_pause(pause)
        timelapse = timelapse.skip_late_slots(unshifted, reason, cause, run_latest=run_latest)
        why = f"the clock was set forward by {format_duration(shift)}"
        return timelapse.skip_late_slots(now, Reason.CLOCK_MOVED, why, run_latest=run_latest)

    def follow_clock(self) -> ClockStep | None:
        """Plan afresh if the clock was set since the last look; return how, or ``None``.

        Slots that it was set over say so in their records.
        """
        step = self._clock.step()
        if not self._lifecycle.phase.keeps_schedule:
            return None
        if step is None:
            if self._is_behind:  # it was set forward and back, and judged by in between
                self.plan_afresh()
            return None
        now, direction = self._clock.now(), "forward" if step.shift > timedelta(0) else "backward"
        before, after = format_local_time(step.before, now), format_local_time(step.after, now)
        words = f"{direction} by {format_duration(step.shift)} ({before} → {after})"
        log_event(Action.CLOCK_MOVED, f"{words}; schedule looked at afresh")
        self._shift += step.shift
        self._keeper.redate_recent(step.shift)
        timelapse = self._keeper.timelapse
        if timelapse is not None and self._keeper.is_scanning:
            self._keeper.commit(set_pause_back(timelapse.redate(step.shift), step.shift, now), now)
        self.plan_afresh()
        saved_at = self._keeper.logbook.saved_at
        if saved_at is not None and saved_at > now:
            self._keeper.retry(now)  # else the next start would not trust a clock that is behind the last write
        return step

    @property
    def _is_behind(self) -> bool:
        """Whether the clock is behind the one that the schedule was last judged by."""
        return self._judged_by is not None and self._judged_by - boot_time(self._clock) >= MIN_STEP

    @property
    def run_latest(self) -> bool:
        """Whether the newest of the missed slots is taken however late."""
        return self._active.run_latest

    # --- a rig that isn't ready -----------------------------------------------------------------------

    @property
    def is_waiting_for_rig(self) -> bool:
        """Whether the rig wasn't ready for the next slot, and is asked again."""
        return self._wait is not None

    @property
    def has_begun(self) -> bool:
        """Whether an attempt was begun during the wait, for which the driver then wasn't ready."""
        return self._wait is not None and self._wait.is_begun

    def wait_for_rig(self, timelapse: TimeLapse, now: datetime, *, is_begun: bool = False) -> None:
        """Plan to ask the rig again, which wasn't ready ``now`` for the next slot of ``timelapse``."""
        self._wait = rig_wait_after(timelapse, now, self._wait, is_begun=is_begun)
        self.plan()

    def skip_behind(self, call: Call) -> None:
        """Skip the slots that became late behind a call of the driver: the rig wasn't ready for them."""
        timelapse, now = self._keeper.timelapse, self._clock.now()
        if timelapse is None or not self._lifecycle.phase.keeps_schedule:
            return
        run_latest = self._active.run_latest
        judged = keep_pause(timelapse, now).skip_late_slots(
            now, Reason.RIG_NOT_READY, BUSY[call], run_latest=run_latest
        )
        if judged is not timelapse:
            self._keeper.commit(judged, now)

    def end_wait(self) -> None:
        """Note that the rig has answered."""
        self._wait = None

    def _arm(self, timelapse: TimeLapse, next_at: datetime, now: datetime) -> None:
        """Arm what comes next for the next slot: that it is begun, that its rig is prepared, or the end of its grace.

        In a pause that is only that a slot falls due, or the end of the pause.
        A rig that is warm when it would be prepared isn't prepared again. While it is busy, the slot waits for the
        outcome of the call, with which the loop plans again.
        """
        if self._wait is not None and self._wait.slot != timelapse.next_idx:
            self._wait = None
        pause = pause_at(timelapse, now)
        if pause is not None:
            instants = (timelapse.judge_at(now), next_at, pause.until)
            self._jobs.arm_late(timelapse, min((at for at in instants if at is not None and at > now), default=None))
            return
        warm_at = next_at - timelapse.warmup
        again_at = warm_at if self._wait is None else max(warm_at, self._wait.again_at)
        is_warm = self._rig.power is Power.WARM and warm_at <= now
        if is_warm and self._rig.is_at_rest:
            self._jobs.arm_slot(timelapse, next_at)
            return
        if not is_warm and not self._rig.is_readied_for(timelapse.next_idx):
            self._jobs.arm_warmup(timelapse, again_at)
        self._jobs.arm_late(timelapse, timelapse.judge_at(now))
