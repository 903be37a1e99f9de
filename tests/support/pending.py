"""A target that many datasets wait for: the sink with its ledger on disk, and a delivery that only counts."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from plantimager.timelapse.channel.ledger import Ledger
from plantimager.timelapse.relay.deliver.deliver_sink import DeliverSink
from plantimager.timelapse.relay.deliver.delivery import Delivered
from plantimager.timelapse.relay.sink import SinkHost
from plantimager.timelapse.relay.taken_scans import TakenScan, TakenScans
from plantimager.timelapse.settings.deliver_config import DeliverTarget
from plantimager.timelapse.support.clock import SystemClock

if TYPE_CHECKING:
    from pathlib import Path

FIRST = datetime(2026, 1, 1, tzinfo=UTC)


def taken_scans(number: int) -> TakenScans:
    """Return so many scans, one an hour."""
    times = [FIRST + timedelta(hours=slot) for slot in range(number)]
    return TakenScans(tuple(TakenScan(f"tl_{slot}", "tl", slot, time, time) for slot, time in enumerate(times)))


class CountingDelivery:
    """Delivers nothing, and stops the sink after ``until`` datasets."""

    def __init__(self, until: int) -> None:
        self.until, self.delivered, self.looked_up = until, list[str](), list[int]()
        self.stop = threading.Event()
        self.first_at = 0.0
        """By `time.perf_counter`."""

    def sink(self, directory: Path, order: str = "oldest") -> DeliverSink:
        """Return a sink whose ledgers are in ``directory``."""
        directories = []

        def datasets_of(scan_ids):
            directories.extend(scan_ids)
            self.looked_up.append(len(directories))
            return directory

        host = SinkHost(datasets_of, SystemClock(), self.stop, lambda: None)
        ledgers = Ledger(directory / "lab.ledger"), Ledger(directory / "removed")
        return DeliverSink("lab", DeliverTarget(order=order), self, ledgers[0], host, ledgers[1])

    def deliver(self, shipment):
        self.first_at = self.first_at or time.perf_counter()
        shipment.begin()
        self.delivered.append(shipment.scan.scan_id)
        if len(self.delivered) == self.until:
            self.stop.set()
        return Delivered("file", 1, 1, 1, "0" * 64)

    def close(self) -> None:
        pass
