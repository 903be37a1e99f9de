"""Looks at a disk that may hang, in a child process that nobody has to wait for.

A thread would not do: where root takes the rights of another user, the C library waits for every thread to follow, and
one that waits for a disk never does. The child has the rights of the owner from its beginning to its end.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from multiprocessing.connection import Pipe
from typing import TYPE_CHECKING, TypeVar

from plantimager.timelapse.cli.acting import acting_as_owner

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from pathlib import Path

T = TypeVar("T")


def look_in_child(look: Callable[[], T], seconds: float, owned: Path) -> T:
    """Return what a look returns, by a child that acts as the owner of a directory; it is killed after that time.

    Raises `TimeoutError` then, and `OSError` where the look has failed or no child can be made.
    """
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
                os.waitpid(child, os.WNOHANG)  # never for longer: a call to a disk that hangs can't be killed
    return found


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
