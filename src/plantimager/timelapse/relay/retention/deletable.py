"""Whether a dataset can be deleted, by what it is here and by the ledgers of all targets; and why not."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Final

from plantimager.timelapse.channel.ledger import Outcome
from plantimager.timelapse.datasets.contents import dataset_files
from plantimager.timelapse.datasets.receipt import FILES, other_owner
from plantimager.timelapse.relay.sealed_dataset import DatasetGone, DatasetRefused, read_sealed
from plantimager.timelapse.support.durable import sync_directory
from plantimager.timelapse.support.file_system import walk

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from plantimager.timelapse.channel.ledger import Ledger, LedgerEntry
    from plantimager.timelapse.relay.sealed_dataset import SealedDataset
    from plantimager.timelapse.relay.taken_scans import TakenScan
    from plantimager.timelapse.scan.request import Owner

_NOT_ALLOWED: Final = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})


class Stays(Exception):
    """The reason why a dataset is not removed. Without words where it is gone already."""


def read_deletable(directory: Path, scan: TakenScan, owner: Owner) -> SealedDataset:
    """Return a dataset that is as its scan left it, this rig's own, and can be deleted whole.

    Raises
    ------
    Stays
        It isn't.
    """
    try:
        sealed = read_sealed(directory, scan)
        check_deletable(directory)
    except DatasetGone:
        raise Stays from None
    except DatasetRefused as problem:
        raise Stays(str(problem)) from None
    except OSError as problem:
        raise Stays(describe_refusal(problem)) from None
    added = next((path for path in dataset_files(directory) if path not in sealed.files), None)
    if other_owner(sealed.receipt, owner) is not None:
        raise Stays("it is another rig's")
    if not isinstance(sealed.receipt.get(FILES), dict):
        raise Stays("its receipt has no digests")
    if added is not None:
        raise Stays(f"{added.relative_to(directory)} was added after the scan")
    return sealed


def check_deletable(directory: Path) -> None:
    """Check that a directory can be deleted whole, since a part of a dataset would be none.

    Raises
    ------
    OSError
        It can't.
    """
    if directory.is_symlink():
        raise OSError(errno.ENOTDIR, "is a link", str(directory))
    for folder, _, _ in walk(directory):
        if not os.access(folder, os.W_OK | os.X_OK):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES), str(folder))


def put_back(aside: Path, scan: TakenScan) -> None:
    """Give a dataset its own name again, durably."""
    aside.rename(aside.with_name(scan.scan_id))
    sync_directory(aside.parent)


def describe_refusal(problem: OSError) -> str:
    """Return a fault of the disk in words, and what to do where the service's sandbox forbids it."""
    hint = "; see systemd/examples/retention.conf" if problem.errno in _NOT_ALLOWED else ""
    return f"{problem.filename or 'datasets'}: {problem.strerror or problem}{hint}"


# --- what the targets' ledgers say ----------------------------------------------------------------------


def entries_everywhere(ledgers: Mapping[str, Ledger], key: str) -> Mapping[str, LedgerEntry]:
    """Return what each target's ledger has of a dataset; nothing where one doesn't call it delivered."""
    entries = {name: ledger.known(key) for name, ledger in ledgers.items()}
    known = {name: entry for name, entry in entries.items() if entry and entry.outcome is Outcome.DELIVERED}
    return known if len(known) == len(entries) else {}


def objection_to_removal(entries: Mapping[str, LedgerEntry]) -> str:
    """Return why a dataset that every target has isn't removed; empty where it may be, or one hasn't it."""
    if by_length := next((name for name, entry in entries.items() if entry.by_length), ""):
        again = f"timelapsectl deliver --forget {by_length}"
        return f'{by_length} compared their length alone; write verify = "bytes", then {again}'
    if entries and all(entry.left for entry in entries.values()):
        return "no target has all of their files and metadata; one with remote = takes them"
    return "targets have different ones" if len({entry.digest for entry in entries.values()}) > 1 else ""


def digest_everywhere(ledgers: Mapping[str, Ledger], key: str) -> str:
    """Return the digest with which every target has a dataset; empty where one hasn't, or not verified."""
    entries = entries_everywhere(ledgers, key)
    return "" if not entries or objection_to_removal(entries) else next(iter(entries.values())).digest
