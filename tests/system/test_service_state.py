"""`timelapsectl status` and `rigs` under a real systemd: why a service doesn't run, and whether the remedy mends it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import fuse_server
from debian import on_every_release
from timelapse_service import TimelapseService, configuration, definition
from tree import SYSTEMD

UNIT = "plant-imager-timelapsed"


def service_of(service: TimelapseService) -> dict:
    """Return what ``status --json`` says of the service."""
    return json.loads(service.ctl("status", "--json", check=False))["service"]


def test_status_shows_the_fault_of_a_configuration_and_a_start_mends_it(rig, service):
    """The fault itself; of one that is corrected since the journal knows it."""
    service.configure(configuration().replace('clock = "trust"', 'clock = "maybe"'))
    rig.boot()
    rig.wait_until(lambda: service.show("ActiveState") == "failed", what="the service has failed")
    shown = service.ctl("status")
    assert "service: failed (exit 78): a fault in a file ended it: " in shown
    assert 'clock = "maybe"' in shown
    assert f"hint: correct that, then systemctl start {UNIT}\n" in shown
    service.configure()
    state = service_of(service)
    assert 'clock = "maybe"' in state["why"]
    assert "it is corrected since" in state["why"]
    assert state["remedy"] == f"systemctl start {UNIT}"
    rig.run(*state["remedy"].split())
    service.wait_for("idle")
    assert service_of(service) is None


def test_status_knows_a_stopped_a_disabled_and_a_masked_service(rig, service):
    """Each has its command."""
    rig.boot()
    service.wait_for("idle")
    service.systemctl("stop")
    assert service_of(service)["why"] == "the service was stopped"
    service.systemctl("disable")
    assert service_of(service)["remedy"] == f"systemctl enable --now {UNIT}"
    service.systemctl("mask")
    state = service_of(service)
    assert (state["word"], state["remedy"]) == ("masked", f"systemctl unmask {UNIT}, then systemctl start {UNIT}")
    for command in state["remedy"].split(", then "):
        rig.run(*command.split())
    assert service_of(service) is None


LIMITED = ["[Unit]", "StartLimitIntervalSec=1h", "StartLimitBurst=2"]
STATES = {
    "203/EXEC": (["ExecStart=", "ExecStart=/nowhere"], "failed", "its program can't be run"),
    "226/NAMESPACE": (["ReadWritePaths=/nowhere"], "failed", "a directory that its unit or a drop-in names is missing"),
    "243/CREDENTIALS": (["LoadCredential=a:/nowhere"], "failed", "a secret that a drop-in names"),
    "resources": (["EnvironmentFile=/nowhere"], "failed", "systemd lacks something for it"),
    "core-dump": (["ExecStart=", "ExecStart=/bin/sh -c 'kill -SEGV $$$$'"], "failed", "signal 11 ended it"),
    "protocol": (["ExecStart=", "ExecStart=/bin/true"], "failed", "it ended before it was ready"),
    "start-limit-hit": (
        ["ExecStart=", "ExecStart=/bin/false", "Restart=always", "RestartSec=0", *LIMITED],
        "failed",
        "it ended with exit status 1; systemd has started it again 2 times and gave up",
    ),
    "condition": (
        ["[Unit]", "ConditionPathExists=/nowhere"],
        "not started",
        "systemd did not start the service: a con",
    ),
    "exec-condition": (["ExecCondition=/bin/false"], "not started", "systemd did not start the service: a program"),
    "dependency": (["[Unit]", "Requires=bad.service", "After=bad.service"], "", "can't start without bad.service"),
    "bad-setting": (["ExecStart=/bin/true"], "broken", "systemd can't load the service's unit: bad-setting"),
}
"""The lines of a drop-in, and the beginnings of word and reason."""


def test_every_way_in_which_systemd_leaves_the_service_has_its_word_and_remedy(rig, service):
    """As drop-ins bring it about, with a real systemd; afterwards the service starts again."""
    rig.boot()
    service.wait_for("idle")
    units = "/etc/systemd/system"
    rig.write(f"{units}/bad.service", "[Service]\nType=oneshot\nExecStart=/bin/false\n")
    drop_in = f"{units}/{service.unit}.d/state.conf"
    found = {}
    verbs = (f"stop {service.unit}", f"reset-failed {service.unit}", "daemon-reload", f"start {service.unit}")
    renew = "; ".join(f"systemctl {verb}" for verb in verbs)
    for name, (settings, *_) in STATES.items():
        rig.write(drop_in, "\n".join(["[Service]", "Restart=no", *settings, ""]))
        rig.run("sh", "-c", renew, check=False)
        rig.wait_until(lambda: service.show("ActiveState") not in {"activating", "deactivating"}, what=name)
        found[name] = service_of(service)
    rig.path(drop_in).unlink()
    rig.run("sh", "-c", renew)
    assert service_of(service) is None
    for name, (_, word, why) in STATES.items():
        assert found[name]["word"].startswith(word), (name, found[name])
        assert why in found[name]["why"], (name, found[name])
        assert found[name]["remedy"], (name, found[name])


def test_store_of_another_owner_is_named_and_the_remedy_mends_it(rig, service):
    """A backup that root has put back belongs to root: the service can't read it, and is restarted in vain."""
    service.define(n_shots=1)
    rig.boot()
    service.wait_for("timelapse_completed")
    service.systemctl("stop")
    rig.run("chown", "root:", service.store)
    rig.run("systemctl", "start", service.unit, check=False)
    rig.wait_until(lambda: service.show("NRestarts") not in ("", "0"), what="it is restarted")
    state = service_of(service)
    assert f"{service.store} belongs to root, mode 0600, but the service runs as plant-imager" in state["why"]
    assert state["remedy"] == f"chown plant-imager: {service.store}"
    assert state["restarts"] > 0
    rig.run(*state["remedy"].split())
    rig.wait_until(lambda: service.show("ActiveState") == "active", what="it runs")
    assert service.facts()["timelapse"]["state"] == "completed"


