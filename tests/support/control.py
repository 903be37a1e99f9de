"""A person at the control socket of a daemon."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from plantimager.timelapse.channel.control_client import connect
from plantimager.timelapse.support.clock import SystemClock

if TYPE_CHECKING:
    from pathlib import Path

    from plantimager.timelapse.channel.control_request import Answer


def control_of(store: Path) -> Path:
    """Return the control socket of a daemon without ``XDG_RUNTIME_DIR``."""
    return store.with_name(f"{store.name}.run") / "control"


def ask(store: Path, command: str, *files: bytes, **body: object) -> Answer:
    """Ask the daemon of a store, as timelapsectl does."""
    with connect([control_of(store)], {os.geteuid()}, SystemClock()) as daemon:
        assert daemon is not None, "no daemon listens"
        return daemon.ask(command, body, files)
