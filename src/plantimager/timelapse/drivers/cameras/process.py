"""The daemon's side of a camera's process: it is started, asked for pictures, and ended even if it hangs.

A process that answers with a fault is ended, too: a camera whose cable was out for a moment doesn't come back for the
process that has it open. The next exposure opens it again.
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

from plantimager.timelapse.drivers.cameras.base import CLOSE_TIMEOUT, CameraFault, Exposure
from plantimager.timelapse.drivers.deadline import Deadline
from plantimager.timelapse.drivers.programs.run import KILL_TIMEOUT, ProgramExit, leave_to_oom_killer

if TYPE_CHECKING:
    from collections.abc import Callable

    from plantimager.timelapse.drivers.cameras import CameraOptions

WORKER: Final = "plantimager.timelapse.drivers.cameras.worker"

OPEN_TIMEOUT: Final = timedelta(seconds=30)
"""The longest that a camera takes to open: with Python and OpenCV on an SD card, and a camera that wakes up slowly."""

GRACE: Final = timedelta(seconds=5)
"""The time to fetch and convert a picture after its exposure; also that of an exposure after its cancellation."""

MAX_PICTURE_BYTES: Final = 1 << 28
"""Five times a picture of the largest cameras."""

MAX_STDERR_KEPT: Final = 1 << 12
"""Bytes of stderr that are kept, the last ones."""

POLL_INTERVAL: Final = 100
"""Milliseconds between two looks at whether a wait has to end."""

_Process = subprocess.Popen[bytes]


class CameraProcess:
    """One camera of the rig. It is called from one thread at a time; each camera may have a thread of its own."""

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
        """Whether the process of the camera runs."""
        return self._process is not None and self._process.poll() is None

    def open(self) -> None:
        """Open the camera, unless it is open.

        Raises
        ------
        CameraFault
            It doesn't answer, or doesn't open within `OPEN_TIMEOUT`.

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
                # So that Ctrl-C in a terminal ends only the daemon. In the daemon's session, so that it isn't taken
                # for what a program has left running.
                process_group=0,
            )
        except OSError as problem:
            raise CameraFault(f"its process can't be started: {problem.strerror}") from problem
        leave_to_oom_killer(process.pid)
        # The process ends with this object, even without `close`.
        self._end = weakref.finalize(self, _end, process)
        self._tail = b""
        with Deadline(OPEN_TIMEOUT) as deadline:
            self._receive(lambda: f"it wasn't open after {OPEN_TIMEOUT.seconds} s" if deadline.passed() else "")

    def expose(self, exposure: Exposure, should_stop: Callable[[], bool]) -> bytes:
        """Return a picture. Once ``should_stop()`` returns True, it has `GRACE` left.

        Raises
        ------
        CameraFault
            It could not be taken in time, or at all.

        """
        self.open()
        process = self._process
        assert process is not None and process.stdin is not None  # noqa: S101, PT018 - open() made it; this informs mypy
        try:
            process.stdin.write(json.dumps(asdict(exposure)).encode() + b"\n")
        except OSError as gone:
            raise self._describe_end() from gone
        limit = timedelta(seconds=exposure.seconds) + GRACE
        with Deadline(limit) as deadline, contextlib.ExitStack() as stack:
            cancelled: list[Deadline] = []

            def give_up() -> str:
                if not cancelled and should_stop():
                    cancelled.append(stack.enter_context(Deadline(GRACE)))
                if any(grace.passed() for grace in cancelled):
                    return f"the exposure didn't end within {GRACE.total_seconds():g} s of the cancellation"
                if deadline.passed():
                    return f"the exposure hangs; it was given up after {limit.total_seconds():g} s"
                return ""

            return self._receive(give_up)

    def close(self) -> None:
        """End the process and what it runs, in bounded time."""
        self._end()
        self._process = None

    def _receive(self, give_up: Callable[[], str]) -> bytes:
        """Return the picture of the next answer.

        ``give_up`` is asked again and again; where it returns a reason, that becomes the fault. Every error closes the
        camera.
        """
        try:
            return self._read(give_up)
        except BaseException:
            self.close()
            raise

    def _read(self, give_up: Callable[[], str]) -> bytes:
        process = self._process
        assert process is not None and process.stdout is not None and process.stderr is not None  # noqa: S101, PT018 - as above
        head, picture, missing = b"", bytearray(), -1
        waiting = select.poll()
        waiting.register(process.stdout, select.POLLIN)
        waiting.register(process.stderr, select.POLLIN)
        while missing != 0:
            if problem := give_up():
                raise CameraFault(problem)
            for descriptor, _ in waiting.poll(POLL_INTERVAL):
                chunk = os.read(descriptor, 1 << 20)
                if descriptor == process.stderr.fileno():
                    self._tail = (self._tail + chunk)[-MAX_STDERR_KEPT:]
                    if not chunk:
                        waiting.unregister(descriptor)
                    continue
                if not chunk:
                    raise self._describe_end()
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
        """Return the length of the picture that follows the line of an answer."""
        answer = json.loads(line)
        if "fault" in answer:
            raise CameraFault(answer["fault"])
        length: int = answer["length"]
        if length > MAX_PICTURE_BYTES:
            raise CameraFault(f"a picture of {length} bytes; at most {MAX_PICTURE_BYTES} are taken")
        return length

    def _describe_end(self) -> CameraFault:
        """Return the fault of a process that ended by itself."""
        process = self._process
        assert process is not None  # noqa: S101 - it was used; this informs mypy
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(1)
        self.close()
        ended = ProgramExit(process.returncode, stopped=False, stderr_tail=self._tail)
        return CameraFault(f"its process {ended}; the next exposure starts another")


def _end(process: _Process) -> None:
    for pipe in (process.stdin, process.stdout, process.stderr):  # the process ends at the end of stdin
        if pipe is not None:
            pipe.close()
    try:
        process.wait(CLOSE_TIMEOUT.total_seconds())
    except subprocess.TimeoutExpired:
        process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):  # it hangs in the kernel; it is reaped later
            process.wait(KILL_TIMEOUT)
