"""What people still have to be told: what the store, the archive and the daemon say, minus what they were told. Pure.

Nothing is collected on the way: the news are derived anew at each look, so that a relay that was killed, or was off for
weeks, finds the same. A trouble that is over before its message went out is no news.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from plantimager.timelapse.domain import events
from plantimager.timelapse.domain.states import Reason, TimeLapseState
from plantimager.timelapse.relay.notify.told import MAX_MARKS, OpenTrouble, Told, ToldUpTo
from plantimager.timelapse.relay.notify.troubles import OF_PICTURES, OF_SLOTS, Trouble, is_unknown, troubles_now
from plantimager.timelapse.relay.store_view import name_of
from plantimager.timelapse.settings.relay_config import NotifyEvent

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from datetime import datetime

    from plantimager.timelapse.channel.doubt import Doubt
    from plantimager.timelapse.domain.records import SlotRecord
    from plantimager.timelapse.domain.timelapse import TimeLapse
    from plantimager.timelapse.relay.schedule_watch import Judgement
    from plantimager.timelapse.relay.store_view import StoreView

LOSSES: Final = "losses"
"""The trouble that slots are lost; it is over when one is taken."""


class Loss(Struct, frozen=True):
    """Slots of one timelapse that can't be taken any more, for one cause."""

    kind: NotifyEvent
    timelapse: TimeLapse
    slots: tuple[int, ...]
    why: str
    """That of the last of them, where they differ in numbers alone."""
    is_varied: bool = False
    """Whether they do."""


class Ended(Struct, frozen=True):
    """A timelapse is complete, or has failed."""

    kind: NotifyEvent
    timelapse: TimeLapse


class Recovery(Struct, frozen=True):
    """A trouble that people know of is over."""

    trouble: str
    since: datetime
    lost: int
    doubt: Doubt | None = None
    of_clock: bool = False


