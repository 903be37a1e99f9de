"""What the daemon is at right now, for ``timelapsectl status``: a small file beside the store.

It holds what is too short-lived for the store (a scan's progress, a save that fails), is never
fsynced, and means nothing once its process is gone.
"""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

from plantimager.timelapse.support.durable import read_regular
from plantimager.timelapse.support.json_text import loads

if TYPE_CHECKING:
    from pathlib import Path

LARGEST = 100_000
"""Bytes that are read of it."""


def live_path(store: Path) -> Path:
    """Return where the daemon of a store shows what it is at."""
    return store.with_name(f"{store.name}.live")


class LiveFile:
    """The daemon's side. Loop thread."""

    def __init__(self, store: Path) -> None:
        self.path = live_path(store)
        self._shown: dict[str, Any] | None = None

    def show(self, view: dict[str, Any]) -> None:
        """Put ``view`` there if it is another than the last; a disk that is full changes nothing else."""
        if view == self._shown:
            return
        self._shown = view
        fresh = self.path.with_name(f"{self.path.name}.new")
        with contextlib.suppress(OSError):
            fresh.write_text(json.dumps(view, ensure_ascii=False), encoding="utf-8")
            fresh.replace(self.path)

    def remove(self) -> None:
        """Take it away at the end."""
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)


def read_live(store: Path) -> dict[str, Any]:
    """Return what a daemon shows; empty where there is nothing."""
    try:
        view = loads(read_regular(live_path(store), LARGEST))
    except (OSError, ValueError):
        return {}
    return view if isinstance(view, dict) else {}
