"""OpenMetrics for node_exporter's textfile collector: a file, replaced whole whenever what it says has changed."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.registry import Collector

from plantimager.timelapse.channel.relay_status import SinkStatus
from plantimager.timelapse.datasets.disk_forecast import dataset_bytes
from plantimager.timelapse.relay.actions import RelayAction, log_relay
from plantimager.timelapse.relay.metrics.measures import DiskUse, measure_rig
from plantimager.timelapse.relay.sink import TimedSink
from plantimager.timelapse.relay.taken_scans import taken_scans_of
from plantimager.timelapse.support.distribution import installed_version
from plantimager.timelapse.support.durable import replace_file
from plantimager.timelapse.support.side_call import SideCall

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from prometheus_client.core import Metric

    from plantimager.timelapse.relay.metrics.measures import DiskRules
    from plantimager.timelapse.relay.schedule_watch import ScheduleWatch
    from plantimager.timelapse.relay.sink import NextLook, SinkHost
    from plantimager.timelapse.relay.store_view import StoreView

BETWEEN_FILES: Final = 60.0
"""Seconds between two files where nothing happens: the disk fills, and the file's age shows that the relay is alive."""
DISK_SECONDS: Final = 4.0
"""For the datasets' directory to answer; it may be another computer's. The relay's stop waits a little longer."""
SHOWN_AGAIN: Final = timedelta(hours=1)
"""How old the status may be: each newer one is a file that is written."""
WORLD_READABLE: Final = 0o644
"""node_exporter runs under an account of its own; the file holds no secrets."""


class MetricsSink(TimedSink):
    """Writes the metrics of one rig."""

    failed_wait = BETWEEN_FILES

    def __init__(self, rig: str, directory: Path, watch: ScheduleWatch, host: SinkHost, rules: DiskRules) -> None:
        super().__init__("metrics", host)
        self.path = directory / f"timelapsed-{rig}.prom"
        self._rig, self._watch, self._rules = rig, watch, rules
        self._disk = SideCall[DiskUse | None](DISK_SECONDS)
        self.status = SinkStatus(name=self.name, what=str(self.path))

    def run(self) -> None:
        """Write until the relay stops; then there is no file, since what it says is true no more."""
        super().run()
        with suppress(OSError):
            self.path.unlink(missing_ok=True)

    def _work(self, view: StoreView) -> NextLook:
        """Write the file."""
        disk = self._disk.make(lambda: self._look_at_disk(view))
        metrics = measure_rig(self._rig, installed_version(), view, disk, self._watch.due_at(view))
        try:
            replace_file(self.path, format_metrics(metrics), WORLD_READABLE)
        except OSError as problem:
            trouble = f"{problem.filename or self.path}: {problem.strerror or problem}"
            if trouble != self.status.trouble:
                log_relay(RelayAction.METRICS_NOT_WRITTEN, f"{trouble}; tried again every minute")
            self._show(trouble)
        else:
            self._show("")
        return None, BETWEEN_FILES

    def _show(self, trouble: str) -> None:
        """Give the status a new value where that says something new: the relay looks again after each."""
        before, now = self.status, self._host.clock.now()
        is_old = before.worked_at is None or abs(now - before.worked_at) >= SHOWN_AGAIN
        if trouble != before.trouble or (is_old and not trouble):
            self.status = SinkStatus(
                name=self.name, what=before.what, worked_at=before.worked_at if trouble else now, trouble=trouble
            )
            self._host.report()

    def _look_at_disk(self, view: StoreView) -> DiskUse | None:
        """Return how full the datasets' disk is. May hang as the disk may."""
        last = view.taken.scans[-1:]
        directory = self._host.datasets_of([scan.scan_id for scan in last])
        with suppress(OSError):
            free, there = shutil.disk_usage(directory).free, {*os.listdir(directory)}  # noqa: PTH208 - names suffice
            taken = taken_scans_of(view.timelapse) if view.timelapse is not None else ()
            held = tuple(sorted(scan.scheduled_at for scan in taken if scan.scan_id in there))
            return DiskUse(free, dataset_bytes(directory / last[0].scan_id) if last else None, held, self._rules)
        return None


class _Given(Collector):
    """Metrics that are there already, for the library."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = [*metrics]

    def collect(self) -> Iterable[Metric]:
        """Return them."""
        return self._metrics


def format_metrics(metrics: Iterable[Metric]) -> bytes:
    """Return the text of a file, which is the same in OpenMetrics and in Prometheus' own format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Given(metrics))
    text: bytes = generate_latest(registry)  # type: ignore[no-untyped-call]  # the library's has no types
    return text
