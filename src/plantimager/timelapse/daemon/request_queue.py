"""The requests that wait for the loop, and those that need no decision: these are answered beside it."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from plantimager.timelapse.channel.request_worker import answer_now
from plantimager.timelapse.daemon.journal import Action, log_event
from plantimager.timelapse.support.text import format_count, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from plantimager.timelapse.channel.control_request import Request
    from plantimager.timelapse.channel.request_worker import Find
    from plantimager.timelapse.support.clock import Clock


LINE_SECONDS: Final = 1.0
"""Between two lines about the requests of one user. Above some hundred lines a second journald drops lines of all."""


class RefusalLog:
    """Logs refused requests: for each user one line a second, and how many more there were. Any thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._said_at: dict[str, float] = {}
        """Of each user with a line in the last second, when that was, on the monotonic clock."""
        self._more: dict[str, tuple[int, str]] = {}
        """How many requests of each were refused since, without a line; and what the last line would have said."""

    def log(self, who: str, sentence: str, error: BaseException | None = None) -> None:
        """Log that a request of a user was refused, or only count it."""
        self.flush()
        with self._lock:
            is_counted, is_first = who in self._said_at, not self._more
            if is_counted:
                self._more[who] = self._more.get(who, (0, ""))[0] + 1, sentence
            else:
                self._said_at[who] = self._clock.monotonic()
        if not is_counted:
            log_event(Action.REQUEST_REFUSED, sentence, error=error)
        elif is_first:
            self._clock.wake()  # for the loop to call `flush`

    def flush(self) -> float | None:
        """Log how many requests were only counted, once it is time; return in how many seconds to call this again."""
        now, counted = self._clock.monotonic(), list[str]()
        with self._lock:
            for who in [who for who, at in self._said_at.items() if now - at >= LINE_SECONDS]:
                number, sentence = self._more.pop(who, (0, ""))
                if number:
                    self._said_at[who] = now
                    more = format_count(number, "more request")
                    counted.append(f"{sentence}; the last of {more} since the line before" if number > 1 else sentence)
                else:
                    del self._said_at[who]
            waits = [self._said_at[who] + LINE_SECONDS - now for who in self._more]
        for line in counted:
            log_event(Action.REQUEST_REFUSED, line)
        return min(waits, default=None)


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
            self.put_back(request)

    def put_back(self, request: Request) -> None:
        """Have the loop handle a request about which something was found out beside it. Any thread."""
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
