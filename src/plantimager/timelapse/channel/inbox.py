"""Requests from ``timelapsectl``: files in a directory beside the store, answered beside them.

No listener: whoever may write into the storage directory may ask. A request is complete when
it has its name; the command then sends SIGHUP and waits for ``<name>.answer``. One that is taken
away before it was answered is withdrawn.

A ``start`` or ``cancel`` that no daemon answers waits for the next one. A ``rig`` must not: nobody
stands beside the rig any more who wanted it to move, see `Inbox.open`.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from plantimager.timelapse.support.durable import make_private_directory, read_regular, write_durably
from plantimager.timelapse.support.errors import TimelapsedError
from plantimager.timelapse.support.json_text import dumps, loads
from plantimager.timelapse.support.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LARGEST_REQUEST: Final = 8_000_000
"""Bytes; a definition with a hundred thousand dates takes four million."""

LARGEST_PICTURE: Final = 1 << 28
"""Bytes; what a camera's process gives out at most."""

_NAME: Final = r"(?P<kind>start|cancel|rig)-[A-Za-z0-9]{1,40}\.(?:toml|json)"


class RequestFaulty(TimelapsedError):
    """A request can't be understood, so nothing is done about it."""


class Request(Struct, frozen=True):
    """One command of a person: ``start`` (the file is the definition), ``cancel`` or ``rig`` (a JSON object)."""

    kind: str
    path: Path

    @property
    def is_withdrawn(self) -> bool:
        """Whether nobody waits for its answer any more."""
        return not os.path.lexists(self.path)

    def body(self) -> dict[str, Any]:
        """Return the JSON object of a request.

        Raises
        ------
        RequestFaulty
            It holds none.
        OSError
            It can't be read.

        """
        try:
            value = loads(read_regular(self.path, LARGEST_REQUEST))
        except ValueError as problem:
            raise RequestFaulty(f"{self.path.name}: not JSON: {problem}") from None
        if not isinstance(value, dict):
            raise RequestFaulty(f"{self.path.name}: not a JSON object")
        return value


class Answer(Struct, frozen=True):
    """What became of a request."""

    accepted: bool
    message: str
    details: Mapping[str, Any] = {}
    """What a program makes more of than of a sentence; see `by_hand`."""


def inbox_path(store: Path) -> Path:
    """Return the directory in which requests to the daemon of a store are left."""
    return store.with_name(f"{store.name}.requests")


class Inbox:
    """The daemon's side. Loop thread."""

    def __init__(self, store: Path) -> None:
        self.directory = inbox_path(store)

    def open(self) -> None:
        """Make the directory, and clear it of what was asked of the rig before this daemon ran, and of old answers.

        Raises
        ------
        OSError
            It can't be made.

        """
        make_private_directory(self.directory)
        for path in (*self.directory.glob("rig-*"), *self.directory.glob("*.answer")):
            with contextlib.suppress(OSError):
                path.unlink()

    def pending(self) -> list[Request]:
        """Return the requests that are there, oldest first; what isn't one is left alone."""
        found = []
        with contextlib.suppress(OSError), os.scandir(self.directory) as entries:
            for entry in entries:
                match = re.fullmatch(_NAME, entry.name)
                if match is None or not entry.is_file(follow_symlinks=False):
                    continue
                with contextlib.suppress(OSError):  # withdrawn at this moment
                    age = entry.stat(follow_symlinks=False).st_mtime_ns
                    found.append((age, entry.name, Request(match["kind"], self.directory / entry.name)))
        return [request for _, _, request in sorted(found, key=lambda item: item[:2])]

    def answer(self, request: Request, answer: Answer) -> None:
        """Say what became of a request, and take it away; a full disk keeps nobody from the next one."""
        if request.is_withdrawn:
            clear_pictures(request.path)
            return
        text = dumps({"accepted": answer.accepted, "message": answer.message, "details": answer.details})
        with contextlib.suppress(OSError):
            _answer_to(request.path).write_bytes(text)
        with contextlib.suppress(OSError):
            request.path.unlink()


def leave_picture(request: Request, number: int, content: bytes) -> None:
    """Put a picture beside its request, before the answer: only there may the daemon write and the person read.

    The rig thread. Raises OSError.
    """
    _picture_for(request.path, number).write_bytes(content)


def collect_picture(request: Path, number: int) -> bytes:
    """Return a picture that an answer tells of, and take it away. The command's side.

    Raises
    ------
    OSError
        It isn't there, or it isn't a file: who may write into the daemon's directory must not have root read others'.

    """
    path = _picture_for(request, number)
    with _held(path) as picture:
        content = read_regular(picture, LARGEST_PICTURE)
    path.unlink(missing_ok=True)
    return content


def clear_pictures(request: Path) -> None:
    """Take away what pictures are left of a request. Either side."""
    with contextlib.suppress(OSError):
        for path in request.parent.glob(f"{request.name}.picture-*"):
            path.unlink(missing_ok=True)


def leave_request(store: Path, kind: str, token: str, content: bytes) -> Path:
    """Leave a request for the daemon, as its user's file where root asks; return its path. The command's side.

    Who is interrupted here has asked for nothing.

    Raises
    ------
    OSError
        It can't be written, or there is a link in place of the directory: who may write into the daemon's directory
        must not have root write elsewhere.

    """
    path = inbox_path(store) / f"{kind}-{token}.{'toml' if kind == 'start' else 'json'}"
    make_private_directory(path.parent)
    with _held(path.parent, os.O_DIRECTORY) as directory:
        owner = None
        if os.geteuid() == 0:
            storage = store.parent.stat()
            owner = (storage.st_uid, storage.st_gid)
            os.chown(directory, *owner)
        held_path = directory / path.name
        try:
            write_durably(held_path, content, owner=owner)
        except BaseException:
            held_path.unlink(missing_ok=True)
            raise
    return path


@contextlib.contextmanager
def _held(path: Path, kind: int = 0) -> Iterator[Path]:
    """Give a name for what is at ``path`` now that stays its own, whatever is put there meanwhile; no link is followed.

    Raises
    ------
    OSError
        It isn't there, or it isn't of that ``kind``; opening a link by the name that is given fails, too.

    """
    descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC | kind)
    try:
        yield Path(f"/proc/self/fd/{descriptor}")
    except OSError as problem:
        problem.filename = str(path)  # as people know it
        raise
    finally:
        os.close(descriptor)


def collect_answer(request: Path) -> Answer | None:
    """Return the answer to a request and take it away; ``None`` while there is none. The command's side."""
    path = _answer_to(request)
    try:
        value = loads(read_regular(path, LARGEST_REQUEST))
        answer = Answer(value["accepted"] is True, printable(str(value["message"])), dict(value.get("details", {})))
    except (OSError, ValueError, TypeError, KeyError):  # not there, or not all of it
        return None
    path.unlink(missing_ok=True)
    return answer


def _answer_to(request: Path) -> Path:
    return request.with_name(f"{request.name}.answer")


def _picture_for(request: Path, number: int) -> Path:
    return request.with_name(f"{request.name}.picture-{number}")
