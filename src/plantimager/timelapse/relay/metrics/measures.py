"""The metrics of one rig, made from one look at its store.

Names and units follow Prometheus' conventions (https://prometheus.io/docs/practices/naming/): base units, and times as
timestamps, whose age a rule takes when it is evaluated. A rig has the series of its present timelapse alone, so their
number doesn't grow with what it has taken. There are only types whose text is the same in OpenMetrics and in
Prometheus' own format, the one that node_exporter reads: no counters and no infos.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from prometheus_client.core import GaugeMetricFamily, SummaryMetricFamily

from plantimager.timelapse.datasets.disk_forecast import NO_RETENTION, Retention, forecast_disk
from plantimager.timelapse.datasets.disk_space import KEEP_FREE
from plantimager.timelapse.domain.pausing import next_to_take
from plantimager.timelapse.domain.states import Reason, RecordStatus, TimeLapseState
from plantimager.timelapse.settings.relay_config import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from prometheus_client.core import Metric

    from plantimager.timelapse.domain.timelapse import TimeLapse
    from plantimager.timelapse.relay.store_view import StoreView

BY_PERSONS: Final = (Reason.CANCELLED, Reason.PAUSED)
"""What became of slots that a person gave up, or paused: by their records *skipped* or *interrupted*, but no loss."""


class DiskRules(Struct, frozen=True):
    """What the configuration says of the datasets' disk."""

    reserve: int = KEEP_FREE
    """Bytes that no scan uses."""
    retention: Retention = NO_RETENTION


class DiskUse(Struct, frozen=True):
    """The datasets' disk, in bytes."""

    free: int
    dataset: int | None
    """The size of the last dataset; ``None`` where there is none."""
    held: tuple[datetime, ...] = ()
    """The times of the datasets of the present timelapse that are there, in their order."""
    rules: DiskRules = DiskRules()

    def full_slot(self, slots: Sequence[datetime]) -> int | None:
        """Return which of the slots to come finds the disk full, as ``timelapsectl`` forecasts it, if any."""
        if not self.dataset:
            return None
        rules = self.rules
        forecast = forecast_disk(
            slots, self.dataset, self.free, rules.reserve, held=self.held, retention=rules.retention
        )
        return forecast.full_slot


def measure_rig(
    rig: str, version: str, view: StoreView, disk: DiskUse | None, due_at: datetime | None
) -> Iterator[Metric]:
    """Yield the metrics of a rig.

    ``disk`` is ``None`` where it can't be read. The next slot must have its record by ``due_at``; it is ``None`` where
    nothing is scheduled.
    """
    by_rig = {"rig": rig}
    words = "1, with the version of timelapsed that wrote these metrics"
    yield _gauge("timelapse_build_info", words, {**by_rig, "version": version}, 1)
    yield from _measure_daemon(by_rig, view)
    yield from _measure_delivery(by_rig, view)
    if disk is not None:
        yield _gauge("timelapse_datasets_disk_free_bytes", "Space left for datasets", by_rig, disk.free)
    timelapse = view.timelapse
    if timelapse is not None:
        labels = {**by_rig, "timelapse": timelapse.id}
        yield from _measure_timelapse(labels, view, timelapse, disk)
        if due_at is not None:
            words = "When the next slot must have its record: its grace period is over, and so is a scan"
            yield _gauge("timelapse_next_record_due_timestamp_seconds", words, labels, due_at.timestamp())


def _measure_daemon(labels: Mapping[str, str], view: StoreView) -> Iterator[Metric]:
    daemon = view.daemon
    yield _gauge("timelapse_daemon_up", "Whether the daemon of the rig runs", labels, daemon is not None)
    yield _gauge("timelapse_store_readable", "Whether the relay can read the store", labels, not view.is_stale)
    if daemon is not None and daemon.is_live:
        yield _gauge("timelapse_store_degraded", "Whether the store can't be written", labels, bool(daemon.degraded))
        yield _gauge("timelapse_clock_trusted", "Whether the daemon trusts the clock", labels, daemon.clock_trusted)
        yield _gauge("timelapse_trouble", "Whether the daemon reports trouble", labels, bool(daemon.trouble))


