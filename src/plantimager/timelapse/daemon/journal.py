"""The journal: one line for each thing that the daemon reports, with a stable action word, a level, and fields.

Under journald the fields are native (``journalctl SLOT=7``, ``ACTION=slot_skipped``), and a line
that a person must act on carries the MESSAGE_ID of its entry in the message catalog
(``journalctl -x``). Without journald the same lines go to stderr.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from plantimager.timelapse.support.errors import DriverError
from plantimager.timelapse.systemd import journal_lines
from plantimager.timelapse.systemd.journal_lines import NOTICE, ReportedAction, write_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plantimager.timelapse.domain.timelapse import TimeLapse

_INFO, _WARNING, _ERROR, _CRITICAL = logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL

IDENTIFIER: Final = "timelapsed"

logger = logging.getLogger(IDENTIFIER)


class Action(ReportedAction):
    """Everything that the daemon reports: (word, level, MESSAGE_ID where a person may have to act)."""

    IDLE = ("idle", _INFO, None)
    RESUMED = ("resumed", NOTICE, None)
    STORE_FOUND = ("store_found", _INFO, None)
    SCAN_ASSUMED = ("scan_assumed", _WARNING, "bac4c915aeea426681562be19113a685")
    STORAGE_NOT_LASTING = ("storage_not_lasting", _WARNING, "e777b8e05f284a009c0a34fa31abd89f")
    STORE_NOT_LOCKED = ("store_not_locked", _WARNING, "a87c7ebb8fcd481eb502ea39372b1ff8")
    STORE_FROM_BACKUP = ("store_from_backup", _ERROR, "ff2e4210d59b49b292317cac328ff0c8")
    STORE_QUARANTINED = ("store_quarantined", _ERROR, "1ab4ad51fa904ccca2ad958745aeb732")
    STORE_UNREADABLE = ("store_unreadable", _CRITICAL, "769ed81a71e04d31be4a2b809aab908b")
    STORE_NOT_SAVED = ("store_not_saved", _CRITICAL, "c61918ac2ec243b7b13ce78286de919b")
    STORE_SAVED_AGAIN = ("store_saved_again", NOTICE, None)
    STORE_SHORTENED = ("store_shortened", _WARNING, "f529bdaa35294b379cb755a04676336a")
    STORE_CHANGED = ("store_changed", _WARNING, "1c0aa5c2cebe487383442e67ef9435cd")
    STORE_ARCHIVED = ("store_archived", _INFO, None)
    STORE_SWEPT = ("store_swept", _INFO, None)

    DEFINITION_ACCEPTED = ("definition_accepted", NOTICE, None)
    DEFINITION_REFUSED = ("definition_refused", _WARNING, "f40029e72d96451dbeb1591250139b93")
    DEFINITION_WAITS = ("definition_waits", _WARNING, "fe462c6d0060441aa845809662854d51")
    DEFINITION_FAULTY = ("definition_faulty", _ERROR, "f95fd417efcd44bdba3a59ed6fa58730")
    DEFINITION_DONE = ("definition_done", _INFO, None)

    SCAN_STARTED = ("scan_started", NOTICE, None)
    SCAN_SUCCEEDED = ("scan_succeeded", NOTICE, None)
    SCAN_RECOVERED = ("scan_recovered", NOTICE, None)
    ATTEMPT_FAILED = ("attempt_failed", _WARNING, None)
    SCAN_FAILED = ("scan_failed", _ERROR, "f4810159a4ad46aea8a98ba6c236024b")
    SLOT_PAUSED = ("slot_paused", _INFO, None)
    SLOT_SKIPPED = ("slot_skipped", _WARNING, "d6cdf4b80ca4491ea7d9fa4c53e2d00f")
    SLOT_INTERRUPTED = ("slot_interrupted", _WARNING, "0c829057da45439b8fb8159b0594ff4a")
    SLOTS_GIVEN_BACK = ("slots_given_back", NOTICE, None)

    RIG_WARMUP = ("rig_warmup", _INFO, None)
    RIG_STANDBY = ("rig_standby", _INFO, None)
    RIG_BY_HAND = ("rig_by_hand", NOTICE, None)
    RIG_NOT_READY = ("rig_not_ready", _WARNING, "de42a71ef38d42ccacf7056141cc360c")
    RIG_TROUBLE = ("rig_trouble", _ERROR, "d69bd89c3c3642229111a876e43726cd")
    DATASETS_OUT_OF_REACH = ("datasets_out_of_reach", _ERROR, "847ce11cf33e424182341f751fc32a57")
    DATASETS_WITHIN_REACH = ("datasets_within_reach", NOTICE, None)
    DRIVER_STALLED = ("driver_stalled", _ERROR, "bedaeed9fc3b49ac90cafdd54aca349a")
    DRIVER_ABANDONED = ("driver_abandoned", _CRITICAL, "4480c3572ecf4347923e6dfe7d549f56")

    TIMELAPSE_COMPLETED = ("timelapse_completed", NOTICE, "81d84811525e405fb7fc5d28185aa91c")
    TIMELAPSE_FAILED = ("timelapse_failed", _ERROR, "c7f9f4b3604f433a9a6f5eb51bc4456d")
    TIMELAPSE_CANCELLED = ("timelapse_cancelled", NOTICE, None)

    AMENDED = ("amended", NOTICE, None)
    PAUSED = ("paused", NOTICE, "8112bebc80804851a4847deb36bd725d")
    PAUSE_ENDED = ("pause_ended", NOTICE, None)

    CLOCK_WAIT = ("clock_wait", _WARNING, "c1ab31741de942369f404e70f58a67ab")
    CLOCK_TRUSTED = ("clock_trusted", _INFO, None)
    CLOCK_MOVED = ("clock_moved", _WARNING, "f2666146f3914afba0be5b81f700dc98")

    LINES_DROPPED = journal_lines.LINES_DROPPED
    CONFIG_LOADED = ("config_loaded", _INFO, None)
    CONFIG_FAULTY = ("config_faulty", _ERROR, "e94c09ad684141039b8f783893fa018e")
    RELAY_TABLES_FAULTY = ("relay_tables_faulty", _WARNING, None)
    REQUEST_REFUSED = ("request_refused", _WARNING, None)
    RELOADED = ("reloaded", _INFO, None)
    STARTING = ("starting", _INFO, None)
    ALREADY_RUNNING = ("already_running", _ERROR, "9faf31d26ac74ff6bb53f1d5977e2e3f")
    STOPPING = ("stopping", _INFO, None)
    STOPPED = ("stopped", _INFO, None)
    START_FAILED = ("start_failed", _CRITICAL, "c3a124d63c744b75a9c7d0026094947b")
    CRASHED = ("crashed", _CRITICAL, "130644c767fc4cd3b89c1a4dc44141cb")


def log_event(
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
    as many SLOT fields. ``fields`` are added in capitals, and replace those. The traceback of ``error`` is part of the
    line, unless it is a `DriverError`, of which the sentence says everything.
    """
    extra: dict[str, Any] = {}
    if slot is not None:
        extra["SLOT"] = slot if isinstance(slot, int) else list(slot)
    if timelapse is not None:
        extra |= {"TIMELAPSE_ID": timelapse.id, "STATE": timelapse.state.value}
        if isinstance(slot, int):
            extra["SCAN_ID"] = timelapse.scan_id(slot)
            record = timelapse.records.get(slot)
            if record is not None:
                extra["ATTEMPT"] = record.attempt
    extra |= {key.upper(): value for key, value in fields.items()}
    write_line(logger, action, sentence, extra, None if isinstance(error, DriverError) else error)
