"""The six paths, and the table that names one."""

import math

import pytest
from example_paths import CALIBRATION_2, CIRCLE, LINE, poses_of
from hypothesis import given
from hypothesis import strategies as st

from plantimager.timelapse.scan.paths import DEFAULT_PATH, path_of, read_path
from plantimager.timelapse.scan.pose import Pose
from plantimager.timelapse.scan.values import MAX_POSITIONS


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
    """The first positions are those around (200, 200) that its documentation prints."""
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
    """Its positions are evenly spaced."""
    assert rounded(poses_of("Line", LINE)) == [(0, 0, 0, 90, 0), (50, 25, 5, 90, 0), (100, 50, 10, 90, 0)]


def test_custom_path_has_the_poses_of_its_waypoints():
    """An axis that the scheme leaves out stays where it is."""
    assert poses_of("CustomPath", {"waypoints": [[25, 375, 0], [25, 475, 90]], "scheme": ["x", "y", "pan"]}) == (
        Pose(x=25, y=375, pan=0),
        Pose(x=25, y=475, pan=90),
    )
    assert poses_of("CustomPath", {"waypoints": [[1, 2, 3, 4, 5]]}) == (Pose(1, 2, 3, 4, 5),)


def test_calibration_path_adds_a_line_along_each_axis():
    """The lines lead from the path's first position to half of its farthest x, and to its farthest y."""
    circle = {"center_x": 200, "center_y": 200, "radius": 50, "n_points": 4}
    poses = poses_of("CalibrationPath", {"path": {"class_name": "Circle", "kwargs": circle}, "n_points_line": 3})
    assert rounded(poses[4:]) == [
        (150, 200, 0, 0, 0), (137.5, 200, 0, 0, 0), (125, 200, 0, 0, 0),
        (150, 200, 0, 0, 0), (150, 225, 0, 0, 0), (150, 250, 0, 0, 0),
    ]  # fmt: skip


def test_calibration_path_2_follows_left_side_top_and_diagonal_then_pans():
    """It goes up the left side, along the top to the middle, back to the middle of the left side, and pans there."""
    poses = rounded(poses_of("CalibrationPath2", CALIBRATION_2))
    assert poses[0] == (75, 75, 0, 0, 5)
    assert poses[9] == (75, 675, 0, 0, 5)
    assert poses[14] == (375, 675, 0, 0, 5)
    assert poses[19] == (75, 375, 0, -45, 5)
    assert [pan for *_, pan, _ in poses[20:]] == list(range(-30, 30, 5))
    assert {(x, y) for x, y, *_ in poses[20:]} == {(75, 375)}


@given(st.integers(1, 400), st.floats(1, 1000), st.lists(st.floats(-90, 90), min_size=1, max_size=3))
def test_every_point_of_a_circle_is_on_it_and_faces_its_centre(n_points, radius, tilt):
    """The camera looks along its pan: from the position, ``radius`` ahead is the centre."""
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


# --- the table -----------------------------------------------------------------------------------------


def faults_of(class_name, kwargs):
    """Return the faults of a path, as text."""
    faults = []
    read_path({"class_name": class_name, "kwargs": kwargs}, faults)
    return [str(fault) for fault in faults]


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
def test_faults_of_the_table_are_reported_with_its_name(table, messages):
    """A check of the whole definition lists them with those of other tables."""
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
        ("Circle", CIRCLE | {"n_points": 6000, "tilt": [0, 1]}, "[ScanPath.kwargs]: more than 10000 positions"),
        ("Circle", CIRCLE | {"centre_x": 3}, "[ScanPath.kwargs] centre_x: unknown key; did you mean center_x?"),
        ("Cylinder", CIRCLE | {"z_range": 3}, "z_range = 3: write two heights"),
        ("Cylinder", CIRCLE | {"z_range": [9, 3]}, "z_range = [9, 3]: write the lower height first"),
        ("Cylinder", CIRCLE | {"z_range": [0, 3], "n_circles": 1}, "n_circles = 1: out of range"),
        ("Line", LINE | {"n_points": 1}, "n_points = 1: out of range; write a whole number from 2"),
        ("CustomPath", {"waypoints": []}, "waypoints = []: write a list of waypoints"),
        ("CustomPath", {"waypoints": [[1, 2, 3]]}, "waypoint 1 is [1, 2, 3]; write 5 numbers"),
        ("CustomPath", {"waypoints": [[1, 2, 3, 4, "x"]]}, 'waypoint 1 is [1, 2, 3, 4, "x"]; write a number'),
        ("CustomPath", {"waypoints": [[1]] * (MAX_POSITIONS + 1), "scheme": ["x"]}, "10001 waypoints; at most 10000"),
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
            "its positions leave out x or y",
        ),
        ("CalibrationPath2", CALIBRATION_2 | {"n_points_line": 3}, "n_points_line = 3: out of range"),
    ],
)  # fmt: skip
def test_fault_of_an_argument_is_reported_with_key_value_and_what_is_allowed(class_name, kwargs, message):
    """Each argument of each path is checked."""
    assert any(message in fault for fault in faults_of(class_name, kwargs)), faults_of(class_name, kwargs)


def test_all_faults_of_a_path_are_reported_at_once():
    """A person corrects the file once, not fault by fault."""
    found = faults_of("Circle", {"center_x": "a", "radius": -1, "points": 3})
    assert [fault.split(":")[0] for fault in found] == [
        '[ScanPath.kwargs] center_x = "a"',
        "[ScanPath.kwargs] center_y",
        "[ScanPath.kwargs] radius = -1",
        "[ScanPath.kwargs] n_points",
        "[ScanPath.kwargs] points",
    ]


def test_path_with_an_unknown_key_still_has_poses():
    """A definition with it is refused, but a store that another program wrote is scanned."""
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
def test_any_value_gives_poses_or_faults(kwargs, class_name):
    """No value in a file raises an exception."""
    faults = []
    poses = read_path({"class_name": class_name, "kwargs": kwargs}, faults)
    assert poses or faults


def test_configuration_without_a_path_has_the_default_path():
    """A store that has no scan configuration is scanned, too."""
    assert path_of({}, []) == DEFAULT_PATH


def test_configuration_with_a_faulty_path_has_no_path():
    """It is never replaced by the default path: the pictures would be of somewhere else."""
    faults = []
    assert path_of({"ScanPath": {"class_name": "Circle", "kwargs": {}}}, faults) is None
    assert faults
