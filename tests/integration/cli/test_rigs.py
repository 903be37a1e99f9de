"""`timelapsectl rigs` and `names`: every rig of a host, a line each, and what completion offers."""

import json
import os
import re
import shutil
import signal
import subprocess
from datetime import UTC, datetime, timedelta

import pytest
from daemon_process import CTL, PLAINLY
from looked_at import NOON, doubt
from msgspec.structs import replace
from tree import STORES

from plantimager.timelapse.channel.doubt import Doubt
from plantimager.timelapse.channel.lock import InstanceLock
from plantimager.timelapse.channel.relay_status import (
    RelayStatus,
    SinkStatus,
    TargetStatus,
    relay_status_path,
    write_relay_status,
)
from plantimager.timelapse.settings.places import RELAY

HOUR = timedelta(hours=1)
WORKED_AT = datetime(2026, 6, 22, 8, tzinfo=UTC)


def rows(done):
    """Return the lines of the table by the names of the rigs, each as its cells."""
    assert (done.returncode, done.stderr) == (0, "")
    return {line.split()[0]: re.split(r" {2,}", line.strip()) for line in done.stdout.splitlines()[1:]}


@pytest.fixture
def rigs(host):
    """Return a host with a default rig, one that only has a store, and one that only has a configuration."""
    host.copy_store("interval-utc-interrupted.json")
    shutil.copy(STORES / "interval-completed.json", host.store.with_name("timelapse_storage-north.json"))
    (host.files / "east").mkdir()
    (host.files / "east" / "timelapsed.toml").write_text("clock = 5\n")
    return host


def test_every_rig_has_a_line(rigs):
    """Found by its store or by its configuration; each says state, last outcome and trouble."""
    done = rigs.ctl("rigs")
    table = rows(done)
    assert [*table] == ["default", "east", "north"]
    assert done.stdout.splitlines()[0].split() == ["rig", "timelapse", "state", "last", "relay", "trouble"]
    assert table["north"][1:3] == ["done_tl", "not running"]
    assert "taken" in table["north"][3]
    assert table["east"][1] == "–"
    assert table["north"][4] == "–"
    assert "clock = 5" in table["east"][5]
    assert len(done.stdout.splitlines()) == 4


def test_running_rig_says_what_it_does(host):
    """The next slot, and how far a scan is."""
    with host.daemon():
        host.ctl("start", host.define(interval='"1h"', n_shots=3))
        state = json.loads(host.ctl("rigs", "--json").stdout)["rigs"][0]["state"]
        assert re.match(r"scanning slot 0|slot 1 of 3, in ", state)


def test_definition_that_waits_is_shown_with_the_reason_until_it_begins(host):
    """By `status`, its JSON and `rigs`, of a daemon that runs: its last store can't be archived yet."""
    host.copy_store("interval-completed.json")
    history = host.store.with_name("history")
    history.write_text("")
    shutil.copy(host.define(), host.files / "timelapse.toml")
    with host.daemon(until="begins as soon as it can") as daemon:
        words = f"the store of done_tl can't be put into {history}: "
        (note,) = (
            line for line in host.ctl("status").stdout.splitlines() if line.startswith("note: definition waits ")
        )
        assert words in note
        assert note.endswith("; col0_ld begins as soon as it can")
        assert note.removeprefix("note: ") in json.loads(host.ctl("status", "--json").stdout)["notes"]
        assert rows(host.ctl("rigs"))["default"][-1] == note.removeprefix("note: ")
        history.unlink()
        daemon.send_signal(signal.SIGHUP)  # it tries by itself, too, but not at once
        host.wait_for(lambda store: store["timelapse_id"] == "col0_ld", "the definition begins")
        assert "definition waits" not in host.ctl("status").stdout


def test_rigs_as_json_have_the_whole_status(rigs):
    """Programs get what `status --json` has of each."""
    facts = json.loads(rigs.ctl("rigs", "--json").stdout)
    assert facts["version"] == 1
    assert [rig["rig"] for rig in facts["rigs"]] == [None, "east", "north"]
    north = facts["rigs"][2]
    assert north["status"]["timelapse"]["id"] == "done_tl"
    assert (north["error"], north["scope"], north["user"]) == (None, "own", None)


