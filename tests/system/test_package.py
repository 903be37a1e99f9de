"""The Debian package: installed, upgraded between scans, removed and purged, on every release."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from container import Rig
from debian import ADMINISTERED, BOOKWORM, INSTALL_WITHIN, SOURCES, base_root, on_every_release
from gate import Gate
from gated_rigs import GatedRig, assert_update_interrupts_no_scan, broken, newer, read_until, start_scanning
from packages import (
    HOOK,
    PACKAGE,
    apt_install,
    build_package,
    hook_scripts,
    install_file,
    other_version,
    python_package,
    refused_package,
)
from tree import CONFIG, SUPPORT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from debian import Release

UNIT = f"{PACKAGE}.service"
RELAY = "plant-imager-timelapse-relay.service"
CONFIGURATION = "/etc/plant-imager3-app"
TRUST = 'clock = "trust"\n'
ASK_NODE_EXPORTER = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:9100/metrics').read().decode())"


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> Path:
    """Return the package as the tree builds it, for this machine's architecture."""
    return build_package(tmp_path_factory.mktemp("package"))


@pytest.fixture(scope="module")
def newer_package(package) -> Path:
    """Return a package of a later version."""
    return other_version(package, "9.1", newer)


@pytest.fixture(scope="module")
def packaged(layers, debians, package) -> Iterator[Callable[[Release], tuple[Path, ...]]]:
    """Return a function that gives the layers of a machine on which the package was installed while it was off."""
    made: dict[Release, Rig] = {}

    def of(release: Release) -> tuple[Path, ...]:
        bare = debians[release].bare
        if release not in made:
            made[release] = Rig(layers, bare)
            made[release].write(f"{CONFIGURATION}/timelapsed.toml", TRUST)
            made[release].build(*apt_install(made[release], package))
        return (made[release].upper, *bare)

    yield of
    for builder in made.values():
        builder.remove()


@pytest.fixture
def machine(new_rig, packaged, release) -> Rig:
    """Return a machine that is on, with the package installed."""
    rig = new_rig(*packaged(release))
    rig.boot()
    return rig


@on_every_release
def test_upgrade_interrupts_no_scan(machine, package, newer_package):
    """The package makes a service that is up. While two rigs scan, a third one and the same version again restart none.

    An upgrade waits for the end of each one's scan, of which one is a second attempt.
    """
    assert [machine.show(UNIT, fact) for fact in ("ActiveState", "User", "UnitFileState")] == [
        "active",
        "plant-imager",
        "enabled",
    ]
    assert "no timelapse" in machine.run("timelapsectl", "status").stdout
    assert machine.path("/usr/share/man/man1/timelapsectl.1.gz").exists()
    assert "Subject: " in machine.run("journalctl", "--catalog", f"--unit={UNIT}").stdout
    rigs = start_scanning(machine, "left", "right", again="left")
    before = pids(machine)
    third = GatedRig(machine, "third")
    third.configure()
    third.systemctl("enable")
    third.systemctl("start")
    assert pids(machine) == {**before, third.unit: third.pid}
    before = pids(machine)
    assert set(before) == {UNIT, third.unit, *(each.unit for each in rigs)}
    machine.run("apt-get", "install", "--reinstall", "--yes", f"/root/{package.name}", within=INSTALL_WITHIN)
    assert pids(machine) == before
    assert_update_interrupts_no_scan(machine, rigs, *apt_install(machine, newer_package))
    assert not set(pids(machine).items()) & set(before.items())
    assert set(pids(machine)) == set(before)


def pids(machine: Rig) -> dict[str, str]:
    """Return the process of each daemon that is ready."""
    listed = machine.run("systemctl", "list-units", "--plain", "--no-legend", "--state=active", f"{PACKAGE}*.service")
    return {(unit := line.split()[0]): machine.show(unit, "MainPID") for line in listed.stdout.splitlines()}


def test_upgrade_that_does_not_become_ready_is_taken_back(machine, package):
    """The upgrade fails and says so; the rig runs on in the version before, and the next upgrade works as ever.

    Also where scripts of the old version fail at it.
    """
    bad = other_version(package, "9.2", broken())
    done = machine.run(*apt_install(machine, bad), check=False, within=INSTALL_WITHIN)
    assert done.returncode != 0
    assert f"{UNIT}: did not become ready; back to the version before" in done.stdout
    assert "the new version is not in use" in done.stdout + done.stderr
    assert machine.show(UNIT, "ActiveState") == "active"
    hook_scripts(machine)
    machine.write(HOOK, failing("old prerm upgrade", "old postrm upgrade"))
    done = machine.run(*install_file(machine, other_version(package, "9.3", newer)), within=INSTALL_WITHIN)
    assert calls(done).startswith("prerm upgrade, prerm failed-upgrade, ")
    assert "postrm upgrade, postrm failed-upgrade, postinst configure" in calls(done)
    assert f"restarted: {UNIT}" in done.stdout


