"""The driver for a rig behind any program, which it starts for each scan and supervises.

timelapsed.toml(5), "The program that scans", is the contract with the program of ``argv``. Its directory is moved into
place when it has exited with 0, and has left a file, or as many as ``expect`` and its own report say. Without the
program the rig isn't ready: its disk may not be mounted yet.

The program is sent SIGTERM when the scan is cancelled and when the daemon is killed. Then it has not finished its scan,
whatever its exit status. All that it started is ended before its files become the dataset. What ``prepare`` has left in
sessions of its own is ended after the next ``standby``, and the rest at the end of the service.

Where the daemon is killed in the milliseconds between the last action of the program and its exit, only the program
itself can know that it had finished: ``recover`` asks it. Without ``recover`` the slot is attempted again.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from plantimager.timelapse.datasets import disk_space
from plantimager.timelapse.datasets.attempt import MAX_SILENCE, Attempt, begin_attempt, find_finished
from plantimager.timelapse.datasets.attempt_directory import is_attempt_directory, unfinished_attempts
from plantimager.timelapse.datasets.contents import check_contents, count_pictures
from plantimager.timelapse.drivers.base import CANCEL_TIMEOUT, EventMonitor, Part, ScanMonitor, ScannerDriver
from plantimager.timelapse.drivers.command.command_options import TABLE, read_command_options
from plantimager.timelapse.drivers.command.exchange import ProgramReport, describe_scan
from plantimager.timelapse.drivers.deadline import Deadline
from plantimager.timelapse.drivers.programs.environment import (
    ProgramFault,
    ProgramMissing,
    basic_environment,
    find_program,
)
from plantimager.timelapse.drivers.programs.processes import DESCENDANTS, ProcessKey, end_leftovers
from plantimager.timelapse.drivers.programs.run import ProgramExit, run_program
from plantimager.timelapse.drivers.programs.unmet import find_unmet
from plantimager.timelapse.support.errors import (
    DriverError,
    FaultsFound,
    PicturesUnreadable,
    ScanCancelled,
    ScanFailed,
    ScannerNotReady,
)
from plantimager.timelapse.support.needs import needs_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import timedelta

    from plantimager.timelapse.scan.request import ScanRequest, ScanResult
    from plantimager.timelapse.support.faults import Fault
    from plantimager.timelapse.support.needs import Need
    from plantimager.timelapse.support.progress import Report

OK: Final = 0
NOT_READY: Final = 75
"""``EX_TEMPFAIL`` of sysexits.h."""


class CommandDriver(ScannerDriver):
    """A rig behind a program."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__(options)
        faults: list[Fault] = []
        self._options = read_command_options(options, faults)
        if faults:
            raise FaultsFound(faults)
        self._environment = {**basic_environment(), **self._options.environment}
        self._holding = frozenset[ProcessKey]()
        """What its own hooks have left running. Other drivers of this process have theirs."""
        self.cancel_timeout = self._options.stop_grace + CANCEL_TIMEOUT
        timeouts = (self._options.prepare_timeout, self._options.standby_timeout, self._options.recover_timeout)
        self.call_timeout = max(timeouts) + self.cancel_timeout
        self.recover_silence = MAX_SILENCE + self._options.stop_grace
        if self._options.recover is not None:
            self.recover_silence += self._options.recover_timeout + self._options.stop_grace

    def needs(self) -> Iterator[Need]:
        """Return its programs."""
        return needs_of(self._options, TABLE)

    def check(self, configuration: Mapping[str, Any]) -> Sequence[Fault]:
        """Return a fault for each program that is missing. Only the program can check the configuration itself."""
        del configuration
        return [*find_unmet(self.needs())]

    def examine(self) -> Sequence[Part]:
        """Return a part for each program. The driver knows nothing of the rig behind them."""
        parts = []
        for key in ("argv", "prepare", "standby", "recover"):
            program = getattr(self._options, key)
            if program is not None:
                try:
                    parts.append(Part(key, answers=True, says=f"{find_program(program[0])} is there"))
                except ProgramMissing as missing:
                    parts.append(Part(key, answers=False, says=str(missing)))
        return parts

    def prepare(self) -> None:
        """Run the ``prepare`` program; the rig is ready if it exits with 0."""
        try:
            self._run_hook("prepare", self._options.prepare, self._options.prepare_timeout)
        except DriverError as problem:
            raise ScannerNotReady(str(problem)) from problem

    def standby(self) -> None:
        """Run the ``standby`` program, then end what ``prepare`` has left running.

        Raises `DriverError` where it could not be run to its end, or didn't exit with 0, or not all could be ended.
        """
        left = self._holding
        try:
            self._run_hook("standby", self._options.standby, self._options.standby_timeout)
        finally:
            unended = DESCENDANTS.end_left(left, self._options.stop_grace)
            self._holding -= left
        if unended:
            raise DriverError(f"standby: {unended}")

    def close(self) -> None:
        """End all that its hooks have left running. Raises `DriverError` where not all could be ended."""
        left, self._holding = self._holding, frozenset()
        if unended := DESCENDANTS.end_left(left, self._options.stop_grace):
            raise DriverError(unended)

    def scan(self, request: ScanRequest, monitor: ScanMonitor) -> ScanResult:
        """Run the program; the files in its directory become the dataset."""
        finished = self._end_other_attempts(request, lambda words: monitor.progress(0, 0, words))
        if finished is not None:
            return finished
        disk_space.check_disk_space(request, 0, self._options.keep_free)  # what the program needs is unknown
        report = ProgramReport(monitor)
        with begin_attempt(request, report.put_on_disk) as attempt:
            monitor.progress(0, 0, f"starting {self._options.argv[0]}")
            ended = self._run_scan(request, attempt.directory, monitor, report)
            result = attempt.finish(self._checked(report.result, attempt.directory, self._options.argv, ended))
        report.complete()
        return result

    def _checked(self, result: ScanResult, directory: Path, program: tuple[str, ...], ended: ProgramExit) -> ScanResult:
        """Return the result of a program that exited with 0, with a note on what could not be ended.

        Raises `ScanFailed` where it has not left what it says, or what is expected.
        """
        check_contents(directory, result.pictures, self._options.expect, f"{program[0]} exited with 0 and")
        return replace(result, note="; ".join(filter(None, (result.note, ended.remaining))))

    def recover(self, request: ScanRequest) -> ScanResult | None:
        """End what a killed daemon left running, look for the whole dataset, and run the ``recover`` program.

        That program is given the same as the program of the scan, and the directory of the interrupted attempt. It may
        report the number of pictures as that does; otherwise they are counted. Raises `ScanFailed` where it says that
        the scan is whole, and the files aren't there, or where the place is that of another rig's dataset, and
        `ScannerNotReady` where the disk of the datasets is away or fails (`PicturesUnreadable`: under the pictures).
        """
        finished = self._end_other_attempts(request)
        if finished is not None or self._options.recover is None:
            return finished
        try:
            left = unfinished_attempts(request, request.attempt)
            if not left:
                return None
            directory, report = left[-1], ProgramReport(EventMonitor())
            with Deadline(self._options.recover_timeout) as deadline:
                ended = self._run(self._options.recover, request, directory, deadline.passed, report.read)
            if ended.stopped or ended.status != OK:
                return None
            pictures = report.result.pictures
            result = replace(report.result, pictures=count_pictures(directory) if pictures is None else pictures)
            return Attempt(request, directory).finish(self._checked(result, directory, self._options.recover, ended))
        except ProgramFault:
            return None  # it is unknown whether the attempt had finished
        except OSError as problem:
            if problem.errno in (errno.ENOENT, errno.ENOTDIR):  # somebody has moved it away
                return None
            raise PicturesUnreadable(str(problem)) from problem

    def _end_other_attempts(self, request: ScanRequest, report: Report | None = None) -> ScanResult | None:
        """End every other attempt at this dataset that still runs; return the result of one that finished it."""

        def is_leftover(environment: Mapping[bytes, bytes]) -> bool:
            directory = environment.get(b"DATASET_DIR")
            return directory is not None and is_attempt_directory(request, Path(os.fsdecode(directory)))

        end_leftovers(is_leftover, self._options.stop_grace)
        return find_finished(request, report)

    def _run_scan(
        self, request: ScanRequest, directory: Path, monitor: ScanMonitor, report: ProgramReport
    ) -> ProgramExit:
        """Run the program to its end, and raise the error that this stands for, unless it has finished the scan."""
        program = self._options.argv
        try:
            ended = self._run(program, request, directory, lambda: monitor.cancelled, report.read)
        except ProgramMissing as missing:
            raise ScannerNotReady(str(missing)) from missing
        except ProgramFault as problem:
            raise ScanFailed(str(problem)) from problem
        words = f"{program[0]} {ended}"
        if ended.stopped:
            raise ScanCancelled(f"cancelled; {words}")
        if ended.status == NOT_READY:
            raise ScannerNotReady(words)
        if ended.status != OK:
            raise ScanFailed(words)
        return ended

    def _run(
        self,
        program: tuple[str, ...],
        request: ScanRequest,
        directory: Path,
        should_stop: Callable[[], bool],
        on_output: Callable[[list[bytes]], None],
    ) -> ProgramExit:
        """Run a program that is given the request, in the directory of an attempt; raises as `run_program`."""
        environment, stdin = describe_scan(request, directory)
        return run_program(
            program,
            environment={**self._environment, **environment},
            stop_grace=self._options.stop_grace,
            should_stop=should_stop,
            directory=directory,
            stdin=stdin,
            on_output=on_output,
        )

    def _run_hook(self, key: str, program: tuple[str, ...] | None, timeout: timedelta) -> None:
        if program is None:
            return
        before = DESCENDANTS.left
        try:
            with Deadline(timeout) as deadline:
                ended = run_program(
                    program,
                    environment=self._environment,
                    stop_grace=self._options.stop_grace,
                    should_stop=deadline.passed,
                    may_leave=True,
                )
        except ProgramFault as problem:
            raise DriverError(f"{key}: {problem}") from problem
        finally:
            now = DESCENDANTS.left
            self._holding = now - before | self._holding & now
        if ended.stopped:
            raise DriverError(f"{key}: {program[0]} took longer than {timeout.total_seconds():g} s and {ended}")
        if ended.status != OK:
            raise DriverError(f"{key}: {program[0]} {ended}")
