"""Requests and answers as files in a directory."""

from __future__ import annotations

import os
import stat

import pytest

from plantimager.timelapse.channel.inbox import (
    MAX_REQUEST_BYTES,
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


def test_answered_request_is_removed(store, inbox):
    """The daemon finds a request, answers it and removes it; the command reads the answer once."""
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
    """Pictures are passed on beside the request, since the daemon may not write into the person's directory."""
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
    """Root must not read a file for the daemon's user that this user may not read."""
    path = leave_request(store, "rig", "a1", b"{}")
    (tmp_path / "secret").write_bytes(b"secret")
    path.with_name(f"{path.name}.picture-0").symlink_to(tmp_path / "secret")
    with pytest.raises(OSError, match="links") as refused:
        collect_picture(path, 0)
    assert refused.value.filename == f"{path}.picture-0"


def test_picture_that_is_no_regular_file_is_refused(store, inbox):
    """Reading a pipe without a writer would block for good."""
    path = leave_request(store, "rig", "a1", b"{}")
    os.mkfifo(path.with_name(f"{path.name}.picture-0"))
    with pytest.raises(OSError, match="FIFO"):
        collect_picture(path, 0)


def test_request_is_not_written_through_a_link(store, tmp_path):
    """Root must not write or change the owner of a directory that the daemon's user may not write."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    inbox_path(store).symlink_to(elsewhere)
    with pytest.raises(NotADirectoryError) as refused:
        leave_request(store, "cancel", "a1", b"{}")
    assert refused.value.filename == str(inbox_path(store))
    assert [*elsewhere.iterdir()] == []


def test_withdrawn_request_leaves_no_file(store, inbox):
    """Its answer is not written, and its pictures are removed."""
    path = leave_request(store, "rig", "a1", b"{}")
    (request,) = inbox.pending()
    leave_picture(request, 0, b"a picture")
    assert not request.is_withdrawn
    path.unlink()
    assert request.is_withdrawn
    inbox.answer(request, Answer(accepted=True, message="done"))
    assert [*inbox.directory.iterdir()] == []


def test_manual_command_does_not_outlive_the_daemon(store, inbox):
    """A start or a cancel waits for the next daemon; the rig must not move when the person may have left."""
    for kind in ("start", "cancel", "rig"):
        leave_request(store, kind, "a1", b"{}")
    leave_picture(inbox.pending()[0], 0, b"a picture")
    Inbox(store).open()
    assert sorted(request.kind for request in inbox.pending()) == ["cancel", "start"]


def test_answer_that_nobody_collected_is_removed_by_the_next_daemon(store, inbox):
    """The command may have given up before the answer came."""
    path = leave_request(store, "start", "a1", b"")
    inbox.answer(inbox.pending()[0], Answer(accepted=True, message="done"))
    assert [*inbox.directory.iterdir()] != []
    Inbox(store).open()
    assert [*inbox.directory.iterdir()] == []
    assert collect_answer(path) is None


def test_request_is_private(store):
    """Only the daemon's user can read a request: a definition may be confidential."""
    path = leave_request(store, "start", "a1", b"")
    assert path.name == "start-a1.toml"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(inbox_path(store).stat().st_mode) == 0o700
    assert path.stat().st_uid == store.parent.stat().st_uid


def test_requests_are_found_in_the_order_of_their_arrival(store, inbox):
    """A cancel before a start means something else than after it."""
    for number, token in enumerate(["b", "a", "c"]):
        os.utime(leave_request(store, "start", token, b""), (number, number))
    assert [request.path.name for request in inbox.pending()] == ["start-b.toml", "start-a.toml", "start-c.toml"]


@pytest.mark.parametrize(
    "name",
    ["start-a.toml.ab12_xyz.tmp", "start-a.toml.answer", "stop-a.json", "start-.toml", "start-a_b.toml", "notes.txt",
     f"start-{'a' * 41}.toml", "start-a.toml\n"],
)  # fmt: skip
def test_file_with_another_name_is_no_request(inbox, name):
    """Half-written files, answers, and files of a person stay as they are."""
    (inbox.directory / name).write_bytes(b"")
    assert inbox.pending() == []
    assert (inbox.directory / name).exists()


def test_only_a_regular_file_is_a_request(inbox, tmp_path):
    """A link could make the daemon read a file that the link's author may not read."""
    (tmp_path / "secret").write_bytes(b"")
    (inbox.directory / "start-link.toml").symlink_to(tmp_path / "secret")
    (inbox.directory / "start-dir.toml").mkdir()
    os.mkfifo(inbox.directory / "cancel-fifo.json")
    assert inbox.pending() == []


def test_missing_directory_has_no_requests(store):
    """The directory may have been removed."""
    assert Inbox(store).pending() == []


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"3", b"null", b"\xff", b"[" * 100_000])
def test_malformed_request_is_refused(store, inbox, content):
    """A guess could cancel a timelapse."""
    leave_request(store, "cancel", "a", content)
    (request,) = inbox.pending()
    with pytest.raises(RequestFaulty, match=r"^cancel-a\.json: not "):
        request.body()


def test_request_that_is_too_large_is_refused(store, inbox):
    """It is refused by its size, before it is read."""
    with leave_request(store, "cancel", "a", b"").open("r+b") as file:
        file.truncate(MAX_REQUEST_BYTES + 1)
    with pytest.raises(OSError, match="at most"):
        inbox.pending()[0].body()


def test_answer_to_a_withdrawn_request_is_dropped(store, inbox):
    """The person may withdraw at any moment, also between finding and answering."""
    leave_request(store, "cancel", "a", b"{}")
    (request,) = inbox.pending()
    request.path.unlink()
    with pytest.raises(FileNotFoundError):
        request.body()
    inbox.answer(request, Answer(accepted=False, message="gone"))


@pytest.mark.parametrize("content", [b"", b'{"accepted": tr', b"[]", b"3", b'{"accepted": true}', b'{"message": "x"}'])
def test_incomplete_answer_is_no_answer_yet(store, content):
    """The command looks again later."""
    path = leave_request(store, "cancel", "a", b"{}")
    path.with_name(f"{path.name}.answer").write_bytes(content)
    assert collect_answer(path) is None


def test_request_is_removed_though_its_answer_can_not_be_written(store, inbox):
    """Otherwise the daemon would carry it out again; here a directory blocks the answer's name."""
    path = leave_request(store, "cancel", "a", b"{}")
    path.with_name(f"{path.name}.answer").mkdir()
    inbox.answer(inbox.pending()[0], Answer(accepted=True, message="x"))
    assert inbox.pending() == []
