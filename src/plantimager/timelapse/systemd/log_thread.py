"""The thread that writes log lines, so that a journald or a terminal that takes none never holds up the loop.

Lines wait in a queue of `MAX_LINES`. What doesn't fit is dropped and counted, and a line says how many were, as soon as
the other end takes lines again.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_LINES: Final = 1000
"""Waiting for the other end: some days of a timelapse, and less than a megabyte."""

FLUSH_TIMEOUT: Final = 2.0
"""Seconds for the lines that still wait when the process ends."""


class LogThread(logging.Handler):
    """Gives each record to the handler ``target`` on a thread of its own, in their order. Any thread.

    The thread starts with the first line, and doesn't keep the process from ending.
    """

    def __init__(self, target: logging.Handler, word_dropped: Callable[[int], logging.LogRecord]) -> None:
        """``word_dropped`` returns the line that says how many lines were dropped."""
        super().__init__()
        self._target, self._word_dropped = target, word_dropped
        self._waiting: deque[tuple[logging.LogRecord, int]] = deque()
        """Records, each with the number of lines that are dropped with it."""
        self._changed = threading.Condition()
        self._dropped = 0
        self._is_writing = False
        self._thread: threading.Thread | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Put a record into the queue, or count it where that is full."""
        with self._changed:
            if len(self._waiting) >= MAX_LINES:
                self._dropped += 1
                return
            self._report_dropped()
            self._waiting.append((record, 1))
            self._changed.notify_all()
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="log", daemon=True)
                self._thread.start()

    def flush(self) -> None:
        """Wait until all lines are out, but no longer than `FLUSH_TIMEOUT`: the other end may take none."""
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting and not self._is_writing, FLUSH_TIMEOUT)

    def _report_dropped(self) -> None:
        """Put the line about dropped lines where they are missing."""
        if self._dropped:
            self._waiting.append((self._word_dropped(self._dropped), self._dropped))
            self._dropped = 0

    def _work(self) -> None:
        has_failed = False
        while True:
            with self._changed:
                self._is_writing = False
                if not self._waiting and not has_failed:  # else that line would fail as well: the next one has it
                    self._report_dropped()
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._waiting)
                (record, count), self._is_writing = self._waiting.popleft(), True
            has_failed = False
            try:
                self._target.handle(record)
            except Exception:  # noqa: BLE001 - whatever fails at the other end, later lines are to be written
                has_failed = True
                with self._changed:
                    self._dropped += count
