"""Retention: datasets that every target has are removed here, the oldest first, where the configuration asks for that.

A dataset counts as delivered for this only where every configured target's ledger has it with the digest of the receipt
that is here now, compared by content, and one target has all of its files. Before it goes it is read once more: what
somebody has changed or added since the scan may be the only copy, and stays.
"""

from __future__ import annotations

import errno
import shutil
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from plantimager.timelapse.channel.ledger import Ledger, LedgerEntry, Outcome
from plantimager.timelapse.datasets.contents import dataset_files
from plantimager.timelapse.datasets.disk_space import format_bytes
from plantimager.timelapse.datasets.receipt import FILES, other_owner
from plantimager.timelapse.datasets.set_aside import removal_name
from plantimager.timelapse.relay.actions import RelayAction, log_relay
from plantimager.timelapse.relay.sealed_dataset import DatasetGone, DatasetRefused, read_sealed
from plantimager.timelapse.support.durable import sync_directory
from plantimager.timelapse.support.text import format_count

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from plantimager.timelapse.relay.sink import SinkHost
    from plantimager.timelapse.relay.store_view import StoreView
    from plantimager.timelapse.relay.taken_scans import TakenScan, TakenScans
    from plantimager.timelapse.scan.request import Owner
    from plantimager.timelapse.settings.deliver_config import RetentionRules

LOOK_AGAIN: Final = 3600.0
"""Seconds between two passes where nothing changes: a day passes, or another program fills the disk."""
KEPT_AGAIN: Final = 86_400.0
"""Seconds until a dataset that had to stay is read again."""

_NOT_ALLOWED: Final = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})


