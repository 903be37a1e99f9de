"""Free space on the datasets' disk: checked before a scan, with a minimum that no scan uses up.

A full disk stops more than scans: the store and the journal, too. So every driver has the key ``keep_free``, which
`read_size` reads.
"""

from __future__ import annotations

import errno
import re
import shutil
from typing import TYPE_CHECKING, Final

from plantimager.timelapse.support.errors import ScannerNotReady

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from plantimager.timelapse.scan.cameras import Camera
    from plantimager.timelapse.scan.request import ScanRequest

MEGABYTE: Final = 1_000_000

KEEP_FREE: Final = 1_000 * MEGABYTE
"""Bytes that stay free by default: the journal and a year of stores fit in."""

BYTES_PER_PIXEL: Final = {"jpg": 1, "png": 3, "tif": 3}
"""The most that a picture takes, by its extension; a scan begins only where so much is free."""

_SIZE: Final = r"(?a)(\d{1,9}(?:\.\d+)?)\s*([MGT])B"


def read_size(value: object) -> int:
    """Return the bytes of a size that a person wrote: "500 MB"."""
    match = re.fullmatch(_SIZE, value) if isinstance(value, str) else None
    if match is None:
        raise ValueError('write a size such as "500 MB" or "2 GB"')
    return int(float(match[1]) * MEGABYTE * {"M": 1, "G": 1_000, "T": 1_000_000}[match[2]])


def max_picture_bytes(cameras: Iterable[Camera]) -> int:
    """Return what the pictures of one position take at most."""
    return sum(camera.res_x * camera.res_y * BYTES_PER_PIXEL[camera.extension] for camera in cameras)


def check_disk_space(request: ScanRequest, needed: int, keep_free: int) -> None:
    """Check that the disk takes a scan of ``needed`` bytes, all in all.

    Raises
    ------
    ScannerNotReady
        It doesn't; no attempt is used, because a person may make room meanwhile.

    """
    try:
        check(request.dataset_dir.parent, needed, keep_free)
    except OSError as full:
        raise ScannerNotReady(f"{full.filename}: {full.strerror}") from full


def check(directory: Path, needed: int, keep_free: int) -> None:
    """Check that the disk of ``directory`` takes ``needed`` more bytes, and has ``keep_free`` left when it did.

    Raises
    ------
    OSError
        ENOSPC, worded; or it can't be asked.

    """
    free = shutil.disk_usage(directory).free
    if free - needed < keep_free:
        problem = f"{_words(free)} free, {_words(needed)} needed for this scan, and {_words(keep_free)} kept free"
        raise OSError(errno.ENOSPC, f"{problem}; move datasets away, or lower keep_free", str(directory))


def _words(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
