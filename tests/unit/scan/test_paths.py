"""The six paths."""

import math

import pytest
from example_paths import CALIBRATION_2, CIRCLE, LINE, poses_of
from hypothesis import given
from hypothesis import strategies as st

from plantimager.timelapse.scan.paths import DEFAULT_PATH
from plantimager.timelapse.scan.pose import Pose


def rounded(poses):
    """Return poses as plain numbers, to a micrometre."""
    return [
        tuple(
            None if value is None else round(value, 3) + 0.0 for value in (pose.x, pose.y, pose.z, pose.pan, pose.tilt)
        )
        for pose in poses
    ]


def test_circle_goes_around_its_centre_and_faces_it():
    """It starts on the side of the smaller x and goes to the smaller y, as that of the community's controller."""
    assert rounded(poses_of("Circle", CIRCLE | {"n_points": 4})) == [
        (25, 375, 0, 0, 0), (375, 25, 0, 90, 0), (725, 375, 0, 180, 0), (375, 725, 0, 270, 0),
    ]  # fmt: skip


def test_circle_agrees_with_that_of_the_communitys_controller():
    """The first of the nine points around (200, 200) that its documentation prints."""
    points = poses_of("Circle", {"center_x": 200, "center_y": 200, "radius": 50, "n_points": 9})
    assert rounded(points)[:3] == [
        (150, 200, 0, 0, 0), (161.698, 167.861, 0, 40, 0), (191.318, 150.760, 0, 80, 0),
    ]  # fmt: skip


def test_every_tilt_is_taken_at_every_point():
    """The arm stays where it is while the camera tilts."""
    poses = poses_of("Circle", CIRCLE | {"n_points": 2, "tilt": [0, 15]})
    assert [(round(pose.x), pose.tilt) for pose in poses] == [(25, 0), (25, 15), (725, 0), (725, 15)]


def test_cylinder_is_circles_at_evenly_spaced_heights():
    """Both ends of the range have a circle; without ``n_circles`` there are two."""
    cylinder = {**CIRCLE, "z_range": [0, 100], "n_circles": 3, "n_points": 4}
    del cylinder["z"]
    poses = poses_of("Cylinder", cylinder)
    assert [pose.z for pose in poses] == [0] * 4 + [50] * 4 + [100] * 4
    assert len(poses_of("Cylinder", {key: cylinder[key] for key in cylinder if key != "n_circles"})) == 8


def test_line_includes_both_ends():
    """Its points are evenly spaced."""
    assert rounded(poses_of("Line", LINE)) == [(0, 0, 0, 90, 0), (50, 25, 5, 90, 0), (100, 50, 10, 90, 0)]


def test_custom_path_has_the_poses_of_its_waypoints():
    """An axis that the scheme leaves out stays where it is."""
    assert poses_of("CustomPath", {"waypoints": [[25, 375, 0], [25, 475, 90]], "scheme": ["x", "y", "pan"]}) == (
        Pose(x=25, y=375, pan=0),
        Pose(x=25, y=475, pan=90),
    )
    assert poses_of("CustomPath", {"waypoints": [[1, 2, 3, 4, 5]]}) == (Pose(1, 2, 3, 4, 5),)


def test_calibration_path_adds_a_line_along_each_axis():
    """From the path's first point to half of its farthest x, and to its farthest y."""
    circle = {"center_x": 200, "center_y": 200, "radius": 50, "n_points": 4}
    poses = poses_of("CalibrationPath", {"path": {"class_name": "Circle", "kwargs": circle}, "n_points_line": 3})
    assert rounded(poses[4:]) == [
        (150, 200, 0, 0, 0), (137.5, 200, 0, 0, 0), (125, 200, 0, 0, 0),
        (150, 200, 0, 0, 0), (150, 225, 0, 0, 0), (150, 250, 0, 0, 0),
    ]  # fmt: skip


def test_calibration_path_2_follows_left_side_top_and_diagonal_then_pans():
    """Up the left side, along the top to the middle, back to the middle of the left side, pans there."""
    poses = rounded(poses_of("CalibrationPath2", CALIBRATION_2))
    assert poses[0] == (75, 75, 0, 0, 5)
    assert poses[9] == (75, 675, 0, 0, 5)
    assert poses[14] == (375, 675, 0, 0, 5)
    assert poses[19] == (75, 375, 0, -45, 5)
    assert [pan for *_, pan, _ in poses[20:]] == list(range(-30, 30, 5))
    assert {(x, y) for x, y, *_ in poses[20:]} == {(75, 375)}


@given(st.integers(1, 400), st.floats(1, 1000), st.lists(st.floats(-90, 90), min_size=1, max_size=3))
def test_every_point_of_a_circle_is_on_it_and_faces_its_centre(n_points, radius, tilt):
    """The camera looks along its pan: from the point, ``radius`` ahead is the centre."""
    poses = poses_of("Circle", CIRCLE | {"n_points": n_points, "radius": radius, "tilt": tilt})
    assert len(poses) == n_points * len(tilt)
    for pose in poses:
        assert 0 <= pose.pan < 360
        ahead = (math.cos(math.radians(pose.pan)), math.sin(math.radians(pose.pan)))
        assert pose.x + radius * ahead[0] == pytest.approx(375)
        assert pose.y + radius * ahead[1] == pytest.approx(375)


def test_default_path_is_the_usual_circle():
    """It is taken for a store that has no scan configuration."""
    assert poses_of("Circle", CIRCLE) == DEFAULT_PATH