class RetentionSink:
    """One sink of the relay: its thread runs `run`, any other `update` and `wake`."""

    name = "retention"
    status = None

    def __init__(
        self, rules: RetentionRules, ledgers: Mapping[str, Path], removed: Path, owner: Owner, host: SinkHost
    ) -> None:
        self._rules, self._owner, self._host = rules, owner, host
        self._ledgers = {name: Ledger(path) for name, path in ledgers.items()}
        self._removed = Ledger(removed)
        self._kept: dict[str, float] = {}
        """Datasets that had to stay, by their keys, with the time from which on they are read again."""
        self._told = ""
        self._is_tidy = False
        """Whether no dataset waits half deleted."""
        self._changed = threading.Condition()
        self._taken: TakenScans | None = None

    def update(self, view: StoreView) -> None:
        """Look at what was taken by now, and at the ledgers."""
        with self._changed:
            self._taken = view.taken
            self._changed.notify_all()

    def wake(self) -> None:
        """Let the thread see that the relay stops."""
        with self._changed:
            self._changed.notify_all()

    def run(self) -> None:
        """Remove what may go until the relay stops."""
        while not self._host.stop.is_set():
            with self._changed:
                taken = self._taken
            if taken is not None:
                try:
                    self.remove_due(taken)
                except OSError as problem:
                    self._report_kept(_describe(problem))
                except Exception as problem:  # noqa: BLE001 - a mistake of ours stops no delivery
                    log_relay(RelayAction.RELAY_FAILED, f"retention: {problem!r}", error=problem)
            with self._changed:
                if self._taken is taken and not self._host.stop.is_set():
                    self._changed.wait(LOOK_AGAIN)

    def remove_due(self, taken: TakenScans) -> None:
        """Make one pass, and report it in one line.

        Raises
        ------
        OSError
            A directory or a ledger can't be read or written.

        """
        for ledger in (*self._ledgers.values(), self._removed):
            ledger.refresh()
        if not self._is_tidy:
            self._finish(taken.scans)
            self._is_tidy = True
        gone: list[LedgerEntry] = []
        try:
            for scan in self._candidates(taken.scans):
                if self._host.stop.is_set() or not self._is_due(scan):
                    break
                if (entry := self._remove(scan)) is not None:
                    gone.append(entry)
        finally:
            self._report_removed(gone)
        self._report_short()

    def _candidates(self, scans: Iterable[TakenScan]) -> Iterator[TakenScan]:
        """Yield the scans whose datasets may go, the oldest first."""
        now = self._host.clock.monotonic()
        for scan in sorted(scans, key=lambda scan: scan.taken_at):
            is_known = scan.key in self._removed.entries or self._kept.get(scan.key, now) > now
            if not is_known and self._digest_everywhere(scan):
                yield scan

    def _digest_everywhere(self, scan: TakenScan) -> str:
        """Return the digest with which every target has a dataset; empty where one hasn't, or not verified."""
        entries = [ledger.entries.get(scan.key) for ledger in self._ledgers.values()]
        known = [entry for entry in entries if entry is not None and entry.outcome is Outcome.DELIVERED]
        digests = {entry.digest for entry in known}
        is_verified = len(known) == len(entries) and not any(entry.by_length for entry in known)
        is_whole = any(entry.left == 0 for entry in known)
        return digests.pop() if is_verified and is_whole and len(digests) == 1 else ""

    def _is_due(self, scan: TakenScan) -> bool:
        keep = self._rules.keep
        return self._is_short() or (keep is not None and self._host.clock.now() - scan.taken_at > keep)

    def _is_short(self) -> bool:
        keep_free = self._rules.keep_free
        return keep_free is not None and self._free() < keep_free

    def _free(self) -> int:
        return shutil.disk_usage(self._host.datasets_of(())).free

    # --- one dataset ------------------------------------------------------------------------------

    def _remove(self, scan: TakenScan) -> LedgerEntry | None:
        """Remove one dataset; return its entry, ``None`` where it stays."""
        directory = self._host.datasets_of([scan.scan_id]) / scan.scan_id
        objection = ""
        try:
            sealed = read_sealed(directory, scan)
        except DatasetGone:
            self._keep(scan)
            return None
        except (DatasetRefused, OSError) as problem:
            objection = str(problem)
        else:
            added = next((path for path in dataset_files(directory) if path not in sealed.files), None)
            if other_owner(sealed.receipt, self._owner) is not None:
                objection = "it is another rig's"
            elif not isinstance(sealed.receipt.get(FILES), dict):
                objection = "its receipt has no digests"
            elif added is not None:
                objection = f"{added.relative_to(directory)} was added after the scan"
            elif not self._is_still(scan, sealed.digest):
                objection = "it is not what was delivered"
        if objection:
            self._keep(scan)
            self._report_kept(f"{scan.scan_id} stays here: {objection}")
            return None
        aside = directory.with_name(self._removal_name(scan))
        directory.rename(aside)
        self._is_tidy = False
        sync_directory(directory.parent)
        entry = self._finish_one(scan, aside)
        self._is_tidy = True
        return entry

    def _is_still(self, scan: TakenScan, digest: str) -> bool:
        """Return whether the ledgers say so now: a person may have had one forget it while the dataset was read."""
        for ledger in self._ledgers.values():
            ledger.refresh()
        return self._digest_everywhere(scan) == digest

    def _keep(self, scan: TakenScan) -> None:
        self._kept[scan.key] = self._host.clock.monotonic() + KEPT_AGAIN

    def _removal_name(self, scan: TakenScan) -> str:
        return removal_name(scan.scan_id, scan.key, self._owner)

    def _finish(self, scans: Sequence[TakenScan]) -> None:
        """Delete what an earlier relay was about to delete when it was killed."""
        directories = {self._host.datasets_of(()), self._host.datasets_of(scan.scan_id for scan in scans)}
        by_name = {self._removal_name(scan): scan for scan in scans}
        for directory in directories:
            for aside in [path for path in directory.iterdir() if path.name in by_name] if directory.is_dir() else ():
                self._finish_one(by_name[aside.name], aside)

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
            what = (
                f"{format_count(len(gone), 'dataset')} ({named}), {size}, after delivery to {', '.join(self._ledgers)}"
            )
            log_relay(RelayAction.DATASETS_REMOVED, f"{what}; {format_bytes(self._free())} free")
            self._told = ""

    def _report_short(self) -> None:
        if self._is_short():
            wanted = format_bytes(self._rules.keep_free or 0)
            self._report_kept(f"less than {wanted} free, and no other dataset is verified at every target")

    def _report_kept(self, sentence: str) -> None:
        if sentence != self._told:
            self._told = sentence
            log_relay(RelayAction.DATASETS_KEPT, sentence)


def _describe(problem: OSError) -> str:
    hint = "; see systemd/examples/retention.conf" if problem.errno in _NOT_ALLOWED else ""
    return f"{problem.filename or 'datasets'}: {problem.strerror or problem}{hint}"
