"""The rig thread: it makes the calls of the driver, one at a time, while the loop follows them.

The loop submits a call, never waits for it, and is given its `CallOutcome`. The thread can't be killed: where a call
doesn't end, the process has to be replaced.
"""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, Protocol

from plantimager.timelapse.daemon.driver_calls import CallMonitor, make_call

if TYPE_CHECKING:
    from collections.abc import Callable

    from plantimager.timelapse.daemon.driver_calls import CallOutcome
    from plantimager.timelapse.daemon.manual_request import ManualRequest
    from plantimager.timelapse.drivers.base import Call, ScannerDriver
    from plantimager.timelapse.scan.request import ScanRequest
    from plantimager.timelapse.support.clock import Clock


class CallThread(Protocol):
    """What the loop needs of the thread that makes the calls."""

    def submit(
        self, driver: ScannerDriver, call: Call, request: ScanRequest | None = None, manual: ManualRequest | None = None
    ) -> None:
        """Queue a call; its outcome is posted when it ends."""

    @property
    def monitor(self) -> CallMonitor | None:
        """The monitor of the call that is being made now."""

    @property
    def is_idle(self) -> bool:
        """Whether no call is being made or queued; all outcomes are posted by then."""


class RigThread:
    """The `CallThread` of a real rig. It is a daemon thread: a hung driver must not keep the process from ending."""

    def __init__(self, clock: Clock, post: Callable[[CallOutcome], None]) -> None:
        """Start the thread; ``post`` is called on it with each outcome."""
        self._clock, self._post = clock, post
        self._calls: SimpleQueue[tuple[ScannerDriver, Call, ScanRequest | None, ManualRequest | None]] = SimpleQueue()
        self._pending = 0
        self._lock = threading.Lock()
        self._monitor: CallMonitor | None = None
        threading.Thread(target=self._work, name="rig", daemon=True).start()

    @property
    def monitor(self) -> CallMonitor | None:
        """The monitor of the call that is being made now."""
        return self._monitor

    @property
    def is_idle(self) -> bool:
        """Whether no call is being made or queued; all outcomes are posted by then."""
        with self._lock:
            return self._pending == 0

    def submit(
        self, driver: ScannerDriver, call: Call, request: ScanRequest | None = None, manual: ManualRequest | None = None
    ) -> None:
        """Queue a call. Loop thread."""
        with self._lock:
            self._pending += 1
        self._calls.put((driver, call, request, manual))

    def _work(self) -> None:
        while True:
            driver, call, request, manual = self._calls.get()
            self._monitor = CallMonitor(self._clock, call, request, manual)
            self._clock.wake()  # the loop has a time limit to keep from now on
            outcome = make_call(driver, call, request, self._monitor)
            self._monitor = None
            with self._lock:
                self._pending -= 1
                self._post(outcome)
