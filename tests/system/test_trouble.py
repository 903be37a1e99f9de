"""Faults of a rig under a real systemd: when the daemon is restarted, when not, and what the journal says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import fuse_server
import pytest
from container import Rig
from timelapse_service import FREEZES, HALF_WAY, TimelapseService

from plantimager.timelapse.support.errors import EXIT_CONFIG

if TYPE_CHECKING:
    from collections.abc import Iterator

FAULTY = """\
driver = "simulated"
clock = "maybe"
stall_timeout = 0
"""

HUNG_WITHIN = 180.0
"""Seconds: 30 to a safe point, 10 until the signal ends it, 5 until the restart; the rest is for slow machines."""


@pytest.fixture(scope="module", autouse=True)
def hung_rig(layers, installed) -> Iterator[Rig]:
    """Return a machine whose driver hangs in slot 0 and ignores its cancelling.

    Like any driver it gets 30 s to come to a safe point. The module's other tests run meanwhile; the last one checks
    the outcome.
    """
    rig = Rig(layers, installed, hostname="hung")
    try:
        service = TimelapseService(rig)
        service.configure(stall_timeout="8s", options=f"{FREEZES}\ndeaf = true")
        service.define()
        rig.boot()
        yield rig
    finally:
        rig.remove()


def test_rig_that_is_absent_at_boot_costs_no_slot_within_its_grace(rig, service):
    """The slot is due before the rig answers; it is taken as soon as the rig answers, and no attempt is used."""
    service.configure(options='absent_for = "3s"')
    service.define(n_shots=1)
    rig.boot()
    waiting = service.wait_for("rig_not_ready", "SLOT=0")
    assert "it is asked again until" in waiting["MESSAGE"]
    service.wait_for("timelapse_completed")
    record = service.records()[0]
    assert (record["status"], record["attempt"], record["interruptions"]) == ("succeeded", 1, 0)
    assert service.show("NRestarts") == "0"


def test_store_on_a_server_without_a_lock_service_ends_the_start_with_the_cure(rig, service):
    """The kernel's own answer, on a mount whose server refuses each lock, as NFS does without its lock service."""
    server, place = "/usr/local/lib/fuse_server.py", "/srv/plant-imager3-app"
    rig.write(server, Path(fuse_server.__file__).read_text())
    rig.path(place).mkdir()
    rig.boot()
    with rig.running("python3", server, place) as serving:
        assert serving.stdout.readline()
        refused = rig.run("flock", "--nonblock", f"{place}/any", "true", check=False)
        assert "No locks available" in refused.stderr
        started = rig.run("env", "XDG_DATA_HOME=/srv", "/opt/plant-imager-timelapsed/bin/timelapsed", check=False)
    assert started.returncode not in (0, EXIT_CONFIG)  # so that systemd tries it again
    said = started.stdout + started.stderr
    assert f"{place}: the file system there has no locks, and without them two daemons could write one store" in said
    assert "put the storage directory on a disk of this machine; datasets may be on a network disk" in said


def test_zone_that_is_set_while_the_service_runs_holds_for_the_next_timelapse(rig, service):
    """On a new machine the zone may be set after the service: preview and start then mean the same instants."""
    service.configure()
    rig.boot()
    service.wait_for("idle")
    rig.run("ln", "-sf", "/usr/share/zoneinfo/Asia/Tokyo", "/etc/localtime")
    rig.write("/root/tl.toml", '[timelapse]\nname = "tl"\nmode = "one_shot"\nstart_at = "2037-06-22T08:00:00"\n')
    assert "times are local, JST (UTC+09:00)" in service.ctl("preview", "/root/tl.toml")
    service.ctl("start", "/root/tl.toml")
    assert service.read()["schedule_times"] == ["2037-06-21T23:00:00+00:00"]


def test_killed_daemon_is_restarted_and_takes_its_slot_again(rig, service):
    """If something kills the process (here SIGKILL in mid-scan), systemd starts another one, which resumes."""
    service.configure(options=FREEZES)
    service.define()
    rig.boot()
    service.wait_for_status(HALF_WAY)
    rig.run("systemctl", "kill", "--signal=KILL", service.unit)
    resumed = service.wait_for("resumed")
    assert "was scanning slot 0 when the daemon was killed" in resumed["MESSAGE"]
    service.wait_for("timelapse_completed")
    assert service.outcomes() == ["succeeded"] * 3
    assert (service.records()[0]["attempt"], service.show("NRestarts")) == (2, "1")


