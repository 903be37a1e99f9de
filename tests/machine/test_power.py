"""A machine that freezes, and power that is cut, with real disks and a real-time clock without its cell.

What is said to be on the disks is read on the host, from their images, when the machine is off.
"""

from __future__ import annotations

import json
import re
import shutil
from datetime import UTC, datetime

import pytest
from host import run_on_host
from machine_image import check_disk, read_file
from machine_rig import example_line
from PIL import Image
from tree import SYSTEMD

from plantimager.timelapse.datasets.contents import find_differences

WATCHDOG = SYSTEMD / "hardware-watchdog.conf"

SYNCHRONISE = """\
import ctypes, struct, time
time.clock_settime(time.CLOCK_REALTIME, {now})
timex = ctypes.create_string_buffer(struct.pack("=IIqqqqiI", 0x1C, 0, 0, 0, 0, 0, 0, 0), 256)
print(ctypes.CDLL(None).adjtimex(timex))
"""
"""What a time service does: it sets the clock, and tells the kernel that it is synchronised (ADJ_STATUS with no
STA_UNSYNC, ADJ_MAXERROR and ADJ_ESTERROR with 0)."""


class Disks:
    """The disks of a machine that is off: whole file systems, or the test fails."""

    def __init__(self, machine, place, directory):
        disk, scans = directory / "machine.img", directory / "scans.img"
        run_on_host(["qemu-img", "convert", "-O", "raw", str(machine.disk), str(disk)])
        shutil.copyfile(place / "scans.img", scans)
        for image in (disk, scans):
            checked = check_disk(image)
            assert checked.returncode == 0, checked.stdout
        self.disk, self._datasets = disk, directory / "datasets"
        self._datasets.mkdir()
        run_on_host(["debugfs", "-R", f"rdump / {self._datasets}", str(scans)])

    def store(self, service):
        """Return the state of the timelapse in the store, and the record of its only slot."""
        store = json.loads(read_file(self.disk, service.store))
        (record,) = store["scans"]
        return store["state"], record

    def pictures(self):
        """Return the sizes of the pictures of each dataset with a final name, whose files are as its receipt says."""
        found = {}
        for dataset in sorted(self._datasets.iterdir()):
            if dataset.name.startswith(".") or dataset.name == "lost+found":
                continue
            assert find_differences(dataset) == []
            found[dataset.name] = []
            for path in sorted((dataset / "images").glob("*.png")):
                with Image.open(path) as picture:
                    picture.load()
                    found[dataset.name].append(picture.size)
        return found


@pytest.fixture
def disks(machine, place, tmp_path):
    """Return what reads the disks after the power was cut; their copies are removed at the end of the test."""

    def read():
        return Disks(machine, place, tmp_path)

    yield read
    shutil.rmtree(tmp_path)


def test_power_cut_in_mid_scan_leaves_sound_disks_and_costs_no_slot(running, machine, plugs, disks):
    """Both file systems are whole after their journals are replayed, and the store says what was running.

    The real-time clock has lost its cell: the next boot goes on without the daemon, which decides nothing until the
    time is synchronised, and then takes the slot.
    """
    plugs.stop_in_move(3)
    running.begin("cut")
    plugs.wait_for_move()
    machine.power_cut()
    found = disks()
    state, record = found.store(running)
    assert (state, record["status"], "cut" in found.pictures()) == ("running", "running", False)

    resumed = machine.journal(f"_SYSTEMD_UNIT={running.unit}", "ACTION=resumed")
    running.started = 0
    plugs.boot("-rtc", "base=2000-01-01T00:00:00")
    machine.wait_for_entry("_PID=1", that=lambda entry: "Reached target multi-user.target" in entry["MESSAGE"])
    assert "before the last write" in running.wait_for("clock_wait")["MESSAGE"]
    assert running.show("ActiveState") == "activating"
    assert machine.journal(f"_SYSTEMD_UNIT={running.unit}", "ACTION=resumed") == resumed
    now = datetime.now(UTC).timestamp()  # noqa: TID251 - the time that a time server would give
    machine.run("python3", "-c", SYNCHRONISE.format(now=now))
    running.wait_for("resumed")
    running.wait_for("timelapse_completed")
    (record,) = running.records().values()
    assert (record["status"], record["interruptions"], record["attempt"]) == ("succeeded", 1, 2)


def wait_for_hardware_watchdog(machine, start=0):
    """Wait until the service manager says that it reports to the board's watchdog."""
    in_use = re.compile("[Ww]atchdog running with .*timeout of 14s")
    machine.wait_for_entry("SYSLOG_IDENTIFIER=systemd", that=lambda entry: in_use.search(entry["MESSAGE"]), start=start)


def test_frozen_service_manager_is_noticed_by_the_boards_watchdog_and_the_slot_is_taken(running, machine, plugs):
    """With hardware-watchdog.conf in place as its comment says, a machine whose PID 1 and daemon stand still is reset.

    The scan that was going on is taken again after the boot, and the watchdog is in use then, too.
    """
    machine.write("/tmp/timelapsed/systemd/hardware-watchdog.conf", WATCHDOG.read_text())
    install, reexec = (example_line(WATCHDOG, word) for word in ("install -D", "systemctl"))
    machine.run("sh", "-c", f"cd /tmp/timelapsed && {install} && {reexec}")
    wait_for_hardware_watchdog(machine)
    plugs.stop_in_move(3)
    running.begin("frozen")
    plugs.wait_for_move()
    running.started = machine.mark()
    machine.freeze("sh", "-c", f"kill -STOP {running.show('MainPID')}; kill -SEGV 1")
    plugs.booted()
    wait_for_hardware_watchdog(machine, running.started)
    running.wait_for("resumed")
    running.wait_for("timelapse_completed")
    (record,) = running.records().values()
    assert (record["status"], record["interruptions"], record["attempt"]) == ("succeeded", 1, 2)
    machine.run("rm", install.split()[-1])
    machine.run(*reexec.split())


def test_what_was_told_is_on_the_disk_when_the_power_goes(running, machine, disks):
    """The power is cut as soon as the host hears that a slot was taken: its record and its pictures are there.

    So are those of all slots before, whatever happened in them: every picture in full size, as the receipts say.
    """
    running.begin("told")
    running.wait_for("scan_succeeded")
    machine.power_cut()
    found = disks()
    _, record = found.store(running)
    assert record["status"] == "succeeded"
    told = machine.journal(f"_SYSTEMD_UNIT={running.unit}", "ACTION=scan_succeeded")
    taken = {entry["TIMELAPSE_ID"] for entry in told}
    assert found.pictures() == {name: [(640, 360)] * 4 for name in taken}
