"""What is wrong with a configuration or a definition, and what it means where nothing is.

`check` shows it; `preview` and `start` refuse by it.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from msgspec import Struct

from plantimager.timelapse.cli import disk_outlook
from plantimager.timelapse.cli.acting import acting_as_owner
from plantimager.timelapse.cli.child_look import look_in_child
from plantimager.timelapse.cli.disk_outlook import held_timelapse, outlook_of_definition
from plantimager.timelapse.cli.session import Scope
from plantimager.timelapse.domain.wording import describe_schedule
from plantimager.timelapse.drivers import load_driver
from plantimager.timelapse.settings.acceptance import describe_existing, find_name_clash, fit_notes, is_name_used
from plantimager.timelapse.settings.config import (
    CONFIG_FILE_NAME,
    Missed,
    describe_config,
    inspect_config,
    read_daemon_config,
)
from plantimager.timelapse.settings.definition import Definition, read_definition
from plantimager.timelapse.support.errors import ConfigurationError, DriverBroken, FaultsFound, TimelapsedError
from plantimager.timelapse.support.text import format_count

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime, tzinfo

    from plantimager.timelapse.cli.session import Session
    from plantimager.timelapse.domain.schedule import Schedule
    from plantimager.timelapse.drivers.base import ScannerDriver
    from plantimager.timelapse.settings.disk_plan import DiskOutlook
    from plantimager.timelapse.settings.places import Places
    from plantimager.timelapse.support.faults import Fault

LOCAL_TIME: Final = Path("/etc/localtime")
"""The host's zone, in which the service reads definitions; UTC where the file is missing."""
CLOSED: Final = "the storage is closed to this account, so used names and past scans were not judged"


class Finding(Struct, frozen=True):
    """The result of checking one file, or the defaults that replace a missing one."""

    subject: str
    meaning: str = ""
    """What the file says, where nothing is wrong with it."""
    notes: tuple[str, ...] = ()
    problem: TimelapsedError | None = None
    disk: DiskOutlook | None = None


def check_configuration(path: Path | None, places: Places) -> tuple[Finding, ScannerDriver | None]:
    """Return the finding on a configuration (the defaults without a ``path``), and its driver if it can be made."""
    subject = str(path) if path is not None else CONFIG_FILE_NAME
    try:
        config, faults = inspect_config(path)
    except ConfigurationError as problem:
        return Finding(subject, problem=problem), None
    driver = None
    if not any(fault.key == "driver" for fault in faults):  # otherwise the options belong to no known driver
        try:
            driver = load_driver(config.driver, config.driver_options)
            faults += _driver_faults(driver, config.scan)
        except FaultsFound as found:
            faults += found.faults
        except DriverBroken as problem:
            if not faults:
                return Finding(subject, problem=problem), None
    if faults:
        return Finding(subject, problem=FaultsFound(faults, subject)), driver
    return Finding(subject, describe_config(config, places.datasets_in(config.datasets))), driver


def check_definition(path: Path, driver: ScannerDriver | None, now: datetime, places: Places) -> Finding:
    """Return the finding on a definition, with the judgement of ``driver`` where there is one."""
    try:
        definition, (slots, notes) = read_with_schedule(path, now)
        check_rig_can(definition.configuration, driver, path)
    except (ConfigurationError, DriverBroken) as problem:
        return Finding(str(path), problem=problem)
    schedule = describe_schedule(definition.mode, slots, now)
    clashes = where_allowed(clash_notes, definition, places)
    fit = where_allowed(scan_fit_notes, definition, slots, driver, places)
    closed = (CLOSED,) if any(map(_is_closed, (places.store, places.history))) else ()
    disk = disk_where_allowed(definition, slots, driver, places, now)
    unchecked = () if driver is not None else ("there is no driver to ask what the rig can't do",)
    return Finding(
        str(path),
        f"{definition.name}, {format_count(len(slots), 'slot')}, {schedule}",
        (*notes, *clashes, *fit, *closed, *unchecked),
        disk=disk,
    )


def where_allowed(find: Callable[..., Iterable[str]], *arguments: object) -> tuple[str, ...]:
    """Return notes, none where the storage is closed to this user: the daemon, which may read it, judges as well."""
    try:
        return tuple(find(*arguments))
    except PermissionError:
        return ()


