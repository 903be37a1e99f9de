"""Disks to be filled and broken, mounted for a test; takes root."""

from __future__ import annotations

import contextlib
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextlib.contextmanager
def mounted(directory: Path, *arguments: str) -> Iterator[None]:
    """Mount something on ``directory``; ``arguments`` are those of mount(8) before it."""
    subprocess.run(["mount", *arguments, str(directory)], check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True, capture_output=True)


def small_disk(directory: Path, size: str) -> contextlib.AbstractContextManager[None]:
    """Mount a disk in memory of so many bytes (``1m``), for its owner alone."""
    return mounted(directory, "-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs")
