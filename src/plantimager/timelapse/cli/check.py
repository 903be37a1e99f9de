"""``timelapsectl check``: every fault of configuration and definitions, before the rig meets them one by one."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from plantimager.timelapse.channel.control_client import JUDGEMENT_SECONDS, ServerNotThere
from plantimager.timelapse.channel.control_request import MAX_REQUEST_BYTES
from plantimager.timelapse.cli.daemon_request import ask_daemon
from plantimager.timelapse.cli.findings import EXAMINER, check_configuration, check_definition, disk_line
from plantimager.timelapse.cli.log import describe_volatile_journal
from plantimager.timelapse.cli.relay_request import RelayNotThere, ask_relay, relay_start_hint
from plantimager.timelapse.cli.session import Scope
from plantimager.timelapse.cli.terminal import Style
from plantimager.timelapse.drivers.programs.unmet import CURE, HOMES, find_unmet
from plantimager.timelapse.settings.config import CONFIG_FILE_NAME, read_config
from plantimager.timelapse.settings.disk_plan import DiskOutlook
from plantimager.timelapse.settings.finding import Finding
from plantimager.timelapse.settings.places import DEFINITION_FILE_NAME, describe_locks, describe_storage
from plantimager.timelapse.settings.relay_config import RelaySettings
from plantimager.timelapse.support.durable import read_regular
from plantimager.timelapse.support.errors import EXIT_CONFIG, ConfigurationError, TimelapsedError
from plantimager.timelapse.support.file_system import is_below
from plantimager.timelapse.support.needs import needs_of
from plantimager.timelapse.support.text import printable, texts_in

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping, Sequence

    from plantimager.timelapse.cli.session import Session
    from plantimager.timelapse.cli.terminal import Screen
    from plantimager.timelapse.drivers.base import ScannerDriver

UNJUDGED: Final = "so what its account may read, run, write and import was not judged, nor its disk"
ODD_ANSWER: Final = (OSError, KeyError, IndexError, TypeError, AttributeError)
"""What is raised where a service doesn't answer, or one of another version answers something else."""


class _NotJudged(Exception):
    """The service has not judged, worded for a person; without words where nobody misses its word."""


def run_check(options: argparse.Namespace, session: Session) -> int:
    """Show the findings on each file, those of the service where it answers; return 78 if any has a problem."""
    own = session.places.find_config()
    configurations = [path for path in options.files if is_configuration(path) and not _is_same(path, own)]
    definitions = [path for path in options.files if not is_configuration(path)]
    findings: list[Finding] = []
    driver: ScannerDriver | None = None
    for path in configurations or [own]:
        finding, driver = check_configuration(path, session.places)
        notes = (*finding.notes, *program_notes(path, session), *storage_notes(path, session))
        findings.append(replace(finding, notes=notes))
    default = None if options.files else _find_definition(session)
    if isinstance(default, Path):
        definitions = [default]
    elif default is not None:
        findings.append(default)
    now = session.clock.now()
    findings += [check_definition(path, driver, now, session.places) for path in definitions]
    EXAMINER.close(driver)
    judged: Sequence[Finding | None] = []
    added: list[str] = []
    if configurations:
        added += [f"judged by this account alone: the service was not asked, which has {own or 'no configuration'}"]
    else:
        try:
            judged, of_relay = _ask_service([] if default else definitions, session, asks_own=default is not None)
        except _NotJudged as nobody:
            of_relay = None
            added += filter(None, [str(nobody)])
        added += _relay_notes(of_relay, own, session)
    findings = _merge(findings, judged)
    volatile = describe_volatile_journal() if session.scope is not Scope.OWN else None
    added += filter(None, [volatile])
    findings[0] = replace(findings[0], notes=(*findings[0].notes, *added))
    for finding in findings:
        session.screen.show(*_finding_lines(finding, session.screen))
    return EXIT_CONFIG if any(finding.problem is not None for finding in findings) else 0


def _find_definition(session: Session) -> Path | Finding:
    """Return the definition that the daemon would find, or that there is none."""
    try:
        path = session.places.find_definition()
    except ConfigurationError as problem:
        return Finding(DEFINITION_FILE_NAME, problem=problem)
    if path is not None:
        return path
    where = " or ".join(str(directory) for directory in session.places.config_directories)
    return Finding(DEFINITION_FILE_NAME, f"none in {where}; start one with timelapsectl start FILE")


def _merge(findings: Sequence[Finding], judged: Sequence[Finding | None]) -> list[Finding]:
    """Return the findings, those of the service in place of one's own."""
    beside = [*judged, *[None] * (len(findings) - len(judged))]
    return [mine if found is None else _by_service(found, mine) for mine, found in zip(findings, beside, strict=True)]


def _by_service(found: Finding, mine: Finding) -> Finding:
    """Return a finding of the service, marked where this account finds something else."""
    problem = found.problem
    if problem is not None and str(problem) != str(mine.problem):
        problem = ConfigurationError(f"{found.subject}, by the service: {problem}", hint=found.hint)
    notes = (note if note in mine.notes else f"by the service: {note}" for note in found.notes)
    return replace(found, problem=problem, notes=tuple(notes), meaning=found.meaning or mine.meaning)


