"""Requests and answers: files in a directory, nothing that listens."""

from __future__ import annotations

import os
import stat

import pytest

from plantimager.timelapse.channel.inbox import (
    LARGEST_REQUEST,
    Answer,
    Inbox,
    RequestFaulty,
    clear_pictures,
    collect_answer,
    collect_picture,
    inbox_path,
    leave_picture,
    leave_request,
)


@pytest.fixture
def store(tmp_path):
    return tmp_path / "store.json"


@pytest.fixture
def inbox(store):
    inbox = Inbox(store)
    inbox.open()
    return inbox


def test_request_is_found_answered_and_gone(store, inbox):
    """From the command to the daemon and back."""
    path = leave_request(store, "cancel", "a1", b'{"who": "ada"}')
    (request,) = inbox.pending()
    assert (request.kind, request.path, request.body()) == ("cancel", path, {"who": "ada"})
    assert collect_answer(path) is None
    inbox.answer(request, Answer(accepted=True, message="tl is cancelled – ö"))
    assert inbox.pending() == []
    assert collect_answer(path) == Answer(accepted=True, message="tl is cancelled – ö")
    assert [*inbox.directory.iterdir()] == []
    assert collect_answer(path) is None


def test_answer_may_have_details_and_pictures(store, inbox):
    """The daemon can't write where the person is; it can beside the request."""
    path = leave_request(store, "rig", "a1", b"{}")
    (request,) = inbox.pending()
    leave_picture(request, 0, b"first")
    leave_picture(request, 1, b"second")
    inbox.answer(request, Answer(accepted=True, message="two", details={"pictures": [1, 2]}))
    assert collect_answer(path) == Answer(accepted=True, message="two", details={"pictures": [1, 2]})
    assert collect_picture(path, 1) == b"second"
    clear_pictures(path)
    assert [*inbox.directory.iterdir()] == []


def test_picture_that_is_a_link_is_not_followed(store, inbox, tmp_path):
    """Root must not read for the daemon's user what that may not."""
    path = leave_request(store, "rig", "a1", b"{}")
    (tmp_path / "secret").write_bytes(b"secret")
    path.with_name(f"{path.name}.picture-0").symlink_to(tmp_path / "secret")
    with pytest.raises(OSError, match="links") as refused:
        collect_picture(path, 0)
    assert refused.value.filename == f"{path}.picture-0"


def test_picture_that_is_no_file_is_not_waited_for(store, inbox):
    """A pipe without a writer would never end."""
    path = leave_request(store, "rig", "a1", b"{}")
    os.mkfifo(path.with_name(f"{path.name}.picture-0"))
    with pytest.raises(OSError, match="FIFO"):
        collect_picture(path, 0)


def test_request_is_not_left_where_a_link_leads(store, tmp_path):
    """Root must not write for the daemon's user where that may not, nor give it away."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    inbox_path(store).symlink_to(elsewhere)
    with pytest.raises(NotADirectoryError) as refused:
        leave_request(store, "cancel", "a1", b"{}")
    assert refused.value.filename == str(inbox_path(store))
    assert [*elsewhere.iterdir()] == []


def test_withdrawn_request_leaves_nothing(store, inbox):
    """Neither an answer nor pictures that nobody fetches."""
    path = leave_request(store, "rig", "a1", b"{}")
    (request,) = inbox.pending()
    leave_picture(request, 0, b"a picture")
    assert not request.is_withdrawn
    path.unlink()
    assert request.is_withdrawn
    inbox.answer(request, Answer(accepted=True, message="done"))
    assert [*inbox.directory.iterdir()] == []


def test_what_was_asked_of_the_rig_does_not_outlive_the_daemon(store, inbox):
    """A start or a cancel waits for the next one; to move a rig when nobody stands there any more is something else."""
    for kind in ("start", "cancel", "rig"):
        leave_request(store, kind, "a1", b"{}")
    leave_picture(inbox.pending()[0], 0, b"a picture")
    Inbox(store).open()
    assert sorted(request.kind for request in inbox.pending()) == ["cancel", "start"]


def test_answer_that_nobody_fetched_does_not_stay_for_ever(store, inbox):
    """The one who asked has lost patience; it is swept when the next daemon starts."""
    path = leave_request(store, "start", "a1", b"")
    inbox.answer(inbox.pending()[0], Answer(accepted=True, message="done"))
    assert [*inbox.directory.iterdir()] != []
    Inbox(store).open()
    assert [*inbox.directory.iterdir()] == []
    assert collect_answer(path) is None


def test_request_is_private(store):
    """A definition may hold what is nobody else's business."""
    path = leave_request(store, "start", "a1", b"")
    assert path.name == "start-a1.toml"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(inbox_path(store).stat().st_mode) == 0o700
    assert path.stat().st_uid == store.parent.stat().st_uid


