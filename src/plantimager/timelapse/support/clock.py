"""The time, and the only module that asks the operating system for it.

Everything above is given a `Clock`, so that tests run years in a moment and set the clock as often
as they like. Three notions of time are kept apart:

- *wall clock* (``CLOCK_REALTIME``, always UTC here): what a slot is due by; people and NTP set it;
- *monotonic* (``CLOCK_MONOTONIC``): how long something took; stands still while the machine is suspended;
- *since boot* (``CLOCK_BOOTTIME``): like monotonic, but counts suspends.
"""

from __future__ import annotations

import contextlib
import ctypes
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

from plantimager.timelapse.support.timerfd import WallClockTimer

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)

SMALLEST_STEP: Final = timedelta(seconds=0.5)
"""Settings of the clock by less are not told: a leap second is, what NTP corrects day by day isn't."""


class Wake(enum.Flag):
    """Why a wait ended; several reasons may come together."""

    DUE = enum.auto()
    """The wall clock shows the time that was waited for, or a later one."""
    CLOCK_SET = enum.auto()
    """The wall clock was set since the last wait, or the machine was suspended; `Clock.step` tells them apart."""
    WOKEN = enum.auto()
    """Somebody called `Clock.wake`, or a signal came."""
    TIMEOUT = enum.auto()
    """The time-out is over."""


_REASONS: Final = {
    chosen: functools.reduce(operator.or_, itertools.compress(Wake, chosen), Wake(0))
    for chosen in itertools.product((False, True), repeat=len(Wake))
}
"""Every union of reasons: putting one together takes as long as the kernel takes to wake us."""


class ClockStep(Struct, frozen=True):
    """One movement of the wall clock that wasn't the passing of time."""

    before: datetime
    """What the clock would show now if nobody had set it."""
    after: datetime
    """What it shows now."""

    @property
    def shift(self) -> timedelta:
        """How far the clock was set forward; negative for backward."""
        return self.after - self.before


class ClockEvidence(Struct, frozen=True):
    """What speaks for the wall clock being right."""

    kernel_synchronised: bool
    """The kernel knows that something keeps the clock right: NTP, PTP, GPS."""
    set_from_rtc: bool
    """At boot the clock was set from a real-time clock with a battery."""
    detail: str
    """The same in words, for the journal."""


class Clock(Protocol):
    """A source of time that can be waited on. One thread waits; everything else is for any thread."""

    def now(self) -> datetime:
        """Return the wall clock, in UTC."""

    def monotonic(self) -> float:
        """Return seconds that pass evenly, whatever happens to the wall clock; suspends don't count."""

    def since_boot(self) -> float:
        """Return seconds since the machine booted; suspends count."""

    def boot_id(self) -> str:
        """Return what names this boot of the machine; empty when the system hides it."""

    def evidence(self) -> ClockEvidence:
        """Look what speaks for the wall clock being right, now."""

    def wait(self, until: datetime | None, timeout: float | None) -> Wake:
        """Sleep until the wall clock shows ``until``, or it is set, or `wake` is called, or ``timeout`` s are over.

        `None` means for ever. At least one reason is returned. With `Wake.DUE`, ``now() >= until`` holds.
        """

    def wake(self) -> None:
        """End the wait; the next one, if none is under way. Any thread and signal handler, also after `close`."""

    @property
    def wakeup_fd(self) -> int:
        """The descriptor for `signal.set_wakeup_fd`; -1 where signals can't end the wait."""

    def step(self) -> ClockStep | None:
        """Return how far the wall clock was set since this last said so, `None` for not at all.

        Suspends and the slow corrections of NTP are no steps.
        """

    def close(self) -> None:
        """Let go of what the operating system lent. Call once, last."""


