"""Running a program to its end, without a shell, so that nothing of it outlives the call."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from plantimager.timelapse.drivers.deadline import Deadline
from plantimager.timelapse.drivers.programs.environment import ProgramFault, ProgramMissing, find_program
from plantimager.timelapse.drivers.programs.processes import DESCENDANTS, POLL_INTERVAL
from plantimager.timelapse.support.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import timedelta

    _OnOutput = Callable[[list[bytes]], None]
    _OnChunk = Callable[[bytes], None]
    _Process = subprocess.Popen[bytes]

CHUNK_BYTES: Final = 1 << 16
"""Read at a time."""

MAX_LINE_BYTES: Final = 1 << 14
"""A longer line of output is dropped."""

MAX_STDERR_KEPT: Final = 1 << 12
"""Bytes, the last of stderr."""

MAX_STDERR_SHOWN: Final = 300
"""Characters of them in a message."""

OOM_SCORE: Final = Path("/proc/self/oom_score_adj")

KILL_TIMEOUT: Final = 5.0
"""Seconds from SIGKILL to the end of a process. One that takes longer hangs in the kernel, in a call of a driver."""


@dataclass(frozen=True, slots=True)
class ProgramExit:
    """The end of a program."""

    status: int
    """Its exit status; minus the number of the signal where a signal ended it."""
    stopped: bool
    """Whether it was sent SIGTERM before."""
    stderr_tail: bytes
    """The last of its stderr."""
    remaining: str = ""
    """What it has left running and could not be ended, and what earlier programs have left, in words."""

    def __str__(self) -> str:
        if self.status < 0:
            with contextlib.suppress(ValueError):
                return f"was ended by {signal.Signals(-self.status).name}{self._details}"
        return f"exited with {self.status}{self._details}"

    @property
    def _details(self) -> str:
        text = printable(self.stderr_tail.decode(errors="replace"))
        lines = [line.strip() for line in text.split("\n") if line.strip()]
        summary = " / ".join(lines[-3:])
        summary = summary if len(summary) <= MAX_STDERR_SHOWN else f"…{summary[-MAX_STDERR_SHOWN:]}"
        return (f": {summary}" if summary else "") + (f"; {self.remaining}" if self.remaining else "")


def run_program(
    argv: Sequence[str],
    *,
    environment: Mapping[str, str],
    stop_grace: timedelta,
    should_stop: Callable[[], bool],
    directory: Path = Path("/"),
    stdin: bytes = b"",
    on_output: _OnOutput = lambda _: None,
    on_chunk: _OnChunk = lambda _: None,
    may_leave: bool = False,
) -> ProgramExit:
    """Run a program to its end, or until ``should_stop()``: then it is sent SIGTERM, and ``stop_grace`` later SIGKILL.

    ``on_output`` is called with the lines of its stdout as they come, but those longer than `MAX_LINE_BYTES`, and
    ``on_chunk`` with all of it, in pieces. All these functions are called on the calling thread.
    All that it has started is ended after it, in the same way. One that sets something for good ``may_leave`` processes
    in sessions of their own, such as one that holds a GPIO line.

    Raises
    ------
    ProgramMissing
        See `environment.find_program`.
    ProgramFault
        It can't be started, or can't even be killed.
    """
    command = [*_left_to_oom_killer(), *_signalled_at_our_death(), find_program(argv[0]), *argv[1:]]
    # A file and not a pipe, so that nobody waits for the program to read it. In memory: no disk may be writable.
    try:
        with os.fdopen(os.memfd_create("stdin"), "w+b") as file:
            file.write(stdin)
            file.seek(0)
            process, before = DESCENDANTS.start(
                lambda: subprocess.Popen(
                    command,
                    stdin=file,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    env=environment,
                    cwd=directory,
                    start_new_session=True,
                    bufsize=0,
                )
            )
    except (OSError, ValueError) as problem:  # ValueError: a zero byte in its arguments
        raise ProgramFault(f"{argv[0]} can't be started: {getattr(problem, 'strerror', None) or problem}") from problem
    leave_to_oom_killer(process.pid)
    remaining = ""
    try:
        stopped, stderr_tail = _communicate(process, stop_grace, should_stop, on_output, on_chunk)
    finally:
        try:
            _end_group(process, argv[0])
        finally:
            remaining = DESCENDANTS.end(process.pid, before, stop_grace, may_leave=may_leave)
    return ProgramExit(process.returncode, stopped, stderr_tail, remaining)


def leave_to_oom_killer(pid: int) -> None:
    """Take from a process the protection from the OOM killer that the daemon has and it has inherited.

    A program that takes all memory is to be ended itself, and not the rest of the host.
    """
    if _is_protected():
        with contextlib.suppress(OSError):  # it has ended
            Path(f"/proc/{pid}/oom_score_adj").write_text("0")


def _is_protected() -> bool:
    with contextlib.suppress(OSError, ValueError):
        return int(OOM_SCORE.read_text()) < 0
    return False


def _left_to_oom_killer() -> Sequence[str]:
    """Return the words before a program that take the protection from it before it can start another; none if none do.

    What it starts has the protection from it, and a start that is under way can't be seen from outside.
    """
    with contextlib.suppress(ProgramMissing):
        if _is_protected():
            return _if_usable(find_program("choom"), "-n", "0", "--")
    return ()


def _signalled_at_our_death() -> Sequence[str]:
    """Return the words before a program that have the kernel send it SIGTERM when this thread ends; none if none work.

    The thread that starts a program waits for its end, so that the thread ends first only if the process is killed.
    """
    try:
        return _if_usable(find_program("setpriv"), "--pdeathsig", "TERM", "--")
    except ProgramMissing:
        return ()


def _if_usable(program: str, *options: str) -> Sequence[str]:
    """Return a command of util-linux if it can start another program in this process's sandbox."""
    try:
        return (program, *options) if _starts_another(program, *options) else ()
    except (OSError, subprocess.TimeoutExpired):  # of a machine that is busy now; it is tried again
        return ()


