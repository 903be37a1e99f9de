"""How long the relay's loop waits for a change."""

import threading
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from waiting import wait_until

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


@pytest.mark.parametrize("is_told_apart", [True, False])
def test_a_directory_in_the_place_of_another_is_watched(tmp_path, monkeypatch, is_told_apart):
    """As that of a disk that was mounted after the relay's start: what changes there is seen at once.

    The same disk that is mounted again can't be told from what it was before.
    """
    monkeypatch.setattr(relay, "BETWEEN_LOOKS", 3600.0)
    storage, history, looks = tmp_path / "data", tmp_path / "history", []
    storage.mkdir()
    stop, wakeup = threading.Event(), relay.Wakeup()
    places = SimpleNamespace(store=storage / "store.json", history=history, relay_state=tmp_path / "state")
    loop = relay.Relay(places, Notifier({}), stop, wakeup)
    monkeypatch.setattr(loop, "_look", lambda _: looks.append([*storage.iterdir()]))
    monkeypatch.setattr(loop, "_show", lambda _: None)
    if not is_told_apart:
        monkeypatch.setattr(loop, "_directories", lambda: {storage: (0, 0)})
    thread = threading.Thread(target=loop._serve, args=([],))
    thread.start()
    try:
        wait_until(lambda: looks, within=30)
        (tmp_path / "other").mkdir()
        (tmp_path / "other").replace(storage)
        looks.clear()
        wakeup.wake()
        wait_until(lambda: looks, within=30)
        (storage / "new").touch()
        wait_until(lambda: [storage / "new"] in looks, within=30, what="a look at what has changed")
    finally:
        stop.set()
        wakeup.wake()
        thread.join()
