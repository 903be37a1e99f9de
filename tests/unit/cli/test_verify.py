"""`timelapsectl verify`, where the files are closed to the one who asks: what the daemon and the relay judge."""

from datetime import UTC, datetime

import msgspec
import pytest
from virtual_time import VirtualClock

from plantimager.timelapse.channel import ledger
from plantimager.timelapse.channel.control_request import Answer
from plantimager.timelapse.cli import verify
from plantimager.timelapse.cli.daemon_request import ServiceRefused
from plantimager.timelapse.cli.session import Scope, Session
from plantimager.timelapse.settings.places import Places

CLOSED = PermissionError(13, "Permission denied", "/store")


@pytest.fixture
def session(tmp_path, screen):
    """Return a session of a rig of which nothing is there."""
    places = Places(store=tmp_path / "store.json", config_directories=(tmp_path,))
    clock = VirtualClock(datetime(2026, 6, 22, tzinfo=UTC))
    return Session(environment={}, scope=Scope.OWN, places=places, clock=clock, screen=screen())


@pytest.fixture
def listed(monkeypatch):
    """Have the daemon list three archives of more, and refuse the second."""

    def answer(_session, _command, body, _within=None):
        file = body["file"]
        if file == "archive/._b":
            raise ServiceRefused("name: write that of a timelapse in the archive")
        return Answer(accepted=True, message="", details={"subject": file, "words": "sound", "damage": False})

    monkeypatch.setattr(verify, "ask_files", answer)
    monkeypatch.setattr(verify, "archives_by_daemon", lambda _: (["a", "._b", "c"], 5))


@pytest.mark.usefixtures("listed")
def test_a_file_that_the_daemon_refuses_stands_for_itself(session):
    """And files that it doesn't list are counted."""
    found = [*verify._look_by_daemon(session, CLOSED)]
    assert [one.subject for one in found if not isinstance(one, verify.NotJudged)] == [
        "store",
        "backup",
        "archive/a",
        "archive/c",
    ]
    refused, rest = (one for one in found if isinstance(one, verify.NotJudged))
    assert refused.subject == str(session.places.history / "._b.json")
    assert (rest.subject, rest.words) == (str(session.places.history), "2 files not judged: the daemon lists 3")


def test_the_relay_is_asked_where_its_directory_is_below_one_that_is_closed(session, tmp_path, monkeypatch, half_way):
    """As that of a named rig beside a default one's relay: nothing there can even be looked for."""
    (tmp_path / "timelapsed.toml").write_text('[relay.deliver.lab]\nurl = "http://lab"\n')

    def closed(_path):
        raise CLOSED

    monkeypatch.setattr(ledger, "_signature", closed)
    entries = {"lab.ledger": [{"key": "a 1", "outcome": "delivered", "at": "2026"}]}
    answer = Answer(accepted=True, message="", files=(msgspec.json.encode(entries),))
    monkeypatch.setattr(verify, "ask_relay", lambda *_: answer)
    assert [*verify._find_entries(session, half_way)] == ["lab.ledger"]


@pytest.mark.parametrize("said", [b"[]", b'{"lab.ledger": [{"key": "\xff"}]}', b"[" * 9999])
def test_an_answer_of_the_relay_that_can_not_be_read_is_no_answer(session, monkeypatch, half_way, said):
    """The relay may be of another version."""

    def closed(_session):
        raise CLOSED

    monkeypatch.setattr(verify, "_read_ledgers", closed)
    monkeypatch.setattr(verify, "ask_relay", lambda *_: Answer(accepted=True, message="", files=(said,)))
    with pytest.raises(ServiceRefused, match="the relay's answer can't be understood"):
        verify._find_entries(session, half_way)
