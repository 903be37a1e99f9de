"""How much disk a timelapse takes, and when that is full: one line for people."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from msgspec import Struct

from plantimager.timelapse.datasets.disk_forecast import NO_RETENTION, dataset_bytes, forecast_disk
from plantimager.timelapse.datasets.disk_space import format_bytes, kept_free
from plantimager.timelapse.domain.durations import format_duration
from plantimager.timelapse.domain.states import RecordStatus
from plantimager.timelapse.domain.wording import format_local_time
from plantimager.timelapse.settings.acceptance import gave_name_back
from plantimager.timelapse.store.archive import find_past_scans, past_scans_of
from plantimager.timelapse.support.text import format_count

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from plantimager.timelapse.domain.timelapse import TimeLapse
    from plantimager.timelapse.settings.config import Config
    from plantimager.timelapse.settings.definition import Definition
    from plantimager.timelapse.settings.places import Places


class DiskOutlook(Struct, frozen=True):
    """What is to be said of a timelapse and its disk."""

    words: str
    is_full: bool = False
    """Whether there is a slot that doesn't fit."""


class _Size(Struct, frozen=True):
    """The size of a dataset, and where that is known from."""

    count: int
    words: str
    is_estimate: bool = False


class DiskPlan(Struct, frozen=True, kw_only=True):
    """What a timelapse will put on the disk."""

    slots: Sequence[datetime]
    size_in: Callable[[Path], _Size | None]
    """Return the size of a dataset, by those that are in a directory."""
    first: int = 0
    """The number of the first of these slots."""
    taken: Mapping[str, datetime] = {}
    """The names of its datasets so far and their times, the oldest first. Not all need be there any more."""

    def outlook(self, places: Places, config: Config, now: datetime) -> DiskOutlook | None:
        """Return what is known, ``None`` where nothing is. The disk may hang, or refuse (`OSError`)."""
        directory = places.datasets_of(config.datasets, self.taken)
        size = self.size_in(directory)
        return _outlook(self, size, directory, config, now) if size is not None and size.count > 0 else None


def plan_of_definition(
    definition: Definition,
    slots: Sequence[datetime],
    held: TimeLapse | None,
    estimate: Callable[[], int | None],
    places: Places,
) -> DiskPlan | None:
    """Return what is known beforehand: by the driver's estimate, else by the last datasets of another timelapse.

    One that was taken up already goes on as it is ``held``, not as if it started now; but not one that is over and gave
    its name back.
    """
    if held is not None and held.id == definition.name and not gave_name_back(held):
        return plan_of_timelapse(held, estimate)
    known = estimate()
    if known is not None:
        return DiskPlan(slots=slots, size_in=lambda _: _estimated(known))
    past = find_past_scans(places.store, places.history)
    if past is None:
        return None

    def size_in(directory: Path) -> _Size:
        largest = max((dataset_bytes(directory / name) for name in past.scan_ids), default=0)
        return _Size(largest, f"a dataset of {past.timelapse_id} has up to {format_bytes(largest)}")

    return DiskPlan(slots=slots, size_in=size_in)


def plan_of_timelapse(timelapse: TimeLapse, estimate: Callable[[], int | None]) -> DiskPlan | None:
    """Return what is known of the slots that are left, by the mean of the last datasets, else by an estimate."""
    if not timelapse.state.is_active or timelapse.next_idx >= timelapse.n_slots:
        return None
    past = past_scans_of(timelapse)
    taken = sorted(slot for slot, record in timelapse.records.items() if record.status is RecordStatus.SUCCEEDED)

    def size_in(directory: Path) -> _Size | None:
        sizes = [dataset_bytes(directory / name) for name in past.scan_ids] if past is not None else []
        there = [size for size in sizes if size]
        if there:
            mean = sum(there) // len(there)
            return _Size(mean, f"its datasets have about {format_bytes(mean)}")
        known = estimate()
        return None if known is None else _estimated(known)

    return DiskPlan(
        slots=timelapse.schedule_times[timelapse.next_idx :],
        size_in=size_in,
        first=timelapse.next_idx,
        taken={timelapse.records[slot].scan_id: timelapse.schedule_times[slot] for slot in taken},
    )


def _outlook(plan: DiskPlan, size: _Size, directory: Path, config: Config, now: datetime) -> DiskOutlook:
    reserve, retention = kept_free(config.driver, config.driver_options), config.relay.expected_retention
    disk = next(path for path in (directory, *directory.parents) if path.exists())
    free = shutil.disk_usage(disk).free
    there = {*os.listdir(directory)} if disk == directory else set[str]()  # noqa: PTH208 - names are what is needed
    held = [at for name, at in plan.taken.items() if name in there]
    forecast = forecast_disk(plan.slots, size.count, free, reserve, held=held, retention=retention)
    slots = format_count(len(plan.slots), "more slot" if plan.first else "slot")
    where = f" in {directory}" if config.datasets is not None else ""
    space = f"{format_bytes(free)} free{where}, {format_bytes(reserve)} of them kept"
    words = f"{space}; {size.words}, {format_bytes(size.count * len(plan.slots))} for {slots}"
    if retention != NO_RETENTION:
        words += f", {format_bytes(forecast.most)} at a time as long as the relay removes what is delivered"
    if forecast.full_slot is None:
        return DiskOutlook(f"{words}: enough")
    at = plan.slots[forecast.full_slot]
    when = format_local_time(at, now) + (f", in {format_duration(at - now)}" if at > now else "")
    full = "it may be full" if size.is_estimate else "full"
    return DiskOutlook(f"{words}: {full} at slot {plan.first + forecast.full_slot} ({when}) at this pace", is_full=True)


def _estimated(count: int) -> _Size:
    return _Size(count, f"a dataset has up to about {format_bytes(count)} by the driver's estimate", is_estimate=True)
