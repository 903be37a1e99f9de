"""The sink `deliver`: it brings every dataset that was taken to one PlantDB server, on a thread of its own."""

from __future__ import annotations

import threading
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    sleep_using_event,
    stop_when_event_set,
    wait_exponential_jitter,
)

from plantimager.timelapse.channel.ledger import Ledger, LedgerEntry, Outcome
from plantimager.timelapse.channel.relay_status import TargetStatus
from plantimager.timelapse.domain.durations import format_duration
from plantimager.timelapse.relay.actions import RelayAction, log_relay
from plantimager.timelapse.relay.outgoing import DatasetGone, DatasetRefused, prepare_dataset
from plantimager.timelapse.relay.pacing import Interrupted, TargetPace
from plantimager.timelapse.relay.plantdb_client import Account, PlantDbClient, ServerFailed, Unreachable
from plantimager.timelapse.relay.plantdb_delivery import deliver_dataset

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from plantimager.timelapse.relay.taken_scans import TakenScan, TakenScans
    from plantimager.timelapse.settings.config import DeliverTarget
    from plantimager.timelapse.support.clock import Clock

FIRST_WAIT: Final = 1.0
LONGEST_WAIT: Final = 600.0
JITTER: Final = 3.0
"""Seconds between two tries to reach a server; rigs that lost it together don't come back together."""

GONE_AGAIN: Final = 1800.0
FAILED_AGAIN: Final = 900.0
"""Seconds until a dataset is tried again that was not there, or with which the server failed."""
MANY_FAILURES: Final = 3
"""Datasets in a row with which the server failed: then it fails with all."""
MAX_NAMES: Final = 5
"""Datasets that one line names."""


class SinkHost(Struct, frozen=True):
    """What the sink takes from its surroundings."""

    datasets: Path
    clock: Clock
    stop: threading.Event
    report: Callable[[], None]
    """Called when `DeliverSink.status` has changed. Any thread."""


