"""The standard streams of a process that was started without some of them."""

from __future__ import annotations

import os
import sys


def open_missing_streams() -> None:
    """Open ``/dev/null`` in place of each closed standard stream.

    Otherwise a file that is opened later would get the stream's number, and all that is printed.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    # Python leaves these None for streams that are closed when it starts.
    sys.stdin = sys.stdin or open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - stays open
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - as above
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - as above
