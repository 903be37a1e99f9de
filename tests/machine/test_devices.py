"""Devices that come late, are pulled and come back, on Debian's own kernel with udev.

The tests go on with one machine, in this order; each has a timelapse of its own.
"""

from __future__ import annotations

import re

import pytest
from machine_rig import CAMERA, DATASETS, PORT, SCANS, example_line
from tree import SYSTEMD

UNMOUNTED = "its disk isn't mounted: it was pulled, or isn't plugged in yet"
DROP_INS = sorted((SYSTEMD / "examples").glob("*.conf"))

PICTURES = [f"camera-{number:05}.png" for number in range(4)]
POSES = [(25, 375, 0), (375, 25, 90), (725, 375, 180), (375, 725, 270)]
"""x, y in mm and pan in degrees of the four positions."""


def poses(board):
    """Return where the arm was sent for the last four positions; the rig's axes are inverted ($3=7)."""
    return [tuple(-round(at) for at in goal) for goal in board.goals[-4:]]


def wait_until_started(machine):
    """Wait for the service's first start of this boot."""
    machine.wait_for_entry("_PID=1", that=lambda entry: "Started plant-imager-timelapsed" in entry["MESSAGE"])


def test_devices_that_come_after_the_service_are_used_without_a_restart(machine, service, plugs, board):
    """The journal names what is missing, one after another; each device brings a driver that wasn't loaded.

    The disk is a new one: its directory is made as datasets.conf says.
    """
    wait_until_started(machine)
    process = service.show("MainPID")
    loaded = machine.run("lsmod").stdout
    assert not any(driver in loaded for driver in ("ftdi_sio", "vivid", "usb_storage"))
    service.begin("late")
    service.wait_for_words("datasets_out_of_reach", f"{SCANS}: datasets can't be put there: {UNMOUNTED}")
    service.wait_for_words("rig_not_ready", f"{PORT}: there is no such port")
    plugs.plug("gantry")
    service.wait_for_words("rig_not_ready", f"{CAMERA}: it isn't there")
    plugs.plug("camera", "scans")
    machine.wait_for_entry("_PID=1", that=lambda entry: "Mounted srv-scans.mount" in entry["MESSAGE"])
    machine.run(*example_line(DATASETS, "install").split())
    service.wait_for("timelapse_completed")
    assert poses(board) == POSES
    assert service.pictures("late") == PICTURES
    assert (service.show("MainPID"), service.show("NRestarts")) == (process, "0")


def kinds_of(text):
    """Return the kinds of devices that a drop-in allows."""
    return set(re.findall(r"^DeviceAllow=char-(\S+)", text, re.MULTILINE))


NOT_ON_A_PC = {"ttyAMA", "dma_heap"}
"""Kinds that only the kernel of a Raspberry Pi has; it has them built in."""


def known_kinds(machine):
    """Return the kinds of devices that the kernel knows now."""
    return set(machine.run("cat", "/proc/devices").stdout.split())


def unload_drivers(machine):
    """Unload the modules of all devices that can be pulled, and those below them."""
    for modules in (
        "vivid",
        "ftdi_sio usbserial",
        "cdc_acm",
        "i2c_dev",
        "videobuf2_v4l2 videobuf2_memops",
        "videodev",
        "mc",
    ):
        machine.run("modprobe", "-r", *modules.split(), check=False)
    left = known_kinds(machine) & {"ttyUSB", "ttyACM", "video4linux", "media", "i2c"}
    assert not left, machine.run("lsmod").stdout


def test_kinds_of_devices_are_known_before_the_service_starts(machine, service, plugs):
    """Systemd looks up what a drop-in allows when the service starts: by then what it waits for has registered it all.

    No device is in, and no module of any is loaded that a drop-in doesn't load.
    """
    wait_until_started(machine)
    service.systemctl("stop")
    plugs.pull("gantry", "camera", "scans")
    unload_drivers(machine)
    for path in DROP_INS:
        text = path.read_text()
        units = set(re.findall(r"modprobe@\w+\.service", "".join(re.findall(r"^Wants=.*", text, re.MULTILINE))))
        assert units == set(re.findall(r"modprobe@\w+\.service", "".join(re.findall(r"^After=.*", text, re.MULTILINE))))
        if units:
            machine.run("systemctl", "start", *sorted(units))
        assert kinds_of(text) - NOT_ON_A_PC <= known_kinds(machine), path
    service.systemctl("start")


