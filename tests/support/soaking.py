"""How long the tests run that can run for any time: short in ``tests/run``, as long as asked in ``tests/soak``."""

from __future__ import annotations

import os
from typing import Final

SOAK: Final = float(os.environ.get("TIMELAPSED_SOAK", "0"))
"""The minutes of each test; 0 stands for the short run, which is the same every time."""


def scaled(short: int, long: int) -> int:
    """Return a number of repetitions: ``long`` in a soak test."""
    return long if SOAK else short
