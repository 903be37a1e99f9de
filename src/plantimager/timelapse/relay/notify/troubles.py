"""The troubles that last: which there are now, since when, and which of those that people know of may be over. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from plantimager.timelapse.domain.pausing import next_to_take
from plantimager.timelapse.relay.schedule_watch import ScheduleState, has_found_no_rig
from plantimager.timelapse.settings.relay_config import NotifyEvent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from plantimager.timelapse.channel.doubt import Doubt
    from plantimager.timelapse.channel.relay_status import TargetStatus
    from plantimager.timelapse.relay.notify.told import OpenTrouble
    from plantimager.timelapse.relay.schedule_watch import Judgement
    from plantimager.timelapse.relay.store_view import StoreView

OF_PICTURES: Final = f"{NotifyEvent.DOUBTFUL} "
"""The beginning of the troubles with pictures, each of which is a doubt by its name."""
OF_SLOTS: Final = (NotifyEvent.OVERDUE, NotifyEvent.RIG_NOT_READY)
"""The troubles that end silently with their timelapse, or with losses that are told instead."""
STORE: Final = "store"
UNREADABLE: Final = f"{NotifyEvent.OVERDUE} {STORE}"
"""The trouble that nobody knows what is scheduled, since the store can't be read."""
STUCK_AFTER: Final = timedelta(days=1)


class Trouble(Struct, frozen=True):
    """One that is there now."""

    kind: NotifyEvent
    what: str
    """The part that has it, where there may be several: the name of a target, or `STORE`."""
    why: str
    since: datetime
    doubt: Doubt | None = None
    """Where it is about pictures."""
    slot: int | None = None
    """The slot that is overdue, where it is about one."""
    of_clock: bool = False
    """Whether it is that of a clock that isn't trusted: no slot is overdue by it."""

    @property
    def name(self) -> str:
        """What tells it from another one."""
        return f"{self.kind} {self.what}".strip()


def onsets_of(view: StoreView, before: Mapping[NotifyEvent, datetime], now: datetime) -> dict[NotifyEvent, datetime]:
    """Return since when there is each trouble that no store has the beginning of; ``before`` is of the look before."""
    has_no_clock = view.daemon is not None and not view.daemon.clock_trusted
    said = [*_said_by_daemon(view), *([NotifyEvent.OVERDUE] if view.is_stale or has_no_clock else [])]
    return {kind: before.get(kind, now) for kind in said}


def _said_by_daemon(view: StoreView) -> dict[NotifyEvent, str]:
    """Return the troubles that a daemon has by its own word, and why."""
    daemon = view.daemon
    said = {} if daemon is None else {NotifyEvent.DEGRADED: daemon.degraded, NotifyEvent.DATASETS: daemon.datasets}
    return {kind: why for kind, why in said.items() if why}


def troubles_now(
    view: StoreView, judgement: Judgement, now: datetime, onsets: Mapping[NotifyEvent, datetime]
) -> Iterator[Trouble]:
    """Yield the troubles that are there now; ``onsets`` are those of `onsets_of`."""
    timelapse = view.timelapse
    if judgement.state is ScheduleState.OVERDUE and timelapse is not None and timelapse.state.is_active:
        following = next_to_take(timelapse)
        slot = timelapse.next_idx if following is None else following
        due = timelapse.schedule_times[slot]
        if due <= now:
            yield Trouble(NotifyEvent.OVERDUE, "", "", due, slot=slot)
        else:  # judged by the clock alone
            yield Trouble(NotifyEvent.OVERDUE, "", "", onsets.get(NotifyEvent.OVERDUE, now), of_clock=True)
    elif judgement.state is ScheduleState.OVERDUE and view.is_stale:
        yield Trouble(NotifyEvent.OVERDUE, STORE, view.fault, onsets.get(NotifyEvent.OVERDUE, now))
    if judgement.state is ScheduleState.WAITS_FOR_RIG and timelapse is not None and timelapse.current is not None:
        why, since = timelapse.current.error_text, timelapse.schedule_times[timelapse.next_idx]
        yield Trouble(NotifyEvent.RIG_NOT_READY, "", why, since)
    for kind, why in _said_by_daemon(view).items():
        yield Trouble(kind, "", why, onsets.get(kind, now))
    for target in view.targets:
        waits_since = _waits_since(target)
        if waits_since is not None and now >= waits_since + STUCK_AFTER:
            yield Trouble(NotifyEvent.DELIVERY_STUCK, target.name, target.trouble, waits_since)
    for doubt in view.doubts or ():
        if not doubt.is_over:
            yield Trouble(NotifyEvent.DOUBTFUL, doubt.name, doubt.verdict, doubt.since, doubt)


def next_alarm_at(view: StoreView, now: datetime) -> datetime | None:
    """Return when there may be another trouble that the schedule has nothing to do with, should no file change."""
    stuck = [since + STUCK_AFTER for target in view.targets if (since := _waits_since(target)) is not None]
    return min((instant for instant in stuck if instant > now), default=None)


def _waits_since(target: TargetStatus) -> datetime | None:
    """Return since when a target has got nothing of what waits for it; ``None`` where nothing does, or all is gone."""
    if target.oldest is None or not target.waiting:
        return None
    return max(target.oldest, target.delivered_at or target.oldest)


def is_unknown(trouble: str, known: OpenTrouble, view: StoreView, judgement: Judgement) -> bool:
    """Return whether nothing says that a trouble is over: its witness isn't there."""
    daemon, timelapse = view.daemon if view.daemon is not None and view.daemon.is_live else None, view.timelapse
    if trouble in (NotifyEvent.DEGRADED, NotifyEvent.DATASETS):
        return daemon is None
    if known.of_clock and (daemon is None or not daemon.clock_trusted):
        return view.is_stale or (timelapse is not None and timelapse.state.is_active)
    if trouble == UNREADABLE:
        return view.is_stale
    if trouble == NotifyEvent.RIG_NOT_READY and view.timelapse is not None and has_found_no_rig(view.timelapse):
        return True
    if trouble in OF_SLOTS:
        return judgement.state is ScheduleState.UNKNOWN or (view.is_stale and view.timelapse is None)
    if trouble.startswith(OF_PICTURES):
        return view.doubts is None
    return trouble.partition(" ")[2] not in [target.name for target in view.targets]
