"""Phrases that several screens of this command share: modes, schedules, zones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plantimager.timelapse.domain.durations import format_duration
from plantimager.timelapse.domain.states import TimeLapseMode
from plantimager.timelapse.domain.wording import format_local_time

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime


def describe_mode(mode: TimeLapseMode, slots: Sequence[datetime]) -> str:
    """Return the mode of a timelapse in words: ``interval, every 30 min``."""
    words = mode.replace("_", " ")
    if mode is TimeLapseMode.INTERVAL and len(slots) > 1:
        words += f", every {format_duration(slots[1] - slots[0])}"
    return words


def describe_schedule(mode: TimeLapseMode, slots: Sequence[datetime], now: datetime) -> str:
    """Return mode, first and last slot: ``interval, every 30 min, 22 Jun 08:00 → 23 Jun 07:30``."""
    if not slots:
        return f"{describe_mode(mode, slots)}, no slots"
    until = f" → {format_local_time(slots[-1], now)}" if len(slots) > 1 else ""
    return f"{describe_mode(mode, slots)}, {format_local_time(slots[0], now)}{until}"


def describe_zone(slots: Sequence[datetime]) -> str:
    """Return the zones of the first and the last slot: ``CET (UTC+01:00), CEST (UTC+02:00)``."""
    ends = (slot.astimezone() for slot in (*slots[:1], *slots[-1:]))
    names = [f"{at:%Z} (UTC{at.isoformat()[-6:]})" if at.utcoffset() else "UTC" for at in ends]
    return ", ".join(dict.fromkeys(names))
