"""System calls of a running daemon that fail or take long, injected by strace, as a broken disk causes them."""

from __future__ import annotations

import select
import signal
import subprocess
import tempfile
from collections import defaultdict
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from daemon_process import PATIENCE, NeverHappened

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@contextmanager
def failing(pid: int, call: str, error: str, when: str = "1+") -> Iterator[None]:
    """Let a system call of a daemon's loop and of its disk thread fail with ``error`` while the context lasts.

    ``when`` is strace's: ``1+`` is each call from now on, ``2`` only the second. Other threads are not affected.
    """
    threads = [pid, *_threads(pid, "disk")]
    options = ["--follow-forks"] if len(threads) == 1 else []  # the first write starts the disk thread
    with _injecting(threads, call, f"error={error}:when={when}", *options):
        yield


@contextmanager
def stalling(pid: int, call: str, seconds: float, when: str = "1+", names: Sequence[str] = ()) -> Iterator[set[str]]:
    """Let such system calls of a daemon begin ``seconds`` later while the context lasts.

    ``when`` is strace's, and counts for each thread alone: ``2+6`` is the second call, and each sixth after it.
    ``names`` are those of the threads, with ``loop`` for that of the loop; else all are meant, with those to come.
    At its end the context has the names of the threads that were met; one that has ended is called ``ended``, and that
    of the log, which has the name of the process, ``log``.
    """
    threads = [thread for name in names for thread in ([pid] if name == "loop" else _threads(pid, name))]
    options = [] if threads else ["--follow-forks"]
    met: set[str] = set()
    with tempfile.NamedTemporaryFile() as report:
        inject = f"delay_enter={seconds}s:when={when}"
        with _injecting(threads or [pid], call, inject, *options, report=report.name):
            yield met
            of_thread = _names_of_threads(pid)
        lines = report.read().decode(errors="replace").splitlines()
    log = {thread: "log" for thread, name in of_thread.items() if name == of_thread.get(pid)}
    of_thread |= log | {pid: "loop"}
    met |= {of_thread.get(thread, "ended") for thread in _stalled(lines)}


def _stalled(lines: list[str]) -> set[int]:
    """Return the threads of which strace reports a call that stalled, or that still does."""
    of_thread = defaultdict[int, list[str]](list)
    for line in lines:
        thread, _, call = line.partition(" ")
        if thread.isdigit() and "exited with" not in call:  # strace names none where it follows a single one
            of_thread[int(thread)].append(call)
    unfinished = {thread for thread, calls in of_thread.items() if calls[-1].endswith("<unfinished ...>")}
    return unfinished | {thread for thread, calls in of_thread.items() if any("(DELAYED)" in call for call in calls)}


def _threads(pid: int, name: str) -> list[int]:
    """Return the threads of a process that have this name."""
    return [thread for thread, its_name in _names_of_threads(pid).items() if its_name == name]


def _names_of_threads(pid: int) -> dict[int, str]:
    """Return the names of the threads of a process; none of one that has ended."""
    names: dict[int, str] = {}
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):  # the thread has ended
                names[int(task.name)] = (task / "comm").read_text().strip()
    return names


@contextmanager
def _injecting(threads: list[int], call: str, fault: str, *options: str, report: str = "/dev/null") -> Iterator[None]:
    attach = [word for thread in threads for word in ("--attach", str(thread))]
    command = ["strace", *options, *attach, "--output", report, "--trace", call, "-e", f"inject={call}:{fault}"]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as strace:
        try:
            _wait_until_attached(strace)
            yield
        finally:
            strace.send_signal(signal.SIGINT)  # strace detaches and ends
            strace.communicate(timeout=PATIENCE)


def _wait_until_attached(strace: subprocess.Popen[bytes]) -> None:
    said = b""
    while b"attached" not in said:
        ready, _, _ = select.select([strace.stderr], [], [], PATIENCE)
        heard = strace.stderr.read1() if ready else b""
        if not heard:
            raise NeverHappened(f"strace did not attach: {said.decode()}")
        said += heard