def test_refusal_names_the_missing_group_or_the_driver_that_came_after_the_service(machine, service, plugs):
    """EACCES is the file's own permission, EPERM that of the service's device group; each has its cure.

    The second is what a service meets that was started before its drivers were loaded.
    """
    plugs.plug("gantry", "camera", "scans")
    own = f"/etc/systemd/system/{service.unit}.d"
    machine.write(f"{own}/zz.conf", "[Service]\nSupplementaryGroups=\n")
    restart(machine, service)
    said = rig_check(machine)
    assert f"{PORT}: this user may not open it; add them to the group dialout" in said
    assert f"{CAMERA}: this user may not open it; add them to the group video" in said
    machine.run("rm", f"{own}/zz.conf")

    service.systemctl("stop")
    plugs.pull("gantry", "camera")
    unload_drivers(machine)
    machine.run("sed", "-i", "-E", "s/^(Wants|After)=/#&/", f"{own}/serial.conf", f"{own}/camera.conf")
    restart(machine, service)
    plugs.plug("gantry", "camera")
    said = rig_check(machine)
    refused = (
        "the service may not use such devices; put systemd/examples/{} in place, or, where it is, restart the service"
    )
    assert f"{PORT}: {refused.format('serial.conf')}" in said
    assert f"{CAMERA}: {refused.format('camera.conf')}" in said
    machine.run("sed", "-i", "s/^#\\(Wants=\\|After=\\)/\\1/", f"{own}/serial.conf", f"{own}/camera.conf")
    restart(machine, service)
    assert rig_check(machine).count("answers") == 2


def rig_check(machine):
    """Return what ``timelapsectl rig check`` says when board and camera have their names."""
    machine.run("udevadm", "wait", "--timeout=300", PORT, CAMERA)
    done = machine.run("timelapsectl", "rig", "check", check=False)
    return " ".join((done.stdout + done.stderr).split())


def restart(machine, service):
    """Have the unit's files read again, and the service started anew; return when it is up."""
    machine.run("systemctl", "daemon-reload")
    service.systemctl("restart")


def test_board_pulled_in_mid_scan_costs_an_attempt_and_no_slot(running, plugs, board):
    """Plugged in again, the same by-id name leads to it, and all four positions are taken."""
    plugs.stop_in_move(3)
    running.begin("cable")
    plugs.wait_for_move()
    plugs.pull("gantry")
    running.wait_for_words("attempt_failed", f"{PORT}: the cable was pulled or the board switched off")
    running.wait_for_words("rig_not_ready", f"{PORT}: there is no such port")
    plugs.plug("gantry")
    running.wait_for("timelapse_completed")
    assert [record["attempt"] for record in running.records().values()] == [2]
    assert poses(board) == POSES
    assert running.pictures("cable") == PICTURES


def test_camera_pulled_in_mid_scan_costs_an_attempt_and_no_slot(running, plugs):
    """Its driver is told that it is gone while the daemon has it open, and later gives it the same name."""
    plugs.stop_in_move(3)
    running.begin("webcam")
    plugs.wait_for_move()
    plugs.pull("camera")
    plugs.go_on()
    assert CAMERA in running.wait_for("attempt_failed")["MESSAGE"]
    running.wait_for_words("rig_not_ready", f"{CAMERA}: it isn't there")
    plugs.plug("camera")
    running.wait_for("timelapse_completed")
    assert [record["attempt"] for record in running.records().values()] == [2]
    assert running.pictures("webcam") == PICTURES


def test_disk_pulled_in_mid_scan_is_named_and_mounted_again_when_it_is_back(running, plugs):
    """The mount point stays root's: nothing is written there without the disk."""
    plugs.stop_in_move(3)
    running.begin("disk")
    plugs.wait_for_move()
    plugs.pull("scans")
    plugs.go_on()
    running.wait_for_words("datasets_out_of_reach", UNMOUNTED)
    plugs.plug("scans")
    running.wait_for("timelapse_completed")
    (record,) = running.records().values()
    assert record["attempt"] == 2
    assert running.pictures("disk") == PICTURES


@pytest.mark.skip(reason="Debian's kernel has no gpio-sim: GPIO lines are not seen here")
def test_gpio_line():
    """The light on a line of gpio.conf."""
