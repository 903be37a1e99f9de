"""The amendment of a timelapse: another definition takes the place of what is still to come. Pure."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from plantimager.timelapse.domain.events import SETTINGS
from plantimager.timelapse.domain.states import Trigger, check_transition
from plantimager.timelapse.domain.wording import format_local_time
from plantimager.timelapse.support.text import format_count

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from plantimager.timelapse.domain.timelapse import TimeLapse

_OF_THE_FIRST: Final = ("schedule_times", "start_at")
"""The settings that say when the first slots are: these stay as they were."""


def n_kept(timelapse: TimeLapse, at: datetime) -> int:
    """Return how many of the first slots an amendment leaves as they are: those that are due or have a record."""
    recorded = max(timelapse.records, default=-1) + 1
    return max(bisect_right(timelapse.schedule_times, at), recorded, timelapse.next_idx)


def slots_behind(timelapse: TimeLapse, times: Sequence[datetime], at: datetime) -> Sequence[datetime]:
    """Return those of the times of another definition that would be to come: after now, and after what is kept."""
    kept = timelapse.schedule_times[: n_kept(timelapse, at)]
    return times[bisect_right(times, max((at, *kept[-1:]))) :]


def amend(timelapse: TimeLapse, defined: TimeLapse, at: datetime) -> TimeLapse:
    """Return the value after *amended*: the slots and settings to come are those of ``defined``, which has some."""
    check_transition(timelapse.state, Trigger.AMENDED)
    kept = timelapse.schedule_times[: n_kept(timelapse, at)]
    to_come = slots_behind(timelapse, defined.schedule_times, at)
    settings = {name: getattr(defined, name) for name in SETTINGS if name not in _OF_THE_FIRST}
    if not kept:
        settings["start_at"] = to_come[0]
    return replace(timelapse, schedule_times=(*kept, *to_come), **settings)


def slots_to_come(timelapse: TimeLapse, at: datetime) -> tuple[datetime, ...]:
    """Return when the slots are that an amendment may change."""
    return timelapse.schedule_times[n_kept(timelapse, at) :]


def describe_amendment(before: TimeLapse, after: TimeLapse, at: datetime, scan: str = "") -> str:
    """Return what changes: ``12 slots to come become 30, the last at 18:00; grace``, and what is said of the scan."""
    was, now = slots_to_come(before, at), slots_to_come(after, at)
    words = [f"the {format_count(len(was), 'slot')} to come keep their times"]
    if was != now:
        last = f", the last at {format_local_time(now[-1], at)}" if now else ""
        words = [f"{format_count(len(was), 'slot')} to come become {len(now)}{last}"]
    words += [name for name in SETTINGS if name not in _OF_THE_FIRST and getattr(before, name) != getattr(after, name)]
    return "; ".join([*words, *filter(None, [scan])])
