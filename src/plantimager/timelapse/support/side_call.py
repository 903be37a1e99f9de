"""Calls of what may hang, as the disk of another computer does, on a thread that nobody has to wait for."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Answer = TypeVar("Answer")


class SideCall(Generic[Answer]):
    """Makes one call at a time, within a limit of seconds. One thread; a call that hangs holds another one."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._thread: threading.Thread | None = None

    def make(self, call: Callable[[], Answer]) -> Answer | None:
        """Return the answer; ``None`` where it takes too long, or an earlier call still hangs.

        What the call raises is raised here.
        """
        if self._thread is not None and self._thread.is_alive():
            return None
        answers: list[Answer] = []
        problems: list[Exception] = []

        def answer() -> None:
            try:
                answers.append(call())
            except Exception as problem:  # noqa: BLE001 - raised again by the thread that waits
                problems.append(problem)

        self._thread = threading.Thread(target=answer, daemon=True)
        self._thread.start()
        self._thread.join(self._seconds)
        if problems:
            raise problems[0]
        return answers[0] if answers else None
