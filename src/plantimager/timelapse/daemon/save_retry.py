"""The tries to save again what the disk did not take."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from plantimager.timelapse.daemon.store_keeper import StoreKeeper
    from plantimager.timelapse.support.clock import Clock

SAVE_INTERVAL: Final = timedelta(seconds=10)
"""Between two tries to write a store that couldn't be written."""


class SaveRetry:
    """Tries a failed save again every `SAVE_INTERVAL`. Loop thread."""

    def __init__(self, keeper: StoreKeeper, clock: Clock) -> None:
        self._keeper, self._clock = keeper, clock
        self._retry_at: float | None = None
        """On the monotonic clock; ``None`` where the store is up to date."""

    def watch(self) -> float | None:
        """Save if it is time; return in how many seconds to call this again."""
        now = self._clock.monotonic()
        self._keeper.take_late(self._clock.now())
        if self._retry_at is not None and now >= self._retry_at:
            self._retry_at = None
            self._keeper.retry(self._clock.now())
        if self._keeper.trouble is None:
            self._retry_at = None
            return None
        if self._retry_at is None:
            self._retry_at = now + SAVE_INTERVAL.total_seconds()
        return self._retry_at - now
