"""The far ends of the relay's messages and pings: a mail server, and one for ntfy and monitors, on the loopback."""

from __future__ import annotations

import contextlib
import email
import email.policy
import http.server
import json
import queue
import socket
import threading
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from aiosmtpd.controller import Controller

if TYPE_CHECKING:
    from datetime import datetime, timedelta
    from email.message import EmailMessage

    from plantimager.timelapse.support.clock import Clock

SHUTDOWN_POLL = 0.02
"""Seconds between two looks of a server whether it shall end."""
PATIENCE = 60.0
"""Seconds after which an expected message counts as missing."""


class Mail(NamedTuple):
    """One mail that arrived."""

    subject: str
    body: str
    attachments: tuple[bytes, ...]


class MailServer:
    """A mail server that keeps what it is sent."""

    def __init__(self) -> None:
        self.mails: queue.Queue[Mail] = queue.Queue()
        with socket.create_server(("127.0.0.1", 0)) as free:  # the controller can't say which port it was given
            port = free.getsockname()[1]
        self._controller = Controller(self, hostname="127.0.0.1", port=port)

    async def handle_DATA(self, _server: object, _session: object, envelope: Any) -> str:  # noqa: N802 - its protocol
        """Take a mail."""
        message: EmailMessage = email.message_from_bytes(envelope.content, policy=email.policy.default)
        body = message.get_body(("plain",))
        attached = tuple(part.get_content() for part in message.iter_attachments())
        text = body.get_content() if body is not None else ""
        self.mails.put(Mail(message["subject"], text.replace("\r\n", "\n").strip(), attached))
        return "250 OK"

    def __enter__(self) -> Self:
        self._controller.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._controller.stop()

    @property
    def url(self) -> str:
        """The URL of apprise for it."""
        return f"mailto://127.0.0.1:{self._controller.port}/?from=rig@example.org&to=ada@example.org&mode=insecure"

    def next(self) -> Mail:
        """Return the next mail."""
        return self.mails.get(timeout=PATIENCE)


class Received(NamedTuple):
    """One request that arrived."""

    method: str
    path: str
    body: bytes
    key: str | None = None
    """Its X-Api-Key."""

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class HttpReceiver:
    """A server that keeps what it is sent, and answers with `code`; it hangs while `gate` is cleared."""

    def __init__(self, port: int = 0) -> None:
        self.requests: queue.Queue[Received] = queue.Queue()
        self.code = 200
        self.gate = threading.Event()
        self.gate.set()
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                receiver.gate.wait(PATIENCE)
                request = Received(self.command, self.path, body, self.headers.get("X-Api-Key"))
                code = receiver.hear(request) if receiver.code < HTTPStatus.MULTIPLE_CHOICES else receiver.code
                with contextlib.suppress(OSError):  # who asked may have given up
                    self.send_response(code)
                    self.send_header("Content-Length", "2")
                    self.end_headers()
                    self.wfile.write(b"{}")

            do_GET = do_PUT = do_POST  # noqa: N815 - its protocol

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(SHUTDOWN_POLL,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.gate.set()
        self._server.shutdown()
        self._server.server_close()

    def hear(self, request: Received) -> int:
        """Take a request; return the code of the answer. Its own thread."""
        self.requests.put(request)
        return self.code

    def answer_with(self, code: int) -> None:
        """Answer with that from now on; only what is answered with success is kept."""
        self.code = code

    def next(self) -> Received:
        """Return the next request."""
        return self.requests.get(timeout=PATIENCE)


class Check(HttpReceiver):
    """One check as Healthchecks has it, by a clock of the test: what pings make of it, and when it raises an alarm."""

    PING, PAUSE = "/ping/uuid", "/api/v3/checks/uuid/pause"

    def __init__(self, clock: Clock, period: timedelta, grace: timedelta, key: str) -> None:
        super().__init__()
        self._clock, self._period, self._grace, self._key = clock, period, grace, key
        self.status = "new"
        self.alarms: list[datetime] = []
        """When its status became "down"."""
        self._deadline: datetime | None = None

    def hear(self, request: Received) -> int:
        """Take a ping, or a request of the management API."""
        self.let_time_pass()
        if request.path == self.PAUSE:
            if (request.method, request.key) != ("POST", self._key):
                return HTTPStatus.UNAUTHORIZED
            self.status, self._deadline = "paused", None
        elif request.path == f"{self.PING}/start":  # leaves the status as it is, but is a beginning that needs its end
            if self.status != "down":
                begun = self._clock.now() + self._grace
                self._deadline = begun if self._deadline is None else min(self._deadline, begun)
        elif request.path == self.PING:
            self.status, self._deadline = "up", self._clock.now() + self._period + self._grace
        elif request.path == f"{self.PING}/fail":
            self._go_down(self._clock.now())
        else:
            return HTTPStatus.NOT_FOUND
        return super().hear(request)

    def let_time_pass(self) -> None:
        """Raise the alarm that is due by now."""
        if self._deadline is not None and self._clock.now() >= self._deadline:
            self._go_down(self._deadline)

    def _go_down(self, at: datetime) -> None:
        if self.status != "down":
            self.alarms.append(at)
        self.status, self._deadline = "down", None
