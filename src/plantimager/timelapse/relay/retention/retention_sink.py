"""Retention: datasets that every target has are removed here, the oldest first, where the configuration asks for that.

A dataset counts as delivered for this only where every configured target's ledger has it with the digest of the receipt
that is here now, compared by content, and one target has all of its files. Before it goes it is read once more: what
somebody has changed or added since the scan may be the only copy, and stays. It is then given another name, and every
target is asked: where one doesn't say that it has it even now, it gets its name back, since the target's directory may
be this very one. Its deletion begins with the receipt; what was only renamed by then gets its name back after a kill.
"""

from __future__ import annotations

import shutil
from math import inf
from typing import TYPE_CHECKING, Final

from plantimager.timelapse.channel.ledger import Ledger, LedgerEntry, Outcome
from plantimager.timelapse.datasets.disk_space import format_bytes
from plantimager.timelapse.datasets.receipt import RECEIPT
from plantimager.timelapse.datasets.set_aside import removal_name
from plantimager.timelapse.relay.actions import RelayAction, log_relay
from plantimager.timelapse.relay.deliver.delivery import Unreachable
from plantimager.timelapse.relay.deliver.pacing import Interrupted
from plantimager.timelapse.relay.retention import deletable
from plantimager.timelapse.relay.retention.other_copies import NAME, OtherCopies
from plantimager.timelapse.relay.sealed_dataset import DatasetGone
from plantimager.timelapse.relay.sink import WorksOnLatest
from plantimager.timelapse.settings.deliver_config import RetentionRules
from plantimager.timelapse.support.durable import sync_directory
from plantimager.timelapse.support.file_system import is_there
from plantimager.timelapse.support.text import format_count

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from plantimager.timelapse.channel.relay_status import SinkStatus
    from plantimager.timelapse.relay.deliver.delivery import Delivery
    from plantimager.timelapse.relay.sink import SinkHost
    from plantimager.timelapse.relay.store_view import DaemonFacts, StoreView
    from plantimager.timelapse.relay.taken_scans import TakenScan, TakenScans
    from plantimager.timelapse.scan.request import Owner

LOOK_AGAIN: Final = 3600.0
"""Seconds between two passes where nothing changes."""
KEPT_AGAIN: Final = 86_400.0
"""Seconds until a dataset that had to stay is read again."""


