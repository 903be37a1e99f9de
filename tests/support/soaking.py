"""How long the tests may take that can take any time: short in ``tests/run``, as long as asked in ``tests/soak``."""

from __future__ import annotations

import os
from typing import Final

SOAK: Final = float(os.environ.get("TIMELAPSED_SOAK", "0"))
"""Minutes that each of them may take; 0 stands for the short run, which is the same every time."""


def scaled(short: int, long: int) -> int:
    """Return how often to do a thing."""
    return long if SOAK else short
