"""The daemon's side of a camera's process: it is started, asked for pictures, and ended even if it hangs."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import select
import subprocess
import sys
import weakref
from dataclasses import asdict
from datetime import timedelta
from typing import IO, TYPE_CHECKING, Any, Final

from plantimager.timelapse.drivers.cameras.activity import Activity
from plantimager.timelapse.drivers.cameras.base import CLOSE_TIMEOUT, PICTURE_LOST, CameraFault, CameraPicture
from plantimager.timelapse.drivers.deadline import Deadline
from plantimager.timelapse.drivers.programs.processes import POLL_INTERVAL
from plantimager.timelapse.drivers.programs.run import KILL_TIMEOUT, MAX_STDERR_KEPT, ProgramExit, leave_to_oom_killer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from plantimager.timelapse.drivers.cameras import CameraOptions
    from plantimager.timelapse.drivers.cameras.base import Exposure

WORKER: Final = "plantimager.timelapse.drivers.cameras.worker"

OPEN_TIMEOUT: Final = timedelta(seconds=30)
"""The longest that a camera takes to open: with Python and OpenCV on an SD card, and a camera that wakes up slowly."""

GRACE: Final = timedelta(seconds=5)
"""What an exposure or a transfer may take beyond its own time, or after its cancellation."""

JUDGE_TIMEOUT: Final = timedelta(minutes=2)
"""The longest that it takes to decode and check a picture: one of 12 megapixels takes a Raspberry Pi 3 some seconds."""

ANSWER_TIMEOUT: Final = timedelta(seconds=10)
"""The longest that an open camera takes to answer, or to delete a file."""

MAX_WORKER_ANSWER_BYTES: Final = 1 << 29
"""Three times picture and raw file of the largest cameras."""

_Process = subprocess.Popen[bytes]


class CameraProcess:
    """One camera of the rig. It is called from one thread at a time; each camera may have a thread of its own.

    Calls raise `CameraFault`, but `discard` and `close`. After one that the camera's process answers with it is still
    open, and may be asked again. After any other (it hangs, crashes, or talks nonsense) it is closed. Whatever needs an
    open camera opens it.
    """

    def __init__(self, options: CameraOptions) -> None:
        self.options = options
        self._process: _Process | None = None
        self._end: Callable[[], Any] = lambda: None
        self._activity = Activity(-1)
        self._tail = b""
        self._numbers = itertools.count()
        """Of pictures."""
        self._grace: Deadline | None = None
        """What a cancellation has left of `GRACE`, for all calls after it."""
        self._faults: dict[int, CameraFault] = {}
        """Of pictures that aren't asked for yet, by their numbers, as far as known."""

    @property
    def is_open(self) -> bool:
        """Whether the process of the camera runs."""
        return self._process is not None and self._process.poll() is None

    def open(self) -> None:
        """Open the camera within `OPEN_TIMEOUT`, unless it is open."""
        if self.is_open:
            return
        if self._process is not None:
            self._note_end()
        options = json.dumps(dict(self.options.options))
        activity: IO[bytes] | None = None
        try:
            activity = os.fdopen(os.memfd_create("activity"), "rb", buffering=0)
            self._process = process = subprocess.Popen(
                [sys.executable, "-P", "-m", WORKER, self.options.kind, options, str(activity.fileno())],
                pass_fds=(activity.fileno(),),
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
            if activity is not None:
                activity.close()
            raise CameraFault(f"its process can't be started: {problem.strerror}") from problem
        leave_to_oom_killer(process.pid)
        # The process ends with this object, even without `close`.
        self._end = weakref.finalize(self, _end, process, activity)
        self._activity = Activity(activity.fileno())
        self._tail = b""
        try:
            self._ask("it wasn't open", OPEN_TIMEOUT)
        except CameraFault:
            self.close()
            raise

    def make_ready(self) -> None:
        """Open the camera, or ask an open one whether it answers; one that doesn't is opened again, which wakes it."""
        with contextlib.suppress(CameraFault):
            if self.is_open:
                self._ask("it doesn't answer", ANSWER_TIMEOUT, "ask")
            else:
                self.open()
            return
        self.close()
        self.open()

    def trigger(self, exposure: Exposure, should_stop: Callable[[], bool]) -> None:
        """Expose, and return when the shutter is closed. Once ``should_stop()`` returns True, it has `GRACE` left.

        So have `fetch` and `picture` after it, all together.
        """
        self.open()
        limit = timedelta(seconds=exposure.seconds) + GRACE
        self._ask("the exposure hangs", limit, "trigger", asdict(exposure), should_stop=should_stop)

    def fetch(self, exposure: Exposure, should_stop: Callable[[], bool]) -> int:
        """Transfer the picture of the exposure that was triggered last; return its number, for `picture`.

        Its check begins, and goes on behind the next exposure. The rest is as for `trigger`.
        """
        number = next(self._numbers)
        with self._about(number):
            limit = timedelta(seconds=exposure.seconds) + GRACE
            self._ask("the transfer hangs", limit, "fetch", number, should_stop=should_stop)
        return number

    def describe(self, number: int, should_stop: Callable[[], bool]) -> CameraPicture | None:
        """Return a picture that was fetched, without its files; None while its check goes on. It isn't waited for.

        The picture's fault is raised without files, too; `picture` raises it again, with them.
        """
        try:
            return self._ask("checking its picture hangs", JUDGE_TIMEOUT, "describe", number, should_stop=should_stop)
        except CameraFault as fault:
            if not self.is_open:  # else it is asked for again, with its raw files
                self._faults.setdefault(number, fault)
            raise

    def picture(
        self, number: int, should_stop: Callable[[], bool], is_left: Callable[[], bool] = lambda: False
    ) -> CameraPicture | None:
        """Return a picture that was fetched, checked; None where ``is_left()`` becomes true while the check goes on.

        A picture is given once, the older one of two first. Once ``should_stop()`` returns True, it has `GRACE` left.
        The fault says that it isn't what was asked for, or is lost, or that its check hangs.
        """
        with self._about(number), self._patience("checking its picture hangs", JUDGE_TIMEOUT, should_stop) as give_up:
            while True:
                self._request("picture", number)
                picture = self._receive(give_up)
                if picture is not None or is_left():
                    return picture

    def discard(self) -> None:
        """Delete the camera's own files of the picture that was given last, which has to be on disk here.

        One that stays on the camera's card does no harm before the card is full, which the camera reports.
        """
        with contextlib.suppress(CameraFault):
            self._ask("deleting its picture hangs", ANSWER_TIMEOUT, "discard")

    def close(self) -> None:
        """End the process and what it runs, in bounded time."""
        self._end()
        self._process = None

    # --- requests and answers -------------------------------------------------------------------------

    def _request(self, *words: Any) -> None:
        process = self._process
        if process is None or process.stdin is None:
            raise CameraFault(PICTURE_LOST, is_of_another=True)
        try:
            process.stdin.write(json.dumps(words).encode() + b"\n")
        except OSError as gone:
            raise self._note_end() from gone

    def _ask(
        self, hangs: str, limit: timedelta, *words: Any, should_stop: Callable[[], bool] = lambda: False
    ) -> CameraPicture | None:
        """Return the next answer, after a request if there is one; the fault after ``limit`` begins with ``hangs``."""
        with self._patience(hangs, limit, should_stop) as give_up:
            if words:
                self._request(*words)
            return self._receive(give_up)

    def _receive(self, give_up: Callable[[], str]) -> CameraPicture | None:
        """Return the picture of the next answer, None where it has none. Raises its fault, or what ``give_up`` says."""
        try:
            head, contents = self._read(give_up)
        except BaseException:
            self.close()
            raise
        if "fault" in head:
            raws = dict(zip(head["raws"], contents, strict=True))
            raise CameraFault(head["fault"], **head["cause"], raws=raws)
        if "facts" not in head:
            return None
        content, *beside = contents
        return CameraPicture(content, head["facts"], dict(zip(head["raws"], beside, strict=True)), head["digest"])

    def _read(self, give_up: Callable[[], str]) -> tuple[dict[str, Any], list[bytes]]:
        """Return the line of an answer, and the files behind it. Any error leaves the rest of it in the pipe."""
        head, content, missing = b"", bytearray(), -1
        answer: dict[str, Any] = {}
        while missing != 0:
            chunk = self._chunk(give_up)
            if missing < 0:
                head += chunk
                line, end, chunk = head.partition(b"\n")
                if not end:
                    continue
                answer = json.loads(line)
                missing = sum(answer.get("lengths", ()))
                if missing > MAX_WORKER_ANSWER_BYTES:
                    raise CameraFault(f"a picture of {missing} bytes; at most {MAX_WORKER_ANSWER_BYTES} are taken")
            content += chunk
            missing -= len(chunk)
        ends = list(itertools.accumulate(answer.get("lengths", ()), initial=0))
        with memoryview(content) as whole:
            return answer, [bytes(whole[start:end]) for start, end in itertools.pairwise(ends)]

    def _chunk(self, give_up: Callable[[], str]) -> bytes:
        """Return the next bytes of an answer; keep what comes on stderr meanwhile."""
        process = self._process
        assert process is not None and process.stdout is not None and process.stderr is not None  # noqa: S101, PT018 - it was asked; this informs mypy
        waiting = select.poll()
        waiting.register(process.stdout, select.POLLIN)
        waiting.register(process.stderr, select.POLLIN)
        while True:
            if problem := give_up():
                raise CameraFault(problem)
            for descriptor, _ in waiting.poll(POLL_INTERVAL * 1000):
                chunk = os.read(descriptor, 1 << 20)
                if descriptor == process.stdout.fileno():
                    if chunk:
                        return chunk
                    raise self._note_end()
                self._tail = (self._tail + chunk)[-MAX_STDERR_KEPT:]
                if not chunk:
                    waiting.unregister(descriptor)

    def _note_end(self) -> CameraFault:
        """Close a process that ended by itself, and return the fault of what it was asked for.

        Where the check of a picture was the cause, `picture` raises why, and what was asked for is only lost.
        """
        process = self._process
        assert process is not None  # noqa: S101 - it was used; this informs mypy
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(1)
        number = self._activity.picture_at_fault()
        self.close()
        ended = ProgramExit(process.returncode, stopped=False, stderr_tail=self._tail)
        fault = CameraFault(f"its process {ended}; that is a fault of its library or driver")
        if number is None:
            return fault
        self._faults[number] = fault
        return CameraFault(PICTURE_LOST, is_of_another=True)

    @contextlib.contextmanager
    def _about(self, number: int) -> Iterator[None]:
        """Raise the fault of a picture that is known, whatever else the requests for it raise."""
        try:
            yield
        except CameraFault:
            if number in self._faults:
                raise self._faults.pop(number) from None
            raise

    @contextlib.contextmanager
    def _patience(self, hangs: str, limit: timedelta, should_stop: Callable[[], bool]) -> Iterator[Callable[[], str]]:
        """Yield what says why a wait is over: after ``limit``, or `GRACE` after the cancellation; else ""."""
        with Deadline(limit) as deadline:

            def give_up() -> str:
                if not should_stop():
                    self._grace = None
                else:
                    self._grace = self._grace or Deadline(GRACE)
                    if self._grace.passed():
                        return f"{hangs}: it didn't end within {GRACE.total_seconds():g} s of the cancellation"
                if deadline.passed():
                    return f"{hangs}; it was given up after {limit.total_seconds():g} s"
                return ""

            yield give_up


def _end(process: _Process, activity: IO[bytes]) -> None:
    for pipe in (process.stdin, process.stdout, process.stderr, activity):  # the process ends at the end of stdin
        if pipe is not None:
            pipe.close()
    try:
        process.wait(CLOSE_TIMEOUT.total_seconds())
    except subprocess.TimeoutExpired:
        process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):  # it hangs in the kernel; it is reaped later
            process.wait(KILL_TIMEOUT)
