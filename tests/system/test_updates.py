"""`systemd/install` on a machine whose rigs take scans: it restarts what changes, between scans, and takes it back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from debian import INSTALL_WITHIN, SOURCES
from gated_rigs import GatedRig, assert_update_interrupts_no_scan, broken, newer, rewrite_daemon, start_scanning

if TYPE_CHECKING:
    import subprocess

    from container import Rig

ENVIRONMENT = "/opt/plant-imager-timelapsed"
WHEELS = f"{SOURCES}/wheels"
INSTALL = (f"{SOURCES}/systemd/install", "--wheels", WHEELS)


@pytest.fixture
def machine(rig) -> Rig:
    """Return a machine that is on, with timelapsed installed; its rigs have names, so the nameless one is off."""
    rig.build("systemctl", "disable", "plant-imager-timelapsed.service")
    rig.boot()
    return rig


def install(machine: Rig, *options: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run the installer; return how it ended."""
    return machine.run(*INSTALL, *options, check=check, within=INSTALL_WITHIN)


def change_version(machine: Rig, change=newer) -> None:
    """Make the sources of the machine another version."""
    (wheel,) = machine.path(WHEELS).glob("plantimager_timelapse-*.whl")
    rewrite_daemon(wheel, change)


def in_use(machine: Rig) -> str:
    """Return where the link to the environment in use leads."""
    return str(machine.path(f"{ENVIRONMENT}/bin").readlink())


def test_rig_is_added_and_all_are_updated_while_two_take_scans(machine):
    """A third rig, and the same version again, restart none; a new version waits for the end of each one's scan.

    One of them takes its slot in a second attempt.
    """
    rigs = start_scanning(machine, "left", "right", again="left")
    before = [each.pid for each in rigs]
    third = GatedRig(machine, "third")
    third.configure()
    said = install(machine, "--rig", "third").stdout
    assert "started: plant-imager-timelapsed@third.service" in said
    third_pid = third.pid
    said = install(machine, "--rig", "third").stdout
    assert {line.split(":")[0] for line in said.splitlines()} == {"unchanged", "kept", "configuration"}
    assert [each.pid for each in [*rigs, third]] == [*before, third_pid]
    old = in_use(machine)
    change_version(machine)
    assert_update_interrupts_no_scan(machine, rigs, *INSTALL, "--rig", "third")
    assert third.pid not in {third_pid, "0"}
    assert not machine.path(f"{ENVIRONMENT}/{old}").exists()


def test_extras_of_an_added_rig_restart_no_other_rig(machine):
    """The packages that it needs are in a new environment; the rigs that scan go on in theirs, which stays."""
    (left,) = start_scanning(machine, "left")
    before, old = left.pid, in_use(machine).split("/")[0]
    install(machine, "--rig", "north", "--extras", "grbl")
    assert (left.pid, in_use(machine).split("/")[0] != old) == (before, True)
    assert machine.path(f"{ENVIRONMENT}/{old}/bin/timelapsed").exists()
    left.end_scan()
    machine.wait_until(left.is_whole, what="the scan is whole")


def test_scan_that_outlasts_the_wait_goes_on_and_now_restarts_in_its_middle(machine):
    """After the longest wait the rig runs on with its version, which is said; with `--now` nothing is waited for."""
    (left,) = start_scanning(machine, "left")
    before, old = left.pid, in_use(machine)
    program = machine.path(f"{SOURCES}/systemd/wait-for-gap")
    patient = program.read_text()
    program.write_text(patient.replace("LONGEST = timedelta(hours=2)", "LONGEST = timedelta(seconds=1)"))
    change_version(machine)
    said = install(machine, "--rig", "left").stdout
    assert "no longer waiting: a scan of slot 0 is being taken" in said
    assert f"{left.unit}: left running with the version before" in said
    assert (left.pid, in_use(machine) != old) == (before, True)
    assert machine.path(f"{ENVIRONMENT}/{old}/timelapsed").exists()
    program.write_text(patient)
    said = install(machine, "--rig", "left", "--now").stdout
    assert "waiting" not in said
    assert left.pid not in {before, "0"}
    assert not machine.path(f"{ENVIRONMENT}/{old}").exists()
    left.end_scan()
    machine.wait_until(lambda: left.records().get(0, {}).get("status") == "succeeded", what="the slot is taken")


def test_version_that_does_not_become_ready_is_taken_back(machine):
    """The rig runs on in the version before, and the installer says so, and fails."""
    left = GatedRig(machine, "left")
    left.configure()
    left.systemctl("start")
    old = in_use(machine)
    change_version(machine, broken())
    done = install(machine, "--rig", "left", check=False)
    assert done.returncode == 1
    environment = f"{ENVIRONMENT}/{old.split('/')[0]}"
    assert f"{left.unit}: did not become ready; back to the version before, {environment}" in done.stdout
    assert f"restarted: {left.unit}, with the version before" in done.stdout.splitlines()
    assert "the update failed" in done.stderr
    assert (left.show("ActiveState"), in_use(machine)) == ("active", old)
    assert "no timelapse" in left.ctl("status")


def test_rig_that_was_updated_before_another_failed_is_taken_back_too(machine):
    """All rigs of a machine run from one version at the end, also where only the last one fails with the new one."""
    rigs = [GatedRig(machine, name) for name in ("left", "right")]
    for each in rigs:
        each.configure()
        each.systemctl("start")
    old = in_use(machine)
    change_version(machine, broken("'right' in sys.argv"))
    done = install(machine, "--rig", "left", check=False)
    assert done.returncode == 1
    said = [line for line in done.stdout.splitlines() if "restarted: " in line]
    assert said == [
        f"restarted: {rigs[0].unit}",
        *(f"restarted: {each.unit}, with the version before" for each in reversed(rigs)),
    ]
    assert [each.show("ActiveState") for each in rigs] == ["active", "active"]
    assert in_use(machine) == old
    running = [machine.run("cat", f"/proc/{each.pid}/cmdline").stdout.split("\0")[0] for each in rigs]
    assert [python.split("/")[3] for python in running] == [old.split("/")[0]] * 2
