"""Lines in the journal: under journald native entries with fields, elsewhere plain lines on stderr.

Each service has a list of actions of its own, and `write_line` for each of them. A thread writes the lines, so that a
journald or a terminal that takes none never holds up the loop.
"""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections import deque
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from logging_journald import Facility, JournaldLogHandler, check_journal_stream

from plantimager.timelapse.support.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

NOTICE: Final = 25
"""Between INFO and WARNING, as in syslog: normal, but worth a look. Most transitions have this level."""
logging.addLevelName(NOTICE, "NOTICE")

LEVELS: Final = {logging.CRITICAL: 2, logging.ERROR: 3, logging.WARNING: 4, NOTICE: 5, logging.INFO: 6}
"""Python's levels as syslog priorities; 0 and 1, which write to every terminal, are not used."""

MAX_LINES: Final = 1000
"""Waiting for the other end: some days of a timelapse, and less than a megabyte."""
FLUSH_TIMEOUT: Final = 2.0
"""Seconds for the lines that still wait when the process ends."""
LINES_DROPPED: Final = ("lines_dropped", logging.WARNING, None)
"""The line of `LogThread` in the place of lines that it dropped, as an action of each service."""


class ReportedAction(Enum):
    """What a service reports: (word, level, MESSAGE_ID where a person may have to act); each service has its own."""

    def __init__(self, word: str, level: int, message_id: str | None) -> None:
        self.word, self.level, self.message_id = word, level, message_id


def write_line(
    logger: logging.Logger,
    action: ReportedAction,
    sentence: str,
    fields: Mapping[str, Any],
    error: BaseException | None = None,
    *,
    stacklevel: int = 2,
) -> None:
    """Write one line with its ``fields``, and with the traceback of ``error``. Any thread."""
    extra = {"ACTION": action.word, **fields}
    if action.message_id is not None:
        extra["MESSAGE_ID"] = action.message_id
    extra = {name: printable(value) if isinstance(value, str) else value for name, value in extra.items()}
    message = "%s: %s", action.word, printable(sentence)
    logger.log(action.level, *message, extra={"journal": extra}, exc_info=error or False, stacklevel=stacklevel + 1)


def set_up_logging(identifier: str) -> None:
    """Send everything to journald where it listens on our stderr, else to stderr as plain lines.

    ``identifier`` is the program's name, and that of its logger.
    """
    root = logging.getLogger()
    root.setLevel(logging.WARNING)  # of libraries only their warnings and errors
    handler: logging.Handler
    try:
        handler = JournalHandler(identifier) if check_journal_stream() else StderrHandler()
    except (OSError, ValueError):  # JOURNAL_STREAM is malformed, or stderr is closed
        handler = StderrHandler()
    root.handlers = [LogThread(handler, lambda count: _word_dropped(identifier, count))]
    set_level(identifier, "info")
    logging.captureWarnings(capture=True)
    # Its INFO or WARNING line for each job would repeat a line of the daemon's.
    logging.getLogger("apscheduler").setLevel(logging.ERROR)


def flush_lines(linger: float = 0) -> None:
    """Wait a little for the lines that are not out yet, and ``linger`` seconds more: before the process ends.

    journald finds out by the process whose unit a line is of; it has to be there still. `logging.shutdown` would wait
    for ever for a handler whose other end takes nothing.
    """
    for handler in logging.getLogger().handlers:
        handler.flush()
    if linger and check_journal_stream():
        time.sleep(linger)


def _word_dropped(identifier: str, count: int) -> logging.LogRecord:
    word, level, _ = LINES_DROPPED
    text = f"{word}: {count} line{'s' * (count > 1)} dropped: nothing was taken for a while"
    extra = {"journal": {"ACTION": word}}
    logger = logging.getLogger(identifier)
    return logger.makeRecord(logger.name, level, __file__, 0, text, (), None, extra=extra)


def set_level(identifier: str, name: str) -> None:
    """Set the lowest level that is written: ``debug``, ``info``, ``notice``, ``warning`` or ``error``."""
    level = logging.getLevelName(name.upper())
    logging.getLogger(identifier).setLevel(level)
    logging.getLogger("plantimager").setLevel(level)


class StderrHandler(logging.StreamHandler[Any]):
    """Plain lines on stderr, with their level where that is above NOTICE."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, with its level in front where that is above NOTICE."""
        prefix = f"{record.levelname} " if record.levelno > NOTICE else ""
        return prefix + super().format(record).replace("\n", "\n  ")

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name that logging calls
        """Drop a line that can't be written: a terminal that was closed must not end the timelapse."""


class JournalHandler(JournaldLogHandler):
    """Native journal entries with the documented fields, and no others."""

    def __init__(self, identifier: str) -> None:
        self._identifier = identifier
        super().__init__(identifier, facility=Facility.DAEMON, use_message_id=False)

    def _format_record(self, record: logging.LogRecord) -> list[tuple[str, Any]]:
        entry: list[tuple[str, Any]] = [
            ("MESSAGE", record.getMessage()),
            ("PRIORITY", self._priority(record.levelno)),
            ("SYSLOG_FACILITY", self._facility),
            ("SYSLOG_IDENTIFIER", self._identifier),
            ("CODE_FILE", record.pathname),
            ("CODE_LINE", record.lineno),
            ("CODE_FUNC", record.funcName),
            ("THREAD_NAME", record.threadName),
        ]
        for name, value in getattr(record, "journal", {}).items():
            entry += [(name, item) for item in value] if isinstance(value, list) else [(name, value)]
        if record.exc_info and record.exc_info[0] is not None:
            entry.append(("EXCEPTION", "".join(traceback.format_exception(*record.exc_info))))
        return entry

    @staticmethod
    def _priority(level: int) -> int:
        return next((priority for floor, priority in LEVELS.items() if level >= floor), 7)


class LogThread(logging.Handler):
    """Gives each record to the handler ``target`` on a thread of its own, in their order. Any thread.

    The thread starts with the first line, and doesn't keep the process from ending. What doesn't fit the queue is
    dropped and counted, and a line says how many were, as soon as the other end takes lines again.
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
