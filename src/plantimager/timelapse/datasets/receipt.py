"""The receipt: the file that makes a directory a whole dataset, and says of which slot it is."""

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
"""The file that makes a directory a whole dataset; it says of which slot."""


BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


LARGEST_RECEIPT: Final = 1 << 20
"""Bytes; ours have some hundred."""


def receipt_of(request: ScanRequest, result: ScanResult) -> dict[str, Any]:
    """Return what the receipt of a whole attempt says."""
    return {
        "version": 1,
        "scan_id": request.scan_id,
        "timelapse_id": request.timelapse_id,
        "index": request.index,
        "attempt": request.attempt,
        "scheduled_at": request.scheduled_at.isoformat(),
        "pictures": result.pictures,
        "note": result.note,
        "boot": boot_of_machine(),
    }


def read_receipt(directory: Path, request: ScanRequest) -> dict[str, Any] | None:
    """Return a directory's receipt, if it has one and it is of this request's slot."""
    try:
        receipt: dict[str, Any] = json_text.loads(read_regular(directory / RECEIPT, LARGEST_RECEIPT))
        of = (receipt["timelapse_id"], receipt["index"], datetime.fromisoformat(receipt["scheduled_at"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return receipt if of == (request.timelapse_id, request.index, request.scheduled_at) else None


def result_of(receipt: Mapping[str, Any]) -> ScanResult:
    """Return what the scan left, by its receipt."""
    pictures, note = receipt.get("pictures"), receipt.get("note")
    return ScanResult(
        pictures=pictures if isinstance(pictures, int) else None, note=note if isinstance(note, str) else ""
    )


def boot_of_machine() -> str | None:
    """Return the kernel's name for this boot, None where it doesn't tell."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return None
