"""What the loop waits for, for a limited time: the writes of the store, other files, and a few calls of a driver.

So a disk that stalls, or a driver that hangs, holds up neither the loop nor the watchdog.
"""

from __future__ import annotations

import errno
import threading
from concurrent.futures import Future, wait
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final, TypeVar

from plantimager.timelapse.daemon.side_writes import name_thread
from plantimager.timelapse.domain.durations import format_duration
from plantimager.timelapse.support.errors import DriverStalled
from plantimager.timelapse.support.side_call import NoThreadLeft, call_on_thread

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

T = TypeVar("T")

WAIT_INTERVAL: Final = 0.5
"""Seconds between two looks at what else is to be done while the loop itself waits for a call."""


def call_with_timeout(
    limit: timedelta, who: str, call: Callable[[], T], is_alive: Callable[[], bool] = lambda: False
) -> T:
    """Return what ``call`` returns, or raise what it raises: for the few calls that the loop itself waits for.

    ``is_alive`` is asked every `WAIT_INTERVAL` on the calling thread; where it holds, ``limit`` counts from then on.

    Raises
    ------
    DriverStalled
        It takes longer, or no thread can begin. The thread that makes it can't be killed, and goes on.
    """
    end = call_on_thread(call, "driver")
    left = limit.total_seconds()
    while not wait([end], min(left, WAIT_INTERVAL)).done:
        left = limit.total_seconds() if is_alive() else left - WAIT_INTERVAL
        if left <= 0:
            raise DriverStalled(who, limit, abandoned=True)
    try:
        return end.result()
    except NoThreadLeft:
        raise DriverStalled(who, limit, abandoned=True) from None


def read_within(limit: timedelta, read: Callable[[], T]) -> T:
    """Return what ``read`` returns, or raise what it raises: for the few files that the loop itself needs.

    Raises
    ------
    DiskStalled
        It takes longer than ``limit``; it goes on, on a thread of its own.
    """
    try:
        return call_with_timeout(limit, "disk", read)
    except DriverStalled:
        raise DiskStalled(limit, is_first=True) from None


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
    """Makes the writes of store and archive, one at a time, on a thread that doesn't keep the process from ending.

    A write that doesn't come back in time can't be broken off: it counts as failed, nothing else is written until it is
    back, and then its outcome is there to be taken. So an older generation never replaces a newer one.
    """

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
