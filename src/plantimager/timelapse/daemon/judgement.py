"""The check by the service itself: what its account may read, run and write, and what its driver says of a definition.

Whoever asks may run as another user, outside its sandbox, with other libraries. All of it is done beside the loop, with
a driver of its own.
"""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from msgspec import to_builtins
from msgspec.structs import replace

from plantimager.timelapse.channel.control_request import Answer
from plantimager.timelapse.daemon.bounded_call import call_with_timeout, read_within
from plantimager.timelapse.daemon.disk_thread import DiskStalled
from plantimager.timelapse.domain.durations import format_duration
from plantimager.timelapse.domain.wording import describe_schedule
from plantimager.timelapse.drivers.programs.unmet import find_unmet
from plantimager.timelapse.settings.acceptance import (
    DefinitionAlreadyAccepted,
    check_may_start,
    check_not_over,
    describe_existing,
    find_name_clash,
    fit_notes,
    is_name_used,
)
from plantimager.timelapse.settings.config import CONFIG_FILE_NAME, Config, Missed, describe_config, inspect_config
from plantimager.timelapse.settings.definition import parse_definition, read_definition
from plantimager.timelapse.settings.disk_plan import DiskOutlook, plan_of_definition
from plantimager.timelapse.settings.places import DEFINITION_FILE_NAME, describe_storage
from plantimager.timelapse.settings.relay_config import RelaySettings
from plantimager.timelapse.support.durable import write_refusal
from plantimager.timelapse.support.errors import (
    ConfigurationError,
    DefinitionRefused,
    DriverBroken,
    DriverStalled,
    FaultsFound,
    TimelapsedError,
)
from plantimager.timelapse.support.file_system import MOUNTS, is_below
from plantimager.timelapse.support.needs import needs_of
from plantimager.timelapse.support.text import format_count, one_line, texts_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from plantimager.timelapse.channel.control_request import Request
    from plantimager.timelapse.daemon.store_keeper import StoreKeeper
    from plantimager.timelapse.drivers.base import ScannerDriver
    from plantimager.timelapse.settings.definition import Definition
    from plantimager.timelapse.settings.places import Places
    from plantimager.timelapse.support.clock import Clock
    from plantimager.timelapse.support.faults import Fault

CALL_TIMEOUT: Final = timedelta(seconds=10)
"""The longest that a driver takes to check a configuration, or to be closed, and the disk of the datasets to answer."""

HIDDEN: Final = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")  # noqa: S108 - nothing is written there
"""Directories of which the sandbox of the unit shows nothing, or only the service's own."""

UNSEEN: Final = "the service may not run it or can't see it (homes and the /tmp of others are hidden from it)"


