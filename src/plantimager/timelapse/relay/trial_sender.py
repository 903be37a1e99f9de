"""Test messages that people ask for: one to each service, and what became of it as the answer."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

from msgspec.structs import replace

from plantimager.timelapse.channel.control_request import Answer
from plantimager.timelapse.relay.actions import RelayAction, log_relay
from plantimager.timelapse.relay.told import Message
from plantimager.timelapse.support.text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from plantimager.timelapse.channel.control_request import Request
    from plantimager.timelapse.relay.outbox import Outbox

BODY = "This is a test by timelapsectl notify. Messages of this rig arrive here."
MAX_TRIALS: Final = 4
"""Those that wait for the services at a time."""


@runtime_checkable
class TrialSink(Protocol):
    """A sink that sends test messages."""

    @property
    def trial_seconds(self) -> float:
        """The longest that one takes."""

    def send_trial(self, request: Request) -> None:
        """Have one sent, which answers the request. Any thread."""


class Trials:
    """The test messages that wait. `put` is for any thread, the rest for that of the sink."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._waiting: deque[Request] = deque()

    def put(self, request: Request) -> None:
        """Have a message sent for a request."""
        if len(self._waiting) < MAX_TRIALS:
            self._waiting.append(request)
        else:
            busy = "other test messages are not sent yet; try again in a moment"
            request.answer(Answer(accepted=False, message=busy))

    def answer(self, now: datetime, make_picture: Callable[[str], bytes]) -> None:
        """Send the messages that are asked for to all services."""
        while self._waiting:
            request = self._waiting.popleft()
            if not request.is_withdrawn:
                self._send(request, now, make_picture(""))

    def _send(self, request: Request, now: datetime, picture: bytes) -> None:
        message = Message(now, f"{self._outbox.rig}: a test", BODY, ("test",))
        sent = [(service.name, self._outbox.send(service, message, picture)) for service in self._outbox.services]
        if self._outbox.told is not None and not all(problem for _, problem in sent):
            self._outbox.keep(replace(self._outbox.told, worked_at=now))
        lines = [one_line(f"{service}: {f'not sent: {problem}' if problem else 'sent'}") for service, problem in sent]
        log_relay(RelayAction.TRIAL_SENT, f"by {request.who}: {'; '.join(lines)}", target="notify")
        failed = any(problem for _, problem in sent)
        request.answer(Answer(accepted=True, message="\n".join(lines), details={"failed": failed}))
