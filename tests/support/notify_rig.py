"""A rig whose relay sends messages and pings to peers on the loopback."""

from __future__ import annotations

import os
import platform
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

from relay_rig import RelayRig, take_dataset
from waiting import wait_until

from plantimager.timelapse.domain.wording import format_local_time
from plantimager.timelapse.support.clock import SystemClock
from stores import scan, store_of

if TYPE_CHECKING:
    from pathlib import Path

    from daemon_process import DaemonProcess

CLOCK = SystemClock()
HOST = platform.node()
KEY = "key-of-the-test"
"""What the monitor's management API asks for."""
AHEAD = [f"2199-01-01T{hour:02}:00:00+00:00" for hour in range(24)]
"""Slots that no run of a test sees come, and that are therefore never overdue, whatever has become of them."""


class NotifyRig(RelayRig):
    """The files of one rig; its relay sends to ``urls``, pings ``heartbeat``, and pauses it by ``pause``."""

    def __init__(
        self, directory: Path, *urls: str, heartbeat: str = "", pause: str = "", settings: str = "", **keys: str
    ) -> None:
        self.urls, self.heartbeat = directory.parent / "urls", directory.parent / "heartbeat"
        self.pause = directory.parent / "pause"
        texts = {self.urls: "\n".join(["# services", *urls]), self.heartbeat: heartbeat, self.pause: f"{pause}\n{KEY}"}
        for path, text in texts.items():
            path.write_text(text)
            path.chmod(0o600)
        self.has_heartbeat, self.pauses = bool(heartbeat), bool(pause)
        self.settings, self.keys = settings, {"gather": '"1s"', **keys}
        super().__init__(directory, "")

    def configure(self, *settings: str, user: str = "") -> None:
        """Write the configuration, with further settings of the daemon first."""
        lines = [self.settings, *settings]
        if self.keys.get("gather") != "none":
            lines += ["[relay.notify]", f'urls_file = "{self.urls}"', *(f"{k} = {v}" for k, v in self.keys.items())]
        if self.has_heartbeat:
            lines += ["[relay.heartbeat]", f'url_file = "{self.heartbeat}"', 'interval = "1s"']
            lines += ['idle = "pause"', f'pause_file = "{self.pause}"'] if self.pauses else []
        self.place.configure("\n".join(lines))

    def have(self, *statuses: str | dict[str, Any], slots: list[str] | None = None, **changes: Any) -> None:
        """Write a store whose slots have come to this; the datasets of those that were taken are there."""
        scans = []
        name = changes.get("timelapse_id", "tl")
        for slot, status in enumerate(statuses):
            if status == "succeeded" and not (self.place.datasets / f"tl_{slot}").exists():
                take_dataset(self.place.datasets, slot)
            known = status if isinstance(status, dict) else {"status": status}
            scans.append(scan(f"{name}_{slot}", **known))
        times = slots or AHEAD[:6]
        self.write_store(store_of(*scans, n_slots=len(times), schedule_times=times, **changes))

    def ledger_of_messages(self) -> bytes:
        """Return what the relay has noted of them."""
        path = self.places.ledger("notify")
        return path.read_bytes() if path.exists() else b""

    def start_only(self) -> DaemonProcess:
        """Start the relay; it may end at once."""
        return super().start(TZ="UTC")

    def start(self, **environment: str) -> DaemonProcess:
        """Start the relay, and wait until it has looked at the store."""
        relay = super().start(TZ="UTC", **environment)
        relay.wait_for("relay_started")
        return relay

    def start_and_settle(self) -> DaemonProcess:
        """Start the relay, and wait until what has happened before counts as told."""
        relay = self.start()
        wait_until(self.places.ledger("notify").exists, within=60, what="the first look")
        return relay


def failed(why: str) -> dict[str, Any]:
    """Return what a scan's record is changed to where its slot failed."""
    return {"status": "failed", "error": {"type": "ScanFailed", "msg": why}}


def skipped(why: str, late: float = 3600.0) -> dict[str, Any]:
    """Return what it is changed to where its slot was skipped."""
    return {"status": "skipped", "error": {"type": "missed", "msg": why, "late_sec": late}}


def local(at: str | datetime) -> str:
    """Return a time as a message has it that is sent today, by a relay whose zone is UTC."""
    instant = datetime.fromisoformat(at) if isinstance(at, str) else at
    zone = os.environ.get("TZ")
    os.environ["TZ"] = "UTC"
    time.tzset()
    try:
        return format_local_time(instant, CLOCK.now())
    finally:
        os.environ.pop("TZ", None) if zone is None else os.environ.update(TZ=zone)
        time.tzset()
