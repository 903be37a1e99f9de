"""The options of the GRBL driver."""

import pytest

from plantimager.timelapse.drivers.grbl.driver import GrblDriver
from plantimager.timelapse.support.errors import FaultsFound


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({}, '[drivers.grbl] port: required, but missing; write port = "/dev/ttyUSB0", or usb = "1a86:7523"'),
        ({"port": "ttyUSB0"}, '[drivers.grbl] port = "ttyUSB0": write the device\'s whole path'),
        ({"usb": "1a86"}, '[drivers.grbl] usb = "1a86": write vendor:product as lsusb shows them'),
        ({"port": "/dev/x", "usb": "1a86:7523"}, "[drivers.grbl] usb: write port or usb, not both"),
        ({"baudrate": 9}, "[drivers.grbl] baudrate = 9: out of range"),
        ({"x": [740, 0]}, "[drivers.grbl] x = [740, 0]: write the lowest first"),
        ({"y": 740}, "[drivers.grbl] y = 740: write the lowest and the highest"),
        ({"pan": [0, 350]}, "[drivers.grbl] pan = [0, 350]: write a whole turn or more"),
        ({"pan": "free"}, '[drivers.grbl] pan = "free": write how far the cables let it turn'),
        ({"invert": ["z"]}, '[drivers.grbl] invert = ["z"]: write a list of axes out of x, y, pan'),
        ({"feed": 0}, "[drivers.grbl] feed = 0: write mm a minute"),
        ({"homing": "no"}, '[drivers.grbl] homing = "no": write true or false'),
        ({"park": {"x": 800}}, "[drivers.grbl.park] x = 800: leaves the limits 0-740"),
        ({"park": {"z": 0}}, "[drivers.grbl.park] z: unknown key"),
        ({"homing": False, "park": {"y": 5}}, "[drivers.grbl.park] y = 5: write 0, where the arm rests with homing ="),
        ({"homing": False, "park": {"z": 0}}, "[drivers.grbl.park] z: unknown key"),
        ({"homing": False, "x": [5, 740]}, "[drivers.grbl] x = [5.0, 740.0]: write limits with 0 between them, where"),
        ({"homing": False, "pan": [10, 400]}, "[drivers.grbl] pan = [10.0, 400.0]: write limits with 0 between them"),
        ({"settle": "soon"}, '[drivers.grbl] settle = "soon": not a duration'),
        ({"exposure_timeout": "1h"}, '[drivers.grbl] exposure_timeout = "1h": write a duration from 1s to 4m'),
        ({"keep_free": 5}, '[drivers.grbl] keep_free = 5: write a size such as "500 MB"'),
        ({"settings": {"100": 80}}, '[drivers.grbl.settings] 100: not a setting of GRBL; write "$100" = 80'),
        ({"settings": {"$100": "80"}}, '[drivers.grbl.settings] $100 = "80": write a number'),
        ({"cameras": {}}, "[drivers.grbl] cameras: names no camera; write [drivers.grbl.cameras.NAME]"),
        ({"cameras": {"top": {}}}, "[drivers.grbl.cameras.top] kind: required, but missing"),
        ({"cameras": {"top": {"kind": "film"}}}, '[drivers.grbl.cameras.top] kind = "film": write one of'),
        ({"cameras": {"a b": {"kind": "gphoto2"}}}, "[drivers.grbl.cameras] a b: not a camera's name"),
        ({"cameras": {"top": {"kind": "v4l2"}}}, "[drivers.grbl.cameras.top] device: required, but missing"),
        ({"cameras": {"top": {"kind": "command", "argv": ["x"]}}}, "[drivers.grbl.cameras.top] argv = "),
        ({"cameras": {"top": {"kind": "gphoto2", "device": 0}}}, "[drivers.grbl.cameras.top] device: unknown key"),
        ({"switches": {"s": {"line": 17}}}, "[drivers.grbl.switches.s] role: required, but missing"),
        ({"switches": {"s": {"role": "sun", "line": 1}}}, '[drivers.grbl.switches.s] role = "sun": write'),
        ({"switches": {"s": {"role": "scan_light"}}}, "[drivers.grbl.switches.s] line: write either a GPIO line, or"),
        ({"switches": {"s": {"role": "scan_light", "on": ["x"]}}}, "[drivers.grbl.switches.s] off: required, but"),
    ],
)  # fmt: skip
def test_fault_of_the_options_is_reported(options, fault):
    """With table, key, value and what is allowed."""
    whole = {"cameras": {"top": {"kind": "gphoto2"}}, **options}
    if options and not {"port", "usb"} & options.keys():
        whole["port"] = "/dev/ttyUSB0"
    with pytest.raises(FaultsFound) as caught:
        GrblDriver(whole)
    assert len(caught.value.faults) == 1
    assert str(caught.value.faults[0]).startswith(fault)


def test_check_finds_missing_libraries(rig):
    """Before the first slot fails for one."""
    driver, _ = rig(cameras={"top": {"kind": "picamera2"}})
    (fault,) = driver.check({})
    assert str(fault).startswith('[drivers.grbl.cameras.top] kind = "picamera2": picamera2 isn\'t installed; ')
    assert "sudo apt install python3-picamera2" in str(fault)
