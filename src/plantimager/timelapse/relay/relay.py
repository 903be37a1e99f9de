"""The relay's loop: it sees changes of the store and the archive, and has the sinks look at them."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from plantimager.timelapse.channel.relay_status import doubts_of, read_relay_status, write_relay_status
from plantimager.timelapse.relay.actions import RelayAction, log_relay
from plantimager.timelapse.relay.control import status_of
from plantimager.timelapse.relay.store_view import StoreView, StoreViewReader
from plantimager.timelapse.support.inotify import FileWatch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from plantimager.timelapse.channel.relay_status import RelayStatus
    from plantimager.timelapse.relay.sink import Sink
    from plantimager.timelapse.settings.places import Places
    from plantimager.timelapse.systemd.notifier import Notifier

BETWEEN_LOOKS: Final = 90.0
"""Seconds between two looks, for what no watch sees: a directory that isn't there yet, a daemon that is dead but still
has a process, what a daemon says beside its store where it can't write there."""
STOP_TIMEOUT: Final = 5.0
"""Seconds for the sinks to end. What they leave undone is done at the next start."""


class Wakeup:
    """A pipe by which sinks and signals wake the loop."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def wake(self) -> None:
        """End the present wait, or the next one. Any thread."""
        with suppress(BlockingIOError):  # full: a wake-up is pending
            os.write(self.writer, b"\0")

    def clear(self) -> None:
        """Take all wake-ups."""
        with suppress(BlockingIOError):
            os.read(self.reader, 1 << 16)


class Relay:
    """The running relay. Main thread."""

    def __init__(self, places: Places, notifier: Notifier, stop: threading.Event, wakeup: Wakeup) -> None:
        self._places, self._notifier, self._stop, self._wakeup = places, notifier, stop, wakeup
        before = read_relay_status(places.relay_state)
        self._reader = StoreViewReader(places, before.unended if before is not None else "")
        self._faults: dict[Path, str] = {}
        self._shown: RelayStatus | None = None

    def run(self, sinks: Sequence[Sink]) -> None:
        """Serve the sinks until SIGTERM or SIGINT."""
        signal.set_wakeup_fd(self._wakeup.writer, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop.set())
        threads = [threading.Thread(target=sink.run, name=sink.name, daemon=True) for sink in sinks]
        for thread in threads:
            thread.start()
        self._serve(sinks)
        self._notifier.stopping()
        for sink in sinks:
            sink.wake()
        for thread in threads:
            thread.join(STOP_TIMEOUT)
        self._show(sinks)  # what was delivered since the last look

    def _serve(self, sinks: Sequence[Sink]) -> None:
        interval = self._notifier.watchdog_interval
        timeout = BETWEEN_LOOKS if interval is None else min(BETWEEN_LOOKS, interval.total_seconds() / 2)
        ready = False
        while not self._stop.is_set():
            directories = self._directories()
            with FileWatch(*directories) as watch:  # before the look, so that no change falls between the two
                watch.register(self._wakeup.reader)
                while not self._stop.is_set():
                    view = self._look(sinks)
                    for sink in sinks:
                        sink.update(view)
                    if not ready:
                        self._notifier.ready()
                        ready = True
                    self._show(sinks)
                    self._notifier.feed_watchdog()
                    watch.wait(timeout)
                    self._wakeup.clear()
                    if watch.has_ended or directories != self._directories():
                        break

    def _directories(self) -> Mapping[Path, tuple[int, int]]:
        """Return the directories to watch that are there, each with what tells it from another in its place."""
        found = {}
        for path in (self._places.store.parent, self._places.history, self._places.relay_state):
            with suppress(OSError):
                status = path.stat()
                found[path] = status.st_dev, status.st_ino
        return found

    def _look(self, sinks: Sequence[Sink]) -> StoreView:
        status = status_of(sinks)
        view = self._reader.read(status.targets, doubts_of(status.sinks))
        if self._reader.faults != self._faults:
            for path in self._reader.faults.keys() - self._faults.keys():
                log_relay(RelayAction.STORE_NOT_READ, f"{self._reader.faults[path]}; what it said before still counts")
            self._faults = dict(self._reader.faults)
        return view

    def _show(self, sinks: Sequence[Sink]) -> None:
        status = replace(status_of(sinks), unended=self._reader.unended)
        if status != self._shown:
            self._shown = status
            write_relay_status(self._places.relay_state, status)
            targets = [
                f"{t.name}: {t.delivered} of {t.taken}{f' ({t.trouble})' * bool(t.trouble)}" for t in status.targets
            ]
            self._notifier.status(f"delivered to {'; '.join(targets)}" if targets else "reading the store")
