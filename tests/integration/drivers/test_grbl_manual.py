"""Manual control of a GRBL rig."""

import pytest

from plantimager.timelapse.drivers.base import EventMonitor, Part
from plantimager.timelapse.drivers.testing import CONFIGURATION
from plantimager.timelapse.scan.cameras import Camera
from plantimager.timelapse.scan.pose import Pose
from plantimager.timelapse.support.errors import ScanCancelled, ScannerNotReady


def test_examine_returns_the_state_of_every_part(rig):
    """Also where one doesn't answer; nothing moves."""
    driver, board = rig(
        cameras={
            "top": {"kind": "command", "argv": ["true", "{output}"]},
            "usb": {"kind": "v4l2", "device": "/dev/no"},
        },
        switches={"grow": {"role": "growth_light", "on": ["true"], "off": ["true"]}},
    )
    port = driver.options["port"]
    *others, usb = driver.examine()
    assert others == [
        Part("switches", True, "switched: grow (growth_light)"),
        Part("gantry", True, f"Grbl 1.1h on {port}, not homed yet"),
        Part("camera top", True, "command, open"),
    ]
    assert (usb.name, usb.answers) == ("camera usb", False)
    assert usb.says.startswith("/dev/no: it isn't there; ")
    assert (board.homed, board.moves) == (0, 0)


def test_known_position_stays_known_when_the_rig_is_examined(rig):
    """The next scan needs no homing."""
    driver, board = rig()
    driver.home(EventMonitor())
    driver.go_to(Pose(x=10), EventMonitor())
    assert driver.examine()[0].says.endswith(", standing at x 10 y 0 pan 0")
    driver.prepare()
    assert board.homed == 1


def test_board_that_does_not_answer_is_a_part_that_does_not(rig):
    """The others are examined all the same."""
    driver, _ = rig(fault="deaf")
    gantry, camera = driver.examine()
    assert (gantry.answers, camera.answers) == (False, True)


def test_switch_that_fails_is_a_part_that_does_not_answer(rig):
    """The others are examined all the same."""
    driver, _ = rig(switches={"grow": {"role": "growth_light", "on": ["false"], "off": ["true"]}})
    switches, gantry, _ = driver.examine()
    assert switches.says.startswith("grow (growth_light) could not be switched on: false exited with 1")
    assert (switches.answers, gantry.answers) == (False, True)


def test_manual_control_homes_moves_and_takes_snapshots(rig):
    """Within the limits, as a scan."""
    driver, board = rig()
    assert driver.home(EventMonitor()) == "homed; the arm stands at x 0 y 0 pan 0"
    assert driver.go_to(Pose(x=10, pan=90), EventMonitor()).startswith("the arm stands at x 10 y 0 pan 9")
    with pytest.raises(ScannerNotReady, match=r"^x = 1000 mm leaves the gantry's 0-740 mm$"):
        driver.go_to(Pose(x=1000), EventMonitor())
    assert [camera.name for camera in driver.cameras({"side": {}})] == ["top"]
    assert driver.cameras(CONFIGURATION)[0].res_x == 80
    assert driver.snapshot(Camera(name="top"), EventMonitor()).startswith(b"\xff\xd8\xff")
    with pytest.raises(ScannerNotReady, match="no camera side"):
        driver.snapshot(Camera(name="side"), EventMonitor())
    driver.home(EventMonitor())
    assert board.homed == 2


def test_alarm_of_a_manual_move_is_reported_and_homing_ends_it(rig):
    """The hint of the error is right."""
    driver, board = rig(fault="alarm 1", lasting=True)
    with pytest.raises(ScannerNotReady, match=r"GRBL alarm 1 \(a limit switch .* then `timelapsectl rig home`$"):
        driver.go_to(Pose(x=10), EventMonitor())
    board.fault = ""
    assert driver.home(EventMonitor()).startswith("homed")
    assert driver.go_to(Pose(x=10), EventMonitor()) == "the arm stands at x 10 y 0 pan 0"


def test_manual_homing_can_be_cancelled(rig):
    """The board is reset, which stops the arm."""
    driver, board = rig(fault="home for ever")
    monitor = EventMonitor()
    monitor.cancel()
    with pytest.raises(ScanCancelled, match="brought to a stand"):
        driver.home(monitor)
    rig.take_away()  # then it has received everything
    assert board.heard[-1] == "^X"


def test_leave_keeps_the_lights_and_close_switches_them_off(rig, tmp_path):
    """`leave` is for a person who comes back."""
    light = {"role": "scan_light", "on": ["touch", str(tmp_path / "lit")], "off": ["rm", "-f", str(tmp_path / "lit")]}
    driver, _ = rig(switches={"scan": light})
    driver.light(on=True)
    driver.leave()
    assert (tmp_path / "lit").exists()
    driver.close()
    assert (tmp_path / "lit").exists(), "nothing was touched since"
    driver.light(on=True)
    driver.close()
    assert not (tmp_path / "lit").exists()
