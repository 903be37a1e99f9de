"""A dataset as the scan left it: compared with its receipt before anything of it goes out, or is deleted."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from plantimager.timelapse.datasets.contents import dataset_files
from plantimager.timelapse.datasets.receipt import FILES, RECEIPT, load_receipt
from plantimager.timelapse.support.errors import TimelapsedError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from plantimager.timelapse.relay.taken_scans import TakenScan


MIGRATED: Final = re.compile(r"metadata/(metadata|images/[^/]+)\.json")
"""The files that `datasets.migration` brings to the present layout."""


class DatasetGone(TimelapsedError):
    """There is no whole dataset of a scan here, now."""


class DatasetRefused(TimelapsedError):
    """A dataset can't be delivered as it is."""


class SealedDataset(Struct, frozen=True):
    """One dataset, all of whose files are as the receipt says."""

    receipt: Mapping[str, Any]
    digest: str
    """SHA-256 of what the receipt says and a migration leaves, with the digest of every picture."""
    files: Mapping[Path, str]
    """The SHA-256 of each file, in order, without the receipt."""


def read_sealed(directory: Path, scan: TakenScan) -> SealedDataset:
    """Return the dataset of a scan, every file of which was read and compared.

    Raises
    ------
    DatasetGone
        It isn't there, or not whole, or that of another scan.
    DatasetRefused
        It has changed since the scan.
    OSError
        It can't be read.
    """
    receipt, before = read_receipt_of(directory, scan), receipt_digest(directory)
    try:
        return SealedDataset(receipt, lasting_digest(receipt), _checked_digests(directory, receipt.get(FILES)))
    except DatasetRefused:
        if receipt_digest(directory) != before:
            raise DatasetGone(f"{directory} was migrated meanwhile") from None
        raise


def read_receipt_of(directory: Path, scan: TakenScan) -> Mapping[str, Any]:
    """Return the receipt of a dataset.

    Raises
    ------
    DatasetGone
        There is none, or that of another scan.
    OSError
        It can't be read.
    """
    try:
        receipt = load_receipt(directory)
        slot = (receipt["timelapse_id"], receipt["index"], datetime.fromisoformat(receipt["scheduled_at"]))
    except FileNotFoundError:
        raise DatasetGone(f"{directory} is not there, or has no receipt") from None
    except (ValueError, KeyError, TypeError) as problem:
        raise DatasetGone(f"{directory}: its receipt can't be read ({problem})") from None
    if slot != (scan.timelapse_id, scan.slot, scan.scheduled_at):
        raise DatasetGone(f"{directory} belongs to another scan")
    return receipt


def receipt_digest(directory: Path) -> str:
    """Return the SHA-256 of a receipt."""
    with (directory / RECEIPT).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def lasting_digest(receipt: Mapping[str, Any]) -> str:
    """Return the `SealedDataset.digest` of a dataset with this receipt."""
    claimed = receipt.get(FILES)
    if isinstance(claimed, dict):
        lasting = {name: digest for name, digest in claimed.items() if not MIGRATED.fullmatch(name)}
        receipt = {**receipt, FILES: lasting}
    return hashlib.sha256(json.dumps(receipt, sort_keys=True).encode()).hexdigest()


def _checked_digests(directory: Path, claimed: object) -> Mapping[Path, str]:
    """Return the SHA-256 of each file that the receipt claims, in order; of every file where it claims none.

    What somebody has added since the scan is not of the scan.
    """
    there = {str(path.relative_to(directory)): path for path in dataset_files(directory)}
    names = claimed if isinstance(claimed, dict) else there
    digests = {}
    for name in sorted(names):
        if name not in there:
            raise DatasetRefused(f"{name} is missing")
        with there[name].open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if isinstance(claimed, dict) and digest != claimed[name]:
            raise DatasetRefused(f"{name} has changed")
        digests[there[name]] = digest
    return digests
