"""What the daemon says of its archive and its store to people who may not read them: bounded, and without secrets."""

import json
import threading
from types import SimpleNamespace

import pytest
from tree import STORES
from waiting import wait_until

from plantimager.timelapse.channel.control_request import Request
from plantimager.timelapse.channel.served_client import MAX_CLIENTS
from plantimager.timelapse.daemon import stored_files
from plantimager.timelapse.daemon.request_handler import answers_beside
from plantimager.timelapse.settings.places import Places
from plantimager.timelapse.store.loading import read_timelapse

PATIENCE = 60.0
SECRET = "s3cret-token"


@pytest.fixture
def rig(tmp_path):
    """Return the files of a rig with a secret in store and archive, and a function that asks of them."""
    places = Places(store=tmp_path / "timelapse_storage.json", config_directories=())
    store = json.loads((STORES / "interval-completed.json").read_text())
    store["extra"] = {**(store.get("extra") or {}), "api_token": SECRET}
    store["scans"][0] |= {"status": "failed", "error": f"refused: {SECRET}"}
    places.history.mkdir()
    for path in (places.store, places.history / "done_tl.json"):
        path.write_bytes(read_timelapse(json.dumps(store).encode(), path).encode())
    mistakes = []
    beside = answers_beside(places, None, None, None, lambda _, problem: mistakes.append(problem))

    def ask(command, **body):
        answers = []
        beside[command](Request(command, body, "ada", answers.append))
        assert wait_until(lambda: answers, within=PATIENCE)
        return answers[0]

    yield SimpleNamespace(places=places, ask=ask, beside=beside)
    assert mistakes == []


def test_archived_timelapse_is_shown_without_secrets(rig):
    """By its name in the list."""
    assert rig.ask("archives").details == {"archives": ["done_tl"], "total": 1}
    answer = rig.ask("archive", name="done_tl")
    assert (answer.accepted, SECRET.encode() in answer.files[0]) == (True, False)
    assert read_timelapse(answer.files[0], rig.places.store).timelapse.id == "done_tl"


def test_damage_is_said_without_secrets(rig):
    """A file a request: the store, the one before it, one of the archive; nothing of one that isn't there."""
    sound = rig.ask("verify", file="archive/done_tl").details
    assert sound["subject"] == str(rig.places.history / "done_tl.json")
    assert not sound["damage"]
    rig.places.store.with_name("timelapse_storage.json.bak").write_bytes(rig.places.store.read_bytes())
    rig.places.store.write_bytes(rig.places.store.read_bytes().replace(b"refused: ", b"refusal: "))
    changed = rig.ask("verify", file="store").details
    assert (changed["damage"], "edited by hand, or damaged" in changed["words"]) == (True, True)
    assert SECRET not in changed["words"]
    assert rig.ask("verify", file="archive/another").details == {}


@pytest.mark.parametrize(
    "name", ["../timelapse_storage", "/etc/passwd", "", ".hidden", "a\0b", "\ud800", 7, None, ["x"]]
)
def test_no_name_leads_out_of_the_archive(rig, name):
    """A member of the group may send anything."""
    for answer in (rig.ask("archive", name=name), rig.ask("verify", file=name)):
        assert (answer.accepted, answer.message) == (False, "name: write that of a timelapse in the archive")


def test_disk_that_does_not_answer_keeps_few_requests_waiting(rig, monkeypatch):
    """The others are refused at once; whoever asks is the control thread."""
    gate, answers = threading.Event(), []
    monkeypatch.setattr(stored_files, "inspect_store", lambda _: (gate.wait(PATIENCE), None)[1:] * 2)
    for _ in range(MAX_CLIENTS + 3):
        rig.beside["verify"](Request("verify", {"file": "store"}, "ada", answers.append))
    assert [answer.accepted for answer in answers] == [False] * 3
    assert "try again in a moment" in answers[0].message
    gate.set()
    assert wait_until(lambda: len(answers) == MAX_CLIENTS + 3, within=PATIENCE)