def test_another_python_makes_another_environment_between_scans(machine, tmp_path):
    """The trigger of its path does it when dpkg unpacks it. Where that fails, the rig runs on, and that is said."""
    rigs = start_scanning(machine, "left")
    old = environments(machine)
    assert_update_interrupts_no_scan(machine, rigs, *install_file(machine, python_package(tmp_path, "1", "3 12")))
    new = environments(machine)
    assert (len(new), new != old) == (1, True)
    before = [rigs[0].pid, machine.show(UNIT, "MainPID")]
    unusable = python_package(tmp_path, "2", "3 99", "[ \"$3\" != venv ] || { echo 'no venv' >&2; exit 1; }")
    done = machine.run(*install_file(machine, unusable), check=False, within=INSTALL_WITHIN)
    assert done.returncode != 0
    assert "no environment can be made for this machine's Python: see above" in done.stderr
    assert f"after a correction: dpkg --configure {PACKAGE}" in done.stderr
    machine.run(*install_file(machine, python_package(tmp_path, "3", "3 12")), check=False, within=INSTALL_WITHIN)
    machine.run("dpkg", "--configure", "--pending", within=INSTALL_WITHIN)
    assert machine.run("dpkg", "--audit").stdout == ""
    assert [rigs[0].pid, machine.show(UNIT, "MainPID")] == before
    assert environments(machine) == new


def environments(machine: Rig) -> list[str]:
    """Return the names of the Python environments that there are."""
    return [path.name for path in machine.path(f"/opt/{PACKAGE}").iterdir() if not path.is_symlink()]


FAILED_UPGRADES = {
    ("new preinst upgrade",): "prerm upgrade, preinst upgrade, postrm abort-upgrade, postinst abort-upgrade",
    ("old prerm upgrade", "new prerm failed-upgrade"): "prerm upgrade, prerm failed-upgrade, postinst abort-upgrade",
    ("old postrm upgrade", "new postrm failed-upgrade"): (
        "prerm upgrade, preinst upgrade, postrm upgrade, postrm failed-upgrade, "
        "preinst abort-upgrade, postrm abort-upgrade, postinst abort-upgrade"
    ),
}
"""The calls that fail, and those that dpkg makes up to the state before."""


def calls(done: subprocess.CompletedProcess[str]) -> str:
    """Return the calls of maintainer scripts that dpkg has shown, without versions and names of other packages."""
    called = re.findall(rf"fork/exec \S+/(?:tmp\.ci/|{PACKAGE}\.)(\w+) \( ([\w-]+)", done.stderr)
    return ", ".join(f"{script} {call}" for script, call in called)


def test_failed_call_of_a_maintainer_script_leaves_the_rigs_as_they_were(machine, newer_package, tmp_path):
    """Upgrades, deconfigurations and removals are given up in many ways; what was stopped is started again."""
    left = GatedRig(machine, "left")
    left.configure()
    left.systemctl("start")  # and isn't enabled
    hook_scripts(machine)
    before, used = pids(machine), environments(machine)
    upgrade = install_file(machine, newer_package)
    for fails, made in FAILED_UPGRADES.items():
        machine.write(HOOK, failing(*fails))
        done = machine.run(*upgrade, check=False)
        assert (done.returncode, calls(done)) == (1, made)
        assert (pids(machine), environments(machine)) == (before, used)
    machine.path(HOOK).unlink()
    breaks = refused_package(tmp_path, "breaks", f"Breaks: {PACKAGE}")
    done = machine.run(*install_file(machine, breaks, "--auto-deconfigure"), check=False)
    assert calls(done) == "prerm deconfigure, preinst install, postinst abort-deconfigure"
    assert pids(machine) == before
    rival = refused_package(tmp_path, "rival", f"Conflicts: {PACKAGE}\nReplaces: {PACKAGE}")
    done = machine.run(*install_file(machine, rival), check=False)
    assert calls(done) == "prerm remove, preinst install, postinst abort-remove"
    assert set(pids(machine)) == set(before)
    machine.write(f"/etc/systemd/system/{left.unit}.d/stays.conf", "[Unit]\nRefuseManualStop=yes\n")
    machine.run("systemctl", "daemon-reload")
    done = machine.run("dpkg", "--debug=2", "--remove", PACKAGE, check=False)
    assert calls(done) == "prerm remove, postinst abort-remove"
    assert (set(pids(machine)), environments(machine)) == (set(before), used)
    assert machine.run("dpkg", "--audit").stdout == ""


