"""The rig's power between slots: warm, as a person left it, or in standby."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plantimager.timelapse.daemon.journal import Action, log_event
from plantimager.timelapse.daemon.rig import Power
from plantimager.timelapse.domain.power import should_stand_by
from plantimager.timelapse.domain.wording import describe_next_slot

if TYPE_CHECKING:
    from plantimager.timelapse.daemon.common import Common


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
