"""When the rig is powered."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from plantimager.timelapse.domain.power import wants_standby, warmup_at
from plantimager.timelapse.domain.states import Reason
from plantimager.timelapse.domain.timelapse import TimeLapse, TimeLapseMode, TimeLapseState

AT = datetime(2026, 6, 22, 8, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def timelapse(**changes):
    values = {"id": "tl", "mode": TimeLapseMode.ONE_SHOT, "state": TimeLapseState.SCHEDULED, "schedule_times": (AT,)}
    return TimeLapse(**{**values, "warmup": MINUTE, "standby_threshold": 10 * MINUTE, **changes})


def test_rig_is_warmed_up_before_the_next_slot():
    """So long before it as the timelapse says."""
    assert warmup_at(timelapse()) == AT - MINUTE


def test_rig_without_a_warm_up_is_not_warmed_up():
    """Zero means that there is none."""
    assert warmup_at(timelapse(warmup=timedelta(0))) is None


@pytest.mark.parametrize("ahead", [10 * MINUTE, MINUTE, timedelta(0), -MINUTE])
def test_rig_stays_powered_between_near_slots(ahead):
    """Switching costs time and lamps; a slot that is late is near."""
    assert not wants_standby(timelapse(), AT - ahead)


def test_rig_is_powered_down_when_the_next_slot_is_far():
    """Farther than the threshold."""
    assert wants_standby(timelapse(), AT - 10.1 * MINUTE)


@pytest.mark.parametrize(
    "idle",
    [
        None,
        timelapse(state=TimeLapseState.CONFIGURED),
        timelapse().skip_late_slots(AT + 9 * MINUTE, Reason.MISSED, ""),
        timelapse().cancel(AT, "ada", "why"),
    ],
    ids=["none", "draft", "completed", "cancelled"],
)
def test_rig_is_powered_down_when_nothing_is_to_come(idle):
    """And nothing is warmed up for it."""
    assert wants_standby(idle, AT)
    assert idle is None or warmup_at(idle) is None
