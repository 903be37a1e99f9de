"""What is found in configurations and definitions, by `timelapsectl` for its caller and by the service for itself."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias, TypeVar

from msgspec import Struct

from plantimager.timelapse.domain.durations import format_duration
from plantimager.timelapse.domain.wording import describe_schedule
from plantimager.timelapse.settings.acceptance import fit_notes
from plantimager.timelapse.settings.config import CONFIG_FILE_NAME, Config, Missed, describe_config, inspect_config
from plantimager.timelapse.support.errors import (
    ConfigurationError,
    DriverBroken,
    DriverStalled,
    FaultsFound,
    TimelapsedError,
)
from plantimager.timelapse.support.text import format_count

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime, timedelta
    from pathlib import Path

    from plantimager.timelapse.domain.schedule import Schedule
    from plantimager.timelapse.settings.definition import Definition
    from plantimager.timelapse.settings.disk_plan import DiskOutlook
    from plantimager.timelapse.settings.places import Places
    from plantimager.timelapse.support.faults import Fault

NO_DRIVER = "there is no driver to ask what the rig can't do"

NamedCall: TypeAlias = "Callable[[str, Callable[[], Any]], Any]"
"""Makes a call of the driver of that name, within a limit or not."""


class _Driver(Protocol):
    """What is asked of a driver. One by others may raise anything."""

    def check(self, configuration: Mapping[str, Any], /) -> Sequence[Fault]: ...
    def estimate(self, configuration: Mapping[str, Any], /) -> timedelta | None: ...
    def close(self) -> None: ...


D = TypeVar("D", bound=_Driver)


class Finding(Struct, frozen=True):
    """The result of checking one file, or the defaults that replace a missing one."""

    subject: str
    meaning: str = ""
    """What the file says, where nothing is wrong with it."""
    notes: tuple[str, ...] = ()
    problem: Exception | None = None
    disk: DiskOutlook | None = None
    """What is known of the disk that a definition needs."""

    @property
    def hint(self) -> str | None:
        """What to do about the problem."""
        return getattr(self.problem, "hint", None)


class Examiner(Generic[D]):
    """Reads configurations and definitions, and asks the driver about them."""

    def __init__(
        self, make_driver: Callable[[str, Mapping[str, Any]], D], call: NamedCall = lambda _name, call: call()
    ) -> None:
        self._make_driver, self._call = make_driver, call

    def examine(self, find: Callable[[], Path | None], places: Places) -> tuple[Finding, Config, D | None]:
        """Return the finding on the configuration that ``find`` finds, it, and its driver if that can be made."""
        subject, config, driver = CONFIG_FILE_NAME, Config(), None
        faults: Sequence[Fault] = ()
        problem: Exception | None = None
        try:
            path = find()
            subject = str(path or CONFIG_FILE_NAME)
            config, faults = inspect_config(path)
            if not any(fault.key == "driver" for fault in faults):  # otherwise the options belong to no known driver
                driver = self._make_driver(config.driver, config.driver_options)
                faults = [*faults, *self._faults_by(driver, config.scan)]
        except FaultsFound as found:
            faults = [*faults, *found.faults]
        except (TimelapsedError, OSError) as trouble:
            problem = trouble
            self.close(driver)
            driver = None
        if faults:
            problem = FaultsFound(faults, subject)
        meaning = describe_config(config, places.datasets_in(config.datasets)) if problem is None else ""
        return Finding(subject, meaning, problem=problem), config, driver

    def read(
        self, load: Callable[[], Definition], driver: D | None, now: datetime, source: str | Path
    ) -> tuple[Definition, Schedule]:
        """Return a definition that the rig can carry out, and the schedule that it makes if it starts at ``now``.

        Faults in the driver's own options are left out: they stand in another file, which was checked with them.
        Raises `ConfigurationError` where it has others, `DriverBroken` where the driver's check fails.
        """
        definition = load()
        schedule = definition.schedule(now)
        found = self._faults_by(driver, definition.configuration) if driver is not None else ()
        if faults := [fault for fault in found if not fault.table.startswith("drivers.")]:
            raise FaultsFound(faults, source)
        return definition, schedule

    def fit_notes(
        self, definition: Definition, slots: Sequence[datetime], driver: D | None, places: Places, missed: Missed
    ) -> Iterator[str]:
        """Yield what doesn't fit, by the driver's estimate or the last scans: as `acceptance.fit_notes`."""
        estimate = None
        if driver is not None:
            with suppress(Exception):  # see `_Driver`, and a note is no reason to fail
                estimate = self._call(type(driver).__name__, lambda: driver.estimate(definition.configuration))
        yield from fit_notes(definition, slots, estimate, places, run_latest=missed is Missed.RUN_LATEST)

    def close(self, driver: D | None) -> None:
        """Close a driver that was made for a question. One that fails at it costs no answer."""
        if driver is not None:
            with suppress(Exception):
                self._call(type(driver).__name__, driver.close)

    def _faults_by(self, driver: D, configuration: Mapping[str, Any]) -> Sequence[Fault]:
        name = type(driver).__name__
        try:
            faults: Sequence[Fault] = self._call(name, lambda: driver.check(configuration))
        except ConfigurationError:
            raise
        except DriverStalled as stalled:
            late = TimeoutError(f"its check gave no answer within {format_duration(stalled.after)}")
            raise DriverBroken(name, late) from stalled
        except Exception as problem:
            raise DriverBroken(name, problem) from problem
        return faults


def meaning_of(definition: Definition, slots: Sequence[datetime], now: datetime) -> str:
    """Return what a definition says that has no faults."""
    schedule = describe_schedule(definition.mode, slots, now)
    return f"{definition.name}, {format_count(len(slots), 'slot')}, {schedule}"
