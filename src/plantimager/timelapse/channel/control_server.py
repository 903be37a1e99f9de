"""The service's side of its control socket: a thread that reads requests and writes answers, and decides nothing.

A request is handed over when it is whole, and who asks is what the kernel says. A client that trickles, floods,
vanishes or never reads costs the daemon a bounded number of bytes for a bounded time, and the loop nothing.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
from collections import deque
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from plantimager.timelapse.channel.control_request import (
    MAX_ANSWER_BYTES,
    MAX_REQUEST_BYTES,
    Answer,
    Request,
    read_request,
    refusal_of,
)
from plantimager.timelapse.channel.message import CHUNK_BYTES, MessageFaulty, MessageReader
from plantimager.timelapse.channel.peer import look_up_user, peer_of
from plantimager.timelapse.channel.served_client import MAX_CLIENTS, Access, ServedClient, why_refused
from plantimager.timelapse.support.durable import make_private_directory

if TYPE_CHECKING:
    from collections.abc import Callable

    from plantimager.timelapse.support.clock import Clock

REQUEST_SECONDS: Final = 10.0
"""From the connection to the last byte of the request."""
ANSWER_SECONDS: Final = 30.0
"""For a client to read its answer."""
MAX_KEPT_BYTES: Final = 4 * MAX_REQUEST_BYTES
"""Of all the requests that are on their way at a time."""
REST_SECONDS: Final = 0.1


class ControlServer:
    """Serves the control socket on a thread of its own, from `open` to `close`."""

    def __init__(
        self,
        path: Path,
        access: Access,
        receive: Callable[[Request], None],
        clock: Clock,
        report: Callable[[Exception], None],
    ) -> None:
        """Call ``receive`` with every request that is whole, on the thread of the server; it must not take long.

        ``report`` gets what goes wrong there, but for the errors of a connection: a mistake, or no thread to be had.
        """
        self.path, self._access, self._receive, self._clock = path, access, receive, clock
        self._report = report
        self._clients: dict[int, ServedClient] = {}
        self._answers: deque[tuple[ServedClient, Answer]] = deque()
        self._woken = socket.socketpair()
        """The second end wakes the thread."""
        self._is_closing = False
        self._thread: threading.Thread | None = None

    def open(self) -> None:
        """Make the socket, in place of one that an earlier daemon has left, and serve; raise `OSError` without it."""
        make_private_directory(self.path.parent)
        listener = _listen(self.path, self._access.mode)
        for end in (listener, *self._woken):
            end.setblocking(False)
        self._thread = threading.Thread(target=self._serve, args=(listener,), name="control", daemon=True)
        self._thread.start()

    def close(self, limit: float = 2.0) -> None:
        """Write the answers that are given already, but no longer than ``limit`` seconds, and remove the socket."""
        self._is_closing = True
        self._wake()
        if self._thread is not None:
            self._thread.join(limit)
        if self._thread is None or not self._thread.is_alive():
            for end in self._woken:
                end.close()
        if self._thread is None:
            return
        with contextlib.suppress(OSError):
            self.path.unlink()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # full: it is woken already
            self._woken[1].send(b"\0")

    # --- the thread -------------------------------------------------------------------------------------

    def _serve(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            Path("/proc/thread-self/comm").write_text("control")
        while not (self._is_closing and not self._answers and not any(c.rest for c in self._clients.values())):
            try:
                self._take_turn(listener)
            except Exception as problem:  # noqa: BLE001 - else nobody is heard until the next start
                self._report(problem)
                threading.Event().wait(REST_SECONDS)
        for client in [*self._clients.values()]:
            self._drop(client)
        listener.close()

    def _take_turn(self, listener: socket.socket) -> None:
        poll = select.poll()
        poll.register(self._woken[0], select.POLLIN)
        if not self._is_closing:
            poll.register(listener, select.POLLIN)
        for descriptor, client in self._clients.items():
            poll.register(descriptor, client.events)
        for descriptor, events in poll.poll(self._timeout_ms()):
            if descriptor == self._woken[0].fileno():
                with contextlib.suppress(OSError):
                    self._woken[0].recv(CHUNK_BYTES)
            elif descriptor in self._clients:
                self._attend(self._clients[descriptor], events)
            else:
                self._accept(listener)
        while self._answers:
            self._begin_answer(*self._answers.popleft())
        now = self._clock.monotonic()
        for client in [*self._clients.values()]:
            if client.deadline is not None and now >= client.deadline:
                self._drop(client)

    def _timeout_ms(self) -> float | None:
        deadlines = [client.deadline for client in self._clients.values() if client.deadline is not None]
        if not deadlines:
            return None
        return max(min(deadlines) - self._clock.monotonic(), 0.0) * 1000 + 1

    def _accept(self, listener: socket.socket) -> None:
        try:
            connection, _ = listener.accept()
        except OSError:  # gone already; or no descriptor is left, and then it stays readable
            threading.Event().wait(REST_SECONDS)
            return
        connection.setblocking(False)
        try:
            self._admit(connection)
        except Exception as problem:
            connection.close()
            if not isinstance(problem, OSError):
                raise

    def _admit(self, connection: socket.socket) -> None:
        peer = peer_of(connection)
        refusal = why_refused(peer, self._access, self._clients.values())
        if refusal is not None:
            with contextlib.suppress(OSError):
                connection.send(b"".join(Answer(accepted=False, message=refusal).encode()))
            connection.close()
            return
        self._clients[connection.fileno()] = ServedClient(connection, peer, self._clock.monotonic() + REQUEST_SECONDS)

    def _attend(self, client: ServedClient, events: int) -> None:
        try:
            if client.reader is not None:
                self._read(client, client.reader)
            elif events & (select.POLLHUP | select.POLLERR | select.POLLNVAL):
                self._drop(client)
            elif client.rest:
                self._write(client)
        except BlockingIOError:
            pass
        except OSError:
            self._drop(client)
        except Exception as problem:  # noqa: BLE001 - of this client alone
            self._report(problem)
            self._drop(client)

    def _read(self, client: ServedClient, reader: MessageReader) -> None:
        more = client.connection.recv(CHUNK_BYTES)
        if not more:
            self._drop(client)
            return
        try:
            message = reader.feed(more)
            if message is None:
                if sum(other.bytes_kept for other in self._clients.values() if not other.rest) > MAX_KEPT_BYTES:
                    raise MessageFaulty("too many large requests at a time; try again in a moment")
                return
            if _has_left(client.connection):  # withdrawn before it was read
                self._drop(client)
                return
            name = look_up_user(client.peer.uid, self._clock.monotonic())
            request = read_request(message, client.peer.uid, name, partial(self._answer, client))
        except MessageFaulty as faulty:
            self._begin_answer(client, refusal_of(faulty))
            return
        client.hand_over(request)
        self._receive(request)

    def _write(self, client: ServedClient) -> None:
        while client.rest:
            piece = client.rest[0]
            sent = client.connection.send(piece[:CHUNK_BYTES])
            client.rest[0] = piece[sent:]
            if not client.rest[0]:
                client.rest.popleft()
        self._drop(client)

    def _drop(self, client: ServedClient) -> None:
        """Close a connection; whoever handles its request notices that nobody waits."""
        self._clients.pop(client.connection.fileno(), None)
        client.connection.close()
        client.rest.clear()
        request = client.take_request()
        if request is not None:
            request.withdraw()
            self._receive(request)

    # --- answers ------------------------------------------------------------------------------------------

    def _answer(self, client: ServedClient, answer: Answer) -> None:
        """Send an answer, soon. Any thread."""
        self._answers.append((client, answer))
        self._wake()

    def _begin_answer(self, client: ServedClient, answer: Answer) -> None:
        if client.connection.fileno() < 0:  # gone meanwhile
            return
        on_their_way = sum(other.bytes_kept for other in self._clients.values())
        if on_their_way and on_their_way + sum(map(len, answer.files)) > MAX_ANSWER_BYTES:
            busy = "the answer is too large as long as others are not read; try again in a moment"
            answer = Answer(accepted=False, message=busy)
        client.begin_answer(answer, self._clock.monotonic() + ANSWER_SECONDS)
        try:
            self._write(client)
        except BlockingIOError:
            pass  # later, as its reader takes more
        except OSError:
            self._drop(client)


def _has_left(connection: socket.socket) -> bool:
    """Whether nobody is at the other end any more, whatever is still to be read."""
    poll = select.poll()
    poll.register(connection, 0)
    return bool(poll.poll(0))


def _listen(path: Path, mode: int) -> socket.socket:
    """Return a socket that listens at a path, which may be longer than the kernel's 107 bytes for it."""
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        name = f"/proc/self/fd/{directory}/{path.name}"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)  # noqa: PTH108 - of an earlier daemon: this one has the lock
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            listener.bind(name)
            os.chmod(name, mode)  # noqa: PTH101 - as above
            listener.listen(MAX_CLIENTS)
        except OSError:
            listener.close()
            raise
    finally:
        os.close(directory)
    return listener
