"""Waiting for files to change: inotify, so that a command that waits sleeps, and wakes when something happens.

Python's library has no face for inotify(7), and it is three calls. Where the kernel has no watch
left to give, or the directory isn't there yet, waits simply last until their time-out.
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
"""A file got new content, came under its name, or went."""

_libc = ctypes.CDLL(None, use_errno=True)


class FileWatch:
    """Notices changes in directories (not below them) from its creation on."""

    def __init__(self, *directories: Path) -> None:
        self._fd: int = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self._poll = select.poll()
        if self._fd >= 0:
            self._poll.register(self._fd, select.POLLIN)
            for directory in directories:
                _libc.inotify_add_watch(self._fd, os.fsencode(directory), _EVENTS)

    def also(self, fd: int) -> None:
        """End waits also when ``fd`` can be read."""
        self._poll.register(fd, select.POLLIN)

    def wait(self, timeout: float) -> bool:
        """Sleep until something changes, ``timeout`` seconds at most; return whether something did."""
        changed = bool(self._poll.poll(max(timeout, 0.0) * 1000))
        if self._fd >= 0:
            with contextlib.suppress(BlockingIOError):
                while os.read(self._fd, 2**16):
                    pass
        return changed

    def close(self) -> None:
        """Let go of it. Call once."""
        if self._fd >= 0:
            os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
