"""`timelapsectl cancel` where it can't be seen what would be lost."""

import io

import pytest

from plantimager.timelapse.channel.control_client import ServerSilent
from plantimager.timelapse.cli import cancel, question
from plantimager.timelapse.cli.parser import parse


class Terminal(io.StringIO):
    """A terminal of no process group."""

    def isatty(self):
        return True

    def fileno(self):
        return -1


class Hidden:
    """A look that fails: the daemon takes too long, and the store is closed."""

    def __init__(self, session):
        """Take any session."""

    def take(self):
        raise ServerSilent("the daemon (PID 7) has not answered")


@pytest.fixture
def sent(monkeypatch):
    """Return the requests that were sent."""
    requests = []
    monkeypatch.setattr(question, "SnapshotSource", Hidden)
    monkeypatch.setattr(cancel, "request_change", lambda _, command, body: requests.append((command, body)) or 0)
    return requests


def test_person_is_asked_though_the_losses_are_not_known(sent, monkeypatch):
    """A slip would lose a timelapse that nobody saw."""
    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setattr("sys.stdin", Terminal("n\n"))
    with pytest.raises(question.NotConfirmed, match="the timelapse is not cancelled, and goes on"):
        cancel.run_cancel(parse(["cancel"]), None)
    assert "what would be lost isn't known: the daemon (PID 7) has not answered\ncancel it?" in screen.getvalue()
    assert sent == []
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    assert cancel.run_cancel(parse(["cancel"]), None) == 0
    assert sent == [("cancel", {})]


def test_nobody_to_ask_is_a_refusal(sent, monkeypatch):
    """The question would go elsewhere."""
    for stream in ("stdout", "stderr"):
        monkeypatch.setattr(f"sys.{stream}", io.StringIO())
    monkeypatch.setattr("sys.stdin", Terminal())
    with pytest.raises(question.NobodyToAsk, match="nobody can be asked whether to cancel the timelapse"):
        cancel.run_cancel(parse(["cancel"]), None)
    assert sent == []


def test_answer_in_another_encoding_is_no_yes(sent, monkeypatch):
    """A terminal sends what its person types; no decoding of it fails."""

    class Latin(io.TextIOWrapper):
        def isatty(self):
            return True

        def fileno(self):
            return -1

    monkeypatch.setattr("sys.stderr", Terminal())
    monkeypatch.setattr("sys.stdin", Latin(io.BytesIO("ÿ\n".encode("latin-1")), encoding="utf-8"))
    with pytest.raises(question.NotConfirmed):
        cancel.run_cancel(parse(["cancel"]), None)
    assert sent == []


def test_yes_and_scripts_are_not_asked(sent, monkeypatch):
    """They said so before, or would hang."""
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert cancel.run_cancel(parse(["cancel", "--why", "wilted"]), None) == 0
    monkeypatch.setattr("sys.stdin", Terminal())
    assert cancel.run_cancel(parse(["cancel", "--yes"]), None) == 0
    assert sent == [("cancel", {"why": "wilted"}), ("cancel", {})]
