"""Calls of a driver: the thread that makes them, their outcomes, and the monitor by which the loop follows one."""

from __future__ import annotations

import operator
import threading
from collections import deque
from contextlib import nullcontext
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct
from msgspec.structs import replace

from plantimager.timelapse.daemon.journal import Action, log_event
from plantimager.timelapse.daemon.side_writes import name_thread
from plantimager.timelapse.datasets.contents import last_change
from plantimager.timelapse.datasets.syncing import make_group_directory
from plantimager.timelapse.domain.durations import format_duration
from plantimager.timelapse.drivers.base import Call, EventMonitor, ScannerDriver
from plantimager.timelapse.scan.request import ScanRequest, ScanResult
from plantimager.timelapse.support.errors import DriverError, ScanCancelled, ScanFailed, ScannerNotReady
from plantimager.timelapse.support.file_system import describe_disk_error
from plantimager.timelapse.support.progress import reporting_to

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

    from plantimager.timelapse.channel.control_request import Answer
    from plantimager.timelapse.daemon.manual_request import ManualRequest
    from plantimager.timelapse.support.clock import Clock

PROGRESS_INTERVAL: Final = 1.0
"""Seconds between two wake-ups of the loop for a scan's progress; a person can't read faster."""

MAX_RECOVER_SILENCE: Final = timedelta(minutes=5)
"""For a driver to say what became of an attempt; no slot is taken meanwhile."""

MAX_ERROR_CHARACTERS: Final = 2000
"""Of what a driver raised, in the journal; records keep fewer."""

MAX_DELAY: Final = timedelta(seconds=2)
"""For the directory of datasets to answer before a scan; behind more of it the slot is judged afresh."""

MAX_START_DELAY: Final = timedelta(seconds=6)
"""Between the judgement of a slot and its scan, save and directory included; more of it is a clock that was set."""

MIN_DELAY: Final = timedelta(seconds=1)
"""From which on the true beginning of a scan is saved while it runs, and not with its end."""

MAX_PICTURES: Final = 1_000_000_000
"""In a dataset; a larger number is no count."""


class CallOutcome(Struct, frozen=True):
    """How a call ended: with a result (of a scan), an answer (to a person), neither, or with an exception."""

    call: Call
    request: ScanRequest | None = None
    result: ScanResult | None = None
    problem: BaseException | None = None
    answer: Answer | None = None
    delay: timedelta = timedelta(0)
    """That of its monitor."""
    finished_at: datetime | None = None
    """When the dataset was finished that a `recover` has found; ``None`` where that isn't known."""

    @property
    def is_no_answer(self) -> bool:
        """Whether a `recover` did not know, as the disk failed or the rig was needed: it is asked again."""
        return isinstance(self.problem, ScannerNotReady | ScanCancelled)


