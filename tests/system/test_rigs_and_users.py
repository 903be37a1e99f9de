"""Several rigs on one host, a desktop user's own service, and the commands of people."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from container import COMMAND_WITHIN, Rig
from debian import SOURCES, on_every_release
from timelapse_service import TimelapseService, configuration, datasets_of, definition, half_done_store
from waiting import expiring

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator

    from container import Entry

DEMO_WITHIN = 120.0
"""Seconds that the demo may take; its timelapse takes half a minute."""


@pytest.fixture(scope="module", autouse=True)
def demo(layers, installed) -> Iterator[subprocess.Popen[str]]:
    """Return `timelapsectl demo`, which runs on a machine of its own during the module's other tests."""
    rig = Rig(layers, installed, hostname="demo")
    try:
        rig.boot()
        with rig.running("timelapsectl", "demo") as process:
            yield process
    finally:
        rig.remove()


def test_two_rigs_on_one_host_never_touch_each_others_store(rig):
    """Each instance of the template has its own timelapse and datasets; cancelling one does not change the other."""
    left, right = (TimelapseService(rig, name) for name in ("left", "right"))
    for service in (left, right):
        service.configure()
        service.define(service.name)
    rig.boot()
    rig.run("systemctl", "disable", "--now", "plant-imager-timelapsed.service")
    rig.run("systemctl", "enable", "--now", left.unit, right.unit)
    for service in (left, right):
        service.wait_for("timelapse_completed")
    assert [service.read()["timelapse_id"] for service in (left, right)] == ["left", "right"]
    assert datasets_of(left, "datasets-left") == {"left_0": 4, "left_1": 4, "left_2": 4}
    assert datasets_of(right, "datasets-right") == {"right_0": 4, "right_1": 4, "right_2": 4}
    before = rig.path(right.store).read_bytes()
    rig.write("/root/more.toml", definition("more", interval="1h"))
    left.ctl("start", "/root/more.toml")
    left.ctl("cancel", "--why", "test")
    left.systemctl("stop")
    assert left.read()["state"] == "cancelled"
    assert (right.read()["state"], rig.path(right.store).read_bytes()) == ("completed", before)
    assert right.show("ActiveState") == "active"
    assert not rig.path(f"{left.storage}/timelapse_storage.json").exists()
    named = rig.journal(f"_SYSTEMD_UNIT={right.unit}")
    assert {entry.get("TIMELAPSE_ID", "right") for entry in named} == {"right"}


def test_root_sees_and_controls_the_running_service(rig, service):
    """start, status, cancel and log work as root, on a service of another user."""
    rig.boot()
    assert "no timelapse" in service.ctl("status")
    rig.write("/root/my.toml", definition("mine", interval="1h"))
    assert "mine" in service.ctl("start", "/root/my.toml")
    service.wait_for("scan_succeeded", "SLOT=0")
    assert re.search(r"^mine\b.*scheduled", service.ctl("status"), re.MULTILINE)
    facts = service.facts()
    assert str(facts["daemon"]["pid"]) == service.show("MainPID")
    assert (facts["timelapse"]["id"], facts["timelapse"]["taken"], facts["troubles"]) == ("mine", 1, [])
    rig.write("/root/other.toml", definition("other", interval="1h"))
    refused = rig.run("timelapsectl", "start", "/root/other.toml", check=False)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "mine is active" in refused.stderr
    assert "mine is cancelled" in service.ctl("cancel", "--why", "wilted")
    assert service.outcomes() == ["succeeded", "skipped", "skipped"]
    lines = service.ctl("log", "--output=cat", "--no-pager", "ACTION=timelapse_cancelled").splitlines()
    assert lines == ["timelapse_cancelled: mine by root: wilted; 1 taken, 0 failed, 2 skipped"]


def test_pid_in_the_lock_makes_root_signal_no_other_process(rig, service):
    """The service's account may write any PID into the lock; root signals no process at all."""
    rig.boot()
    service.systemctl("stop")
    rig.run("systemd-run", "--unit=other", "sleep", "infinity")
    pid = rig.show("other.service", "MainPID")
    started = rig.run("cat", f"/proc/{pid}/stat").stdout.split()[21]
    rig.write(f"{service.store}.lock", f"{pid} {started}")
    rig.write("/root/next.toml", definition("next"))
    for command in (["start", "/root/next.toml"], ["rig", "home"]):
        refused = rig.run("timelapsectl", *command, check=False)
        assert refused.returncode == 69
        assert f"the daemon (PID {pid}) takes no requests" in refused.stderr
    assert rig.show("other.service", "ActiveState") == "active"


