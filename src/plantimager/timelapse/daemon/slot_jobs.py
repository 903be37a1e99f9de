"""What is in APScheduler: the jobs of the next slot, which are its warm-up, the slot itself, and the end of its grace.

Only these, however long the schedule is. The timelapse alone knows the slots after them; a second list could
disagree with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from plantimager.timelapse.daemon.scheduler import WallClockScheduler
    from plantimager.timelapse.domain.timelapse import TimeLapse

SLOT_JOB: Final = "slot"
WARMUP_JOB: Final = "warm-up"
LATE_JOB: Final = "late"


class SlotJobs:
    """The jobs of the next slot; each callable is given its number. Loop thread."""

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
        """Have the next slot judged when its grace period is over, which the rig may not be ready by."""
        if at is not None:
            self._arm(LATE_JOB, timelapse, at)

    def _arm(self, job_id: str, timelapse: TimeLapse, at: datetime) -> None:
        slot = timelapse.next_idx
        self._scheduler.arm(job_id, at, self._jobs[job_id], slot, name=f"{timelapse.id} {job_id} {slot}")
