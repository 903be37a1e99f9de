"""The clock of the machine. No other module asks the operating system for the time.

Other modules are given a `Clock`, so that a test runs through years at once and sets the clock at will.
Three notions of time are kept apart:

- *wall clock* (``CLOCK_REALTIME``, always UTC here): slots are due by it; people and NTP set it;
- *monotonic* (``CLOCK_MONOTONIC``): measures how long something takes; stands still during a suspend;
- *since boot* (``CLOCK_BOOTTIME``): as monotonic, but counts suspends.
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

MIN_STEP: Final = timedelta(seconds=0.5)
"""A setting of the clock by less is not reported: a leap second is, NTP's daily corrections are not."""


RTCS: Final = Path("/sys/class/rtc")
"""The real-time clocks of this machine."""
MIN_RTC_TIME: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""No rig ran this program before. A real-time clock whose battery is dead says 1970, 2000 or its makers' date."""
MAX_RTC_ERROR: Final = timedelta(minutes=5)
"""What wall clock and real-time clock run apart in months."""


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


class ClockEvidence(Struct, frozen=True):
    """The reasons to believe that the wall clock is right."""

    kernel_synchronised: bool
    """The kernel knows that NTP, PTP or GPS keeps the clock right."""
    set_from_rtc: bool
    """The clock was set at boot from a real-time clock that kept its time, by `rtc_of_boot`."""
    detail: str
    """The same in words, for the journal."""
    kept_at: datetime | None = None
    """When the machine last kept the time on disk, as it was when this process began."""


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
        self._kept_at = _modified_at(KEPT_TIME)
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
        timeout_ms = None if deadline is None else _poll_timeout_ms(deadline - self.monotonic())
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


KEPT_TIME: Final = Path("/var/lib/systemd/timesync/clock")
"""systemd-timesyncd sets the time of this file every minute while the clock is synchronised."""


def _read_boot_id() -> str:
    with contextlib.suppress(OSError):  # a sandbox may hide /proc/sys
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    return ""


def _modified_at(path: Path) -> datetime | None:
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except (OSError, ValueError, OverflowError):
        return None


def _poll_timeout_ms(seconds: float) -> float:
    return min(max(seconds, 0.0) * 1000, MAX_POLL_MS)


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


class _Timex(ctypes.Structure):
    """The head of ``struct timex`` (adjtimex(2)), and more bytes than its rest has."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("rest", ctypes.c_long * 48),
    )


UNSYNCHRONISED_ERROR_US: Final = 16_000_000
"""``NTP_PHASE_LIMIT``: the kernel's error at boot, after a setting by hand, and 9 h after the last report of NTP."""

_libc = ctypes.CDLL(None, use_errno=True)


def kernel_synchronisation() -> tuple[bool, str]:
    """Return whether the kernel calls the clock synchronised, and the same in words.

    The largest possible error decides, as in ``timedatectl``. The flag ``STA_UNSYNC`` says less: chrony may
    leave it set only to keep the kernel from writing to the real-time clock.
    """
    timex = _Timex()  # modes 0 asks and changes nothing; that takes no privilege
    if _libc.adjtimex(ctypes.byref(timex)) < 0:
        return False, f"kernel: no answer ({os.strerror(ctypes.get_errno())})"
    if timex.maxerror >= UNSYNCHRONISED_ERROR_US:
        return False, "kernel: unsynchronised"
    return True, f"kernel: synchronised within {timex.maxerror / 1000:.0f} ms"


def rtc_of_boot(now: datetime, devices: Path = RTCS) -> tuple[bool, str]:
    """Return whether the wall clock was set at boot from a real-time clock that kept its time, and the same in words.

    The kernel sets it from any real-time clock, also from one without a battery, which begins at its makers' date with
    each power cut; then the system restores a later time from a file. So the clock's own time counts only where it is
    after `MIN_RTC_TIME`, and where the wall clock still shows it.
    """
    for hctosys in sorted(devices.glob("*/hctosys")):
        name = hctosys.parent.name
        with contextlib.suppress(OSError, ValueError, OverflowError):
            if hctosys.read_text(encoding="utf-8").strip() != "1":
                continue
            shown = EPOCH + timedelta(seconds=int((hctosys.parent / "since_epoch").read_text(encoding="utf-8")))
            if shown < MIN_RTC_TIME:
                return False, f"{name} says {shown:%Y-%m-%d}, so it has no battery or a dead one"
            off = shown - now
            zone = now.astimezone().utcoffset() or timedelta(0)  # beside Windows it shows local time
            if min(abs(off), abs(off - zone)) > MAX_RTC_ERROR:
                return False, f"{name} says {shown:%Y-%m-%d %H:%M}, which is not what the clock was set to"
            return True, f"set from {name} at boot"
    return False, "not set from a real-time clock at boot"
