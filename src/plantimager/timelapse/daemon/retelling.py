"""The last minutes of the store once more in the journal: of what journald is given last, a power cut takes half along.

The logbook of the store has what was recorded in that time, whatever it was: a slot, the correction of an old one, a
pause, an amendment, the beginning or the end of a timelapse. Each line about it has the field RETOLD, and says that it
is one. Of a timelapse that made room in that time the logbook has what is to be told, and the archive the records.
"""

from __future__ import annotations

from datetime import timedelta
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Final, TypeAlias

from msgspec.structs import replace

from plantimager.timelapse.daemon.journal import Action, log_event
from plantimager.timelapse.daemon.journal_events import (
    ACTION_OF_END,
    MAX_SLOTS_NAMED,
    action_of_skipped,
    describe_end,
    describe_skipped,
)
from plantimager.timelapse.domain import events
from plantimager.timelapse.domain.pausing import describe_pause
from plantimager.timelapse.domain.records import storable_text
from plantimager.timelapse.domain.states import RecordStatus
from plantimager.timelapse.domain.wording import (
    describe_end_of_pause,
    describe_slot,
    describe_slots,
    format_local_time,
    ordinal,
)
from plantimager.timelapse.settings.acceptance import describe_start
from plantimager.timelapse.store.schema import Recorded
from plantimager.timelapse.support.text import format_count

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from plantimager.timelapse.domain.records import Pause, SlotRecord
    from plantimager.timelapse.domain.timelapse import TimeLapse
    from plantimager.timelapse.store.schema import Logbook

    Find: TypeAlias = Callable[[Collection[str]], Mapping[str, TimeLapse]]
    _Line: TypeAlias = tuple[Action, str, tuple[int, ...]]
    """Action, sentence and slots."""

JOURNAL_SYNC_INTERVAL: Final = timedelta(minutes=5)
"""journald's ``SyncIntervalSec`` by default: the daemon may not read the journal to see what it holds."""

MAX_RETOLD: Final = 40
"""Lines at most: the store has all."""

NEARBY: Final = timedelta(seconds=15)
"""What is recorded within so short a time is one entry, so that there are few, however short the interval."""

MAX_RECENT: Final = JOURNAL_SYNC_INTERVAL // NEARBY + 2
"""Entries: those that began in that time, the one that it began in, and the end of the timelapse beside the newest."""

MAX_SPANS: Final = 20
"""Spans of slots in an entry; the oldest slots are dropped first."""

MAX_AMENDMENTS: Final = 10
"""In an entry; the oldest are dropped first."""


# --- what was recorded --------------------------------------------------------------------------------------


def note_recorded(logbook: Logbook, happened: Sequence[events.Event], at: datetime, origin: str) -> Logbook:
    """Return the logbook with what is recorded ``at``, and the last entries before it.

    ``origin`` is what was amended by whom, where anything was.
    """
    spans = [(slot, slot) for event in happened for slot in _slots_of(event)]
    begins = any(isinstance(event, events.DefinitionAccepted) for event in happened)
    ends = any(isinstance(event, events.TimelapseEnded) for event in happened)
    pauses = any(isinstance(event, events.TimelapsePaused | events.PauseEnded) for event in happened)
    is_amended = bool(origin) and any(isinstance(event, events.TimelapseAmended) for event in happened)
    amended = (storable_text(origin),) if is_amended else ()
    if not (spans or begins or ends or pauses or amended):
        return logbook
    recent = [*logbook.recent]
    if recent and abs(at - recent[-1].at) < NEARBY and not (recent[-1].ends or recent[-1].archived):
        last = recent.pop()
        begins, pauses, amended = begins or last.begins, pauses or last.pauses, (*last.amended, *amended)
        spans += last.slots
        at = last.at  # so that an entry ends, however densely it goes on
    amended = amended[-MAX_AMENDMENTS:]
    recent.append(Recorded(at, _merged(spans), begins=begins, ends=ends, pauses=pauses, amended=amended))
    return replace(logbook, recent=tuple(recent[-MAX_RECENT:]))  # by their number: the clock may have been set just now