class CallMonitor(EventMonitor):
    """The monitor of one call: keeps the time of the last progress, and wakes the loop for it now and then."""

    def __init__(
        self, clock: Clock, call: Call, request: ScanRequest | None = None, manual: ManualRequest | None = None
    ) -> None:
        super().__init__()
        self._clock = clock
        self.call = call
        self.request = request
        """The attempt, where the call is a scan."""
        self.manual = manual
        """The manual command, where the call is one."""
        self.began = self.last_sign = clock.monotonic()
        self.cancelled_at: float | None = None
        self.delay = timedelta(0)
        """How much later than ``started_at`` of its request the driver's scan was called."""
        self._last_wake = float("-inf")
        self._has_misreported = False

    def progress(self, done: int, total: int, note: str = "") -> None:
        """Note a sign of life. Rig thread. Numbers that are no count are ignored, and logged once a call."""
        steps = _read_steps(done, total)
        if steps is None and not self._has_misreported:
            self._has_misreported = True
            log_event(Action.RIG_TROUBLE, f"the driver reported {done!r} of {total!r} as its progress; it is ignored")
        super().progress(*(steps or self.steps[:2]), note)
        self.last_sign = self._clock.monotonic()
        if self.last_sign - self._last_wake >= PROGRESS_INTERVAL:
            self._last_wake = self.last_sign
            self._clock.wake()

    @property
    def age(self) -> timedelta:
        """How long the call has been made by now."""
        return timedelta(seconds=self._clock.monotonic() - self.began)

    def now(self) -> datetime:
        """Return the time."""
        return self._clock.now()

    def note_delay(self, delay: timedelta) -> None:
        """Note how much later than recorded the driver's scan is called, now. Rig thread."""
        self.delay = delay
        if delay >= MIN_DELAY:
            self._clock.wake()

    def note_step(self, words: str) -> None:
        """Note a sign of life of a step that counts no pictures; a question ends with it that gives way. Any thread."""
        if self.call is Call.RECOVER and self.cancelled:
            raise ScanCancelled("broken off, as the rig is needed; it is asked again")
        self.progress(*self.steps[:2], words)

    def excuse_silence(self) -> None:
        """Count from now on how long it is silent. Loop thread."""
        self.last_sign = self._clock.monotonic()

    def give_way(self) -> None:
        """Have a `recover` end at its next sign of life; one that gives none may go on until it counts as hung."""
        super().cancel()

    def cancel(self) -> None:
        """Ask for the end, and start counting how long it takes. Loop thread."""
        if self.cancelled_at is None:
            self.cancelled_at = self._clock.monotonic()
        super().cancel()


def max_silence(driver: ScannerDriver, call: Call, stall_timeout: timedelta, *, stopping: bool = False) -> timedelta:
    """Return how long a call may go on without a sign of life; at a stop, one that can't be cancelled has its own."""
    if call.can_be_cancelled:
        return stall_timeout
    if call is Call.RECOVER:
        stall_timeout = min(stall_timeout, MAX_RECOVER_SILENCE)
    return driver.call_timeout if stopping and driver.call_timeout else max(stall_timeout, driver.call_timeout)


def _read_steps(done: Any, total: Any) -> tuple[int, int] | None:
    """Return a progress in integers, for JSON; a driver may count in any type. ``None`` for what is no count."""
    try:
        steps = int(done), int(total)
    except (TypeError, ValueError, OverflowError):
        return None
    return steps if min(steps) >= 0 and max(steps) < MAX_PICTURES else None


def make_call(
    driver: ScannerDriver, call: Call, request: ScanRequest | None = None, monitor: CallMonitor | None = None
) -> CallOutcome:
    """Make one call of a driver and return its outcome, which is also any exception, `SystemExit` included."""
    with reporting_to(monitor.note_step) if monitor is not None else nullcontext():
        return _make_call(driver, call, request, monitor)


def _make_call(
    driver: ScannerDriver, call: Call, request: ScanRequest | None, monitor: CallMonitor | None
) -> CallOutcome:
    delay = timedelta(0)
    try:
        if call is Call.SCAN and request is not None and monitor is not None:
            make_directory(request.dataset_dir.parent)
            began = _check_start(request, monitor)
            delay = began - (request.started_at or began)
            if not timedelta(0) < delay <= MAX_START_DELAY:
                delay = timedelta(0)
            monitor.note_delay(delay)
            result = driver.scan(replace(request, started_at=began), monitor)
            return CallOutcome(call, request, _check_result(call, result), delay=delay)
        if call is Call.MANUAL and monitor is not None and monitor.manual is not None:
            return CallOutcome(call, answer=monitor.manual.run(driver, monitor))
        if call is Call.RECOVER and request is not None:
            found = driver.recover(request)
            if found is None:
                return CallOutcome(call, request)
            result, finished_at = _check_result(call, found), last_change(request.dataset_dir)
            return CallOutcome(call, request, result, finished_at=finished_at)
        {Call.PREPARE: driver.prepare, Call.STANDBY: driver.standby, Call.CLOSE: driver.close}[call]()
    except BaseException as problem:  # noqa: BLE001 - a driver may raise anything; the loop judges it
        return CallOutcome(call, request, problem=bound_error(problem), delay=delay)
    return CallOutcome(call, request)


