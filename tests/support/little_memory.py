"""A control group with little memory: the kernel kills a process in it that needs more. Takes root."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

UNIFIED = Path("/sys/fs/cgroup")
"""Where control groups are, as systems have them today; older and mixed ones have a hierarchy for memory alone."""
OF_MEMORY = UNIFIED / "memory"


@contextmanager
def little_memory(limit: int) -> Iterator[Path]:
    """Return a group that may use so many bytes; a process joins it by writing its PID into ``cgroup.procs``."""
    of_its_own = OF_MEMORY.is_dir()
    if not of_its_own:
        (UNIFIED / "cgroup.subtree_control").write_text("+memory")
    group = (OF_MEMORY if of_its_own else UNIFIED) / f"timelapsed-test-{os.getpid()}"
    group.mkdir()
    try:
        (group / ("memory.limit_in_bytes" if of_its_own else "memory.max")).write_text(str(limit))
        yield group
    finally:
        group.rmdir()


def kills(group: Path) -> int:
    """Return how many processes the kernel killed because they needed more."""
    events = next(path for name in ("memory.events", "memory.oom_control") if (path := group / name).exists())
    return int(dict(line.split() for line in events.read_text().splitlines())["oom_kill"])
