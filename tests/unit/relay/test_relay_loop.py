"""How long the relay's loop waits for a change."""

import threading
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from plantimager.timelapse.relay import relay
from plantimager.timelapse.systemd.notifier import Notifier


@pytest.mark.parametrize(
    ("watchdog", "longest"), [(timedelta(minutes=30), 90.0), (timedelta(minutes=1), 30.0), (None, 90.0)]
)
def test_what_no_watch_sees_is_seen_soon(tmp_path, monkeypatch, watchdog, longest):
    """A daemon that is dead, but not yet out of /proc; or what it shows in /run as its disk is read-only."""
    stop, waits = threading.Event(), []

    def wait(_, seconds):
        waits.append(seconds)
        stop.set()

    notifier = Notifier({})
    notifier.watchdog_interval = watchdog
    monkeypatch.setattr(relay.FileWatch, "wait", wait)
    places = SimpleNamespace(store=Path(tmp_path, "store.json"), history=tmp_path, relay_state=tmp_path)
    loop = relay.Relay(places, notifier, stop, relay.Wakeup())
    monkeypatch.setattr(loop, "_look", lambda _: None)
    loop._serve([])
    assert waits == [longest]
