"""What a gantry reaches of a path."""

import pytest
from example_paths import CIRCLE, LINE, poses_of

from plantimager.timelapse.scan.paths import DEFAULT_PATH
from plantimager.timelapse.scan.pose import HOME, Pose
from plantimager.timelapse.scan.reach import OutOfReach, check_reach, find_out_of_reach

GANTRY = {"x": (0, 740), "y": (0, 740)}


def test_path_within_the_limits_is_within_reach():
    """The default path suits the usual gantry, and the rounding error of a cosine is no reason to refuse it."""
    assert find_out_of_reach(DEFAULT_PATH, GANTRY) is None
    assert (
        find_out_of_reach(
            poses_of("Circle", CIRCLE | {"center_x": 350, "center_y": 350}), {"x": (0, 700), "y": (0, 700)}
        )
        is None
    )


def test_farthest_point_beyond_the_limits_is_named():
    """The sentence has its number, counted from 1, its axis and the limits."""
    outside = find_out_of_reach(poses_of("Circle", CIRCLE | {"radius": 450, "n_points": 4}), GANTRY)
    assert outside == OutOfReach(3, "x", 825, (0, 740))
    assert str(outside) == "position 3 (x = 825 mm) leaves the gantry's 0-740 mm"


def test_axis_that_is_left_out_or_has_no_limits_is_within_reach():
    """A turntable without limits reaches every angle."""
    assert find_out_of_reach([Pose(pan=5000), Pose(x=3)], GANTRY) is None
    assert (
        str(find_out_of_reach([HOME, Pose(pan=400)], {"pan": (0, 352)}))
        == "position 2 (pan = 400°) leaves the gantry's 0-352°"
    )


def test_path_beyond_the_limits_is_a_fault_of_the_configuration():
    """It is reported when the definition is taken up, before anything moves."""
    table = {"class_name": "Circle", "kwargs": CIRCLE | {"radius": 450, "n_points": 4}}
    assert [str(fault) for fault in check_reach({"ScanPath": table}, GANTRY)] == [
        "[ScanPath.kwargs] radius = 450: position 3 (x = 825 mm) leaves the gantry's 0-740 mm"
    ]
    line = {"class_name": "Line", "kwargs": LINE | {"x_1": 900}}
    assert [str(fault) for fault in check_reach({"ScanPath": line}, GANTRY)] == [
        "[ScanPath.kwargs]: position 3 (x = 900 mm) leaves the gantry's 0-740 mm"
    ]


@pytest.mark.parametrize("configuration", [{}, {"ScanPath": 3}, {"ScanPath": {"class_name": "Circle", "kwargs": 3}}])
def test_no_path_and_a_faulty_path_have_no_fault_of_reach(configuration):
    """Without a path it is the default path; the faults of a faulty one are reported where it is read."""
    assert check_reach(configuration, GANTRY) == []
