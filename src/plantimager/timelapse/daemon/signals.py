"""The signals to the daemon: each only sets a flag and wakes the loop."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from plantimager.timelapse.support.clock import Clock

STOP_SIGNALS: Final = frozenset({signal.SIGTERM, signal.SIGINT})


class Signals:
    """The signals that have come and are not handled yet."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._received: set[int] = set()

    def install(self) -> None:
        """Have SIGTERM and SIGINT stop the daemon, and SIGHUP reload it. Main thread, once."""
        signal.set_wakeup_fd(self._clock.wakeup_fd, warn_on_full_buffer=False)
        for number in (*STOP_SIGNALS, signal.SIGHUP):
            signal.signal(number, lambda received, _: self._received.add(received))

    def send(self, number: int) -> None:
        """Do what receiving a signal does. Any thread."""
        self._received.add(number)
        self._clock.wake()

    @property
    def asks_to_stop(self) -> bool:
        """Whether a stop waits to be taken. Loop thread."""
        return bool(self._received & STOP_SIGNALS)

    def take_stop(self) -> bool:
        """Return whether the daemon was asked to stop since the last call. Loop thread."""
        return self._take(STOP_SIGNALS)

    def take_reload(self) -> bool:
        """Return whether the daemon was asked to reload since the last call. Loop thread."""
        return self._take({signal.SIGHUP})

    def _take(self, numbers: frozenset[int] | set[int]) -> bool:
        if not self._received & numbers:
            return False
        self._received -= numbers
        return True
