"""Requests and answers: what may be said, and who says it."""

import pytest

from plantimager.timelapse.channel.control_request import Answer, read_answer, read_request
from plantimager.timelapse.channel.message import ControlMessage, MessageFaulty, MessageReader

ASKS = {"version": 1, "command": "cancel"}


def request(line, uid=1000, who="ada"):
    return read_request(ControlMessage(line), uid, who, print)


def test_person_who_used_sudo_counts_for_root_alone():
    """Any other user could say anything."""
    assert request({**ASKS, "sudo_user": "ann"}, 0, "root").who == "ann (as root)"
    assert request({**ASKS, "sudo_user": "ann", "who": "bert"}).who == "ada"
    assert request({**ASKS, "sudo_user": "\x1b[2J" + "x" * 1000}, 0, "root").who == f"[2J{'x' * 61} (as root)"
    assert request({**ASKS, "sudo_user": ["ann"]}, 0, "root").who == "root"


@pytest.mark.parametrize("version", [2, 0, "1", True, None, 1.0, "\x1b" * 1000])
def test_another_version_is_refused_in_one_sentence(version):
    """Which says what to do; a part of an update may be done."""
    with pytest.raises(
        MessageFaulty, match=r"^the service speaks version 1 and timelapsectl .{0,20}; update"
    ) as refused:
        request({**ASKS, "version": version})
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("command", [None, 3, [], {}])
def test_request_without_a_command_is_refused(command):
    """A request says what it asks for, in text."""
    with pytest.raises(MessageFaulty, match=r"^command: "):
        request({"version": 1, "command": command})


def test_answer_comes_as_it_was_given():
    """An answer arrives with its files, and its sentence is fit for a terminal, whatever names it repeats."""
    answer = Answer(accepted=True, message="ö \udcff\x1b[2J", details={"a": [1]}, not_saved="full", files=(b"one", b""))
    message = MessageReader(max_files_bytes=10).feed(b"".join(answer.encode()))
    assert read_answer(message) == Answer(
        accepted=True, message="ö \\xff [2J", details={"a": [1]}, not_saved="full", files=(b"one", b"")
    )


@pytest.mark.parametrize("line", [{}, {"message": 3}, {"message": "x", "details": []}])
def test_answer_that_is_none_is_a_fault(line):
    """What can't be read as an answer is the service's fault, and no mistake of timelapsectl."""
    with pytest.raises(MessageFaulty, match="can't be understood"):
        read_answer(ControlMessage(line))
