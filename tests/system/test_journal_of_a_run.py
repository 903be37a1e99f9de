"""The journal as an administrator reads it: native fields, meaningful levels, a catalog, no secrets."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from container import Entry, Rig
from debian import RELEASES
from timelapse_service import TimelapseService, half_done_store, moved

from plantimager.timelapse.daemon.journal import Action
from plantimager.timelapse.systemd.journal_lines import LEVELS, NOTICE

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = "tok-0123-do-not-print"

ACTIONS = {action.word: action for action in Action}
WITHOUT_TIMELAPSE = {"starting", "clock_trusted", "idle", "reloaded", "rig_standby"}
"""Actions of a good run that belong to no timelapse."""


IN_MEMORY = "storage_not_lasting"
"""The action of the warning that every rig of these tests gets at its start."""


@pytest.fixture(scope="module", params=RELEASES, ids=str)
def good_run(request, layers, debians) -> Iterator[TimelapseService]:
    """Return the service of a rig that has taken three slots without a fault; the service is stopped, the rig on."""
    rig = Rig(layers, debians[request.param].installed)
    try:
        service = TimelapseService(rig)
        service.configure()
        rig.boot()
        service.define()
        service.systemctl("reload")
        service.wait_for("timelapse_completed")
        service.systemctl("stop")
        yield service
    finally:
        rig.remove()


@pytest.fixture(scope="module")
def entries(good_run) -> list[Entry]:
    """Return all entries of the daemon in that run, but for the one about the rig's disk: that is in memory."""
    entries = good_run.rig.journal(f"_SYSTEMD_UNIT={good_run.unit}")
    return [entry for entry in entries if entry["ACTION"] != IN_MEMORY]


@pytest.fixture(scope="module")
def missed(layers, installed) -> Iterator[TimelapseService]:
    """Return the service of a rig that was off for five slots of seven, and has taken the last; the rig is on."""
    rig = Rig(layers, installed)
    try:
        service = TimelapseService(rig)
        service.configure()
        service.see_boots()
        service.define(interval="10m", n_shots=7, grace=300)
        rig.boot()
        service.wait_for("scan_succeeded", "SLOT=0")
        rig.power_cut()
        service.put(moved(service.read(), timedelta(hours=-1)))
        rig.boot()
        service.wait_for("timelapse_completed")
        yield service
    finally:
        rig.remove()


def test_every_transition_has_exactly_one_entry(entries):
    """NOTICE and above have the run, from the definition to the end, and nothing else."""
    found = [(entry["ACTION"], entry.get("SLOT")) for entry in entries if int(entry["PRIORITY"]) <= LEVELS[NOTICE]]
    scans = [(action, slot) for slot in "012" for action in ("scan_started", "scan_succeeded")]
    assert found == [("definition_accepted", None), *scans, ("timelapse_completed", None)]


def test_nothing_in_a_good_run_is_a_warning_or_worse(good_run):
    """Neither an entry of the daemon nor one of systemd about it, but for the rig's disk, which is in memory."""
    lines = good_run.rig.journal_text(f"--unit={good_run.unit}", "--priority=warning").splitlines()
    assert [line for line in lines if f"{IN_MEMORY}: " not in line] == []


def test_every_entry_has_action_level_and_message_id_of_its_kind(entries):
    """An entry names the kind of its event, and the kind has a level and a catalog entry."""
    for entry in entries:
        action = ACTIONS[entry["ACTION"]]
        assert entry["MESSAGE"].startswith(f"{action.word}: ")
        assert "\n" not in entry["MESSAGE"]
        assert entry["PRIORITY"] == str(LEVELS[action.level])
        assert entry.get("MESSAGE_ID") == action.message_id
        assert entry["SYSLOG_IDENTIFIER"] == "timelapsed"