SERVER = "/usr/local/lib/fuse_server.py"
SCANS = "/srv/scans"


@on_every_release
def test_start_that_waits_for_a_server_that_is_away_names_its_directory(rig, service):
    """Systemd itself looks at the datasets' directory, so that no daemon is there yet to say what it waits for."""
    service.configure(f'datasets = "{SCANS}/pictures"\n{configuration()}')
    rig.write(SERVER, Path(fuse_server.__file__).read_text())
    rig.write(f"/etc/systemd/system/{service.unit}.d/datasets.conf", (SYSTEMD / "examples/datasets.conf").read_text())
    rig.path(SCANS).mkdir()
    rig.boot()
    service.wait_for("idle")
    service.systemctl("stop")
    with rig.running("python3", SERVER, SCANS) as server:
        pid = server.stdout.readline().strip()
        assert pid.isdigit(), pid + server.stdout.read()
        rig.run("ls", SCANS)
        rig.run("sh", "-c", f"kill -STOP {pid}")
        try:
            rig.run("systemctl", "start", "--no-block", service.unit)

            def find_state() -> dict | None:
                found = service_of(service)
                return found if found is not None and "answer" in found["why"] else None

            state = rig.wait_until(find_state, what="the status has a reason")
            assert re.fullmatch(
                r"the service is starting: systemd has been preparing it since \d\d:\d\d(:\d\d)?, "
                rf"the daemon itself hasn't begun, and {SCANS} doesn't answer",
                state["why"],
            )
            assert state["word"] == "starting"
            assert state["remedy"] == f"see to the disk or the server of {SCANS}; the start goes on when it answers"
        finally:
            rig.run("sh", "-c", f"kill -CONT {pid}")
        rig.wait_until(lambda: service.show("ActiveState") == "active", what="the start goes on")
        assert service_of(service) is None


@on_every_release
def test_start_that_waits_for_another_unit_names_that(rig, service):
    """At boot, as behind a mount that datasets.conf names."""
    slow = f"[Unit]\nBefore={service.unit}\n[Service]\nType=oneshot\nExecStart=/bin/sleep infinity\n"
    rig.write("/etc/systemd/system/slow.service", f"{slow}[Install]\nWantedBy=multi-user.target\n")
    rig.build("systemctl", "enable", "slow.service")
    rig.boot(until_up=False)

    def find_state() -> dict | None:
        found = service_of(service)
        return found if found is not None and "slow.service" in found["why"] else None

    state = rig.wait_until(find_state, what="the status has a reason")
    assert (state["word"], state["why"]) == (
        "starting",
        "the service is to be started: systemd waits with that for slow.service",
    )
    rig.run("systemctl", "stop", "slow.service")
    rig.wait_until(lambda: service.show("ActiveState") == "active", what="the start goes on")
    assert service_of(service) is None


