"""A `StatusSnapshot` for programs: one JSON object with stable keys.

Times are ISO-8601 in UTC, durations numbers of seconds (their keys end in ``_sec``); an unknown value is null.
Keys may be added, so ignore those that you don't know. ::

    version       1
    at            when this was read
    store         path of the store
    saved_at      when the store was last written
    from_backup   true: the store is corrupt, and this is from its .bak
    timelapse     null where there is none, else
        id mode state     as the store spells them: scheduled, running, completed, …
        n_slots           slots of the schedule
        done taken failed skipped interrupted        slots with a final record; the first is the sum of the others
        first_at last_at  the ends of the schedule
        next_slot next_at the next slot to be taken, or the one being taken; in a pause the first one after it, null
                          where a person ends it; null after the last
        interval_sec      of mode interval: that of the last slots; null where the last three have no common one
        warmup_sec standby_threshold_sec grace_sec
        on_scan_failed scan_retries
        pause             null, or {since, who, until} while it is paused; until is null where a person ends it
        ending            null, or {at, who, why} where a person or a failure ended it early
    scanning      null, or the scan that is being taken: {slot, scan_id, attempt, done, total}; done of total steps
    records       the last slots (-n), newest first, each
        slot scan_id scheduled_at
        status            pending, running, succeeded, failed, skipped, interrupted
        attempt interruptions
        started_at finished_at took_sec late_sec     of the last attempt
        pictures
        reason            of a slot that was not taken: missed, rig_not_ready, clock_moved, not_recorded, paused,
                          cancelled, timelapse_failed
        error last_error  texts; last_error is that of the attempt before the one that succeeded
    outages       [{from, to}]: times without a daemon
    uncertain     [{from, to}]: times of which nobody knows whether a daemon ran
    aside         [{path, what}]: pictures of attempts that were cut off, and what else was set aside
    daemon        null where none runs, else {pid, up_since, status, driver, degraded}; degraded is null, or why the
                  store can't be written
    service       why no daemon runs: {word, why, remedy, restarts, definition}; null where one does
    boots         boots of the machine that this timelapse has seen
    rig           scanning, preparing, warm, standby, by hand, unknown; null without a daemon
    clock         {trusted, synchronised, set_from_rtc}; trusted is the daemon's judgement, null without one
    troubles      [text]: problems that a person should look at
    notes         [text]: what a person should know of the storage and of the store
    disk          null where it isn't known whether all slots fit, else {words, is_full}; of ``status --json`` alone
    doubtful      [{timelapse, camera, verdict, since, until, slot, slots, positions, n_positions, of_positions,
                  pictures, file, is_over}]: doubts of the relay about pictures; of ``status --json`` alone

Where a rig can't be looked at, there are only version, at, store, service, and ``error``, a text.
"""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import asdict

from plantimager.timelapse.domain.pausing import next_to_take, pause_at
from plantimager.timelapse.domain.schedule import interval_of
from plantimager.timelapse.domain.states import TimeLapseMode, TimeLapseState

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import timedelta

    from plantimager.timelapse.cli.service_state import ServiceState
    from plantimager.timelapse.cli.snapshot import SlotFacts, StatusSnapshot, UnseenRig
    from plantimager.timelapse.domain.absence import Span
    from plantimager.timelapse.domain.timelapse import TimeLapse

JSON_VERSION: Final = 1
"""Of what `status --json` and `rigs --json` print."""
_INTERNAL: Final = ("boot_id", "directory", "unknown_keys")
"""The fields of a record that are the daemon's own."""


def snapshot_as_json(snapshot: StatusSnapshot, records: int) -> dict[str, Any]:
    """Return the object with the last ``records`` slots."""
    daemon, timelapse = snapshot.daemon, snapshot.timelapse
    return {
        "version": JSON_VERSION,
        "at": _time(snapshot.at),
        "store": str(snapshot.store),
        "saved_at": _time(snapshot.saved_at),
        "from_backup": bool(snapshot.backup_because),
        "timelapse": None if timelapse is None else _timelapse(snapshot, timelapse),
        "scanning": None if timelapse is None else _scanning(snapshot, timelapse),
        "records": [_record(facts) for facts, _ in zip(snapshot.slots(), range(records), strict=False)],
        "outages": _spans(snapshot.logbook.outages),
        "uncertain": _spans(snapshot.logbook.uncertain),
        "aside": [{"path": str(thing.path), "what": thing.what} for thing in snapshot.aside],
        "daemon": None
        if daemon is None
        else {
            "pid": daemon.pid,
            "up_since": _time(daemon.up_since),
            "status": daemon.says.status or "",
            "driver": daemon.says.driver or "",
            "degraded": snapshot.redact(daemon.says.degraded or "") or None,
        },
        "service": None if snapshot.service is None else _service(snapshot, snapshot.service),
        "boots": snapshot.logbook.boots,
        "rig": None if daemon is None else daemon.rig,
        "clock": {
            "trusted": None if daemon is None else daemon.says.is_clock_trusted,
            "synchronised": snapshot.evidence.kernel_synchronised,
            "set_from_rtc": snapshot.evidence.set_from_rtc,
        },
        "troubles": list(snapshot.troubles()),
        "notes": list(snapshot.notes()),
    }


