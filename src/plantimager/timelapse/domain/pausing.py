"""The pause of a timelapse: a person has its schedule rest, and slots that fall due meanwhile are skipped.

Pure: every instant is an argument. The wall clock rules, also for the end of a pause.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from datetime import timedelta
from typing import TYPE_CHECKING

from msgspec.structs import replace

from plantimager.timelapse.domain.closing import close_late
from plantimager.timelapse.domain.records import MAX_REPEATED_TEXT_BYTES, Pause, scan_ids_of, storable_text
from plantimager.timelapse.domain.schedule import shift_instant
from plantimager.timelapse.domain.states import Reason, TimeLapseState, Trigger, check_transition

if TYPE_CHECKING:
    from datetime import datetime

    from plantimager.timelapse.domain.timelapse import TimeLapse


def pause_at(timelapse: TimeLapse, at: datetime) -> Pause | None:
    """Return the pause in force ``at`` a time; ``None`` where no slot is held back then."""
    pause = timelapse.pause if timelapse.state.is_active else None
    return pause if pause is not None and not pause.ended_by and (pause.until is None or at < pause.until) else None


def next_to_take(timelapse: TimeLapse) -> int | None:
    """Return the slot that is taken now or next: in a pause the first one after it, where its end is known.

    Also where it ended while nobody could record that.
    """
    pause, following = timelapse.pause, timelapse.next_idx
    if not timelapse.state.is_active:
        return None
    if pause is not None and timelapse.state is TimeLapseState.SCHEDULED:
        if pause.until is None:
            return None
        following = bisect_left(timelapse.schedule_times, pause.until, lo=following)
    return following if following < timelapse.n_slots else None


def describe_pause(pause: Pause) -> str:
    """Return who has paused, as the records of the slots have it: ``paused by anna``."""
    return f"paused by {pause.who}"


def begin_pause(timelapse: TimeLapse, at: datetime, who: str, until: datetime | None) -> TimeLapse:
    """Return the value after *paused*: an attempt that runs goes on. Another pause takes the place of the one before.

    So its end can be changed; it began when the first one did, also where that one ended in the scan that is under way.
    """
    check_transition(timelapse.state, Trigger.PAUSED)
    before = timelapse.pause if timelapse.state is TimeLapseState.RUNNING else pause_at(timelapse, at)
    pause = Pause(at if before is None else before.since, storable_text(who, MAX_REPEATED_TEXT_BYTES), until)
    return replace(timelapse, last_pause=pause)


def end_pause(timelapse: TimeLapse, at: datetime, who: str) -> TimeLapse:
    """Return the value after *pause ended* by a person; a scan keeps it, for the slots that fell due in it by then."""
    check_transition(timelapse.state, Trigger.PAUSE_ENDED)
    if timelapse.pause is None:
        return timelapse
    pause = Pause(
        timelapse.pause.since, timelapse.pause.who, until=at, ended_by=storable_text(who, MAX_REPEATED_TEXT_BYTES)
    )
    return keep_pause(replace(timelapse, last_pause=pause), at)


def keep_pause(timelapse: TimeLapse, at: datetime) -> TimeLapse:
    """Return the value by the pause, ``at`` a time: slots that fell due in it are skipped, and it ends if it is over.

    A slot before it that is still open when one in it falls due is skipped with that. During a scan all of it waits.
    One goes on that a clock has ended which was ahead.
    """
    pause = timelapse.last_pause
    if pause is None or timelapse.state is not TimeLapseState.SCHEDULED:
        return timelapse
    if at < pause.since and not pause.is_over:  # it began by a clock that was ahead
        pause = replace(pause, since=at)
        timelapse = replace(timelapse, last_pause=pause)
    has_ended = bool(pause.ended_by) or (pause.until is not None and pause.until <= at)
    if pause.is_over and has_ended:
        return timelapse
    timelapse = _skip_paused(timelapse, pause, at)
    is_over = has_ended and timelapse.state.is_active
    return timelapse if is_over is pause.is_over else replace(timelapse, last_pause=replace(pause, is_over=is_over))


def set_pause_back(timelapse: TimeLapse, shift: timedelta, at: datetime) -> TimeLapse:
    """Return the value whose pause, which waits for the end of a scan, began by ``at``: the clock was set back to that.

    What lies after that was told by a clock that was ahead, and moves with it; so does the end that a person has
    brought about, not the one that was said beforehand. One that would have begun before the scan begins now.
    """
    pause, current = timelapse.pause, timelapse.current
    if pause is None or current is None or shift >= timedelta(0):
        return timelapse
    since, until = pause.since, pause.until
    if since > at:
        moved = shift_instant(since, shift)
        since = moved if current.started_at is None or moved >= current.started_at else at
    if until is not None and pause.ended_by and until > at:
        until = max(shift_instant(until, shift), since)
    return replace(timelapse, last_pause=replace(pause, since=since, until=until))


def _skip_paused(timelapse: TimeLapse, pause: Pause, at: datetime) -> TimeLapse:
    """Return the value in which the slots that fell due in a pause have their final records."""
    times, first = timelapse.schedule_times, timelapse.next_idx
    following = bisect_right(times, at, lo=first)
    if pause.until is not None:
        following = min(following, bisect_left(times, pause.until, lo=first))
    if following == first or times[following - 1] < pause.since:
        return timelapse
    slots = [slot for slot in range(first, following) if not timelapse.is_closed(slot)]
    error = {"type": Reason.PAUSED.value, "msg": describe_pause(pause)}
    names = scan_ids_of(timelapse.id, slots, timelapse.n_slots)
    return timelapse.close(close_late(timelapse.records, slots, names, [error] * len(slots)), Trigger.SLOTS_LATE)