def give_own_service(rig, user: str) -> None:
    """Have a user's own service run, from the programs of the machine; it takes its first slot."""
    home = f"/home/{user}"
    rig.write(f"{home}/.config/plant-imager3-app/timelapsed.toml", configuration())
    rig.write(f"{home}/.config/plant-imager3-app/timelapse.toml", definition("hers", interval="1h"))
    rig.write(f"{home}/.config/systemd/user/{UNIT}.service", (SYSTEMD / f"user/{UNIT}.service").read_text())
    rig.run("install", "-d", f"{home}/.local/share/{UNIT}")
    rig.run("ln", "-s", f"/opt/{UNIT}/bin", f"{home}/.local/share/{UNIT}/bin")
    rig.run("chown", "-R", f"{user}:", home)
    rig.run("loginctl", "enable-linger", user)
    rig.run("systemctl", "start", f"user@{rig.run('id', '-u', user).stdout.strip()}.service")
    rig.run("systemctl", "--user", "start", UNIT, user=user)
    rig.wait_for_entry(f"_SYSTEMD_USER_UNIT={UNIT}.service", "ACTION=scan_succeeded")


def test_every_rig_of_the_machine_has_its_line(rig, service):
    """The default one, two instances, one that only has a unit, and a user's own; each sees what it may.

    What a link in a user's home leads to is no rig of that user.
    """
    left = TimelapseService(rig, "left")
    left.configure()
    left.define("left", interval="1h")
    TimelapseService(rig, "faulty").configure('driver = "grlb"\n')
    rig.build("useradd", "--create-home", "ada")
    rig.boot()
    rig.run("systemctl", "enable", "--now", left.unit)
    rig.run("systemctl", "start", f"{UNIT}@faulty.service", check=False)
    left.wait_for("scan_succeeded", "SLOT=0")
    rigs = {found["rig"]: found for found in json.loads(service.ctl("rigs", "--json"))["rigs"]}
    assert [*rigs] == [None, "faulty", "left"]
    assert rigs["left"]["state"].startswith("slot 1 of 3, in ")
    assert rigs["left"]["last"] == "0: taken, 4 pictures"
    assert rigs["faulty"]["state"] == "failed (exit 78)"
    assert 'driver = "grlb": no such driver' in rigs["faulty"]["trouble"]
    assert rigs[None]["state"] == "no timelapse"
    hers = json.loads(rig.run("timelapsectl", "rigs", "--json", user="ada").stdout)["rigs"]
    assert [found["rig"] for found in hers] == [None, "faulty", "left"]
    assert "only root and members of the group plant-imager may ask this daemon" in hers[0]["error"]
    assert hers[0]["state"] == "running"
    give_own_service(rig, "ada")
    for user in ("", "ada"):
        rigs = json.loads(rig.run("timelapsectl", "rigs", "--json", user=user).stdout)["rigs"]
        assert [(found["rig"], found["scope"], found["user"]) for found in rigs] == [
            *((name, "system", None) for name in (None, "faulty", "left")),
            (None, "user", "ada"),
        ]
        assert rigs[-1]["state"].startswith("slot 1 of 3, in "), rigs[-1]
        assert rigs[-1]["last"] == "0: taken, 4 pictures"
        assert "ada's own" in rig.run("timelapsectl", "rigs", user=user).stdout
    rig.run("systemctl", "--user", "stop", UNIT, user="ada")
    rig.run("rm", "-r", "/home/ada/.local")
    rig.run("ln", "-s", "/srv/of-root", "/home/ada/.local")
    rig.run("install", "-d", "/srv/of-root/share/plant-imager3-app")
    assert "ada's own" not in rig.run("timelapsectl", "rigs").stdout
    refused = rig.run("timelapsectl", "--rig", "lfet", "status", check=False)
    assert (refused.returncode, refused.stdout) == (78, "")
    assert refused.stderr.endswith("hint: there are default (without --rig), faulty, left\n")


def test_user_without_rights_learns_what_systemd_knows_and_whose_the_store_is(rig, service):
    """Both take no rights, and are half of the answer."""
    rig.build("useradd", "--create-home", "ada")
    service.configure(configuration().replace('clock = "trust"', 'clock = "maybe"'))
    rig.boot()
    rig.wait_until(lambda: service.show("ActiveState") == "failed", what="the service has failed")
    rig.run("install", "-d", "-o", "plant-imager", "-m", "0700", service.storage)
    done = rig.run("timelapsectl", "--system", "status", user="ada", check=False)
    assert done.returncode == 1
    assert 'clock = "maybe"' in done.stdout
    assert f"hint: correct that, then sudo systemctl start {UNIT}\n" in done.stdout
    assert f"{service.storage} belongs to plant-imager, mode 0700, and this is ada" in done.stderr
