"""What a target still has to get: what was taken, minus its ledger."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from plantimager.timelapse.channel.ledger import LedgerEntry, Outcome
from plantimager.timelapse.channel.relay_status import TargetStatus
from plantimager.timelapse.relay.actions import RelayAction, log_relay

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

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

    def __init__(self, name: str, ledger: Ledger, removed: Ledger, clock: Clock) -> None:
        """Take the ledger of the target, and that of the datasets that were ``removed`` here after their delivery."""
        self._name, self._ledger, self._removed, self._clock = name, ledger, removed, clock
        self._taken: tuple[TakenScan, ...] | None = None
        self._waiting: dict[str, TakenScan] = {}
        """Those that may be tried now, in their order; those of which a part is delivered come first."""
        self._postponed: dict[str, tuple[float, TakenScan, bool]] = {}
        """The others, with the time from which on they may be tried again, and whether they are not there."""
        self._reasons: dict[str, str] = {}
        """Why each of those was left, as it was reported; by an empty key the trouble with the ledger."""
        self._gone: list[str] = []
        self.failures_in_a_row = 0

    def refresh(self, taken: TakenScans) -> None:
        """Take up what was taken, and what the ledger says now: ``timelapsectl deliver`` may have written there."""
        is_other = [self._refresh_removed(), self._ledger.move(taken.database)]
        if self._refresh_ledger():
            self._postponed.clear()  # a person asks for another try
        elif taken.scans is self._taken and not any(is_other):
            return
        self._taken = taken.scans
        self._arrange()

    def _refresh_ledger(self) -> bool:
        before, path = len(self._ledger.entries), self._ledger.path
        try:
            was_read = self._ledger.refresh()
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

    def _arrange(self) -> None:
        """Put what waits into its order."""
        lacking = [
            scan
            for scan in self._taken or ()
            if scan.key not in self._removed.entries
            if (entry := self._ledger.known(scan.key)) is None or entry.outcome is Outcome.BEGUN
        ]
        keys = {scan.key for scan in lacking}
        self._postponed = {key: postponed for key, postponed in self._postponed.items() if key in keys}
        ready = [scan for scan in lacking if scan.key not in self._postponed]
        ready.sort(key=lambda scan: self._ledger.known(scan.key) is None)
        self._waiting = {scan.key: scan for scan in ready}

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
        return len(self._waiting) + len(self._postponed)

    def next(self, *, newest_first: bool) -> TakenScan | None:
        """Return the scan whose turn it is. One that was begun goes first: until it is whole, it harms the server."""
        if not self._waiting and self._postponed:
            now = self._clock.monotonic()
            due = [key for key, (until, *_) in self._postponed.items() if until <= now]
            if due:
                for key in due:
                    del self._postponed[key]
                self._arrange()
        first = next(iter(self._waiting.values()), None)
        if newest_first and first is not None and self._ledger.known(first.key) is None:
            return next(reversed(self._waiting.values()))
        return first

    def seconds_until_next(self) -> float | None:
        """Return when `next` may have another answer; ``None`` where that takes a change."""
        if not self._postponed:
            return None
        earliest = min(until for until, *_ in self._postponed.values())
        return max(earliest - self._clock.monotonic(), 0.0) + 1

    def record(self, scan: TakenScan, outcome: Outcome, **about: Any) -> None:
        """Put an outcome into the ledger, ``about`` it further fields of the entry.

        Where the disk refuses it, it counts until the relay stops.
        """
        if outcome is not Outcome.BEGUN:
            self.failures_in_a_row = 0
            self._waiting.pop(scan.key, None)
        at = self._clock.now().isoformat(timespec="seconds")
        try:
            self._ledger.record(LedgerEntry(scan.key, outcome, at, **about))
            self._reasons.pop("", None)
        except OSError as problem:
            self._report_ledger(problem)

    def postpone_gone(self, scan: TakenScan, why: str) -> None:
        """Leave a scan whose dataset is not there for later; `report_gone` names it."""
        self._postpone(scan, GONE_AGAIN, is_gone=True)
        if self._is_new(scan.key, why):
            self._gone.append(why)

    def postpone_failed(self, scan: TakenScan, why: str) -> bool:
        """Leave a scan with which the server failed for later; return whether that is new."""
        self._postpone(scan, FAILED_AGAIN)
        self.failures_in_a_row += 1
        return self._is_new(scan.key, why)

    def _postpone(self, scan: TakenScan, seconds: float, *, is_gone: bool = False) -> None:
        self._waiting.pop(scan.key, None)
        self._postponed[scan.key] = self._clock.monotonic() + seconds, scan, is_gone

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

    def status(self, trouble: str) -> TargetStatus:
        """Return how far the target is."""
        entries, removed, taken = self._ledger.entries, self._removed.entries, self._taken or ()
        known = [entry for scan in taken if (entry := self._ledger.known(scan.key)) is not None]
        outcomes = [entry.outcome for entry in known]
        only_removed = [removed[scan.key] for scan in taken if scan.key in removed and scan.key not in entries]
        were_here = sum(self._name in entry.targets for entry in only_removed)
        lacking = [*self._waiting.values(), *(scan for _, scan, _ in self._postponed.values())]
        return TargetStatus(
            name=self._name,
            taken=len(taken),
            delivered=outcomes.count(Outcome.DELIVERED) + were_here,
            removed=len(only_removed) - were_here,
            refused=outcomes.count(Outcome.REFUSED),
            gone=sum(is_gone for *_, is_gone in self._postponed.values()),
            delivered_at=max(_delivery_times(known), default=None),
            oldest=min((scan.taken_at for scan in lacking), default=None),
            trouble=trouble,
        )

    def _report_ledger(self, problem: OSError) -> None:
        trouble = f"{self._ledger.path}: {problem.strerror or problem}"
        if self._is_new("", trouble):
            sentence = f"{trouble}; what it lacks is compared again after a restart"
            log_relay(RelayAction.LEDGER_NOT_WRITTEN, sentence, target=self._name)


def _delivery_times(entries: Iterable[LedgerEntry]) -> Iterator[datetime]:
    for entry in entries:
        if entry.outcome is Outcome.DELIVERED:
            with suppress(ValueError):  # a line that somebody edited
                yield datetime.fromisoformat(entry.at).astimezone(UTC)
