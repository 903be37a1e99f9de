"""Requests to the daemon or the relay and their answers, as values on both sides of a control socket."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct
from msgspec.structs import asdict

from plantimager.timelapse.channel.message import PROTOCOL_VERSION, ControlMessage, MessageFaulty, encode_message
from plantimager.timelapse.support.errors import with_hint
from plantimager.timelapse.support.text import one_line, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

MAX_REQUEST_BYTES: Final = 8 * 1024 * 1024
"""Of the files of a request: as a definition may have."""
MAX_USER_NAME: Final = 64
MAX_TEXT: Final = 1000
"""Characters of a reason, and of a file's name."""
MAX_ANSWER_BYTES: Final = 1 << 28
"""Of the files of an answer: as the pictures of a snapshot may have."""


class Answer(Struct, frozen=True):
    """The outcome of a request."""

    accepted: bool
    message: str
    details: Mapping[str, Any] = {}
    """The outcome for a program; empty where the message says all."""
    not_saved: str = ""
    """Why what was accepted is not on disk yet, so that a power cut undoes it; empty where it is."""
    files: tuple[bytes, ...] = ()
    """Pictures, or a store."""

    def encode(self) -> list[bytes]:
        """Return the pieces of the message."""
        return encode_message({**asdict(self), "message": printable(self.message)}, self.files)


def read_answer(message: ControlMessage) -> Answer:
    """Return the answer in a message, fit for a terminal; raise `MessageFaulty` where there is none."""
    line = message.line
    details = line.get("details", {})
    if not isinstance(line.get("message"), str) or not isinstance(details, dict):
        raise MessageFaulty("the service's answer can't be understood; is it of another version than timelapsectl?")
    return Answer(
        accepted=line.get("accepted") is True,
        message=printable(line["message"]),
        details=details,
        not_saved=one_line(str(line.get("not_saved", ""))),
        files=message.files,
    )


class Request:
    """One command of a person, on its way through the service. It is answered once, by any thread."""

    def __init__(
        self,
        command: str,
        body: Mapping[str, Any],
        who: str,
        reply: Callable[[Answer], None],
        files: Sequence[bytes] = (),
    ) -> None:
        self.command, self.body, self.files = command, body, tuple(files)
        self.who = who
        """The user's name, by the kernel's word."""
        self.answer = reply
        """Sends the answer, soon."""
        self.content: Any = None
        """What was read of its files beside the loop, or the error of that."""
        self.is_withdrawn = False
        """Whether nobody waits for the answer any more."""

    def text(self, key: str) -> str:
        """Return a text of the body on one line, empty where there is none; anything else is `MessageFaulty`."""
        value = self.body.get(key) or ""
        if not isinstance(value, str):
            raise MessageFaulty(f"{key}: write a text")
        return one_line(value)[:MAX_TEXT]

    def read_by(self, read: Callable[[Request], Any]) -> None:
        """Keep what ``read`` makes of the files."""
        self.content = read(self)

    def withdraw(self) -> None:
        """Note that nobody waits for the answer; its files are of no use any more."""
        self.is_withdrawn, self.files = True, ()


def read_request(message: ControlMessage, uid: int, who: str, reply: Callable[[Answer], None]) -> Request:
    """Return the request in a message of a user, who is called ``who``; raise `MessageFaulty` where there is none.

    Root's word on who used sudo counts: root could write anything into the store.
    """
    line = dict(message.line)
    version, command, sudo_user = line.pop("version", None), line.pop("command", None), line.pop("sudo_user", None)
    if version != PROTOCOL_VERSION or type(version) is not int:
        said = version if isinstance(version, int | str) else "none"
        raise MessageFaulty(
            f"the service speaks version {PROTOCOL_VERSION} and timelapsectl {one_line(str(said))[:20]}; "
            "update the one that is older (systemctl restart has the service use what is installed)"
        )
    if not isinstance(command, str):
        raise MessageFaulty("command: write one, such as status")
    if uid == 0 and isinstance(sudo_user, str) and sudo_user != who:
        who = f"{one_line(sudo_user)[:MAX_USER_NAME]} (as {who})"
    return Request(command, line, who, reply, message.files)


def refusal_of(problem: BaseException) -> Answer:
    """Return the answer to a request that was refused with an error, and its hint."""
    words = with_hint(problem)
    if isinstance(problem, OSError) and problem.strerror:
        words = f"{problem.filename}: {problem.strerror}" if problem.filename else problem.strerror
    return Answer(accepted=False, message=words)
