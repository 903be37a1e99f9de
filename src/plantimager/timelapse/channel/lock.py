"""The instance lock: one daemon per store, by a lock file beside the store that names its holder."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from pathlib import Path
from typing import Final

from plantimager.timelapse.support.durable import PRIVATE_FILE, read_regular
from plantimager.timelapse.support.errors import AlreadyRunning, LocksMissing

SIGNATURE_BYTES: Final = 40
"""Length of a lock file."""


def lock_path(store: Path) -> Path:
    """Return the path of a store's lock."""
    return store.with_name(f"{store.name}.lock")


class InstanceLock:
    """The right to write a store. The kernel releases it when the process ends, however it ends."""

    def __init__(self, store: Path) -> None:
        self.path = lock_path(store)
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock and write our PID into it; raise `AlreadyRunning`, `LocksMissing`, or `OSError` of the file."""
        descriptor = self._open()
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as taken:
            os.close(descriptor)
            if taken.errno in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):
                raise LocksMissing(self.path.parent) from taken
            if taken.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise
            raise AlreadyRunning(self.path, _signed_by(self.path)) from None
        self._descriptor = descriptor
        self._sign(f"{os.getpid()} {process_start(os.getpid())}")

    def release(self) -> None:
        """Release the lock. The file stays: without it two daemons could lock two files of one name."""
        if self._descriptor is not None:
            self._sign("")
            os.close(self._descriptor)
            self._descriptor = None

    def _open(self) -> int:
        flags = os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            return os.open(self.path, flags | os.O_RDWR | os.O_CREAT, PRIVATE_FILE)
        except OSError as refused:
            if refused.errno != errno.EROFS:
                raise
            return os.open(self.path, flags | os.O_RDONLY)  # the lock file of an earlier run serves as well

    def _sign(self, text: str) -> None:
        """Write who holds the lock. On a full or read-only disk it is held without a signature."""
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                # Always of the same length: the file needs no further block of the disk.
                os.pwrite(self._descriptor, text.ljust(SIGNATURE_BYTES).encode(), 0)


def running_daemon(store: Path) -> int | None:
    """Return the PID of the daemon that runs on a store, or ``None``.

    The lock itself isn't touched: a daemon that starts at this moment must not find it taken.
    """
    return _signed_by(lock_path(store))


def _signed_by(lock: Path) -> int | None:
    """Return the PID of the process that signed a lock, if it still runs."""
    with contextlib.suppress(OSError, ValueError):
        pid, start = read_regular(lock, SIGNATURE_BYTES).decode().split()
        if process_start(int(pid)) == start:
            return int(pid)
    return None


def process_start(pid: int) -> str:
    """Return when a process started, in clock ticks since boot: with the PID it identifies one process for good.

    Raises `OSError` where there is no such process.
    """
    # proc_pid_stat(5): field 22, counted from behind the command's name, which may hold spaces and parentheses. The
    # process's is that of its first thread. An emulator (qemu-user) invents /proc/PID/stat, but not this file.
    return Path(f"/proc/{pid}/task/{pid}/stat").read_text().rpartition(")")[2].split()[19]