def test_relay_that_does_not_get_through_is_a_trouble_of_its_rig(rigs):
    """With when it last worked, which its line says of all that is set up; a stopped one is no trouble."""
    directory = rigs.store.parent.parent / RELAY / "north"
    directory.mkdir(parents=True)
    sinks = SinkStatus(name="notify", what="messages to mail", worked_at=WORKED_AT, trouble="mail: no route to host")
    targets = TargetStatus(name="lab", taken=3, delivered=1, trouble="it refuses the password")
    write_relay_status(directory, RelayStatus(pid=os.getpid(), targets=(targets,), sinks=(sinks,)))
    lock = InstanceLock(relay_status_path(directory))
    lock.acquire()
    said = json.loads(rigs.ctl("rigs", "--rig", "north", "--json").stdout)["rigs"][0]
    assert said["trouble"] == "relay: lab: it refuses the password (and 1 more)"
    assert said["relay"][0] == "1 of 3 delivered (lab: it refuses the password)"
    assert said["relay"][1].startswith("messages to mail, last worked ")
    heartbeat = SinkStatus(name="heartbeat", what="pings every 300 s")
    write_relay_status(directory, RelayStatus(pid=os.getpid(), sinks=(sinks, heartbeat)))
    assert re.fullmatch(r"notify \S.*\d\d:\d\d, heartbeat", rows(rigs.ctl("rigs"))["north"][4])
    assert rows(rigs.ctl("rigs"))["north"][-1].startswith("relay: notify: mail: no route to host, last worked ")
    lock.release()
    assert rows(rigs.ctl("rigs"))["north"][-1] == "–"
    assert re.fullmatch(r"notify \S.*\d\d:\d\d, heartbeat \(not running\)", rows(rigs.ctl("rigs"))["north"][4])


def test_doubtful_pictures_are_a_trouble_of_their_rig_and_have_a_line_in_its_status(rigs):
    """As long as they are; all cameras in one, and JSON has each. A relay that is stopped says nothing of now."""
    directory = rigs.store.parent.parent / RELAY / "north"
    directory.mkdir(parents=True)
    doubts = (doubt(slots=2), doubt("camera_1", since=NOON + HOUR), doubt("camera_1", verdict="same", is_over=True))
    look = SinkStatus(name="look", what="pictures of 3 scans looked at", doubts=doubts)
    write_relay_status(directory, RelayStatus(pid=os.getpid(), sinks=(look,)))
    lock = InstanceLock(relay_status_path(directory))
    lock.acquire()
    words = rows(rigs.ctl("rigs"))["north"][-1]
    assert re.fullmatch(r"2 slots doubtful \(dark\) since 22 Jun (2026 )?\d\d:\d0", words)
    lines = rigs.ctl("--rig", "north", "status").stdout.splitlines()
    assert f"relay: {words}; see timelapse-relay(8)" in lines
    for facts in (
        json.loads(rigs.ctl("--rig", "north", "status", "--json").stdout),
        json.loads(rigs.ctl("rigs", "--rig", "north", "--json").stdout)["rigs"][0],
    ):
        found = [(one["camera"], one["verdict"], one["is_over"]) for one in facts["doubtful"]]
        assert found == [("camera_0", "dark", False), ("camera_1", "dark", False), ("camera_1", "same", True)]
        assert facts["doubtful"][0].keys() == {*Doubt.__struct_fields__}
    over = replace(look, doubts=tuple(replace(one, is_over=True) for one in doubts))
    write_relay_status(directory, RelayStatus(pid=os.getpid(), sinks=(over,)))
    assert rows(rigs.ctl("rigs"))["north"][-1] == "–"
    assert not any(words in line for line in rigs.ctl("--rig", "north", "status").stdout.splitlines())
    write_relay_status(directory, RelayStatus(pid=os.getpid(), sinks=(look,)))
    lock.release()
    assert rows(rigs.ctl("rigs"))["north"][-1] == "–"
    assert json.loads(rigs.ctl("--rig", "east", "status", "--json").stdout).get("doubtful", []) == []


