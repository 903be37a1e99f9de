"""Writes that nothing depends on, on a thread of their own: a disk that stalls must not hold up the loop for them.

They are those of the live status.
"""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from plantimager.timelapse.daemon.disk_thread import name_thread
from plantimager.timelapse.daemon.journal import Action, log_event

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from plantimager.timelapse.channel.live import LiveFile

LAST_WRITES_TIMEOUT: Final = 2.0
"""Seconds for the writes that still wait when the process ends."""


class SideThread:
    """Makes the writes, in their order. The first one starts the thread, which doesn't keep the process alive."""

    def __init__(self) -> None:
        self._waiting: dict[Hashable, Callable[[], object]] = {}
        self._changed = threading.Condition()
        self._is_writing = False
        self._thread: threading.Thread | None = None

    def put(self, key: Hashable, write: Callable[[], object]) -> None:
        """Have ``write`` called soon, in place of one of the same ``key`` that waits; a failure costs that alone."""
        with self._changed:
            self._waiting[key] = write
            self._changed.notify_all()
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="side", daemon=True)
                self._thread.start()

    def finish(self) -> None:
        """Wait until all writes are made, but no longer than `LAST_WRITES_TIMEOUT`."""
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting and not self._is_writing, LAST_WRITES_TIMEOUT)

    def _work(self) -> None:
        name_thread("side")
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


class SideLive:
    """The live status, written by a `SideThread`. Loop thread."""

    def __init__(self, live: LiveFile, side: SideThread) -> None:
        self._live, self._side = live, side

    def show(self, *view: Any) -> None:
        """Do as `LiveFile.show`, soon; a view that was not written yet is left out."""
        self._side.put("live", partial(self._live.show, *view))
