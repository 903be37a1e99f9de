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
from plantimager.timelapse.daemon.attempt_request import describe_unsettled
from plantimager.timelapse.daemon.bounded_call import DiskStalled, call_with_timeout, read_within
from plantimager.timelapse.drivers.programs.unmet import CURE, HOMES, UNSEEN, find_unmet
from plantimager.timelapse.settings.acceptance import (
    DefinitionAlreadyAccepted,
    check_may_start,
    check_not_over,
    describe_existing,
    is_new_name,
)
from plantimager.timelapse.settings.config import Config, Missed
from plantimager.timelapse.settings.definition import parse_definition, read_definition
from plantimager.timelapse.settings.disk_plan import DiskOutlook, plan_of_definition
from plantimager.timelapse.settings.finding import NO_DRIVER, Examiner, Finding, meaning_of
from plantimager.timelapse.settings.places import DEFINITION_FILE_NAME, describe_locks, describe_storage
from plantimager.timelapse.settings.relay_config import RelaySettings
from plantimager.timelapse.support.durable import write_refusal
from plantimager.timelapse.support.errors import DefinitionRefused, FaultsFound, TimelapsedError
from plantimager.timelapse.support.file_system import is_below, mounts_now
from plantimager.timelapse.support.needs import needs_of, programs_in
from plantimager.timelapse.support.text import one_line, texts_in

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
    from plantimager.timelapse.support.needs import Need

CALL_TIMEOUT: Final = timedelta(seconds=10)
"""The longest that a driver takes to check a configuration, or to be closed, and the disk of the datasets to answer."""

HIDDEN: Final = (*HOMES, "/tmp", "/var/tmp")  # noqa: S108 - nothing is written there
"""Directories of which the sandbox of the unit shows nothing, or only the service's own."""


class ServiceJudgement:
    """Judges the configuration on disk, and definitions that are sent. The thread "judge"."""

    def __init__(
        self,
        places: Places,
        keeper: StoreKeeper,
        clock: Clock,
        make_driver: Callable[[str, Mapping[str, Any]], ScannerDriver],
    ) -> None:
        self._places, self._keeper, self._clock = places, keeper, clock
        self._examiner = Examiner(make_driver, lambda name, call: call_with_timeout(CALL_TIMEOUT, name, call))

    def answer(self, request: Request) -> Answer:
        """Return what is found in the configuration, and in each definition of a request, by the names given there.

        ``own_definition`` asks for the definition that the service would find, too.
        """
        names = request.body.get("names")
        names = [one_line(str(name)) for name in names] if isinstance(names, list) else []
        texts = zip(names, request.files, strict=False)
        loads = [(name, partial(parse_definition, content, Path(name))) for name, content in texts]
        first, config, driver = self._examiner.examine(self._places.find_config, self._places)
        try:
            needs = _needs_of_driver(config, driver)
            sure = [need for need in needs if not need.is_guess]
            # In one call, since there is one time for all imports.
            unmet = [*_unmet((*sure, *needs_of(config.relay, "relay")), self._clock)]
            of_relay = [fault for fault in unmet if fault.table.split(".")[0] == "relay"]
            of_driver = [fault for fault in unmet if fault not in of_relay]
            found = [replace(_with_unmet(first, of_driver), notes=tuple(self._notes(config, needs)))]
            found += (_found(name, partial(self._judge, load, name, driver, config)) for name, load in loads)
            if request.body.get("own_definition") is True:
                found += self._judge_own_definition(driver, config)
        finally:
            self._examiner.close(driver)
        details: dict[str, Any] = {"found": [*map(_as_json, found)]}
        if config.relay != RelaySettings():
            details["relay"] = [*map(str, of_relay)]
        return Answer(accepted=True, message="", details=details)

    def _notes(self, config: Config, needs: Sequence[Need]) -> Iterator[str]:
        """Yield what a configuration names and the service can't see, run, write or keep, but no need for sure."""
        of_itself = [*needs_of(replace(config, relay=RelaySettings()))]
        said = {need.program for need in (*needs, *of_itself)}
        unseen = [word for word in texts_in([config.driver_options, config.observe or ()]) if _is_unseen(word)]
        for word in dict.fromkeys(unseen):
            if word not in said:
                yield f"{word} is not there, or {UNSEEN}; {CURE}"
        yield from map(str, _unmet(need for need in needs if need.is_guess))
        for fault in _unmet(of_itself):
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
        yield from describe_locks(self._places.store.parent)

    def _judge_own_definition(self, driver: ScannerDriver | None, config: Config) -> Iterator[Finding]:
        """Yield what is found in the definition that the service would read, if there is one."""
        try:
            path = self._places.find_definition()
        except TimelapsedError as problem:
            yield Finding(DEFINITION_FILE_NAME, problem=problem)
            return
        if path is not None:
            yield _found(str(path), partial(self._judge, partial(read_definition, path), str(path), driver, config))

    def _judge(
        self, load: Callable[[], Definition], name: str, driver: ScannerDriver | None, config: Config
    ) -> Finding:
        """Return what a definition says, and what of it doesn't fit.

        Raises
        ------
        ConfigurationError, DriverBroken
            It has faults, or the driver's check fails.
        """
        now = self._clock.now()
        definition, (slots, notes) = self._examiner.read(load, driver, now, name)
        notes += (*self._refusals(definition, config, now), *self._clashes(definition, config))
        notes += () if driver is not None else (NO_DRIVER,)
        fit = self._examiner.fit_notes(definition, slots, driver, self._places, config.missed)
        disk = self._outlook(definition, slots, driver, config, now)
        return Finding(name, meaning_of(definition, slots, now), (*notes, *fit), disk=disk)

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
        held = self._keeper.stored
        try:
            with suppress(DefinitionAlreadyAccepted):
                check_may_start(definition, held, self._places.history, by_a_person=True)
                if config.missed is Missed.SKIP:
                    check_not_over(definition, definition.schedule(now), now)
                if held is not None and held.timelapse.unsettled:
                    scan = describe_unsettled(held.timelapse)
                    raise DefinitionRefused(f"{definition.name} can't start yet: {scan} is still to be looked for")
        except DefinitionRefused as refusal:
            yield f"it would be refused now: {refusal}"

    def _clashes(self, definition: Definition, config: Config) -> Iterator[str]:
        """Yield which datasets have the names that those of a definition will have, which was never started here."""
        held, history = self._keeper.stored, self._places.history
        if not is_new_name(definition, held, history):
            return
        directory = self._places.datasets_in(config.datasets)
        with suppress(DiskStalled):  # which is a note on the configuration
            found = read_within(CALL_TIMEOUT, lambda: describe_existing(definition, directory))
            if found is not None:
                yield found


