"""Running a program of the operator's so that nothing of it outlives its call, and finding what did.

Each program runs in a session of its own, without a shell. Its output is read as it comes and never
kept beyond a few kilobytes. However the call ends, its process group is killed; and where
util-linux's ``setpriv`` is there and works, the kernel sends it SIGTERM when the thread that started it
dies, so also when the daemon is killed. (In the sandbox of the service it doesn't work; there systemd
ends what is left.) `end_leftovers` finds by their environment the processes that
went on all the same: the environment is there from a process's first instruction on, it is inherited,
and no process has it after a reboot, so that there is no file of process ids to be out of date.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import shutil
import signal
import subprocess
import threading
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import timedelta

    _OnOutput = Callable[[list[bytes]], None]
    _Process = subprocess.Popen[bytes]

SEARCH_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where programs without a directory are looked for: the same by hand as under systemd."""

LOOK_AROUND: Final = 0.1
"""Seconds between two looks at whether a running program is to be stopped."""

CHUNK: Final = 1 << 16
"""Bytes of output read at a time."""

LONGEST_LINE: Final = 1 << 14
"""Bytes; a longer line of output is passed over."""

ERRORS_KEPT: Final = 1 << 12
"""Bytes of what the program wrote to stderr last."""

ERRORS_SHOWN: Final = 300
"""Characters of them in a message."""

DEATH: Final = 5.0
"""Seconds that a killed process may take to be gone; beyond it hangs in the kernel, in a driver's call."""


ROUNDS: Final = 3
"""How often leftovers are looked for: one may be born while its parent is being ended."""


class ProgramMissing(Exception):
    """There is no such program, now."""


class ProgramHung(Exception):
    """The program was killed and is still there: it waits in the kernel for a device."""


@dataclass(frozen=True, slots=True)
class ProgramExit:
    """How a program ended."""

    status: int
    """Its exit status; minus the signal's number where a signal ended it."""
    stopped: bool
    """Whether it had been asked to stop."""
    errors: bytes
    """The tail of its stderr."""

    def __str__(self) -> str:
        if self.status < 0:
            with contextlib.suppress(ValueError):
                return f"was ended by {signal.Signals(-self.status).name}{self._said}"
        return f"exited with {self.status}{self._said}"

    @property
    def _said(self) -> str:
        lines = [line.strip() for line in printable(self.errors).split("\n") if line.strip()]
        said = " / ".join(lines[-3:])
        said = said if len(said) <= ERRORS_SHOWN else f"…{said[-ERRORS_SHOWN:]}"
        return f": {said}" if said else ""


def printable(output: bytes) -> str:
    """Return output as text that does a terminal and a journal no harm."""
    text = output.decode(errors="replace")
    return "".join(char if char.isprintable() or char == "\n" else " " for char in text)


def find_program(program: str) -> str:
    """Return the path of a program.

    Raises
    ------
    ProgramMissing
        It isn't there, or isn't executable.

    """
    path = shutil.which(program, path=SEARCH_PATH)
    if path is None:
        problem = "is not executable" if Path(program).is_file() else "is not there"
        raise ProgramMissing(f"{program} {problem}")
    return path


class Deadline:
    """Whether a time has passed, without asking for the time: that is the daemon's clock's business alone."""

    def __init__(self, after: timedelta) -> None:
        self._passed = threading.Event()
        self._timer = threading.Timer(after.total_seconds(), self._passed.set)
        self._timer.daemon = True
        self._timer.start()

    def passed(self) -> bool:
        """Whether it has."""
        return self._passed.is_set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()


def run(
    argv: Sequence[str],
    *,
    environment: Mapping[str, str],
    grace: timedelta,
    stop: Callable[[], bool],
    directory: Path = Path("/"),
    given: bytes = b"",
    on_output: _OnOutput = lambda _: None,
) -> ProgramExit:
    """Run a program to its end, or until ``stop()``; then it is asked with SIGTERM, and killed ``grace`` later.

    ``given`` is its stdin. ``on_output`` is called with the lines of its stdout as they come, in the calling thread.

    Raises
    ------
    ProgramMissing
        See `find_program`.
    ProgramHangs
        It can't even be killed.
    OSError
        It can't be started.

    """
    command = [*_dies_with_us(), find_program(argv[0]), *argv[1:]]
    # A file, not a pipe: nobody has to wait until the program reads it. In memory: no disk may be writable.
    with os.fdopen(os.memfd_create("stdin"), "w+b") as stdin:
        stdin.write(given)
        stdin.seek(0)
        process = subprocess.Popen(
            command,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            cwd=directory,
            start_new_session=True,
            bufsize=0,
        )
    try:
        stopped, errors = _attend(process, grace, stop, on_output)
    finally:
        _end_group(process)
    return ProgramExit(process.returncode, stopped, errors)


def _dies_with_us() -> Sequence[str]:
    """Return what to put before a program so that the kernel ends it when this thread is gone: nothing if none can."""
    setpriv = shutil.which("setpriv", path=SEARCH_PATH)
    return () if setpriv is None else _tried(setpriv, "--pdeathsig", "TERM", "--")