def test_commands_work_without_the_daemon_and_say_that_it_is_not_there(rig, service):
    """Status and timeline read the store; start is refused with the command that starts it, and leaves nothing."""
    service.define(n_shots=1)
    rig.boot()
    service.wait_for("timelapse_completed")
    service.systemctl("stop")
    assert (service.facts()["daemon"], service.outcomes()) == (None, ["succeeded"])
    assert "tl" in service.ctl("timeline")
    rig.write("/root/next.toml", definition("next", n_shots=1))
    left = rig.run("timelapsectl", "start", "/root/next.toml", check=False)
    assert left.returncode == 69
    assert "nothing was done: the service was stopped" in left.stderr
    assert "systemctl start plant-imager-timelapsed" in left.stderr
    service.systemctl("start")
    assert "tl" in service.ctl("status")
    rig.run("timelapsectl", "start", "/root/next.toml")
    service.wait_for("timelapse_completed", "TIMELAPSE_ID=next")
    assert service.outcomes() == ["succeeded"]


@on_every_release
def test_member_of_the_group_needs_no_sudo(rig, service):
    """Looks and acts as anybody in the group may; another user reads one clear sentence."""
    for user in ("ada", "eve"):
        rig.build("useradd", "--create-home", user)
    rig.build("usermod", "-aG", "plant-imager", "ada")
    for user in ("ada", "eve"):
        rig.write(f"/home/{user}/mine.toml", definition("mine", interval="1h"))
        rig.write(f"/home/{user}/other.toml", definition("other", interval="1h"))
        rig.build("chown", "-R", f"{user}:", f"/home/{user}")
    rig.boot()
    service.wait_for("idle")

    def ctl(*arguments: str, user: str = "ada"):
        return rig.run("timelapsectl", *arguments, user=user, check=False)

    checked = ctl("check", "/home/ada/mine.toml")
    assert (checked.returncode, "mine, 3 slots" in checked.stdout, "was not" in checked.stdout) == (0, True, False), (
        checked
    )
    started = ctl("start", "/home/ada/mine.toml")
    assert (started.returncode, "mine from /home/ada/mine.toml: 3 slots" in started.stdout) == (0, True), started
    entry = service.wait_for("definition_accepted")
    assert "timelapsectl start, by ada" in entry["MESSAGE"]
    service.wait_for("scan_succeeded", "SLOT=0")
    facts = json.loads(ctl("status", "--json").stdout)
    assert (facts["timelapse"]["id"], facts["timelapse"]["taken"], facts["troubles"]) == ("mine", 1, [])
    snapshot = ctl("rig", "snapshot", "--output", "/home/ada/")
    assert (snapshot.returncode, snapshot.stdout.count("/home/ada/")) == (0, 1), snapshot
    with rig.running("timelapsectl", "status", "--follow", user="ada") as shown, expiring(COMMAND_WITHIN, shown.kill):
        seen = iter(shown.stdout)
        assert any("1 taken" in line for line in seen)
        cancelled = ctl("cancel", "--why", "wilted")
        assert (cancelled.returncode, "mine is cancelled" in cancelled.stdout) == (0, True), cancelled
        assert any("cancelled" in line for line in seen)
    assert service.read()["extra"]["timelapsed"]["ending"]["who"] == "ada"
    verified = ctl("verify")
    assert (verified.returncode, verified.stdout.splitlines()[-1]) == (0, "no damage found"), verified
    assert f"{service.store}: mine, 3 slots" in verified.stdout
    assert ctl("start", "/home/ada/other.toml").returncode == 0
    assert ctl("names", "archives").stdout == "mine\n"
    drawn = ctl("timeline", "mine")
    assert (drawn.returncode, "mine" in drawn.stdout) == (0, True), drawn
    assert f"{service.storage}/history/mine.json: mine, 3 slots" in ctl("verify").stdout
    for command in (["status"], ["start", "/home/eve/mine.toml"], ["cancel"], ["rig", "home"], ["timeline", "mine"]):
        assert_refused(ctl(*command, user="eve"))
    service.systemctl("stop")
    stopped = ctl("start", "/home/ada/mine.toml")
    assert (stopped.returncode, "nothing was done: the service was stopped" in stopped.stderr) == (69, True)
    unjudged = ctl("verify")
    assert (unjudged.returncode, "2 things could not be judged" in unjudged.stdout) == (69, True), unjudged
    assert "systemctl start plant-imager-timelapsed" in unjudged.stdout
    service.systemctl("start")
    rig.run("gpasswd", "--delete", "ada", "plant-imager")
    for command in (["status"], ["cancel", "--yes"]):
        assert_refused(ctl(*command))
    assert service.read()["state"] == "scheduled"