class News(Struct, frozen=True):
    """What there is to say, and what was told once that is said."""

    told: Told
    losses: tuple[Loss, ...] = ()
    endings: tuple[Ended, ...] = ()
    alarms: tuple[Trouble, ...] = ()
    recoveries: tuple[Recovery, ...] = ()
    is_well: bool = False
    """Whether a slot was taken after the losses."""

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of what there is to say; empty where there is nothing."""
        begun = [
            *(loss.kind for loss in self.losses),
            *(ending.kind for ending in self.endings),
            *(alarm.kind for alarm in self.alarms),
        ]
        over = [r.trouble if r.doubt is None else NotifyEvent.DOUBTFUL for r in self.recoveries]
        return (*dict.fromkeys([*map(str, begun), *(f"{trouble} is over" for trouble in over)]),)


def begin_telling(view: StoreView) -> Told:
    """Return what counts as told at the very first start: all that has happened, but no trouble that lasts."""
    present = view.timelapse
    marks = {} if present is None else {name_of(present): _mark_of(present)}
    return Told(marks=marks, archived=tuple(store.path.name for store in view.archived))


def find_news(
    told: Told,
    view: StoreView,
    judgement: Judgement,
    now: datetime,
    wanted: Collection[NotifyEvent],
    onsets: Mapping[NotifyEvent, datetime],
) -> News:
    """Return the news of ``wanted`` events; ``onsets`` are those of `onsets_of`."""
    marks, losses, endings, is_well = dict(told.marks), list[Loss](), list[Ended](), False
    is_active = view.timelapse is not None and view.timelapse.state.is_active
    there = {store.path.name for store in view.archived}  # not where the disk is away
    looked_at = [file for file in told.archived if file in there or view.faults]
    for file, timelapse in _timelapses(told, view):
        name = name_of(timelapse)
        looked_at += [file] if file else []
        found = _events_since(marks.get(name, ToldUpTo(0)), timelapse)
        marks.pop(name, None)
        marks[name] = _mark_of(timelapse)
        lost = [*_losses(found, timelapse)]
        losses += [loss for loss in lost if loss.kind in wanted]
        endings += [ending for ending in _endings(found, timelapse) if ending.kind in wanted]
        if lost or any(isinstance(event, events.SlotTaken) for event in found):
            is_well = _ends_well(found)
    current = {alarm.name: alarm for alarm in troubles_now(view, judgement, now, onsets) if alarm.kind in wanted}
    still_open = {trouble: known for trouble, known in told.open.items() if trouble != LOSSES}
    alarms = tuple(alarm for trouble, alarm in current.items() if trouble not in still_open)
    told_instead = NotifyEvent.RIG_NOT_READY if losses else None
    gone = [trouble for trouble in still_open if trouble not in current]
    over = [t for t in gone if t == told_instead or not is_unknown(t, told.open[t], view, judgement)]
    silent = OF_SLOTS if losses or not is_active else ()
    doubts = {f"{OF_PICTURES}{doubt.name}": doubt for doubt in view.doubts or () if NotifyEvent.DOUBTFUL in wanted}
    recoveries = [
        Recovery(t, told.open[t].since, 0, doubts.get(t), told.open[t].of_clock)
        for t in over
        if t not in silent and (t in doubts or not t.startswith(OF_PICTURES))  # else those of an earlier timelapse
    ]
    opened = {trouble: known for trouble, known in still_open.items() if trouble not in over}
    begun = {trouble: alarm for trouble, alarm in current.items() if trouble not in opened}
    opened |= {trouble: OpenTrouble(alarm.since, of_clock=alarm.of_clock) for trouble, alarm in begun.items()}
    known, n_lost = told.open.get(LOSSES), sum(len(loss.slots) for loss in losses)
    if known is not None and is_well and is_active:
        recoveries.append(Recovery(LOSSES, known.since, known.lost + n_lost))
    if not is_well and is_active and (known is not None or losses):
        first = (loss.timelapse.schedule_times[loss.slots[0]] for loss in losses)
        since = known.since if known is not None else min(first)
        opened[LOSSES] = OpenTrouble(since, (known.lost if known is not None else 0) + n_lost)
    after = replace(
        told,
        marks=dict([*marks.items()][-MAX_MARKS:]),
        archived=tuple(looked_at),
        open=opened,
    )
    return News(after, tuple(losses), tuple(endings), alarms, tuple(recoveries), is_well=is_well)


# --- what happened to slots -----------------------------------------------------------------------------


def _timelapses(told: Told, view: StoreView) -> Iterator[tuple[str, TimeLapse]]:
    """Yield those that may have news, each with its file in the archive; the present one last, without a file.

    An archived one that is still the present store, or can't be read now, is looked at later.
    """
    for store in sorted(view.archived, key=lambda store: (store.ended_at is not None, store.ended_at)):
        archived = store.load() if store.path.name not in told.archived else None
        if archived is not None and (view.timelapse is None or name_of(archived) != name_of(view.timelapse)):
            yield store.path.name, archived
    if view.timelapse is not None:
        yield "", view.timelapse


def _mark_of(timelapse: TimeLapse) -> ToldUpTo:
    return ToldUpTo(timelapse.next_idx, has_ended=timelapse.state.is_terminal)


def _events_since(mark: ToldUpTo, after: TimeLapse) -> tuple[events.Event, ...]:
    """Return what happened since a mark. Slots that were reopened may be lost again, and then are news again."""
    first = min(mark.slot, after.next_idx)
    if mark.has_ended and after.state.is_terminal and first >= mark.slot:
        return ()
    records = {slot: record for slot in range(first, after.n_slots) if (record := after.records.get(slot)) is not None}
    after = replace(after, records=records)
    if first >= after.n_slots:  # all was told but the end
        before = replace(after, state=TimeLapseState.CONFIGURED, next_idx=first, ending=None)
    else:
        before = replace(after, state=TimeLapseState.SCHEDULED, next_idx=first, records={}, ending=None)
    return events.events_between(before, after)


def _losses(found: Iterable[events.Event], timelapse: TimeLapse) -> Iterator[Loss]:
    ended: dict[tuple[NotifyEvent, str], list[SlotRecord]] = {}
    for event in found:
        if isinstance(event, events.SlotsSkipped):
            if event.reason is Reason.PAUSED or (event.reason is not None and event.reason.ends_timelapse):
                continue
            not_ready = event.reason is Reason.RIG_NOT_READY
            kind = NotifyEvent.RIG_NOT_READY if not_ready else NotifyEvent.SLOT_SKIPPED
            yield Loss(kind, timelapse, event.slots, event.cause)
        elif isinstance(event, events.SlotFailed):
            ended.setdefault((NotifyEvent.SLOT_FAILED, _likeness(event.record)), []).append(event.record)
        elif isinstance(event, events.SlotInterrupted) and event.record.reason is not Reason.CANCELLED:
            ended.setdefault((NotifyEvent.SLOT_INTERRUPTED, _likeness(event.record)), []).append(event.record)
    for (kind, _), records in ended.items():
        texts = [record.error_text for record in records]
        yield Loss(kind, timelapse, tuple(r.slot for r in records), texts[-1], is_varied=len({*texts}) > 1)


def _likeness(record: SlotRecord) -> str:
    """Return what alike errors have in common: numbers, as of positions, may differ."""
    return re.sub(r"\d+", "#", record.error_text)


def _endings(found: Iterable[events.Event], timelapse: TimeLapse) -> Iterator[Ended]:
    for event in found:
        if isinstance(event, events.TimelapseCompleted):
            yield Ended(NotifyEvent.TIMELAPSE_COMPLETED, timelapse)
        elif isinstance(event, events.TimelapseFailed):
            yield Ended(NotifyEvent.TIMELAPSE_FAILED, timelapse)


def _ends_well(found: Iterable[events.Event]) -> bool:
    """Whether the last slot of those that were closed was taken; not counting those of a pause."""
    taken = max((event.record.slot for event in found if isinstance(event, events.SlotTaken)), default=-1)
    closed = [event.record.slot for event in found if isinstance(event, events.SlotFailed | events.SlotInterrupted)]
    skipped = [event for event in found if isinstance(event, events.SlotsSkipped) and event.reason is not Reason.PAUSED]
    closed += [slot for event in skipped for slot in event.slots]
    return taken > max(closed, default=-1)
