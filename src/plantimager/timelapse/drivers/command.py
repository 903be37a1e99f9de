"""The rig that any program drives: the driver starts it for each scan and watches over it.

What the program of ``argv`` is told: the environment ``TIMELAPSE_ID``, ``SCAN_ID``, ``SLOT`` (from 0),
``ATTEMPT`` (from 1), ``SCHEDULED_AT`` (UTC) and ``DATASET_DIR``, and on stdin all of it as one JSON object, with the
scan's ``configuration``. ``DATASET_DIR`` is an empty directory, and the current one: what the program leaves there is
the dataset, which moves to its final place when the program has exited with 0.

What it may tell: lines of JSON on stdout, ``{"progress": [17, 36], "note": "picamera"}`` as it goes on, and
``{"pictures": 72}`` at the end. Any other line counts as a sign of life. Exit status 0: the scan is whole; 75
(``EX_TEMPFAIL``): the rig isn't ready, ask again; any other: this attempt failed, and the end of stderr says why. A
program that isn't there is a rig that isn't ready: its disk may still be to be mounted.

SIGTERM means: bring the rig to a safe point and exit. A program that was sent SIGTERM has not finished its scan,
whatever it exits with. It comes when the scan is cancelled, and when the daemon is gone. Nothing that the program
started goes on after it.

When the daemon is killed in the milliseconds between the program's last action and its exit status, only the program
itself could tell that it had finished: that is what ``recover`` is for. Without it the slot is attempted again.
"""

from __future__ import annotations

import json
import os
import pwd
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from plantimager.timelapse.datasets import disk_space
from plantimager.timelapse.datasets.attempt import (
    Attempt,
    begin_attempt,
    find_finished,
    is_attempt_directory,
    unfinished_attempts,
)
from plantimager.timelapse.drivers import programs
from plantimager.timelapse.drivers.base import Part, ScanMonitor, ScannerDriver
from plantimager.timelapse.drivers.command_options import SCAN_VARIABLES, TABLE, read_options
from plantimager.timelapse.scan.request import ScanRequest, ScanResult
from plantimager.timelapse.support import json_text
from plantimager.timelapse.support.errors import (
    DriverError,
    FaultsFound,
    ScanCancelled,
    ScanFailed,
    ScannerNotReady,
)
from plantimager.timelapse.support.faults import Fault

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import timedelta

OK: Final = 0
NOT_READY: Final = 75
"""``EX_TEMPFAIL`` of sysexits.h."""

LONGEST_NOTE: Final = 200
"""Characters of a note that the journal and the status line repeat."""

MOST_STEPS: Final = 1_000_000_000


