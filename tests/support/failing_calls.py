"""System calls of a running daemon that fail or take long, injected by strace, as a broken disk causes them."""

from __future__ import annotations

import select
import signal
import subprocess
from contextlib import contextmanager
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
def stalling(pid: int, call: str, seconds: float, when: str = "1+", names: Sequence[str] = ()) -> Iterator[None]:
    """Let such system calls of a daemon begin ``seconds`` later while the context lasts.

    ``when`` is strace's, and counts for each thread alone: ``2+6`` is the second call, and each sixth after it.
    ``names`` are those of the threads, with ``loop`` for that of the loop; else all are meant, with those to come.
    """
    threads = [thread for name in names for thread in ([pid] if name == "loop" else _threads(pid, name))]
    options = [] if threads else ["--follow-forks"]
    with _injecting(threads or [pid], call, f"delay_enter={seconds}s:when={when}", *options):
        yield


def _threads(pid: int, name: str) -> list[int]:
    """Return the threads of a process that have this name."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(task.name) for task in tasks if (task / "comm").read_text().strip() == name]


@contextmanager
def _injecting(threads: list[int], call: str, fault: str, *options: str) -> Iterator[None]:
    attach = [word for thread in threads for word in ("--attach", str(thread))]
    command = ["strace", *options, *attach, "--output", "/dev/null", "--trace", call, "-e", f"inject={call}:{fault}"]
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