def test_every_entry_names_its_place_in_the_code(entries):
    """CODE_FILE, CODE_LINE and CODE_FUNC are those of the sentence, not of the logging library."""
    for entry in entries:
        assert "/plantimager/timelapse/daemon/" in entry["CODE_FILE"]
        assert entry["CODE_FILE"].rpartition("/")[2] != "journal.py"
        assert entry["CODE_LINE"].isdecimal()
        assert entry["CODE_FUNC"].isidentifier()


def test_entries_about_a_scan_say_which(entries):
    """Timelapse, state, slot, scan and attempt are fields of their own, so that no sentence has to be parsed."""
    scans = [entry for entry in entries if entry["ACTION"].startswith("scan_")]
    fields = ("TIMELAPSE_ID", "SCAN_ID", "SLOT", "ATTEMPT", "STATE")
    assert [tuple(entry[field] for field in fields) for entry in scans] == [
        ("tl", "tl_0", "0", "1", "running"),
        ("tl", "tl_0", "0", "1", "scheduled"),
        ("tl", "tl_1", "1", "1", "running"),
        ("tl", "tl_1", "1", "1", "scheduled"),
        ("tl", "tl_2", "2", "1", "running"),
        ("tl", "tl_2", "2", "1", "completed"),
    ]
    assert {entry["ACTION"] for entry in entries if "TIMELAPSE_ID" not in entry} <= WITHOUT_TIMELAPSE


def test_slot_is_found_by_its_number(good_run):
    """`journalctl -u plant-imager-timelapsed SLOT=1` shows the entries of slot 1, and no others."""
    lines = good_run.rig.journal_text("--output=cat", "--unit=plant-imager-timelapsed", "SLOT=1").splitlines()
    assert {line.split(":")[0] for line in lines} <= {"rig_warmup", "scan_started", "scan_succeeded"}
    assert [line for line in lines if line.startswith("scan_succeeded: tl_1 ")]
    assert not [line for line in lines if "tl_0" in line or "tl_2" in line]


def test_every_missed_slot_is_found_by_its_number_in_the_one_line_for_all(missed):
    """Five slots were missed: there is one entry, which has five SLOT fields."""
    (entry,) = missed.rig.journal("--unit=plant-imager-timelapsed", "ACTION=slot_skipped")
    assert entry["SLOT"] == ["1", "2", "3", "4", "5"]
    assert entry["PRIORITY"] == "4"
    assert [found["MESSAGE"] for found in missed.rig.journal("SLOT=3")] == [entry["MESSAGE"]]


def test_catalog_explains_what_a_person_may_have_to_act_on(missed):
    """`journalctl -x` says what happened, how the daemon handled it, and what to do."""
    said = missed.rig.journal_text("--catalog", "--unit=plant-imager-timelapsed", "ACTION=slot_skipped")
    assert "slot_skipped: 5 slots from " in said
    assert "Subject: " in said
    assert "Defined-By: timelapsed" in said
    assert "What to do: " in said


def test_secret_of_a_real_store_is_printed_nowhere(rig):
    """A controller's store has an api_token, which stays in the store alone, also with every detail logged."""
    service = TimelapseService(rig)
    store = half_done_store()
    store["extra"] |= {"db_url": "https://plants.example/", "api_token": SECRET}
    service.configure(options='[logging]\nlevel = "debug"')
    service.put(store)
    rig.boot()
    service.wait_for("scan_succeeded", "SLOT=6")
    service.systemctl("reload")
    service.ctl("cancel", "--why", "enough")
    service.wait_for("timelapse_cancelled")
    service.systemctl("stop")
    assert service.read()["extra"]["api_token"] == SECRET
    assert SECRET not in rig.run("journalctl", "--output=json", "--all", "--no-pager").stdout
    assert SECRET not in rig.run("systemctl", "show", service.unit).stdout
    for command in (("status",), ("status", "--json"), ("timeline",), ("log", "--output=verbose", "--no-pager")):
        assert SECRET not in service.ctl(*command)
    directory = rig.path(service.storage)
    found = {path.name for path in directory.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()}
    name = Path(service.store).name
    assert {name} <= found <= {name, f"{name}.bak"}
