"""Directories of unit tests, in memory."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from plantimager.timelapse.support.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Iterator

MEMORY = Path("/dev/shm")
ENOUGH = 2**29
"""Bytes that must be free there."""


@pytest.fixture(scope="session")
def memory() -> Path | None:
    """Return a file system in memory; ``None`` where it has no space, or programs can't be run from it."""
    try:
        found = os.statvfs(MEMORY)
    except OSError:
        return None
    is_fit = os.access(MEMORY, os.W_OK | os.X_OK) and not found.f_flag & os.ST_NOEXEC
    return MEMORY if is_fit and found.f_bavail * found.f_frsize > ENOUGH else None


@pytest.fixture
def tmp_path(memory: Path | None) -> Iterator[Path]:
    """Return a directory, which is deleted afterwards: on a disk, syncing some thousand files takes a minute."""
    with tempfile.TemporaryDirectory(prefix="timelapsed-", dir=memory) as directory:
        path = Path(directory, "test")  # which a test may delete
        path.mkdir()
        yield path


@pytest.fixture
def clock() -> Iterator[SystemClock]:
    """Return the clock of this machine."""
    clock = SystemClock()
    yield clock
    clock.close()
