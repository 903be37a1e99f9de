"""What a target still has to get: what was taken, minus its ledger."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from plantimager.timelapse.channel.ledger import LedgerEntry, Outcome
from plantimager.timelapse.channel.moment import moment_in
from plantimager.timelapse.channel.relay_status import TargetStatus
from plantimager.timelapse.relay.actions import RelayAction, log_relay
from plantimager.timelapse.relay.deliver.scan_queue import ScanQueue

if TYPE_CHECKING:
    from plantimager.timelapse.channel.ledger import Ledger
    from plantimager.timelapse.relay.taken_scans import TakenScan, TakenScans
    from plantimager.timelapse.support.clock import Clock

GONE_AGAIN: Final = 1800.0
FAILED_AGAIN: Final = 900.0
"""Seconds until a dataset is tried again that was not there, or with which the server failed."""
MAX_NAMES: Final = 5
"""Datasets that one line names."""


class Backlog:
    """The scans that one target lacks. One thread."""

    def __init__(self, name: str, ledger: Ledger, removed: Ledger, clock: Clock, *, newest_first: bool = False) -> None:
        """Take the ledger of the target, and that of the datasets that were ``removed`` here after their delivery."""
        self._name, self._ledger, self._removed, self._clock = name, ledger, removed, clock
        self._queue = ScanQueue(self._is_lacking, newest_first=newest_first)
        self._reasons: dict[str, str] = {}
        """Why each of those was left, as it was reported; by an empty key the trouble with the ledger."""
        self._gone: list[str] = []
        self.failures_in_a_row = 0
        self._sending = ""

    def refresh(self, taken: TakenScans) -> None:
        """Take up what was taken, and what the ledger says now: the thread of the control socket writes there, too."""
        is_other = [self._refresh_removed(), self._ledger.move(taken.database)]
        if self._refresh_ledger():
            self._queue.postpone_none()  # a person asks for another try
        elif taken.scans is self._queue.scans and not any(is_other):
            return
        self._queue.arrange(taken.scans, self._begun())

    def _refresh_ledger(self) -> bool:
        before, path = len(self._ledger.entries), self._ledger.path
        try:
            was_read = self._ledger.refresh(mend=True)
        except OSError as problem:
            self._report_ledger(problem)
            return False
        trouble = ""
        if was_read and (n := self._ledger.damaged_lines):
            trouble = f"{n} line{'s' * (n > 1)} can't be read; datasets are compared again"
        elif was_read and before > len(self._ledger.entries) == 0 and not path.exists():
            trouble = "it is gone; all is compared again"
        if trouble:
            log_relay(RelayAction.LEDGER_DAMAGED, f"{path}: {trouble}", target=self._name)
        return was_read

    def _refresh_removed(self) -> bool:
        with suppress(OSError):  # it is told where it is written
            return self._removed.refresh()
        return False

    def _begun(self) -> set[str]:
        return {
            key
            for key, entry in self._ledger.entries.items()
            if entry.outcome is Outcome.BEGUN and self._ledger.known(key) is entry
        }

    def _is_lacking(self, scan: TakenScan) -> bool:
        if not self._ledger.entries and not self._removed.entries:
            return True  # without its key, which takes most of the time where thousands wait
        key = scan.key
        entry = self._ledger.known(key)
        return key not in self._removed.entries and (entry is None or entry.outcome is Outcome.BEGUN)

    def is_begun(self, scan: TakenScan) -> bool:
        """Whether the target may have a part of a scan from us."""
        entry = self._ledger.known(scan.key)
        return entry is not None and entry.outcome is Outcome.BEGUN

    @property
    def is_asked_again(self) -> bool:
        """Whether somebody else wrote the ledger."""
        return self._ledger.has_changed

    @property
    def n_waiting(self) -> int:
        """How many scans the target lacks."""
        return self._queue.n_waiting

    def next(self) -> TakenScan | None:
        """Return the scan whose turn it is."""
        return self._queue.next(self._clock.monotonic())

    def seconds_until_next(self) -> float | None:
        """Return when `next` may have another answer; ``None`` where that takes a change."""
        earliest = self._queue.earliest
        return None if earliest is None else max(earliest - self._clock.monotonic(), 0.0) + 1

    def record(self, scan: TakenScan, outcome: Outcome, **about: Any) -> None:
        """Put an outcome into the ledger, ``about`` it further fields of the entry.

        Where the disk refuses it, it counts until the relay stops.
        """
        if outcome is Outcome.BEGUN:
            self._queue.begin(scan)
        else:
            self.failures_in_a_row = 0
            self._queue.finish(scan)
        at = self._clock.now().isoformat(timespec="seconds")
        try:
            self._ledger.record(LedgerEntry(scan.key, outcome, at, **about))
            self._reasons.pop("", None)
        except OSError as problem:
            self._report_ledger(problem)

    def postpone_gone(self, scan: TakenScan, why: str) -> None:
        """Leave a scan whose dataset is not there for later; `report_gone` names it."""
        self._queue.postpone(scan, self._clock.monotonic() + GONE_AGAIN, is_gone=True)
        if self._is_new(scan.key, why):
            self._gone.append(why)

    def postpone_failed(self, scan: TakenScan, why: str) -> bool:
        """Leave a scan with which the server failed for later; return whether that is new."""
        self._queue.postpone(scan, self._clock.monotonic() + FAILED_AGAIN, is_gone=False)
        self.failures_in_a_row += 1
        return self._is_new(scan.key, why)

    def _is_new(self, key: str, why: str) -> bool:
        is_new = self._reasons.get(key) != why
        self._reasons[key] = why
        return is_new

    def report_gone(self) -> None:
        """Report the datasets that are not there in one line, each once."""
        if self._gone:
            more = f"; and {len(self._gone) - MAX_NAMES} more" if len(self._gone) > MAX_NAMES else ""
            sentence = f"not delivered to {self._name}: {'; '.join(self._gone[:MAX_NAMES])}{more}"
            log_relay(RelayAction.DATASET_GONE, sentence, target=self._name)
            self._gone.clear()

    def set_sending(self, words: str) -> None:
        """Take note of what is on its way now, and how far; empty where nothing is."""
        self._sending = words

    def status(self, trouble: str) -> TargetStatus:
        """Return how far the target is."""
        outcomes, removed = Counter[Outcome](), Counter[bool]()
        delivered_at, oldest, now = None, None, self._clock.now()
        for scan in self._queue.scans:
            if self._is_lacking(scan):
                oldest = scan.taken_at if oldest is None else min(oldest, scan.taken_at)
                continue
            entry = self._ledger.known(scan.key)
            if entry is not None and entry.outcome is not Outcome.BEGUN:
                outcomes[entry.outcome] += 1
                at = moment_in(entry.at) if entry.outcome is Outcome.DELIVERED else None
                if at is not None and (delivered_at or at) <= at <= now:  # else by a clock that was set back since
                    delivered_at = at
            else:  # removed here; delivered where the ledger is lost, and not where it has it at another place
                is_lost = scan.key not in self._ledger.entries
                removed[is_lost and self._name in self._removed.entries[scan.key].targets] += 1
        return TargetStatus(
            name=self._name,
            taken=len(self._queue.scans),
            delivered=outcomes[Outcome.DELIVERED] + removed[True],
            removed=removed[False],
            refused=outcomes[Outcome.REFUSED],
            gone=self._queue.n_gone,
            delivered_at=delivered_at,
            oldest=oldest,
            sending=self._sending,
            trouble=trouble,
        )

    def _report_ledger(self, problem: OSError) -> None:
        trouble = f"{self._ledger.path}: {problem.strerror or problem}"
        if self._is_new("", trouble):
            sentence = f"{trouble}; what it lacks is compared again after a restart"
            log_relay(RelayAction.LEDGER_NOT_WRITTEN, sentence, target=self._name)
