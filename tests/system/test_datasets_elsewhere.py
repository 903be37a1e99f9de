"""Datasets on another disk, as systemd/examples/datasets.conf describes it, in the unit as delivered."""

from __future__ import annotations

from timelapse_service import configuration
from tree import SYSTEMD

EXAMPLE = SYSTEMD / "examples/datasets.conf"
SCANS = "/srv/scans"


def test_directory_that_the_sandbox_keeps_read_only_is_reported_before_the_first_slot_and_costs_none(rig, service):
    """The journal names the cause; with the example in place the slot is taken within its grace period."""
    service.configure(f'datasets = "{SCANS}"\n{configuration()}')
    service.define(n_shots=1)
    rig.boot()
    entry = service.wait_for("datasets_out_of_reach")
    assert f"{SCANS}: datasets can't be put there: Read-only file system" in entry["MESSAGE"]
    assert f"{SCANS}: datasets can't be put there" in service.wait_for("rig_not_ready", "SLOT=0")["MESSAGE"]
    (make,) = [line.removeprefix("#").strip() for line in EXAMPLE.read_text().splitlines() if "install -d" in line]
    rig.run(*make.removeprefix("sudo ").split())
    rig.write(f"/etc/systemd/system/{service.unit}.d/datasets.conf", EXAMPLE.read_text())
    rig.run("systemctl", "daemon-reload")
    service.systemctl("restart")
    service.wait_for("timelapse_completed")
    assert service.outcomes() == ["succeeded"]
    assert service.records()[0]["attempt"] == 1
    images = [*rig.path(f"{SCANS}/tl/images").iterdir()]
    assert [path.stat().st_mode & 0o777 for path in images] == [0o640] * 4
    assert not rig.path(f"{service.storage}/datasets").exists()


def test_disk_that_is_mounted_late_costs_no_slot(rig, service):
    """The service starts without the disk and says so; once mounted, it is in the sandbox, and the slot is taken."""
    service.configure(f'datasets = "{SCANS}"\n{configuration()}')
    service.define(n_shots=1)
    rig.write(f"/etc/systemd/system/{service.unit}.d/datasets.conf", EXAMPLE.read_text())
    rig.build("install", "--directory", SCANS)
    rig.boot()
    assert f"{SCANS}: datasets can't be put there: " in service.wait_for("datasets_out_of_reach")["MESSAGE"]
    service.wait_for("rig_not_ready", "SLOT=0")
    rig.run("mount", "-t", "tmpfs", "-o", "uid=plant-imager,gid=plant-imager,mode=750", "card", SCANS)
    service.wait_for("timelapse_completed")
    assert service.outcomes() == ["succeeded"]
    assert rig.run("ls", SCANS).stdout.split() == ["tl"]
    assert service.show("NRestarts") == "0"