class RetentionSink(WorksOnLatest):
    """One sink of the relay: its thread runs `run`, any other `update` and `wake`.

    Without rules it removes nothing but what an earlier one had begun to remove, and has no name.
    """

    def __init__(
        self,
        rules: RetentionRules,
        ledgers: Mapping[str, Ledger],
        removed: Path,
        owner: Owner,
        host: SinkHost,
        deliveries: Mapping[str, Delivery],
    ) -> None:
        """``deliveries`` are this thread's own, by the names of their targets; none without rules."""
        super().__init__(host)
        self._rules, self._owner = rules, owner
        self._ledgers, self._removed = ledgers, Ledger(removed)
        self._copies = OtherCopies(deliveries, host, self._is_scanning)
        self._kept: dict[str, tuple[float, str]] = {}
        """Datasets that had to stay, by their keys, with the time from which on they are read again, and the reason.

        Under a reason itself: that it was told of a kind of datasets.
        """
        self._told = ""
        self._tidy: object = None
        """The `_places` in which no dataset waits half deleted; a disk or a store that is there later brings more."""

    @property
    def name(self) -> str:
        """In the journal and the status; empty without rules."""
        return NAME if self._rules != RetentionRules() else ""

    @property
    def status(self) -> SinkStatus | None:
        """Why nothing can be removed, while a target can't be asked."""
        return self._copies.status

    def run(self) -> None:
        """Remove what may go until the relay stops."""
        view: StoreView | None = None
        while not self._host.stop.is_set():
            view = self._wait(view, LOOK_AGAIN)
            if view is None or self._host.stop.is_set():
                continue
            try:
                self.remove_due(view.taken, is_clock_trusted=self._is_clock_trusted(view.daemon))
            except OSError as problem:
                self._report_kept([deletable.describe_refusal(problem)])
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
        scans = taken.scans if self.name else ()
        kept, gone, trouble = [*self._barred(scans)], list[LedgerEntry](), ""
        try:
            kept += self._finish(taken.scans, gone)
            for scan in self._candidates(scans):
                if self._host.stop.is_set() or not self._is_due(scan, is_clock_trusted=is_clock_trusted):
                    break
                if trouble := self._copies.trouble:
                    break
                try:
                    gone.append(self._remove(scan, taken))
                except deletable.Stays as objection:
                    if self._keep(scan, str(objection)):
                        kept.append(f"{scan.scan_id} stays here: {objection}")
                except Unreachable:
                    trouble = self._copies.trouble
                    break
                except Interrupted:
                    break
        finally:
            self._copies.close()
            self._report_removed(gone)
        self._copies.show(trouble)
        self._report_kept(kept, trouble)

    def _candidates(self, scans: Iterable[TakenScan]) -> Iterator[TakenScan]:
        """Yield the scans whose datasets may go, the oldest first."""
        now = self._host.clock.monotonic()
        for scan in sorted(scans, key=lambda scan: scan.taken_at):
            is_known = scan.key in self._removed.entries or self._kept.get(scan.key, (now, ""))[0] > now
            if not is_known and deletable.digest_everywhere(self._ledgers, scan.key):
                yield scan

    def _barred(self, scans: Iterable[TakenScan]) -> Iterator[str]:
        """Yield why datasets of a kind that every target has are never removed, each reason once."""
        for scan in scans:
            objection = deletable.objection_to_removal(deletable.entries_everywhere(self._ledgers, scan.key))
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
        Stays
            It is here afterwards, or a part of it under another name. Without words where it is gone already.
        """
        directory = self._host.datasets_of([scan.scan_id]) / scan.scan_id
        sealed = deletable.read_deletable(directory, scan, self._owner)
        if not self._is_still(scan, sealed.digest):
            raise deletable.Stays("it is not what was delivered")
        self._copies.wait_for_turn()
        aside = directory.with_name(removal_name(scan.scan_id, scan.key, self._owner))
        tidy, self._tidy = self._tidy, None
        directory.rename(aside)
        try:
            objection = self._last_objection(scan, aside, taken, sealed.digest)
            if not objection:
                entry = self._finish_one(scan, aside)
        except OSError as problem:
            raise deletable.Stays(f"as {aside.name}: {deletable.describe_refusal(problem)}") from None
        self._tidy = tidy
        if objection:
            raise deletable.Stays(objection)
        return entry

    def _last_objection(self, scan: TakenScan, aside: Path, taken: TakenScans, digest: str) -> str:
        """Return why a dataset may be the only copy, which has its own name again then, as after any exception."""
        objection = "it has another name"
        try:
            sync_directory(aside.parent)
            objection = self._copies.objection(aside, scan, taken)
            if not objection and not self._is_still(scan, digest):
                objection = "it is not what was delivered"
        except (OSError, DatasetGone) as problem:
            objection = str(problem)
        finally:
            if objection:
                deletable.put_back(aside, scan)
        return objection

    def _is_still(self, scan: TakenScan, digest: str) -> bool:
        """Return whether the ledgers say so now: a person may have had one forget it while the dataset was read."""
        for ledger in self._ledgers.values():
            ledger.refresh()
        return deletable.digest_everywhere(self._ledgers, scan.key) == digest

    def _keep(self, scan: TakenScan, objection: str) -> bool:
        """Leave a dataset for a day; return whether that is to be reported."""
        _, before = self._kept.get(scan.key, (0.0, ""))
        self._kept[scan.key] = self._host.clock.monotonic() + KEPT_AGAIN, objection
        return objection not in {"", before}

    def _finish(self, scans: Sequence[TakenScan], gone: list[LedgerEntry]) -> list[str]:
        """Delete what was begun before a kill, give all else its name back, and return what can't be finished now."""
        places = self._places(scans)
        if places == self._tidy:
            return []
        by_name = {removal_name(scan.scan_id, scan.key, self._owner): scan for scan in scans}
        problems = []
        for aside in [path for place in places for path in place.iterdir() if path.name in by_name]:
            scan = by_name[aside.name]
            try:
                if scan.key in self._removed.entries or not is_there(aside / RECEIPT):
                    gone.append(self._finish_one(scan, aside))
                else:
                    deletable.put_back(aside, scan)
            except OSError as problem:
                problems.append(f"{aside.name} is left: {deletable.describe_refusal(problem)}")
        self._tidy = None if problems else places
        return problems

    def _places(self, scans: Sequence[TakenScan]) -> Mapping[Path, object]:
        """Return the directories of the datasets, each with what changes when a disk is mounted or a scan is taken."""
        directories = {self._host.datasets_of(()), self._host.datasets_of(scan.scan_id for scan in scans)}
        status = {place: place.stat() for place in directories if place.is_dir()}
        return {place: (now.st_dev, now.st_ino, len(scans)) for place, now in status.items()}

    def _finish_one(self, scan: TakenScan, aside: Path) -> LedgerEntry:
        """Record a dataset that was renamed as removed, and delete it."""
        known = next((known for ledger in self._ledgers.values() if (known := ledger.entries.get(scan.key))), None)
        at = self._host.clock.now().isoformat(timespec="seconds")
        about = (0, 0, "") if known is None else (known.files, known.size, known.digest)
        entry = LedgerEntry(scan.key, Outcome.REMOVED, at, *about, why=", ".join(self._ledgers))
        if scan.key not in self._removed.entries:
            try:
                self._removed.record(entry)
            except OSError:  # no space, perhaps: the next lines make some
                self._removed.entries.pop(scan.key, None)
        (aside / RECEIPT).unlink(missing_ok=True)  # from here on it is a dataset no more
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
            targets = f" to {', '.join(self._ledgers)}" if self._ledgers else ""
            free = f"{format_bytes(self._free())} free"
            log_relay(RelayAction.DATASETS_REMOVED, f"{what}, after delivery{targets}; {free}")
            self._told = ""

    def _report_kept(self, sentences: Sequence[str], trouble: str = "") -> None:
        """Report what had to stay in one line: the first, how many more, and whether the disk is short."""
        parts = [*filter(None, [trouble]), *sentences[:1]]
        if len(sentences) > 1:
            parts.append(f"{len(sentences) - 1} more stay, too")
        if self._is_short():
            wanted = format_bytes(self._rules.keep_free or 0)
            parts.append(f"less than {wanted} free")
            if not trouble:
                parts[-1] += ", and no other dataset is verified at every target"
        sentence = "; ".join(parts)
        if sentence and sentence != self._told:
            self._told = sentence
            log_relay(RelayAction.DATASETS_KEPT, sentence)
