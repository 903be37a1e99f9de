"""At which slot of a timelapse the datasets' disk would be full, by the sizes of earlier datasets."""

from __future__ import annotations

import shutil
from contextlib import suppress
from typing import TYPE_CHECKING

from plantimager.timelapse.datasets.contents import dataset_files
from plantimager.timelapse.datasets.disk_space import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def find_full_slot(datasets: Path, scan_ids: Iterable[str], n_slots: int, keep_free: int) -> str | None:
    """Return at which of ``n_slots`` new slots the disk would be full, in words; None where it has space for all.

    The largest of the datasets ``scan_ids`` counts; without any there is nothing to go by. May hang as the disk may.
    """
    sizes = [dataset_bytes(datasets / scan_id) for scan_id in scan_ids]
    largest = max(sizes, default=0)
    if not largest:
        return None
    free = max(shutil.disk_usage(datasets).free - keep_free, 0)
    if free // largest >= n_slots:
        return None
    space = f"{datasets} has {format_bytes(free)} for them, with {format_bytes(keep_free)} kept free"
    needed = f"{n_slots} take {format_bytes(largest * n_slots)}"
    return f"up to {format_bytes(largest)}, {needed}; {space}: full at slot {free // largest}"


def dataset_bytes(dataset: Path) -> int:
    """Return the bytes of a dataset's files; 0 where it is gone, or can't be read."""
    with suppress(OSError):
        return sum(path.lstat().st_size for path in dataset_files(dataset))
    return 0
