"""The live status: a small file beside the store with what the daemon does now, for ``timelapsectl status``.

It holds what is too short-lived for the store (a scan's progress, a save that fails). It is never fsynced. Once its
process has ended it is void, but for its time: the last sign of life of that daemon.
"""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from plantimager.timelapse.domain.absence import LastSign
from plantimager.timelapse.support.durable import read_regular
from plantimager.timelapse.support.json_text import dumps, loads

if TYPE_CHECKING:
    from pathlib import Path

    from plantimager.timelapse.store.schema import Logbook
    from plantimager.timelapse.support.clock import Clock

MAX_LIVE_BYTES: Final = 100_000
"""A larger file is ignored."""


def live_path(store: Path) -> Path:
    """Return the path of the live status of a store's daemon."""
    return store.with_name(f"{store.name}.live")


class LiveFile:
    """The daemon's side of the live status. Side thread."""

    def __init__(self, store: Path) -> None:
        self.path = live_path(store)
        self._fresh = self.path.with_name(f"{self.path.name}.new")
        self.before = read_last_sign(store)
        """That of the daemon before this one."""
        self._written: dict[str, Any] | None = None

    def show(self, view: dict[str, Any], at: datetime) -> None:
        """Write ``view`` if it differs from the last one. A full disk is ignored: nothing depends on this file."""
        if view != self._written:
            self._written = view
            self._write({**view, "at": at.isoformat()})

    def end(self, at: datetime) -> None:
        """Leave nothing but the time, at the daemon's own end."""
        if self._written is not None:
            self._write({"at": at.isoformat(), "has_ended": True})
        with contextlib.suppress(OSError):
            self._fresh.unlink(missing_ok=True)  # where it couldn't be written

    def _write(self, view: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):
            self._fresh.write_bytes(dumps(view))
            self._fresh.replace(self.path)


def read_live(store: Path) -> dict[str, Any]:
    """Return the live status of a daemon; empty where there is none."""
    try:
        view = loads(read_regular(live_path(store), MAX_LIVE_BYTES))
    except (OSError, ValueError):
        return {}
    return view if isinstance(view, dict) else {}


def read_last_sign(store: Path) -> LastSign:
    """Return the last sign of life of a store's daemon."""
    view = read_live(store)
    try:
        at = datetime.fromisoformat(view["at"])
        return LastSign(at.astimezone(UTC) if at.tzinfo is not None else None, view.get("has_ended") is True)
    except (KeyError, TypeError, ValueError, OverflowError):
        return LastSign()


def last_seen(sign: LastSign, logbook: Logbook, clock: Clock) -> LastSign:
    """Return the last sign of life of the daemon that wrote a store, or of its machine in an earlier boot."""
    kept_at, booted_at = clock.evidence().kept_at, clock.now() - timedelta(seconds=clock.since_boot())
    of_that_boot = kept_at is not None and kept_at < booted_at and logbook.boot_id not in (None, clock.boot_id())
    others = [at for at in (logbook.saved_at, kept_at if of_that_boot else None) if at is not None]
    latest = max(others, default=None)
    return LastSign(latest) if latest is not None and (sign.at is None or sign.at < latest) else sign
