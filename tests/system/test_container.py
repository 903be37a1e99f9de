"""The harness itself: if these fail, no other system test says anything about timelapsed."""

from __future__ import annotations

import pytest
from container import Rig, RigError, wait_until


@pytest.fixture
def machine(new_rig, base) -> Rig:
    """Return a Debian 12 with nothing on it; off."""
    return new_rig(base)


def test_machine_boots_to_running(machine):
    """A bare machine comes up with no failed unit, so that a failed one is timelapsed's."""
    machine.boot()
    assert machine.run("systemctl", "is-system-running", "--wait").stdout.strip() == "running"
    assert machine.run("systemctl", "list-units", "--failed", "--plain", "--no-legend").stdout == ""


def test_power_cut_leaves_the_journal_to_the_next_boot(machine):
    """What was logged before the power cut can be read after it, under a boot of its own."""
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
    """Nothing of the machine gets the chance to tidy up, or lives on."""
    machine.boot()
    machine.write(
        "/root/last-words", "#!/bin/sh\ntrap 'echo bye >/root/said' TERM\necho ready\nread never </dev/zero\n"
    )
    with machine.running("sh", "/root/last-words") as process:
        assert process.stdout.readline() == "ready\n"
        machine.power_cut()
        assert process.wait(timeout=30) != 0
    assert not machine.path("/root/said").exists()


def test_orderly_shutdown_ends_units_in_order(machine):
    """`shut_down` lets a unit do its stopping, as a person who unplugs nothing would."""
    unit = "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStop=/bin/touch /root/stopped\n"
    machine.write("/etc/systemd/system/witness.service", unit)
    machine.boot()
    machine.run("systemctl", "start", "witness.service")
    machine.shut_down()
    assert not machine.on
    assert machine.path("/root/stopped").exists()


def test_two_machines_know_nothing_of_each_other(new_rig, base):
    """Rigs share the bare root, and nothing that they write to it."""
    one, other = new_rig(base, hostname="one"), new_rig(base, hostname="other")
    one.boot()
    other.boot()
    one.run("touch", "/etc/mine")
    assert not other.path("/etc/mine").exists()
    assert not (base / "etc/mine").exists()
    assert [rig.run("hostname").stdout.strip() for rig in (one, other)] == ["one", "other"]


def test_clock_may_be_asked_but_not_set(machine):
    """A rig sees the kernel's idea of its clock; no test can change the clock of the machine below."""
    machine.boot()
    ask = "import ctypes; print(ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(208)))"
    assert int(machine.run("python3", "-c", ask).stdout) >= 0
    assert machine.run("date", "--set=@0", check=False).returncode != 0


def test_failed_wait_says_what_it_waited_for(machine):
    """A condition that never comes fails within its time, and by name."""
    machine.boot()
    with pytest.raises(RigError, match=r"no journal entry SYSLOG_IDENTIFIER=nobody within 0\.2 s"):
        machine.wait_for_entry("SYSLOG_IDENTIFIER=nobody", within=0.2)
    with pytest.raises(RigError, match="pigs fly"):
        wait_until(lambda: False, within=0.1, what="pigs fly")
