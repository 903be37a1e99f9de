"""Small disks that a test mounts and fills; needs root."""

from __future__ import annotations

import contextlib
import os
import subprocess
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PAGE: Final = os.sysconf("SC_PAGE_SIZE")
"""Bytes of a disk in memory that are given to one file at a time."""


@contextlib.contextmanager
def mounted(directory: Path, *arguments: str) -> Iterator[None]:
    """Mount something on ``directory``, with the ``arguments`` of mount(8) that come before it."""
    subprocess.run(["mount", *arguments, str(directory)], check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True, capture_output=True)


def small_disk(directory: Path, size: str) -> contextlib.AbstractContextManager[None]:
    """Mount a disk in memory of ``size`` bytes (``1m``) that only its owner may read."""
    return mounted(directory, "-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs")


def fill_disk(filler: Path, pages: int) -> None:
    """Fill a small disk with one file, but for so many pages."""
    with contextlib.suppress(OSError), filler.open("ab", buffering=0) as file:
        while True:
            file.write(bytes(PAGE))
    os.truncate(filler, filler.stat().st_size - pages * PAGE)
