"""The settings of a board, and what follows from them."""

import pytest
from grbl_stand_in import SETTINGS

from plantimager.timelapse.drivers.gantry.board_settings import (
    DEADLINE_FACTOR,
    DEADLINE_MARGIN,
    MAX_HOMING_TIME,
    BoardSettings,
)
from plantimager.timelapse.drivers.gantry.motion import Limits, travel_time


def settings(**changes):
    """Return those of the reference rig with changes: ``_20=1`` for ``$20=1``."""
    values = {number: float(value) for number, value in SETTINGS.items()}
    return BoardSettings({**values, **{int(name[1:]): value for name, value in changes.items()}})


def test_deadline_of_a_move_follows_from_its_slowest_axis():
    """The board slows down the others, so that none is too fast."""
    deadline = settings().move_deadline((0, 0, 0), (0, 0, 180), None)
    assert deadline == pytest.approx(DEADLINE_FACTOR * travel_time(180, 25, 50) + DEADLINE_MARGIN)
    together = settings().move_deadline((0, 0, 0), (100, 0, 180), None)
    assert deadline <= together < deadline + DEADLINE_FACTOR * travel_time(100, 100, 200)
    assert settings().move_deadline((0, 0, 0), (100, 0, 0), 600) == pytest.approx(
        DEADLINE_FACTOR * (10 + 0.05) + DEADLINE_MARGIN
    )
    assert settings().move_deadline((1, 2, 3), (1, 2, 3), None) == DEADLINE_MARGIN


def test_deadline_of_homing_is_longer_than_homing_and_shorter_than_a_stall():
    """A full gantry takes 40 s; a scan without progress for five minutes counts as stalled."""
    assert 60 < settings().homing_deadline() < 300
    assert settings(_25=1.0).homing_deadline() == MAX_HOMING_TIME + DEADLINE_MARGIN


def test_conflict_with_soft_limits_is_described_for_all_axes():
    """With what the board leaves of each axis, and the options that would fit."""
    homed = (-20.0, -20.0, -331.988)
    signs = (-1.0, -1.0, -1.0)
    assert settings().soft_limit_conflict(homed, signs, Limits()) is None
    assert settings(_20=1).soft_limit_conflict(homed, signs, Limits()) == (
        "soft limits are on ($20=1) and leave x only -20 to 720, y only -20 to 720, pan only -331.988 to 20.012; "
        "write x = [-20, 720], y = [-20, 720] in [drivers.grbl], "
        "raise $132 to 360 or more, which is what a turntable needs, or set $20=0"
    )
    fits = Limits(x=(0, 720), y=(0, 720), pan=None)
    assert settings(_20=1).soft_limit_conflict(homed, signs, fits) == (
        "soft limits are on ($20=1) and leave pan only -331.988 to 20.012; "
        "raise $132 to 360 or more, which is what a turntable needs, or set $20=0"
    )
    far = settings(_20=1, _132=400).soft_limit_conflict((-20, -20, -380), signs, fits)
    assert far == (
        "soft limits are on ($20=1) and leave pan only -380 to 20; write pan = [-380, 20] in [drivers.grbl], "
        "or set $20=0"
    )
    within = Limits(x=(0, 720), y=(0, 720), pan=(-331, 29))
    assert settings(_20=1, _132=361).soft_limit_conflict((-20, -20, -332), signs, within) is None
