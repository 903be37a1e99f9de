"""The operator's program that observes something beside each scan, such as temperature and light.

It runs while the rig scans, whichever driver that has, and prints a JSON object, which is not trusted. Where it fails,
the scan counts all the same, and its note says why nothing was observed. What it leaves running is ended: it runs
`alone`.
"""

from __future__ import annotations

import dataclasses
import json
import threading
from datetime import timedelta
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

from plantimager.timelapse.domain.durations import format_duration
from plantimager.timelapse.drivers.deadline import Deadline
from plantimager.timelapse.drivers.programs.alone import UNENDED, alone
from plantimager.timelapse.drivers.programs.environment import ProgramFault, basic_environment, find_program
from plantimager.timelapse.drivers.programs.run import run_program
from plantimager.timelapse.scan.request import Observed
from plantimager.timelapse.support.json_text import is_deeper

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from plantimager.timelapse.scan.request import Observation, ScanRequest

MAX_BYTES: Final = 1 << 16
"""Of JSON, which is in the metadata of each dataset."""

MAX_JSON_DEPTH: Final = 8
"""Levels of objects and lists."""

REPORT_INTERVAL: Final = 1.0
"""Seconds between two reports that the scan waits for the program."""

STOP_GRACE: Final = timedelta(seconds=10)
"""From SIGTERM to SIGKILL: the program, and what it has started, have a second of it each."""

_TOO_DEEP: Final = f"printed JSON that is nested deeper than {MAX_JSON_DEPTH} levels"


class ObserveProgram:
    """Begins the program for each scan; the ``observe`` of a `ScanRequest`."""

    def __init__(self, argv: Sequence[str], timeout: timedelta) -> None:
        self._argv, self._timeout = argv, timeout

    def __call__(self, request: ScanRequest) -> Observation:
        """Begin it for an attempt."""
        return _Running(self._argv, self._timeout, request)


class _Running:
    """The program while it runs, on a thread of its own."""

    def __init__(self, argv: Sequence[str], timeout: timedelta, request: ScanRequest) -> None:
        self._argv, self._timeout, self._request = argv, timeout, request
        self._stop = threading.Event()
        self._observed = Observed()
        self._thread = threading.Thread(target=self._run, name="observe", daemon=True)
        self._thread.start()

    def result(self, report: Callable[[str], None]) -> Observed:
        while self._thread.is_alive():
            report(f"waiting for {self._argv[0]}")
            self._thread.join(REPORT_INTERVAL)
        return self._observed

    def stop(self) -> None:
        self._stop.set()

    def _run(self) -> None:
        try:
            output, note = self._print()
            observed = Observed(read_observed(output), note)
        except (ProgramFault, OSError, ValueError) as problem:
            observed = Observed(note=f"nothing was observed: {self._argv[0]}: {problem}")
        self._observed = observed

    def _print(self) -> tuple[bytes, str]:
        """Run the program; return what it has printed, and a note on what it has left and could not be ended."""
        output, request = bytearray(), self._request
        about = {"TIMELAPSE_ID": request.timelapse_id, "SCAN_ID": request.scan_id}
        about |= {"SLOT": str(request.index), "ATTEMPT": str(request.attempt)}

        def keep(chunk: bytes) -> None:  # one byte more than may be there tells that it is too much
            output.extend(chunk[: MAX_BYTES + 1 - len(output)])

        find_program(self._argv[0])
        with Deadline(self._timeout) as deadline:
            ended = run_program(
                alone(self._argv),
                environment={**basic_environment(), **about},
                stop_grace=STOP_GRACE,
                should_stop=lambda: deadline.passed() or self._stop.is_set(),
                on_chunk=keep,
                may_leave=True,  # since what a driver by others starts meanwhile looks like a leftover
            )
        if ended.stopped:
            raise ValueError(f"took longer than {format_duration(self._timeout)}")
        if ended.status != 0:
            raise ValueError(str(dataclasses.replace(ended, remaining="")))
        _, mark, unended = ended.stderr_tail.rpartition(UNENDED)
        return bytes(output), f"{self._argv[0]}: {unended.decode(errors='replace')}" if mark else ""


def read_observed(text: bytes) -> dict[str, Any]:
    """Return the JSON object that a program has printed.

    Raises
    ------
    ValueError
        It is none, too large, nested too deep, or has numbers that JSON can't have.
    """
    if len(text) > MAX_BYTES:
        raise ValueError(f"printed more than {MAX_BYTES // 1024} kB")
    try:
        values = json.loads(text, parse_constant=_refuse, parse_float=_finite)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    except ValueError as fault:  # also of UTF-8
        raise ValueError(f"printed no JSON ({fault})") from None
    if not isinstance(values, dict):
        raise ValueError("printed no JSON object")  # noqa: TRY004 - of a text, not of an argument
    if is_deeper(values, MAX_JSON_DEPTH):
        raise ValueError(_TOO_DEEP)
    return values


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number")


def _finite(text: str) -> float:
    if not isfinite(number := float(text)):
        raise ValueError(f"{text[:20]} is too large")
    return number