class SystemClock:
    """The clock of this machine."""

    def __init__(self, *, timer: WallClockTimer | None = None) -> None:
        self._timer = timer or WallClockTimer()
        # A pipe and not an eventfd: `signal.set_wakeup_fd` writes single bytes, an eventfd wants eight.
        self._woken, self._waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._poll = select.poll()
        self._poll.register(self._timer, select.POLLIN)
        self._poll.register(self._woken, select.POLLIN)
        self._booted_at = _wall_clock_at_boot()

    def now(self) -> datetime:  # noqa: D102 - see Clock, also for the others
        return datetime.now(UTC)  # noqa: TID251 - the place where it is asked for; rounds down

    def monotonic(self) -> float:  # noqa: D102
        return time.clock_gettime(time.CLOCK_MONOTONIC)

    def since_boot(self) -> float:  # noqa: D102
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def boot_id(self) -> str:  # noqa: D102
        with contextlib.suppress(OSError):  # a sandbox may hide /proc/sys
            return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
        return ""

    def evidence(self) -> ClockEvidence:  # noqa: D102
        synchronised, kernel = ask_kernel()
        rtc = rtc_of_boot()
        boot = f"set from {rtc} at boot" if rtc else "not set from a real-time clock at boot"
        return ClockEvidence(synchronised, rtc is not None, f"{kernel}; {boot}")

    def wait(self, until: datetime | None, timeout: float | None) -> Wake:  # noqa: D102
        at_ns = None if until is None else (until - EPOCH) // MICROSECOND * 1000
        deadline = None if timeout is None else self.monotonic() + timeout
        while True:
            due, was_set, woken = self._sleep(at_ns, deadline)
            over = deadline is not None and self.monotonic() >= deadline
            if due or was_set or woken or over:
                return _REASONS[due, was_set, woken, over]
            # The timer or the poll ran out early, since neither counts as far as was asked: go on.

    def _sleep(self, at_ns: int | None, deadline: float | None) -> tuple[bool, bool, bool]:
        """Sleep as long as the kernel lets us; return whether it is time, the clock was set, and somebody woke us."""
        patience = None if deadline is None else _milliseconds(deadline - self.monotonic())
        was_set, woken = self._timer.arm(at_ns), False
        ready = () if was_set else self._poll.poll(patience)
        due = at_ns is not None and time.time_ns() >= at_ns
        for fd, _ in ready:  # after the look at the clock: a setting that made it due is always told with it
            if fd == self._woken:
                os.read(fd, 2**16)  # all that a pipe holds
                woken = True
            elif self._timer.clear():
                was_set = True
        return due, was_set, woken

    def wake(self) -> None:  # noqa: D102
        with contextlib.suppress(OSError):  # full: a wake-up is pending anyway; closed: nobody waits any more
            os.write(self._waker, b"\0")

    @property
    def wakeup_fd(self) -> int:  # noqa: D102
        return self._waker

    def step(self) -> ClockStep | None:  # noqa: D102
        booted_at = _wall_clock_at_boot()
        shift = booted_at - self._booted_at
        if abs(shift) < SMALLEST_STEP:
            return None  # and many small ones still add up to one that is told
        self._booted_at = booted_at
        now = self.now()
        return ClockStep(before=now - shift, after=now)

    def close(self) -> None:  # noqa: D102
        descriptors = self._woken, self._waker
        self._woken = self._waker = -1  # a late `wake` must not write into what gets these numbers next
        for fd in descriptors:
            os.close(fd)
        self._timer.close()


LONGEST_POLL_MS: Final = 2**31 - 1
"""What poll(2) takes: 24 days."""


def _milliseconds(seconds: float) -> float:
    return min(max(seconds, 0.0) * 1000, LONGEST_POLL_MS)


CLOSE_READINGS_NS: Final = 10_000_000
"""Two clocks read within 10 ms are read at the same time; else the process lost the processor in between."""


def _wall_clock_at_boot() -> datetime:
    """Return what the present wall clock would have shown at boot.

    NTP slews both clocks alike, and both count suspends, so this changes by steps of the wall clock alone.
    """
    while True:
        earlier = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        wall = time.clock_gettime_ns(time.CLOCK_REALTIME)
        later = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        if later - earlier < CLOSE_READINGS_NS:
            return EPOCH + (wall - earlier) // 1000 * MICROSECOND


class _Timex(ctypes.Structure):
    """The head of ``struct timex`` (adjtimex(2)), and more room than the rest needs."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("rest", ctypes.c_long * 48),
    )


UNSYNCHRONISED_ERROR_US: Final = 16_000_000
"""``NTP_PHASE_LIMIT``: the kernel's error at boot, after a setting by hand, and 9 h after the last word from NTP."""

_libc = ctypes.CDLL(None, use_errno=True)


def ask_kernel() -> tuple[bool, str]:
    """Return whether the kernel calls the clock synchronised, and the same in words.

    Judged as ``timedatectl`` does, by the largest possible error. The flag ``STA_UNSYNC`` says less: chrony may
    leave it set just to keep the kernel from writing to the real-time clock.
    """
    timex = _Timex()  # modes 0: ask, change nothing; needs no privilege
    if _libc.adjtimex(ctypes.byref(timex)) < 0:
        return False, f"kernel: would not tell ({os.strerror(ctypes.get_errno())})"
    if timex.maxerror >= UNSYNCHRONISED_ERROR_US:
        return False, "kernel: unsynchronised"
    return True, f"kernel: synchronised within {timex.maxerror / 1000:.0f} ms"


def rtc_of_boot(devices: Path = Path("/sys/class/rtc")) -> str | None:
    """Return the name of the real-time clock that the kernel set the wall clock from at boot, if one."""
    for hctosys in sorted(devices.glob("*/hctosys")):
        with contextlib.suppress(OSError):
            if hctosys.read_text(encoding="utf-8").strip() == "1":
                return hctosys.parent.name
    return None
