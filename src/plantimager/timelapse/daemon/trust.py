"""Whether the wall clock can be trusted with decisions that can't be taken back.

A Raspberry Pi without a real-time clock boots in the past and jumps when the network answers. Until then
no slot may be fired and none skipped. Pure: the evidence and the time are arguments.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from msgspec import Struct

from plantimager.timelapse.domain.durations import format_duration
from plantimager.timelapse.settings.config import ClockPolicy

if TYPE_CHECKING:
    from datetime import datetime

    from plantimager.timelapse.support.clock_evidence import ClockEvidence

NONE = timedelta(0)


class Trust(Struct, frozen=True):
    """One judgement of the clock."""

    trusted: bool
    why: str
    """The evidence, as a part of a sentence: ``clock not trusted yet (kernel: unsynchronised)``."""
    wait: timedelta | None = None
    """How long until the clock is trusted without better evidence; `None` where it is, or where that never happens."""


def judge_clock(
    policy: ClockPolicy,
    evidence: ClockEvidence,
    now: datetime,
    last_write: datetime | None,
    since_boot: float,
    clock_wait: timedelta,
) -> Trust:
    """Judge the wall clock ``now``, ``since_boot`` s after the machine's boot.

    ``last_write`` is when the store was last written, `None` without a store. A clock that is earlier is wrong now, or
    was wrong then. A clock that is synchronised to the network is trusted at once, or, where it is earlier than the
    last write, when ``clock_wait`` is over. Any other clock is trusted only when it has passed the last write; without
    any evidence for it, ``clock_wait`` must be over, too.
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
