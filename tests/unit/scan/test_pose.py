"""Poses of the camera arm."""

from plantimager.timelapse.scan.pose import Pose


def test_pose_takes_the_axes_that_it_leaves_out_from_the_one_before():
    """None leaves an axis where it is."""
    assert Pose(x=1, pan=90).completed_from(Pose(5, 6, 7, 8, 9)) == Pose(1, 6, 7, 90, 9)


def test_pose_of_a_camera_is_the_arms_plus_its_offset():
    """An axis that is unknown for the arm stays unknown for the camera."""
    assert Pose(1, None, 3, 4, 5).shifted(Pose(10, 10, -100, 0, None)) == Pose(11, None, -97, 4, 5)


def test_pose_as_text_has_units_and_leaves_out_unknown_axes():
    """It stands in captions and notes."""
    assert str(Pose(25, 375.04, None, 40, 0)) == "x 25  y 375  pan 40°  tilt 0°"
