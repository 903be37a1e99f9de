"""The sink `deliver`: it brings every dataset that was taken to one target, on a thread of its own."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, Final

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_when_event_set,
    wait_exponential,
    wait_random,
)

from plantimager.timelapse.channel.ledger import Outcome
from plantimager.timelapse.domain.durations import format_duration
from plantimager.timelapse.relay.actions import RelayAction, log_relay
from plantimager.timelapse.relay.deliver.backlog import Backlog
from plantimager.timelapse.relay.deliver.delivery import ServerFailed, Shipment, TargetRefused, Unreachable
from plantimager.timelapse.relay.deliver.pacing import Interrupted, TargetPace
from plantimager.timelapse.relay.sealed_dataset import DatasetGone, DatasetRefused
from plantimager.timelapse.relay.sink import WorksOnLatest
from plantimager.timelapse.support.file_system import describe_disk_error
from plantimager.timelapse.support.text import format_count

if TYPE_CHECKING:
    from pathlib import Path

    from plantimager.timelapse.channel.ledger import Ledger
    from plantimager.timelapse.channel.relay_status import TargetStatus
    from plantimager.timelapse.relay.deliver.delivery import Delivered, Delivery
    from plantimager.timelapse.relay.sink import SinkHost
    from plantimager.timelapse.relay.taken_scans import TakenScan, TakenScans
    from plantimager.timelapse.settings.deliver_config import DeliverTarget

FIRST_WAIT: Final = 1.0
LONGEST_WAIT: Final = 600.0
JITTER: Final = 3.0
"""Seconds between two tries to reach a server, and by chance in addition: rigs that lost it together don't come back
together."""

BETWEEN_STATUS: Final = 1.0
"""Seconds."""
MANY_FAILURES: Final = 3
"""Datasets in a row with which the server failed: then it fails with all."""


class DeliverSink(WorksOnLatest):
    """One target. `run` is its thread; `update` and `status` are for any other."""

    def __init__(
        self,
        name: str,
        target: DeliverTarget,
        delivery: Delivery,
        ledger: Ledger,
        host: SinkHost,
        removed: Ledger,
    ) -> None:
        super().__init__(host)
        self.name, self._target, self._delivery = name, target, delivery
        self._backlog = Backlog(name, ledger, removed, host.clock, newest_first=target.order == "newest")
        self._pace = TargetPace(
            host.clock,
            host.stop,
            is_scanning=self._is_scanning if target.polite else None,
            next_slot_in=self._next_slot_in if target.polite else lambda: inf,
            rate=target.max_rate,
            report=self._report,
        )
        self._trouble = ""
        self._shown_at = -BETWEEN_STATUS
        self.status: TargetStatus | None = None

    def run(self) -> None:
        """Deliver until the relay stops."""
        stop = self._host.stop
        retrying = Retrying(
            retry=retry_if_exception_type(Unreachable),
            wait=wait_exponential(multiplier=FIRST_WAIT, max=LONGEST_WAIT) + wait_random(0, JITTER),
            stop=stop_when_event_set(stop),
            sleep=self._sleep,
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
        self._show()
        self._delivery.close()

    def _sleep(self, seconds: float) -> None:
        """Wait before the next try, until a person asks for one, or the relay stops."""
        self._wait_until(lambda: self._backlog.is_asked_again, seconds)

    # --- one pass ---------------------------------------------------------------------------------

    def _deliver_waiting(self) -> None:
        """Deliver what waits, and wait for more; return where something has to be looked at again.

        Raises
        ------
        Unreachable
            The server doesn't answer, or this host's datasets are out of reach.
        """
        view = self._view
        if view is not None:
            self._backlog.refresh(view.taken)
            self._show(at_once=False)
            scan = self._backlog.next()
            if scan is not None:
                try:
                    self._deliver(scan, view.taken)
                finally:
                    self._backlog.set_sending("")
                self._show(at_once=False)
                return
            self._backlog.report_gone()
            self._show()
        self._wait(view, self._backlog.seconds_until_next())

    def _deliver(self, scan: TakenScan, taken: TakenScans) -> None:
        self._pace.wait_for_turn()
        shipment = Shipment(
            self._directory_of(scan) / scan.scan_id,
            scan,
            taken.database,
            self._pace,
            lambda: self._backlog.record(scan, Outcome.BEGUN),
            was_begun=self._backlog.is_begun(scan),
            progress=partial(self._show_progress, scan),
        )
        began, has_answered = self._host.clock.monotonic(), True
        try:
            delivered = self._delivery.deliver(shipment)
        except DatasetGone as problem:
            has_answered = False
            self._backlog.postpone_gone(scan, str(problem))
        except OSError as problem:
            has_answered = False
            self._backlog.postpone_gone(scan, f"{problem.filename or scan.scan_id}: {describe_disk_error(problem)}")
        except DatasetRefused as problem:
            has_answered = isinstance(problem, TargetRefused)
            self._backlog.record(scan, Outcome.REFUSED, why=str(problem))
            log_relay(RelayAction.DELIVERY_REFUSED, f"{scan.scan_id}, by {self.name}: {problem}", **self._fields(scan))
        except ServerFailed as problem:
            is_new = self._backlog.postpone_failed(scan, str(problem))
            if self._backlog.failures_in_a_row >= MANY_FAILURES:
                raise Unreachable(str(problem)) from None
            if is_new:
                sentence = f"{self.name}: {scan.scan_id}: {problem}; the others go on, and it is tried again later"
                log_relay(RelayAction.DELIVERY_STUCK, sentence, **self._fields(scan))
        else:
            self._record_delivered(scan, delivered, timedelta(seconds=self._host.clock.monotonic() - began))
        if has_answered:
            self._report_well()
        self._trouble = ""  # else it is found again with the next dataset, if there is one

    def _record_delivered(self, scan: TakenScan, delivered: Delivered, took: timedelta) -> None:
        self._backlog.record(
            scan,
            Outcome.DELIVERED,
            files=delivered.files,
            size=delivered.size,
            digest=delivered.digest,
            left=delivered.left,
            by_length=self._target.verify == "length",
        )
        known = delivered.files - delivered.sent
        again = f" ({known} of them were there)" if known else ""
        files = f"{format_count(delivered.files, delivered.what)}{again}"
        waits = f"; {self._backlog.n_waiting} wait" if self._backlog.n_waiting else ""
        self._report_well()
        sentence = f"{scan.scan_id} to {self.name}, {files}, {delivered.size / 1e6:.1f} MB in {format_duration(took)}"
        log_relay(RelayAction.DELIVERED, f"{sentence}{waits}", **self._fields(scan))

    def _directory_of(self, scan: TakenScan) -> Path:
        """Return the directory of a dataset; where that is gone, that of the others of its timelapse.

        Raises
        ------
        Unreachable
            It isn't there.
        """
        directory = self._host.datasets_of([scan.scan_id])
        view = self._view
        if not directory.is_dir() and view is not None:
            taken = (other.scan_id for other in view.taken.scans if other.timelapse_id == scan.timelapse_id)
            directory = self._host.datasets_of(taken)
        if not directory.is_dir():
            raise Unreachable(f"{directory} is not there")
        return directory

    # --- reports ----------------------------------------------------------------------------------

    def _fields(self, scan: TakenScan) -> dict[str, Any]:
        return {"target": self.name, "scan_id": scan.scan_id, "timelapse_id": scan.timelapse_id, "slot": scan.slot}

    def _report_stuck(self, state: RetryCallState) -> None:
        self._report(str(state.outcome.exception()) if state.outcome is not None else "")
        self._show()  # with the same trouble too: nothing is on its way now

    def _report(self, trouble: str) -> None:
        """Report a trouble once, until there is another."""
        if trouble != self._trouble:
            self._trouble = trouble
            n = self._backlog.n_waiting
            waits = f"{n} datasets wait" if n != 1 else "1 dataset waits"
            log_relay(RelayAction.DELIVERY_STUCK, f"{self.name}: {trouble}; {waits}", target=self.name)
            self._show()

    def _report_well(self) -> None:
        if self._trouble:
            self._trouble = ""
            log_relay(RelayAction.DELIVERY_RESUMED, f"{self.name} takes datasets again", target=self.name)

    def _show_progress(self, scan: TakenScan, done: int, of: int) -> None:
        self._backlog.set_sending(f"sending {scan.scan_id}: {done} of {format_count(of, 'file')}")
        self._show(at_once=False)

    def _show(self, *, at_once: bool = True) -> None:
        """Let the status be shown; with many datasets in a row not for each, since all are counted."""
        now = self._host.clock.monotonic()
        if at_once or now >= self._shown_at + BETWEEN_STATUS:
            self._shown_at = now
            status = self._backlog.status(self._trouble)
            if status != self.status:
                self.status = status
                self._host.report()
