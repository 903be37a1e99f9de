"""Requests from ``timelapsectl``: files in a directory beside the store, each with its answer beside it.

Nothing listens: whoever may write into the storage directory may ask. A request is complete when it has its final
name. The command then sends SIGHUP and waits for ``<name>.answer``. A request whose file is removed before the answer
is withdrawn.

A ``start`` or ``cancel`` that no daemon answers waits for the next daemon. A ``rig`` does not: the person who asked is
no longer beside the rig, so `Inbox.open` removes it.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct
from msgspec.structs import asdict

from plantimager.timelapse.support.durable import make_private_directory, read_regular, write_durably
from plantimager.timelapse.support.errors import TimelapsedError
from plantimager.timelapse.support.json_text import dumps, loads
from plantimager.timelapse.support.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_REQUEST_BYTES: Final = 8_000_000
"""A definition with a hundred thousand dates takes four million."""

MAX_PICTURE_BYTES: Final = 1 << 28
"""The most that a camera's process returns."""

_NAME: Final = r"(?P<kind>start|cancel|rig)-[A-Za-z0-9]{1,40}\.(?:toml|json)"


class RequestFaulty(TimelapsedError):
    """A request can't be understood, so nothing is done about it."""


class Request(Struct, frozen=True):
    """One command of a person: ``start`` (the file is the definition), ``cancel`` or ``rig`` (a JSON object)."""

    kind: str
    path: Path

    @property
    def is_withdrawn(self) -> bool:
        """Whether its file is gone, so that nobody waits for the answer."""
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
            value = loads(read_regular(self.path, MAX_REQUEST_BYTES))
        except ValueError as problem:
            raise RequestFaulty(f"{self.path.name}: not JSON: {problem}") from None
        if not isinstance(value, dict):
            raise RequestFaulty(f"{self.path.name}: not a JSON object")
        return value


class Answer(Struct, frozen=True):
    """The outcome of a request."""

    accepted: bool
    message: str
    details: Mapping[str, Any] = {}
    """The outcome of a manual command for a program; empty for other requests."""
    not_saved: str = ""
    """Why what was accepted is not on disk yet, so that a power cut undoes it; empty where it is."""


def inbox_path(store: Path) -> Path:
    """Return the directory for the requests to the daemon of a store."""
    return store.with_name(f"{store.name}.requests")


class Inbox:
    """The daemon's side of the directory. Loop thread."""

    def __init__(self, store: Path) -> None:
        self.directory = inbox_path(store)

    def open(self) -> None:
        """Make the directory; remove manual commands and answers that are older than this daemon.

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
        """Return the open requests, oldest first. Files that are no requests are ignored."""
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
        """Write the answer and remove the request. Side thread. On a full disk the request is removed all the same."""
        if request.is_withdrawn:
            clear_pictures(request.path)
            return
        text = dumps(asdict(answer))
        with contextlib.suppress(OSError):
            _answer_path(request.path).write_bytes(text)
        with contextlib.suppress(OSError):
            request.path.unlink()


def leave_picture(request: Request, number: int, content: bytes) -> None:
    """Write a picture beside its request, before the answer. Rig thread.

    No other directory is both writable for the daemon and readable for the person.

    Raises
    ------
    OSError
        It can't be written.
    """
    _picture_path(request.path, number).write_bytes(content)


def collect_picture(request: Path, number: int) -> bytes:
    """Return a picture that an answer announces, and remove its file. The command's side.

    Raises
    ------
    OSError
        It isn't there, or it isn't a regular file: a link in the daemon's directory must not make root read another
        user's file.
    """
    path = _picture_path(request, number)
    with _pinned(path) as picture:
        content = read_regular(picture, MAX_PICTURE_BYTES)
    path.unlink(missing_ok=True)
    return content


def clear_pictures(request: Path) -> None:
    """Remove the remaining pictures of a request. Either side."""
    with contextlib.suppress(OSError):
        for path in request.parent.glob(f"{request.name}.picture-*"):
            path.unlink(missing_ok=True)


def request_path(store: Path, kind: str, token: str) -> Path:
    """Return the path of a request, whether it has been left or not."""
    return inbox_path(store) / f"{kind}-{token}.{'toml' if kind == 'start' else 'json'}"


def leave_request(store: Path, kind: str, token: str, content: bytes) -> Path:
    """Write a request for the daemon and return its path. The command's side.

    Where root asks, the file belongs to the daemon's user. An interrupt during the write leaves no request.

    Raises
    ------
    OSError
        It can't be written, or a link replaces the directory: a link in the daemon's directory must not make root
        write elsewhere.
    """
    path = request_path(store, kind, token)
    make_private_directory(path.parent)
    with _pinned(path.parent, os.O_DIRECTORY) as directory:
        owner = None
        if os.geteuid() == 0:
            storage = store.parent.stat()
            owner = (storage.st_uid, storage.st_gid)
            os.chown(directory, *owner)
        pinned_path = directory / path.name
        try:
            write_durably(pinned_path, content, owner=owner)
        except BaseException:
            pinned_path.unlink(missing_ok=True)
            raise
    return path


@contextlib.contextmanager
def _pinned(path: Path, kind: int = 0) -> Iterator[Path]:
    """Yield a name for the file that is at ``path`` now, which stays valid if the path is replaced. Follows no link.

    Raises
    ------
    OSError
        It isn't there, or it isn't of that ``kind``; so does a later open of a link by the yielded name.
    """
    descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC | kind)
    try:
        yield Path(f"/proc/self/fd/{descriptor}")
    except OSError as problem:
        problem.filename = str(path)  # the name that people know
        raise
    finally:
        os.close(descriptor)


def collect_answer(request: Path) -> Answer | None:
    """Return the answer to a request and remove its file; ``None`` while there is none. The command's side."""
    path = _answer_path(request)
    try:
        value = loads(read_regular(path, MAX_REQUEST_BYTES))
        accepted, message = value["accepted"] is True, printable(str(value["message"]))
        not_saved = printable(str(value.get("not_saved", "")))
        answer = Answer(accepted, message, dict(value.get("details", {})), not_saved)
    except (OSError, ValueError, TypeError, KeyError):  # absent or incomplete
        return None
    path.unlink(missing_ok=True)
    return answer


def _answer_path(request: Path) -> Path:
    return request.with_name(f"{request.name}.answer")


def _picture_path(request: Path, number: int) -> Path:
    return request.with_name(f"{request.name}.picture-{number}")
