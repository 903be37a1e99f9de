"""``timelapsectl check``: every fault of configuration and definitions, before a rig finds them one by one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from plantimager.timelapse.cli.terminal import Style
from plantimager.timelapse.cli.wording import describe_schedule, format_count
from plantimager.timelapse.drivers import load_driver
from plantimager.timelapse.settings.config import CONFIG_FILE_NAME, Config, inspect_config
from plantimager.timelapse.settings.definition import Definition, read_definition
from plantimager.timelapse.settings.places import DEFINITION_FILE_NAME
from plantimager.timelapse.support.errors import (
    EXIT_CONFIG,
    ConfigurationError,
    DriverBroken,
    FaultsFound,
    TimelapsedError,
)

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path
    from typing import Any

    from plantimager.timelapse.cli.session import Session
    from plantimager.timelapse.cli.terminal import Screen
    from plantimager.timelapse.domain.schedule import Schedule
    from plantimager.timelapse.drivers.base import ScannerDriver
    from plantimager.timelapse.support.faults import Fault


@dataclass(frozen=True, slots=True)
class Finding:
    """What there is to say of one file, or of what stands in for one."""

    subject: str
    fine: str = ""
    """What the file means, where nothing is wrong with it."""
    notes: tuple[str, ...] = ()
    problem: TimelapsedError | None = None


def run_check(options: argparse.Namespace, session: Session) -> int:
    """Say what is wrong, and what is fine; 78 if anything is wrong."""
    configurations = [path for path in options.files if is_configuration(path)]
    definitions = [path for path in options.files if not is_configuration(path)]
    findings: list[Finding] = []
    driver: ScannerDriver | None = None
    for path in configurations or [session.places.find_config()]:
        finding, driver = check_configuration(path)
        findings.append(finding)
    if not options.files:
        found = session.places.find_definition()
        definitions = [found] if found is not None else []
        if found is None:
            where = " or ".join(str(directory) for directory in session.places.config_directories)
            findings.append(Finding(DEFINITION_FILE_NAME, f"none in {where}; start one with timelapsectl start FILE"))
    now = session.clock.now()
    findings += [check_definition(path, driver, now) for path in definitions]
    if driver is not None:
        driver.close()
    for finding in findings:
        session.screen.write(*_lines(finding, session.screen))
    return EXIT_CONFIG if any(finding.problem is not None for finding in findings) else 0


def is_configuration(path: Path) -> bool:
    """Whether a file is meant to be the host's configuration: by its name, since a faulty file shows nothing else."""
    return path.name.endswith(CONFIG_FILE_NAME)


def check_configuration(path: Path | None) -> tuple[Finding, ScannerDriver | None]:
    """Return what there is to say of a configuration, and its driver where it makes one."""
    subject = str(path) if path is not None else CONFIG_FILE_NAME
    try:
        config, faults = inspect_config(path)
    except ConfigurationError as problem:
        return Finding(subject, problem=problem), None
    driver = None
    if not any(fault.key == "driver" for fault in faults):  # else nobody knows whose options these are
        try:
            driver = load_driver(config.driver, config.driver_options)
            faults += _check_by(driver, config.scan)
        except FaultsFound as faulty:
            faults += faulty.faults
        except DriverBroken as problem:
            if not faults:
                return Finding(subject, problem=problem), None
    if faults:
        return Finding(subject, problem=FaultsFound(faults, subject)), driver
    return Finding(subject, _meaning(config)), driver


def check_definition(path: Path, driver: ScannerDriver | None, now: datetime) -> Finding:
    """Return what there is to say of a definition; ``driver``'s word included, where there is one."""
    try:
        definition, (slots, notes) = read_checked_definition(path, now)
        refuse_what_the_rig_cannot(definition.configuration, driver, path)
    except (ConfigurationError, DriverBroken) as problem:
        return Finding(str(path), problem=problem)
    words = f"{definition.name}, {format_count(len(slots), 'slot')}, {describe_schedule(definition.mode, slots, now)}"
    unchecked = () if driver is not None else ("there is no driver to ask what the rig can't do",)
    return Finding(str(path), words, (*notes, *unchecked))


def read_checked_definition(path: Path, now: datetime) -> tuple[Definition, Schedule]:
    """Return a definition, and the schedule that it makes if it starts now.

    Raises
    ------
    FileUnusable, FaultsFound
        It doesn't.

    """
    definition = read_definition(path)
    return definition, definition.schedule(now)


def refuse_what_the_rig_cannot(configuration: Mapping[str, Any], driver: ScannerDriver | None, source: Path) -> None:
    """Refuse what a driver can't do of a scan configuration; its own options are another file's.

    Raises
    ------
    FaultsFound
        With all of that.
    DriverBroken
        It fails to say.

    """
    faults = _faults_of_the_scan(_check_by(driver, configuration)) if driver is not None else ()
    if found := [*faults]:
        raise FaultsFound(found, source)


def _check_by(driver: ScannerDriver, configuration: Mapping[str, Any]) -> Sequence[Fault]:
    """Return what a driver, which may be anybody's, has to say of a scan configuration; raises `DriverBroken`."""
    try:
        return driver.check(configuration)
    except Exception as problem:
        raise DriverBroken(type(driver).__name__, problem) from problem


def _faults_of_the_scan(faults: Sequence[Fault]) -> Iterator[Fault]:
    """Yield those that stand in the definition: a driver's options were checked with the configuration."""
    return (fault for fault in faults if not fault.table.startswith("drivers."))


def _meaning(config: Config) -> str:
    there = "fine" if config.source is not None else "there is none, and everything has its default"
    datasets = f"datasets in {config.datasets}" if config.datasets is not None else "datasets beside the store"
    policies = f"missed = {config.missed.value}, clock = {config.clock.value}"
    return f"{there}; driver {config.driver}, {datasets}, {policies}"


def _lines(finding: Finding, screen: Screen) -> list[str]:
    if finding.problem is not None:
        first, *others = str(finding.problem).split("\n")
        hint = [f"  hint: {finding.problem.hint}"] if finding.problem.hint is not None else []
        return [screen.paint(first, Style.RED), *others, *hint]
    fine = f"{screen.paint(finding.subject, Style.GREEN)}: {finding.fine}"
    return [fine, *(f"  note: {note}" for note in finding.notes)]
