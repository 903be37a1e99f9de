"""The agenda: what stands in APScheduler, which is the next slot and the warm-up before it. Loop thread.

Only these two, however long the schedule is: what comes after them is known from the timelapse, and two lists of it
could disagree.
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


class Agenda:
    """The jobs of a timelapse. Both callables are given the number of the slot that the job is for."""

    def __init__(
        self, scheduler: WallClockScheduler, slot_due: Callable[[int], object], warm_up: Callable[[int], object]
    ) -> None:
        self._scheduler, self._slot_due, self._warm_up = scheduler, slot_due, warm_up

    def clear(self) -> None:
        """Arm nothing any more."""
        for job_id in (SLOT_JOB, WARMUP_JOB):
            if self._scheduler.get_job(job_id) is not None:
                self._scheduler.remove_job(job_id)

    def put(self, timelapse: TimeLapse, at: datetime, now: datetime, *, warm: bool) -> None:
        """Arm the next slot for ``at`` where nothing stands, and its warm-up unless it is time and the rig ``warm``."""
        slot = timelapse.next_idx
        self._scheduler.arm(SLOT_JOB, at, self._slot_due, slot, name=f"{timelapse.id} slot {slot}")
        warm_at = warmup_at(timelapse)
        if warm_at is not None and not (warm and warm_at <= now):
            name = f"{timelapse.id} warm-up for slot {slot}"
            self._scheduler.arm(WARMUP_JOB, warm_at, self._warm_up, slot, name=name)
