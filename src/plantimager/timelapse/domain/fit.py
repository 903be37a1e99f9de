"""Whether a schedule leaves its scans the time that they take, in words."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from plantimager.timelapse.domain.durations import format_duration
from plantimager.timelapse.domain.states import TimeLapseMode
from plantimager.timelapse.domain.timelapse import MINIMUM_GRACE
from plantimager.timelapse.domain.wording import ordinal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

MAX_SLOTS_WALKED: Final = 2000
"""Slots that are looked at; what becomes of the later ones is the same."""


def closest_slots(slots: Sequence[datetime]) -> timedelta | None:
    """Return the shortest time between two slots; ``None`` where there are fewer than two."""
    return min((later - earlier for earlier, later in pairwise(slots[:MAX_SLOTS_WALKED])), default=None)


def describe_gap(mode: TimeLapseMode, gap: timedelta) -> str:
    """Return the shortest time between two slots in words: ``the interval is 5 min``."""
    words = "the interval is" if mode is TimeLapseMode.INTERVAL else "slots are as close as"
    return f"{words} {format_duration(gap)}"


def describe_misfit(
    slots: Sequence[datetime], grace: timedelta, scan_time: timedelta, *, run_latest: bool = False
) -> str | None:
    """Return what becomes of slots that are closer together than a scan lasts; ``None`` where no slot is late.

    With ``run_latest`` a late slot is taken all the same unless the next one is due.
    """
    walked = slots[:MAX_SLOTS_WALKED]
    taken, latest = _walk(walked, grace, scan_time, run_latest=run_latest)
    n_missed = len(walked) - len(taken)
    if n_missed:
        steps = {later - earlier for earlier, later in pairwise(taken)}
        if steps == {2}:
            return "every second slot will be missed"
        if len(steps) == 1:
            return f"only every {ordinal(steps.pop())} slot will be taken"
        among = f"{len(walked)}" if len(walked) == len(slots) else f"the first {len(walked)}"
        return f"{n_missed} of {among} slots will be missed"
    return f"slots will be up to {format_duration(latest)} late" if latest else None


def _walk(
    slots: Sequence[datetime], grace: timedelta, scan_time: timedelta, *, run_latest: bool
) -> tuple[list[int], timedelta]:
    """Return the slots that are taken if every scan lasts ``scan_time``, and how late the latest of them begins."""
    taken: list[int] = []
    latest, longest, free = timedelta(0), max(grace, MINIMUM_GRACE), slots[0]
    for index, (slot, following) in enumerate(zip(slots, (*slots[1:], None), strict=True)):
        begin = max(slot, free)
        is_newest = run_latest and (following is None or begin < following)
        if begin - slot > longest and not is_newest:
            continue
        taken.append(index)
        latest, free = max(latest, begin - slot), begin + scan_time
    return taken, latest


def describe_grace(mode: TimeLapseMode, slots: Sequence[datetime], grace: timedelta) -> Iterator[str]:
    """Yield what a grace period means that is longer than the time between slots."""
    gap = closest_slots(slots)
    if gap is not None and grace > gap:
        what = "the interval" if mode is TimeLapseMode.INTERVAL else "the time between slots"
        yield (
            f"grace_period ({format_duration(grace)}) is longer than {what} ({format_duration(gap)}): "
            "after an outage slots are taken back to back"
        )