class DeliverSink:
    """One target. `run` is its thread; `update` and `status` are for any other."""

    def __init__(self, name: str, target: DeliverTarget, password: str, ledger: Ledger, host: SinkHost) -> None:
        self.name = name
        self._target, self._password, self._host = target, password, host
        self._backlog = _Backlog(name, ledger, host.clock)
        self._changed = threading.Condition()
        self._taken: TakenScans | None = None
        self._trouble = ""
        self._client: tuple[object, PlantDbClient] | None = None
        self.status: TargetStatus | None = None

    def update(self, taken: TakenScans) -> None:
        """Look at what was taken by now, and at the ledger."""
        with self._changed:
            self._taken = taken
            self._changed.notify_all()

    def wake(self) -> None:
        """Let the thread see that the relay stops."""
        with self._changed:
            self._changed.notify_all()

    def run(self) -> None:
        """Deliver until the relay stops."""
        stop = self._host.stop
        retrying = Retrying(
            retry=retry_if_exception_type(Unreachable),
            wait=wait_exponential_jitter(initial=FIRST_WAIT, max=LONGEST_WAIT, jitter=JITTER),
            stop=stop_when_event_set(stop),
            sleep=sleep_using_event(stop),
            before_sleep=self._report_stuck,
            reraise=True,
        )
        while not stop.is_set():
            try:
                with suppress(Interrupted, Unreachable):  # the latter only where the relay stops
                    retrying(self._deliver_waiting)
            except Exception as problem:  # noqa: BLE001 - a mistake of ours stops neither the other targets nor this one
                log_relay(RelayAction.RELAY_FAILED, f"{self.name}: {problem!r}", error=problem, target=self.name)
                stop.wait(LONGEST_WAIT)
        if self._client is not None:
            self._client[1].close()

    # --- one pass ---------------------------------------------------------------------------------

    def _deliver_waiting(self) -> None:
        """Deliver what waits, and wait for more; return where something has to be looked at again.

        Raises
        ------
        Unreachable
            The server doesn't answer, or this host's datasets are out of reach.

        """
        with self._changed:
            taken = self._taken
        if taken is not None:
            self._backlog.refresh(taken)
            self._show()
            scan = self._backlog.next(newest_first=self._target.order == "newest")
            if scan is not None:
                self._deliver(scan)
                return
            self._backlog.report_gone()
        with self._changed:
            if self._taken is taken and not self._host.stop.is_set():
                self._changed.wait(self._backlog.seconds_until_next())

    def _deliver(self, scan: TakenScan) -> None:
        if not self._host.datasets.is_dir():
            raise Unreachable(f"{self._host.datasets} is not there")
        began = self._host.clock.monotonic()
        try:
            dataset = prepare_dataset(self._host.datasets / scan.scan_id, scan)
            sent = deliver_dataset(
                self._connected(),
                dataset,
                self._pace(),
                lambda: self._backlog.record(scan, Outcome.BEGUN),
                by_length=self._target.verify == "length",
            )
        except (DatasetGone, OSError) as problem:
            self._backlog.postpone_gone(scan, str(problem))
        except DatasetRefused as problem:
            self._backlog.record(scan, Outcome.REFUSED, why=str(problem))
            log_relay(RelayAction.DELIVERY_REFUSED, f"{scan.scan_id}, by {self.name}: {problem}", **self._fields(scan))
        except ServerFailed as problem:
            self._backlog.postpone_failed(scan)
            if self._backlog.failures_in_a_row >= MANY_FAILURES:
                raise Unreachable(str(problem)) from None
            self._report(f"{scan.scan_id}: {problem}")
        else:
            self._backlog.record(
                scan, Outcome.DELIVERED, files=len(dataset.files), size=dataset.bytes, digest=dataset.digest
            )
            took = format_duration(timedelta(seconds=self._host.clock.monotonic() - began))
            known = len(dataset.files) - sent
            again = f" ({known} of them were there)" if known else ""
            pictures = f"{len(dataset.files)} picture{'s' * (len(dataset.files) != 1)}{again}"
            waits = f"; {len(self._backlog.waiting)} wait" if self._backlog.waiting else ""
            self._report_well()
            sentence = f"{scan.scan_id} to {self.name}, {pictures}, {dataset.bytes / 1e6:.1f} MB in {took}{waits}"
            log_relay(RelayAction.DELIVERED, sentence, **self._fields(scan))
        self._show()

    def _connected(self) -> PlantDbClient:
        """Return the connection to the server that configuration and store name now."""
        database = self._taken.database if self._taken is not None else {}
        url = self._target.url or database.get("db_url", "")
        if not url:
            raise Unreachable("neither [relay.deliver] nor the store names a url")
        user = self._target.user
        account = Account(user, self._password) if user else Account(token=database.get("api_token", ""))
        if not user and not account.token:
            raise Unreachable("neither a user in [relay.deliver] nor an api_token in the store")
        if self._client is None or self._client[0] != (url, account):
            if self._client is not None:
                self._client[1].close()
            client = PlantDbClient(url, account, self._target.timeout.total_seconds(), self._host.stop)
            self._client = (url, account), client
        return self._client[1]

    def _pace(self) -> TargetPace:
        is_scanning = (lambda: self._taken is not None and self._taken.is_scanning) if self._target.polite else None
        return TargetPace(self._host.clock, self._host.stop, is_scanning=is_scanning, rate=self._target.max_rate)

    # --- reports ----------------------------------------------------------------------------------

    def _fields(self, scan: TakenScan) -> dict[str, Any]:
        return {"target": self.name, "scan_id": scan.scan_id, "timelapse_id": scan.timelapse_id, "slot": scan.slot}

    def _report_stuck(self, state: RetryCallState) -> None:
        self._report(str(state.outcome.exception()) if state.outcome is not None else "")

    def _report(self, trouble: str) -> None:
        """Report a trouble once, until there is another."""
        if trouble != self._trouble:
            self._trouble = trouble
            waits = f"{len(self._backlog.waiting)} dataset{'s' * (len(self._backlog.waiting) != 1)} wait"
            log_relay(RelayAction.DELIVERY_STUCK, f"{self.name}: {trouble}; {waits}", target=self.name)
            self._show()

    def _report_well(self) -> None:
        if self._trouble:
            self._trouble = ""
            log_relay(RelayAction.DELIVERY_RESUMED, f"{self.name} takes datasets again", target=self.name)

    def _show(self) -> None:
        status = self._backlog.status(self._trouble)
        if status != self.status:
            self.status = status
            self._host.report()


