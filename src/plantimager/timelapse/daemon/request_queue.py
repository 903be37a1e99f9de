"""The requests that wait for the loop, and those that need no decision: these are answered beside it."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from plantimager.timelapse.channel.control_request import refusal_of
from plantimager.timelapse.daemon.journal import Action, log_event

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from plantimager.timelapse.channel.control_request import Answer, Request


class RequestQueue:
    """Takes requests from any thread; the loop takes those that it decides, one after the other."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._waiting: deque[Request] = deque()
        self._readers = ThreadPoolExecutor(1, "reader")
        self._read_by: Mapping[str, Callable[[Request], object]] = {}
        self._answered_by: Mapping[str, Callable[[Request], Answer]] = {}

    def begin(
        self, read_by: Mapping[str, Callable[[Request], object]], answered_by: Mapping[str, Callable[[Request], Answer]]
    ) -> None:
        """Name what reads a command before the loop gets it, and what answers a command without the loop.

        The former is called on a thread of its own, the latter on that which brings the request.
        """
        self._read_by, self._answered_by = read_by, answered_by

    def put(self, request: Request) -> None:
        """Have a request handled, or noticed that it is withdrawn."""
        answer = self._answered_by.get(request.command)
        if answer is not None:
            if not request.is_withdrawn:
                request.answer(_answer_by(answer, request))
            return
        if not request.is_withdrawn:
            self._readers.submit(self._read, request) if request.command in self._read_by else self._append(request)
        self._wake()

    def _read(self, request: Request) -> None:
        if not request.is_withdrawn:
            request.read_by(self._read_by[request.command])
            self._append(request)
            self._wake()

    def _append(self, request: Request) -> None:
        self._waiting.append(request)

    def take(self) -> Request | None:
        """Return the oldest request for which somebody still waits; ``None`` where there is none. Loop thread."""
        while self._waiting:
            request = self._waiting.popleft()
            if not request.is_withdrawn:
                return request
        return None


def _answer_by(answer: Callable[[Request], Answer], request: Request) -> Answer:
    """Return the answer; a mistake in it costs that alone, not the thread that brings the requests."""
    try:
        return answer(request)
    except Exception as problem:  # noqa: BLE001 - see above
        log_event(Action.REQUEST_REFUSED, f"{request.command}: {type(problem).__name__}: {problem}", error=problem)
        return refusal_of(problem)