class CommandDriver(ScannerDriver):
    """A rig behind a program."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__(options)
        faults: list[Fault] = []
        self._options = read_options(options, faults)
        if faults:
            raise FaultsFound(faults)
        self._environment = {**_basic_environment(), **self._options.environment}

    def check(self, configuration: Mapping[str, Any]) -> Sequence[Fault]:
        """Return which of the programs aren't there; the configuration itself is theirs to judge."""
        del configuration
        faults = []
        for key, program in self._programs():
            try:
                programs.find_program(program[0])
            except programs.ProgramMissing as missing:
                faults.append(Fault(TABLE, key, list(program), f"{missing}"))
        return faults

    def examine(self) -> Sequence[Part]:
        """Say which of the programs are there; what is behind them only they know."""
        parts = []
        for key, program in self._programs():
            try:
                parts.append(Part(key, answers=True, says=f"{programs.find_program(program[0])} is there"))
            except programs.ProgramMissing as missing:
                parts.append(Part(key, answers=False, says=str(missing)))
        return parts

    def _programs(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Yield each program there is, with its key."""
        keys = {
            "argv": self._options.argv,
            "prepare": self._options.prepare,
            "standby": self._options.standby,
            "recover": self._options.recover,
        }
        return ((key, program) for key, program in keys.items() if program is not None)

    def prepare(self) -> None:
        """Run the ``prepare`` program; the rig is ready if it exits with 0."""
        try:
            self._run_hook("prepare", self._options.prepare, self._options.prepare_timeout)
        except DriverError as problem:
            raise ScannerNotReady(str(problem)) from problem

    def standby(self) -> None:
        """Run the ``standby`` program.

        Raises
        ------
        DriverError
            It could not be run to its end, or didn't exit with 0.

        """
        self._run_hook("standby", self._options.standby, self._options.standby_timeout)

    def scan(self, request: ScanRequest, monitor: ScanMonitor) -> ScanResult:
        """Run the program; what it leaves in its directory becomes the dataset."""
        finished = self._settle(request)
        if finished is not None:
            return finished
        disk_space.check_disk_space(request, 0, self._options.keep_free)  # what it needs beside only the program knows
        with begin_attempt(request) as attempt:
            talk = _Talk(monitor)
            monitor.progress(0, 0, f"starting {self._options.argv[0]}")
            try:
                ended = self._run(self._options.argv, request, attempt.directory, monitor, talk)
                self._judge(ended)
                attempt.seal(talk.result)  # at once: until then a kill makes the program scan again
            finally:
                self._end_leftovers(request)
            attempt.finish(talk.result)
        talk.tell_the_end()
        return talk.result

    def _judge(self, ended: programs.ProgramExit) -> None:
        """Raise what the end of the program means, unless it is that the scan is whole."""
        program = self._options.argv[0]
        if ended.stopped:
            raise ScanCancelled(f"cancelled; {program} {ended}")
        if ended.status == NOT_READY:
            raise ScannerNotReady(f"{program} {ended}")
        if ended.status != OK:
            raise ScanFailed(f"{program} {ended}")

    def recover(self, request: ScanRequest) -> ScanResult | None:
        """Look for the whole dataset, end what a killed daemon left running, and ask the ``recover`` program.

        That program sees what the scan's saw, and the directory that the interrupted attempt left.
        """
        finished = self._settle(request)
        if finished is not None or self._options.recover is None:
            return finished
        left = unfinished_attempts(request, request.attempt)
        if not left:
            return None
        directory = left[-1]
        try:
            with programs.Deadline(self._options.recover_timeout) as late:
                ended = programs.run(
                    self._options.recover,
                    environment=self._environment_of(request, directory),
                    grace=self._options.stop_grace,
                    stop=late.passed,
                    directory=directory,
                    given=_request_as_json(request, directory),
                )
            if ended.stopped or ended.status != OK:
                return None
            return Attempt(request, directory).finish(ScanResult())
        except (OSError, programs.ProgramMissing, programs.ProgramHung):
            return None  # nobody can say that it finished

    def _settle(self, request: ScanRequest) -> ScanResult | None:
        """Make sure that no other attempt at this dataset goes on; return the result if one had finished it."""
        self._end_leftovers(request)
        return find_finished(request)

    def _end_leftovers(self, request: ScanRequest) -> None:
        def is_ours(environment: Mapping[bytes, bytes]) -> bool:
            directory = environment.get(b"DATASET_DIR")
            return directory is not None and is_attempt_directory(request, Path(os.fsdecode(directory)))

        programs.end_leftovers(is_ours, self._options.stop_grace)

    def _run(
        self, program: tuple[str, ...], request: ScanRequest, directory: Path, monitor: ScanMonitor, talk: _Talk
    ) -> programs.ProgramExit:
        try:
            return programs.run(
                program,
                environment=self._environment_of(request, directory),
                grace=self._options.stop_grace,
                stop=lambda: monitor.cancelled,
                directory=directory,
                given=_request_as_json(request, directory),
                on_output=talk.listen,
            )
        except programs.ProgramMissing as missing:
            raise ScannerNotReady(str(missing)) from missing
        except programs.ProgramHung as hangs:
            raise ScanFailed(f"{program[0]}: {hangs}") from hangs
        except OSError as problem:
            raise ScanFailed(f"{program[0]} can't be started: {problem.strerror or problem}") from problem

    def _run_hook(self, key: str, program: tuple[str, ...] | None, timeout: timedelta) -> None:
        if program is None:
            return
        try:
            with programs.Deadline(timeout) as late:
                ended = programs.run(
                    program, environment=self._environment, grace=self._options.stop_grace, stop=late.passed
                )
        except (programs.ProgramMissing, programs.ProgramHung) as problem:
            raise DriverError(f"{key}: {problem}") from problem
        except OSError as problem:
            raise DriverError(f"{key}: {program[0]} can't be started: {problem.strerror or problem}") from problem
        if ended.stopped:
            raise DriverError(f"{key}: {program[0]} took longer than {timeout.total_seconds():g} s and {ended}")
        if ended.status != OK:
            raise DriverError(f"{key}: {program[0]} {ended}")

    def _environment_of(self, request: ScanRequest, directory: Path) -> dict[str, str]:
        told = (
            request.timelapse_id,
            request.scan_id,
            str(request.index),
            str(request.attempt),
            request.scheduled_at.astimezone(UTC).isoformat(),
            str(directory),
        )
        return {**self._environment, **dict(zip(SCAN_VARIABLES, told, strict=True))}


class _Talk:
    """What a scanning program says on stdout."""

    def __init__(self, monitor: ScanMonitor) -> None:
        self._monitor = monitor
        self._done, self._total = 0, 0
        self._pictures: int | None = None
        self._note = ""

    @property
    def result(self) -> ScanResult:
        """What the scan left, as far as the program told."""
        return ScanResult(pictures=self._pictures, note=self._note)

    def listen(self, lines: list[bytes]) -> None:
        """Take in lines of output; the monitor is told of them once, however many there are."""
        remark = ""
        for line in lines:
            if not (line.startswith(b"{") and self._understood(line)):
                remark = _note(line) or remark
        if lines:
            self._monitor.progress(self._done, self._total, remark or self._note)

    def tell_the_end(self) -> None:
        """Tell the monitor that all is done."""
        self._monitor.progress(self._total, self._total, self._note)

    def _understood(self, line: bytes) -> bool:
        try:
            said = json.loads(line)
        except (ValueError, RecursionError):
            return False
        if not isinstance(said, dict):
            return False
        match said.get("progress"):
            case [bool(), _] | [_, bool()]:  # which Python counts as a number
                pass
            case [int(done), int(total)] if 0 <= done <= total <= MOST_STEPS:
                # Two cameras may tell in turns; a scan never goes back.
                self._total = max(total, self._total)
                self._done = max(done, self._done)
        match said.get("pictures"):
            case bool():
                pass
            case int(pictures) if 0 <= pictures <= MOST_STEPS:
                self._pictures = pictures
        if isinstance(said.get("note"), str):
            self._note = _note(said["note"].encode(errors="replace"))
        return True


def _note(said: bytes) -> str:
    words = " ".join(programs.printable(said[: 4 * LONGEST_NOTE]).split())
    return words if len(words) <= LONGEST_NOTE else f"{words[: LONGEST_NOTE - 1]}…"


def _request_as_json(request: ScanRequest, directory: Path) -> bytes:
    return json_text.dumps(
        {
            "timelapse_id": request.timelapse_id,
            "scan_id": request.scan_id,
            "index": request.index,
            "attempt": request.attempt,
            "scheduled_at": request.scheduled_at.astimezone(UTC).isoformat(),
            "dataset_dir": str(directory),
            "configuration": json_text.jsonable(request.configuration),
        }
    )


def _basic_environment() -> dict[str, str]:
    """Return what every program sees, however the daemon was started: by hand, by systemd, by a test."""
    environment = {"PATH": programs.SEARCH_PATH, "LANG": "C.UTF-8"}
    try:
        user = pwd.getpwuid(os.getuid())
    except KeyError:  # a user without an entry, as in some containers
        return {**environment, "HOME": "/"}
    return {**environment, "HOME": user.pw_dir, "USER": user.pw_name, "LOGNAME": user.pw_name}
