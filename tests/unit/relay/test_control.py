"""The relay's control socket: who may ask, and that an act is in the ledger before it is answered."""

import json
import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from plantimager.timelapse.channel.control_client import Server, connect
from plantimager.timelapse.channel.control_request import Answer, Request
from plantimager.timelapse.channel.ledger import Ledger, LedgerEntry, Outcome
from plantimager.timelapse.channel.relay_status import SinkStatus, TargetStatus
from plantimager.timelapse.drivers.programs import environment
from plantimager.timelapse.relay import control
from plantimager.timelapse.relay.control import RelayControl
from plantimager.timelapse.relay.notify.outbox import MAX_TRIALS, Trials
from plantimager.timelapse.settings import places as places_module
from plantimager.timelapse.settings.places import Places

KEYS = ("tl_0 2026-06-22T08:00:00+00:00", "tl_1 2026-06-22T09:00:00+00:00")
ADA, EVE = 64_001, 64_002
CLIENT = """
import json, os, socket, sys
uid, groups = int(sys.argv[3]), [*map(int, sys.argv[4:])]
os.setgroups(groups)
os.setresgid(uid, uid, uid)
os.setresuid(uid, uid, uid)
with socket.socket(socket.AF_UNIX) as client:
    client.connect(sys.argv[1])
    client.sendall(sys.argv[2].encode() + b"\\n")
    print(client.makefile().readline())
"""


@pytest.fixture
def journal(monkeypatch):
    """Collect what the relay logs of requests."""
    lines = []
    monkeypatch.setattr(control, "log_relay", lambda action, words, **_: lines.append(f"{action.word}: {words}"))
    return lines