class ServiceJudgement:
    """Judges the configuration on disk, and definitions that are sent. A thread of its own."""

    def __init__(
        self,
        places: Places,
        keeper: StoreKeeper,
        clock: Clock,
        make_driver: Callable[[str, Mapping[str, Any]], ScannerDriver],
    ) -> None:
        self._places, self._keeper, self._clock, self._make_driver = places, keeper, clock, make_driver

    def answer(self, request: Request) -> Answer:
        """Return what is found in the configuration, and in each definition of a request, by the names given there.

        ``own_definition`` asks for the definition that the service would find, too.
        """
        names = request.body.get("names")
        names = [one_line(str(name)) for name in names] if isinstance(names, list) else []
        texts = zip(names, request.files, strict=False)
        loads = [(name, partial(parse_definition, content, Path(name))) for name, content in texts]
        first, config, driver = self._judge_configuration()
        try:
            found = [_found(name, partial(self._judge, load, name, driver, config)) for name, load in loads]
            if request.body.get("own_definition") is True:
                found += self._judge_own_definition(driver, config)
        finally:
            if driver is not None:
                _close(driver)
        return Answer(accepted=True, message="", details={"found": [first, *found]})

    def _judge_configuration(self) -> tuple[dict[str, Any], Config, ScannerDriver | None]:
        """Return what is found in the configuration that is on disk, it, and its driver where that can be made."""
        faults: list[Fault] = []
        config, driver, subject = Config(), None, CONFIG_FILE_NAME
        problem: Exception | None = None
        try:
            path = self._places.find_config()
            subject = str(path or CONFIG_FILE_NAME)
            config, faults = inspect_config(path)
            if not any(fault.key == "driver" for fault in faults):  # otherwise the options belong to no known driver
                driver = self._make_driver(config.driver, config.driver_options)
                faults = [*faults, *_faults_by(driver, config.scan)]
        except FaultsFound as found:
            faults = [*faults, *found.faults]
        except (TimelapsedError, OSError) as trouble:
            problem = trouble
            if driver is not None:
                _close(driver)
                driver = None
        if driver is not None:
            faults = [*_with_unmet(faults, driver)]
        if faults:
            problem = FaultsFound(faults, subject)
        meaning = "" if problem is not None else describe_config(config, self._places.datasets_in(config.datasets))
        judged = _as_found(subject, meaning, self._notes(config), problem)
        if config.relay != RelaySettings():
            unmet = find_unmet(needs_of(config.relay, "relay"), unseen=f", or {UNSEEN}", imports=True)
            judged["relay"] = [*map(str, unmet)]
        return judged, config, driver

    def _notes(self, config: Config) -> Iterator[str]:
        """Yield what a configuration names and the service can't see, run, write, keep or import."""
        unseen = [word for word in texts_in([config.driver_options, config.observe or ()]) if _is_unseen(word)]
        for word in dict.fromkeys(unseen):
            yield f"{word} is not there, or {UNSEEN}; put it into /usr/local/bin"
        for fault in find_unmet(needs_of(replace(config, relay=RelaySettings())), unseen=f", or {UNSEEN}"):
            yield f"{fault}; scans are taken all the same"
        datasets = self._places.datasets_in(config.datasets)
        try:
            refusal = read_within(CALL_TIMEOUT, lambda: write_refusal(datasets))
        except DiskStalled as stalled:
            refusal = str(stalled)
        if refusal is not None:
            hidden = " (the service sees no homes)" if is_below(str(datasets), HIDDEN) else ""
            yield f"datasets can't be put into {datasets}: {refusal}{hidden}"
        if _is_private_tmp(datasets):
            yield f"the service has a /tmp of its own, that goes when it stops, and {datasets} with it; take /srv/scans"
        yield from describe_storage(datasets, self._places.store.parent)

    def _judge_own_definition(self, driver: ScannerDriver | None, config: Config) -> Iterator[dict[str, Any]]:
        """Yield what is found in the definition that the service would read, if there is one."""
        try:
            path = self._places.find_definition()
        except TimelapsedError as problem:
            yield _as_found(DEFINITION_FILE_NAME, "", (), problem)
            return
        if path is not None:
            yield _found(str(path), partial(self._judge, partial(read_definition, path), str(path), driver, config))

    def _judge(
        self, load: Callable[[], Definition], name: str, driver: ScannerDriver | None, config: Config
    ) -> tuple[str, list[str], DiskOutlook | None]:
        """Return what a definition says, what of it doesn't fit, and how much of the service's disk it takes.

        Raises
        ------
        ConfigurationError, DriverBroken
            It has faults, or the driver's check fails.
        """
        definition, now = load(), self._clock.now()
        schedule = definition.schedule(now)
        faults = _faults_by(driver, definition.configuration) if driver is not None else ()
        if faults := [fault for fault in faults if not fault.table.startswith("drivers.")]:
            raise FaultsFound(faults, name)
        notes = [*schedule.notes, *self._refusals(definition, config, now), *self._clashes(definition, config)]
        estimate = None
        if driver is not None:
            with suppress(Exception):  # a driver by others may raise anything, and a note is no reason to fail
                estimate = call_with_timeout(CALL_TIMEOUT, name, lambda: driver.estimate(definition.configuration))
        else:
            notes.append("there is no driver to ask what the rig can't do")
        latest = config.missed is Missed.RUN_LATEST
        notes += fit_notes(definition, schedule.slots, estimate, self._places, run_latest=latest)
        disk = self._outlook(definition, schedule.slots, driver, config, now)
        slots = format_count(len(schedule.slots), "slot")
        return f"{definition.name}, {slots}, {describe_schedule(definition.mode, schedule.slots, now)}", notes, disk

    def _outlook(
        self,
        definition: Definition,
        slots: Sequence[datetime],
        driver: ScannerDriver | None,
        config: Config,
        now: datetime,
    ) -> DiskOutlook | None:
        """Return what is known of the disk as the service sees it."""
        held = self._keeper.stored

        def estimate() -> int | None:
            return None if driver is None else driver.estimate_bytes(definition.configuration)

        def look() -> DiskOutlook | None:
            plan = plan_of_definition(
                definition, slots, None if held is None else held.timelapse, estimate, self._places
            )
            return None if plan is None else plan.outlook(self._places, config, now)

        with suppress(Exception):  # a driver by others, which may raise anything; a disk that doesn't answer
            return read_within(CALL_TIMEOUT, look)
        return None

    def _refusals(self, definition: Definition, config: Config, now: datetime) -> Iterator[str]:
        """Yield why a definition would be refused now, though it has no faults."""
        try:
            with suppress(DefinitionAlreadyAccepted):
                check_may_start(definition, self._keeper.stored, self._places.history, by_a_person=True)
                if config.missed is Missed.SKIP:
                    check_not_over(definition, definition.schedule(now), now)
        except DefinitionRefused as refusal:
            yield f"it would be refused now: {refusal}"

    def _clashes(self, definition: Definition, config: Config) -> Iterator[str]:
        """Yield which datasets have the names that those of a definition will have, which was never started here."""
        held, history = self._keeper.stored, self._places.history
        if is_name_used(definition.name, held, history) or find_name_clash(definition, held, history) is not None:
            return
        directory = self._places.datasets_in(config.datasets)
        with suppress(DiskStalled):  # which is a note on the configuration
            found = read_within(CALL_TIMEOUT, lambda: describe_existing(definition, directory))
            if found is not None:
                yield found