def test_member_of_the_group_pauses_resumes_and_amends_in_mid_timelapse(rig, service):
    """No slot begins in the pause, which a restart keeps; an amendment leaves what was taken. All says by whom."""
    rig.build("useradd", "--create-home", "--groups", "plant-imager", "ada")
    for interval in ("1s", "2s"):
        rig.write(f"/home/ada/{interval}.toml", definition("mine", interval=interval, n_shots=3000))
    rig.boot()

    def ctl(*arguments: str) -> str:
        return rig.run("timelapsectl", *arguments, user="ada").stdout

    def next_entry(action: str, after: Entry, that: Callable[[Entry], bool] = bool) -> Entry:
        return rig.wait_for_entry(f"_SYSTEMD_UNIT={service.unit}", f"ACTION={action}", after=after, that=that)

    ctl("start", "/home/ada/1s.toml")
    service.wait_for("scan_succeeded", "SLOT=0")
    assert "mine is paused until timelapsectl resume" in ctl("pause")
    paused = service.wait_for("paused")
    assert "paused by ada" in paused["MESSAGE"]
    next_entry("slot_paused", paused)
    service.systemctl("restart")
    resumed = next_entry("resumed", paused)
    assert "; paused by ada until timelapsectl resume" in resumed["MESSAGE"]
    next_entry("slot_paused", resumed)
    assert "paused by ada since" in ctl("status")
    assert "mine goes on" in ctl("resume")
    ended = service.wait_for("pause_ended")
    assert "mine: by ada; next slot " in ended["MESSAGE"]
    first = next_entry("scan_succeeded", ended)
    actions = [entry["ACTION"] for entry in rig.journal(f"_SYSTEMD_UNIT={service.unit}")]
    assert "scan_started" not in actions[actions.index("paused") : actions.index("pause_ended")]
    skipped = [slot for slot, record in service.records().items() if record["reason"] == "paused"]
    assert sorted(skipped) == [*range(min(skipped), int(first["SLOT"]))]

    before = service.read()
    assert "mine is amended: " in ctl("amend", "--yes", "/home/ada/2s.toml")
    amended = service.wait_for("amended")
    assert "; by ada, from /home/ada/2s.toml" in amended["MESSAGE"]
    after, done = service.read(), before["next_idx"]
    assert (after["schedule_times"][:done], after["scans"][:done]) == (
        before["schedule_times"][:done],
        before["scans"][:done],
    )
    times = [datetime.fromisoformat(text) for text in after["schedule_times"]]
    gaps = [(later - earlier).total_seconds() for earlier, later in pairwise(times)]
    new = gaps.index(2) + 1
    assert (set(gaps[: done - 1]), set(gaps[new:]), times[-1] - times[0]) == ({1}, {2}, timedelta(seconds=2 * 2999))
    next_entry("scan_succeeded", amended, lambda entry: int(entry["SLOT"]) >= new)


def assert_refused(done: subprocess.CompletedProcess[str]) -> None:
    """Assert that a user who isn't in the group was told that, and how to come into it."""
    assert (done.returncode, done.stdout) == (1, "")
    assert "only root and members of the group plant-imager may ask this daemon" in done.stderr
    assert 'hint: sudo usermod -aG plant-imager "$USER", then log in again' in done.stderr


def test_status_goes_on_showing_a_scan_as_it_moves(rig, service):
    """`status --follow` prints again after each change."""
    rig.boot()
    with rig.running("timelapsectl", "status", "--follow") as shown, expiring(COMMAND_WITHIN, shown.kill):
        seen = iter(shown.stdout)
        assert any("no timelapse" in line for line in seen)
        service.define(n_shots=1)
        service.systemctl("reload")
        assert any("1 taken" in line for line in seen)


def test_user_unit_goes_on_with_the_store_in_that_users_home(bare_rig):
    """Ada's own service takes up the store that the controller wrote to her home, at boot, without a login."""
    home = "/home/ada"
    bare_rig.build("useradd", "--create-home", "ada")
    bare_rig.write(f"{home}/.config/plant-imager3-app/timelapsed.toml", configuration())
    store = f"{home}/.local/share/plant-imager3-app/timelapse_storage.json"
    found = half_done_store()
    bare_rig.write(store, json.dumps(found), mode=0o600)
    bare_rig.build("chown", "-R", "ada:", home)
    bare_rig.boot()
    bare_rig.run("loginctl", "enable-linger", "ada")
    bare_rig.run("systemctl", "start", "user@1000.service")
    bare_rig.run(f"{SOURCES}/systemd/install", "--user", "--wheels", f"{SOURCES}/wheels", user="ada")
    hers = "_SYSTEMD_USER_UNIT=plant-imager-timelapsed.service"
    taken = bare_rig.wait_for_entry(hers, "ACTION=scan_succeeded", "SLOT=6")
    assert taken["_UID"] == "1000"
    bare_rig.power_cut()
    bare_rig.boot()
    bare_rig.wait_for_entry(hers, "ACTION=resumed")
    ctl = f"{home}/.local/bin/timelapsectl"
    facts = json.loads(bare_rig.run(ctl, "status", "--json", user="ada").stdout)
    assert (facts["store"], facts["timelapse"]["id"]) == (store, found["timelapse_id"])
    assert facts["daemon"]["status"].startswith(found["timelapse_id"])
    (dataset,) = bare_rig.path(f"{home}/.local/share/plant-imager3-app/datasets").iterdir()
    assert dataset.name == facts["records"][0]["scan_id"]
    assert not bare_rig.path("/var/lib/plant-imager3-app").exists()


def test_demo_shows_a_power_cut_on_a_bare_machine(demo):
    """The first promise of the README: one command, without rig or service, and the demo finds all of it true."""
    said, _ = demo.communicate(timeout=DEMO_WITHIN)
    assert demo.returncode == 0, said
    assert "POWER CUT: SIGKILL for PID " in said
    assert "NOT TRUE" not in said