def failing(*calls: str) -> str:
    """Return a `HOOK` with which these calls fail."""
    return f"case $1 in {'|'.join(call.replace(' ', chr(92) + ' ') for call in calls)}) exit 1 ;; esac\n"


def stopping_at(call: str) -> str:
    """Return a `HOOK` that says so and goes no further at this call."""
    return f'[ "$1" != "{call}" ] || {{ echo here; sleep infinity; }}\n'


def test_removal_that_was_killed_is_made_good_by_another_installation(machine, package):
    """What it had stopped runs again, also a rig that isn't enabled; without `--reinstall` apt does nothing."""
    left = GatedRig(machine, "left")
    left.configure()
    left.systemctl("start")
    before = set(pids(machine))
    hook_scripts(machine)
    machine.write(HOOK, stopping_at("old postrm remove"))
    with machine.running("dpkg", "--remove", PACKAGE) as process:
        read_until(process.stdout, "here")
    assert pids(machine) == {}
    machine.path(HOOK).unlink()
    install = ("apt-get", "--option=DPkg::Lock::Timeout=60", *apt_install(machine, package)[1:])  # dpkg dies just now
    refused = machine.run(*install, check=False, within=INSTALL_WITHIN)
    assert "you must manually run 'dpkg --configure -a'" in refused.stderr
    machine.run("dpkg", "--configure", "-a", within=INSTALL_WITHIN)
    assert f"{PACKAGE} is already the newest version" in machine.run(*install, within=INSTALL_WITHIN).stdout
    assert pids(machine) == {}
    machine.run(*install, "--reinstall", within=INSTALL_WITHIN)
    assert set(pids(machine)) == before
    assert machine.run("dpkg", "--audit").stdout == ""
    assert not machine.path(f"/run/{PACKAGE}.stopped").exists()


IMPATIENT = """\
#!/bin/sh
shift
"$@" &
until [ "$(systemctl is-active "$3")" = activating ]; do sleep 0.1; done
kill $!
exit 124
"""
"""A `timeout` whose time is over as soon as the start of a unit is under way, which ends the command as ever."""


def test_relay_that_is_slow_to_become_ready_goes_on_starting_when_the_upgrade_is_over(machine, newer_package):
    """The start is systemd's: it isn't ended with the command that has waited for it, and is of the new version."""
    gate = Gate(machine.path("/etc/gate"), within=INSTALL_WITHIN)
    machine.write(f"{CONFIGURATION}/timelapsed.toml", WITH_METRICS["config"])
    machine.run("systemctl", "start", RELAY, within=INSTALL_WITHIN)
    before = environments(machine)
    gate.shut()
    machine.write(f"/etc/systemd/system/{RELAY}.d/slow.conf", "[Service]\nExecStartPre=sh -c 'cat < /etc/gate'\n")
    machine.write("/usr/local/bin/timeout", IMPATIENT, mode=0o755)
    done = machine.run(*install_file(machine, newer_package), within=INSTALL_WITHIN)  # apt has a PATH of its own
    assert f"{RELAY}: goes on starting; see: systemctl status {RELAY}\nrestarted: {RELAY}\n" in done.stdout
    gate.wait_until_reached()
    start = machine.show(RELAY, "InvocationID")
    assert (machine.show(RELAY, "ActiveState"), machine.run("dpkg", "--audit").stdout) == ("activating", "")
    gate.open()
    machine.wait_until(
        lambda: machine.show(RELAY, "ActiveState") == "active", within=INSTALL_WITHIN, what="the relay is ready"
    )
    assert [machine.show(RELAY, fact) for fact in ("InvocationID", "NRestarts")] == [start, "0"]
    (new,) = environments(machine)
    python = machine.run("cat", f"/proc/{machine.show(RELAY, 'MainPID')}/cmdline").stdout
    assert (new not in before, python.startswith(f"/opt/{PACKAGE}/{new}/bin/")) == (True, True)


