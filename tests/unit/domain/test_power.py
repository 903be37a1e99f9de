"""When the rig is prepared, goes to standby, and is asked again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from plantimager.timelapse.domain.power import RigWait, rig_wait_after, should_stand_by, warmup_at
from plantimager.timelapse.domain.states import Reason, TimeLapseMode, TimeLapseState
from plantimager.timelapse.domain.timelapse import TimeLapse

AT = datetime(2026, 6, 22, 8, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def timelapse(**changes):
    values = {"id": "tl", "mode": TimeLapseMode.ONE_SHOT, "state": TimeLapseState.SCHEDULED, "schedule_times": (AT,)}
    return TimeLapse(**{**values, "warmup": MINUTE, "standby_threshold": 10 * MINUTE, **changes})


def test_rig_is_warmed_up_before_the_next_slot():
    """It begins earlier than the slot by the time that the timelapse has for it."""
    assert warmup_at(timelapse()) == AT - MINUTE


def test_rig_without_a_warm_up_is_prepared_at_the_slot():
    """Zero means that it isn't prepared ahead."""
    assert warmup_at(timelapse(warmup=timedelta(0))) == AT


@pytest.mark.parametrize("ahead", [10 * MINUTE, MINUTE, timedelta(0), -MINUTE])
def test_rig_stays_powered_between_near_slots(ahead):
    """Switching costs time and lamps; a slot that is late is near."""
    assert not should_stand_by(timelapse(), AT - ahead)


def test_rig_is_powered_down_when_the_next_slot_is_far():
    """It is far if it is farther than the threshold."""
    assert should_stand_by(timelapse(), AT - 10.1 * MINUTE)


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
    """Nothing is warmed up then, either."""
    assert should_stand_by(idle, AT)
    assert idle is None or warmup_at(idle) is None


# --- a rig that isn't ready -------------------------------------------------------------------------


SECOND = timedelta(seconds=1)


def waits(timelapse, late, tries):
    """Return after how many seconds the rig is asked again each time, when it answers at once."""
    now, wait, pauses = AT + late, None, []
    for _ in range(tries):
        wait = rig_wait_after(timelapse, now, wait)
        pauses.append((wait.again_at - now).total_seconds())
        now = wait.again_at
    return pauses


def test_rig_that_is_not_ready_is_asked_ever_more_slowly():
    """Each pause is twice as long as the last, up to half a minute."""
    assert waits(timelapse(grace=10 * MINUTE), timedelta(0), 7) == [2, 4, 8, 16, 30, 30, 30]


def test_rig_is_asked_once_more_right_before_the_grace_period_is_over():
    """At its very end it would be too late."""
    assert waits(timelapse(grace=20 * SECOND), timedelta(0), 5)[:4] == [2, 4, 8, 5]


def test_slot_is_looked_at_again_when_its_grace_period_is_over():
    """Then it is skipped."""
    wait = rig_wait_after(timelapse(grace=MINUTE), AT + 59.5 * SECOND, RigWait(0, 5, AT))
    assert (wait.slot, wait.tries, wait.again_at) == (0, 6, AT + MINUTE + timedelta.resolution)


def test_rig_of_a_slot_that_is_late_anyway_is_asked_at_the_usual_pace():
    """The newest of the missed slots may be taken however late."""
    assert waits(timelapse(grace=MINUTE), 5 * MINUTE, 3) == [2, 4, 8]
