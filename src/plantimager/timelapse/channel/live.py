"""The live status: a small file beside the store with what the daemon does now, for ``timelapsectl status``.

It holds what is too short-lived for the store (a scan's progress, a save that fails). It is never fsynced, and it is
void once its process has ended.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

from plantimager.timelapse.support.durable import read_regular
from plantimager.timelapse.support.json_text import dumps, loads

if TYPE_CHECKING:
    from pathlib import Path

MAX_LIVE_BYTES: Final = 100_000
"""A larger file is ignored."""


def live_path(store: Path) -> Path:
    """Return the path of the live status of a store's daemon."""
    return store.with_name(f"{store.name}.live")


class LiveFile:
    """The daemon's side of the live status. Loop thread."""

    def __init__(self, store: Path) -> None:
        self.path = live_path(store)
        self._fresh = self.path.with_name(f"{self.path.name}.new")
        self._written: dict[str, Any] | None = None

    def show(self, view: dict[str, Any]) -> None:
        """Write ``view`` if it differs from the last one. A full disk is ignored: nothing depends on this file."""
        if view == self._written:
            return
        self._written = view
        with contextlib.suppress(OSError):
            self._fresh.write_bytes(dumps(view))
            self._fresh.replace(self.path)

    def remove(self) -> None:
        """Remove the file at the daemon's end, and what is left where it couldn't be written."""
        for path in (self.path, self._fresh):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


def read_live(store: Path) -> dict[str, Any]:
    """Return the live status of a daemon; empty where there is none."""
    try:
        view = loads(read_regular(live_path(store), MAX_LIVE_BYTES))
    except (OSError, ValueError):
        return {}
    return view if isinstance(view, dict) else {}
