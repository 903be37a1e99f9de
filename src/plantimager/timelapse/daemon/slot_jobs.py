"""What is in APScheduler: the jobs of the next slot, which are the slot itself and the warm-up before it.

Only these two, however long the schedule is. The timelapse alone knows the slots after them; a second list could
disagree with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from plantimager.timelapse.domain.power import warmup_at

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from plantimager.timelapse.daemon.scheduler import WallClockScheduler
    from plantimager.timelapse.domain.timelapse import TimeLapse

SLOT_JOB: Final = "slot"
WARMUP_JOB: Final = "warm-up"


class SlotJobs:
    """The jobs of the next slot; both callables are given its number. Loop thread."""

    def __init__(
        self, scheduler: WallClockScheduler, slot_due: Callable[[int], object], warm_up: Callable[[int], object]
    ) -> None:
        self._scheduler, self._slot_due, self._warm_up = scheduler, slot_due, warm_up

    def clear(self) -> None:
        """Remove both jobs, where they are there."""
        for job_id in (SLOT_JOB, WARMUP_JOB):
            if self._scheduler.get_job(job_id) is not None:
                self._scheduler.remove_job(job_id)

    def arm(self, timelapse: TimeLapse, at: datetime, now: datetime, *, warm: bool) -> None:
        """Add the job of the next slot for ``at``, and the one of its warm-up unless the rig is ``warm`` by then."""
        slot = timelapse.next_idx
        self._scheduler.arm(SLOT_JOB, at, self._slot_due, slot, name=f"{timelapse.id} slot {slot}")
        warm_at = warmup_at(timelapse)
        if warm_at is not None and not (warm and warm_at <= now):
            name = f"{timelapse.id} warm-up for slot {slot}"
            self._scheduler.arm(WARMUP_JOB, warm_at, self._warm_up, slot, name=name)
