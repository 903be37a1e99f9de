"""Small disks that a test mounts and fills; needs root."""

from __future__ import annotations

import contextlib
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


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