class _Backlog:
    """What a target still has to get: what was taken, minus the ledger. The sink's thread."""

    def __init__(self, name: str, ledger: Ledger, clock: Clock) -> None:
        self._name, self._ledger, self._clock = name, ledger, clock
        self._taken: Sequence[TakenScan] = ()
        self._not_before: dict[str, float] = {}
        self._gone: dict[str, str] = {}
        self._reported_gone: set[str] = set()
        self.failures_in_a_row = 0
        self._ledger_trouble = ""

    def refresh(self, taken: TakenScans) -> None:
        """Take up what was taken, and what the ledger says now: ``timelapsectl deliver`` may have written there."""
        self._taken = taken.scans
        before = len(self._ledger.entries)
        try:
            read = self._ledger.refresh()
        except OSError as problem:
            self._report_ledger(problem)
            return
        path = self._ledger.path
        if read and self._ledger.damaged_lines:
            n = self._ledger.damaged_lines
            sentence = f"{path}: {n} line{'s' * (n > 1)} can't be read; those datasets are compared again"
            log_relay(RelayAction.LEDGER_DAMAGED, sentence, target=self._name)
        elif read and before > len(self._ledger.entries) == 0 and not path.exists():
            log_relay(RelayAction.LEDGER_DAMAGED, f"{path} is gone; all is compared again", target=self._name)
        if read:  # a person may have asked for another try
            self._not_before.clear()

    @property
    def waiting(self) -> list[TakenScan]:
        """The scans that the target lacks, in their order."""
        entries = self._ledger.entries
        return [
            scan for scan in self._taken if (entry := entries.get(scan.key)) is None or entry.outcome is Outcome.BEGUN
        ]

    def next(self, *, newest_first: bool) -> TakenScan | None:
        """Return the scan whose turn it is. One that was begun goes first: until it is whole, it harms the server."""
        now = self._clock.monotonic()
        ready = [scan for scan in self.waiting if self._not_before.get(scan.key, now) <= now]
        begun = [scan for scan in ready if scan.key in self._ledger.entries]
        ordered = begun or (ready[::-1] if newest_first else ready)
        return ordered[0] if ordered else None

    def seconds_until_next(self) -> float | None:
        """Return when `next` may have another answer; ``None`` where that takes a change."""
        now = self._clock.monotonic()
        return max(min(self._not_before.values()) - now, 0.0) + 1 if self._not_before else None

    def record(
        self, scan: TakenScan, outcome: Outcome, *, files: int = 0, size: int = 0, digest: str = "", why: str = ""
    ) -> None:
        """Put an outcome into the ledger; where the disk refuses it, it counts until the relay stops."""
        self.failures_in_a_row = 0
        self._gone.pop(scan.key, None)
        self._not_before.pop(scan.key, None)
        at = self._clock.now().isoformat(timespec="seconds")
        try:
            self._ledger.record(LedgerEntry(scan.key, outcome, at, files, size, digest, why))
            self._ledger_trouble = ""
        except OSError as problem:
            self._report_ledger(problem)

    def postpone_gone(self, scan: TakenScan, why: str) -> None:
        """Leave a scan whose dataset is not there for later; `report_gone` names it."""
        self._not_before[scan.key] = self._clock.monotonic() + GONE_AGAIN
        self._gone[scan.key] = why

    def postpone_failed(self, scan: TakenScan) -> None:
        """Leave a scan with which the server failed for later."""
        self._not_before[scan.key] = self._clock.monotonic() + FAILED_AGAIN
        self.failures_in_a_row += 1

    def report_gone(self) -> None:
        """Report the datasets that are not there in one line, each once."""
        fresh = {key: why for key, why in self._gone.items() if key not in self._reported_gone}
        if fresh:
            self._reported_gone |= fresh.keys()
            more = f"; and {len(fresh) - MAX_NAMES} more" if len(fresh) > MAX_NAMES else ""
            sentence = f"not delivered to {self._name}: {'; '.join([*fresh.values()][:MAX_NAMES])}{more}"
            log_relay(RelayAction.DATASET_GONE, sentence, target=self._name)

    def status(self, trouble: str) -> TargetStatus:
        """Return how far the target is."""
        outcomes = [entry.outcome for scan in self._taken if (entry := self._ledger.entries.get(scan.key)) is not None]
        return TargetStatus(
            name=self._name,
            taken=len(self._taken),
            delivered=outcomes.count(Outcome.DELIVERED),
            refused=outcomes.count(Outcome.REFUSED),
            oldest=min((scan.taken_at for scan in self.waiting), default=None),
            trouble=trouble,
        )

    def _report_ledger(self, problem: OSError) -> None:
        trouble = f"{self._ledger.path}: {problem.strerror or problem}"
        if trouble != self._ledger_trouble:
            self._ledger_trouble = trouble
            sentence = f"{trouble}; what it lacks is compared again after a restart"
            log_relay(RelayAction.LEDGER_NOT_WRITTEN, sentence, target=self._name)
