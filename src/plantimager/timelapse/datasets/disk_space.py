"""Free space on the datasets' disk: checked before a scan and while it runs, with a reserve that no scan uses.

A full disk stops more than scans: the store and the journal can't be written, either. So every driver has the key
``keep_free``, which `read_size` reads.
"""

from __future__ import annotations

import errno
import re
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from plantimager.timelapse.support.errors import ScannerNotReady
from plantimager.timelapse.support.file_system import describe_disk_error

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from plantimager.timelapse.scan.cameras import Camera
    from plantimager.timelapse.scan.pose import Pose
    from plantimager.timelapse.scan.request import ScanRequest

MEGABYTE: Final = 1_000_000

KEEP_FREE: Final = 1_000 * MEGABYTE
"""Bytes, the default of the option: enough for the journal and a year of stores."""
KEPT_BY: Final = {"simulated": 100 * MEGABYTE}
"""The defaults of drivers that have another one: the simulated rig runs in the /tmp of a small computer, too."""

BYTES_PER_PIXEL: Final = {"jpg": 1, "png": 3, "tif": 3}
"""The most that a picture takes, by its extension."""

_SIZE: Final = r"(?a)(\d{1,9}(?:\.\d+)?)\s*([MGT])B"


def read_size(value: object) -> int:
    """Return the bytes of a size that a person wrote: "500 MB"."""
    match = re.fullmatch(_SIZE, value) if isinstance(value, str) else None
    if match is None:
        raise ValueError('write a size such as "500 MB" or "2 GB"')
    return int(float(match[1]) * MEGABYTE * {"M": 1, "G": 1_000, "T": 1_000_000}[match[2]])


def kept_free(driver: str, options: Mapping[str, object]) -> int:
    """Return the bytes that a driver keeps free, by its name and its options: for who doesn't have the driver."""
    with suppress(KeyError, ValueError):  # faults are reported by the driver
        return read_size(options["keep_free"])
    return KEPT_BY.get(driver, KEEP_FREE)


def max_picture_bytes(cameras: Iterable[Camera]) -> int:
    """Return the most bytes that the pictures of one position take, as far as the definition gives their sizes.

    Pictures without a size count as nothing: a guess that is too large would refuse every scan on a disk where it fits.
    The check of each picture remains for them.
    """
    return sum(
        camera.res_x * camera.res_y * BYTES_PER_PIXEL[camera.extension]
        for camera in cameras
        if camera.res_x is not None and camera.res_y is not None
    )


def max_scan_bytes(poses: Sequence[Pose] | None, cameras: Sequence[Camera]) -> int | None:
    """Return the most bytes that the pictures of a scan take; ``None`` where the size of one isn't known."""
    is_known = bool(cameras) and all(camera.res_x and camera.res_y for camera in cameras)
    return len(poses) * max_picture_bytes(cameras) if poses and is_known else None


def check_disk_space(request: ScanRequest, needed: int, keep_free: int) -> None:
    """Check before a scan that the disk has space for its ``needed`` bytes, and has ``keep_free`` left afterwards.

    Raises
    ------
    ScannerNotReady
        It has not. No attempt is used: a person may free space within the grace period.
    """
    try:
        require_free_space(request.dataset_dir.parent, needed, keep_free)
    except OSError as full:
        raise ScannerNotReady(f"{full.filename}: {describe_disk_error(full)}") from full


def require_free_space(directory: Path, needed: int, keep_free: int) -> None:
    """Check that the disk of ``directory`` has space for ``needed`` bytes, and has ``keep_free`` left afterwards.

    Raises
    ------
    OSError
        It has not (ENOSPC, worded for a person), or it can't be read how much is free.
    """
    free = shutil.disk_usage(directory).free
    if free - needed < keep_free:
        sizes = f"{format_bytes(free)} free, {format_bytes(needed)} needed for this scan, and"
        problem = f"{sizes} {format_bytes(keep_free)} kept free; move datasets away, or lower keep_free"
        raise OSError(errno.ENOSPC, problem, str(directory))


def format_bytes(count: int) -> str:
    """Return a number of bytes for people."""
    if 0 < count < MEGABYTE:
        return f"{max(count // 1000, 1)} kB"
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
