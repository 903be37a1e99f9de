"""``timelapsectl check``: every fault of configuration and definitions, before the rig meets them one by one."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from plantimager.timelapse.channel.control_client import DaemonNotThere
from plantimager.timelapse.channel.control_request import MAX_REQUEST_BYTES
from plantimager.timelapse.cli.daemon_request import ask_daemon
from plantimager.timelapse.cli.findings import Finding, check_configuration, check_definition
from plantimager.timelapse.cli.log import describe_volatile_journal
from plantimager.timelapse.cli.session import Scope
from plantimager.timelapse.cli.terminal import Style
from plantimager.timelapse.drivers.programs.environment import ProgramMissing, find_program
from plantimager.timelapse.settings.config import CONFIG_FILE_NAME, read_config
from plantimager.timelapse.settings.places import DEFINITION_FILE_NAME, describe_storage
from plantimager.timelapse.support.durable import read_regular
from plantimager.timelapse.support.errors import EXIT_CONFIG, ConfigurationError, TimelapsedError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from plantimager.timelapse.cli.session import Session
    from plantimager.timelapse.cli.terminal import Screen
    from plantimager.timelapse.drivers.base import ScannerDriver

HOMES: Final = ("/home", "/root", "/run/user")
"""What ``ProtectHome=`` of the unit hides."""


def run_check(options: argparse.Namespace, session: Session) -> int:
    """Show the findings on each file; return 78 if any has a problem."""
    configurations = [path for path in options.files if is_configuration(path)]
    definitions = [path for path in options.files if not is_configuration(path)]
    findings: list[Finding] = []
    driver: ScannerDriver | None = None
    for path in configurations or [session.places.find_config()]:
        finding, driver = check_configuration(path, session.places)
        notes = (*finding.notes, *program_notes(path, session), *storage_notes(path, session))
        findings.append(replace(finding, notes=notes))
    if not options.files:
        default = session.places.find_definition()
        definitions = [default] if default is not None else []
        if default is None:
            where = " or ".join(str(directory) for directory in session.places.config_directories)
            findings.append(Finding(DEFINITION_FILE_NAME, f"none in {where}; start one with timelapsectl start FILE"))
    now = session.clock.now()
    findings += [check_definition(path, driver, now, session.places) for path in definitions]
    if driver is not None:
        driver.close()
    judged, unjudged = _ask_service(definitions, session)
    first = findings[0]
    findings[0] = replace(first, notes=(*first.notes, *unjudged))
    if judged and not configurations:  # it judges the one that it would use
        findings[0] = _joined(findings[0], *judged[0])
    of_definitions = range(len(findings) - len(definitions), len(findings))
    for place, found in zip(of_definitions, judged[1:], strict=False):
        findings[place] = _joined(findings[place], *found)
    for finding in findings:
        session.screen.write(*_finding_lines(finding, session.screen))
    return EXIT_CONFIG if any(finding.problem is not None for finding in findings) else 0


def _ask_service(definitions: Sequence[Path], session: Session) -> tuple[list[tuple[str, list[str]]], list[str]]:
    """Return what the service finds in its configuration and in these definitions, and why it was not asked."""
    contents = []
    for path in definitions:
        content = b""
        with suppress(OSError):  # its finding says so already
            content = read_regular(path, MAX_REQUEST_BYTES)
        contents.append(content)
    try:
        found = ask_daemon(session, "check", {"names": [*map(str, definitions)]}, contents).details["found"]
        return [(str(one["problem"] or ""), [str(note) for note in one["notes"]]) for one in found], []
    except DaemonNotThere:
        unknown = f"no daemon runs, so what its account may read, run and write was not judged ({session.start_hint})"
        return [], [unknown] if session.scope is Scope.SYSTEM else []
    except (TimelapsedError, OSError, KeyError, TypeError) as problem:
        return [], [f"the service was not asked: {problem}"]


def _joined(finding: Finding, problem: str, notes: Sequence[str]) -> Finding:
    """Return a finding with what the service found besides."""
    if problem and finding.problem is None:
        return replace(finding, problem=ConfigurationError(f"{finding.subject}, by the service: {problem}"))
    new = [f"by the service: {note}" for note in notes if note not in finding.notes]
    return replace(finding, notes=(*finding.notes, *new))


def program_notes(path: Path | None, session: Session) -> Iterator[str]:
    """Yield what the service will not find: the program that observes, and what is in homes."""
    with suppress(TimelapsedError):  # its faults are reported already
        config = read_config(path)
        try:
            find_program(*(config.observe or ("true",))[:1])
        except ProgramMissing as missing:
            yield f"observe: {missing}; scans are taken all the same"
        if session.scope is not Scope.SYSTEM:
            return
        for word in _texts([config.driver_options, config.observe]):
            if is_in_a_home(word):
                yield f"{word} can't be seen by the service (homes are hidden from it); put it into /usr/local/bin"
        if config.datasets is not None and is_in_a_home(str(config.datasets)):
            yield f"datasets can't be put into {config.datasets} by the service (homes are hidden from it)"


def is_in_a_home(text: str) -> bool:
    """Whether a text is a path in a home directory, or a link to one."""
    paths = (text, os.path.realpath(text)) if text.startswith("/") and "\0" not in text else ()
    return any(Path(path).is_relative_to(home) for path in paths for home in HOMES)


def _texts(value: object) -> Iterator[str]:
    """Yield all texts in a value of TOML."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


def storage_notes(path: Path | None, session: Session) -> Iterator[str]:
    """Yield what will not outlive a power cut: store, datasets, journal."""
    with suppress(TimelapsedError):  # its faults are reported already
        datasets = session.places.datasets_in(read_config(path).datasets)
        yield from describe_storage(datasets, session.store.parent)
    volatile = describe_volatile_journal() if session.scope is not Scope.OWN else None
    if volatile is not None:
        yield volatile


def is_configuration(path: Path) -> bool:
    """Whether a file is a host's configuration, by its name: the content of a faulty file doesn't show it."""
    return path.name.endswith(CONFIG_FILE_NAME)


def _finding_lines(finding: Finding, screen: Screen) -> list[str]:
    if finding.problem is not None:
        first, *others = str(finding.problem).split("\n")
        hint = [f"  hint: {finding.problem.hint}"] if finding.problem.hint is not None else []
        return [screen.paint(first, Style.RED), *others, *hint]
    head = f"{screen.paint(finding.subject, Style.GREEN)}: {finding.meaning}"
    disk = [] if finding.disk is None else [f"  {finding.disk.line(screen)}"]
    return [head, *disk, *(f"  note: {note}" for note in finding.notes)]
