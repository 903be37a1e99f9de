"""Power that fails and a kernel that hangs, with the machine and the disks that `test_devices` leaves."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from datetime import UTC, datetime

from host import run_on_host
from machine_image import check_disk
from machine_rig import example_line
from PIL import Image
from tree import SYSTEMD

WATCHDOG = SYSTEMD / "hardware-watchdog.conf"

SYNCHRONISE = """\
import ctypes, struct, time
time.clock_settime(time.CLOCK_REALTIME, {now})
timex = ctypes.create_string_buffer(struct.pack("=IIqqqqiI", 0x1C, 0, 0, 0, 0, 0, 0, 0), 256)
print(ctypes.CDLL(None).adjtimex(timex))
"""
"""What a time service does: it sets the clock, and tells the kernel that it is synchronised (ADJ_STATUS with no
STA_UNSYNC, ADJ_MAXERROR and ADJ_ESTERROR with 0)."""


def read_file(image, path):
    """Return a file of an ext4 image."""
    return subprocess.run(["debugfs", "-R", f"cat {path}", str(image)], check=True, capture_output=True).stdout


def whole_datasets(image, directory):
    """Return the sizes of the pictures of each dataset on an ext4 image whose name is final."""
    directory.mkdir()
    run_on_host(["debugfs", "-R", f"rdump / {directory}", str(image)])
    found = {}
    for dataset in sorted(directory.iterdir()):
        if dataset.name.startswith(".") or dataset.name == "lost+found":
            continue
        found[dataset.name] = []
        for path in sorted((dataset / "images").glob("*.png")):
            with Image.open(path) as picture:
                picture.load()
                found[dataset.name].append(picture.size)
    return found


def test_power_cut_in_mid_scan_leaves_sound_disks_and_costs_no_slot(running, machine, plugs, place, tmp_path):
    """Both file systems are whole after their journals are replayed, and the store says what was running.

    The real-time clock has lost its cell: the next boot goes on without the daemon, which decides nothing until the
    time is synchronised, and then takes the slot.
    """
    plugs.stop_in_move(3)
    running.begin("cut")
    plugs.wait_for_move()
    machine.power_cut()

    disk, scans = tmp_path / "machine.img", tmp_path / "scans.img"
    run_on_host(["qemu-img", "convert", "-O", "raw", str(machine.disk), str(disk)])
    shutil.copyfile(place / "scans.img", scans)
    for image in (disk, scans):
        checked = check_disk(image)
        assert checked.returncode == 0, checked.stdout
    store = json.loads(read_file(disk, running.store))
    assert (store["state"], [scan["status"] for scan in store["scans"]]) == ("running", ["running"])
    assert "cut" not in whole_datasets(scans, tmp_path / "cut")
    disk.unlink()

    plugs.boot("-rtc", "base=2000-01-01T00:00:00")
    running.started = 0
    machine.wait_for_entry("_PID=1", that=lambda entry: "Reached target multi-user.target" in entry["MESSAGE"])
    assert "before the last write" in running.wait_for("clock_wait")["MESSAGE"]
    assert running.show("ActiveState") == "activating"
    plugs.plug("camera")
    now = datetime.now(UTC).timestamp()  # noqa: TID251 - the time that a time server would give
    machine.run("python3", "-c", SYNCHRONISE.format(now=now))
    assert "when the power went" in running.wait_for("resumed")["MESSAGE"]
    running.wait_for("timelapse_completed")
    (record,) = running.records().values()
    assert (record["status"], record["interruptions"], record["attempt"]) == ("succeeded", 1, 2)


def test_kernel_that_hangs_is_restarted_by_the_hardware_watchdog(machine):
    """With hardware-watchdog.conf in place as its comment says, the board's watchdog resets the machine."""
    machine.write("/etc/systemd/system.conf.d/watchdog.conf", WATCHDOG.read_text())
    start = machine.mark()
    machine.run(*example_line(WATCHDOG, "systemctl").split())
    machine.wait_for_entry(
        "_PID=1", start=start, that=lambda entry: re.search("atchdog running with a .*timeout of 14s", entry["MESSAGE"])
    )
    machine.run_until_off("sh", "-c", "echo c >/proc/sysrq-trigger")


def test_datasets_are_whole_on_the_disk(machine, place, tmp_path):
    """Read on another machine, when this one is off: each slot's pictures, in full size, whatever happened in it."""
    if machine.on:
        machine.shut_down()
    assert check_disk(place / "scans.img").returncode == 0
    taken = {entry["TIMELAPSE_ID"] for entry in machine.journal("ACTION=scan_succeeded")}
    assert "cut" in taken
    assert whole_datasets(place / "scans.img", tmp_path / "all") == {name: [(640, 360)] * 4 for name in taken}
