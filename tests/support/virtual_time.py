"""A virtual clock for tests: years pass in a moment, and a script sets, suspends and wakes it."""

from __future__ import annotations

import heapq
import itertools
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from plantimager.timelapse.support.clock import MIN_STEP, ClockStep, Wake
from plantimager.timelapse.support.clock_evidence import ClockEvidence

if TYPE_CHECKING:
    from collections.abc import Callable

START = datetime(2026, 6, 22, 8, tzinfo=UTC)

SYNCHRONISED = ClockEvidence(kernel_synchronised=True, set_from_rtc=False, detail="kernel: synchronised within 3 ms")
FROM_RTC = ClockEvidence(kernel_synchronised=False, set_from_rtc=True, detail="set from rtc0 at boot")
UNSYNCHRONISED = ClockEvidence(kernel_synchronised=False, set_from_rtc=False, detail="kernel: unsynchronised")


class ScriptEnded(Exception):
    """A wait would never end, or only beyond the limit."""


SHORTEST = timedelta(microseconds=1)
"""What passes in any wait: a time-out that rounding has left is less than that."""


class VirtualClock:
    """A `Clock` whose time passes only in `wait` and `pass_time`, where it passes at once.

    A wait goes straight to the earliest of: its own end, its time-out, the next entry of the script. Like the
    kernel's timer it reports a setting of the clock, or a suspend, exactly once, also one between two waits.
    """

    def __init__(
        self,
        now: datetime = START,
        *,
        since_boot: timedelta = timedelta(hours=1),
        evidence: ClockEvidence = SYNCHRONISED,
        boot_id: str = "00000000-0000-4000-8000-000000000001",
        limit: timedelta | None = None,
        busy: Callable[[], bool] = lambda: False,
    ) -> None:
        """Start at ``now``.

        ``limit``: how long the clock runs before `wait` raises `ScriptEnded`. ``busy`` says whether another thread
        of the test is at work: then time stands still, and `wait` really waits for its `wake`.
        """
        self._awake, self._asleep = since_boot, timedelta(0)
        self._booted_at = self._reported_booted_at = now - since_boot
        self._started = since_boot
        self._limit = limit
        self._busy = busy
        self._script: list[tuple[timedelta, int, Callable[[], object]]] = []
        self._numbers = itertools.count()
        self._was_set = False
        self._woken = threading.Event()
        self._boot_id = boot_id
        self.shown_evidence = evidence
        """What `evidence` returns; the script may change it."""
        self.wakes: list[Wake] = []
        """What every wait so far returned; its length counts the wake-ups."""

    # The script

    def at(self, after: timedelta, do: Callable[[], object]) -> None:
        """Have ``do`` called when ``after`` more have passed; on the waiting thread, before it looks at the clock."""
        heapq.heappush(self._script, (self._boottime + after, next(self._numbers), do))

    @property
    def has_script(self) -> bool:
        """Whether anything of the script is left to come."""
        return bool(self._script)

    def shift(self, by: timedelta) -> None:
        """Set the wall clock forward by so much (backward if negative)."""
        self._booted_at += by
        self._was_set = True

    def set_to(self, now: datetime) -> None:
        """Set the wall clock."""
        self.shift(now - self.now())

    def suspend(self, duration: timedelta) -> None:
        """Let the machine sleep: the wall clock goes on, the monotonic one doesn't; the kernel calls that a setting."""
        self._asleep += duration
        self._was_set = True

    def pass_time(self, duration: timedelta) -> None:
        """Let time pass, as a scan on the loop's own thread would; the script goes on meanwhile."""
        end = self._awake + duration
        while self._awake < end:
            self._run_script()
            self._awake += min([end - self._awake, *self._until_script()])
        self._run_script()

    @property
    def elapsed(self) -> timedelta:
        """How long the clock has been running, suspends included."""
        return self._boottime - self._started

    # The interface of a Clock

    def now(self) -> datetime:
        return self._booted_at + self._boottime

    def monotonic(self) -> float:
        return self._awake.total_seconds()

    def since_boot(self) -> float:
        return self._boottime.total_seconds()

    def boot_id(self) -> str:
        return self._boot_id

    def evidence(self) -> ClockEvidence:
        return self.shown_evidence

    def wait(self, until: datetime | None, timeout: float | None) -> Wake:
        deadline = None if timeout is None else self._awake + max(timedelta(seconds=timeout), SHORTEST * (timeout > 0))
        while True:
            self._run_script()
            wake = self._take_wakes()
            if until is not None and self.now() >= until:
                wake |= Wake.DUE
            if deadline is not None and self._awake >= deadline:
                wake |= Wake.TIMEOUT
            if wake:
                self.wakes.append(wake)
                return wake
            if self._busy():
                self._woken.wait()
                continue
            ahead = list(self._until_script())
            if until is not None:
                ahead.append(until - self.now())
            if deadline is not None:
                ahead.append(deadline - self._awake)
            if not ahead or (self._limit is not None and self.elapsed + min(ahead) > self._limit):
                raise ScriptEnded
            self._awake += min(ahead)

    def wake(self) -> None:
        self._woken.set()

    @property
    def wakeup_fd(self) -> int:
        return -1

    def step(self) -> ClockStep | None:
        shift = self._booted_at - self._reported_booted_at
        if abs(shift) < MIN_STEP:
            return None
        self._reported_booted_at = self._booted_at
        return ClockStep(before=self.now() - shift, after=self.now())

    def close(self) -> None:
        pass

    @property
    def _boottime(self) -> timedelta:
        return self._awake + self._asleep

    def _until_script(self) -> tuple[timedelta, ...]:
        return (self._script[0][0] - self._boottime,) if self._script else ()

    def _run_script(self) -> None:
        while self._script and self._script[0][0] <= self._boottime:
            _, _, do = heapq.heappop(self._script)
            do()

    def _take_wakes(self) -> Wake:
        wake = Wake.CLOCK_SET if self._was_set else Wake(0)
        self._was_set = False
        if self._woken.is_set():
            self._woken.clear()
            wake |= Wake.WOKEN
        return wake
