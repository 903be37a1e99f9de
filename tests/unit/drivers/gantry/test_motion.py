"""The arithmetic of getting somewhere."""

import pytest
from grbl_stand_in import SETTINGS
from hypothesis import given
from hypothesis import strategies as st

from plantimager.timelapse.drivers.gantry.motion import (
    LONGEST_HOMING,
    MARGIN,
    SLACK,
    Limits,
    Settings,
    nearest_turn,
    on_the_round,
    travel_time,
)

ANGLES = st.floats(-3600, 3600)


def settings(**changes):
    """Return the reference rig's, changed: ``_20=1`` for ``$20=1``."""
    values = {number: float(value) for number, value in SETTINGS.items()}
    return Settings({**values, **{int(name[1:]): value for name, value in changes.items()}})


@given(ANGLES, ANGLES)
def test_the_nearest_turn_looks_the_same_way_and_is_at_most_half_a_turn_off(goal, at):
    """For a turntable without end."""
    turned = nearest_turn(goal, at, None)
    assert abs(turned - at) <= 180 + 1e-6
    assert abs((turned - goal + 180) % 360 - 180) < 1e-6


def test_a_turntable_without_end_turns_back_before_the_board_loses_count():
    """A hundred turns one way are as many as its 32-bit positions take without an error that matters."""
    at = furthest = 0.0
    for quarter in range(4 * 1000):
        at = nearest_turn(quarter * 90.0, at, None)
        furthest = max(furthest, abs(at))
        assert (at - quarter * 90.0) % 360 == 0
    assert 35_000 < furthest <= 36_000


@given(ANGLES, st.floats(-720, 0), st.floats(360, 1080), st.floats(0, 1))
def test_the_nearest_turn_stays_within_its_limits(goal, low, width, part):
    """And there is none nearer there that looks the same way."""
    limits = (low, low + width)
    at = low + part * width
    turned = nearest_turn(goal, at, limits)
    assert limits[0] - 1e-6 <= turned <= limits[1] + 1e-6
    assert abs((turned - goal + 180) % 360 - 180) < 1e-6
    for other in (turned - 360, turned + 360):
        if limits[0] + 1e-6 < other < limits[1] - 1e-6:
            assert abs(turned - at) <= abs(other - at) + 1e-6


@pytest.mark.parametrize(("angle", "recorded"), [(0, 0), (360, 0), (-90, 270), (359.9999, 0), (719.5, 359.5)])
def test_an_angle_is_recorded_on_the_round(angle, recorded):
    """As the path has it."""
    assert on_the_round(angle) == recorded


@pytest.mark.parametrize(
    ("distance", "seconds"),
    [(0.0, 0.0), (2.0, 0.2), (50.0, 1.0), (740.0, 7.9)],
    ids=["none", "never at full speed", "just at full speed", "the whole gantry"],
)
def test_a_move_takes_what_a_trapezoid_takes(distance, seconds):
    """At 100 mm/s and 200 mm/s²."""
    assert travel_time(distance, 100, 200) == pytest.approx(seconds)


def test_a_moves_deadline_is_that_of_its_slowest_axis():
    """The board slows all of them down so that none is too fast."""
    deadline = settings().move_deadline((0, 0, 0), (0, 0, 180), None)
    assert deadline == pytest.approx(SLACK * travel_time(180, 25, 50) + MARGIN)
    together = settings().move_deadline((0, 0, 0), (100, 0, 180), None)
    assert deadline <= together < deadline + SLACK * travel_time(100, 100, 200)
    assert settings().move_deadline((0, 0, 0), (100, 0, 0), 600) == pytest.approx(SLACK * (10 + 0.05) + MARGIN)
    assert settings().move_deadline((1, 2, 3), (1, 2, 3), None) == MARGIN


def test_homing_has_time_enough_but_less_than_a_stall():
    """A full gantry takes 40 s; a scan that is silent for five minutes is held to be stalled."""
    assert 60 < settings().homing_deadline() < 300
    assert settings(_25=1.0).homing_deadline() == LONGEST_HOMING + MARGIN


def test_soft_limits_that_the_path_would_leave_are_told():
    """By what the board leaves of each axis, all of them at once, with what the options take."""
    homed = (-20.0, -20.0, -331.988)
    signs = (-1.0, -1.0, -1.0)
    assert settings().soft_limit_clash(homed, signs, Limits()) is None
    assert settings(_20=1).soft_limit_clash(homed, signs, Limits()) == (
        "soft limits are on ($20=1) and leave x only -20 to 720, y only -20 to 720, pan only -331.988 to 20.012; "
        "write x = [-20, 720], y = [-20, 720] in [drivers.grbl], "
        "raise $132 to 360 or more, which is what a turntable needs, or set $20=0"
    )
    fits = Limits(x=(0, 720), y=(0, 720), pan=None)
    assert settings(_20=1).soft_limit_clash(homed, signs, fits) == (
        "soft limits are on ($20=1) and leave pan only -331.988 to 20.012; "
        "raise $132 to 360 or more, which is what a turntable needs, or set $20=0"
    )
    far = settings(_20=1, _132=400).soft_limit_clash((-20, -20, -380), signs, fits)
    assert far == (
        "soft limits are on ($20=1) and leave pan only -380 to 20; write pan = [-380, 20] in [drivers.grbl], "
        "or set $20=0"
    )
    within = Limits(x=(0, 720), y=(0, 720), pan=(-331, 29))
    assert settings(_20=1, _132=361).soft_limit_clash((-20, -20, -332), signs, within) is None
