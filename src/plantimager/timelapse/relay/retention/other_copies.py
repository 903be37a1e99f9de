"""What the targets say themselves just before a dataset is deleted here: without their word it may be the only copy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from plantimager.timelapse.channel.relay_status import SinkStatus
from plantimager.timelapse.relay.deliver.delivery import ServerFailed, Shipment, Unreachable
from plantimager.timelapse.relay.deliver.pacing import Interrupted, TargetPace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from pathlib import Path

    from plantimager.timelapse.relay.deliver.delivery import Delivery
    from plantimager.timelapse.relay.sink import SinkHost
    from plantimager.timelapse.relay.taken_scans import TakenScan, TakenScans

NAME: Final = "retention"
ASK_AGAIN: Final = 900.0
"""Seconds until a target is asked again that could not be asked."""


class OtherCopies:
    """The copies of datasets at every target. One thread."""

    def __init__(self, deliveries: Mapping[str, Delivery], host: SinkHost, is_scanning: Callable[[], bool]) -> None:
        """``deliveries`` are this thread's own, by the names of their targets; ``is_scanning`` asks another thread."""
        self._deliveries, self._clock, self._report = deliveries, host.clock, host.report
        self.status: SinkStatus | None = None
        """While a target can't be asked; ``None`` else."""
        self._answered_at: datetime | None = None
        self._paces = {
            name: TargetPace(host.clock, host.stop, is_scanning=is_scanning if delivery.polite else None, waits=False)
            for name, delivery in deliveries.items()
        }
        self._trouble, self._again_at = "", 0.0

    @property
    def trouble(self) -> str:
        """Why no target is asked for a while; empty where they may be."""
        return self._trouble if self._clock.monotonic() < self._again_at else ""

    def wait_for_turn(self) -> None:
        """Wait until every target may be asked.

        Raises
        ------
        Interrupted
            The relay stops.
        """
        for pace in self._paces.values():
            pace.wait_for_turn()

    def objection(self, directory: Path, scan: TakenScan, taken: TakenScans) -> str:
        """Return why the dataset in ``directory`` may be the only copy; empty where every target says that it has it.

        Raises
        ------
        Unreachable
            One can't be asked, about any dataset; `trouble` says it from now on.
        Interrupted, DatasetGone, OSError
            As those of `delivery.Delivery.doubt`.
        """
        for name, delivery in self._deliveries.items():
            pace = self._paces[name]
            if interruption := pace.interruption:
                raise Interrupted(interruption)
            try:
                doubt = delivery.doubt(Shipment(directory, scan, taken.database, pace))
            except ServerFailed as problem:
                return f"{name} doesn't say whether it has it: {problem}"
            except Unreachable as problem:
                self._trouble = f"nothing is removed while {name} can't be asked whether it has it still: {problem}"
                self._again_at = self._clock.monotonic() + ASK_AGAIN
                raise
            if doubt:
                return f"{name} {doubt}"
        self._answered_at = self._clock.now()
        return ""

    def show(self, trouble: str) -> None:
        """Have the status say why nothing could be removed; empty where something could, or nothing was to be."""
        what = "asks every target before a dataset is removed"
        status = SinkStatus(name=NAME, what=what, worked_at=self._answered_at, trouble=trouble) if trouble else None
        if status != self.status:
            self.status = status
            self._report()

    def close(self) -> None:
        """Close what is open; the next question opens it again."""
        for delivery in self._deliveries.values():
            delivery.close()
