"""The clock of the machine. No other module asks the operating system for the time.

Other modules are given a `Clock`, so that a test runs through years at once and sets the clock at will.
Three notions of time are kept apart:

- *wall clock* (``CLOCK_REALTIME``, always UTC here): slots are due by it; people and NTP set it;
- *monotonic* (``CLOCK_MONOTONIC``): measures how long something takes; stands still during a suspend;
- *since boot* (``CLOCK_BOOTTIME``): as monotonic, but counts suspends.
"""

from __future__ import annotations

import contextlib
import enum
import functools
import itertools
import operator
import os
import select
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Protocol

from msgspec import Struct

from plantimager.timelapse.support.clock_evidence import (
    RTCS,
    ClockEvidence,
    kernel_synchronisation,
    rtc_of_boot,
    time_on_disk,
)
from plantimager.timelapse.support.timerfd import WallClockTimer

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)

MIN_STEP: Final = timedelta(seconds=0.5)
"""A setting of the clock by less is not reported: a leap second is, NTP's daily corrections are not."""


class Wake(enum.Flag):
    """The reasons for which a wait ended; several may come together."""

    DUE = enum.auto()
    """The wall clock shows the time that the wait was for, or a later one."""
    CLOCK_SET = enum.auto()
    """The wall clock was set since the last wait, or the machine was suspended; `Clock.step` tells them apart."""
    WOKEN = enum.auto()
    """`Clock.wake` was called, or a signal arrived."""
    TIMEOUT = enum.auto()
    """The time-out has passed."""


_REASONS: Final = {
    chosen: functools.reduce(operator.or_, itertools.compress(Wake, chosen), Wake(0))
    for chosen in itertools.product((False, True), repeat=len(Wake))
}
"""Every union of reasons, since making one takes as long as the kernel takes to wake the process."""


class ClockStep(Struct, frozen=True):
    """A jump of the wall clock, as by somebody who set it."""

    before: datetime
    """The time that the clock would show now without the jump, in UTC."""
    after: datetime
    """The time that the clock shows now, in UTC."""

    @property
    def shift(self) -> timedelta:
        """The time by which the clock was set forward; negative for backward."""
        return self.after - self.before


class Clock(Protocol):
    """A source of time that can be waited on. One thread waits; all other methods are for any thread."""

    def now(self) -> datetime:
        """Return the wall clock, in UTC."""

    def monotonic(self) -> float:
        """Return a count of seconds that no setting of the wall clock changes; suspends don't count."""

    def since_boot(self) -> float:
        """Return the seconds since the machine booted; suspends count."""

    def boot_id(self) -> str:
        """Return the kernel's id of this boot; empty where the system hides it."""

    def evidence(self) -> ClockEvidence:
        """Return the present reasons to believe that the wall clock is right."""

    def wait(self, until: datetime | None, timeout: float | None) -> Wake:
        """Sleep until the wall clock shows ``until`` or is set, `wake` is called, or ``timeout`` seconds have passed.

        `None` sets no limit. At least one reason is returned. With `Wake.DUE`, ``now() >= until`` holds.
        """

    def wake(self) -> None:
        """End the present wait, or else the next one. For any thread and signal handler, also after `close`."""

    @property
    def wakeup_fd(self) -> int:
        """The file descriptor for `signal.set_wakeup_fd`; -1 where signals can't end the wait."""

    def step(self) -> ClockStep | None:
        """Return the jump of the wall clock since the last one that was returned; `None` where there is none.

        Suspends and the slow corrections of NTP are no jumps.
        """

    def close(self) -> None:
        """Close the file descriptors. Call it once, as the last method."""


def boot_time(clock: Clock) -> datetime:
    """Return when the machine booted, by the wall clock as it is set now."""
    return clock.now() - timedelta(seconds=clock.since_boot())


