"""Moving and mending by the commands of timelapsed(8): another machine, a store from a backup, a failed slot."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

from debian import SOURCES
from timelapse_service import TimelapseService, datasets_of
from tree import MANUALS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from container import Rig


INSTALLED_WITHIN = 300.0
"""Seconds that the longest command may take: the installer makes a Python environment."""


def commands(section: str) -> Iterator[tuple[str, str]]:
    """Yield the commands of a section of the page, each behind its prompt, as a person reads them."""
    page = (MANUALS / "timelapsed.8").read_text()
    text = re.split(r"^\.S[SH] ", page.partition(f".SS {section}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    for block in re.findall(r"^\.EX\n(.*?)^\.EE$", text, re.MULTILINE | re.DOTALL):
        for line in block.replace("\\-", "-").splitlines():
            found = re.fullmatch(r"(\w*)# (.+)", line)
            assert found, line
            yield found[1], found[2]


def follow(rig: Rig, command: str) -> str:
    """Run a command of the page as root's shell does; return what it writes."""
    return rig.run("sh", "-c", command, within=INSTALLED_WITHIN).stdout


def test_rig_goes_on_on_another_machine(rig, service, bare_rig):
    """Store, archive, datasets and configuration come along; the slots that are left are taken there."""
    service.configure()
    service.define(interval="20s", n_shots=4, grace=600)
    rig.boot()
    service.wait_for("scan_succeeded", "SLOT=0")
    moved, said = TimelapseService(bare_rig), ""
    bare_rig.build("useradd", "--system", "someone")  # takes the number that the account has on the old machine
    bare_rig.boot()
    for prompt, command in commands("A rig to another machine"):
        if "tar xzf" in command:
            shutil.copy(rig.path("/root/rig.tgz"), bare_rig.path("/root/rig.tgz"))
        here = command.replace("systemd/install", f"{SOURCES}/systemd/install --wheels {SOURCES}/wheels")
        said = follow(rig if prompt == "old" else bare_rig, here)
    assert re.search(r"^tl\b", said)
    moved.wait_for("timelapse_completed")
    assert moved.outcomes()[0] == "succeeded"
    assert set(datasets_of(moved)) >= {"tl_0"}
    assert {"succeeded", "skipped"} >= set(moved.outcomes())
    assert len(moved.outcomes()) == 4
    assert bare_rig.run("stat", "--format=%U", moved.store).stdout == "plant-imager\n"
    assert rig.run("systemctl", "is-active", service.unit, check=False).stdout == "inactive\n"


def test_store_comes_back_from_a_backup(rig, service):
    """The service can read it, and goes on with what it says."""
    service.configure()
    service.define(interval="1h", n_shots=2)
    rig.boot()
    service.wait_for("scan_succeeded", "SLOT=0")
    rig.run("cp", service.store, "/root/backup.json")
    service.ctl("cancel", "--why", "by mistake")
    assert service.read()["state"] == "cancelled"
    said = [follow(rig, command) for _, command in commands("A store from a backup")]
    assert re.search(r"^tl\b.*scheduled", said[-1])
    assert service.show("ActiveState") == "active"
    assert service.read()["state"] == "scheduled"
    assert rig.run("stat", "--format=%U %a", service.store).stdout == "plant-imager 600\n"
    assert rig.path(f"{service.store}.before").exists()


def test_commands_for_a_failed_slot_say_why_and_whether_the_rig_works(rig, service):
    """Each runs as it stands there, and the next slot stays where it was."""
    service.configure(options="fail = [0]")
    service.define(interval="1h", n_shots=2)
    rig.boot()
    service.wait_for("scan_failed", "SLOT=0")
    *looks, trying = [command for _, command in commands("A slot failed: what now")]
    status, log, check = (follow(rig, command) for command in looks)
    reason = service.records()[0]["error"]
    assert f"trouble: the last slot, 0, failed: {reason}" in status
    assert reason in log
    assert "What to do" in log or "scan_failed" in log
    assert "answers" in check
    service.configure()  # "correct what the message names"
    service.systemctl("reload")
    service.wait_for("reloaded")
    assert "picture" in follow(rig, trying)
    assert service.outcomes() == ["failed"]
    assert service.facts()["timelapse"]["next_slot"] == 1