@pytest.fixture
def runtime():
    """Return a directory that other users may enter, as /run: those of pytest are closed to them."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


@pytest.fixture
def relay(tmp_path, runtime, clock, journal, monkeypatch):
    """Return the control of a relay of the machine with a target and a sink, and a ledger of two datasets."""
    (runtime / "plant-imager-timelapse-relay").mkdir()
    monkeypatch.setattr(places_module, "SYSTEM_RUNTIME", runtime)
    store = tmp_path / "lib/plant-imager3-app/timelapse_storage.json"
    places = Places(store=store, config_directories=(), runtime=runtime / "plant-imager3-app")
    ledger = Ledger(places.ledger("plantdb"))
    ledger.record(
        LedgerEntry(KEYS[0], Outcome.DELIVERED, "2026", size=5), LedgerEntry(KEYS[1], Outcome.REFUSED, "2026", why="no")
    )
    sinks = [
        SimpleNamespace(name="plantdb", status=TargetStatus(name="plantdb", taken=2, delivered=1, refused=1)),
        SimpleNamespace(name="heartbeat", status=SinkStatus(name="heartbeat", what="pings a monitor")),
    ]
    served = RelayControl(places, ["plantdb"], sinks, clock)
    served.open()
    yield SimpleNamespace(places=places, clock=clock, journal=journal)
    served.close()


def ask(relay, command, **body):
    """Ask as this process."""
    with connect(relay.places.relay_controls, {os.geteuid()}, relay.clock, None, Server.RELAY) as connection:
        return connection.ask(command, body)


def outcomes(relay):
    """Return what the ledger says, read afresh."""
    ledger = Ledger(relay.places.ledger("plantdb"))
    ledger.refresh()
    return {entry.scan_id: entry.outcome for entry in ledger.entries.values() if entry.key}


def ask_as(relay, uid, groups, **request):
    """Ask as another user, with a client that reads what comes."""
    line = json.dumps({"version": 1, "files": [], **request})
    done = subprocess.run(
        [sys.executable, "-I", "-c", CLIENT, str(relay.places.relay_control), line, str(uid), *map(str, groups)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd="/",
    )
    return json.loads(done.stdout) if done.stdout else done.stderr


def test_what_a_new_configuration_lacks_is_told_by_the_relay_itself(relay, tmp_path, monkeypatch):
    """In its sandbox and by its account: programs, libraries, secrets. Nothing of it is begun."""
    config = tmp_path / "timelapsed.toml"
    monkeypatch.setattr(Places, "find_config", lambda _: config)
    monkeypatch.setattr(environment, "SEARCH_PATH", "/nonexistent")
    config.write_text('[relay.deliver.lab]\nremote = "lab:plants"\nrclone_config = "/etc/hostname"\n')
    note, of_secret = ask(relay, "check").details["notes"]
    assert note.startswith('[relay.deliver.lab] remote = "lab:plants": rclone is not there, or the service')
    assert "sudo apt install rclone" in note
    assert of_secret.startswith("/etc/hostname: ")  # others can read it
    config.write_text(f'[relay.heartbeat]\nurl_file = "{tmp_path}/none"\n')
    (note,) = ask(relay, "check").details["notes"]
    assert note == f"{tmp_path}/none: the address of the monitor can't be read: no such file or directory"
    config.write_text('[relay.heartbeat]\nurl = "https://hc-ping.com/a"\n')
    assert ask(relay, "check").details["notes"] == []
    assert relay.journal == []


def test_targets_and_sinks_are_shown(relay):
    """The status as it is in memory, and the datasets that a target has not."""
    details = ask(relay, "status").details
    assert [target["name"] for target in details["targets"]] == ["plantdb"]
    assert [sink["name"] for sink in details["sinks"]] == ["heartbeat"]
    assert ask(relay, "deliver").message.splitlines() == [
        "1 of 2 delivered, 1 refused (plantdb), 1 kB",
        "  refused: tl_1 no",
    ]
    assert relay.journal == []


def test_an_act_is_in_the_ledger_when_it_is_answered(relay):
    """And the journal says who did it."""
    answer = ask(relay, "retry")
    assert outcomes(relay) == {"tl_0": Outcome.DELIVERED}
    assert (answer.accepted, answer.message) == (True, "1 refused dataset forgotten; all that waits is tried again")
    assert ask(relay, "forget", name="tl_0").message == "1 dataset forgotten; each is compared again"
    assert outcomes(relay) == {}
    who = os.environ.get("USER", "root") if os.geteuid() else "root"
    assert relay.journal == [
        f"delivery_asked: retry by {who}: 1 refused dataset forgotten; all that waits is tried again",
        f"delivery_asked: forget tl_0 by {who}: 1 dataset forgotten; each is compared again",
    ]


@pytest.mark.parametrize(
    ("request_body", "sentence"),
    [
        ({"command": "forget", "name": "tl_7"}, "no ledger has a dataset tl_7 that is still here"),
        ({"command": "forget", "name": 7}, "name: write that of a dataset or of a target"),
        ({"command": "forget"}, "name: write that of a dataset or of a target"),
        ({"command": "test"}, "no messages are configured"),
        ({"command": "x\n\x1b[2J"}, "the relay knows no request x"),
    ],
)
def test_what_there_is_nothing_of_is_refused_in_a_sentence(relay, request_body, sentence):
    """And changes nothing."""
    command, path = request_body.pop("command"), relay.places.ledger("plantdb")
    before = path.read_bytes()
    answer = ask(relay, command, **request_body)
    assert (answer.accepted, sentence in answer.message, "\x1b" in answer.message) == (False, True, False)
    assert path.read_bytes() == before


def test_an_act_that_the_disk_refuses_is_refused(relay):
    """It is not on disk, so it is not answered as done."""
    path = relay.places.ledger("plantdb")
    path.unlink()
    path.mkdir()
    answer = ask(relay, "retry")
    assert (answer.accepted, "plantdb.ledger" in answer.message or "regular file" in answer.message) == (False, True)
    assert relay.journal == []


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes other users")
def test_a_member_of_the_group_acts_without_sudo_and_is_named_by_the_kernel(relay):
    """Whatever the request says of who asks; another user reads nothing."""
    member = ask_as(relay, ADA, [os.getegid()], command="retry", sudo_user="mallory")
    assert (member["accepted"], member["message"][:9]) == (True, "1 refused")
    assert relay.journal[0].startswith(f"delivery_asked: retry by uid {ADA}: ")
    assert "PermissionError" in ask_as(relay, EVE, [], command="retry")
    assert relay.places.relay_control.stat().st_mode & 0o777 == 0o660


def test_a_socket_that_cannot_be_made_costs_no_delivery(tmp_path, clock, journal):
    """It is said."""
    store = tmp_path / "timelapse_storage.json"
    (tmp_path / "timelapse_storage.json.run").write_text("in its place")
    served = RelayControl(Places(store=store, config_directories=()), [], [], clock)
    served.open()
    served.close()
    assert [line.partition(":")[0] for line in journal] == ["request_refused"]
    assert "no request can come" in journal[0]


def test_without_a_target_there_is_nothing_to_try_again(tmp_path, clock, journal):
    """Nothing is asked of any ledger."""
    places = Places(store=tmp_path / "timelapse_storage.json", config_directories=())
    served = RelayControl(places, [], [], clock)
    served.open()
    relay = SimpleNamespace(places=places, clock=clock)
    assert [ask(relay, command).message.partition(";")[0] for command in ("deliver", "retry")] == [
        "no target is configured"
    ] * 2
    served.close()


def test_test_messages_that_wait_are_few_and_nobody_s_are_not_sent():
    """A service that hangs keeps them waiting."""
    sent, answers = [], []
    outbox = SimpleNamespace(
        rig="a", services=[SimpleNamespace(name="ntfy")], told=None, send=lambda *_: sent.append(1) or ""
    )
    trials = Trials(outbox)
    requests = [Request("test", {}, "ada", answers.append) for _ in range(MAX_TRIALS + 1)]
    for request in requests:
        trials.put(request)
    assert [answer.accepted for answer in answers] == [False]
    requests[0].withdraw()
    trials.answer(datetime(2026, 6, 22, tzinfo=UTC), lambda _: b"")
    assert len(sent) == MAX_TRIALS - 1
    assert answers[1:] == [Answer(accepted=True, message="ntfy: sent", details={"failed": False})] * (MAX_TRIALS - 1)
