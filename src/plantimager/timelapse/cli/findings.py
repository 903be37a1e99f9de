"""What is wrong with a configuration or a definition, what it means where nothing is, and when the disk is full.

`check` shows it; `preview` and `start` refuse by it. Nobody waits for a disk that hangs.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from datetime import UTC
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar
from zoneinfo import ZoneInfo

from plantimager.timelapse.cli.acting import acting_as_owner
from plantimager.timelapse.cli.child_look import look_in_child
from plantimager.timelapse.cli.session import Scope
from plantimager.timelapse.cli.terminal import Screen, Style
from plantimager.timelapse.drivers import load_driver
from plantimager.timelapse.settings.acceptance import describe_existing, find_name_clash, is_new_name
from plantimager.timelapse.settings.config import Missed, read_daemon_config
from plantimager.timelapse.settings.definition import Definition, read_definition
from plantimager.timelapse.settings.disk_plan import DiskOutlook, DiskPlan, plan_of_definition, plan_of_timelapse
from plantimager.timelapse.settings.finding import NO_DRIVER, Examiner, Finding, meaning_of
from plantimager.timelapse.store.loading import load_timelapse
from plantimager.timelapse.support.errors import ConfigurationError, DriverBroken, FaultsFound, TimelapsedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime, tzinfo

    from plantimager.timelapse.cli.session import Session
    from plantimager.timelapse.domain.schedule import Schedule
    from plantimager.timelapse.domain.timelapse import TimeLapse
    from plantimager.timelapse.drivers.base import ScannerDriver
    from plantimager.timelapse.settings.places import Places
    from plantimager.timelapse.store.stored_timelapse import StoredTimelapse

T = TypeVar("T")

LOCAL_TIME: Final = Path("/etc/localtime")
"""The host's zone, in which the service reads definitions; UTC where the file is missing."""
LOOK_SECONDS: Final = 5.0
"""For the datasets' directory to answer; it may be another computer's."""
CLOSED: Final = "the storage is closed to this account, so used names and past scans were not judged"

EXAMINER: Final = Examiner(load_driver)


def check_configuration(path: Path | None, places: Places) -> tuple[Finding, ScannerDriver | None]:
    """Return the finding on a configuration (the defaults without a ``path``), and its driver if it can be made."""
    finding, _, driver = EXAMINER.examine(lambda: path, places)
    return finding, driver


def check_definition(path: Path, driver: ScannerDriver | None, now: datetime, places: Places) -> Finding:
    """Return the finding on a definition, with the judgement of ``driver`` where there is one."""
    try:
        definition, (slots, notes) = EXAMINER.read(partial(read_definition, path), driver, now, path)
    except (ConfigurationError, DriverBroken) as problem:
        return Finding(str(path), problem=problem)
    clashes = where_allowed(clash_notes, definition, places) or ()
    fit = where_allowed(scan_fit_notes, definition, slots, driver, places) or ()
    closed = (CLOSED,) if any(map(_is_closed, (places.store, places.history))) else ()
    unchecked = () if driver is not None else (NO_DRIVER,)
    return Finding(
        str(path),
        meaning_of(definition, slots, now),
        (*notes, *clashes, *fit, *closed, *unchecked),
        disk=where_allowed(outlook_of_definition, definition, slots, driver, places, now),
    )


def where_allowed(find: Callable[..., T], *arguments: object) -> T | None:
    """Return what is found; ``None`` where the storage is closed to this user: then the daemon judges alone."""
    try:
        return find(*arguments)
    except PermissionError:
        return None


def _is_closed(path: Path) -> bool:
    """Whether this user can't read something, or can't know whether it is there."""
    try:
        path.stat()
    except OSError as problem:
        return not isinstance(problem, FileNotFoundError)
    return not os.access(path, os.R_OK)


def clash_notes(definition: Definition, places: Places) -> tuple[str, ...]:
    """Return which earlier timelapse, or else which datasets, have names that those of a definition will have."""
    held = held_timelapse(places)
    with acting_as_owner(places.store.parent):
        clash = find_name_clash(definition, held, places.history)
    return existing_notes(definition, places) if clash is None else (f"{clash}; give it another name",)


def existing_notes(definition: Definition, places: Places) -> tuple[str, ...]:
    """Return a note on datasets with the names of those of a definition that was never started here."""
    held = held_timelapse(places)
    with acting_as_owner(places.store.parent):
        is_new = is_new_name(definition, held, places.history)  # another one is refused
    return tuple(_look_for_datasets(definition, places)) if is_new else ()


def _look_for_datasets(definition: Definition, places: Places) -> Iterator[str]:
    with suppress(TimelapsedError):  # its faults are reported already
        directory = places.datasets_in(read_daemon_config(places.find_config())[0].datasets)
        try:
            found = look_in_child(lambda: describe_existing(definition, directory), LOOK_SECONDS, places.store.parent)
        except TimeoutError:
            found = f"{directory} has not answered within {LOOK_SECONDS:g} s"
        except OSError:  # of the child
            found = None
        yield from filter(None, [found])


def scan_fit_notes(
    definition: Definition, slots: Sequence[datetime], driver: ScannerDriver | None, places: Places
) -> tuple[str, ...]:
    """Return what doesn't fit, by the driver's estimate or the last scans: as `fit_notes`."""
    missed = Missed.SKIP
    with suppress(TimelapsedError):  # faults of the configuration are reported elsewhere
        missed = read_daemon_config(places.find_config())[0].missed
    with acting_as_owner(places.store.parent):
        return tuple(EXAMINER.fit_notes(definition, slots, driver, places, missed))


@contextmanager
def configured_driver(places: Places) -> Iterator[ScannerDriver | None]:
    """Make the driver of the configuration for a question; ``None`` where it can't be made."""
    _, driver = check_configuration(places.find_config(), places)
    try:
        yield driver
    finally:
        EXAMINER.close(driver)


def zone_notes(definition: Definition, schedule: Schedule, now: datetime, session: Session) -> Iterator[str]:
    """Yield a note where TZ in this shell makes other slots than the host's zone, which the service uses."""
    if session.scope is Scope.OWN or not session.environment.get("TZ"):
        return
    zone: tzinfo = UTC
    with suppress(OSError, ValueError), LOCAL_TIME.open("rb") as file:
        zone = ZoneInfo.from_file(file)
    with suppress(FaultsFound):  # the daemon reports them
        slots = definition.schedule(now, zone).slots
        if slots != schedule.slots:
            first = f"the first slot is at {slots[0].astimezone(zone).isoformat()}"
            yield f"the service reads times without an offset in the host's zone, not in TZ: {first}"


# --- the disk ---------------------------------------------------------------------------------------


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