def _check_start(request: ScanRequest, monitor: CallMonitor) -> datetime:
    """Return the time now, at which a scan may still begin.

    Raises
    ------
    ScannerNotReady
        The save, or the directory of datasets, took so long that the scan would begin late.
    """
    now, took, where = monitor.now(), monitor.age, request.dataset_dir.parent
    if request.start_by is not None and now > request.start_by:
        raise ScannerNotReady(f"its grace period was over when store and {where} had answered")
    if took > MAX_DELAY:
        words = f"{where} took {format_duration(took)} to answer, behind which the scan would begin late"
        raise ScannerNotReady(words)
    return now


class RigThread:
    """The thread that makes the calls, one at a time. It doesn't keep the process from ending.

    The loop submits a call, never waits for it, and is given its `CallOutcome`. The thread can't be killed: where a
    call doesn't end, the process has to be replaced.
    """

    def __init__(self, clock: Clock, post: Callable[[CallOutcome], None]) -> None:
        """Start the thread; ``post`` is called on it with each outcome."""
        self._clock, self._post = clock, post
        self._calls: deque[tuple[ScannerDriver, Call, ScanRequest | None, ManualRequest | None]] = deque()
        self._pending = 0
        self._lock = threading.Condition()
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
            self._calls.append((driver, call, request, manual))
            self._lock.notify()

    def withdraw(self, call: Call) -> int:
        """Take the queued calls of a kind back, none of which has begun; return how many those were. Loop thread."""
        with self._lock:
            before = len(self._calls)
            self._calls = deque(queued for queued in self._calls if queued[1] is not call)
            withdrawn = before - len(self._calls)
            self._pending -= withdrawn
        return withdrawn

    def _work(self) -> None:
        name_thread("rig")
        while True:
            with self._lock:
                self._lock.wait_for(lambda: self._calls)
                driver, call, request, manual = self._calls.popleft()
            self._monitor = CallMonitor(self._clock, call, request, manual)
            self._clock.wake()  # the loop has a time limit to keep from now on
            outcome = make_call(driver, call, request, self._monitor)
            self._monitor = None
            with self._lock:
                self._pending -= 1
                self._post(outcome)


def make_directory(datasets: Path) -> None:
    """Make the directory of all datasets. Rig thread, since a network disk may hang as a rig may.

    Raises
    ------
    ScannerNotReady
        It can't be made now.
    """
    try:
        make_group_directory(datasets)
    except OSError as problem:
        raise ScannerNotReady(f"{datasets}: datasets can't be put there: {describe_disk_error(problem)}") from problem


def bound_error(problem: BaseException) -> BaseException:
    """Return what a driver raised where a person can be shown it; else a `DriverError` with what can be shown."""
    kind = type(problem)
    try:
        words = str(problem)
    except Exception:  # noqa: BLE001 - the exception can't be shown, for whatever reason
        return ScanFailed(f"{kind.__name__}, which can't even say what it is")
    if len(words) <= MAX_ERROR_CHARACTERS:
        return problem
    cut = f"{words[:MAX_ERROR_CHARACTERS]}… ({len(words)} characters in all)"
    if kind in (DriverError, ScannerNotReady, ScanFailed, ScanCancelled):
        return kind(cut)
    return ScanFailed(f"{kind.__name__}: {cut}")


def _check_result(call: Call, result: object) -> ScanResult:
    if not isinstance(result, ScanResult):
        raise TypeError(f"the driver's {call} returned {type(result).__name__}, not a ScanResult")
    note = result.note if isinstance(result.note, str) else ""
    return ScanResult(pictures=_check_count(result.pictures), note=note)


def _check_count(pictures: Any) -> int | None:
    """Return a number of pictures that the store can hold; ``None`` for any other value, which fails no scan."""
    try:
        count = operator.index(pictures)
    except TypeError:
        return None
    return count if 0 <= count < MAX_PICTURES else None