def test_broken_configuration_fails_once_and_is_not_started_again(rig, service):
    """The unit fails with 78 and stays failed; one line of the journal names file, key and value of every fault."""
    service.configure(FAULTY)
    rig.boot()
    facts = ("ActiveState", "SubState", "Result", "ExecMainStatus", "NRestarts")
    assert [service.show(fact) for fact in facts] == ["failed", "failed", "exit-code", "78", "0"]
    assert rig.run("systemctl", "is-system-running", "--wait", check=False).stdout == "degraded\n"
    (said,) = service.said("ACTION=config_faulty")
    assert f"{service.settings}/timelapsed.toml: 2 faults" in said
    assert 'clock = "maybe": write one of auto, trust, ntp-only' in said
    assert "stall_timeout = 0: must be longer than 0 s" in said
    assert "Traceback" not in rig.journal_text(f"--unit={service.unit}")
    service.configure()
    service.systemctl("start")
    assert service.show("ActiveState") == "active"


def test_reload_of_a_broken_configuration_keeps_the_daemon_and_the_old_one(rig, service):
    """The fault is logged, and the process goes on with its configuration."""
    service.define(interval="1h")
    rig.boot()
    service.wait_for("scan_succeeded", "SLOT=0")
    before = service.show("MainPID")
    service.configure(FAULTY)
    service.systemctl("reload")
    said = service.wait_for("config_faulty")
    assert f"{service.settings}/timelapsed.toml: 2 faults" in said["MESSAGE"]
    assert "the configuration in use is kept" in said["MESSAGE"]
    assert (service.show("ActiveState"), service.show("MainPID")) == ("active", before)
    service.wait_for_status("tl: waiting for slot 1 of 3")


def test_definition_with_faults_is_reported_and_the_service_starts(rig, service):
    """A fault in the definition is no fault of the service: it starts, logs the fault, and is idle."""
    service.define(interval="1 hour")
    rig.boot()
    said = service.wait_for("definition_faulty")
    assert f"{service.settings}/timelapse.toml" in said["MESSAGE"]
    assert 'interval = "1 hour"' in said["MESSAGE"]
    assert rig.run("systemctl", "is-system-running", "--wait").stdout == "running\n"
    assert service.status == "no timelapse; define one with timelapsectl start FILE"


def test_second_daemon_on_the_same_store_names_the_first(rig, service):
    """Its fault has the PID of the running daemon, which goes on."""
    rig.boot()
    before = service.show("MainPID")
    second = rig.run(
        "env",
        "XDG_DATA_HOME=/var/lib",
        "/opt/plant-imager-timelapsed/bin/timelapsed",
        user="plant-imager",
        check=False,
    )
    assert second.returncode == 1
    assert f"{service.store}.lock: a timelapsed already runs on this store (PID {before})" in second.stderr
    assert (service.show("ActiveState"), service.show("MainPID")) == ("active", before)


def test_hung_driver_costs_its_slot_and_systemd_replaces_the_daemon(hung_rig):
    """The watchdog kills a daemon that can't end its driver; the slot has its record, and the next one is taken."""
    service = TimelapseService(hung_rig)
    service.wait_for("timelapse_completed", within=HUNG_WITHIN)
    service.wait_for("driver_stalled", "SLOT=0")
    service.wait_for("driver_abandoned")
    # The service manager's own words about it.
    hung_rig.wait_for_entry("_PID=1", f"UNIT={service.unit}", "UNIT_RESULT=watchdog")
    assert service.show("NRestarts") == "1"
    assert service.outcomes() == ["failed", "succeeded", "succeeded"]
    assert "didn't stop when cancelled, and was abandoned" in service.records()[0]["error"]
    lines = hung_rig.journal(f"_SYSTEMD_UNIT={service.unit}", "ACTION=scan_failed")
    (failed,) = [line for line in lines if "RETOLD" not in line]
    assert (failed["SLOT"], failed["PRIORITY"]) == ("0", "3")
