"""The kernel's timer on the wall clock: runs out at an instant, and tells when the clock is set.

A relative time-out is wrong as soon as the clock is set or the machine suspends. A timerfd on
``CLOCK_REALTIME`` with an absolute time is not: the kernel moves it along with the clock. With
``TFD_TIMER_CANCEL_ON_SET`` its descriptor also becomes readable when the clock jumps, which
includes the jump that a resume from suspend is.
"""

from __future__ import annotations

import errno
import os
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST_NS = 1
"""The earliest time to arm for: the kernel takes 0 as "disarm" and refuses what is before 1970."""
LAST_NS = 2**63 - 1
"""The latest: where the kernel's own count of nanoseconds ends, in April 2262."""

if sys.version_info >= (3, 13):
    _SETTIME_FLAGS = os.TFD_TIMER_ABSTIME | os.TFD_TIMER_CANCEL_ON_SET

    def _create() -> int:
        return os.timerfd_create(time.CLOCK_REALTIME, flags=os.TFD_NONBLOCK | os.TFD_CLOEXEC)

    def _settime(fd: int, at_ns: int) -> None:
        os.timerfd_settime_ns(fd, flags=_SETTIME_FLAGS, initial=at_ns)

else:
    import ctypes

    _SETTIME_FLAGS = 0b11  # TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET of <sys/timerfd.h>
    _LAST_SECOND = 2 ** (8 * ctypes.sizeof(ctypes.c_long) - 1) - 1  # in 2038 where long has 32 bits

    class _Timespec(ctypes.Structure):
        # Long, not 64 bits: a C library that has two of each function keeps the plain name for this one.
        _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))

    class _Itimerspec(ctypes.Structure):
        _fields_ = (("interval", _Timespec), ("value", _Timespec))

    _libc = ctypes.CDLL(None, use_errno=True)

    def _checked(result: int) -> int:
        if result < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return result

    def _create() -> int:
        return _checked(_libc.timerfd_create(time.CLOCK_REALTIME, os.O_NONBLOCK | os.O_CLOEXEC))

    def _settime(fd: int, at_ns: int) -> None:
        seconds, nanoseconds = divmod(at_ns, 10**9)
        value = _Timespec(min(seconds, _LAST_SECOND), nanoseconds)
        _checked(_libc.timerfd_settime(fd, _SETTIME_FLAGS, ctypes.byref(_Itimerspec(value=value)), None))


def _told_of_a_setting(call: Callable[..., object], *arguments: int) -> bool:
    """Return whether the kernel refuses a call with the news that the clock was set; it says so once."""
    try:
        call(*arguments)
    except BlockingIOError:
        return False  # nothing to read: the timer was armed anew after it ran out
    except OSError as error:
        if error.errno != errno.ECANCELED:
            raise
        return True
    return False


class WallClockTimer:
    """One timerfd, always armed, so that no setting of the clock goes unnoticed.

    The kernel remembers a setting until `arm` or `clear` has told it, so one that falls between two
    waits is not lost; several count as one. Any thread, one at a time.
    """

    def __init__(self) -> None:
        self._fd = _create()
        self.arm(None)  # from now on settings of the clock are noticed

    def fileno(self) -> int:
        """Return the descriptor, which is readable when the time has come or the clock was set."""
        return self._fd

    def arm(self, at_ns: int | None) -> bool:
        """Set the timer to run out at ``at_ns``, in ns since 1970 UTC; with `None` only a setting of the clock ends it.

        A time in the past runs out at once; one later than `LAST_NS` runs out then, too early.
        Return whether the clock has been set since that was last told. The timer is armed in any case.
        """
        at_ns = LAST_NS if at_ns is None else min(max(at_ns, FIRST_NS), LAST_NS)
        return _told_of_a_setting(_settime, self._fd, at_ns)

    def clear(self) -> bool:
        """Make the descriptor unreadable again; return whether it was so because the clock was set."""
        return _told_of_a_setting(os.read, self._fd, 8)

    def close(self) -> None:
        """Give the descriptor back. Call once."""
        os.close(self._fd)
