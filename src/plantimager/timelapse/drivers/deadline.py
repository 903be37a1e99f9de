"""A deadline that is kept without reading a clock, which only the daemon does."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from datetime import timedelta


class Deadline:
    """A timer that starts at once; a context manager, whose end stops it."""

    def __init__(self, after: timedelta) -> None:
        self._passed = threading.Event()
        self._timer = threading.Timer(after.total_seconds(), self._passed.set)
        self._timer.daemon = True
        self._timer.start()

    def passed(self) -> bool:
        """Whether the time has passed."""
        return self._passed.is_set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