@cache
def _tried(setpriv: str, *options: str) -> Sequence[str]:
    """Return a command if it can start another, in this process's sandbox.

    It asks for a set of capabilities even where it is to change none, which system call filters refuse. And busybox
    has one that doesn't know the option.
    """
    command = (setpriv, *options)
    try:
        tried = subprocess.run(
            [*command, setpriv, "--version"], env={}, capture_output=True, timeout=DEATH, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return command if tried.returncode == 0 else ()


def _attend(process: _Process, grace: timedelta, stop: Callable[[], bool], on_output: _OnOutput) -> tuple[bool, bytes]:
    """Read what a program writes until it has exited, whoever may still hold its pipes then.

    Returns whether it was stopped, and the tail of its stderr.
    """
    lines, tail = _Lines(), b""
    last_moment: Deadline | None = None
    with contextlib.ExitStack() as stack:
        exited = os.pidfd_open(process.pid)
        stack.callback(os.close, exited)
        waiting = select.poll()
        waiting.register(exited, select.POLLIN)
        output, errors = (_watched(pipe, waiting) for pipe in (process.stdout, process.stderr))
        ending = False
        while not ending:
            ready = {descriptor for descriptor, _ in waiting.poll(LOOK_AROUND * 1000)}
            ending = exited in ready or (last_moment is not None and last_moment.passed())
            # At the end once more from both, all that a pipe holds: four chunks where pages have 16 kB.
            for descriptor in (output, errors) if ending else ready:
                chunk = _read(descriptor, fcntl.fcntl(descriptor, fcntl.F_GETPIPE_SZ) if ending else CHUNK)
                if chunk == b"" and not ending:
                    waiting.unregister(descriptor)
                elif chunk and descriptor == output:
                    on_output(lines.feed(chunk))
                elif chunk:
                    tail = (tail + chunk)[-ERRORS_KEPT:]
            if last_moment is None and not ending and stop():
                last_moment = stack.enter_context(Deadline(grace))
                _signal_group(process, signal.SIGTERM)
        on_output(lines.rest())
    return last_moment is not None, tail


def _watched(pipe: IO[bytes] | None, waiting: select.poll) -> int:
    assert pipe is not None  # noqa: S101 - Popen was given PIPE; this tells mypy
    os.set_blocking(pipe.fileno(), False)
    waiting.register(pipe, select.POLLIN)
    return pipe.fileno()


def _read(descriptor: int, at_most: int) -> bytes | None:
    """Return what a pipe holds, nothing at its end, None where it is empty for now."""
    try:
        return os.read(descriptor, at_most)
    except BlockingIOError:
        return None


def _end_group(process: _Process) -> None:
    """Kill what is left of a program's group, itself included, and see it gone."""
    _signal_group(process, signal.SIGKILL)
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
    try:
        process.wait(DEATH)
    except subprocess.TimeoutExpired:
        problem = f"process {process.pid} can't be killed: it waits in the kernel for a device"
        raise ProgramHung(problem) from None


def _signal_group(process: _Process, what: signal.Signals) -> None:
    # Nobody has waited for it yet, so its number still is its own, even if it has exited.
    with contextlib.suppress(OSError):
        os.killpg(process.pid, what)


class _Lines:
    """Cuts a stream into lines, and passes over those that are too long."""

    def __init__(self) -> None:
        self._begun = b""
        self._passing_over = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the lines that ``chunk`` completes."""
        *lines, begun = (self._begun + chunk).split(b"\n")
        if lines and self._passing_over:
            del lines[0]
            self._passing_over = False
        if len(begun) > LONGEST_LINE:
            begun, self._passing_over = b"", True
        self._begun = begun
        return [line for line in lines if len(line) <= LONGEST_LINE]

    def rest(self) -> list[bytes]:
        """Return the last line, which nothing ended."""
        return [] if self._passing_over or not self._begun else [self._begun]


# What a killed daemon left running.


def end_leftovers(is_ours: Callable[[Mapping[bytes, bytes]], bool], grace: timedelta) -> None:
    """End the processes whose environment is ours, and all in their sessions.

    They are asked with SIGTERM, and killed ``grace`` later.
    """
    for _ in range(ROUNDS):
        family = _open_family(is_ours)
        if not family:
            return
        for what in (signal.SIGTERM, signal.SIGKILL):
            for pidfd in family:
                with contextlib.suppress(OSError):  # it has ended by itself
                    signal.pidfd_send_signal(pidfd, what)
            family = _wait_gone(family, grace)
        for pidfd in family:
            os.close(pidfd)


def _open_family(is_ours: Callable[[Mapping[bytes, bytes]], bool]) -> list[int]:
    """Return descriptors of the very processes: their numbers may be given away again meanwhile."""
    sessions = {_session(pid) for pid in _processes() if is_ours(_environment(pid))} - {None, os.getsid(0)}
    family = []
    for pid in _processes() if sessions else ():
        if _session(pid) in sessions:
            with contextlib.suppress(OSError):
                pidfd = os.pidfd_open(pid)
                if _session(pid) in sessions:
                    family.append(pidfd)
                else:
                    os.close(pidfd)
    return family


def _wait_gone(family: list[int], at_most: timedelta) -> list[int]:
    """Wait for processes to end, close their descriptors, and return those of the ones that didn't."""
    waiting = select.poll()
    for pidfd in family:
        waiting.register(pidfd, select.POLLIN)
    left = set(family)
    with Deadline(at_most) as last_moment:
        while left and not last_moment.passed():
            for pidfd, _ in waiting.poll(LOOK_AROUND * 1000):
                waiting.unregister(pidfd)
                os.close(pidfd)
                left.discard(pidfd)
    return list(left)


def _processes() -> list[int]:
    with contextlib.suppress(OSError):
        pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
        return [pid for pid in pids if pid != os.getpid()]
    return []


def _environment(pid: int) -> dict[bytes, bytes]:
    """Return a process's environment, an empty one where it may not be read or is none of ours."""
    with contextlib.suppress(OSError):
        entries = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        return dict(entry.split(b"=", 1) for entry in entries if b"=" in entry)
    return {}


def _session(pid: int) -> int | None:
    """Return a process's session, None for one that has ended."""
    with contextlib.suppress(OSError):
        # pid (name) state ppid pgrp session …; the name may hold anything, brackets too
        stat = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return int(stat[3]) if stat[0] not in b"ZX" else None
    return None