def test_power_cuts_during_an_upgrade_cost_no_slot(machine, newer_package):
    """Before the files are replaced, after it, and after the first restart: each boot goes on with the scans.

    In the end dpkg completes the upgrade, by the command that apt names; where no file was replaced yet, apt does.
    """
    rigs = start_scanning(machine, "left", "right")
    install, complete = apt_install(machine, newer_package), ("dpkg", "--configure", "--pending")

    def cut_off(command: tuple[str, ...], words: str) -> None:
        """Cut the power once a command has said that."""
        with machine.running(*command) as process:
            read_until(process.stdout, words)
            machine.power_cut()
        machine.boot()
        for rig in rigs:
            machine.wait_until(lambda rig=rig: rig.facts()["scanning"], what=f"{rig.name} scans again")

    machine.write(HOOK, stopping_at("new preinst upgrade"))
    cut_off(install, "here")
    machine.run(*complete, within=INSTALL_WITHIN)  # apt goes on only after that
    assert PACKAGE in machine.run("dpkg", "--audit").stdout
    machine.write(HOOK, stopping_at("new postinst configure"))
    cut_off(install, "here")
    machine.path(HOOK).unlink()
    cut_off(complete, "a scan of slot 0 is being taken")  # the rig without a name has no scan, and is the first
    for rig in rigs:
        rig.end_scan()
    machine.run(*complete, within=INSTALL_WITHIN)
    assert machine.run("dpkg", "--audit").stdout == ""
    machine.run(*install, within=INSTALL_WITHIN)
    for rig in rigs:
        machine.wait_until(lambda rig=rig: rig.records()[0]["status"] == "succeeded", what=f"{rig.name} has its slot")
    assert machine.run("dpkg", "--audit").stdout == ""
    assert len(environments(machine)) == 1
    assert set(pids(machine)) == {UNIT, *(rig.unit for rig in rigs)}


@on_every_release
def test_purge_leaves_the_timelapses(machine, package):
    """Removal keeps the configuration, also for the next installation; purging removes it. Data and account stay."""
    left = GatedRig(machine, "left")
    left.configure()
    left.systemctl("enable")
    left.systemctl("start")
    machine.run("touch", "/var/lib/plant-imager3-app/kept")
    machine.write(f"{CONFIGURATION}/of-another-program", "")
    machine.run("apt-get", "remove", "--yes", PACKAGE, within=INSTALL_WITHIN)
    assert [machine.show(unit, "LoadState") for unit in (UNIT, left.unit)] == ["not-found"] * 2
    assert machine.path(f"{CONFIGURATION}/timelapsed.toml").read_text() == TRUST
    assert not machine.path(f"/opt/{PACKAGE}").exists()
    machine.run(*apt_install(machine, package), within=INSTALL_WITHIN)
    assert [machine.show(UNIT, fact) for fact in ("ActiveState", "UnitFileState")] == ["active", "enabled"]
    assert machine.show(left.unit, "UnitFileState") == "enabled"
    assert machine.path(f"{CONFIGURATION}/timelapsed.toml").read_text() == TRUST
    said = machine.run("apt-get", "purge", "--yes", PACKAGE, within=INSTALL_WITHIN).stdout
    assert [machine.show(unit, "LoadState") for unit in (UNIT, left.unit)] == ["not-found"] * 2
    assert "left: /var/lib/plant-imager3-app" in said
    assert "left: /etc/plant-imager3-app, which holds other files" in said
    assert [path.name for path in machine.path(CONFIGURATION).iterdir()] == ["of-another-program"]
    assert machine.path("/var/lib/plant-imager3-app/kept").exists()
    assert machine.run("getent", "passwd", "plant-imager").returncode == 0
    assert machine.run("find", "/etc", "/usr", "-name", f"*{PACKAGE}*").stdout == ""


def test_package_and_installer_exclude_each_other(rig, machine, package):
    """Each refuses in a sentence, and changes nothing, where the other one has installed timelapsed."""
    rig.boot()
    refused = rig.run(*apt_install(rig, package), check=False)
    assert refused.returncode != 0
    assert "first: sudo systemd/install --uninstall" in refused.stdout + refused.stderr
    state = rig.run("dpkg-query", "--show", "--showformat=${db:Status-Status}", PACKAGE, check=False).stdout
    assert state in {"", "not-installed"}
    assert rig.show(UNIT, "FragmentPath") == f"/usr/local/lib/systemd/system/{UNIT}"
    subprocess.run(["cp", "-R", rig.path(SOURCES), machine.path(SOURCES)], check=True)
    for options in ((), ("--uninstall",)):
        refused = machine.run(f"{SOURCES}/systemd/install", "--wheels", f"{SOURCES}/wheels", *options, check=False)
        assert refused.returncode == 1
        assert f"first: apt remove {PACKAGE}" in refused.stderr
    assert machine.show(UNIT, "ActiveState") == "active"


