"""The part of a sink whose thread works at instants as well as when something has changed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from plantimager.timelapse.relay.actions import RelayAction, log_relay

if TYPE_CHECKING:
    from datetime import datetime

    from plantimager.timelapse.relay.sink import SinkHost
    from plantimager.timelapse.relay.store_view import StoreView

NextLook = tuple["datetime | None", float | None]
"""When to work again, should nothing change: at an instant, and in so many seconds."""


class TimedSink(ABC):
    """`run` is its thread; the rest is for any other. `SinkHost.clock` is its own, which nobody else waits on."""

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
