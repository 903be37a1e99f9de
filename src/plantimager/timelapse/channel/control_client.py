"""The command's side of a control socket: finding the service, asking it, reading its answer."""

from __future__ import annotations

import os
import socket
import struct
from contextlib import contextmanager, suppress
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from plantimager.timelapse.channel.control_request import MAX_ANSWER_BYTES, Answer, read_answer
from plantimager.timelapse.channel.message import CHUNK_BYTES, MAX_ANSWER_LINE_BYTES, MessageReader, encode_message
from plantimager.timelapse.channel.peer import peer_of
from plantimager.timelapse.support.errors import EXIT_UNAVAILABLE, TimelapsedError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from plantimager.timelapse.support.clock import Clock

GROUP: Final = "plant-imager"
"""The group whose members may look at the system's rigs and control them."""
SILENCE_SECONDS: Final = 15.0
"""Time for a service to answer. It answers at once, unless the machine is in trouble."""
DECISION_SECONDS: Final = 60.0
"""Time for it to decide on a change: longer than the limits together of what it may wait for, a driver and disks."""
JUDGEMENT_SECONDS: Final = 150.0
"""Time for it to judge: it imports libraries (30 s), runs apprise (60 s), asks a driver and disks, each for 10 s."""


class Server(StrEnum):
    """Who listens at a control socket."""

    DAEMON = "daemon"
    RELAY = "relay"

    @property
    def logged_by(self) -> str:
        """The command that shows what it says."""
        return "timelapsectl log" if self is Server.DAEMON else "journalctl SYSLOG_IDENTIFIER=timelapse-relay"

    @property
    def shown_by(self) -> str:
        """The commands that show what it has done."""
        return f"timelapsectl status and {self.logged_by}"


class ServerNotThere(TimelapsedError):
    """No service has answered a request."""

    exit_code = EXIT_UNAVAILABLE


class NotTheService(TimelapsedError):
    """The socket belongs to another user than the service's."""


class NotAllowed(TimelapsedError):
    """The person isn't in the group whose members may ask."""

    def __init__(self, path: Path, server: Server) -> None:
        super().__init__(
            f"{path}: only root and members of the group {GROUP} may ask this {server}",
            hint=f'sudo usermod -aG {GROUP} "$USER", then log in again',
        )


class ServerSilent(TimelapsedError):
    """The service has not answered in time; the request is withdrawn."""

    exit_code = EXIT_UNAVAILABLE


class ServerEnded(TimelapsedError):
    """The service has closed the connection without an answer."""

    exit_code = EXIT_UNAVAILABLE


class Connection:
    """A connection to a daemon or relay, for one request."""

    def __init__(self, connection: socket.socket, clock: Clock, timeout: float, server: Server) -> None:
        self._socket, self._clock, self._timeout, self._server = connection, clock, timeout, server
        self.pid = peer_of(connection).pid
        """That of the server."""

    def ask(
        self,
        command: str,
        body: Mapping[str, Any],
        files: Sequence[bytes] = (),
        is_in_progress: Callable[[], bool] = lambda: False,
    ) -> Answer:
        """Send a request, and return its answer. The time for all of it starts again whenever it ``is_in_progress``.

        Raises `ServerSilent` or `ServerEnded` where there is no answer, `MessageFaulty` where it can't be understood.
        """
        n_waited = 0
        self._socket.settimeout(self._timeout)
        with suppress(BrokenPipeError, ConnectionResetError):  # refused before it was whole: the answer says why
            for piece in encode_message({"command": command, **body}, files):
                self._send(piece)
        reader = MessageReader(MAX_ANSWER_LINE_BYTES, MAX_ANSWER_BYTES)
        ends = self._clock.monotonic() + self._timeout
        while True:
            came = self._receive(ends)
            if came is None:
                n_waited += 1
                if is_in_progress():
                    ends += self._timeout
                    continue
                raise ServerSilent(
                    f"the {self._server} (PID {self.pid}) has not answered within {n_waited * self._timeout:g} s; "
                    "nothing more is asked of it",
                    hint=f"should it have begun with it, {self._server.shown_by} show that",
                )
            if not came:
                raise ServerEnded(
                    f"the {self._server} (PID {self.pid}) ended before it answered",
                    hint=f"{self._server.shown_by} show what became of the request",
                )
            message = reader.feed(came)
            if message is not None:
                return read_answer(message)

    def _receive(self, ends: float) -> bytes | None:
        """Return what comes until then, empty at the end; ``None`` where nothing does. Later, what is there."""
        self._socket.settimeout(max(ends - self._clock.monotonic(), 0))
        try:
            return self._socket.recv(CHUNK_BYTES)
        except (TimeoutError, BlockingIOError):
            return None
        except ConnectionResetError:
            return b""

    def _send(self, piece: bytes) -> None:
        try:
            self._socket.sendall(piece)
        except TimeoutError:
            words = f"the {self._server} (PID {self.pid}) takes no request"
            raise ServerSilent(words, hint=f"see {self._server.logged_by}") from None


@contextmanager
def connect(
    paths: Sequence[Path],
    trusted: Collection[int],
    clock: Clock,
    timeout: float | None = None,
    server: Server = Server.DAEMON,
) -> Iterator[Connection | None]:
    """Yield a connection to a server at one of some paths, ``None`` where none listens; its end withdraws a request.

    It has ``timeout`` seconds to answer, else `SILENCE_SECONDS`.

    A socket counts only where its directory and the process behind it belong to one of the ``trusted`` users: what is
    asked may be confidential, and root must not believe what another user's process says.

    Raises `NotAllowed`, `NotTheService`, and `OSError` where the kernel refuses the connection.
    """
    seconds = SILENCE_SECONDS if timeout is None else timeout
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as end:
        # A time-out of Python's own would make the kernel refuse where clients wait to be accepted.
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", int(seconds) + 1, 0))
        found = any(_reaches(end, path, trusted, server) for path in paths)
        yield Connection(end, clock, seconds, server) if found else None


def _reaches(end: socket.socket, path: Path, trusted: Collection[int], server: Server) -> bool:
    """Connect a socket, by a path that may be longer than the kernel's 107 bytes; return whether somebody listens."""
    try:
        directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except PermissionError:
        raise NotAllowed(path, server) from None
    try:
        if os.fstat(directory).st_uid not in trusted:
            raise NotTheService(f"{path}: is neither the service's nor yours; it is left alone")
        end.connect(f"/proc/self/fd/{directory}/{path.name}")
    except (FileNotFoundError, ConnectionRefusedError):
        return False
    except PermissionError:
        raise NotAllowed(path, server) from None
    except BlockingIOError:
        raise ServerSilent(f"{path}: the {server} accepts no connection", hint=f"see {server.logged_by}") from None
    finally:
        os.close(directory)
    if peer_of(end).uid not in trusted:
        raise NotTheService(f"{path}: another user listens there than the service's or you; it is left alone")
    return True
