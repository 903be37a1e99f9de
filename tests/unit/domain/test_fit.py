"""Whether a schedule leaves its scans their time, in words that the daemon then keeps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from simulation import MINUTE

from plantimager.timelapse.domain.fit import describe_gap, describe_grace, describe_misfit
from plantimager.timelapse.domain.states import TimeLapseMode

FIRST = datetime(2026, 6, 22, 6, tzinfo=UTC)


def every(minutes, n=100):
    return tuple(FIRST + MINUTE * minutes * index for index in range(n))


@pytest.mark.parametrize(
    ("scan_time", "grace", "words"),
    [
        (299, 120, None),
        (300, 0, None),
        (400, 60, "every second slot will be missed"),
        (700, 60, "only every 3rd slot will be taken"),
        (400, 120, "33 of 100 slots will be missed"),
        (301, 120, "slots will be up to 1 min 39 s late"),
    ],
)
def test_misfit_says_what_becomes_of_the_slots(scan_time, grace, words):
    """The example has slots five minutes apart."""
    said = describe_misfit(every(5), timedelta(seconds=grace), timedelta(seconds=scan_time))
    assert said == words


def test_grace_longer_than_the_time_between_slots_is_explained():
    """After an outage all slots of the grace period are taken, one directly after the other."""
    interval, dates = TimeLapseMode.INTERVAL, TimeLapseMode.FIXED_TIMES
    assert [*describe_grace(interval, every(10), MINUTE * 30)] == [
        "grace_period (30 min) is longer than the interval (10 min): after an outage slots are taken back to back"
    ]
    assert "longer than the time between slots (10 min)" in next(describe_grace(dates, every(10), MINUTE * 30))
    assert not [*describe_grace(interval, every(30), MINUTE * 30)]
    assert not [*describe_grace(TimeLapseMode.ONE_SHOT, every(30, 1), MINUTE * 30)]


def test_slots_without_an_interval_have_a_shortest_time_between_them():
    """Fixed times have no interval to name."""
    assert describe_gap(TimeLapseMode.INTERVAL, MINUTE * 5) == "the interval is 5 min"
    assert describe_gap(TimeLapseMode.FIXED_TIMES, MINUTE * 5) == "slots are as close as 5 min"