class SystemClock:
    """The clock of this machine."""

    def __init__(self, *, timer: WallClockTimer | None = None, rtcs: Path = RTCS) -> None:
        self._timer = timer or WallClockTimer()
        # A pipe, since `signal.set_wakeup_fd` writes single bytes and an eventfd takes eight at a time.
        self._woken, self._waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._poll = select.poll()
        self._poll.register(self._timer, select.POLLIN)
        self._poll.register(self._woken, select.POLLIN)
        self._booted_at, self._boot_id = _wall_clock_at_boot(), _read_boot_id()
        self._kept_at = time_on_disk()
        self._rtc = rtc_of_boot(self.now(), rtcs)
        """Read once, since later something may write a wrong time to it."""

    def now(self) -> datetime:  # noqa: D102 - documented by Clock
        return datetime.now(UTC)  # noqa: TID251 - the one place that asks; rounds down

    def monotonic(self) -> float:  # noqa: D102 - as above
        return time.clock_gettime(time.CLOCK_MONOTONIC)

    def since_boot(self) -> float:  # noqa: D102 - as above
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def boot_id(self) -> str:  # noqa: D102 - as above
        return self._boot_id

    def evidence(self) -> ClockEvidence:  # noqa: D102 - as above
        synchronised, kernel = kernel_synchronisation()
        set_from_rtc, rtc = self._rtc
        return ClockEvidence(synchronised, set_from_rtc, f"{kernel}; {rtc}", self._kept_at)

    def wait(self, until: datetime | None, timeout: float | None) -> Wake:  # noqa: D102 - as above
        at_ns = None if until is None else (until - EPOCH) // MICROSECOND * 1000
        deadline = None if timeout is None else self.monotonic() + timeout
        while True:
            due, was_set, woken = self._sleep(at_ns, deadline)
            over = deadline is not None and self.monotonic() >= deadline
            if due or was_set or woken or over:
                return _REASONS[due, was_set, woken, over]
            # The timer or the poll ended early, since neither can count as far as was asked: wait again.

    def _sleep(self, at_ns: int | None, deadline: float | None) -> tuple[bool, bool, bool]:
        """Sleep once in the kernel; return whether the time is due, the clock was set, and `wake` was called."""
        timeout_ms = None if deadline is None else min(max(deadline - self.monotonic(), 0.0) * 1000, MAX_POLL_MS)
        was_set, woken = self._timer.arm(at_ns), False
        ready = () if was_set else self._poll.poll(timeout_ms)
        due = at_ns is not None and time.time_ns() >= at_ns
        # Only now, after the clock was read: a setting that made the time due is then reported together with it.
        for fd, _ in ready:
            if fd == self._woken:
                os.read(fd, PIPE_BYTES)
                woken = True
            elif self._timer.clear():
                was_set = True
        return due, was_set, woken

    def wake(self) -> None:  # noqa: D102 - as above
        with contextlib.suppress(OSError):  # full: a wake-up is pending; closed: no thread waits any more
            os.write(self._waker, b"\0")

    @property
    def wakeup_fd(self) -> int:  # noqa: D102 - as above
        return self._waker

    def step(self) -> ClockStep | None:  # noqa: D102 - as above
        booted_at = _wall_clock_at_boot()
        shift = booted_at - self._booted_at
        if abs(shift) < MIN_STEP:
            return None  # small steps add up until they are reported
        self._booted_at = booted_at
        now = self.now()
        return ClockStep(before=now - shift, after=now)

    def close(self) -> None:  # noqa: D102 - as above
        descriptors = self._woken, self._waker
        self._woken = self._waker = -1  # a late `wake` must not write into a file that gets these numbers next
        for fd in descriptors:
            os.close(fd)
        self._timer.close()


PIPE_BYTES: Final = 2**16
"""The capacity of a pipe."""
MAX_POLL_MS: Final = 2**31 - 1
"""The longest time-out that poll(2) takes: 24 days."""


def _read_boot_id() -> str:
    with contextlib.suppress(OSError):  # a sandbox may hide /proc/sys
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    return ""


MAX_READING_NS: Final = 10_000_000
"""Two clocks that are read within 10 ms count as read at once; after a longer time the process was interrupted."""


def _wall_clock_at_boot() -> datetime:
    """Return the time that the present wall clock would have shown at boot.

    Only a jump of the wall clock changes it, since NTP slews both clocks alike and both count suspends.
    """
    while True:
        earlier = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        wall = time.clock_gettime_ns(time.CLOCK_REALTIME)
        later = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        if later - earlier < MAX_READING_NS:
            return EPOCH + (wall - earlier) // 1000 * MICROSECOND
