"""The arithmetic of moves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plantimager.timelapse.drivers.gantry.motion import (
    is_off_course,
    nearest_equivalent_angle,
    normalized_angle,
    travel_time,
)

ANGLES = st.floats(-3600, 3600)


@given(ANGLES, ANGLES)
def test_nearest_angle_is_equivalent_and_at_most_half_a_turn_away(goal, at):
    """For a turntable without limits."""
    turned = nearest_equivalent_angle(goal, at, None)
    assert abs(turned - at) <= 180 + 1e-6
    assert abs((turned - goal + 180) % 360 - 180) < 1e-6


def test_turntable_without_limits_turns_back_before_positions_get_inexact():
    """The board's 32-bit positions are exact enough for a hundred turns in one direction."""
    at = furthest = 0.0
    for quarter in range(4 * 1000):
        at = nearest_equivalent_angle(quarter * 90.0, at, None)
        furthest = max(furthest, abs(at))
        assert (at - quarter * 90.0) % 360 == 0
    assert 35_000 < furthest <= 36_000


@given(ANGLES, st.floats(-720, 0), st.floats(360, 1080), st.floats(0, 1))
def test_nearest_angle_is_within_the_limits(goal, low, width, part):
    """No equivalent angle within them is nearer."""
    limits = (low, low + width)
    at = low + part * width
    turned = nearest_equivalent_angle(goal, at, limits)
    assert limits[0] - 1e-6 <= turned <= limits[1] + 1e-6
    assert abs((turned - goal + 180) % 360 - 180) < 1e-6
    for other in (turned - 360, turned + 360):
        if limits[0] + 1e-6 < other < limits[1] - 1e-6:
            assert abs(turned - at) <= abs(other - at) + 1e-6


@pytest.mark.parametrize(("angle", "recorded"), [(0, 0), (360, 0), (-90, 270), (359.9999, 0), (719.5, 359.5)])
def test_angle_is_recorded_from_0_to_360(angle, recorded):
    """As the angles of a path are."""
    assert normalized_angle(angle) == recorded


@pytest.mark.parametrize(
    ("distance", "seconds"),
    [(0.0, 0.0), (2.0, 0.2), (50.0, 1.0), (740.0, 7.9)],
    ids=["none", "never at full speed", "just at full speed", "the whole gantry"],
)
def test_travel_time_is_that_of_a_trapezoidal_speed(distance, seconds):
    """At 100 mm/s and 200 mm/s²."""
    assert travel_time(distance, 100, 200) == pytest.approx(seconds)


def test_place_beside_the_way_is_off_course():
    """A damaged line may send the arm anywhere; the board slows all axes of a move down alike."""
    assert not is_off_course((0, 0, 0), (100, 0, 90), (50, 0, 45))
    assert not is_off_course((0, 0, 0), (100, 0, 90), (100.5, -0.5, 0))
    assert is_off_course((0, 0, 0), (100, 0, 90), (102, 0, 90))
    assert is_off_course((0, 0, 0), (100, 0, 90), (50, -2, 45))
