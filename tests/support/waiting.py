"""Waiting for a condition that nobody announces, with an end."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

BETWEEN_LOOKS = 0.05
"""Seconds between two looks at the condition."""


class RigError(AssertionError):
    """Something that the test takes for granted did not happen."""


@contextlib.contextmanager
def expiring(within: float, then: Callable[[], object]) -> Iterator[None]:
    """Call ``then`` on a thread of its own, unless the block is left ``within`` so many seconds."""
    timer = threading.Timer(within, then)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


def wait_until(holds: Callable[[], T], *, within: float, what: str = "the condition") -> T:
    """Return the first true value of ``holds()``.

    Raises
    ------
    RigError
        There was none ``within`` so many seconds.
    """
    late = threading.Event()
    with expiring(within, late.set):
        while not (value := holds()):
            if late.wait(BETWEEN_LOOKS):
                raise RigError(f"not within {within:g} s: {what}")
    return value