def test_requests_are_answered_in_the_order_they_came(store, inbox):
    """A cancel before a start means something else than after it."""
    for number, token in enumerate(["b", "a", "c"]):
        os.utime(leave_request(store, "start", token, b""), (number, number))
    assert [request.path.name for request in inbox.pending()] == ["start-b.toml", "start-a.toml", "start-c.toml"]


@pytest.mark.parametrize(
    "name",
    ["start-a.toml.ab12_xyz.tmp", "start-a.toml.answer", "stop-a.json", "start-.toml", "start-a_b.toml", "notes.txt",
     f"start-{'a' * 41}.toml", "start-a.toml\n"],
)  # fmt: skip
def test_what_is_no_request_is_left_alone(inbox, name):
    """Half-written files, answers, and what a person put there."""
    (inbox.directory / name).write_bytes(b"")
    assert inbox.pending() == []
    assert (inbox.directory / name).exists()


def test_what_is_no_file_is_no_request(inbox, tmp_path):
    """A link would have the daemon read what its maker may not."""
    (tmp_path / "secret").write_bytes(b"")
    (inbox.directory / "start-link.toml").symlink_to(tmp_path / "secret")
    (inbox.directory / "start-dir.toml").mkdir()
    os.mkfifo(inbox.directory / "cancel-fifo.json")
    assert inbox.pending() == []


def test_missing_directory_has_no_requests(store):
    """It may have been removed."""
    assert Inbox(store).pending() == []


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"3", b"null", b"\xff", b"[" * 100_000])
def test_request_that_can_not_be_understood_is_refused(store, inbox, content):
    """Guessing might cancel a timelapse."""
    leave_request(store, "cancel", "a", content)
    (request,) = inbox.pending()
    with pytest.raises(RequestFaulty, match=r"^cancel-a\.json: not "):
        request.body()


def test_request_that_is_too_large_is_refused(store, inbox):
    """It is not even read."""
    with leave_request(store, "cancel", "a", b"").open("r+b") as file:
        file.truncate(LARGEST_REQUEST + 1)
    with pytest.raises(OSError, match="at most"):
        inbox.pending()[0].body()


def test_request_that_was_withdrawn_is_answered_without_harm(store, inbox):
    """Its maker lost patience."""
    leave_request(store, "cancel", "a", b"{}")
    (request,) = inbox.pending()
    request.path.unlink()
    with pytest.raises(FileNotFoundError):
        request.body()
    inbox.answer(request, Answer(accepted=False, message="gone"))


@pytest.mark.parametrize("content", [b"", b'{"accepted": tr', b"[]", b"3", b'{"accepted": true}', b'{"message": "x"}'])
def test_answer_that_is_not_whole_is_no_answer_yet(store, content):
    """The command looks again."""
    path = leave_request(store, "cancel", "a", b"{}")
    path.with_name(f"{path.name}.answer").write_bytes(content)
    assert collect_answer(path) is None


def test_answer_that_can_not_be_left_keeps_nobody_from_the_next_request(store, inbox):
    """Here there is a directory in its place; the request goes all the same."""
    path = leave_request(store, "cancel", "a", b"{}")
    path.with_name(f"{path.name}.answer").mkdir()
    inbox.answer(inbox.pending()[0], Answer(accepted=True, message="x"))
    assert inbox.pending() == []
