"""What the daemon says: one line an event, with a stable action name, a level that means something, and fields.

Under journald the fields arrive natively (``journalctl SLOT=7``, ``ACTION=slot_skipped``), and
an event that a person must act on carries the MESSAGE_ID of its entry in the message catalog
(``journalctl -x``). Without journald the same lines go to stderr.
"""

from __future__ import annotations

import logging
import sys
import traceback
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from logging_journald import Facility, JournaldLogHandler, check_journal_stream

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plantimager.controller.scanner.timelapse import TimeLapse

NOTICE: Final = 25
"""Between INFO and WARNING, as syslog has it: normal, but worth a look. Every transition is one."""
logging.addLevelName(NOTICE, "NOTICE")

LEVELS: Final = MappingProxyType(
    {
        logging.CRITICAL: 2,
        logging.ERROR: 3,
        logging.WARNING: 4,
        NOTICE: 5,
        logging.INFO: 6,
        logging.DEBUG: 7,
    }
)
"""Python's levels as syslog priorities; 0 and 1 would wake every terminal, and nothing here is worth that."""

_INFO, _WARNING, _ERROR, _CRITICAL = logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL

IDENTIFIER: Final = "timelapsed"

logger = logging.getLogger("timelapsed")


class Action(Enum):
    """Everything that the daemon reports: (name, level, MESSAGE_ID where a person may have to act)."""

    IDLE = ("idle", _INFO, None)
    RESUMED = ("resumed", NOTICE, None)
    STORE_FOUND = ("store_found", _INFO, None)
    STORE_FROM_BACKUP = ("store_from_backup", _ERROR, "0c38bdd1ac2a4dd2a30c60aa3d8ee31a")
    STORE_QUARANTINED = ("store_quarantined", _ERROR, "6e2ea6ea0bc84d0c95cfa15fe03a36f3")
    STORE_UNREADABLE = ("store_unreadable", _CRITICAL, "df3b9c6a9d5b4be69d9e9d7aa0fd0f4c")
    STORE_NOT_SAVED = ("store_not_saved", _CRITICAL, "3f7f7bd1c5cd4b2b9f9b3d0ac3fef6a1")
    STORE_SAVED_AGAIN = ("store_saved_again", NOTICE, None)
    STORE_CHANGED = ("store_changed", _WARNING, "a2d6b8f70f3f4ac4bb3c3c36d2c29a17")
    STORE_ARCHIVED = ("store_archived", _INFO, None)
    STORE_SWEPT = ("store_swept", _INFO, None)

    DEFINITION_ACCEPTED = ("definition_accepted", NOTICE, None)
    DEFINITION_REFUSED = ("definition_refused", _WARNING, "b9a0f2a1c2f84a0b8d4f1b0e52d9d6c8")
    DEFINITION_FAULTY = ("definition_faulty", _ERROR, "5b1f86c9f3d64b57a1f4d7d0d6cfd3ab")
    DEFINITION_DONE = ("definition_done", _INFO, None)

    SCAN_STARTED = ("scan_started", NOTICE, None)
    SCAN_SUCCEEDED = ("scan_succeeded", NOTICE, None)
    SCAN_RECOVERED = ("scan_recovered", NOTICE, None)
    ATTEMPT_FAILED = ("attempt_failed", _WARNING, None)
    SCAN_FAILED = ("scan_failed", _ERROR, "e0b6b1f0a51b4e3cbe3d1f5e9a2a3fd4")
    SLOT_SKIPPED = ("slot_skipped", _WARNING, "8d0b4a4d4c0e4ac3a9d7d0fd2b2d5d11")
    SLOT_INTERRUPTED = ("slot_interrupted", _WARNING, "1f7d1d6c8f1b4f0aa6f5c8a9b8e4c7a3")
    SLOTS_GIVEN_BACK = ("slots_given_back", NOTICE, None)

    RIG_WARMUP = ("rig_warmup", _INFO, None)
    RIG_STANDBY = ("rig_standby", _INFO, None)
    RIG_NOT_READY = ("rig_not_ready", _WARNING, "c5a1c7f6d3ab4f27b1f0a96f6e2cfe59")
    RIG_TROUBLE = ("rig_trouble", _ERROR, "92bb1a8c1d9f4c86b7a5b7f5dbe0d7e2")
    DRIVER_STALLED = ("driver_stalled", _ERROR, "7a3c2be5a0a54d7fb7f8c6d9ae1b7f40")
    DRIVER_ABANDONED = ("driver_abandoned", _CRITICAL, "4d6f3e1f8f6a4b0c9a1b2c7e5d8fa9b6")

    TIMELAPSE_COMPLETED = ("timelapse_completed", NOTICE, "2b9c7e6ad4f14f3e8c5b0d9f7a6e1c38")
    TIMELAPSE_FAILED = ("timelapse_failed", _ERROR, "ab4d5c2f7e9b4a31b8f6d0c1e3a7f592")
    TIMELAPSE_CANCELLED = ("timelapse_cancelled", NOTICE, None)

    CLOCK_WAIT = ("clock_wait", _WARNING, "d1a7f3c4b5e94d0fa2c6b8e7f9d03a15")
    CLOCK_TRUSTED = ("clock_trusted", _INFO, None)
    CLOCK_MOVED = ("clock_moved", _WARNING, "f4c9a1b27d3e4f5c8a6b0e9d7c2f1b83")

    CONFIG_LOADED = ("config_loaded", _INFO, None)
    CONFIG_FAULTY = ("config_faulty", _ERROR, "39e8d7c6b5a44f3e92d1c0bfae8d7c65")
    REQUEST_REFUSED = ("request_refused", _WARNING, None)
    RELOADED = ("reloaded", _INFO, None)
    STARTING = ("starting", _INFO, None)
    ALREADY_RUNNING = ("already_running", _ERROR, "50f1e2d3c4b54a6978695a4b3c2d1e0f")
    STOPPING = ("stopping", _INFO, None)
    STOPPED = ("stopped", _INFO, None)
    START_FAILED = ("start_failed", _CRITICAL, "97b8c9d0e1f24a3b8c5d6e7f80912a3b")
    CRASHED = ("crashed", _CRITICAL, "68a9b0c1d2e34f5061728394a5b6c7d8")

    def __init__(self, word: str, level: int, message_id: str | None) -> None:
        self.word, self.level, self.message_id = word, level, message_id


