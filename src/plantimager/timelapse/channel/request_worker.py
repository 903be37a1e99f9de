"""A thread that answers requests which need no decision of a loop, one after the other."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeAlias

from plantimager.timelapse.channel.control_request import Answer, refusal_of
from plantimager.timelapse.support.errors import TimelapsedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from plantimager.timelapse.channel.control_request import Request

Find: TypeAlias = "Callable[[Request], Answer | None]"
"""It returns ``None`` where the request is answered later."""


class RequestWorker:
    """Answers what takes long, or may hang with a disk: no more wait for it than ``most``, and others are refused."""

    def __init__(self, name: str, report: Callable[[Request, Exception], None], most: int) -> None:
        """Call ``report`` with a request in whose answering a mistake was made."""
        self._thread, self._free, self._report = ThreadPoolExecutor(1, name), threading.Semaphore(most), report

    def put(self, find: Find, request: Request) -> None:
        """Have ``find`` answer a request soon. Any thread."""
        if request.is_withdrawn:
            return
        if not self._free.acquire(blocking=False):
            busy = "other requests are not done yet; try again in a moment"
            request.answer(Answer(accepted=False, message=busy))
            return
        end = self._thread.submit(answer_now, find, request, self._report)
        end.add_done_callback(lambda _: self._free.release())


def answer_now(find: Find, request: Request, report: Callable[[Request, Exception], None]) -> None:
    """Answer a request, unless ``find`` has it answered later; a mistake is reported, and costs no other request."""
    if request.is_withdrawn:
        return
    try:
        answer = find(request)
    except (TimelapsedError, OSError) as refused:
        answer = refusal_of(refused)
    except Exception as problem:  # noqa: BLE001 - see above
        report(request, problem)
        answer = refusal_of(problem)
    if answer is not None:
        request.answer(answer)
