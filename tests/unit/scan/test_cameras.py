"""The camera tables of a configuration."""

import pytest

from plantimager.timelapse.scan.cameras import Camera, read_cameras
from plantimager.timelapse.scan.pose import HOME, Pose


def test_every_other_table_is_a_camera():
    """The community's configurations have a table for each camera; their order is kept."""
    faults = []
    cameras = read_cameras(
        {
            "ScanPath": {},
            "picamera2": {"offset": {"z": -100}, "config": {"anything": [1]}},
            "Metadata": {},
            "timelapse": {},
            "picamera": {"res_x": 800, "res_y": 600, "encoding": "png"},
            "version": 3,
        },
        faults,
    )
    assert faults == []
    assert cameras == (
        Camera(name="picamera2", offset=Pose(0, 0, -100, 0, 0), config={"anything": [1]}),
        Camera(name="picamera", res_x=800, res_y=600, encoding="png"),
    )


def test_camera_without_keys_has_the_defaults():
    """Most tables are nearly empty."""
    (camera,) = read_cameras({"picamera": {}}, [])
    assert (camera.res_x, camera.res_y, camera.encoding, camera.extension) == (None, None, "jpeg", "jpg")
    assert camera.offset == HOME


@pytest.mark.parametrize(
    ("name", "table", "message"),
    [
        ("scanpath", {}, "scanpath: unknown table; did you mean [ScanPath]?"),
        ("MetaData", {}, "MetaData: unknown table; did you mean [Metadata]?"),
        ("time_lapse", {}, "time_lapse: unknown table; did you mean [timelapse]?"),
        ("my camera", {}, "not a camera's name"),
        ("../etc", {}, "not a camera's name"),
        ("cam", {"res_x": 0}, "[cam] res_x = 0: out of range; write a whole number from 1 to 20000"),
        ("cam", {"res_y": "big"}, '[cam] res_y = "big": write a whole number'),
        ("cam", {"encoding": "raw"}, '[cam] encoding = "raw": write one of jpeg'),
        ("cam", {"config": 3}, "[cam] config = 3: write a table"),
        ("cam", {"offset": {"zz": 3}}, "[cam.offset] zz: unknown key; did you mean z?"),
        ("cam", {"offset": {"pan": "up"}}, '[cam.offset] pan = "up": write a number'),
        ("cam", {"resx": 3}, "[cam] resx: unknown key; did you mean res_x?"),
    ],
)
def test_fault_is_reported_with_table_key_value_and_what_is_allowed(name, table, message):
    """Exactly one for each thing that is wrong."""
    faults = []
    read_cameras({name: table}, faults)
    assert len(faults) == 1
    assert message in str(faults[0])


def test_faulty_value_does_not_lose_the_camera():
    """A picture of the wrong size is better than none."""
    faults = []
    (camera,) = read_cameras({"cam": {"res_x": "big", "res_y": 600}}, faults)
    assert (camera.res_x, camera.res_y, len(faults)) == (None, 600, 1)
