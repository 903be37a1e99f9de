"""Calls of what may hang, as the disk of another computer does, on a thread that nobody has to wait for."""

from __future__ import annotations

import threading
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class NoThreadLeft(OSError):
    """The machine lets no other thread begin: nothing was called."""


def call_on_thread(call: Callable[[], T], name: str = "side") -> Future[T]:
    """Begin a call on a thread of its own, which can't be killed; return what will have its outcome.

    That is a `NoThreadLeft` where no thread can begin.
    """
    end: Future[T] = Future()

    def make() -> None:
        try:
            end.set_result(call())
        except BaseException as problem:  # noqa: BLE001 - a driver may raise anything; raised again with the outcome
            end.set_exception(problem)

    try:
        threading.Thread(target=make, name=name, daemon=True).start()
    except RuntimeError as problem:
        end.set_exception(NoThreadLeft(*problem.args))
    return end


class SideCall(Generic[T]):
    """Makes one call at a time, within a limit of seconds. One thread; a call that hangs holds another one."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._last: Future[T] | None = None

    def make(self, call: Callable[[], T]) -> T | None:
        """Return the answer; ``None`` where it takes too long, or an earlier call still hangs.

        What the call raises is raised here.
        """
        if self._last is not None and not self._last.done():
            return None
        self._last = call_on_thread(call)
        return self._last.result() if wait([self._last], self._seconds).done else None