def unseen_as_json(unseen: UnseenRig) -> dict[str, Any]:
    """Return the object of a rig that can't be looked at."""
    return {
        "version": JSON_VERSION,
        "at": _time(unseen.at),
        "store": str(unseen.store),
        "service": None if unseen.service is None else asdict(unseen.service),
        "error": unseen.error,
    }


def _service(snapshot: StatusSnapshot, service: ServiceState) -> dict[str, Any]:
    return {**asdict(service), "why": snapshot.redact(service.why), "definition": snapshot.redact(service.definition)}


def _timelapse(snapshot: StatusSnapshot, timelapse: TimeLapse) -> dict[str, Any]:
    tally, slots, ending = timelapse.tally, timelapse.schedule_times, timelapse.ending
    pause, following = pause_at(timelapse, snapshot.at), next_to_take(timelapse)
    interval = interval_of(slots) if timelapse.mode is TimeLapseMode.INTERVAL else None
    return {
        "id": timelapse.id,
        "mode": timelapse.mode.value,
        "state": timelapse.state.value,
        "n_slots": timelapse.n_slots,
        "done": tally.done,
        "taken": tally.taken,
        "failed": tally.failed,
        "skipped": tally.skipped,
        "interrupted": tally.interrupted,
        "first_at": _time(slots[0]) if slots else None,
        "last_at": _time(slots[-1]) if slots else None,
        "next_slot": following,
        "next_at": None if following is None else _time(slots[following]),
        "interval_sec": _seconds(interval),
        "warmup_sec": _seconds(timelapse.warmup),
        "standby_threshold_sec": _seconds(timelapse.standby_threshold),
        "grace_sec": _seconds(timelapse.grace),
        "on_scan_failed": timelapse.on_scan_failed.value,
        "scan_retries": timelapse.scan_retries,
        "pause": None
        if pause is None
        else {"since": _time(pause.since), "who": snapshot.redact(pause.who), "until": _time(pause.until)},
        "ending": None
        if ending is None
        else {"at": _time(ending.at), "who": snapshot.redact(ending.who), "why": snapshot.redact(ending.why)},
    }


def _scanning(snapshot: StatusSnapshot, timelapse: TimeLapse) -> dict[str, Any] | None:
    """Return the running scan; ``None`` without a daemon, since a store may say "running" long after its end."""
    record = timelapse.current
    if snapshot.daemon is None or timelapse.state is not TimeLapseState.RUNNING or record is None:
        return None
    steps = {"done": None, "total": None} if (now := snapshot.daemon.says.progress) is None else asdict(now)
    return {"slot": record.slot, "scan_id": record.scan_id, "attempt": record.attempt, **steps}


def _record(facts: SlotFacts) -> dict[str, Any]:
    """Return the fields of a slot's record, all that are for people, and what follows from them."""
    record = facts.record
    shown = (name for name in record.__struct_fields__ if name not in _INTERNAL)
    return {
        **{name: _plain(getattr(record, name)) for name in shown},
        "scheduled_at": _time(facts.scheduled_at),
        "took_sec": _seconds(record.took),
        "late_sec": _seconds(facts.late) if record.started_at is not None else None,
        "reason": None if record.reason is None else record.reason.value,
        "error": facts.error or None,
        "last_error": facts.last_error or None,
    }


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value.value if isinstance(value, Enum) else value


def _spans(spans: Iterable[Span]) -> list[dict[str, str | None]]:
    return [{"from": _time(start), "to": _time(end)} for start, end in spans]


def _time(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


def _seconds(duration: timedelta | None) -> float | None:
    return None if duration is None else duration.total_seconds()
