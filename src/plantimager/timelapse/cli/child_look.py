"""Looks at a disk that may hang, in a child process that nobody has to wait for.

A thread would not do: where root takes the rights of another user, the C library waits for every thread to follow, and
one that waits for a disk never does. The child has the rights of the owner from its beginning to its end. One that
can't even be killed is kept in mind: no second one waits for the same thing, and it is reaped when it is gone.
"""

from __future__ import annotations

import os
import select
import signal
from contextlib import suppress
from multiprocessing.connection import Pipe
from typing import TYPE_CHECKING, Final, TypeVar

from plantimager.timelapse.cli.acting import acting_as_owner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from multiprocessing.connection import Connection
    from pathlib import Path

T = TypeVar("T")

KILLED_SECONDS = 0.5  # a test shortens it
"""For a killed child to be gone: at once, unless it waits in a call to a disk that hangs."""

STORAGE_SECONDS: Final = 10.0
"""For the storage directory to answer: a disk that slept takes some of them."""

_hanging: Final[dict[object, int]] = {}
"""The children that were killed and aren't gone, by what they look at."""


def look_in_child(look: Callable[[], T], seconds: float, owned: Path) -> T:
    """Return what a look returns, by a child that acts as the owner of a directory; it is killed after that time.

    Raises `TimeoutError` then, and at once while an earlier child for the same look still hangs; `OSError` where the
    look has failed or no child can be made.
    """
    kind = (look.__module__, look.__qualname__, owned)
    if kind in _hanging:
        if not _reap(_hanging[kind], 0):
            raise TimeoutError
        del _hanging[kind]
    reader, writer = Pipe(duplex=False)
    with reader:
        with writer:
            child = os.fork()
            if child == 0:
                _be_child(look, owned, writer)
        try:
            if not reader.poll(seconds):
                raise TimeoutError
            found: T = reader.recv()
        except EOFError:
            raise OSError("the look at a disk has failed") from None
        finally:
            with suppress(OSError):
                os.kill(child, signal.SIGKILL)
            if not _reap(child, KILLED_SECONDS):
                _hanging[kind] = child
    return found


def find_silent(directories: Iterable[Path]) -> Path | None:
    """Return the first directory whose disk or server doesn't answer within `STORAGE_SECONDS`; ``None`` if all do."""
    return next((directory for directory in directories if not _answers(directory)), None)


def _answers(directory: Path) -> bool:
    def look() -> None:
        with suppress(OSError):  # is an answer, too
            os.statvfs(directory)

    try:
        look_in_child(look, STORAGE_SECONDS, directory)
    except TimeoutError:
        return False
    except OSError:  # of the child
        pass
    return True


def _reap(child: int, seconds: float) -> bool:
    """Return whether a killed child is gone within that time; it leaves no zombie then."""
    with suppress(OSError):
        pidfd = os.pidfd_open(child)
        ended = select.poll()
        ended.register(pidfd, select.POLLIN)
        ended.poll(seconds * 1000)
        os.close(pidfd)
    with suppress(ChildProcessError):
        return os.waitpid(child, os.WNOHANG)[0] == child
    return True  # by itself, where this process was started to wait for none


def _be_child(look: Callable[[], object], owned: Path, writer: Connection) -> None:
    """Make the look and end. Nothing that others wait for stays open, were it to hang: a pipe that stdout is."""
    try:
        kept = writer.fileno()
        os.closerange(0, kept)
        os.closerange(kept + 1, os.sysconf("SC_OPEN_MAX"))
        for _ in range(3):
            os.open(os.devnull, os.O_RDWR)
        with acting_as_owner(owned):
            writer.send(look())
    finally:
        os._exit(0)
