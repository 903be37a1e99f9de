"""The daemon's side of a camera's process: starts it, asks it for pictures, and ends it, also when it hangs.

Also one that answers with a fault is ended: a camera that lost its cable for a moment stays dead for whoever has it
open. The next exposure opens it anew.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import weakref
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from plantimager.timelapse.drivers.cameras.base import LEAVE, CameraFault, Exposure
from plantimager.timelapse.drivers.deadline import Deadline
from plantimager.timelapse.drivers.programs.run import KILL_TIMEOUT, ProgramExit

if TYPE_CHECKING:
    from collections.abc import Callable

    from plantimager.timelapse.drivers.cameras import CameraOptions

WORKER: Final = "plantimager.timelapse.drivers.cameras.worker"

OPEN_TIMEOUT: Final = timedelta(seconds=30)
"""The longest that a camera takes to be opened: Python and OpenCV from an SD card, and a sleepy camera."""

GRACE: Final = timedelta(seconds=5)
"""What an exposure gets on top of its own time, to be fetched and fitted; and to end in after a cancellation."""

LARGEST: Final = 1 << 28
"""Bytes of a picture; the largest cameras' have a fifth of it."""

ERRORS_KEPT: Final = 1 << 12
LOOK_AROUND: Final = 100
"""Milliseconds between two looks at whether a wait has to end."""

_Process = subprocess.Popen[bytes]


class CameraProcess:
    """One camera of the rig. Its calls come from one thread at a time, each camera's from its own."""

    def __init__(self, options: CameraOptions) -> None:
        self.options = options
        self._process: _Process | None = None
        self._end: Callable[[], Any] = lambda: None
        self._tail = b""

    @property
    def name(self) -> str:
        """The camera's name."""
        return self.options.name

    @property
    def is_open(self) -> bool:
        """Whether its process runs."""
        return self._process is not None and self._process.poll() is None

    def open(self) -> None:
        """Open the camera, unless it is.

        Raises
        ------
        CameraFault
            It isn't there, or doesn't open within `OPEN_TIMEOUT`.

        """
        if self.is_open:
            return
        self.close()
        command = [sys.executable, "-P", "-m", WORKER, self.options.kind, json.dumps(dict(self.options.options))]
        try:
            self._process = process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                cwd="/",
                start_new_session=True,  # the terminal's ^C is for the daemon
            )
        except OSError as problem:
            raise CameraFault(f"its process can't be started: {problem.strerror}") from problem
        # Also when this object is dropped without `close`: no process outlives it.
        self._end = weakref.finalize(self, _end, process)
        self._tail = b""
        with Deadline(OPEN_TIMEOUT) as late:
            self._answer(lambda: f"it wasn't open after {OPEN_TIMEOUT.seconds} s" if late.passed() else "")

    def expose(self, exposure: Exposure, stop: Callable[[], bool]) -> bytes:
        """Return a picture; ``stop`` (any thread's) cuts the wait for it down to `GRACE`.

        Raises
        ------
        CameraFault
            It could not be taken in time, or at all.

        """
        self.open()
        process = self._process
        assert process is not None and process.stdin is not None  # noqa: S101, PT018 - open() made it; this tells mypy
        try:
            process.stdin.write(json.dumps(asdict(exposure)).encode() + b"\n")
        except OSError as gone:
            raise self._dead() from gone
        limit = timedelta(seconds=exposure.seconds) + GRACE
        with Deadline(limit) as late, contextlib.ExitStack() as stack:
            hurry: list[Deadline] = []

            def given_up() -> str:
                if not hurry and stop():
                    hurry.append(stack.enter_context(Deadline(GRACE)))
                if any(deadline.passed() for deadline in hurry):
                    return f"the exposure didn't end within {GRACE.total_seconds():g} s of the cancellation"
                return f"the exposure hangs; it was given up after {limit.total_seconds():g} s" if late.passed() else ""

            return self._answer(given_up)

    def close(self) -> None:
        """End the process, and with it what it runs, in bounded time."""
        self._end()
        self._process = None

    def _answer(self, given_up: Callable[[], str]) -> bytes:
        """Return what comes behind the next line of JSON, unless ``given_up()`` says why it isn't waited for."""
        try:
            return self._read(given_up)
        except BaseException:
            self.close()
            raise

    def _read(self, given_up: Callable[[], str]) -> bytes:
        process = self._process
        assert process is not None and process.stdout is not None and process.stderr is not None  # noqa: S101, PT018 - as above
        head, picture, missing = b"", bytearray(), -1
        waiting = select.poll()
        waiting.register(process.stdout, select.POLLIN)
        waiting.register(process.stderr, select.POLLIN)
        while missing != 0:
            if problem := given_up():
                raise CameraFault(problem)
            for descriptor, _ in waiting.poll(LOOK_AROUND):
                chunk = os.read(descriptor, 1 << 20)
                if descriptor == process.stderr.fileno():
                    self._tail = (self._tail + chunk)[-ERRORS_KEPT:]
                    if not chunk:
                        waiting.unregister(descriptor)
                    continue
                if not chunk:
                    raise self._dead()
                if missing < 0:
                    head += chunk
                    line, end, rest = head.partition(b"\n")
                    if not end:
                        continue
                    missing, chunk = self._length(line), rest
                picture += chunk
                missing -= len(chunk)
        return bytes(picture)

    def _length(self, line: bytes) -> int:
        said = json.loads(line)
        if "fault" in said:
            raise CameraFault(said["fault"])
        length: int = said["length"]
        if length > LARGEST:
            raise CameraFault(f"a picture of {length} bytes; at most {LARGEST} are taken")
        return length

    def _dead(self) -> CameraFault:
        """Return what is to be said of a process that ended by itself."""
        process = self._process
        assert process is not None  # noqa: S101 - it was talked to; this tells mypy
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(1)
        self.close()
        ended = ProgramExit(process.returncode, stopped=False, stderr_tail=self._tail)
        return CameraFault(f"its process {ended}; the next exposure starts another")


def _end(process: _Process) -> None:
    for pipe in (process.stdin, process.stdout, process.stderr):  # without its stdin it leaves
        if pipe is not None:
            pipe.close()
    try:
        process.wait(LEAVE.total_seconds())
    except subprocess.TimeoutExpired:
        process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):  # it hangs in the kernel; a later one may reap it
            process.wait(KILL_TIMEOUT)
