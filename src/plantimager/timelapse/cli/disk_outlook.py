"""The disk as this account sees it, looked at so that nobody waits for one that hangs."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from plantimager.timelapse.cli.acting import acting_as_owner
from plantimager.timelapse.cli.child_look import look_in_child
from plantimager.timelapse.cli.terminal import Screen, Style
from plantimager.timelapse.settings.config import read_daemon_config
from plantimager.timelapse.settings.disk_plan import DiskOutlook, DiskPlan, plan_of_definition, plan_of_timelapse
from plantimager.timelapse.store.loading import load_timelapse
from plantimager.timelapse.support.errors import TimelapsedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from plantimager.timelapse.domain.timelapse import TimeLapse
    from plantimager.timelapse.drivers.base import ScannerDriver
    from plantimager.timelapse.settings.definition import Definition
    from plantimager.timelapse.settings.places import Places
    from plantimager.timelapse.store.stored_timelapse import StoredTimelapse

LOOK_SECONDS: Final = 5.0
"""For the datasets' directory to answer; it may be another computer's."""


def disk_line(outlook: DiskOutlook, screen: Screen) -> str:
    """Return the line for a person."""
    return screen.paint(f"disk: {outlook.words}", *[Style.YELLOW] * outlook.is_full)


def outlook_of_definition(
    definition: Definition, slots: Sequence[datetime], driver: ScannerDriver | None, places: Places, now: datetime
) -> DiskOutlook | None:
    """Return what is known beforehand; ``None`` where nothing is, or the disk doesn't answer."""
    held = held_timelapse(places)
    estimate = partial(estimate_bytes, driver, definition.configuration)
    with acting_as_owner(places.store.parent):
        plan = plan_of_definition(definition, slots, None if held is None else held.timelapse, estimate, places)
    return _look(plan, places, now)


def outlook_of_timelapse(
    timelapse: TimeLapse, estimate: Callable[[], int | None], places: Places, now: datetime
) -> DiskOutlook | None:
    """Return what is known of the slots that are left; ``None`` where nothing is, or the disk doesn't answer."""
    return _look(plan_of_timelapse(timelapse, estimate), places, now)


def _look(plan: DiskPlan | None, places: Places, now: datetime) -> DiskOutlook | None:
    if plan is None:
        return None
    with suppress(TimelapsedError, OSError):  # faults of the configuration are reported elsewhere
        config = read_daemon_config(places.find_config())[0]

        def look() -> DiskOutlook | None:
            with suppress(Exception):  # no disk, or a driver by others, which may raise anything
                return plan.outlook(places, config, now)
            return None

        return look_in_child(look, LOOK_SECONDS, places.store.parent)
    return None


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
