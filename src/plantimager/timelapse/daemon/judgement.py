"""The check by the service itself: what its account may read, run and write, and what its driver says of a definition.

Whoever asks may run as another user, outside its sandbox. All of it is done beside the loop, with a driver of its own.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from plantimager.timelapse.channel.control_request import Answer
from plantimager.timelapse.daemon.bounded_call import call_with_timeout
from plantimager.timelapse.domain.durations import format_duration
from plantimager.timelapse.drivers.programs.environment import ProgramMissing, find_program
from plantimager.timelapse.settings.acceptance import DefinitionAlreadyAccepted, check_may_start, check_not_over
from plantimager.timelapse.settings.config import Config, Missed, inspect_config
from plantimager.timelapse.settings.definition import parse_definition
from plantimager.timelapse.support.durable import write_refusal
from plantimager.timelapse.support.errors import (
    ConfigurationError,
    DefinitionRefused,
    DriverBroken,
    DriverStalled,
    FaultsFound,
    TimelapsedError,
)
from plantimager.timelapse.support.text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from plantimager.timelapse.channel.control_request import Request
    from plantimager.timelapse.daemon.store_keeper import StoreKeeper
    from plantimager.timelapse.drivers.base import ScannerDriver
    from plantimager.timelapse.settings.places import Places
    from plantimager.timelapse.support.clock import Clock
    from plantimager.timelapse.support.faults import Fault

CALL_TIMEOUT: Final = timedelta(seconds=10)
"""The longest that a driver takes to check a configuration, or to be closed."""


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
        """Return what is found in the configuration, and in each definition of a request, by the names given there."""
        names = request.body.get("names")
        names = [one_line(str(name)) for name in names] if isinstance(names, list) else []
        found: list[dict[str, Any]] = []
        driver, config = None, Config()
        try:
            config, driver = self._read_configuration()
            found.append({"problem": None, "notes": [*self._notes(config)]})
        except (TimelapsedError, OSError) as problem:
            found.append({"problem": str(problem), "notes": []})
        try:
            for name, content in zip(names, request.files, strict=False):
                try:
                    notes = [*self._judge(content, name, driver, config)]
                    found.append({"problem": None, "notes": notes})
                except (TimelapsedError, OSError) as problem:
                    found.append({"problem": str(problem), "notes": []})
        finally:
            if driver is not None:
                _close(driver)
        return Answer(accepted=True, message="", details={"found": found})

    def _read_configuration(self) -> tuple[Config, ScannerDriver]:
        """Return the configuration that is on disk, and its driver.

        Raises
        ------
        ConfigurationError, DriverBroken
            It has faults, or its driver can't be made: a library is missing in the service's environment.
        """
        path = self._places.find_config()
        config, faults = inspect_config(path)
        try:
            driver = self._make_driver(config.driver, config.driver_options)
        except FaultsFound as found:
            raise FaultsFound([*faults, *found.faults], path or "no configuration file") from None
        try:
            faults = [*faults, *_faults_by(driver, config.scan)]
            if faults:
                raise FaultsFound(faults, path or "no configuration file")
        except BaseException:
            _close(driver)
            raise
        return config, driver

    def _notes(self, config: Config) -> Iterator[str]:
        """Yield what of a sound configuration the service can't run or write."""
        for program in dict.fromkeys((*_programs([*config.driver_options.values()]), *(config.observe or ())[:1])):
            try:
                find_program(program)
            except ProgramMissing as missing:
                yield f"{missing}, or the service may not run it or can't see it (homes are hidden from it)"
        datasets = self._places.datasets_in(config.datasets)
        refusal = write_refusal(datasets)
        if refusal is not None:
            yield f"datasets can't be put into {datasets}: {refusal}"

    def _judge(self, content: bytes, name: str, driver: ScannerDriver | None, config: Config) -> Iterator[str]:
        """Yield why a definition would be refused now, though it has no faults.

        Raises
        ------
        ConfigurationError, DriverBroken
            It has faults, or the driver's check fails.
        """
        definition = parse_definition(content, Path(name))
        now = self._clock.now()
        schedule = definition.schedule(now)
        faults = _faults_by(driver, definition.configuration) if driver is not None else ()
        if faults := [fault for fault in faults if not fault.table.startswith("drivers.")]:
            raise FaultsFound(faults, name)
        try:
            with suppress(DefinitionAlreadyAccepted):
                check_may_start(definition, self._keeper.stored, self._places.history)
            if config.missed is Missed.SKIP:
                check_not_over(definition, schedule, now)
        except DefinitionRefused as refusal:
            yield f"it would be refused now: {refusal}"


def _programs(value: object) -> Iterator[str]:
    """Yield what begins a list of texts with the path of a file: the programs in the options of a driver."""
    if isinstance(value, dict):
        yield from _programs([*value.values()])
    elif isinstance(value, list | tuple):
        if value and isinstance(value[0], str) and value[0].startswith("/"):
            yield value[0]
        for item in value:
            yield from _programs(item)


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
