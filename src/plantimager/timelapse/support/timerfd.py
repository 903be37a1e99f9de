"""The kernel's timer on the wall clock: it expires at an instant, and reports when the clock is set.

A relative time-out is wrong once the clock was set or the machine was suspended. A timerfd on ``CLOCK_REALTIME`` with
an absolute time stays right, since the kernel moves it along with the clock. With ``TFD_TIMER_CANCEL_ON_SET`` its
descriptor also becomes readable when the clock jumps, and the end of a suspend counts as a jump.
"""

from __future__ import annotations

import errno
import os
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

MIN_AT_NS = 1
"""The earliest time to arm for: the kernel takes 0 as "disarm" and refuses times before 1970."""
MAX_AT_NS = 2**63 - 1
"""The latest time to arm for: the kernel's count of nanoseconds ends there, in April 2262."""

if sys.version_info >= (3, 13):
    _SETTIME_FLAGS = os.TFD_TIMER_ABSTIME | os.TFD_TIMER_CANCEL_ON_SET

    def _create() -> int:
        return os.timerfd_create(time.CLOCK_REALTIME, flags=os.TFD_NONBLOCK | os.TFD_CLOEXEC)

    def _settime(fd: int, at_ns: int) -> None:
        os.timerfd_settime_ns(fd, flags=_SETTIME_FLAGS, initial=at_ns)

else:
    import ctypes

    _SETTIME_FLAGS = 0b11  # TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET of <sys/timerfd.h>
    _MAX_SECONDS = 2 ** (8 * ctypes.sizeof(ctypes.c_long) - 1) - 1  # in 2038 where long has 32 bits

    class _Timespec(ctypes.Structure):
        # Long, not 64 bits: a C library with two versions of each function gives the plain name to this one.
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
        value = _Timespec(min(seconds, _MAX_SECONDS), nanoseconds)
        _checked(_libc.timerfd_settime(fd, _SETTIME_FLAGS, ctypes.byref(_Itimerspec(value=value)), None))


def _reports_setting(call: Callable[..., object], *arguments: int) -> bool:
    """Return whether the kernel answers a call with ECANCELED: the clock was set. It reports that once."""
    try:
        call(*arguments)
    except BlockingIOError:
        return False  # nothing to read: the timer was armed again after it had expired
    except OSError as error:
        if error.errno != errno.ECANCELED:
            raise
        return True
    return False


class WallClockTimer:
    """One timerfd, which is always armed, so that no setting of the clock goes unnoticed.

    The kernel remembers a setting until `arm` or `clear` has reported it, so a setting between two waits is not
    lost; several count as one. For any thread, one at a time.
    """

    def __init__(self) -> None:
        self._fd = _create()
        self.arm(None)  # from here on settings of the clock are noticed

    def fileno(self) -> int:
        """Return the file descriptor, which is readable once the timer has expired or the clock was set."""
        return self._fd

    def arm(self, at_ns: int | None) -> bool:
        """Let the timer expire at ``at_ns``, in ns since 1970 UTC, or with `None` only by a setting of the clock.

        A time in the past expires at once. A time after `MAX_AT_NS` expires then, which is too early.
        Returns whether the clock was set since the last report. The timer is armed in any case.
        """
        at_ns = MAX_AT_NS if at_ns is None else min(max(at_ns, MIN_AT_NS), MAX_AT_NS)
        return _reports_setting(_settime, self._fd, at_ns)

    def clear(self) -> bool:
        """Make the descriptor unreadable again; return whether a setting of the clock had made it readable."""
        return _reports_setting(os.read, self._fd, 8)

    def close(self) -> None:
        """Close the file descriptor. Call it once."""
        os.close(self._fd)
