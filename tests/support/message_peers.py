"""The far ends of the relay's messages and pings: a mail server, and a check of Healthchecks, on the loopback."""

from __future__ import annotations

import email
import email.policy
import queue
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from aiosmtpd.controller import Controller
from http_receiver import PATIENCE, HttpReceiver, Received
from plantdb_server import free_port

if TYPE_CHECKING:
    from datetime import datetime, timedelta
    from email.message import EmailMessage

    from plantimager.timelapse.support.clock import Clock


class Mail(NamedTuple):
    """One mail that arrived."""

    subject: str
    body: str
    attachments: tuple[bytes, ...]


class MailServer:
    """A mail server that keeps what it is sent."""

    def __init__(self) -> None:
        self.mails: queue.Queue[Mail] = queue.Queue()
        # The controller can't say which port it was given.
        self._controller = Controller(self, hostname="127.0.0.1", port=free_port())

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


class Check(HttpReceiver):
    """One check as Healthchecks has it, or as Uptime Kuma does, by a clock of the test: when it raises an alarm."""

    PING, PAUSE, PUSH = "/ping/uuid", "/api/v3/checks/uuid/pause", "/api/push/token"

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
        elif request.path == self.PING or request.path.startswith(f"{self.PUSH}?status=up&"):
            self.status, self._deadline = "up", self._clock.now() + self._period + self._grace
        elif request.path == f"{self.PING}/fail" or request.path.startswith(f"{self.PUSH}?status=down&"):
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
