"""Standard streams that a process was started without."""

from __future__ import annotations

import os
import sys


def open_missing_streams() -> None:
    """Put nothing where a standard stream is closed: else a file of ours gets its number, and whatever is printed."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    # Python has left out what was closed when it started.
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - for good
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - as above
