"""When the rig is prepared, when it goes to standby, and when one that isn't ready is asked again.

Pure: the time is an argument.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from plantimager.timelapse.domain.pausing import next_to_take, pause_at

if TYPE_CHECKING:
    from plantimager.timelapse.domain.timelapse import TimeLapse

FIRST_PAUSE: Final = timedelta(seconds=2)
"""Before a rig that wasn't ready is asked again; doubled each time."""
MAX_PAUSE: Final = timedelta(seconds=30)
LAST_TRY: Final = timedelta(seconds=1)
"""How long before the end of a slot's grace period its rig is asked once more: at the very end it would be too late."""


def warmup_at(timelapse: TimeLapse) -> datetime | None:
    """Return when to prepare the rig for the next slot, which is its own time where it has no warm-up.

    It is not prepared in a pause, in which a person may be at work in it.
    """
    slot, pause = next_to_take(timelapse), timelapse.pause
    if slot is None:
        return None
    warm_at = timelapse.schedule_times[slot] - timelapse.warmup
    return warm_at if pause is None or pause.until is None else max(warm_at, pause.until)


def should_stand_by(timelapse: TimeLapse | None, at: datetime) -> bool:
    """Whether the rig should be powered down now: in a pause, or the next slot is farther off than the threshold."""
    if timelapse is None or timelapse.next_at is None or pause_at(timelapse, at) is not None:
        return True
    return timelapse.next_at - at > timelapse.standby_threshold


class RigWait(Struct, frozen=True):
    """The wait for a rig that isn't ready for the next slot."""

    slot: int
    tries: int
    """How often it was asked again."""
    again_at: datetime
    """When it is asked next."""
    is_begun: bool = False
    """Whether an attempt was begun during the wait, for which the driver then wasn't ready."""


def rig_wait_after(timelapse: TimeLapse, now: datetime, before: RigWait | None, *, is_begun: bool = False) -> RigWait:
    """Return the wait after the rig wasn't ready ``now``: twice as long as the last, up to the last try within grace.

    The rig is asked at the time of the slot in any case. At the end of the grace period the slot is looked at once
    more, and skipped.
    """
    slot, next_at = timelapse.next_idx, timelapse.next_at
    is_begun |= before is not None and before.is_begun
    tries = 0 if before is None else before.tries + 1
    again_at = now + min(FIRST_PAUSE * 2 ** min(tries, 10), MAX_PAUSE)
    if next_at is not None and now < next_at:
        again_at = min(again_at, next_at)
    over_at = timelapse.latest_start(slot)
    last_try = over_at - LAST_TRY
    if now < last_try:
        again_at = min(again_at, last_try)
    elif now <= over_at:
        again_at = over_at + timedelta.resolution
    return RigWait(slot, tries, again_at, is_begun)
