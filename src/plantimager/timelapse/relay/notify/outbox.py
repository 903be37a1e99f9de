"""What waits for each service of the sink `notify`: on disk before it is sent, and given up only when it is taken."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct
from msgspec.structs import replace

from plantimager.timelapse.channel.control_request import Answer
from plantimager.timelapse.channel.relay_status import SinkStatus
from plantimager.timelapse.relay.actions import RelayAction, log_relay
from plantimager.timelapse.relay.notify.apprise_call import AppriseCall
from plantimager.timelapse.relay.notify.messenger import MAY_HAVE_ARRIVED, send_message
from plantimager.timelapse.relay.notify.notify_text import sum_up
from plantimager.timelapse.relay.notify.told import MAX_RECENT, Message, Told, Waiting, read_told, write_told
from plantimager.timelapse.support.text import one_line

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from pathlib import Path

    from plantimager.timelapse.channel.control_request import Request
    from plantimager.timelapse.relay.notify.messenger import Service
    from plantimager.timelapse.settings.relay_config import NotifySettings
    from plantimager.timelapse.support.clock import Clock

NAME: Final = "notify"
LONGEST_RETRY: Final = 1800.0
"""Seconds between two tries at a service."""
MAX_UNKNOWN: Final = 5
"""Tries in a row without an answer, as of a service that hangs: it may have taken the message each time."""
GOOD_KINDS: Final = ("timelapse_completed", "is over", "test")
"""The ends of the kinds of news that are good."""
TEST: Final = "This is a test by timelapsectl notify. Messages of this rig arrive here."
MAX_TRIALS: Final = 4
"""Test messages that wait for the services at a time."""


class Failure(Struct, frozen=True):
    """A service that fails."""

    tries: int = 0
    """In a row."""
    retry_at: float = 0.0
    why: str = ""


NO_FAILURE: Final = Failure()


class Outbox:
    """The ledger of the sink, and the services. One thread; `status` is for any."""

    def __init__(
        self, path: Path, services: Sequence[Service], rig: str, settings: NotifySettings, clock: Clock
    ) -> None:
        self.told: Told | None = None
        """``None`` before the first look."""
        self._path, self.services, self.rig = path, services, rig
        self._settings, self._clock = settings, clock
        self._failures: dict[str, Failure] = {}
        self._ledger_trouble = ""
        """Why the ledger can't be read or written."""

    @property
    def status(self) -> SinkStatus:
        """What is set up, and when it last worked."""
        failures = ((service.name, self._failures.get(service.key)) for service in self.services)
        troubles = [f"{name}: {failure.why}" for name, failure in failures if failure is not None]
        troubles += [self._ledger_trouble] if self._ledger_trouble else []
        worked_at = self.told.worked_at if self.told is not None else None
        what = f"messages to {', '.join(service.name for service in self.services)}"
        return SinkStatus(name=NAME, what=what, worked_at=worked_at, trouble="; ".join(troubles))

    @property
    def is_unwritten(self) -> bool:
        """Whether the ledger couldn't be read or written the last time."""
        return bool(self._ledger_trouble)

    def load(self) -> Told | None:
        """Return what was told by earlier runs; ``None`` where nothing is known of that.

        What waits for a service that isn't configured any more is forgotten.

        Raises
        ------
        OSError
            It can't be read now: what it says isn't lost, and must not be replaced.
        """
        try:
            told = read_told(self._path)
        except ValueError:
            words = f"{self._path}: it can't be read; what was told before is not known"
            log_relay(RelayAction.LEDGER_DAMAGED, words, target=NAME)
            return None
        except OSError as problem:
            self._report_ledger(problem, "nothing is told until it can be read")
            raise
        self._ledger_trouble = ""
        if told is not None:
            keys = {service.key for service in self.services}
            told = replace(told, waiting={key: waiting for key, waiting in told.waiting.items() if key in keys})
            self.told = told
        return told

    def report_unknown(self) -> None:
        """Say in the status that nothing is told yet: what has happened before the first look isn't known."""
        self._ledger_trouble = "nothing is told until the store can be read"

    def keep(self, told: Told) -> None:
        """Put what was told on disk; where that is refused it counts until the relay stops, and is tried again."""
        if told == self.told and not self.is_unwritten:
            return
        self.told = told
        try:
            write_told(self._path, told)
            self._ledger_trouble = ""
        except OSError as problem:
            self._report_ledger(problem, "after a restart a message may be sent again")

    def add(self, message: Message, told: Told) -> None:
        """Have a message wait for all services; ``told`` is what it tells."""
        waiting = {service.key: told.waiting.get(service.key, Waiting()).plus(message) for service in self.services}
        recent = (*told.recent, (message.at, message.kinds))[-MAX_RECENT:]
        self.keep(replace(told, waiting=waiting, recent=recent))

    def send_waiting(self, stop: threading.Event, make_picture: Callable[[str], bytes]) -> float | None:
        """Send what waits; return in how many seconds there is another try, ``None`` where nothing waits."""
        next_try: float | None = None
        pictures: dict[str, bytes] = {}
        for service in self.services:
            waiting = self.told.waiting.get(service.key) if self.told is not None else None
            if waiting is None or not waiting.messages or stop.is_set():
                continue
            failure = self._failures.get(service.key, NO_FAILURE)
            left = failure.retry_at - self._clock.monotonic()
            if left <= 0:
                wanted = waiting.messages[-1].picture
                if wanted not in pictures and not failure.tries:
                    pictures[wanted] = make_picture(wanted)
                # Without the picture at a second try: it may be what the service doesn't take.
                self._send(service, waiting, b"" if failure.tries else pictures[wanted], failure)
                left = self._failures.get(service.key, NO_FAILURE).retry_at - self._clock.monotonic()
            if service.key in self._failures:
                next_try = left if next_try is None else min(next_try, left)
        return next_try

    def _send(self, service: Service, waiting: Waiting, picture: bytes, before: Failure) -> None:
        if waiting.unknown >= MAX_UNKNOWN:  # by relays that were killed each time
            self._give_up(service, waiting, "nobody knows what became of it")
            return
        message = sum_up(waiting, self.rig, self._clock.now())
        begun = replace(waiting, unknown=waiting.unknown + 1)
        self._keep_waiting(service, begun)
        problem = self.send(service, message, picture)
        if not problem:
            self._failures.pop(service.key, None)
            self._keep_waiting(service, None, worked_at=self._clock.now())
            log_relay(RelayAction.MESSAGE_SENT, f"to {service.name}: {message.subject}", target=NAME)
            return
        wait = min(self._settings.gather.total_seconds() * 2 ** min(before.tries, 20), LONGEST_RETRY)
        self._failures[service.key] = Failure(before.tries + 1, self._clock.monotonic() + wait, problem)
        if not problem.startswith(MAY_HAVE_ARRIVED):
            self._keep_waiting(service, replace(begun, unknown=0))
        elif begun.unknown == MAX_UNKNOWN:
            self._give_up(service, begun, problem)
            return
        if problem != before.why:
            log_relay(
                RelayAction.MESSAGE_STUCK, f"{service.name}: {problem}; what waits for it is summed up", target=NAME
            )

    def _give_up(self, service: Service, waiting: Waiting, problem: str) -> None:
        words = f"{MAX_UNKNOWN} times; what waits for it is given up, it may have arrived"
        log_relay(RelayAction.MESSAGE_STUCK, f"{service.name}: {problem}, {words}", target=NAME)
        self._keep_waiting(service, waiting.without_words())

    def _keep_waiting(self, service: Service, waiting: Waiting | None, **changes: Any) -> None:
        """Have a service wait for other messages than before, or for none."""
        if self.told is not None:
            others = {key: other for key, other in self.told.waiting.items() if key != service.key}
            all_waiting = others if waiting is None else {**others, service.key: waiting}
            self.keep(replace(self.told, waiting=all_waiting, **changes))

    def send(self, service: Service, message: Message, picture: bytes = b"") -> str:
        """Send to one service; return why it failed, empty where it did not."""
        is_good = all(kind.endswith(GOOD_KINDS) for kind in message.kinds)
        call = AppriseCall((), message.subject, message.body, is_good=is_good, picture=picture)
        return send_message(service, call, self._settings.timeout)

    def _report_ledger(self, problem: OSError, cost: str) -> None:
        trouble = f"{self._path}: {problem.strerror or problem}"
        if trouble != self._ledger_trouble:
            self._ledger_trouble = trouble
            log_relay(RelayAction.LEDGER_NOT_WRITTEN, f"{trouble}; {cost}", target=NAME)


class Trials:
    """The test messages that people ask for. `put` is for any thread, the rest for that of the sink."""

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
        message = Message(now, f"{self._outbox.rig}: a test", TEST, ("test",))
        sent = [(service.name, self._outbox.send(service, message, picture)) for service in self._outbox.services]
        if self._outbox.told is not None and not all(problem for _, problem in sent):
            self._outbox.keep(replace(self._outbox.told, worked_at=now))
        lines = [one_line(f"{service}: {f'not sent: {problem}' if problem else 'sent'}") for service, problem in sent]
        log_relay(RelayAction.TRIAL_SENT, f"by {request.who}: {'; '.join(lines)}", target=NAME)
        failed = any(problem for _, problem in sent)
        request.answer(Answer(accepted=True, message="\n".join(lines), details={"failed": failed}))
