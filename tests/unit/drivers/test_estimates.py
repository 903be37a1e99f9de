"""How long a scan takes and how large its dataset is, as drivers say beforehand."""

from __future__ import annotations

from datetime import timedelta

import pytest

from plantimager.timelapse.drivers.command.driver import CommandDriver
from plantimager.timelapse.drivers.grbl.driver import GrblDriver
from plantimager.timelapse.drivers.simulated import SimulatedDriver

RIG = {"port": "/dev/ttyUSB0", "settle": "1s", "cameras": {"top": {"kind": "gphoto2"}}}
WAYPOINTS = [[0, 0, 0, 0], [300, 0, 0, 0], [300, 400, 0, 0]]
PATH = {"ScanPath": {"class_name": "CustomPath", "kwargs": {"scheme": ["x", "y", "z", "pan"], "waypoints": WAYPOINTS}}}
NO_PATH = {"ScanPath": {"class_name": "Spiral"}}


def seconds(driver, configuration=PATH):
    """Return the estimate of a driver in seconds."""
    estimate = driver.estimate(configuration)
    driver.close()
    return None if estimate is None else estimate / timedelta(seconds=1)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, None),
        ({"feed": 6000}, 3 + 4 + 3 * (1 + 2)),
        ({"settings": {"$110": 6000, "$111": 3000, "$112": 1500}}, 3 + 8 + 3 * (1 + 2)),
        ({"settings": {"$110": 6000, "$111": 3000}}, None),
        ({"settings": {"$110": 6000, "$111": 3000}, "feed": 6000}, 3 + 8 + 3 * (1 + 2)),
        ({"feed": 6000, "homing": False}, 3 + 4 + 5 + 3 * (1 + 2)),
        ({"feed": 6000, "settings": {"$120": 100, "$121": 100, "$122": 100}}, 3 + 1 + 4 + 1 + 3 * (1 + 2)),
    ],
)
def test_grbl_adds_up_moves_rests_and_exposures(options, expected):
    """At the speeds that the options name: the board isn't asked. A board without homing goes back to its zero."""
    assert seconds(GrblDriver({**RIG, **options})) == pytest.approx(expected)


def test_simulated_rig_takes_its_time_at_each_position():
    """The usual path has 36 of them."""
    driver = SimulatedDriver({"time_per_position": "10s"})
    assert (seconds(driver), seconds(driver, {})) == (30, 360)


def test_path_that_can_not_be_walked_has_no_estimate():
    """`check` reports its faults."""
    assert seconds(SimulatedDriver({}), NO_PATH) is None
    assert seconds(GrblDriver({**RIG, "feed": 6000}), NO_PATH) is None


def test_program_says_nothing_beforehand():
    """Its last scans count."""
    assert seconds(CommandDriver({"argv": ["/bin/true"]})) is None


# --- bytes --------------------------------------------------------------------------------------------------

JPEG = {"top": {"res_x": 400, "res_y": 300}}
PNG = {"low": {"res_x": 200, "res_y": 100, "encoding": "png"}}


@pytest.mark.parametrize(
    ("cameras", "expected"),
    [(JPEG, 3 * 120_000), ({**JPEG, **PNG}, 3 * (120_000 + 60_000)), ({"top": {}, **PNG}, None), ({}, None)],
)
def test_grbl_multiplies_positions_by_the_most_that_pictures_take(cameras, expected):
    """A camera whose size the definition leaves out gives its own, which nobody knows beforehand."""
    rig = {**RIG, "cameras": {"top": {"kind": "gphoto2"}, "low": {"kind": "gphoto2"}}}
    assert GrblDriver(rig).estimate_bytes({**PATH, **cameras}) == expected


def test_simulated_rig_knows_the_size_of_every_picture():
    """Its option limits their width; two cameras are the usual ones."""
    driver = SimulatedDriver({"image_width": 40})
    assert driver.estimate_bytes({**PATH, **JPEG}) == 3 * 40 * 30
    assert driver.estimate_bytes(PATH) == 3 * 2 * 40 * 30
    driver.close()


def test_size_is_not_known_without_a_path_or_of_a_program():
    """The last datasets count."""
    assert SimulatedDriver({}).estimate_bytes(NO_PATH) is None
    assert GrblDriver(RIG).estimate_bytes({**NO_PATH, **JPEG}) is None
    assert CommandDriver({"argv": ["/bin/true"]}).estimate_bytes(PATH) is None
