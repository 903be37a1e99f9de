"""Metrics for node_exporter's textfile collector: a file, replaced whole whenever what it says has changed."""

from __future__ import annotations

import shutil
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.registry import Collector

from plantimager.timelapse.channel.relay_status import SinkStatus
from plantimager.timelapse.datasets.disk_forecast import dataset_bytes
from plantimager.timelapse.relay.actions import RelayAction, log_relay
from plantimager.timelapse.relay.measures import DiskUse, measure_rig
from plantimager.timelapse.support.distribution import installed_version

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from prometheus_client.core import Metric

    from plantimager.timelapse.relay.schedule_watch import ScheduleWatch
    from plantimager.timelapse.relay.sink import SinkHost
    from plantimager.timelapse.relay.store_view import StoreView

LONGEST_WAIT: Final = 60.0
"""Seconds between two files where nothing happens: the disk fills, and the file's age shows that the relay is alive."""
WORLD_READABLE: Final = 0o644
"""node_exporter runs under an account of its own; the file holds no secrets."""


class MetricsSink:
    """Writes the metrics of one rig. `run` is its thread; `update` and `status` are for any other."""

    name = "metrics"

    def __init__(self, rig: str, directory: Path, watch: ScheduleWatch, host: SinkHost) -> None:
        self.path = directory / f"timelapsed-{rig}.prom"
        self._rig, self._watch, self._host = rig, watch, host
        self._changed = threading.Condition()
        self._view: StoreView | None = None
        self.status = SinkStatus(name=self.name, what=str(self.path))

    def update(self, view: StoreView) -> None:
        """Have the metrics of a view written."""
        with self._changed:
            self._view = view
            self._changed.notify_all()

    def wake(self) -> None:
        """Let the thread see that the relay stops."""
        with self._changed:
            self._changed.notify_all()

    def run(self) -> None:
        """Write until the relay stops; then there is no file, since what it says is true no more."""
        written: StoreView | None = None
        while not self._host.stop.is_set():
            with self._changed:
                if self._view is written:
                    self._changed.wait(LONGEST_WAIT)
                view = self._view
            if view is not None and not self._host.stop.is_set():
                self._write(view)
                written = view
        with suppress(OSError):
            self.path.unlink(missing_ok=True)

    def _write(self, view: StoreView) -> None:
        timelapse, registry = view.timelapse, CollectorRegistry(auto_describe=False)
        due_at = self._watch.due_at(timelapse) if timelapse is not None and timelapse.state.is_active else None
        metrics = measure_rig(self._rig, installed_version(), view, self._look_at_disk(view), due_at)
        registry.register(Given([*metrics]))
        fresh = self.path.with_suffix(".new")  # which node_exporter doesn't read
        try:
            fresh.write_bytes(generate_latest(registry))
            fresh.chmod(WORLD_READABLE)
            fresh.replace(self.path)
        except OSError as problem:
            trouble = f"{problem.filename or self.path}: {problem.strerror or problem}"
            if trouble != self.status.trouble:
                log_relay(RelayAction.METRICS_NOT_WRITTEN, f"{trouble}; tried again every minute")
            self._show(trouble)
        else:
            self._show("")

    def _show(self, trouble: str) -> None:
        before, now = self.status, self._host.clock.now()
        self.status = SinkStatus(
            name=self.name, what=before.what, worked_at=before.worked_at if trouble else now, trouble=trouble
        )
        if trouble != before.trouble or before.worked_at is None:
            self._host.report()

    def _look_at_disk(self, view: StoreView) -> DiskUse | None:
        """Return how full the datasets' disk is. May hang as the disk may."""
        last = view.taken.scans[-1:]
        directory = self._host.datasets_of([scan.scan_id for scan in last])
        with suppress(OSError):
            free = shutil.disk_usage(directory).free
            return DiskUse(free, dataset_bytes(directory / last[0].scan_id) if last else None)
        return None


class Given(Collector):
    """Metrics that are there already, for the library."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        """Return them."""
        return self._metrics
