"""Failing system calls in the loop of a running daemon, injected by strace, as a broken disk causes them."""

from __future__ import annotations

import select
import signal
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

from daemon_process import PATIENCE, NeverHappened

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def failing(pid: int, call: str, error: str, when: str = "1+") -> Iterator[None]:
    """Let a system call of a process's main thread fail with ``error`` while the context lasts.

    ``when`` is strace's: ``1+`` is each call from now on, ``2`` only the second. Other threads are not affected.
    """
    inject = f"inject={call}:error={error}:when={when}"
    command = ["strace", "--attach", str(pid), "--output", "/dev/null", "--trace", call, "-e", inject]
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
