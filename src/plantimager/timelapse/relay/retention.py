"""Retention: datasets that every target has are removed here, the oldest first, where the configuration asks for that.

A dataset counts as delivered for this only where every configured target's ledger has it with the digest of the receipt
that is here now, compared by content, and one target has all of its files. Before it goes it is read once more: what
somebody has changed or added since the scan may be the only copy, and stays.
"""

from __future__ import annotations

import errno
import os
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from plantimager.timelapse.channel.ledger import Ledger, LedgerEntry, Outcome
from plantimager.timelapse.datasets.contents import dataset_files
from plantimager.timelapse.datasets.disk_space import format_bytes
from plantimager.timelapse.datasets.receipt import FILES, other_owner
from plantimager.timelapse.datasets.set_aside import removal_name
from plantimager.timelapse.relay.actions import RelayAction, log_relay
from plantimager.timelapse.relay.sealed_dataset import DatasetGone, DatasetRefused, read_sealed
from plantimager.timelapse.relay.sink import LatestView
from plantimager.timelapse.support.durable import sync_directory
from plantimager.timelapse.support.text import format_count

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from plantimager.timelapse.relay.sink import SinkHost
    from plantimager.timelapse.relay.store_view import DaemonFacts, StoreView
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
        self, rules: RetentionRules, ledgers: Mapping[str, Ledger], removed: Path, owner: Owner, host: SinkHost
    ) -> None:
        self._rules, self._owner, self._host = rules, owner, host
        self._ledgers = ledgers
        self._removed = Ledger(removed)
        self._kept: dict[str, tuple[float, str]] = {}
        """Datasets that had to stay, by their keys, with the time from which on they are read again, and the reason."""
        self._told = ""
        self._told_barred: set[str] = set()
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
                self._report_kept([_describe(problem)])
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
            ledger.refresh()
            ledger.move(taken.database)
        kept = [*self._barred(taken.scans), *([] if self._is_tidy else self._finish(taken.scans))]
        gone: list[LedgerEntry] = []
        try:
            for scan in self._candidates(taken.scans):
                if self._host.stop.is_set() or not self._is_due(scan, is_clock_trusted=is_clock_trusted):
                    break
                try:
                    gone.append(self._remove(scan))
                except _Stays as objection:
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
            if not is_known and self._digest_everywhere(scan):
                yield scan

    def _digest_everywhere(self, scan: TakenScan) -> str:
        """Return the digest with which every target has a dataset; empty where one hasn't, or not verified."""
        entries = self._entries_everywhere(scan)
        return "" if not entries or _objection(entries) else next(iter(entries.values())).digest

    def _entries_everywhere(self, scan: TakenScan) -> Mapping[str, LedgerEntry]:
        """Return what each target's ledger has of a dataset; nothing where one doesn't call it delivered."""
        entries = {name: ledger.known(scan.key) for name, ledger in self._ledgers.items()}
        known = {name: entry for name, entry in entries.items() if entry and entry.outcome is Outcome.DELIVERED}
        return known if len(known) == len(entries) else {}

    def _barred(self, scans: Iterable[TakenScan]) -> Iterator[str]:
        """Yield why datasets of a kind that every target has are never removed, each reason once."""
        for scan in scans:
            entries = self._entries_everywhere(scan)
            if entries and (objection := _objection(entries)) and objection not in self._told_barred:
                self._told_barred.add(objection)
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

    def _remove(self, scan: TakenScan) -> LedgerEntry:
        """Remove one dataset; return its entry.

        Raises
        ------
        _Stays
            It is here afterwards, or a part of it under another name. Without words where it is gone already.

        """
        directory = self._host.datasets_of([scan.scan_id]) / scan.scan_id
        try:
            sealed = read_sealed(directory, scan)
            _check_deletable(directory)
        except DatasetGone:
            raise _Stays from None
        except DatasetRefused as problem:
            raise _Stays(str(problem)) from None
        except OSError as problem:
            raise _Stays(_describe(problem)) from None
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
            entry = self._finish_one(scan, aside)
        except OSError as problem:
            raise _Stays(f"a part of it, as {aside.name}: {_describe(problem)}") from None
        self._is_tidy = was_tidy
        return entry

    def _is_still(self, scan: TakenScan, digest: str) -> bool:
        """Return whether the ledgers say so now: a person may have had one forget it while the dataset was read."""
        for ledger in self._ledgers.values():
            ledger.refresh()
        return self._digest_everywhere(scan) == digest

    def _keep(self, scan: TakenScan, objection: str) -> bool:
        """Leave a dataset for a day; return whether that is to be reported."""
        _, before = self._kept.get(scan.key, (0.0, ""))
        self._kept[scan.key] = self._host.clock.monotonic() + KEPT_AGAIN, objection
        return objection not in {"", before}

    def _finish(self, scans: Sequence[TakenScan]) -> list[str]:
        """Delete what an earlier pass was about to delete; return what can't be deleted now, either."""
        directories = {self._host.datasets_of(()), self._host.datasets_of(scan.scan_id for scan in scans)}
        by_name = {removal_name(scan.scan_id, scan.key, self._owner): scan for scan in scans}
        problems = []
        for directory in directories:
            for aside in [path for path in directory.iterdir() if path.name in by_name] if directory.is_dir() else ():
                try:
                    self._finish_one(by_name[aside.name], aside)
                except OSError as problem:
                    problems.append(f"{aside.name} can't be deleted: {_describe(problem)}")
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


def _objection(entries: Mapping[str, LedgerEntry]) -> str:
    """Return why a dataset that every target has isn't removed; empty where it may be."""
    if by_length := next((name for name, entry in entries.items() if entry.by_length), ""):
        again = f"timelapsectl deliver --forget {by_length}"
        return f'{by_length} compared their length alone; write verify = "bytes", then {again}'
    if all(entry.left for entry in entries.values()):
        return "no target has all of their files and metadata; one with remote = takes them"
    return "targets have different ones" if len({entry.digest for entry in entries.values()}) > 1 else ""


class _Stays(Exception):
    """The reason why a dataset is not removed."""


def _check_deletable(directory: Path) -> None:
    """Check that a directory can be deleted whole, since a part of a dataset would be none.

    Raises
    ------
    OSError
        It can't.

    """
    if directory.is_symlink():
        raise OSError(errno.ENOTDIR, "is a link", str(directory))
    for folder, _, _ in os.walk(directory):
        if not os.access(folder, os.W_OK | os.X_OK):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES), folder)


def _describe(problem: OSError) -> str:
    hint = "; see systemd/examples/retention.conf" if problem.errno in _NOT_ALLOWED else ""
    return f"{problem.filename or 'datasets'}: {problem.strerror or problem}{hint}"
