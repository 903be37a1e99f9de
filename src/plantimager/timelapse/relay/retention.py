"""Retention: datasets that every target has are removed here, the oldest first, where the configuration asks for that.

A dataset counts as delivered for this only where every configured target's ledger has it with the digest of the receipt
that is here now, compared by content, and one target has all of its files. Before it goes it is read once more: what
somebody has changed or added since the scan may be the only copy, and stays. So does one that a target doesn't have
any more when this host has it under another name: the target's directory may be this very one.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING, Final

from plantimager.timelapse.channel.ledger import Ledger, LedgerEntry, Outcome
from plantimager.timelapse.datasets.contents import dataset_files
from plantimager.timelapse.datasets.disk_space import format_bytes
from plantimager.timelapse.datasets.receipt import FILES, RECEIPT, other_owner
from plantimager.timelapse.datasets.set_aside import removal_name
from plantimager.timelapse.relay.actions import RelayAction, log_relay
from plantimager.timelapse.relay.deletable import check_deletable, describe_refusal
from plantimager.timelapse.relay.delivery import ServerFailed, Unreachable
from plantimager.timelapse.relay.pacing import Interrupted, TargetPace
from plantimager.timelapse.relay.sealed_dataset import DatasetGone, DatasetRefused, read_sealed
from plantimager.timelapse.relay.sink import LatestView
from plantimager.timelapse.relay.verified import digest_everywhere, entries_everywhere, objection_to_removal
from plantimager.timelapse.support.durable import sync_directory
from plantimager.timelapse.support.text import format_count

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from plantimager.timelapse.relay.delivery import Delivery
    from plantimager.timelapse.relay.sink import SinkHost
    from plantimager.timelapse.relay.store_view import DaemonFacts, StoreView
    from plantimager.timelapse.relay.taken_scans import TakenScan, TakenScans
    from plantimager.timelapse.scan.request import Owner
    from plantimager.timelapse.settings.deliver_config import RetentionRules

LOOK_AGAIN: Final = 3600.0
"""Seconds between two passes where nothing changes: a day passes, or another program fills the disk."""
KEPT_AGAIN: Final = 86_400.0
"""Seconds until a dataset that had to stay is read again."""


class RetentionSink:
    """One sink of the relay: its thread runs `run`, any other `update` and `wake`."""

    name = "retention"
    status = None

    def __init__(
        self,
        rules: RetentionRules,
        ledgers: Mapping[str, Ledger],
        removed: Path,
        owner: Owner,
        host: SinkHost,
        deliveries: Mapping[str, Delivery],
    ) -> None:
        """``deliveries`` are this thread's own, by the names of their targets."""
        self._rules, self._owner, self._host = rules, owner, host
        self._ledgers, self._deliveries = ledgers, deliveries
        self._removed = Ledger(removed)
        self._kept: dict[str, tuple[float, str]] = {}
        """Datasets that had to stay, by their keys, with the time from which on they are read again, and the reason.

        Under a reason itself: that it was told of a kind of datasets.
        """
        self._told = ""
        self._is_tidy = False
        """Whether no dataset waits half deleted."""
        self._latest = LatestView(host.stop)

    def update(self, view: StoreView) -> None:
        """Look at what was taken by now, and at the ledgers."""
        self._latest.put(view)

    def wake(self) -> None:
        """Let the thread see that the relay stops."""
        self._latest.wake()

    def run(self) -> None:
        """Remove what may go until the relay stops."""
        view: StoreView | None = None
        while not self._host.stop.is_set():
            view = self._latest.wait(view, LOOK_AGAIN)
            if view is None or self._host.stop.is_set():
                continue
            try:
                self.remove_due(view.taken, is_clock_trusted=self._is_clock_trusted(view.daemon))
            except OSError as problem:
                self._report_kept([describe_refusal(problem)])
            except Exception as problem:  # noqa: BLE001 - a mistake of ours stops no delivery
                log_relay(RelayAction.RELAY_FAILED, f"retention: {problem!r}", error=problem)

    def _is_clock_trusted(self, daemon: DaemonFacts | None) -> bool:
        """Return the daemon's own word; without one that of the kernel."""
        if daemon is not None and daemon.is_live:
            return daemon.clock_trusted
        return self._host.clock.evidence().kernel_synchronised

    def remove_due(self, taken: TakenScans, *, is_clock_trusted: bool) -> None:
        """Make one pass, and report it in one line. By a clock that isn't trusted nothing is old enough.

        Raises
        ------
        OSError
            A directory or a ledger can't be read or written.

        """
        for ledger in (*self._ledgers.values(), self._removed):
            if ledger.refresh(mend=ledger is self._removed) and ledger is self._removed and ledger.damaged_lines:
                log_relay(RelayAction.LEDGER_DAMAGED, f"{ledger.path}: some lines can't be read, and are removed")
            ledger.move(taken.database)
        kept = [*self._barred(taken.scans), *([] if self._is_tidy else self._finish(taken))]
        gone: list[LedgerEntry] = []
        try:
            for scan in self._candidates(taken.scans):
                if self._host.stop.is_set() or not self._is_due(scan, is_clock_trusted=is_clock_trusted):
                    break
                try:
                    gone.append(self._remove(scan, taken))
                except _Stays as objection:
                    if self._host.stop.is_set():
                        break
                    if self._keep(scan, str(objection)):
                        kept.append(f"{scan.scan_id} stays here: {objection}")
        finally:
            self._report_removed(gone)
        self._report_kept(kept)

    def _candidates(self, scans: Iterable[TakenScan]) -> Iterator[TakenScan]:
        """Yield the scans whose datasets may go, the oldest first."""
        now = self._host.clock.monotonic()
        for scan in sorted(scans, key=lambda scan: scan.taken_at):
            is_known = scan.key in self._removed.entries or self._kept.get(scan.key, (now, ""))[0] > now
            if not is_known and digest_everywhere(self._ledgers, scan.key):
                yield scan

    def _barred(self, scans: Iterable[TakenScan]) -> Iterator[str]:
        """Yield why datasets of a kind that every target has are never removed, each reason once."""
        for scan in scans:
            objection = objection_to_removal(entries_everywhere(self._ledgers, scan.key))
            if objection and objection not in self._kept:
                self._kept[objection] = inf, ""
                yield f"{scan.scan_id} and others like it stay here: {objection}"

    def _is_due(self, scan: TakenScan, *, is_clock_trusted: bool) -> bool:
        keep = self._rules.keep if is_clock_trusted else None
        return self._is_short() or (keep is not None and self._host.clock.now() - scan.taken_at > keep)

    def _is_short(self) -> bool:
        keep_free = self._rules.keep_free
        return keep_free is not None and self._free() < keep_free

    def _free(self) -> int:
        directory = self._host.datasets_of(())
        return shutil.disk_usage(next(path for path in (directory, *directory.parents) if path.exists())).free

    # --- one dataset ------------------------------------------------------------------------------

    def _remove(self, scan: TakenScan, taken: TakenScans) -> LedgerEntry:
        """Remove one dataset; return its entry.

        Raises
        ------
        _Stays
            It is here afterwards, or a part of it under another name. Without words where it is gone already.

        """
        directory = self._host.datasets_of([scan.scan_id]) / scan.scan_id
        try:
            sealed = read_sealed(directory, scan)
            check_deletable(directory)
        except DatasetGone:
            raise _Stays from None
        except DatasetRefused as problem:
            raise _Stays(str(problem)) from None
        except OSError as problem:
            raise _Stays(describe_refusal(problem)) from None
        added = next((path for path in dataset_files(directory) if path not in sealed.files), None)
        if other_owner(sealed.receipt, self._owner) is not None:
            raise _Stays("it is another rig's")
        if not isinstance(sealed.receipt.get(FILES), dict):
            raise _Stays("its receipt has no digests")
        if added is not None:
            raise _Stays(f"{added.relative_to(directory)} was added after the scan")
        if not self._is_still(scan, sealed.digest):
            raise _Stays("it is not what was delivered")
        aside = directory.with_name(removal_name(scan.scan_id, scan.key, self._owner))
        was_tidy, self._is_tidy = self._is_tidy, False
        directory.rename(aside)
        try:
            sync_directory(directory.parent)
            if objection := self._last_objection(scan, aside, taken):
                aside.rename(directory)
                sync_directory(directory.parent)
                self._is_tidy = was_tidy
                raise _Stays(objection)
            entry = self._finish_one(scan, aside)
        except OSError as problem:
            raise _Stays(f"a part of it, as {aside.name}: {describe_refusal(problem)}") from None
        self._is_tidy = was_tidy
        return entry

    def _last_objection(self, scan: TakenScan, aside: Path, taken: TakenScans) -> str:
        """Return why a dataset that is under another name here may be the only copy, asked of each target; empty else.

        One that can't be asked had it, verified: a disk that is short for weeks without a network costs time points.
        """
        if scan.key in self._removed.entries or not (aside / RECEIPT).exists():
            return ""  # its deletion has begun
        pace = TargetPace(self._host.clock, self._host.stop, is_scanning=None, rate=None)
        for name, delivery in self._deliveries.items():
            with suppress(Unreachable, ServerFailed, Interrupted, DatasetGone):
                if not delivery.still_has(aside, scan, taken, pace):
                    return f"{name} doesn't have it any more, or has it in this very directory"
        return "the relay stops" if self._host.stop.is_set() else ""

    def _is_still(self, scan: TakenScan, digest: str) -> bool:
        """Return whether the ledgers say so now: a person may have had one forget it while the dataset was read."""
        for ledger in self._ledgers.values():
            ledger.refresh()
        return digest_everywhere(self._ledgers, scan.key) == digest

    def _keep(self, scan: TakenScan, objection: str) -> bool:
        """Leave a dataset for a day; return whether that is to be reported."""
        _, before = self._kept.get(scan.key, (0.0, ""))
        self._kept[scan.key] = self._host.clock.monotonic() + KEPT_AGAIN, objection
        return objection not in {"", before}

    def _finish(self, taken: TakenScans) -> list[str]:
        """Delete what an earlier pass was about to delete; return what can't be deleted now, either."""
        scans = taken.scans
        directories = {self._host.datasets_of(()), self._host.datasets_of(scan.scan_id for scan in scans)}
        by_name = {removal_name(scan.scan_id, scan.key, self._owner): scan for scan in scans}
        problems = []
        for directory in directories:
            for aside in [path for path in directory.iterdir() if path.name in by_name] if directory.is_dir() else ():
                if objection := self._last_objection(by_name[aside.name], aside, taken):
                    problems.append(f"{aside.name} isn't deleted: {objection}")
                    continue
                try:
                    self._finish_one(by_name[aside.name], aside)
                except OSError as problem:
                    problems.append(f"{aside.name} can't be deleted: {describe_refusal(problem)}")
        self._is_tidy = not problems
        return problems

    def _finish_one(self, scan: TakenScan, aside: Path) -> LedgerEntry:
        """Record a dataset that was renamed as removed, and delete it."""
        known = next((known for ledger in self._ledgers.values() if (known := ledger.entries.get(scan.key))), None)
        at = self._host.clock.now().isoformat(timespec="seconds")
        about = (0, 0, "") if known is None else (known.files, known.size, known.digest)
        entry = LedgerEntry(scan.key, Outcome.REMOVED, at, *about, why=", ".join(self._ledgers))
        if scan.key not in self._removed.entries:
            with suppress(OSError):  # no space, perhaps: the next line makes some
                self._removed.record(entry)
        shutil.rmtree(aside)
        sync_directory(aside.parent)
        if self._removed.has_changed or scan.key not in self._removed.entries:
            self._removed.record(entry)
        return entry

    # --- reports ----------------------------------------------------------------------------------

    def _report_removed(self, gone: Sequence[LedgerEntry]) -> None:
        if gone:
            first, last = gone[0].scan_id, gone[-1].scan_id
            named = first if first == last else f"{first} … {last}"
            size = format_bytes(sum(entry.size for entry in gone))
            what = f"{format_count(len(gone), 'dataset')} ({named}), {size}"
            free = f"{format_bytes(self._free())} free"
            log_relay(RelayAction.DATASETS_REMOVED, f"{what}, after delivery to {', '.join(self._ledgers)}; {free}")
            self._told = ""

    def _report_kept(self, sentences: Sequence[str]) -> None:
        """Report what had to stay in one line: the first, how many more, and whether the disk is short."""
        parts = [*sentences[:1]]
        if len(sentences) > 1:
            parts.append(f"{len(sentences) - 1} more stay, too")
        if self._is_short():
            wanted = format_bytes(self._rules.keep_free or 0)
            parts.append(f"less than {wanted} free, and no other dataset is verified at every target")
        sentence = "; ".join(parts)
        if sentence and sentence != self._told:
            self._told = sentence
            log_relay(RelayAction.DATASETS_KEPT, sentence)


class _Stays(Exception):
    """The reason why a dataset is not removed."""
