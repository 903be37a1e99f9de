"""The contract of a sink, one output of the relay on a thread of its own; and what several of them have in common."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from datetime import timedelta
from math import inf
from typing import TYPE_CHECKING, ClassVar, Final, Protocol, runtime_checkable

from msgspec import Struct

from plantimager.timelapse.relay.actions import RelayAction, log_relay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime
    from pathlib import Path

    from plantimager.timelapse.channel.control_request import Request
    from plantimager.timelapse.channel.relay_status import SinkStatus, TargetStatus
    from plantimager.timelapse.relay.store_view import StoreView
    from plantimager.timelapse.support.clock import Clock


CLOSE: Final = timedelta(minutes=1)
"""From slot to slot."""


class Sink(Protocol):
    """One output of the relay. `run` is its thread; the rest is for any other, and returns at once."""

    @property
    def name(self) -> str:
        """In the journal, in the status, and in the name of its ledger; empty for one that nobody asked for."""

    @property
    def status(self) -> TargetStatus | SinkStatus | None:
        """How far it is, for ``timelapsectl status``: of a target of delivery, or of any other sink."""

    def run(self) -> None:
        """Work until `SinkHost.stop` is set. Nothing that it waits for may be without a time-out."""

    def update(self, view: StoreView) -> None:
        """Take up what the store, the archive and the daemon say by now; called after every change of a file.

        Two views may be many changes apart, and what happened while the relay was down comes with the first one.
        """

    def wake(self) -> None:
        """Let the thread see that the relay stops."""


@runtime_checkable
class TrialSink(Protocol):
    """A sink that sends test messages."""

    @property
    def trial_seconds(self) -> float:
        """The longest that one takes."""

    def send_trial(self, request: Request) -> None:
        """Have one sent, which answers the request. Any thread."""


class WorksOnLatest:
    """The part of a sink whose thread works on the latest view. Those in between are never worked on."""

    def __init__(self, host: SinkHost) -> None:
        self._host = host
        self._changed = threading.Condition()
        self._view: StoreView | None = None
        """The latest; ``None`` before the first."""

    def update(self, view: StoreView) -> None:
        """Take up what the store, the archive and the daemon say by now."""
        with self._changed:
            self._view = view
            self._changed.notify_all()

    def wake(self) -> None:
        """Let the thread see that the relay stops."""
        with self._changed:
            self._changed.notify_all()

    def _wait(self, seen: StoreView | None, seconds: float | None) -> StoreView | None:
        """Return the latest view: once it is another than the one ``seen``, the time is over, or the relay stops."""
        self._wait_until(lambda: self._view is not seen, seconds)
        return self._view

    def _wait_until(self, holds: Callable[[], bool], seconds: float | None) -> None:
        """Wait for a condition that a new view may bring about, as long as `_wait` would."""
        with self._changed:
            self._changed.wait_for(lambda: self._host.stop.is_set() or holds(), seconds)

    def _is_scanning(self) -> bool:
        """Return whether a scan runs: by what the daemon says at this moment, else by the store. Any thread."""
        word, view = self._host.scan_runs(), self._view
        return word if word is not None else view is not None and view.taken.is_scanning

    def _next_slot_in(self) -> float:
        """Return the seconds until the next slot of a running daemon; infinite where none is to come. Any thread.

        Infinite as well where slots are so close that no time is better than another.
        """
        view = self._view
        timelapse = view.timelapse if view is not None and view.daemon is not None else None
        if timelapse is None or timelapse.next_at is None:
            return inf
        earlier = timelapse.schedule_times[: timelapse.next_idx][-1:]
        if earlier and timelapse.next_at - earlier[0] < CLOSE:
            return inf
        seconds = (timelapse.next_at - self._host.clock.now()).total_seconds()
        return seconds if seconds > 0 else inf


class SinkHost(Struct, frozen=True):
    """What a sink takes from its surroundings."""

    datasets_of: Callable[[Iterable[str]], Path]
    """Return the directory of the datasets of some scans, by their ids."""
    clock: Clock
    stop: threading.Event
    report: Callable[[], None]
    """Called when the `Sink.status` has changed. Any thread."""
    scan_runs: Callable[[], bool | None] = lambda: None
    """Return whether the daemon says at this moment that it takes a scan; ``None`` without its word. Any thread."""


NextLook = tuple["datetime | None", float | None]
"""When to work again, should nothing change: at an instant, and in so many seconds."""


class TimedSink(ABC):
    """A sink whose thread works at instants as well as when something has changed.

    `run` is its thread; the rest is for any other. `SinkHost.clock` is its own, which nobody else waits on.
    """

    failed_wait: ClassVar[float] = 600.0
    """Seconds after a mistake of ours, which no change ends: it might be made again with each."""

    def __init__(self, name: str, host: SinkHost) -> None:
        self.name, self._host = name, host
        self._view: StoreView | None = None

    @abstractmethod
    def _work(self, view: StoreView) -> NextLook:
        """Do what is due."""

    def _is_news(self, before: StoreView, view: StoreView) -> bool:
        """Whether something has changed that matters here. Any thread."""
        return before is not view

    def update(self, view: StoreView) -> None:
        """Take up what the store, the archive and the daemon say by now."""
        before, self._view = self._view, view
        if before is None or self._is_news(before, view):
            self._host.clock.wake()

    def wake(self) -> None:
        """Let the thread see that the relay stops."""
        self._host.clock.wake()

    def run(self) -> None:
        """Work until the relay stops."""
        while not self._host.stop.is_set():
            until, timeout, view = None, None, self._view
            if view is not None:
                try:
                    until, timeout = self._work(view)
                except Exception as problem:  # noqa: BLE001 - a mistake of ours stops neither the others nor this one
                    log_relay(RelayAction.RELAY_FAILED, f"{self.name}: {problem!r}", error=problem, target=self.name)
                    self._host.stop.wait(self.failed_wait)
                    continue
            self._host.clock.wait(until, timeout)
