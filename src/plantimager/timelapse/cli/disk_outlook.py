"""How much disk a timelapse takes, and when that is full: one line of `check`, `preview`, `start` and `status`."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from plantimager.timelapse.cli.acting import acting_as_owner
from plantimager.timelapse.cli.child_look import look_in_child
from plantimager.timelapse.cli.terminal import Screen, Style
from plantimager.timelapse.datasets.disk_forecast import NO_RETENTION, dataset_bytes, forecast_disk
from plantimager.timelapse.datasets.disk_space import MEGABYTE, format_bytes, kept_free
from plantimager.timelapse.domain.durations import format_duration
from plantimager.timelapse.domain.states import RecordStatus
from plantimager.timelapse.domain.wording import format_local_time
from plantimager.timelapse.settings.config import Config, read_daemon_config
from plantimager.timelapse.store.archive import find_past_scans, past_scans_of
from plantimager.timelapse.store.loading import load_timelapse
from plantimager.timelapse.support.errors import TimelapsedError
from plantimager.timelapse.support.text import format_count

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from plantimager.timelapse.domain.timelapse import TimeLapse
    from plantimager.timelapse.drivers.base import ScannerDriver
    from plantimager.timelapse.settings.definition import Definition
    from plantimager.timelapse.settings.places import Places
    from plantimager.timelapse.store.stored_timelapse import StoredTimelapse

LOOK_SECONDS: Final = 5.0
"""For the datasets' directory to answer; it may be another computer's."""


class DiskOutlook(Struct, frozen=True):
    """What is to be said of a timelapse and its disk."""

    words: str
    is_full: bool = False
    """Whether there is a slot that doesn't fit."""

    def line(self, screen: Screen) -> str:
        """Return the line for a person."""
        return screen.paint(f"disk: {self.words}", *[Style.YELLOW] * self.is_full)


class _Size(Struct, frozen=True):
    """The size of a dataset, and where that is known from."""

    count: int
    words: str
    is_estimate: bool = False


class _Plan(Struct, frozen=True, kw_only=True):
    """What a timelapse will put on the disk."""

    slots: Sequence[datetime]
    first: int = 0
    """The number of the first of these slots."""
    taken: Mapping[str, datetime] = {}
    """The names of its datasets so far and their times, the oldest first. Not all need be there any more."""


def outlook_of_definition(
    definition: Definition, slots: Sequence[datetime], driver: ScannerDriver | None, places: Places, now: datetime
) -> DiskOutlook | None:
    """Return what is known beforehand; ``None`` where nothing is, or the disk doesn't answer.

    The driver's estimate counts, else the size of the last datasets of another timelapse. One that was taken up already
    goes on as it is held, not as if it started now.
    """
    held = held_timelapse(places)
    if held is not None and held.timelapse.id == definition.name:
        return outlook_of_timelapse(
            held.timelapse, lambda: estimate_bytes(driver, definition.configuration), places, now
        )
    estimate = estimate_bytes(driver, definition.configuration)
    with acting_as_owner(places.store.parent):
        past = find_past_scans(places.store, places.history)

    def size_in(directory: Path) -> _Size | None:
        if estimate is not None:
            return _estimated(estimate)
        largest = max((dataset_bytes(directory / name) for name in past.scan_ids), default=0) if past else 0
        return _Size(largest, f"a dataset of {past.timelapse_id} has up to {_format(largest)}") if past else None

    return _look(_Plan(slots=slots), size_in, places, now)


def outlook_of_timelapse(
    timelapse: TimeLapse, estimate: Callable[[], int | None], places: Places, now: datetime
) -> DiskOutlook | None:
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
            return _Size(mean, f"its datasets have about {_format(mean)}")
        known = estimate()
        return None if known is None else _estimated(known)

    plan = _Plan(
        slots=timelapse.schedule_times[timelapse.next_idx :],
        first=timelapse.next_idx,
        taken={timelapse.records[slot].scan_id: timelapse.schedule_times[slot] for slot in taken},
    )
    return _look(plan, size_in, places, now)


def estimate_bytes(driver: ScannerDriver | None, configuration: Mapping[str, object]) -> int | None:
    """Return a driver's estimate; a driver by others may raise anything, and that is no reason to fail."""
    with suppress(Exception):
        estimate = None if driver is None else driver.estimate_bytes(configuration)
        return estimate if isinstance(estimate, int) else None
    return None


def held_timelapse(places: Places) -> StoredTimelapse | None:
    """Return what is in the store; ``None`` where nothing can be read, which the daemon reports."""
    with acting_as_owner(places.store.parent), suppress(TimelapsedError):
        loaded = load_timelapse(places.store)
        return None if loaded is None else loaded.stored
    return None


def _look(plan: _Plan, size_in: Callable[[Path], _Size | None], places: Places, now: datetime) -> DiskOutlook | None:
    with suppress(TimelapsedError, OSError):  # faults of the configuration are reported elsewhere
        config = read_daemon_config(places.find_config())[0]

        def look() -> DiskOutlook | None:
            with suppress(Exception):  # no disk, or a driver by others, which may raise anything
                directory = places.datasets_of(config.datasets, plan.taken)
                size = size_in(directory)
                if size is not None and size.count > 0:
                    return _outlook(plan, size, directory, config, now)
            return None

        return look_in_child(look, LOOK_SECONDS, places.store.parent)
    return None


def _outlook(plan: _Plan, size: _Size, directory: Path, config: Config, now: datetime) -> DiskOutlook:
    reserve, retention = kept_free(config.driver, config.driver_options), config.relay.expected_retention
    disk = next(path for path in (directory, *directory.parents) if path.exists())
    free = shutil.disk_usage(disk).free
    there = {*os.listdir(directory)} if disk == directory else set[str]()  # noqa: PTH208 - names are what is needed
    held = [at for name, at in plan.taken.items() if name in there]
    forecast = forecast_disk(plan.slots, size.count, free, reserve, held=held, retention=retention)
    slots = format_count(len(plan.slots), "more slot" if plan.first else "slot")
    where = f" in {directory}" if config.datasets is not None else ""
    space = f"{_format(free)} free{where}, {_format(reserve)} of them kept"
    words = f"{space}; {size.words}, {_format(size.count * len(plan.slots))} for {slots}"
    if retention != NO_RETENTION:
        words += f", {_format(forecast.most)} at a time as long as the relay removes what is delivered"
    if forecast.full_slot is None:
        return DiskOutlook(f"{words}: enough")
    at = plan.slots[forecast.full_slot]
    when = format_local_time(at, now) + (f", in {format_duration(at - now)}" if at > now else "")
    full = "it may be full" if size.is_estimate else "full"
    return DiskOutlook(f"{words}: {full} at slot {plan.first + forecast.full_slot} ({when}) at this pace", is_full=True)


def _estimated(count: int) -> _Size:
    return _Size(count, f"a dataset has up to about {_format(count)} by the driver's estimate", is_estimate=True)


def _format(count: int) -> str:
    return format_bytes(count) if count >= MEGABYTE or not count else f"{max(count // 1000, 1)} kB"