def tell(
    action: Action,
    sentence: str,
    *,
    timelapse: TimeLapse | None = None,
    slot: int | Sequence[int] | None = None,
    error: BaseException | None = None,
    **fields: Any,
) -> None:
    """Write one line to the journal. Any thread.

    ``timelapse`` and ``slot`` become TIMELAPSE_ID, STATE, SLOT, SCAN_ID and ATTEMPT; several slots become
    as many SLOT fields. ``fields`` are added in capitals; the chain of ``error`` goes into the same entry.
    """
    extra: dict[str, Any] = {"ACTION": action.word, **{key.upper(): value for key, value in fields.items()}}
    if action.message_id is not None:
        extra["MESSAGE_ID"] = action.message_id
    if timelapse is not None:
        extra |= {"TIMELAPSE_ID": timelapse.id, "STATE": timelapse.state.value}
        if isinstance(slot, int):
            extra |= {"SLOT": slot, "SCAN_ID": timelapse.scan_id(slot)}
            record = timelapse.records.get(slot)
            if record is not None:
                extra["ATTEMPT"] = record.attempt
        elif slot is not None:
            extra["SLOT"] = list(slot)
    exc_info = error if error is not None else False
    logger.log(action.level, "%s: %s", action.word, sentence, extra={"journal": extra}, exc_info=exc_info, stacklevel=2)


def set_up_logging(level: str = "info") -> None:
    """Send everything to journald where it listens on our stderr, else to stderr as plain lines."""
    root = logging.getLogger()
    root.setLevel(logging.WARNING)  # of libraries only what went wrong
    handler: logging.Handler
    try:
        handler = JournalHandler() if check_journal_stream() else StderrHandler()
    except (OSError, ValueError):  # JOURNAL_STREAM is malformed, or stderr is closed
        handler = StderrHandler()
    root.handlers = [handler]
    set_level(level)
    logging.captureWarnings(capture=True)
    # Its one INFO or WARNING line per job would repeat what is said here in better words.
    logging.getLogger("apscheduler").setLevel(logging.ERROR)


def set_level(name: str) -> None:
    """Say from which level on lines are written: ``debug``, ``info``, ``notice``, ``warning`` or ``error``."""
    level = logging.getLevelName(name.upper())
    logger.setLevel(level)
    logging.getLogger("plantimager").setLevel(level)


class StderrHandler(logging.StreamHandler[Any]):
    """Plain lines for a person in front of a terminal, the level where it matters."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)
        self.setFormatter(_PlainFormatter())

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name that logging calls
        """Go on without a line: a terminal that was closed must not end the timelapse."""


class _PlainFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """Return ``NOTICE`` and lower bare, the rest with its level in front."""
        prefix = f"{record.levelname} " if record.levelno > NOTICE else ""
        return prefix + super().format(record).replace("\n", "\n  ")


class JournalHandler(JournaldLogHandler):
    """Native journal entries with exactly the fields that are documented, and no others."""

    def __init__(self) -> None:
        super().__init__(IDENTIFIER, facility=Facility.DAEMON, use_message_id=False)

    def _format_record(self, record: logging.LogRecord) -> list[tuple[str, Any]]:
        entry: list[tuple[str, Any]] = [
            ("MESSAGE", record.getMessage()),
            ("PRIORITY", self._priority(record.levelno)),
            ("SYSLOG_FACILITY", self._facility),
            ("SYSLOG_IDENTIFIER", IDENTIFIER),
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
