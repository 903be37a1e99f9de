"""Words for people: local times, modes, schedules, slots, and the one line of ``systemctl status``."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from plantimager.timelapse.domain.durations import format_duration
from plantimager.timelapse.domain.pausing import describe_pause, pause_at
from plantimager.timelapse.domain.schedule import interval_of
from plantimager.timelapse.domain.states import TimeLapseMode, TimeLapseState
from plantimager.timelapse.support.text import format_count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plantimager.timelapse.domain.timelapse import TimeLapse

STATUS_LENGTH: Final = 80
"""Characters of the status line, so that it fits a terminal."""


def format_local_time(at: datetime, now: datetime) -> str:
    """Return an instant in local time: ``14:30``, ``22 Jun 08:00`` on another day."""
    here, today = at.astimezone(), now.astimezone()
    time = here.strftime("%H:%M:%S" if here.second else "%H:%M")
    if here.date() == today.date():
        return time
    return here.strftime("%-d %b " if here.year == today.year else "%-d %b %Y ") + time


def describe_slot(timelapse: TimeLapse, slot: int) -> str:
    """Return ``slot 5 of 48``."""
    return f"slot {slot} of {timelapse.n_slots}"


def describe_timelapse(timelapse: TimeLapse) -> str:
    """Return what a store holds: ``col0_ld, 48 slots, 5 done``."""
    return f"{timelapse.id}, {format_count(timelapse.n_slots, 'slot')}, {timelapse.tally.done} done"


def describe_mode(mode: TimeLapseMode, slots: Sequence[datetime]) -> str:
    """Return the mode of a timelapse in words: ``interval, every 30 min``, which is that of the last slots."""
    words, interval = mode.replace("_", " "), interval_of(slots)
    if mode is TimeLapseMode.INTERVAL and interval is not None:
        words += f", every {format_duration(interval)}"
    return words


def describe_schedule(mode: TimeLapseMode, slots: Sequence[datetime], now: datetime) -> str:
    """Return mode, first and last slot: ``interval, every 30 min, 22 Jun 08:00 → 23 Jun 07:30``."""
    if not slots:
        return f"{describe_mode(mode, slots)}, no slots"
    until = f" → {format_local_time(slots[-1], now)}" if len(slots) > 1 else ""
    return f"{describe_mode(mode, slots)}, {format_local_time(slots[0], now)}{until}"


def describe_zone(slots: Sequence[datetime]) -> str:
    """Return the zones of the first and the last slot: ``CET (UTC+01:00), CEST (UTC+02:00)``."""
    ends = (slot.astimezone() for slot in (*slots[:1], *slots[-1:]))
    names = [f"{at:%Z} (UTC{at.isoformat()[-6:]})" if at.utcoffset() else "UTC" for at in ends]
    return ", ".join(dict.fromkeys(names))


def describe_next_slot(timelapse: TimeLapse, now: datetime) -> str:
    """Return the next slot: ``next slot 6 at 10:00 (in 17 min)``, or that there is none, or a pause."""
    if timelapse.next_at is None:
        return "no slot is left"
    pause = pause_at(timelapse, now)
    if pause is not None:
        return f"{describe_pause(pause)} {describe_end_of_pause(pause.until, now)}"
    ahead = timelapse.next_at - now
    when = f"in {format_duration(ahead)}" if ahead > timedelta(0) else "now"
    if ahead <= -timedelta(seconds=1):
        when += f", {format_duration(ahead)} late"
    return f"next slot {timelapse.next_idx} at {format_local_time(timelapse.next_at, now)} ({when})"


def describe_end_of_pause(until: datetime | None, now: datetime) -> str:
    """Return until when a pause lasts: ``until 14:00``, or until a person ends it."""
    return "until timelapsectl resume" if until is None else f"until {format_local_time(until, now)}"


def describe_slots(timelapse: TimeLapse, slots: Sequence[int], now: datetime) -> str:
    """Return some slots in words: ``slot 5 (09:30)``, ``17 slots from 22:00 to 06:00``."""
    times = timelapse.schedule_times
    if len(slots) == 1:
        return f"slot {slots[0]} ({format_local_time(times[slots[0]], now)})"
    first, last = format_local_time(times[slots[0]], now), format_local_time(times[slots[-1]], now)
    return f"{len(slots)} slots from {first} to {last}"


def ordinal(number: int) -> str:
    """Return ``1st``, ``2nd``, ``3rd``, ``11th``."""
    suffix = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{suffix}"


def format_status_line(
    timelapse: TimeLapse | None, now: datetime, *, progress: tuple[int, int] | None, fresh: bool
) -> str:
    """Return what the timelapse is doing, in `STATUS_LENGTH` characters at most.

    ``progress`` is done and total of the running scan. The time until the next slot is given only where the line is
    refreshed (``fresh``), since the line must be true whenever it is read.
    """
    if timelapse is None:
        return "no timelapse; define one with timelapsectl start FILE"
    tally = timelapse.tally
    if timelapse.state is TimeLapseState.RUNNING:
        picture = f", picture {progress[0]} of {progress[1]}" if progress and progress[1] else ""
        return _fitting(timelapse.id, f"scanning {describe_slot(timelapse, timelapse.next_idx)}{picture}")
    if timelapse.next_at is not None:
        counts = f"; {_counts(tally.taken, tally.failed, tally.skipped)}", f"; {tally.taken} taken"
        pause = pause_at(timelapse, now)
        if pause is not None:
            return _fitting(timelapse.id, f"paused {describe_end_of_pause(pause.until, now)}", *counts)
        ahead = timelapse.next_at - now
        when = f" (in {format_duration(ahead)})" if fresh and ahead > timedelta(0) else ""
        waiting = f"waiting for {describe_slot(timelapse, timelapse.next_idx)}"
        waiting += f" at {format_local_time(timelapse.next_at, now)}{when}"
        return _fitting(timelapse.id, waiting, *counts)
    if timelapse.state is TimeLapseState.CONFIGURED:
        return _fitting(timelapse.id, "configured, but not armed; left alone")
    return _fitting(timelapse.id, f"{timelapse.state.value}; {tally}", f" of {timelapse.n_slots} slots")


def _counts(taken: int, failed: int, skipped: int) -> str:
    """Return the counts; failed and skipped only where there are some."""
    parts = [f"{taken} taken"]
    parts += [f"{failed} failed"] if failed else []
    parts += [f"{skipped} skipped"] if skipped else []
    return ", ".join(parts)


def _fitting(name: str, text: str, *tails: str) -> str:
    """Return the longest line that fits: with the first tail that does, else with the name cut short."""
    for tail in (*tails, ""):
        line = f"{name}: {text}{tail}"
        if len(line) <= STATUS_LENGTH:
            return line
    room = STATUS_LENGTH - len(text) - 3
    return f"{name[:room]}…: {text}" if room > 0 else text[:STATUS_LENGTH]
