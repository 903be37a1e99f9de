"""A timelapse under a real systemd, from the definition to the pictures, with power cuts and stops."""

from __future__ import annotations

from datetime import timedelta

import pytest
from debian import on_every_release
from timelapse_service import FREEZES, HALF_WAY, TimelapseService, datasets_of, moved


@pytest.fixture
def service(service) -> TimelapseService:
    """Return a service that distinguishes one boot from the next."""
    service.see_boots()
    return service


@on_every_release
def test_definition_is_taken_up_at_a_reload_and_every_slot_is_taken(rig, service):
    """After a boot without a definition, one is written and loaded: the slots are taken, and STATUS is always right."""
    rig.boot()
    assert rig.run("systemctl", "is-system-running", "--wait").stdout == "running\n"
    assert service.show("ActiveState") == "active"
    assert service.status == "no timelapse; define one with timelapsectl start FILE"
    service.define()
    service.systemctl("reload")
    done = service.wait_for("timelapse_completed")
    assert done["MESSAGE"].startswith("timelapse_completed: tl: 3 taken, 0 failed, 0 skipped")
    assert "completed" in service.wait_for_status("tl: completed", "3 taken")
    assert datasets_of(service) == {"tl_0": 4, "tl_1": 4, "tl_2": 4}
    assert rig.show(service.unit, "NRestarts") == "0"


def test_status_says_where_a_running_scan_is(rig, service):
    """`systemctl status` shows slot and picture of a running scan, then when the next slot is due."""
    service.configure(options=FREEZES)
    service.define(interval="1h")
    rig.boot()
    service.wait_for_status(HALF_WAY)
    service.systemctl("restart")
    line = service.wait_for_status("tl: waiting for slot 1 of 3 at ")
    assert line.endswith("; 1 taken")
    shown = rig.run("systemctl", "status", "--no-pager", service.unit).stdout
    assert 'Status: "tl: waiting for slot 1 of 3 at ' in shown


@on_every_release
def test_power_cut_in_mid_scan_costs_the_attempt_and_not_the_slot(rig, service):
    """The store says `running` when the power goes; the next boot takes the slot again, and its record says so."""
    service.configure(options=FREEZES)
    service.define()
    rig.boot()
    service.wait_for_status(HALF_WAY)
    rig.power_cut()
    store = service.read()
    assert (store["state"], [scan["status"] for scan in store["scans"]]) == ("running", ["running"])
    rig.boot()
    resumed = service.wait_for("resumed")
    assert "was scanning slot 0 when the power went" in resumed["MESSAGE"]
    service.wait_for("timelapse_completed")
    record = service.records()[0]
    assert (record["status"], record["attempt"], record["interruptions"]) == ("succeeded", 2, 1)
    assert service.outcomes() == ["succeeded"] * 3
    assert service.facts()["boots"] == 2
    assert rig.run("systemctl", "is-system-running", "--wait").stdout == "running\n"


def test_slots_of_an_hour_without_power_have_a_record_each_and_one_line_together(rig, service):
    """Slots of the outage are interrupted or skipped, with that reason; the slot that is due now is taken."""
    service.configure(options=FREEZES)
    service.define(interval="10m", n_shots=12, grace=300)
    rig.boot()
    service.wait_for_status("scanning slot 0 of 12, picture 2 of 4")
    rig.power_cut()
    service.put(moved(service.read(), timedelta(hours=-1)))
    rig.boot()
    skipped = service.wait_for("slot_skipped")
    assert skipped["MESSAGE"].startswith("slot_skipped: 5 slots from ")
    assert "were missed while the rig was off" in skipped["MESSAGE"]
    service.wait_for("scan_succeeded", "SLOT=6")
    assert service.outcomes() == ["interrupted", *["skipped"] * 5, "succeeded"]
    assert {record["reason"] for slot, record in service.records().items() if 1 <= slot <= 5} == {"missed"}
    (outage,) = service.facts()["outages"]
    assert outage["from"] < outage["to"]
    assert service.said("ACTION=slot_skipped") == [skipped["MESSAGE"]]


def test_stop_in_mid_scan_is_pause_and_start_takes_the_slot_again(rig, service):
    """The unit ends in order within its time-out, and the slot is `interrupted`; after the start it is taken."""
    service.configure(options=FREEZES)
    service.define()
    rig.boot()
    service.wait_for_status(HALF_WAY)
    service.systemctl("stop")
    assert [service.show(fact) for fact in ("ActiveState", "Result", "ExecMainStatus")] == ["inactive", "success", "0"]
    facts = service.facts()
    assert (facts["timelapse"]["state"], facts["daemon"]) == ("scheduled", None)
    assert service.outcomes() == ["interrupted"]
    service.systemctl("start")
    service.wait_for("timelapse_completed")
    record = service.records()[0]
    assert (record["status"], record["attempt"], record["interruptions"]) == ("succeeded", 2, 1)


def test_orderly_shutdown_of_the_machine_is_a_stop(rig, service):
    """With `poweroff` too the scan reaches a safe point, and the slot has its record before the machine is off."""
    service.configure(options=FREEZES)
    service.define()
    rig.boot()
    service.wait_for_status(HALF_WAY)
    rig.shut_down()
    store = service.read()
    assert (store["state"], [scan["status"] for scan in store["scans"]]) == ("scheduled", ["interrupted"])


def test_nothing_is_decided_while_the_clock_is_not_trusted(rig, service):
    """With `ntp-only` and an unsynchronised kernel STATUS says why, no slot is skipped, and a stop works."""
    service.define(interval="10m", n_shots=12)
    rig.boot()
    service.wait_for("scan_succeeded", "SLOT=0")
    rig.power_cut()
    store = moved(service.read(), timedelta(hours=-1))
    service.put(store)
    service.configure(clock="ntp-only")
    # The host's kernel may be synchronised; the daemon can't ask it, and so takes it for unsynchronised.
    service.drop_in("no-clock", "SystemCallFilter=~adjtimex clock_adjtime")
    rig.boot(until_up=False)
    service.wait_for_status("clock not trusted yet (kernel: unsynchronised; ntp-only), nothing is decided")
    assert service.show("ActiveState") == "activating"
    assert service.wait_for("clock_wait")["PRIORITY"] == "4"
    service.systemctl("stop")
    assert [service.show(fact) for fact in ("ActiveState", "Result")] == ["inactive", "success"]
    assert service.read() == store
    service.configure()
    service.systemctl("start")
    service.wait_for("scan_succeeded", "SLOT=6")
    assert service.outcomes() == ["succeeded", *["skipped"] * 5, "succeeded"]
