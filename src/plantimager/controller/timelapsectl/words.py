"""How a timelapse is worded on every screen of this command."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plantimager.controller.scanner.durations import spoken
from plantimager.controller.scanner.states import TimeLapseMode
from plantimager.controller.timelapsed.words import local_time

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime


def counted(number: int, noun: str) -> str:
    """Return ``1 slot``, ``2 slots``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def schedule_words(mode: TimeLapseMode, slots: Sequence[datetime], now: datetime) -> str:
    """Return how slots came about and when they are: ``interval, every 30 min, 22 Jun 08:00 → 23 Jun 07:30``."""
    how = mode.replace("_", " ")
    if not slots:
        return f"{how}, no slots"
    if mode is TimeLapseMode.INTERVAL and len(slots) > 1:
        how += f", every {spoken(slots[1] - slots[0])}"
    until = f" → {local_time(slots[-1], now)}" if len(slots) > 1 else ""
    return f"{how}, {local_time(slots[0], now)}{until}"
