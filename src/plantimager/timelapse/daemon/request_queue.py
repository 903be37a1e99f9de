"""The requests that wait for the loop, and those that need no decision: these are answered beside it."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from plantimager.timelapse.channel.request_worker import answer_now
from plantimager.timelapse.daemon.refusal_log import RefusalLog
from plantimager.timelapse.support.text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from plantimager.timelapse.channel.control_request import Request
    from plantimager.timelapse.channel.request_worker import Find
    from plantimager.timelapse.support.clock import Clock


class RequestQueue:
    """Takes requests from any thread; the loop takes those that it decides, one after the other."""

    def __init__(self, clock: Clock) -> None:
        self._wake, self.refusals = clock.wake, RefusalLog(clock)
        self._waiting: deque[Request] = deque()
        self._readers = ThreadPoolExecutor(1, "reader")
        self._read_by: Mapping[str, Callable[[Request], object]] = {}
        self._answered_by: Mapping[str, Find] = {}

    def begin(self, *, read_by: Mapping[str, Callable[[Request], object]], answered_by: Mapping[str, Find]) -> None:
        """Name what reads a command before the loop gets it, and what answers one without the loop.

        The latter is called on the thread that brings the request, so it must not take long: see `RequestWorker`.
        """
        self._read_by, self._answered_by = read_by, answered_by

    def put(self, request: Request) -> None:
        """Have a request handled, or noticed that it is withdrawn."""
        find = self._answered_by.get(request.command)
        if find is not None:
            answer_now(find, request, self.report_mistake)
            return
        if not request.is_withdrawn:
            self._readers.submit(self._read, request) if request.command in self._read_by else self._append(request)
        self._wake()

    def report(self, problem: Exception) -> None:
        """Log what went wrong on the thread that brings the requests; it goes on."""
        words = f"a request was dropped: {type(problem).__name__}: {one_line(str(problem))}"
        self.refusals.log("the control socket", words, problem)

    def _read(self, request: Request) -> None:
        if not request.is_withdrawn:
            request.read_by(self._read_by[request.command])
            self._append(request)
            self._wake()

    def _append(self, request: Request) -> None:
        self._waiting.append(request)

    def next_request(self) -> Request | None:
        """Return the oldest request for which somebody still waits; ``None`` where there is none. Loop thread."""
        while self._waiting:
            request = self._waiting.popleft()
            if not request.is_withdrawn:
                return request
        return None

    def report_mistake(self, request: Request, problem: Exception) -> None:
        """Log what went wrong where a request was answered. Any thread."""
        words = f"{request.command} by {request.who}: {type(problem).__name__}: {problem}"
        self.refusals.log(request.who, words, problem)