def _ask_service(
    definitions: Sequence[Path], session: Session, *, asks_own: bool
) -> tuple[Sequence[Finding | None], Sequence[str] | None]:
    """Return what the service finds in its configuration, in these definitions, and where asked in its own definition.

    None stands for what can't be sent. Beside it is what the relay lacks in the same environment; None where the
    configuration names no sink.
    """
    contents: dict[Path, bytes] = {}
    for path in definitions:
        with suppress(OSError):  # its finding says so already
            contents[path] = read_regular(path, MAX_REQUEST_BYTES)
    body = {"names": [*map(str, contents)], "own_definition": asks_own}
    try:
        answer = ask_daemon(session, "check", body, [*contents.values()], timeout=JUDGEMENT_SECONDS)
        answered = answer.details["found"]
        found = [_finding_of(one) for one in answered]
        of_relay = answer.details.get("relay")
        of_relay = of_relay and [printable(str(note)) for note in of_relay]
    except ServerNotThere:
        unknown = f"no daemon runs, {UNJUDGED} ({session.start_hint})"
        raise _NotJudged(unknown if session.scope is not Scope.OWN else "") from None
    except (TimelapsedError, *ODD_ANSWER) as problem:
        raise _NotJudged(f"the service has not judged, {UNJUDGED}: {problem}") from problem
    of_definitions = dict(zip(contents, found[1:], strict=False))
    return [*found[:1], *(found[1:2] if asks_own else map(of_definitions.get, definitions))], of_relay


def _relay_notes(by_daemon: Sequence[str] | None, own: Path | None, session: Session) -> Iterator[str]:
    """Yield what keeps the relay from its work: by its own service, else by the daemon, whose environment it shares."""
    relay = RelaySettings()
    with suppress(TimelapsedError):  # its faults are reported already
        relay = read_config(own).relay
    if by_daemon is None and relay == RelaySettings():
        return
    try:
        notes = ask_relay(session, "check", {}, JUDGEMENT_SECONDS).details["notes"]
        yield from [f"by the relay's service: {printable(str(note))}" for note in notes]
    except RelayNotThere:
        if by_daemon is None and session.scope is Scope.OWN:
            yield from map(str, find_unmet(needs_of(relay, "relay")))
        yield from (f"by the service: {note}" for note in by_daemon or ())
        if session.scope is not Scope.OWN:
            what = "read" if by_daemon is not None else "read, run and import"
            yield f"no relay runs, so what its account may {what} was not judged ({relay_start_hint(session)})"
    except (TimelapsedError, *ODD_ANSWER) as problem:
        yield f"the relay has not judged what its account may read, run and import: {problem}"


def _finding_of(found: Mapping[str, Any]) -> Finding:
    """Return a finding of the service, which may be of another version."""
    problem = found["problem"]
    hint, disk = found.get("hint"), found.get("disk")
    return Finding(
        str(found.get("subject", "")),
        printable(str(found.get("meaning", ""))),
        tuple(printable(str(note)) for note in found["notes"]),
        problem and ConfigurationError(printable(str(problem)), hint=hint and printable(str(hint))),
        disk and DiskOutlook(printable(str(disk["words"])), bool(disk["is_full"])),
    )


def _is_same(path: Path, own: Path | None) -> bool:
    """Whether a file is the configuration that the service has."""
    with suppress(OSError):
        return own is not None and path.samefile(own)
    return path == own


def program_notes(path: Path | None, session: Session) -> Iterator[str]:
    """Yield what the service will not find: the program that observes, and what is in homes."""
    with suppress(TimelapsedError):  # its faults are reported already
        config = read_config(path)
        unmet = [*find_unmet(needs_of(replace(config, relay=RelaySettings())))]
        for fault in unmet:
            yield f"{fault}; scans are taken all the same"
        said = [word for fault in unmet for word in texts_in(fault.value)]
        if session.scope is not Scope.SYSTEM:
            return
        for word in texts_in([config.driver_options, config.observe]):
            if is_below(word, HOMES) and word not in said:
                yield f"{word} can't be seen by the service (homes are hidden from it); {CURE}"
        if config.datasets is not None and is_below(str(config.datasets), HOMES):
            yield f"datasets can't be put into {config.datasets} by the service (homes are hidden from it)"


def storage_notes(path: Path | None, session: Session) -> Iterator[str]:
    """Yield what will not outlive a power cut: store, datasets; and that another machine may write the store."""
    with suppress(TimelapsedError):  # its faults are reported already
        datasets = session.places.datasets_in(read_config(path).datasets)
        yield from describe_storage(datasets, session.store.parent)
    yield from describe_locks(session.store.parent)


def is_configuration(path: Path) -> bool:
    """Whether a file is a host's configuration, by its name: the content of a faulty file doesn't show it."""
    return path.name.endswith(CONFIG_FILE_NAME)


def _finding_lines(finding: Finding, screen: Screen) -> list[str]:
    notes = [f"  note: {note}" for note in finding.notes]
    if finding.problem is not None:
        first, *others = str(finding.problem).split("\n")
        hint = [f"  hint: {finding.hint}"] if finding.hint is not None else []
        return [screen.paint(first, Style.RED), *others, *hint, *notes]
    head = f"{screen.paint(finding.subject, Style.GREEN)}: {finding.meaning}"
    disk = [] if finding.disk is None else [f"  {disk_line(finding.disk, screen)}"]
    return [head, *disk, *notes]