def _measure_delivery(labels: Mapping[str, str], view: StoreView) -> Iterator[Metric]:
    names = [*labels, "target"]
    pending = _family("timelapse_deliveries_pending", "Datasets that wait for a target", names)
    refused = _family("timelapse_deliveries_refused", "Datasets that can't be delivered to a target as they are", names)
    gone = _family("timelapse_deliveries_gone", "Datasets that a target doesn't have, and that are not here", names)
    last = _family("timelapse_delivery_last_timestamp_seconds", "When a target last got a dataset", names)
    oldest = _family(
        "timelapse_delivery_oldest_pending_timestamp_seconds",
        "When the oldest dataset was taken that a target doesn't have yet",
        names,
    )
    for target in view.targets:
        values = [*labels.values(), target.name]
        pending.add_metric(values, target.waiting)
        refused.add_metric(values, target.refused)
        gone.add_metric(values, target.gone)
        if target.delivered_at is not None:
            last.add_metric(values, target.delivered_at.timestamp())
        if target.oldest is not None:
            oldest.add_metric(values, target.oldest.timestamp())
    yield from (family for family in (pending, refused, gone, last, oldest) if family.samples)


def _measure_timelapse(
    labels: Mapping[str, str], view: StoreView, timelapse: TimeLapse, disk: DiskUse | None
) -> Iterator[Metric]:
    states = _family("timelapse_state", "1 for the state of the timelapse, 0 for the others", [*labels, "state"])
    for state in TimeLapseState:
        states.add_metric([*labels.values(), state.value], state is timelapse.state)
    yield states
    yield from _measure_slots(labels, timelapse)
    if view.doubts is not None:
        words = "Pictures of the timelapse that are doubtful, by the verdict on them"
        doubtful = _family("timelapse_doubtful_pictures", words, [*labels, "verdict"])
        doubts = [doubt for doubt in view.doubts if doubt.timelapse == timelapse.id]  # not those of the last one
        for verdict in Verdict:
            n_pictures = sum(doubt.pictures for doubt in doubts if doubt.verdict == verdict)
            doubtful.add_metric([*labels.values(), verdict.value], n_pictures)
        yield doubtful
    following = next_to_take(timelapse)
    to_come = timelapse.schedule_times[following:] if following is not None else ()
    if to_come:
        begins = to_come[0].timestamp()
        yield _gauge("timelapse_next_slot_timestamp_seconds", "When the next slot begins", labels, begins)
    if disk is not None:
        full_slot = disk.full_slot(to_come)
        if full_slot is not None:
            yield _gauge(
                "timelapse_datasets_disk_full_timestamp_seconds",
                "When the disk would be full, by the size of the last dataset; absent where all slots fit",
                labels,
                to_come[full_slot].timestamp(),
            )


def _measure_slots(labels: Mapping[str, str], timelapse: TimeLapse) -> Iterator[Metric]:
    records = [*timelapse.records.values()]
    outcomes = _family("timelapse_slots", "Slots of the schedule by what became of them", [*labels, "outcome"])
    counts = dict.fromkeys([*map(str, RecordStatus), *map(str, BY_PERSONS)], 0)
    counts[RecordStatus.PENDING] = timelapse.n_slots - len(records)
    for record in records:
        counts[record.reason if record.reason in BY_PERSONS else record.status] += 1
    for outcome, count in counts.items():
        outcomes.add_metric([*labels.values(), str(outcome)], count)
    yield outcomes
    attempts = sum(record.attempt for record in records)
    yield _gauge("timelapse_scan_attempts", "Attempts at scans of the timelapse", labels, attempts)
    taken = [record for record in records if record.status is RecordStatus.SUCCEEDED]
    yield from _measure_times(
        "scan_duration", "How long a scan took", labels, [record.took for record in taken if record.took is not None]
    )
    lateness = [
        max(record.started_at - timelapse.schedule_times[record.slot], timedelta(0))
        for record in taken
        if record.started_at is not None
    ]
    yield from _measure_times("scan_lateness", "How long after its time a scan began", labels, lateness)
    ended = [record.finished_at for record in records if record.status.is_final and record.finished_at is not None]
    if ended:
        yield _gauge(
            "timelapse_last_record_timestamp_seconds",
            "When a slot was last recorded as taken, failed, skipped or interrupted",
            labels,
            max(ended).timestamp(),
        )


def _measure_times(what: str, words: str, labels: Mapping[str, str], found: Sequence[timedelta]) -> Iterator[Metric]:
    """Yield the sum and the count of some times, and the last of them."""
    seconds = [time.total_seconds() for time in found]
    family = SummaryMetricFamily(f"timelapse_{what}_seconds", words, labels=[*labels])
    family.add_metric([*labels.values()], len(seconds), sum(seconds))
    yield family
    if seconds:
        yield _gauge(f"timelapse_last_{what}_seconds", f"{words}, the last time", labels, seconds[-1])


def _family(name: str, words: str, labels: Sequence[str]) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, words, labels=labels)


def _gauge(name: str, words: str, labels: Mapping[str, str], value: float) -> GaugeMetricFamily:
    family = _family(name, words, [*labels])
    family.add_metric([*labels.values()], value)
    return family
