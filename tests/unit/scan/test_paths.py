"""The six paths, their faults, and what a gantry reaches."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plantimager.timelapse.scan.paths import (
    DEFAULT_PATH,
    HOME,
    MAX_POINTS,
    OutOfReach,
    Pose,
    check_reach,
    find_out_of_reach,
    read_path,
)

CIRCLE = {"center_x": 375, "center_y": 375, "z": 0, "tilt": 0, "radius": 350, "n_points": 36}
LINE = {"x_0": 0, "y_0": 0, "z_0": 0, "x_1": 100, "y_1": 50, "z_1": 10, "pan": 90, "tilt": 0, "n_points": 3}
CALIBRATION_2 = {"center_x": 375, "center_y": 375, "radius": 300, "z": 0, "tilt": 5, "n_points_line": 10}


def poses_of(class_name, kwargs):
    """Return the poses of a path without faults."""
    faults = []
    poses = read_path({"class_name": class_name, "kwargs": kwargs}, faults)
    assert faults == []
    return poses


def faults_of(class_name, kwargs):
    """Return the faults of a path, as a person reads them."""
    faults = []
    read_path({"class_name": class_name, "kwargs": kwargs}, faults)
    return [str(fault) for fault in faults]


def rounded(poses):
    """Return poses as plain numbers, to a micrometre."""
    return [
        tuple(
            None if value is None else round(value, 3) + 0.0 for value in (pose.x, pose.y, pose.z, pose.pan, pose.tilt)
        )
        for pose in poses
    ]


# The six.


def test_a_circle_goes_round_its_centre_and_faces_it():
    """The community's controller starts at the left and goes down."""
    assert rounded(poses_of("Circle", CIRCLE | {"n_points": 4})) == [
        (25, 375, 0, 0, 0), (375, 25, 0, 90, 0), (725, 375, 0, 180, 0), (375, 725, 0, 270, 0),
    ]  # fmt: skip


def test_a_circle_agrees_with_the_communitys_own():
    """The nine points around (200, 200) that its documentation prints."""
    points = poses_of("Circle", {"center_x": 200, "center_y": 200, "radius": 50, "n_points": 9})
    assert rounded(points)[:3] == [
        (150, 200, 0, 0, 0), (161.698, 167.861, 0, 40, 0), (191.318, 150.760, 0, 80, 0),
    ]  # fmt: skip


def test_every_tilt_is_taken_at_every_position():
    """The arm stays while the camera tilts."""
    poses = poses_of("Circle", CIRCLE | {"n_points": 2, "tilt": [0, 15]})
    assert [(round(pose.x), pose.tilt) for pose in poses] == [(25, 0), (25, 15), (725, 0), (725, 15)]


def test_a_cylinder_is_circles_at_even_heights():
    """Both ends of the range are walked."""
    cylinder = {**CIRCLE, "z_range": [0, 100], "n_circles": 3, "n_points": 4}
    del cylinder["z"]
    poses = poses_of("Cylinder", cylinder)
    assert [pose.z for pose in poses] == [0] * 4 + [50] * 4 + [100] * 4
    assert len(poses_of("Cylinder", {key: cylinder[key] for key in cylinder if key != "n_circles"})) == 8


def test_a_line_includes_both_ends():
    """Its points are evenly spaced."""
    assert rounded(poses_of("Line", LINE)) == [(0, 0, 0, 90, 0), (50, 25, 5, 90, 0), (100, 50, 10, 90, 0)]


def test_a_custom_path_goes_where_it_says():
    """What the scheme leaves out means: stay where you are."""
    assert poses_of("CustomPath", {"waypoints": [[25, 375, 0], [25, 475, 90]], "scheme": ["x", "y", "pan"]}) == (
        Pose(x=25, y=375, pan=0),
        Pose(x=25, y=475, pan=90),
    )
    assert poses_of("CustomPath", {"waypoints": [[1, 2, 3, 4, 5]]}) == (Pose(1, 2, 3, 4, 5),)