def _found(subject: str, judge: Callable[[], tuple[str, Sequence[str], DiskOutlook | None]]) -> dict[str, Any]:
    """Return the finding on one file, as an answer has it."""
    try:
        meaning, notes, disk = judge()
    except (TimelapsedError, OSError) as problem:
        return _as_found(subject, "", (), problem)
    return {**_as_found(subject, meaning, notes, None), "disk": disk and to_builtins(disk)}


def _as_found(
    subject: str, meaning: str, notes: Iterator[str] | Sequence[str], problem: Exception | None
) -> dict[str, Any]:
    words = None if problem is None else str(problem)
    return {
        "subject": subject,
        "meaning": meaning,
        "notes": [*notes],
        "problem": words,
        "hint": getattr(problem, "hint", None),
    }


def _with_unmet(faults: Sequence[Fault], driver: ScannerDriver) -> Iterable[Fault]:
    """Return the faults with those of programs and libraries that a driver lacks here, each key once."""
    found = {(fault.table, fault.key): fault for fault in faults}
    with suppress(Exception):  # a driver by others may raise anything
        for fault in find_unmet(driver.needs(), unseen=f", or {UNSEEN}", imports=True):
            found[fault.table, fault.key] = fault
    return found.values()


def _is_unseen(text: str) -> bool:
    """Whether a text is a path, or a link to one, that may be there for others and is not there for this process."""
    return is_below(text, HIDDEN) and not os.path.exists(text)  # noqa: PTH110 - a Path raises where a directory is closed


def _is_private_tmp(path: Path) -> bool:
    """Whether a path is in a /tmp of the service alone (PrivateTmp=)."""
    mounts = [line.split(" ")[3:5] for line in MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines()]
    return any("/systemd-private-" in root and path.is_relative_to(point) for root, point in mounts)


def _faults_by(driver: ScannerDriver, configuration: Mapping[str, Any]) -> Sequence[Fault]:
    """Return the driver's faults in a scan configuration. A driver by others may raise anything: `DriverBroken`."""
    name = type(driver).__name__
    try:
        return call_with_timeout(CALL_TIMEOUT, name, lambda: driver.check(configuration))
    except ConfigurationError:
        raise
    except DriverStalled as stalled:
        late = TimeoutError(f"its check gave no answer within {format_duration(CALL_TIMEOUT)}")
        raise DriverBroken(name, late) from stalled
    except Exception as problem:
        raise DriverBroken(name, problem) from problem


def _close(driver: ScannerDriver) -> None:
    """Close a driver that was made for the check. One by others that fails at it costs no answer."""
    with suppress(Exception):
        call_with_timeout(CALL_TIMEOUT, type(driver).__name__, driver.close)