@pytest.mark.skipif(shutil.which("lintian") is None, reason="not installed: lintian")
def test_lintian_finds_no_error(package):
    """Nor a warning: Debian's own judge of packages."""
    judged = subprocess.run(["lintian", "--allow-root", package], check=False, capture_output=True, text=True)
    assert [line for line in judged.stdout.splitlines() if line.startswith(("E:", "W:"))] == []
    assert judged.returncode == 0, judged.stderr


@pytest.fixture
def fleet(new_rig):
    """Return two machines that never had timelapsed."""
    root = base_root(BOOKWORM, ADMINISTERED)
    machines = [new_rig(root, hostname=name) for name in ("rig-1", "rig-2")]
    for machine in machines:
        machine.boot()
    return machines


WITH_METRICS = {"config": f"{TRUST}[relay.metrics]\n"}
NOTIFIED = {"config": f"{TRUST}[relay.metrics]\n[relay.notify]\n", "credentials": {"notify": "json://127.0.0.1"}}


def play(fleet, package, directory, *rigs):
    """Run the playbook for the rigs of each machine, and return how many changes it made on each."""
    hosts = {
        machine.run("hostname").stdout.strip(): {"ansible_host": str(machine.leader), "timelapsed_rigs": of_host}
        for machine, of_host in zip(fleet, rigs, strict=True)
    }
    variables = {
        "ansible_connection": "container",
        "ansible_become": False,
        "ansible_python_interpreter": "/usr/bin/python3",
        "timelapsed_package": str(package),
    }
    inventory = directory / "inventory.json"
    inventory.write_text(json.dumps({"rigs": {"hosts": hosts, "vars": variables}}))
    environment = {
        **os.environ,
        "ANSIBLE_CONNECTION_PLUGINS": str(SUPPORT / "ansible_plugins"),
        "ANSIBLE_LOCAL_TEMP": str(directory / "ansible"),
        "ANSIBLE_HOME": str(directory / "ansible-home"),
        "ANSIBLE_PIPELINING": "True",
        "LC_ALL": "C.UTF-8",
    }
    command = ["ansible-playbook", "--inventory", str(inventory), str(CONFIG / "fleet/ansible/rigs.yml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "json://127.0.0.1" not in done.stdout + done.stderr
    return [int(count) for count in re.findall(r"changed=(\d+)", done.stdout)]


@pytest.mark.skipif(shutil.which("ansible-playbook") is None, reason="needs ansible-playbook")
def test_playbook_sets_up_a_fleet_and_changes_nothing_the_second_time(fleet, package, tmp_path):
    """Daemons and relays of three rigs run, and node_exporter serves their figures; what is switched off is off."""
    rigs = {"default": NOTIFIED}, {"left": WITH_METRICS, "right": WITH_METRICS}
    assert all(play(fleet, package, tmp_path, *rigs))
    for machine, instances in zip(fleet, (("",), ("@left", "@right")), strict=True):
        for instance in instances:
            for service in ("plant-imager-timelapsed", "plant-imager-timelapse-relay"):
                machine.wait_until(
                    lambda machine=machine, unit=f"{service}{instance}.service": (
                        machine.show(unit, "ActiveState") == "active"
                    ),
                    within=INSTALL_WITHIN,
                    what=f"{service}{instance} runs",
                )
            rig = instance.lstrip("@") or "default"
            machine.wait_until(
                lambda machine=machine, line=f'timelapse_daemon_up{{rig="{rig}"}} 1': (
                    line in machine.run("python3", "-c", ASK_NODE_EXPORTER, check=False).stdout
                ),
                within=INSTALL_WITHIN,
                what=f"the figures of {rig}",
            )
    assert play(fleet, package, tmp_path, *rigs) == [0, 0]
    daemon, relay = "plant-imager-timelapsed", "plant-imager-timelapse-relay"
    kept = [(fleet[0], daemon), (fleet[1], f"{daemon}@left"), (fleet[1], f"{relay}@left")]
    before = [machine.show(unit, "MainPID") for machine, unit in kept]
    without_relay = {"config": f"{TRUST}#[relay.metrics]\n"}
    play(fleet, package, tmp_path, {"default": without_relay}, {**rigs[1], "right": {**WITH_METRICS, "runs": False}})
    assert [machine.show(unit, "MainPID") for machine, unit in kept] == before
    for machine, unit in ((fleet[0], relay), (fleet[1], f"{daemon}@right"), (fleet[1], f"{relay}@right")):
        facts = [machine.show(f"{unit}.service", fact) for fact in ("ActiveState", "UnitFileState")]
        assert facts == ["inactive", "disabled"]