def test_a_calibration_path_adds_a_line_along_each_axis():
    """From the path's first point to half of its farthest x, and to its farthest y."""
    circle = {"center_x": 200, "center_y": 200, "radius": 50, "n_points": 4}
    poses = poses_of("CalibrationPath", {"path": {"class_name": "Circle", "kwargs": circle}, "n_points_line": 3})
    assert rounded(poses[4:]) == [
        (150, 200, 0, 0, 0), (137.5, 200, 0, 0, 0), (125, 200, 0, 0, 0),
        (150, 200, 0, 0, 0), (150, 225, 0, 0, 0), (150, 250, 0, 0, 0),
    ]  # fmt: skip


def test_the_other_calibration_path_shows_the_pattern_everywhere():
    """Left side upward, top to the middle, back to the left middle, then pans there."""
    poses = rounded(poses_of("CalibrationPath2", CALIBRATION_2))
    assert poses[0] == (75, 75, 0, 0, 5)
    assert poses[9] == (75, 675, 0, 0, 5)
    assert poses[14] == (375, 675, 0, 0, 5)
    assert poses[19] == (75, 375, 0, -45, 5)
    assert [pan for *_, pan, _ in poses[20:]] == list(range(-30, 30, 5))
    assert {(x, y) for x, y, *_ in poses[20:]} == {(75, 375)}


@given(st.integers(1, 400), st.floats(1, 1000), st.lists(st.floats(-90, 90), min_size=1, max_size=3))
def test_every_point_of_a_circle_is_on_it_and_faces_its_centre(n_points, radius, tilt):
    """The camera looks along its pan."""
    poses = poses_of("Circle", CIRCLE | {"n_points": n_points, "radius": radius, "tilt": tilt})
    assert len(poses) == n_points * len(tilt)
    for pose in poses:
        assert 0 <= pose.pan < 360
        ahead = (math.cos(math.radians(pose.pan)), math.sin(math.radians(pose.pan)))
        assert pose.x + radius * ahead[0] == pytest.approx(375)
        assert pose.y + radius * ahead[1] == pytest.approx(375)


def test_the_default_path_is_the_usual_circle():
    """For a store that came without a configuration."""
    assert poses_of("Circle", CIRCLE) == DEFAULT_PATH


# Poses.


def test_a_pose_takes_what_it_leaves_out_from_the_one_before():
    """None means "stay where you are"."""
    assert Pose(x=1, pan=90).after(Pose(5, 6, 7, 8, 9)) == Pose(1, 6, 7, 90, 9)


def test_a_cameras_pose_is_the_arms_plus_its_offset():
    """What is unknown of the arm stays unknown."""
    assert Pose(1, None, 3, 4, 5).shifted(Pose(10, 10, -100, 0, None)) == Pose(11, None, -97, 4, 5)


def test_a_pose_is_written_for_people():
    """In captions and notes."""
    assert str(Pose(25, 375.04, None, 40, 0)) == "x 25  y 375  pan 40°  tilt 0°"


# Faults.


@pytest.mark.parametrize(
    ("table", "messages"),
    [
        (3, ["ScanPath = 3: write a table", "[ScanPath] class_name: required, but missing"]),
        ({}, ["[ScanPath] class_name: required, but missing"]),
        ({"class_name": "Cirlce"}, ['[ScanPath] class_name = "Cirlce": write one of Circle, Cylinder, Line']),
        ({"class_name": "Circle", "kwargs": 3}, ["[ScanPath] kwargs = 3: write a table"]),
        ({"class_name": "Circle", "kwarg": {}}, ["[ScanPath] kwarg: unknown key; did you mean kwargs?"]),
    ],
)
def test_a_faulty_table_is_told(table, messages):
    """Each under its table's name, so that a definition's check can list it with others."""
    faults = []
    assert read_path(table, faults) is None
    for message in messages:
        assert any(message in str(fault) for fault in faults)


