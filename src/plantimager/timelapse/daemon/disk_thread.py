"""The thread that writes the store, so that a disk that stalls holds up neither the loop nor the watchdog.

A write that doesn't come back in time can't be broken off: it counts as failed, nothing else is written until it is
back, and then its outcome is there to be taken. So an older generation never replaces a newer one.
"""

from __future__ import annotations

import errno
import threading
from concurrent.futures import Future, wait
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

from plantimager.timelapse.daemon.side_writes import name_thread
from plantimager.timelapse.domain.durations import format_duration

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

T = TypeVar("T")


class DiskStalled(OSError):
    """A write has not come back in time, or waits for one that has not."""

    def __init__(self, after: timedelta, *, is_first: bool) -> None:
        """``is_first`` is whether the write was begun, and goes on: else it waits for one that was, and was dropped."""
        self.is_first = is_first
        super().__init__(errno.ETIMEDOUT, f"no answer from the disk for {format_duration(after)}")

    def __str__(self) -> str:
        """Return the sentence without the number of the error."""
        return str(self.strerror)


class DiskThread:
    """Makes the writes, one at a time. The first starts the thread, which doesn't keep the process from ending."""

    def __init__(self, wake: Callable[[], None] = lambda: None) -> None:
        """Call ``wake`` on the thread when a write that had stalled is back."""
        self._wake = wake
        self._writes: SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._stalled: Future[Any] | None = None
        self._limit: timedelta | None = None
        """After which the write that stalled was given up."""

    def run(self, write: Callable[[], T], limit: timedelta) -> T:
        """Return what ``write`` returns, or raise what it raises. Loop thread.

        Raises
        ------
        DiskStalled
            It takes longer than ``limit``, or an earlier write is not back, or its outcome was not taken.
        """
        if self._stalled is not None and self._limit is not None:
            raise DiskStalled(self._limit, is_first=False)
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="disk", daemon=True)
            self._thread.start()
        end: Future[T] = Future()
        self._writes.put((write, end))
        try:
            return end.result(limit.total_seconds())
        except TimeoutError:
            if end.done():  # it ended at this very moment, or timed out itself, as a write of a file server may
                return end.result()
            self._stalled, self._limit = end, limit
            if end.done():  # at this very moment: then nobody may wake the loop
                self._wake()
            raise DiskStalled(limit, is_first=True) from None

    def take_late(self) -> Future[Any] | None:
        """Return the outcome of the write that had stalled, once. Loop thread."""
        late = self._stalled
        if late is None or not late.done():
            return None
        self._stalled = None
        return late

    def wait_late(self, limit: timedelta) -> None:
        """Wait until the write that has stalled is back, but no longer than ``limit``. Loop thread."""
        if self._stalled is not None:
            wait([self._stalled], limit.total_seconds())

    def _work(self) -> None:
        name_thread("disk")
        while True:
            write, end = self._writes.get()
            try:
                end.set_result(write())
            except BaseException as problem:  # noqa: BLE001 - raised again where the outcome is taken
                end.set_exception(problem)
            if self._stalled is end:
                self._wake()
