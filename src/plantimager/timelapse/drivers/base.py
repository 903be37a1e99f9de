"""The contract between the daemon and a rig.

The daemon calls a driver on one thread of its own (the *rig thread*), one call at a time,
except `ScannerDriver.recover` and `ScannerDriver.check`, which are called while that one has nothing
to do. A driver never sees the store, APScheduler or the daemon's environment: what it needs is in its
options and in the `ScanRequest`.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct

from plantimager.timelapse.scan.request import ScanRequest, ScanResult

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plantimager.timelapse.support.faults import Fault

__all__ = ["Call", "EventMonitor", "Part", "ScanMonitor", "ScanRequest", "ScanResult", "ScannerDriver"]


class Call(StrEnum):
    """What a driver is asked to do."""

    PREPARE = "prepare"
    SCAN = "scan"
    STANDBY = "standby"
    CLOSE = "close"
    RECOVER = "recover"
    """Before the rig thread has anything to do."""
    MANUAL = "by hand"
    """What a person asked for, see `manual_command`."""


class Part(Struct, frozen=True):
    """How one part of a rig is."""

    name: str
    """``gantry``, ``camera top``."""
    answers: bool
    says: str
    """What it answers, or why it doesn't; for people, on one line."""


class ScanMonitor(Protocol):
    """The line between a running scan and the daemon. Every member may be used from any thread."""

    def progress(self, done: int, total: int, note: str = "") -> None:
        """Say that ``done`` of ``total`` pictures are taken. A scan that never says so is held to be stalled."""

    @property
    def cancelled(self) -> bool:
        """Whether the scan is to stop at its next safe point with `ScanCancelled`."""

    def wait(self, seconds: float) -> bool:
        """Wait so long, or until cancelled; return `cancelled`. The way for a driver to pass time."""


class EventMonitor:
    """A `ScanMonitor` on a `threading.Trigger`; the daemon's own, and enough for a driver's tests."""

    def __init__(self) -> None:
        self._cancel = threading.Event()
        self.steps: tuple[int, int, str] = (0, 0, "")
        """The last progress: done, total, note."""

    def progress(self, done: int, total: int, note: str = "") -> None:
        """Keep the last progress."""
        self.steps = (done, total, note)

    def cancel(self) -> None:
        """Ask the scan to stop. Any thread."""
        self._cancel.set()

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._cancel.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait for `cancel`, ``seconds`` at most."""
        return self._cancel.wait(seconds)


class ScannerDriver(ABC):
    """A way of making a rig scan. One file per driver; see the package's docstring."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        """Check the driver's own table ``[drivers.NAME]``; touch no hardware yet.

        Raises
        ------
        FaultsFound
            With every fault of ``options``, the table named ``drivers.NAME``.

        """
        self.options = options

    def check(self, configuration: Mapping[str, Any]) -> Sequence[Fault]:
        """Return what this rig can't do of a scan configuration; called before anything moves.

        Called by ``timelapsectl check`` and when a definition is taken up, which doesn't wait longer than ten seconds.
        Any thread.
        """
        del configuration
        return ()

    def examine(self) -> Sequence[Part]:
        """Talk to every part of the rig and return how each is; may power it up, but moves nothing. Raises nothing.

        For ``timelapsectl rig check``; an empty answer means that the driver can't tell. What else a person may do
        with a rig is in `by_hand.ManualControl`.
        """
        return ()

    @abstractmethod
    def prepare(self) -> None:
        """Warm up: power, lights, homing. Called ``warmup_sec`` before a slot; may be called twice.

        Raises
        ------
        ScannerNotReady
            The rig isn't there (yet). It is asked again before the scan.

        """

    @abstractmethod
    def scan(self, request: ScanRequest, monitor: ScanMonitor) -> ScanResult:
        """Take one slot: return when the dataset is whole and on disk.

        Raises
        ------
        ScannerNotReady
            The rig is absent or still booting; no attempt is used, and it is asked again within the grace period.
        ScanFailed
            This attempt failed.
        ScanCancelled
            ``monitor.cancelled`` was seen and the rig brought to a safe point.

        """

    def recover(self, request: ScanRequest) -> ScanResult | None:
        """Say after a restart whether ``request`` was finished after all: its dataset is whole.

        Also the place to end what a killed daemon left running. Called before the rig thread has anything to do, once
        in a start, but again in the next where this one is killed before its answer is on disk. One that takes longer
        than ``stall_timeout``, or 5 min, is given up, with the process. ``None``: it was not finished.
        """
        del request
        return None

    @abstractmethod
    def standby(self) -> None:
        """Power down. Called when the next slot is farther off than ``standby_threshold_sec``, and at stop.

        Raises
        ------
        DriverError
            It can't, or not all of it; likewise `close`. That is told, and the next slot is tried all the same.

        """

    def close(self) -> None:  # noqa: B027 - a driver that holds nothing has nothing to let go of
        """Let go of everything. Called once, last."""
