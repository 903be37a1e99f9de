"""The rig thread: every driver call happens here, one at a time, and is watched from the loop.

The loop hands in a call and gets an `CallOutcome` back through its mailbox; it never waits. A call
that makes no progress is cancelled, then given up: the thread can't be killed, so the process is.
"""

from __future__ import annotations

import operator
import threading
from concurrent.futures import Future, wait
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from msgspec import Struct

from plantimager.timelapse.drivers.base import Call, EventMonitor, ScannerDriver
from plantimager.timelapse.scan.request import ScanRequest, ScanResult
from plantimager.timelapse.support.errors import (
    DriverError,
    DriverStalled,
    ScanCancelled,
    ScanFailed,
    ScannerNotReady,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta
    from pathlib import Path

    from plantimager.timelapse.channel.inbox import Answer
    from plantimager.timelapse.daemon.manual_hold import ManualRequest
    from plantimager.timelapse.support.clock import Clock

T = TypeVar("T")

PROGRESS_INTERVAL: Final = 1.0
"""Seconds between two wake-ups of the loop for a scan's progress; a person can't read faster."""


LONGEST_WORDS: Final = 2000
"""Characters of what a driver raised that the journal takes; records keep fewer."""

MOST_PICTURES: Final = 1_000_000_000
"""In a dataset; what is more is no count of any."""


class CallOutcome(Struct, frozen=True):
    """How a call ended: with a result (of a scan), an answer (to a person), neither, or with an exception."""

    call: Call
    request: ScanRequest | None = None
    result: ScanResult | None = None
    problem: BaseException | None = None
    answer: Answer | None = None


class CallMonitor(EventMonitor):
    """The monitor of one call: keeps when the last progress was, and wakes the loop for it now and then."""

    def __init__(self, clock: Clock, request: ScanRequest | None = None, manual: ManualRequest | None = None) -> None:
        super().__init__()
        self._clock = clock
        self.request = request
        """What is being scanned, where the call is a scan."""
        self.manual = manual
        """What is done for a person, where the call is that."""
        self.began = self.last_sign = clock.monotonic()
        self.cancelled_at: float | None = None
        self._last_wake = float("-inf")

    def progress(self, done: int, total: int, note: str = "") -> None:
        """Note a sign of life. Rig thread."""
        super().progress(int(done), int(total), note)  # whatever a driver counts in: it is shown as JSON
        self.last_sign = self._clock.monotonic()
        if self.last_sign - self._last_wake >= PROGRESS_INTERVAL:
            self._last_wake = self.last_sign
            self._clock.wake()

    def cancel(self) -> None:
        """Ask for the end, and start counting how long it takes. Loop thread."""
        if self.cancelled_at is None:
            self.cancelled_at = self._clock.monotonic()
        super().cancel()


class Rig(Protocol):
    """What the daemon needs of the thread that drives the rig."""

    def submit(
        self, driver: ScannerDriver, call: Call, request: ScanRequest | None = None, manual: ManualRequest | None = None
    ) -> None:
        """Queue a call; its outcome goes to the mailbox."""

    @property
    def watch(self) -> CallMonitor | None:
        """The watch of the call that is being made now."""

    @property
    def idle(self) -> bool:
        """Whether no call is being made or queued; all outcomes are in the mailbox by then."""


class RigThread:
    """The real one. Its thread is a daemon thread: a hung driver must not keep the process from ending."""

    def __init__(self, clock: Clock, post: Callable[[CallOutcome], None]) -> None:
        self._clock, self._post = clock, post
        self._calls: SimpleQueue[tuple[ScannerDriver, Call, ScanRequest | None, ManualRequest | None]] = SimpleQueue()
        self._pending = 0
        self._lock = threading.Lock()
        self._watch: CallMonitor | None = None
        self._thread = threading.Thread(target=self._work, name="rig", daemon=True)
        self._thread.start()

    @property
    def watch(self) -> CallMonitor | None:
        """The watch of the call that is being made now."""
        return self._watch

    @property
    def idle(self) -> bool:
        """Whether no call is being made or queued; all outcomes are in the mailbox by then."""
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
            self._watch = CallMonitor(self._clock, request, manual)
            self._clock.wake()  # the loop has a time limit to keep from now on
            outcome = make_call(driver, call, request, self._watch)
            self._watch = None
            with self._lock:
                self._pending -= 1
                self._post(outcome)


def make_call(
    driver: ScannerDriver, call: Call, request: ScanRequest | None = None, watch: CallMonitor | None = None
) -> CallOutcome:
    """Make one call of a driver; whatever it raises, SystemExit included, is its outcome."""
    try:
        if call is Call.SCAN and request is not None and watch is not None:
            make_directory(request.dataset_dir.parent)
            return CallOutcome(call, request, _checked(call, driver.scan(request, watch)))
        if call is Call.MANUAL and watch is not None and watch.manual is not None:
            return CallOutcome(call, answer=watch.manual.run(driver, watch))
        if call is Call.RECOVER and request is not None:
            found = driver.recover(request)
            return CallOutcome(call, request, None if found is None else _checked(call, found))
        {Call.PREPARE: driver.prepare, Call.STANDBY: driver.standby, Call.CLOSE: driver.close}[call]()
    except BaseException as problem:  # noqa: BLE001 - a driver may raise anything; the loop judges it
        return CallOutcome(call, request, problem=bounded_error(problem))
    return CallOutcome(call, request)


def call_with_timeout(limit: timedelta, who: str, call: Callable[[], T]) -> T:
    """Return what one of the few calls returns that the loop itself waits for; raise what it raises. Loop thread.

    Raises
    ------
    DriverStalled
        It takes longer. The thread that makes it can't be killed, and goes on.

    """
    end: Future[T] = Future()

    def make() -> None:
        try:
            end.set_result(call())
        except BaseException as problem:  # noqa: BLE001 - a driver may raise anything; it is raised again below
            end.set_exception(problem)

    threading.Thread(target=make, name="driver", daemon=True).start()
    if not wait([end], limit.total_seconds()).done:
        raise DriverStalled(who, limit, abandoned=True)
    return end.result()


def make_directory(datasets: Path) -> None:
    """Make the directory of all datasets: here, since a network disk may take for ever over it, as a rig may.

    Raises
    ------
    ScannerNotReady
        It can't be made now.

    """
    try:
        datasets.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as problem:
        raise ScannerNotReady(f"{datasets}: datasets can't be put there: {problem.strerror}") from problem


def _checked(call: Call, result: object) -> ScanResult:
    if not isinstance(result, ScanResult):
        raise TypeError(f"the driver's {call} returned {type(result).__name__}, not a ScanResult")
    note = result.note if isinstance(result.note, str) else ""
    return ScanResult(pictures=_count(result.pictures), note=note)


def _count(pictures: Any) -> int | None:
    """Return a number of pictures as the store can hold it: the scan is whole, whatever its driver counts in."""
    try:
        count = operator.index(pictures)
    except TypeError:
        return None
    return count if 0 <= count < MOST_PICTURES else None


def bounded_error(problem: BaseException) -> BaseException:
    """Return what a driver raised, if a person can be shown it; else what can be said of it, in bounds."""
    kind = type(problem)
    try:
        words = str(problem)
    except Exception:  # noqa: BLE001 - its own words fail, whatever with
        return ScanFailed(f"{kind.__name__}, which can't even say what it is")
    if len(words) <= LONGEST_WORDS:
        return problem
    cut = f"{words[:LONGEST_WORDS]}… ({len(words)} characters in all)"
    if kind in (DriverError, ScannerNotReady, ScanFailed, ScanCancelled):
        return kind(cut)
    return ScanFailed(f"{kind.__name__}: {cut}")
