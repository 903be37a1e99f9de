"""Waiting for files to change, by inotify(7): a command that waits sleeps until something happens.

Python's library doesn't offer inotify. Where the kernel has no watch left, or the directory doesn't exist yet, a wait
lasts until its time-out.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from pathlib import Path

_IN_CLOSE_WRITE, _IN_MOVED_TO, _IN_CREATE, _IN_DELETE = 0x8, 0x80, 0x100, 0x200
_EVENTS: Final = _IN_CLOSE_WRITE | _IN_MOVED_TO | _IN_CREATE | _IN_DELETE
"""A file was written, renamed or deleted, or a new one appeared."""

_libc = ctypes.CDLL(None, use_errno=True)


class FileWatch:
    """A watch on the files of some directories, not of those below. It notices changes from its creation on."""

    def __init__(self, *directories: Path) -> None:
        self._fd: int = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self._poll = select.poll()
        if self._fd >= 0:
            self._poll.register(self._fd, select.POLLIN)
            for directory in directories:
                _libc.inotify_add_watch(self._fd, os.fsencode(directory), _EVENTS)

    def register(self, fd: int) -> None:
        """Let a wait end as well when the file descriptor ``fd`` can be read."""
        self._poll.register(fd, select.POLLIN)

    def wait(self, timeout: float) -> bool:
        """Sleep until a file changes, for ``timeout`` seconds at most; return whether one did."""
        changed = bool(self._poll.poll(max(timeout, 0.0) * 1000))
        if self._fd >= 0:
            with contextlib.suppress(BlockingIOError):
                while os.read(self._fd, 2**16):
                    pass
        return changed

    def close(self) -> None:
        """Close the file descriptor. Call it once."""
        if self._fd >= 0:
            os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