@pytest.mark.parametrize(
    ("class_name", "kwargs", "message"),
    [
        ("Circle", CIRCLE | {"radius": 0}, "radius = 0: write a length in mm, above 0"),
        ("Circle", CIRCLE | {"radius": "wide"}, 'radius = "wide": write a number'),
        ("Circle", CIRCLE | {"center_x": math.nan}, "center_x = nan: write a number"),
        ("Circle", CIRCLE | {"center_x": 1e300}, "beyond a kilometre; write mm or degrees"),
        ("Circle", CIRCLE | {"center_x": 10**400}, "write a number"),
        ("Circle", CIRCLE | {"tilt": []}, "tilt = []: write an angle in degrees, or a list of them"),
        ("Circle", CIRCLE | {"tilt": [0, "up"]}, 'tilt = [0, "up"]: write a number'),
        ("Circle", CIRCLE | {"n_points": 36.5}, "n_points = 36.5: write a whole number from 1 to 10000"),
        ("Circle", CIRCLE | {"n_points": 10**9}, "n_points = 1000000000: out of range"),
        ("Circle", CIRCLE | {"n_points": 6000, "tilt": [0, 1]}, "[ScanPath.kwargs]: more than 10000 points"),
        ("Circle", CIRCLE | {"centre_x": 3}, "[ScanPath.kwargs] centre_x: unknown key; did you mean center_x?"),
        ("Cylinder", CIRCLE | {"z_range": 3}, "z_range = 3: write two heights"),
        ("Cylinder", CIRCLE | {"z_range": [9, 3]}, "z_range = [9, 3]: write the lower height first"),
        ("Cylinder", CIRCLE | {"z_range": [0, 3], "n_circles": 1}, "n_circles = 1: out of range"),
        ("Line", LINE | {"n_points": 1}, "n_points = 1: out of range; write a whole number from 2"),
        ("CustomPath", {"waypoints": []}, "waypoints = []: write a list of waypoints"),
        ("CustomPath", {"waypoints": [[1, 2, 3]]}, "waypoint 1 is [1, 2, 3]; write 5 numbers"),
        ("CustomPath", {"waypoints": [[1, 2, 3, 4, "x"]]}, 'waypoint 1 is [1, 2, 3, 4, "x"]; write a number'),
        ("CustomPath", {"waypoints": [[1]] * (MAX_POINTS + 1), "scheme": ["x"]}, "10001 waypoints; at most 10000"),
        ("CustomPath", {"waypoints": [[1, 2]], "scheme": ["x", "q"]}, "write a list of axes out of x, y, z, pan, tilt"),
        ("CustomPath", {"waypoints": [[1, 2]], "scheme": ["x", "x"]}, "an axis stands there twice"),
        ("CalibrationPath", {"path": 3, "n_points_line": 5}, "[ScanPath.kwargs] path = 3: write a table"),
        (
            "CalibrationPath",
            {"path": {"class_name": "Circle", "kwargs": CIRCLE | {"radius": -1}}, "n_points_line": 5},
            "[ScanPath.kwargs.path.kwargs] radius = -1: write a length",
        ),
        (
            "CalibrationPath",
            {"path": {"class_name": "CalibrationPath", "kwargs": {}}, "n_points_line": 5},
            "a calibration path can't be calibrated",
        ),
        (
            "CalibrationPath",
            {
                "path": {"class_name": "CustomPath", "kwargs": {"waypoints": [[1]], "scheme": ["x"]}},
                "n_points_line": 5,
            },
            "its points leave out x or y",
        ),
        ("CalibrationPath2", CALIBRATION_2 | {"n_points_line": 3}, "n_points_line = 3: out of range"),
    ],
)  # fmt: skip
def test_a_fault_is_told_with_key_and_value(class_name, kwargs, message):
    """And with what is allowed."""
    assert any(message in fault for fault in faults_of(class_name, kwargs)), faults_of(class_name, kwargs)


