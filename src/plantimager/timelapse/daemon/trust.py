"""Whether the wall clock can be trusted with decisions that can't be taken back.

A Raspberry Pi without a real-time clock boots in the past and jumps when the network answers. Until then
no slot may be fired and none skipped. Pure: what was seen and the time are arguments.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from msgspec import Struct

from plantimager.timelapse.domain.durations import format_duration
from plantimager.timelapse.settings.config import ClockPolicy

if TYPE_CHECKING:
    from datetime import datetime

    from plantimager.timelapse.support.clock import ClockEvidence

NONE = timedelta(0)


class Trust(Struct, frozen=True):
    """One judgement of the clock."""

    trusted: bool
    why: str
    """On which evidence, as a part of a sentence: ``clock not trusted yet (kernel: unsynchronised)``."""
    wait: timedelta | None = None
    """How long until the clock is trusted even if no better evidence comes; `None` when it is, or never will be."""


def judge_clock(
    policy: ClockPolicy,
    evidence: ClockEvidence,
    now: datetime,
    last_write: datetime | None,
    since_boot: float,
    clock_wait: timedelta,
) -> Trust:
    """Judge the wall clock ``now``, ``since_boot`` s after the machine's boot.

    ``last_write`` is when the store was last written, `None` if there is no store. A clock that stands before it is
    wrong now, or was wrong then. The network gets until ``clock_wait`` after boot to correct itself and is believed
    from then on. Any other clock is believed only when it has passed the last write, and one that nobody vouches for
    only after ``clock_wait``, too.
    """
    if policy is ClockPolicy.TRUST:
        return Trust(trusted=True, why='clock = "trust"')
    if policy is ClockPolicy.NTP_ONLY and not evidence.kernel_synchronised:
        return Trust(trusted=False, why="kernel: unsynchronised; ntp-only")

    behind = max(last_write - now, NONE) if last_write is not None else NONE
    left = max(clock_wait - timedelta(seconds=since_boot), NONE)
    if evidence.kernel_synchronised:
        why, wait = "kernel: synchronised", min(behind, left)
    elif evidence.set_from_rtc:
        why, wait = "set from a real-time clock at boot", behind
    else:
        why, wait = "kernel: unsynchronised", max(behind, left)

    if wait:
        return Trust(
            trusted=False, why=f"{format_duration(behind)} before the last write" if behind else why, wait=wait
        )
    if behind:
        why = f"{why}, though {format_duration(behind)} before the last write"
    elif not (evidence.kernel_synchronised or evidence.set_from_rtc):
        why = f"{why}, but nothing better came within {format_duration(clock_wait)} of boot"
    return Trust(trusted=True, why=why)