@cache
def _starts_another(program: str, *options: str) -> bool:
    """Whether a command of util-linux starts another program here.

    setpriv reads the capabilities even where it changes none, which a system call filter may refuse; and that of
    busybox doesn't know the option.
    """
    command = [program, *options, program, "--version"]
    return subprocess.run(command, env={}, capture_output=True, timeout=KILL_TIMEOUT, check=False).returncode == 0


def _communicate(
    process: _Process,
    stop_grace: timedelta,
    should_stop: Callable[[], bool],
    on_output: _OnOutput,
    on_chunk: _OnChunk,
) -> tuple[bool, bytes]:
    """Read the output of a program until it has exited, even if another process still holds its pipes then.

    Returns whether it was stopped, and the last of its stderr.
    """
    lines, tail = LineSplitter(), b""
    kill_at: Deadline | None = None
    with contextlib.ExitStack() as stack:
        exited = os.pidfd_open(process.pid)
        stack.callback(os.close, exited)
        poll = select.poll()
        poll.register(exited, select.POLLIN)
        stdout, stderr = (_watch(pipe, poll) for pipe in (process.stdout, process.stderr))
        ending = False
        while not ending:
            ready = {descriptor for descriptor, _ in poll.poll(POLL_INTERVAL * 1000)}
            ending = exited in ready or (kill_at is not None and kill_at.passed())
            # At the end both are read once more, all that a pipe holds: four chunks where pages have 16 kB.
            for descriptor in (stdout, stderr) if ending else ready:
                chunk = _read(descriptor, fcntl.fcntl(descriptor, fcntl.F_GETPIPE_SZ) if ending else CHUNK_BYTES)
                if chunk == b"" and not ending:
                    poll.unregister(descriptor)
                elif chunk and descriptor == stdout:
                    on_chunk(chunk)
                    on_output(lines.feed(chunk))
                elif chunk:
                    tail = (tail + chunk)[-MAX_STDERR_KEPT:]
            if kill_at is None and not ending and should_stop():
                kill_at = stack.enter_context(Deadline(stop_grace))
                _signal_group(process, signal.SIGTERM)
        on_output(lines.rest())
    return kill_at is not None, tail


def _watch(pipe: IO[bytes] | None, poll: select.poll) -> int:
    assert pipe is not None  # noqa: S101 - Popen was given PIPE; this informs mypy
    os.set_blocking(pipe.fileno(), False)
    poll.register(pipe, select.POLLIN)
    return pipe.fileno()


def _read(descriptor: int, max_bytes: int) -> bytes | None:
    """Return the content of a pipe: empty at its end, None where there is none for now."""
    try:
        return os.read(descriptor, max_bytes)
    except BlockingIOError:
        return None


def _end_group(process: _Process, name: str) -> None:
    """Kill what is left of the process group of a program, the program included, and wait for its end."""
    _signal_group(process, signal.SIGKILL)
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
    try:
        process.wait(KILL_TIMEOUT)
    except subprocess.TimeoutExpired:
        raise ProgramFault(f"{name} (pid {process.pid}) can't be killed: it waits in the kernel for a device") from None


def _signal_group(process: _Process, signal_: signal.Signals) -> None:
    # Nobody has waited for the process yet, so that its number is still its own, even if it has exited.
    with contextlib.suppress(OSError):
        os.killpg(process.pid, signal_)


class LineSplitter:
    """Splits a stream into lines, and drops lines that are longer than `MAX_LINE_BYTES`."""

    def __init__(self) -> None:
        self._unfinished = b""
        self._dropping = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the lines that ``chunk`` completes."""
        *lines, unfinished = (self._unfinished + chunk).split(b"\n")
        if lines and self._dropping:
            del lines[0]
            self._dropping = False
        if len(unfinished) > MAX_LINE_BYTES:
            unfinished, self._dropping = b"", True
        self._unfinished = unfinished
        return [line for line in lines if len(line) <= MAX_LINE_BYTES]

    def rest(self) -> list[bytes]:
        """Return the last line, which has no line end, in a list; an empty list if there is none."""
        return [] if self._dropping or not self._unfinished else [self._unfinished]
