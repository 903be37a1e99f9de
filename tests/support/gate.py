"""A gate at which a process waits until a test lets it go on: no time decides what comes first."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

WITHIN: Final = 60.0
"""Seconds within which the process comes to the gate; on a quiet machine it is there at once."""


class Gate:
    """A pipe that somebody reads to its end, from `shut` to `open`."""

    def __init__(self, path: Path, within: float = WITHIN) -> None:
        self.path, self._within = path, within
        self._end = -1

    def shut(self) -> None:
        """Have the next one who reads it wait."""
        os.mkfifo(self.path)

    def wait_until_reached(self) -> None:
        """Return when somebody waits here; no other one will."""
        wait_until(self._is_reached, within=self._within, what=f"somebody reads {self.path}")
        self.path.unlink()

    def _is_reached(self) -> bool:
        try:
            self._end = os.open(self.path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:  # nobody does
            return False
        return True

    def open(self) -> None:
        """Let the one who waits go on."""
        os.close(self._end)
