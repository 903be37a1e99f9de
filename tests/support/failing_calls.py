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
    from collections.abc import Iterator


@contextmanager
def failing(pid: int, call: str, error: str, when: str = "1+") -> Iterator[None]:
    """Let a system call of a daemon's loop and of its disk thread fail with ``error`` while the context lasts.

    ``when`` is strace's: ``1+`` is each call from now on, ``2`` only the second. Other threads are not affected.
    """
    threads = [pid, *(int(task.name) for task in Path(f"/proc/{pid}/task").iterdir() if _name_of(task) == "disk")]
    options = ["--follow-forks"] if len(threads) == 1 else []  # the first write starts the disk thread
    with _injecting(threads, call, f"error={error}:when={when}", *options):
        yield


@contextmanager
def stalling(pid: int, call: str, seconds: float) -> Iterator[None]:
    """Let each such system call of any thread of a process begin ``seconds`` later while the context lasts."""
    with _injecting([pid], call, f"delay_enter={seconds}s", "--follow-forks"):
        yield


def _name_of(task: Path) -> str:
    return (task / "comm").read_text().strip()


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