def keep_recorded(logbook: Logbook, archived: str) -> tuple[Recorded, ...]:
    """Return the last entries of a timelapse that makes room, for the logbook of the next; it is ``archived`` so."""
    return tuple(replace(entry, archived=entry.archived or archived) for entry in logbook.recent)


def _slots_of(event: events.Event) -> Iterable[int]:
    """Return the slots that an event has a line about; of a beginning `resumed` tells, and of all at once the end."""
    if isinstance(event, events.SlotsSkipped):
        return () if event.reason is not None and event.reason.ends_timelapse else event.slots
    if isinstance(event, events.SlotsReopened):
        return event.slots
    if not isinstance(event, events.SlotEvent) or isinstance(event, events.AttemptStarted | events.AttemptRedated):
        return ()
    return (event.record.slot,)


def _merged(spans: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Return the newest spans, with those that touch made one."""
    merged: list[tuple[int, int]] = []
    for first, last in sorted(spans):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = merged[-1][0], max(merged[-1][1], last)
        else:
            merged.append((first, last))
    return tuple(merged[-MAX_SPANS:])


# --- and is told again --------------------------------------------------------------------------------------


def log_retold(timelapse: TimeLapse, logbook: Logbook, since: datetime, now: datetime, find_archived: Find) -> Logbook:
    """Log once more what was recorded ``since``, `MAX_RETOLD` lines at most; return the logbook, told ``now``.

    ``find_archived`` returns the timelapses in the archive of some names, as far as they can be read.
    """
    recent = [entry for entry in logbook.recent if entry.at > since - NEARBY]
    names = {entry.archived for entry in recent if entry.archived}
    known = {"": timelapse, **(find_archived(names) if names else {})}
    lines = [
        (known[name], *line)
        for name, entries in groupby(recent, key=attrgetter("archived"))
        if name in known
        for line in _lines_of(known[name], [*entries], now)
    ]
    for of, action, words, slots in lines[-MAX_RETOLD:]:
        slot = slots[0] if len(slots) == 1 else slots[:MAX_SLOTS_NAMED] or None
        log_event(action, f"retold from the store: {words}", timelapse=of, slot=slot, retold="yes")
    return replace(logbook, recent=tuple(replace(entry, at=now) for entry in recent))


def _lines_of(timelapse: TimeLapse, recent: Sequence[Recorded], now: datetime) -> Iterator[_Line]:
    """Yield the lines about what was recorded of one timelapse, in the order of the time at which it was."""
    told_at = {slot: entry.at for entry in recent for slot in _slots_in(entry, timelapse.n_slots)}
    lines: list[tuple[datetime, int, _Line]] = []
    for entry in recent:
        if entry.begins:
            words = describe_start(timelapse, "its definition", now)
            lines.append((entry.at, 0, (Action.DEFINITION_ACCEPTED, words, ())))
        lines += [(entry.at, 1, (Action.AMENDED, words, ())) for words in entry.amended]
        if entry.ends and timelapse.state in ACTION_OF_END:
            lines.append((entry.at, 3, (ACTION_OF_END[timelapse.state], describe_end(timelapse), ())))
    about_slots = _lines_about(timelapse, told_at.keys(), now)
    lines += [(max(told_at[slot] for slot in line[2]), 2, line) for line in about_slots]
    paused_at, pause = [entry.at for entry in recent if entry.pauses], timelapse.last_pause
    if paused_at and pause is not None:
        lines.append((paused_at[-1], 2, (*_retell_pause(timelapse.id, pause, now), ())))
    for _, _, line in sorted(lines, key=lambda entry: (entry[0], entry[1], entry[2][2])):
        yield line


def _slots_in(entry: Recorded, n_slots: int) -> Iterator[int]:
    """Yield the slots of an entry; another program may have written any."""
    for first, last in entry.slots:
        yield from range(first, min(last + 1, n_slots))


def _lines_about(timelapse: TimeLapse, slots: Iterable[int], now: datetime) -> Iterator[_Line]:
    """Yield the lines for what the records of some slots say."""
    records = {slot: timelapse.records.get(slot) for slot in slots}
    running = {slot for slot, record in records.items() if record is not None and record.status is RecordStatus.RUNNING}
    left = {slot: r for slot, r in timelapse.records.items() if slot not in records or slot in running}
    for event in events.events_between(replace(timelapse, records=left), timelapse):
        if isinstance(event, events.SlotsSkipped):
            if event.reason is None or not event.reason.ends_timelapse:
                yield action_of_skipped(event), describe_skipped(event, timelapse, now, event.late), event.slots
        elif isinstance(event, events.SlotEvent) and not (timelapse.ending and event.record.reason):  # as at its end
            yield *_retell(event.record, timelapse, now), (event.record.slot,)
    for slot, now_is in sorted(records.items()):
        if now_is is not None and slot in running and now_is.error:
            words = f"{now_is.scan_id}: {now_is.error_text}; the {ordinal(now_is.attempt)} attempt was begun"
            yield Action.ATTEMPT_FAILED, words, (slot,)
    waiting = tuple(slot for slot in sorted(records) if timelapse.state.is_active and _is_waiting(timelapse, slot))
    still_open = tuple(slot for slot in waiting if now <= timelapse.latest_start(slot))
    over = tuple(slot for slot in waiting if now > timelapse.latest_start(slot))
    for which, words in ((over, "had been given back"), (still_open, "can still be taken")):
        if which:
            yield Action.SLOTS_GIVEN_BACK, f"{describe_slots(timelapse, which, now)} {words}", which


def _is_waiting(timelapse: TimeLapse, slot: int) -> bool:
    """Whether a slot is open, and nothing became of it."""
    record = timelapse.records.get(slot)
    is_bare = record is None or (record.status is RecordStatus.PENDING and not record.error)
    return is_bare and slot >= timelapse.next_idx


def _retell_pause(timelapse_id: str, pause: Pause, now: datetime) -> tuple[Action, str]:
    """Return action and sentence for the last pause."""
    words = f"{timelapse_id}: {describe_pause(pause)} at {format_local_time(pause.since, now)}"
    if pause.until is None or not (pause.is_over or pause.ended_by):
        return Action.PAUSED, f"{words}, {describe_end_of_pause(pause.until, now)}"
    why = f", ended by {pause.ended_by}" if pause.ended_by else ""
    return Action.PAUSE_ENDED, f"{words}, until {format_local_time(pause.until, now)}{why}"


def _retell(record: SlotRecord, timelapse: TimeLapse, now: datetime) -> tuple[Action, str]:
    """Return action and sentence for a record."""
    at = f" at {format_local_time(record.finished_at, now)}" if record.finished_at is not None else ""
    if record.status is RecordStatus.SUCCEEDED:
        pictures = f", {format_count(record.pictures, 'picture')}" if record.pictures is not None else ""
        return Action.SCAN_SUCCEEDED, f"{record.scan_id} was taken{at}{pictures}"
    if record.status is RecordStatus.FAILED:
        return Action.SCAN_FAILED, f"{record.scan_id} failed{at}: {record.error_text}"
    if record.status is RecordStatus.INTERRUPTED:
        stays = "; it stays interrupted" if timelapse.is_closed(record.slot) else ""
        return Action.SLOT_INTERRUPTED, f"{describe_slots(timelapse, (record.slot,), now)}: {record.error_text}{stays}"
    return Action.RIG_NOT_READY, f"{describe_slot(timelapse, record.slot)} waited for its rig: {record.error_text}"
