"""The receipt: the file that makes a directory a whole dataset, and names its slot."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from plantimager.timelapse.scan.request import ScanRequest, ScanResult
from plantimager.timelapse.support import json_text
from plantimager.timelapse.support.durable import read_regular

if TYPE_CHECKING:
    from collections.abc import Mapping

RECEIPT: Final = "timelapsed.json"
"""The name of the file."""

MAX_RECEIPT_BYTES: Final = 1 << 20
"""A receipt of ours has some hundred."""

BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


def make_receipt(request: ScanRequest, result: ScanResult) -> dict[str, Any]:
    """Return the receipt of a whole attempt, as JSON values."""
    return {
        "version": 1,
        "scan_id": request.scan_id,
        "timelapse_id": request.timelapse_id,
        "index": request.index,
        "attempt": request.attempt,
        "scheduled_at": request.scheduled_at.isoformat(),
        "pictures": result.pictures,
        "note": result.note,
        "boot": boot_id(),
    }


def read_receipt(directory: Path, request: ScanRequest) -> dict[str, Any] | None:
    """Return the receipt in a directory; None if there is none, or it is not of this request's slot."""
    try:
        receipt: dict[str, Any] = json_text.loads(read_regular(directory / RECEIPT, MAX_RECEIPT_BYTES))
        slot = (receipt["timelapse_id"], receipt["index"], datetime.fromisoformat(receipt["scheduled_at"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return receipt if slot == (request.timelapse_id, request.index, request.scheduled_at) else None


def result_from_receipt(receipt: Mapping[str, Any]) -> ScanResult:
    """Return the result of the scan that a receipt belongs to."""
    pictures, note = receipt.get("pictures"), receipt.get("note")
    return ScanResult(
        pictures=pictures if isinstance(pictures, int) else None, note=note if isinstance(note, str) else ""
    )


def boot_id() -> str | None:
    """Return the kernel's name for this boot, None where it is hidden."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return None
