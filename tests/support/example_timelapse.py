"""A small timelapse, one in each state, and every transition of the table."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import MappingProxyType

from msgspec.structs import replace

from plantimager.timelapse.domain.amending import amend
from plantimager.timelapse.domain.pausing import begin_pause, end_pause
from plantimager.timelapse.domain.states import OnScanFailed, Reason, TimeLapseMode, TimeLapseState, Trigger
from plantimager.timelapse.domain.timelapse import TimeLapse
from plantimager.timelapse.support.errors import ScanFailed

START = datetime(2026, 6, 22, 8, tzinfo=UTC)
EVERY = timedelta(minutes=30)
GRACE = timedelta(minutes=2)
FAILURE = ScanFailed("camera time-out")


def timelapse(n_slots: int = 4, **changes: object) -> TimeLapse:
    """Return a timelapse of which nothing was taken yet."""
    values = {
        "id": "tl",
        "mode": TimeLapseMode.INTERVAL,
        "state": TimeLapseState.SCHEDULED,
        "schedule_times": tuple(START + EVERY * slot for slot in range(n_slots)),
        "grace": GRACE,
        **changes,
    }
    return TimeLapse(**values)


def at(slot: int, late: float = 0) -> datetime:
    """Return the instant ``late`` seconds after a slot is due."""
    return START + EVERY * slot + timedelta(seconds=late)


def taken(value: TimeLapse, *, boot_id: str = "b") -> TimeLapse:
    """Return the value in which the next slot is taken."""
    now = value.next_at
    return value.begin(now, boot_id).succeed(now + timedelta(minutes=5), 72)


_S = TimeLapseState

IN_STATE = MappingProxyType(
    {
        _S.CONFIGURED: timelapse(state=_S.CONFIGURED),
        _S.SCHEDULED: timelapse(),
        _S.RUNNING: timelapse().begin(at(0), "b"),
        _S.COMPLETED: timelapse().skip_late_slots(at(9), Reason.NOT_RECORDED, ""),
        _S.FAILED: timelapse(on_scan_failed=OnScanFailed.FAIL_TIMELAPSE).begin(at(0), "b").fail_attempt(at(0), FAILURE),
        _S.CANCELLED: timelapse().begin(at(0), "b").cancel(at(0), "ada", "why"),
    }
)

CALLS = MappingProxyType(
    {
        Trigger.SLOT_DUE: lambda t: t.begin(at(0), "b"),
        Trigger.SCAN_OK: lambda t: t.succeed(at(0), 1),
        Trigger.ATTEMPT_FAILED: lambda t: replace(t, scan_retries=9).fail_attempt(at(0), FAILURE),
        Trigger.RIG_NOT_READY: lambda t: t.rig_not_ready(FAILURE),
        Trigger.EXHAUSTED: lambda t: t.fail_attempt(at(0), FAILURE),
        Trigger.INTERRUPTED: lambda t: t.interrupt(at(0), "why"),
        Trigger.CANCELLED: lambda t: t.cancel(at(0), "ada", "why"),
        Trigger.AMENDED: lambda t: amend(t, timelapse(9, schedule_times=(at(8), at(9))), at(0)),
        Trigger.PAUSED: lambda t: begin_pause(t, at(0), "ada", None),
        Trigger.PAUSE_ENDED: lambda t: end_pause(t, at(0), "ben"),
        Trigger.CLOCK_SET: lambda t: t.redate(EVERY),
        Trigger.WHOLE_AFTER_ALL: lambda t: t.succeed_after_all(0, at(0), 1, None),
    }
)
LOOKS = MappingProxyType(
    {
        Trigger.SLOTS_LATE: lambda t: t.skip_late_slots(at(0, 300), Reason.MISSED, ""),
        Trigger.SLOTS_REOPENED: lambda t: t.reopen_slots(at(0)),
    }
)
"""The transitions that happen only where there is something to do; else the same value is returned."""
