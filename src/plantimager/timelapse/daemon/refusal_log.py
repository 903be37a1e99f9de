"""The lines about refused requests, few enough that journald takes the other lines of the daemon, too."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from plantimager.timelapse.daemon.journal import Action, log_event
from plantimager.timelapse.support.text import format_count

if TYPE_CHECKING:
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

    @property
    def is_counting(self) -> bool:
        """Whether `flush` has a line to write soon."""
        return bool(self._more)

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
