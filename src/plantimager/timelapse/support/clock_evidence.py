"""The reasons to believe that the wall clock is right, as kernel, real-time clock and disk give them."""

from __future__ import annotations

import contextlib
import ctypes
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from msgspec import Struct

RTCS: Final = Path("/sys/class/rtc")
"""The real-time clocks of this machine."""
MIN_RTC_TIME: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""No rig ran this program before. A real-time clock whose battery is dead says 1970, 2000 or its makers' date."""
MAX_RTC_ERROR: Final = timedelta(minutes=5)
"""What wall clock and real-time clock run apart in months."""
_YEARS: Final = range(1970, 9000)
"""Of a file that somebody has touched; within them a time can be shown in any zone."""
KEPT_TIME: Final = Path("/var/lib/systemd/timesync/clock")
"""systemd-timesyncd sets the time of this file every minute while the clock is synchronised."""


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


def modified_at(path: Path) -> datetime | None:
    """Return when a file was last written; ``None`` where that isn't known, or is far from any date."""
    try:
        at = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except (OSError, ValueError, OverflowError):
        return None
    return at if at.year in _YEARS else None


def time_on_disk() -> datetime | None:
    """Return when the machine last kept the time on disk; ``None`` where it doesn't."""
    return modified_at(KEPT_TIME)


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
            shown = datetime.fromtimestamp(int((hctosys.parent / "since_epoch").read_text(encoding="utf-8")), UTC)
            if shown < MIN_RTC_TIME:
                return False, f"{name} says {shown:%Y-%m-%d}, so it has no battery or a dead one"
            off = shown - now
            zone = now.astimezone().utcoffset() or timedelta(0)  # beside Windows it shows local time
            if min(abs(off), abs(off - zone)) > MAX_RTC_ERROR:
                return False, f"{name} says {shown:%Y-%m-%d %H:%M}, which is not what the clock was set to"
            return True, f"set from {name} at boot"
    return False, "not set from a real-time clock at boot"
