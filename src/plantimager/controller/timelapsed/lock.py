"""One daemon a store: a lock beside the file, which says whose it is."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from pathlib import Path

from plantimager.controller.scanner.durable import PRIVATE_FILE
from plantimager.controller.scanner.errors import AlreadyRunning


def lock_beside(store: Path) -> Path:
    """Return where the lock of a store is."""
    return store.with_name(f"{store.name}.lock")


class InstanceLock:
    """The right to write a store; let go of when the process ends, however it ends."""

    def __init__(self, store: Path) -> None:
        self.path = lock_beside(store)
        self._descriptor: int | None = None

    def take(self) -> None:
        """Take the lock and write our PID into it.

        Raises
        ------
        AlreadyRunning
            Somebody else has it.
        OSError
            The file can't be made.

        """
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self.path, flags, PRIVATE_FILE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as taken:
            os.close(descriptor)
            if taken.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise
            raise AlreadyRunning(self.path, _read_pid(self.path)) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()} {start_of(os.getpid())}\n".encode(), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        """Let go. The file stays: removing it would let two daemons lock two files of one name."""
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None


def daemon_of(store: Path) -> int | None:
    """Return the PID of the daemon that runs on a store, or ``None``.

    The lock itself isn't touched: a daemon that starts at this very moment must not find it taken.
    """
    with contextlib.suppress(OSError, ValueError):
        words = lock_beside(store).read_text().split()
        if len(words) == 2 and start_of(int(words[0])) == words[1]:
            return int(words[0])
    return None


def _read_pid(lock: Path) -> int | None:
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(lock.read_text().split()[0])
    return None


def start_of(pid: int) -> str:
    """Return when a process started, in clock ticks since boot: with the PID it names one process for good.

    Raises
    ------
    OSError
        There is no such process.

    """
    # proc_pid_stat(5): field 22, counted behind the command's name, which may hold spaces and parentheses.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
