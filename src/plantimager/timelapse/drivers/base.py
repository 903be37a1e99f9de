"""The contract between the daemon and a rig.

The daemon calls a driver on one thread (the *rig thread*), one call at a time. `ScannerDriver.recover` may come from
another thread, while the rig thread makes no call; `ScannerDriver.check` at any time. A driver never sees the store,
APScheduler or the daemon's environment: everything that it needs is in its options and in the `ScanRequest`.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Protocol

from msgspec import Struct

from plantimager.timelapse.scan.request import ScanRequest, ScanResult
from plantimager.timelapse.support.needs import programs_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from plantimager.timelapse.support.faults import Fault
    from plantimager.timelapse.support.needs import Need

__all__ = ["Call", "EventMonitor", "Part", "ScanMonitor", "ScanRequest", "ScanResult", "ScannerDriver"]


CANCEL_TIMEOUT: Final = timedelta(seconds=30)
"""For a call that was cancelled to come to its safe point, where the driver asks for no more."""


class Call(StrEnum):
    """A call of a driver, in words for a person."""

    PREPARE = "prepare"
    SCAN = "scan"
    STANDBY = "standby"
    CLOSE = "close"
    RECOVER = "recover"
    """Before all other calls, and where the datasets' disk was away by then, when it is back and the rig is free."""
    MANUAL = "by hand"
    """A manual command, see `manual_command`."""

    @property
    def can_be_cancelled(self) -> bool:
        """Whether the call has a monitor; any other comes to its own end, also when the service stops."""
        return self in (Call.SCAN, Call.MANUAL)


class Part(Struct, frozen=True):
    """The state of one part of a rig."""

    name: str
    """Such as ``gantry``, ``camera top``."""
    answers: bool
    """Whether it works, as far as the driver can find out."""
    says: str
    """What it reports, or why it doesn't answer; for people, on one line."""


class ScanMonitor(Protocol):
    """The connection between a running call and the daemon. Every member may be used from any thread."""

    def progress(self, done: int, total: int, note: str = "") -> None:
        """Report that ``done`` of ``total`` pictures are taken. A scan that doesn't report counts as stalled."""

    @property
    def cancelled(self) -> bool:
        """Whether the call is to end at its next safe point, with `ScanCancelled`."""

    def wait(self, seconds: float) -> bool:
        """Wait that long, or until cancelled; return `cancelled`. A driver waits in no other way."""


class EventMonitor:
    """A `ScanMonitor` on a `threading.Event`, for the daemon and for the tests of a driver."""

    def __init__(self) -> None:
        self._cancel = threading.Event()
        self.steps: tuple[int, int, str] = (0, 0, "")
        """Done, total and note of the last progress."""

    def progress(self, done: int, total: int, note: str = "") -> None:
        """Keep it."""
        self.steps = (done, total, note)

    def cancel(self) -> None:
        """Ask the call to end. Any thread."""
        self._cancel.set()

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` has been called."""
        return self._cancel.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait for `cancel`, ``seconds`` at most."""
        return self._cancel.wait(seconds)


class ScannerDriver(ABC):
    """A way of making a rig scan."""

    cancel_timeout: timedelta = CANCEL_TIMEOUT
    """How long a scan or manual command may take from its cancellation to its safe point; then it counts as hung."""
    call_timeout: timedelta = timedelta(0)
    """How long a prepare, standby or recover may go on without progress, as none can be cancelled; ``stall_timeout``
    where that is longer, or this is 0."""

    recover_silence: timedelta | None = None
    """How long `recover` may take from one sign of life to the next, where the driver knows: between slots that are
    near, it is called in gaps longer than that alone. ``None`` stands for ``stall_timeout`` or `call_timeout`."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        """Check ``options``, which are the table ``[drivers.NAME]`` of the driver; use no hardware yet.

        Raises
        ------
        FaultsFound
            With every fault of the options, in a table of that name.
        """
        self.options = options

    def check(self, configuration: Mapping[str, Any]) -> Sequence[Fault]:
        """Return the faults that a scan configuration has for this rig, without using any hardware.

        Called by ``timelapsectl check`` and when a definition is taken up, which waits ten seconds at most. Any thread.
        """
        del configuration
        return ()

    def needs(self) -> Iterable[Need]:
        """Return what its options need of the environment; ``check`` looks for it there, and in the service's sandbox.

        A driver whose options are read by `support.keys` returns `needs_of` of them. By default it is each list of
        texts in the table that begins with a path, which may be a program: a guess, never a fault. Any thread.
        """
        return programs_in(self.options)

    def estimate(self, configuration: Mapping[str, Any]) -> timedelta | None:
        """Return about how long a scan takes, without using any hardware; ``None`` where that isn't known.

        ``check``, ``preview``, ``start`` and the daemon compare it with the time between slots. Where it is ``None``
        they take the last scans on record. Any thread; what it raises counts as ``None``.
        """
        del configuration
        return None

    def estimate_bytes(self, configuration: Mapping[str, Any]) -> int | None:
        """Return how many bytes a scan's dataset has at most, about; ``None`` where that isn't known.

        For the forecast of ``check``, ``preview``, ``start`` and ``status``, until the timelapse has datasets of its
        own. Called as `estimate`.
        """
        del configuration
        return None

    def examine(self) -> Sequence[Part]:
        """Return the state of every part of the rig. May power it up, but moves nothing. Raises nothing.

        Called by ``timelapsectl rig check``. No parts mean that the driver can't find out. The other manual commands
        are calls of `manual_control.ManualControl`.
        """
        return ()

    @abstractmethod
    def prepare(self) -> None:
        """Warm up: power, lights, homing. Called ``warmup_sec`` before a slot, and may be called twice.

        No slot is taken before it has succeeded. It can't be cancelled, and counts as hung after ``stall_timeout``, or
        `call_timeout`.

        Raises
        ------
        ScannerNotReady
            The rig doesn't answer (yet). It is called again within the grace period, as after any other exception.
        """

    @abstractmethod
    def scan(self, request: ScanRequest, monitor: ScanMonitor) -> ScanResult:
        """Take one slot; return when its dataset is whole and synced to disk.

        Raises
        ------
        ScannerNotReady
            The rig is absent or still booting. No attempt is used, and it is called again within the grace period.
        ScanFailed
            This attempt failed.
        ScanCancelled
            ``monitor`` was cancelled, and the rig is at a safe point.
        """

    def recover(self, request: ScanRequest) -> ScanResult | None:
        """Return the result of a request that had finished when the daemon was killed, None if it had not.

        A driver also ends here what the killed daemon left running. Called before all other calls, once in a start;
        again in the next start where the daemon is killed before the answer is on disk. Where the datasets' disk is
        away at the start, or is pulled in mid-scan, it is called when the disk is there again and the rig is free, and
        before a `prepare` for the slot itself. It counts as hung as `prepare` does; `datasets.attempt.find_finished`
        reports its progress by itself, and any other step that can last calls `support.progress.current_report`. The
        report raises `ScanCancelled` where the rig is needed: the call comes again later. `ScannerNotReady`,
        where a disk can't be read, is no answer either: the call comes again until there is one.
        """
        del request
        return None

    @abstractmethod
    def standby(self) -> None:
        """Power down. Called when the next slot is more than ``standby_threshold_sec`` ahead, and at stop.

        Raises
        ------
        DriverError
            All or some of it failed; `close` may raise it, too. It is reported, and the next slot is attempted.
        """

    def close(self) -> None:  # noqa: B027 - a driver that holds nothing has nothing to release
        """Release everything. The last call."""
