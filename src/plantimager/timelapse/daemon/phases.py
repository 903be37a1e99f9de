"""The life of the daemon: the signals that it is sent, its phases, and the table of what leads from one to the next."""

from __future__ import annotations

import signal
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plantimager.timelapse.support.clock import Clock


class DaemonPhase(StrEnum):
    """The phase of the daemon."""

    STARTING = "starting"
    """The clock has not been judged yet."""
    WAITING_FOR_CLOCK = "waiting for the clock"
    """The clock can't be trusted yet, so nothing is decided."""
    RESUMING = "resuming"
    """The store is read, and the driver is asked what became of the attempt that was cut off."""
    KEEPING = "keeping the schedule"
    STOPPING = "stopping"
    """The running driver call comes to its next safe point."""
    POWERING_DOWN = "powering down"
    """All is recorded; the rig goes to standby, and the driver is closed."""
    ABANDONED = "abandoned"
    """A driver call never ends. Its thread can't be killed, so the process has to be replaced."""
    ENDED = "ended"
    """The loop is over."""

    @property
    def awaits_clock(self) -> bool:
        """Whether nothing may be decided yet."""
        return self in (DaemonPhase.STARTING, DaemonPhase.WAITING_FOR_CLOCK)

    @property
    def keeps_schedule(self) -> bool:
        """Whether slots are armed and fired, and the rig is powered for them."""
        return self is DaemonPhase.KEEPING

    @property
    def is_stopping(self) -> bool:
        """Whether the service was asked to stop."""
        return self in (DaemonPhase.STOPPING, DaemonPhase.POWERING_DOWN)

    @property
    def is_over(self) -> bool:
        """Whether the loop is to end."""
        return self is DaemonPhase.ENDED


class PhaseEvent(StrEnum):
    """What moves the daemon from one phase to another."""

    CLOCK_DOUBTED = "clock not trusted"
    CLOCK_TRUSTED = "clock trusted"
    STORE_READ = "store read"
    STOP_REQUESTED = "stop requested"
    RIG_AT_REST = "rig at rest"
    DRIVER_HUNG = "driver hung"


_P, _E = DaemonPhase, PhaseEvent

PHASE_CHANGES: Final[Mapping[tuple[DaemonPhase, PhaseEvent], DaemonPhase]] = MappingProxyType(
    {
        (_P.STARTING, _E.CLOCK_DOUBTED): _P.WAITING_FOR_CLOCK,
        (_P.STARTING, _E.CLOCK_TRUSTED): _P.RESUMING,
        (_P.STARTING, _E.STOP_REQUESTED): _P.STOPPING,
        (_P.WAITING_FOR_CLOCK, _E.CLOCK_TRUSTED): _P.RESUMING,
        (_P.WAITING_FOR_CLOCK, _E.STOP_REQUESTED): _P.STOPPING,
        (_P.RESUMING, _E.STORE_READ): _P.KEEPING,
        (_P.KEEPING, _E.STOP_REQUESTED): _P.STOPPING,
        (_P.KEEPING, _E.DRIVER_HUNG): _P.ABANDONED,
        (_P.STOPPING, _E.RIG_AT_REST): _P.POWERING_DOWN,
        (_P.STOPPING, _E.DRIVER_HUNG): _P.ENDED,
        (_P.POWERING_DOWN, _E.RIG_AT_REST): _P.ENDED,
        (_P.POWERING_DOWN, _E.DRIVER_HUNG): _P.ENDED,
        (_P.ABANDONED, _E.STOP_REQUESTED): _P.ENDED,
    }
)
"""Every allowed change: from (phase, event) to the next phase."""


class Lifecycle:
    """The phase that the daemon is in. Loop thread."""

    def __init__(self) -> None:
        self.phase = DaemonPhase.STARTING
        self.clock_trouble: str | None = None
        """Why the clock isn't trusted; ``None`` before it was judged, and once it is trusted."""
        self.trouble: str | None = None
        """Why the process has to be replaced; ``None`` as long as no driver call hangs."""

    def advance(self, event: PhaseEvent) -> None:
        """Go on to the next phase.

        Raises
        ------
        RuntimeError
            The table has no row for this event in this phase.
        """
        following = PHASE_CHANGES.get((self.phase, event))
        if following is None:
            raise RuntimeError(f"a daemon that is {self.phase} can't take the event {event}")
        self.phase = following

    def doubt_clock(self, why: str) -> None:
        """Wait for the clock, or go on waiting."""
        self.clock_trouble = why
        if self.phase is DaemonPhase.STARTING:
            self.advance(PhaseEvent.CLOCK_DOUBTED)

    def trust_clock(self) -> None:
        """Go on by the clock as it is; a clock that was trusted once stays trusted."""
        self.clock_trouble = None
        self.advance(PhaseEvent.CLOCK_TRUSTED)

    def abandon(self, why: str) -> None:
        """Go on as a process that has to be replaced, since a driver call never ends."""
        self.trouble = why
        self.advance(PhaseEvent.DRIVER_HUNG)

    @property
    def exit_code(self) -> int:
        """The exit code of the process: 1 where it has to be replaced, so that systemd does that."""
        return 0 if self.trouble is None else 1


STOP_SIGNALS: Final = frozenset({signal.SIGTERM, signal.SIGINT})


class Signals:
    """The signals that have come and are not handled yet: each only sets a flag and wakes the loop."""

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