def test_all_faults_of_a_path_are_told_at_once():
    """Nobody has to mend a file fault by fault."""
    found = faults_of("Circle", {"center_x": "a", "radius": -1, "points": 3})
    assert [fault.split(":")[0] for fault in found] == [
        '[ScanPath.kwargs] center_x = "a"',
        "[ScanPath.kwargs] center_y",
        "[ScanPath.kwargs] radius = -1",
        "[ScanPath.kwargs] n_points",
        "[ScanPath.kwargs] points",
    ]


def test_an_unknown_key_does_not_keep_a_path_from_being_walked():
    """A definition with it is refused, but a store that another controller wrote has its plant waiting."""
    faults = []
    poses = read_path({"class_name": "Circle", "kwargs": CIRCLE | {"clockwise": True}}, faults)
    assert poses == DEFAULT_PATH
    assert len(faults) == 1


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from([*CIRCLE, "path"]), inner, max_size=9)
        ),
        max_leaves=20,
    ),
    st.sampled_from(["Circle", "Cylinder", "Line", "CustomPath", "CalibrationPath", "CalibrationPath2"]),
)
def test_no_value_makes_the_reading_fall_over(kwargs, class_name):
    """Poses or faults, whatever stands in a file."""
    faults = []
    poses = read_path({"class_name": class_name, "kwargs": kwargs}, faults)
    assert poses or faults


# What a gantry reaches.

GANTRY = {"x": (0, 740), "y": (0, 740)}


def test_a_path_within_the_limits_is_not_beyond():
    """The usual path suits the usual gantry, and rounding of a cosine isn't a reason to refuse it."""
    assert find_out_of_reach(DEFAULT_PATH, GANTRY) is None
    assert (
        find_out_of_reach(
            poses_of("Circle", CIRCLE | {"center_x": 350, "center_y": 350}), {"x": (0, 700), "y": (0, 700)}
        )
        is None
    )


def test_the_farthest_point_beyond_the_limits_is_named():
    """Counted from 1, with its axis and the limits."""
    outside = find_out_of_reach(poses_of("Circle", CIRCLE | {"radius": 450, "n_points": 4}), GANTRY)
    assert outside == OutOfReach(3, "x", 825, (0, 740))
    assert str(outside) == "point 3 (x = 825 mm) leaves the gantry's 0-740 mm"


def test_an_axis_that_stays_or_has_no_limit_is_within():
    """A turntable turns as far as it likes."""
    assert find_out_of_reach([Pose(pan=5000), Pose(x=3)], GANTRY) is None
    assert (
        str(find_out_of_reach([HOME, Pose(pan=400)], {"pan": (0, 352)}))
        == "point 2 (pan = 400°) leaves the gantry's 0-352°"
    )


def test_a_configuration_beyond_the_limits_is_a_fault():
    """It is told when the definition is taken up, not when the belt is torn."""
    table = {"class_name": "Circle", "kwargs": CIRCLE | {"radius": 450, "n_points": 4}}
    assert [str(fault) for fault in check_reach({"ScanPath": table}, GANTRY)] == [
        "[ScanPath.kwargs] radius = 450: point 3 (x = 825 mm) leaves the gantry's 0-740 mm"
    ]
    line = {"class_name": "Line", "kwargs": LINE | {"x_1": 900}}
    assert [str(fault) for fault in check_reach({"ScanPath": line}, GANTRY)] == [
        "[ScanPath.kwargs]: point 3 (x = 900 mm) leaves the gantry's 0-740 mm"
    ]


@pytest.mark.parametrize("configuration", [{}, {"ScanPath": 3}, {"ScanPath": {"class_name": "Circle", "kwargs": 3}}])
def test_no_path_and_a_faulty_path_reach_nowhere_else(configuration):
    """The one is the default path, the other's faults are told where it is read."""
    assert check_reach(configuration, GANTRY) == []
