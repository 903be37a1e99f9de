"""``timelapsectl check``: every fault of configuration and definitions, before the rig meets them one by one."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from msgspec.structs import replace

from plantimager.timelapse.cli.findings import Finding, check_configuration, check_definition
from plantimager.timelapse.cli.log import describe_volatile_journal
from plantimager.timelapse.cli.session import Scope
from plantimager.timelapse.cli.terminal import Style
from plantimager.timelapse.settings.config import CONFIG_FILE_NAME, read_config
from plantimager.timelapse.settings.places import DEFINITION_FILE_NAME
from plantimager.timelapse.settings.storage import describe_storage
from plantimager.timelapse.support.errors import EXIT_CONFIG, TimelapsedError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from pathlib import Path

    from plantimager.timelapse.cli.session import Session
    from plantimager.timelapse.cli.terminal import Screen
    from plantimager.timelapse.drivers.base import ScannerDriver


def run_check(options: argparse.Namespace, session: Session) -> int:
    """Show the findings on each file; return 78 if any has a problem."""
    configurations = [path for path in options.files if is_configuration(path)]
    definitions = [path for path in options.files if not is_configuration(path)]
    findings: list[Finding] = []
    driver: ScannerDriver | None = None
    for path in configurations or [session.places.find_config()]:
        finding, driver = check_configuration(path)
        findings.append(replace(finding, notes=(*finding.notes, *storage_notes(path, session))))
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
    for finding in findings:
        session.screen.write(*_finding_lines(finding, session.screen))
    return EXIT_CONFIG if any(finding.problem is not None for finding in findings) else 0


def storage_notes(path: Path | None, session: Session) -> Iterator[str]:
    """Yield what will not outlive a power cut: store, datasets, journal."""
    with suppress(TimelapsedError):  # its faults are reported already
        datasets = read_config(path).datasets or session.places.datasets
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
    return [head, *(f"  note: {note}" for note in finding.notes)]