def _is_closed(path: Path) -> bool:
    """Whether this user can't read something, or can't know whether it is there."""
    try:
        path.stat()
    except OSError as problem:
        return not isinstance(problem, FileNotFoundError)
    return not os.access(path, os.R_OK)


def disk_where_allowed(
    definition: Definition, slots: Sequence[datetime], driver: ScannerDriver | None, places: Places, now: datetime
) -> DiskOutlook | None:
    """Return the outlook of the disk, ``None`` where the storage is closed to this user."""
    try:
        return outlook_of_definition(definition, slots, driver, places, now)
    except PermissionError:
        return None


def clash_notes(definition: Definition, places: Places) -> tuple[str, ...]:
    """Return which earlier timelapse, or else which datasets, have names that those of a definition will have."""
    held = held_timelapse(places)
    with acting_as_owner(places.store.parent):
        clash = find_name_clash(definition, held, places.history)
    return existing_notes(definition, places) if clash is None else (f"{clash}; give it another name",)


def existing_notes(definition: Definition, places: Places) -> tuple[str, ...]:
    """Return a note on datasets with the names of those of a definition that was never started here."""
    held, name = held_timelapse(places), definition.name
    with acting_as_owner(places.store.parent):
        if is_name_used(name, held, places.history) or find_name_clash(definition, held, places.history) is not None:
            return ()  # its name is refused
    return tuple(_look_for_datasets(definition, places))


def _look_for_datasets(definition: Definition, places: Places) -> Iterator[str]:
    with suppress(TimelapsedError):  # its faults are reported already
        directory = places.datasets_in(read_daemon_config(places.find_config())[0].datasets)
        try:
            found = look_in_child(
                lambda: describe_existing(definition, directory), disk_outlook.LOOK_SECONDS, places.store.parent
            )
        except TimeoutError:
            found = f"{directory} has not answered within {disk_outlook.LOOK_SECONDS:g} s"
        except OSError:  # of the child
            found = None
        yield from filter(None, [found])


def read_with_schedule(path: Path, now: datetime) -> tuple[Definition, Schedule]:
    """Return a definition, and the schedule that it makes if it starts at ``now``.

    Raises
    ------
    FileUnusable, FaultsFound
        The file can't be read, or it has faults.
    """
    definition = read_definition(path)
    return definition, definition.schedule(now)


def scan_fit_notes(
    definition: Definition, slots: Sequence[datetime], driver: ScannerDriver | None, places: Places
) -> tuple[str, ...]:
    """Return what doesn't fit, by the driver's estimate or the last scans: as `fit_notes`."""
    run_latest, estimate = False, None
    with suppress(TimelapsedError):  # faults of the configuration are reported elsewhere
        run_latest = read_daemon_config(places.find_config())[0].missed is Missed.RUN_LATEST
    with suppress(Exception):  # a driver by others may raise anything, and a note is no reason to fail
        estimate = None if driver is None else driver.estimate(definition.configuration)
    with acting_as_owner(places.store.parent):
        return tuple(fit_notes(definition, slots, estimate, places, run_latest=run_latest))


@contextmanager
def configured_driver(places: Places) -> Iterator[ScannerDriver | None]:
    """Make the driver of the configuration for a question; ``None`` where it can't be made."""
    _, driver = check_configuration(places.find_config(), places)
    try:
        yield driver
    finally:
        if driver is not None:
            driver.close()


def check_rig_can(configuration: Mapping[str, Any], driver: ScannerDriver | None, source: Path) -> None:
    """Refuse a scan configuration that the rig can't carry out.

    Faults in the driver's own options are left out: they stand in another file, which was checked with them.

    Raises
    ------
    FaultsFound
        With every such fault.
    DriverBroken
        The driver's check fails.
    """
    faults = _driver_faults(driver, configuration) if driver is not None else ()
    if scan_faults := [fault for fault in faults if not fault.table.startswith("drivers.")]:
        raise FaultsFound(scan_faults, source)


def _driver_faults(driver: ScannerDriver, configuration: Mapping[str, Any]) -> Sequence[Fault]:
    """Return the driver's faults in a scan configuration. A driver by others may raise anything: `DriverBroken`."""
    try:
        return driver.check(configuration)
    except Exception as problem:
        raise DriverBroken(type(driver).__name__, problem) from problem


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
