"""The harness itself: if one of these fails, no other system test says anything about timelapsed."""

from __future__ import annotations

import pytest
from debian import on_every_release
from waiting import RigError, wait_until


@pytest.fixture
def machine(new_rig, debian):
    """Return a machine with nothing but its Debian; off."""
    return new_rig(*debian.bare)


@on_every_release
def test_machine_boots_to_running(machine):
    """A bare machine comes up with no failed unit, so that a failed one is timelapsed's own."""
    machine.boot()
    assert machine.run("systemctl", "is-system-running", "--wait").stdout.strip() == "running"
    assert machine.run("systemctl", "list-units", "--failed", "--plain", "--no-legend").stdout == ""


@on_every_release
def test_power_cut_leaves_the_journal_to_the_next_boot(machine):
    """The journal from before the power cut can be read after it, under a boot of its own."""
    machine.boot()
    machine.run("systemd-cat", "--identifier=before", "echo", "the light is on")
    before = machine.wait_for_entry("SYSLOG_IDENTIFIER=before")
    machine.power_cut()
    assert not machine.on
    assert [entry["MESSAGE"] for entry in machine.journal("SYSLOG_IDENTIFIER=before")] == ["the light is on"]
    machine.boot()
    (entry,) = machine.journal("SYSLOG_IDENTIFIER=before")
    now = machine.run("cat", "/proc/sys/kernel/random/boot_id").stdout.strip().replace("-", "")
    assert entry["_BOOT_ID"] == before["_BOOT_ID"] != now


def test_power_cut_ends_every_process_at_once(machine):
    """No process of the machine can tidy up, or survives."""
    machine.boot()
    machine.write(
        "/root/last-words", "#!/bin/sh\ntrap 'echo bye >/root/said' TERM\necho ready\nread never </dev/zero\n"
    )
    with machine.running("sh", "/root/last-words") as process:
        assert process.stdout.readline() == "ready\n"
        machine.power_cut()
        assert process.wait(timeout=30) != 0
    assert not machine.path("/root/said").exists()


def test_orderly_shutdown_stops_units(machine):
    """`shut_down` runs a unit's ExecStop=, as `systemctl poweroff` does."""
    unit = "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStop=/bin/touch /root/stopped\n"
    machine.write("/etc/systemd/system/witness.service", unit)
    machine.boot()
    machine.run("systemctl", "start", "witness.service")
    machine.shut_down()
    assert not machine.on
    assert machine.path("/root/stopped").exists()


def test_two_machines_share_no_file_that_they_write(new_rig, debian):
    """Rigs share the bare root, which neither of them changes."""
    one, other = new_rig(*debian.bare, hostname="one"), new_rig(*debian.bare, hostname="other")
    one.boot()
    other.boot()
    one.run("touch", "/etc/mine")
    assert not other.path("/etc/mine").exists()
    assert not (debian.bare[0] / "etc/mine").exists()
    assert [rig.run("hostname").stdout.strip() for rig in (one, other)] == ["one", "other"]


def test_clock_may_be_asked_but_not_set(machine):
    """A rig can ask the kernel about its clock; no test can change the clock of the host."""
    machine.boot()
    ask = "import ctypes; print(ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(208)))"
    assert int(machine.run("python3", "-c", ask).stdout) >= 0
    assert machine.run("date", "--set=@0", check=False).returncode != 0


def test_failed_wait_names_its_condition(machine):
    """A condition that never holds fails within its time, with its name."""
    machine.boot()
    with pytest.raises(RigError, match=r"no journal entry SYSLOG_IDENTIFIER=nobody within 0\.2 s"):
        machine.wait_for_entry("SYSLOG_IDENTIFIER=nobody", within=0.2)
    with pytest.raises(RigError, match="pigs fly"):
        wait_until(lambda: False, within=0.1, what="pigs fly")
