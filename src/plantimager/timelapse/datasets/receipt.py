"""The receipt: the file that makes a directory a whole dataset, and names its slot."""

from __future__ import annotations

import errno
import hashlib
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from plantimager.timelapse.scan.request import Owner, ScanRequest, ScanResult
from plantimager.timelapse.support import json_text
from plantimager.timelapse.support.durable import read_regular

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

RECEIPT: Final = "timelapsed.json"
"""The name of the file."""

FILES: Final = "files"
"""The key of the SHA-256 of every other file, by its path in the dataset."""

ALL_FILES: Final = "all_files"
"""The key of the SHA-256 of that list, in a receipt that would be too large to read with it."""

BYTES: Final = "bytes"
"""The key of the size of all other files together, as they were when the receipt was written."""

OBSERVED: Final = "observed"
"""The key of what was observed beside the scan."""

MAX_RECEIPT_BYTES: Final = 1 << 24
"""One of ours has some hundred, and a hundred for each file: larger ones are written without the files' digests."""

_NONE_THERE: Final = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EINVAL, errno.EFBIG)
"""The errors of `read_regular` that say for certain that no receipt of ours is there: it isn't such a file."""

BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


def make_receipt(request: ScanRequest, result: ScanResult, size: int) -> dict[str, Any]:
    """Return the receipt of a whole attempt, whose files have ``size`` bytes, as JSON values."""
    owner = request.owner
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
        BYTES: size,
        **({} if owner is None else {"owner": {name: getattr(owner, name) for name in owner.__struct_fields__}}),
    }


def receipt_text(receipt: Mapping[str, Any]) -> bytes:
    """Return the text of a receipt, with one digest of all files where those of each make it too large to read."""
    text = json_text.dumps(receipt)
    if len(text) > MAX_RECEIPT_BYTES:
        shorter = {key: value for key, value in receipt.items() if key != FILES}
        text = json_text.dumps({**shorter, ALL_FILES: digest_of_all(receipt)})
    return text


def digest_of_all(receipt: Mapping[str, Any]) -> str | None:
    """Return one digest of all files of a dataset, None where its receipt has none."""
    files = receipt.get(FILES)
    if isinstance(files, dict):
        return hashlib.sha256(json_text.dumps(files)).hexdigest()
    digest = receipt.get(ALL_FILES)
    return digest if isinstance(digest, str) else None


def load_receipt(directory: Path) -> dict[str, Any]:
    """Return the receipt in a directory, whoever wrote it.

    Raises
    ------
    OSError
        There is none, or it can't be read.
    ValueError
        It isn't one.
    """
    receipt = json_text.loads(read_regular(directory / RECEIPT, MAX_RECEIPT_BYTES))
    if not isinstance(receipt, dict):
        raise ValueError("not an object")  # noqa: TRY004 - a file's content, not an argument
    return receipt


def read_receipt(directory: Path, request: ScanRequest) -> dict[str, Any] | None:
    """Return the receipt in a directory; None if there is none, or it is not of this rig and this request's slot.

    Raises
    ------
    OSError
        It can't be read: nobody knows.
    """
    try:
        receipt = load_receipt(directory)
        slot = (receipt["timelapse_id"], receipt["index"], datetime.fromisoformat(receipt["scheduled_at"]))
    except (OSError, ValueError, KeyError, TypeError) as problem:
        if isinstance(problem, OSError) and problem.errno not in _NONE_THERE:
            raise
        return None
    is_ours = other_owner(receipt, request.owner) is None
    return receipt if is_ours and slot == (request.timelapse_id, request.index, request.scheduled_at) else None


def other_owner(receipt: Mapping[str, Any], ours: Owner | None) -> Owner | None:
    """Return whose a receipt is, None where it is ours.

    A receipt without an owner, which versions before this one wrote, is of this rig.
    """
    values = receipt.get("owner")
    if ours is None or not isinstance(values, dict):
        return None
    owner = Owner(**{name: str(values.get(name, "")) for name in Owner.__struct_fields__})
    return None if owner.key == ours.key else owner


def holds_datasets(directory: Path, scan_ids: Iterable[str], ours: Owner | None) -> bool:
    """Whether one of these datasets is in a directory, and is ours."""
    for scan_id in scan_ids:
        with suppress(OSError, ValueError):
            return other_owner(load_receipt(directory / scan_id), ours) is None
    return False


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