def _found(subject: str, judge: Callable[[], Finding]) -> Finding:
    """Return the finding on one file."""
    try:
        return judge()
    except (TimelapsedError, OSError) as problem:
        return Finding(subject, problem=problem)


def _as_json(finding: Finding) -> dict[str, Any]:
    """Return a finding as an answer has it."""
    problem = None if finding.problem is None else str(finding.problem)
    return {**to_builtins(replace(finding, problem=None)), "problem": problem, "hint": finding.hint}


def _needs_of_driver(config: Config, driver: ScannerDriver | None) -> Sequence[Need]:
    """Return what a driver needs here; where it can't be made, or can't say it, what its table looks like."""
    needs = programs_in(config.driver_options)
    with suppress(Exception):  # a driver by others may raise anything
        if driver is not None:
            needs = iter(call_with_timeout(CALL_TIMEOUT, config.driver, lambda: [*driver.needs()]))
    table = f"drivers.{config.driver}"
    return [replace(need, table=f"{table}{need.table}") if need.is_guess else need for need in needs]


def _with_unmet(finding: Finding, unmet: Sequence[Fault]) -> Finding:
    """Return a finding with the programs and libraries that a driver lacks here, each key once."""
    if not unmet:
        return finding
    said = {(fault.table, fault.key) for fault in unmet}
    known = finding.problem.faults if isinstance(finding.problem, FaultsFound) else ()
    faults = [*(fault for fault in known if (fault.table, fault.key) not in said), *unmet]
    return replace(finding, meaning="", problem=FaultsFound(faults, finding.subject))


def _unmet(needs: Iterable[Need], clock: Clock | None = None) -> Iterator[Fault]:
    """Yield the faults of needs that aren't met here; what is hidden from the service may be put elsewhere."""
    cured = (replace(need, cure=CURE) if is_below(need.program, HIDDEN) else need for need in needs)
    return find_unmet(cured, unseen=f", or {UNSEEN}", clock=clock)


def _is_unseen(text: str) -> bool:
    """Whether a text is a path, or a link to one, that may be there for others and is not there for this process."""
    return is_below(text, HIDDEN) and not os.path.exists(text)  # noqa: PTH110 - a Path raises where a directory is closed


def _is_private_tmp(path: Path) -> bool:
    """Whether a path is in a /tmp of the service alone (PrivateTmp=)."""
    return any("/systemd-private-" in mount.root and path.is_relative_to(mount.point) for mount in mounts_now())
