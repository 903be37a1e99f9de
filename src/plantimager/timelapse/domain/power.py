"""When the rig is prepared, when it goes to standby, and when one that isn't ready is asked again.

Pure: the time is an argument.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from msgspec import Struct

if TYPE_CHECKING:
    from plantimager.timelapse.domain.timelapse import TimeLapse

FIRST_PAUSE: Final = timedelta(seconds=2)
"""Before a rig that wasn't ready is asked again; doubled each time."""
MAX_PAUSE: Final = timedelta(seconds=30)
LAST_TRY: Final = timedelta(seconds=1)
"""How long before the end of a slot's grace period its rig is asked once more: at the very end it would be too late."""


def warmup_at(timelapse: TimeLapse) -> datetime | None:
    """Return when to prepare the rig for the next slot; ``None`` without a next slot or a warm-up."""
    if timelapse.next_at is None or not timelapse.warmup:
        return None
    return timelapse.next_at - timelapse.warmup


def wants_standby(timelapse: TimeLapse | None, at: datetime) -> bool:
    """Whether the rig should be powered down now: no slot is left, or the next is farther off than the threshold."""
    if timelapse is None or timelapse.next_at is None:
        return True
    return timelapse.next_at - at > timelapse.standby_threshold


class RigWait(Struct, frozen=True):
    """The wait for a rig that isn't ready for the next slot."""

    slot: int
    tries: int
    """How often it was asked again."""
    again_at: datetime
    """When it is asked next."""


def wait_for_rig(timelapse: TimeLapse, now: datetime, before: RigWait | None) -> RigWait:
    """Return the wait after the rig wasn't ready ``now``: ever longer, and over a moment before the grace period is.

    At the end of the grace period the slot is looked at once more, and skipped.
    """
    slot = timelapse.next_idx
    tries = 0 if before is None else before.tries + 1
    again_at = now + min(FIRST_PAUSE * 2 ** min(tries, 10), MAX_PAUSE)
    over_at = timelapse.latest_start(slot)
    last_try = over_at - LAST_TRY
    if now < last_try:
        again_at = min(again_at, last_try)
    elif now <= over_at:
        again_at = over_at + timedelta.resolution
    return RigWait(slot, tries, again_at)
