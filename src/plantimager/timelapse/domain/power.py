"""When the rig is powered: warm before a slot, in standby between far-apart slots.

Pure: the daemon asks with the time in hand and calls the driver accordingly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from plantimager.timelapse.domain.timelapse import TimeLapse


def warmup_at(timelapse: TimeLapse) -> datetime | None:
    """Return when to call `prepare` for the next slot; ``None`` without a next slot or a warm-up."""
    if timelapse.next_at is None or not timelapse.warmup:
        return None
    return timelapse.next_at - timelapse.warmup


def wants_standby(timelapse: TimeLapse | None, at: datetime) -> bool:
    """Whether the rig should be powered down now: nothing to take, or not for longer than the threshold."""
    if timelapse is None or timelapse.next_at is None:
        return True
    return timelapse.next_at - at > timelapse.standby_threshold
