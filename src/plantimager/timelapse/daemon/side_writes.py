"""Writes that the loop doesn't wait for, on threads of their own: whoever takes them must not hold it up.

They are the live status and the notices to systemd.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from plantimager.timelapse.daemon.journal import Action, log_event
from plantimager.timelapse.systemd.notifier import Notifier

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping
    from datetime import datetime

    from plantimager.timelapse.channel.live import LiveFile, LiveStatus

LAST_WRITES_TIMEOUT: Final = 2.0
"""Seconds for the writes that still wait when the process ends."""

READY_TIMEOUT: Final = 0.05
"""Seconds that the loop waits for systemd to be told that the service is ready, for which others wait."""


def name_thread(name: str) -> None:
    """Name this thread to the kernel, for ``ps -L``, which Python 3.11 doesn't."""
    with suppress(OSError):
        Path("/proc/thread-self/comm").write_text(name)


class SideThread:
    """Makes the writes, in their order. The first one starts the thread, which doesn't keep the process alive."""

    def __init__(self, name: str = "side") -> None:
        self._name = name
        self._waiting: dict[Hashable, Callable[[], object]] = {}
        self._changed = threading.Condition()
        self._is_writing = False
        self._thread: threading.Thread | None = None

    def put(self, key: Hashable, write: Callable[[], object]) -> None:
        """Have ``write`` called soon, after all that wait; one of the same ``key`` that waits is left out.

        A failure costs that write alone.
        """
        with self._changed:
            self._waiting.pop(key, None)  # its place, too: the end of a reload would come before its beginning
            self._waiting[key] = write
            self._changed.notify_all()
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
                self._thread.start()

    def finish(self, limit: float | None = None) -> None:
        """Wait until all writes are made, but no longer than ``limit`` seconds, by default `LAST_WRITES_TIMEOUT`."""
        limit = LAST_WRITES_TIMEOUT if limit is None else limit
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting and not self._is_writing, limit)

    def _work(self) -> None:
        name_thread(self._name)
        while True:
            with self._changed:
                self._is_writing = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._waiting)
                write = self._waiting.pop(next(iter(self._waiting)))
                self._is_writing = True
            try:
                write()
            except OSError:  # nothing depends on it
                pass
            except Exception as problem:  # noqa: BLE001 - the next status is to be written
                words = f"the live status can't be written: {type(problem).__name__}"
                log_event(Action.REQUEST_REFUSED, words, error=problem)


class SideNotifier(Notifier):
    """The line to the service manager, by a `SideThread` of its own: one that is stopped takes nothing. Loop thread."""

    def __init__(self, environment: Mapping[str, str], side: SideThread) -> None:
        super().__init__(environment)
        self._side = side
        if self._systemd is not None and self._systemd.socket is not None:
            self._systemd.socket.settimeout(None)  # then nothing is lost: the newest of each kind waits

    def _send(self, *assignments: str) -> None:
        if self._systemd is not None:
            kind, *_ = assignments[0].split("=")
            self._side.put(kind, partial(super()._send, *assignments))
            if kind == "READY":  # the loop has much to do now: its thread would keep this one from the interpreter
                self._side.finish(READY_TIMEOUT)


class SideLive:
    """The live status, written by a `SideThread`. Loop thread."""

    def __init__(self, live: LiveFile, side: SideThread) -> None:
        self._live, self._side = live, side

    def show(self, status: LiveStatus, at: datetime) -> None:
        """Do as `LiveFile.show`, soon; a status that was not written yet is left out."""
        self._side.put("live", partial(self._live.show, status, at))
