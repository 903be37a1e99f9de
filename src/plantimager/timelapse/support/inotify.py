"""Waiting for files to change, by inotify(7): a command that waits sleeps until something happens.

Python's library doesn't offer inotify. Where the kernel has no watch left, or the directory doesn't exist yet, a wait
lasts until its time-out.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import struct
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_IN_CLOSE_WRITE, _IN_MOVED_TO, _IN_CREATE, _IN_DELETE = 0x8, 0x80, 0x100, 0x200
_EVENTS: Final = _IN_CLOSE_WRITE | _IN_MOVED_TO | _IN_CREATE | _IN_DELETE
"""A file was written, renamed or deleted, or a new one appeared."""

_IN_UNMOUNT, _IN_IGNORED = 0x2000, 0x8000
_HEAD: Final = struct.Struct("iIII")
"""Of an event: the watch, what has happened, a cookie, and the length of the name that follows."""

_libc = ctypes.CDLL(None, use_errno=True)


class FileWatch:
    """A watch on the files of some directories, not of those below. It notices changes from its creation on."""

    def __init__(self, *directories: Path) -> None:
        self.has_ended = False
        """Whether a directory was deleted, or its disk unmounted: what comes to its place is not watched."""
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
                while events := os.read(self._fd, 2**16):
                    self.has_ended = self.has_ended or any(map((_IN_UNMOUNT | _IN_IGNORED).__and__, _masks(events)))
        return changed

    def close(self) -> None:
        """Close the file descriptor. Call it once."""
        if self._fd >= 0:
            os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _masks(events: bytes) -> Iterator[int]:
    """Yield what has happened, event by event."""
    at = 0
    while at < len(events):
        _, mask, _, length = _HEAD.unpack_from(events, at)
        at += _HEAD.size + length
        yield mask