def test_store_that_can_not_be_read_has_its_line_all_the_same(rigs):
    """With the reason; the other rigs are shown."""
    rigs.store.chmod(0)
    command = [*PLAINLY, *CTL, "rigs"]
    done = subprocess.run(command, env=rigs.environment, capture_output=True, text=True, check=False)
    table = rows(done)
    assert [*table] == ["default", "east", "north"]
    assert "mode 0000" in table["default"][-1]
    assert rows(rigs.ctl("rigs"))["north"][1] == "done_tl"


def test_running_rig_whose_store_is_closed_says_what_it_does(host):
    """Its daemon is asked: a member of the group may not read the store."""
    with host.daemon():
        assert host.ctl("start", host.define(interval='"1h"', n_shots=3)).returncode == 0
        host.wait_for(lambda store: store["next_idx"] == 1, "slot 0 is taken")
        host.store.chmod(0)
        done, slots = (
            subprocess.run([*PLAINLY, *command], env=host.environment, capture_output=True, text=True, check=False)
            for command in (host.command("rigs"), host.command("names", "slots"))
        )
    assert slots.stdout == "0\n"
    row = rows(done)["default"]
    assert (row[1], row[2].startswith("slot 1 of 3, in "), row[-1]) == ("col0_ld", True, "–")


def test_corrupt_store_has_its_line_all_the_same(rigs):
    """The line says what is wrong with it."""
    rigs.store.write_text("{")
    assert "not JSON" in rows(rigs.ctl("rigs"))["default"][-1]


def test_host_without_a_rig_says_how_to_begin(host):
    """An empty table would look like a fault."""
    shutil.rmtree(host.files)
    assert "no rig on this host; see what one does with timelapsectl demo" in host.ctl("rigs").stdout


def test_rig_that_is_not_there_is_refused_with_those_that_are(rigs):
    """A mistyped name would show an empty rig, or start a timelapse that nothing takes."""
    for command in (
        ["status"],
        ["timeline"],
        ["cancel"],
        ["start", rigs.define()],
        ["rig", "check"],
        ["verify"],
        ["rigs"],
    ):
        done = rigs.ctl("--rig", "nroth", *command)
        assert (done.returncode, done.stdout) == (78, "")
        assert done.stderr == "error: there is no rig nroth\nhint: there are default (without --rig), east, north\n"
    assert rigs.ctl("--rig", "north", "status").returncode == 0
    assert rigs.ctl("--rig", "east", "status").returncode == 0


def test_rig_whose_daemon_runs_is_known_before_it_has_a_store(host):
    """Its lock is there."""
    environment = {**host.environment, "PI3_TIMELAPSE_FILE_NAME": ""}
    host.store.parent.mkdir(parents=True)
    host.store.with_name("timelapse_storage-west.json.lock").touch()
    done = subprocess.run([*CTL, "names", "rigs"], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "west\n"


def test_names_are_what_completion_offers(rigs):
    """Rigs, timelapses that can be drawn, and slots that have a record; nothing where there is none."""
    assert rigs.ctl("names", "rigs").stdout.split() == ["east", "north"]
    history = rigs.store.with_name("history")
    history.mkdir()
    (history / "drought-1.json").touch()
    (history / "a b\x1b.json").touch()
    assert rigs.ctl("names", "archives").stdout.split() == ["drought-1"]
    n_records = len(json.loads(rigs.ctl("status", "--json", "-n", "99").stdout)["records"])
    assert rigs.ctl("names", "slots").stdout.split() == [str(slot) for slot in range(n_records)]
    rigs.store.unlink()
    done = rigs.ctl("names", "slots")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_file_names_by_others_are_no_rigs(host):
    """Only names that `--rig` takes; anything may lie in the directory."""
    host.store.parent.mkdir(parents=True)
    for name in (".json", "-.hidden.json", "-a b.json", "-ok.json", "-\x1b[31m.json", "-" + "x" * 65 + ".json"):
        host.store.with_name(f"timelapse_storage{name}").write_text("{}")
    os.mkfifo(host.store.with_name("timelapse_storage-fifo.json"))
    assert host.ctl("names", "rigs").stdout.split() == ["fifo", "ok"]
    assert "FIFO" in host.ctl("rigs").stdout
