"""The real daemon, forked from a process that has imported it already: a start takes milliseconds.

For programs of one thread, such as `power_cuts` and `races`.
"""

from __future__ import annotations

import os
import select
from typing import TYPE_CHECKING

from daemon_process import PATIENCE
from tracing import fork

import plantimager.timelapse.daemon.service

# Modules that a start loads only where they are needed are loaded before the fork, too.
import plantimager.timelapse.drivers.painted_plant
import plantimager.timelapse.drivers.simulated  # noqa: F401 - likewise
from plantimager.timelapse.daemon.main import main as timelapsed

if TYPE_CHECKING:
    from daemon_process import Place


class Wrong(AssertionError):
    """An invariant that doesn't hold."""


def expect(holds: object, words: str) -> None:
    """Raise `Wrong` with what is wrong, unless it ``holds``; also where asserts are left out."""
    if not holds:
        raise Wrong(words)


class ForkedDaemon:
    """One run of the daemon in a place of its own, whose lines come through a pipe."""

    def __init__(self, place: Place) -> None:
        self.said = b""
        self.pid = 0
        self._place = place
        self._pipe, self._stderr = os.pipe()
        os.set_blocking(self._pipe, False)

    def body(self) -> None:
        """Run the daemon. In the child."""
        os.dup2(self._stderr, 2)
        os.environ.clear()
        os.environ.update(self._place.environment)
        timelapsed([])

    def start(self) -> None:
        """Fork the daemon."""
        self.pid = fork(self.body)
        self.started()

    def started(self) -> None:
        """Close the writing end of the pipe in this process."""
        os.close(self._stderr)

    def listen(self) -> bytes:
        """Return its lines so far."""
        try:
            while heard := os.read(self._pipe, 65536):
                self.said += heard
        except BlockingIOError:
            pass
        return self.said

    def wait_until(self, *texts: bytes) -> None:
        """Wait until one of ``texts`` is in its lines."""
        while not any(text in self.said for text in texts):
            ready, _, _ = select.select([self._pipe], [], [], PATIENCE)
            expect(ready, f"the daemon hangs:\n{self.said.decode()}")
            heard = os.read(self._pipe, 65536)
            expect(heard, f"the daemon ended:\n{self.said.decode()}")
            self.said += heard

    def close(self) -> None:
        """Close the pipe."""
        os.close(self._pipe)
