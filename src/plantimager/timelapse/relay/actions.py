"""Everything that the relay reports in the journal."""

from __future__ import annotations

import logging
from typing import Any, Final

from plantimager.timelapse.systemd import journal_lines
from plantimager.timelapse.systemd.journal_lines import NOTICE, ReportedAction, write_line

PROGRAM: Final = "timelapse-relay"
"""The program, and its identifier in the journal."""

_INFO, _WARNING, _ERROR, _CRITICAL = logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL


class RelayAction(ReportedAction):
    """One kind of line: (word, level, MESSAGE_ID where a person may have to act)."""

    RELAY_STARTED = ("relay_started", _INFO, None)
    RELAY_STOPPED = ("relay_stopped", _INFO, None)
    STORE_NOT_READ = ("store_not_read", _WARNING, None)

    REQUEST_REFUSED = ("request_refused", _WARNING, None)

    DELIVERED = ("delivered", NOTICE, None)
    DELIVERY_STUCK = ("delivery_stuck", _WARNING, "5a3d0ba3f6ab4d5cb8cb29d63c1e0a52")
    DELIVERY_RESUMED = ("delivery_resumed", NOTICE, None)
    DELIVERY_REFUSED = ("delivery_refused", _ERROR, "e1f74c3f9b9c4f0f9f6f7cb2d07c4a16")
    DELIVERY_ASKED = ("delivery_asked", NOTICE, None)
    DATASET_GONE = ("dataset_gone", _WARNING, "0b6f6d3a41c54e2f8b3a8df6c2b1d8e7")
    DATASETS_REMOVED = ("datasets_removed", NOTICE, None)
    DATASETS_KEPT = ("datasets_kept", _WARNING, "4c1e7a90d2b84f5f8a36e0c7d9b15e62")
    LEDGER_DAMAGED = ("ledger_damaged", _WARNING, "7c9be2b6a0d8435d9d56c8f3a1e40b9f")
    LEDGER_NOT_WRITTEN = ("ledger_not_written", _ERROR, "3f2a8c5d7e914b06a4d1c9e8b7f60a35")

    OVERDUE = ("overdue", _WARNING, "f938ff3d3b8942e6939fed3f4016f6a1")
    MESSAGE_SENT = ("message_sent", _INFO, None)
    TRIAL_SENT = ("trial_sent", NOTICE, None)
    MESSAGE_STUCK = ("message_stuck", _WARNING, "bd4a345c47054a1288ab8fe16ddb56f7")
    HEARTBEAT_STUCK = ("heartbeat_stuck", _WARNING, "26752b62e4464e7aab2dba380f64d943")
    HEARTBEAT_RESUMED = ("heartbeat_resumed", NOTICE, None)
    PICTURES_DOUBTFUL = ("pictures_doubtful", _WARNING, "0b25f73f804c4d2da46798a0abde51fe")
    PICTURES_IN_ORDER = ("pictures_in_order", NOTICE, None)
    METRICS_NOT_WRITTEN = ("metrics_not_written", _WARNING, "c4f1a7e25b9d4c0e8a63d2f7b1904e5c")

    RELAY_CONFIG_FAULTY = ("relay_config_faulty", _ERROR, "9d84e1b2c35f4a7c8e06f7d9a2b3c41e")
    RELAY_FAILED = ("relay_failed", _CRITICAL, "b7e5c0d91a2f4863957d8e4f6a1c2b3d")
    LINES_DROPPED = journal_lines.LINES_DROPPED


def log_relay(action: RelayAction, sentence: str, *, error: BaseException | None = None, **fields: Any) -> None:
    """Write one line to the journal, with ``fields`` in capitals. Any thread."""
    in_capitals = {name.upper(): value for name, value in fields.items()}
    write_line(logging.getLogger(PROGRAM), action, sentence, in_capitals, error)
