"""Calls that the loop itself waits for, for a limited time: of a driver, and of files on a disk that may stall."""

from __future__ import annotations

from concurrent.futures import wait
from typing import TYPE_CHECKING, Final, TypeVar

from plantimager.timelapse.daemon.disk_thread import DiskStalled
from plantimager.timelapse.support.errors import DriverStalled
from plantimager.timelapse.support.side_call import call_on_thread

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

T = TypeVar("T")

WAIT_INTERVAL: Final = 0.5
"""Seconds between two looks at what else is to be done while the loop itself waits for a call."""


def call_with_timeout(
    limit: timedelta, who: str, call: Callable[[], T], is_alive: Callable[[], bool] = lambda: False
) -> T:
    """Return what ``call`` returns, or raise what it raises: for the few calls that the loop itself waits for.

    ``is_alive`` is asked every `WAIT_INTERVAL` on the calling thread; where it holds, ``limit`` counts from then on.

    Raises
    ------
    DriverStalled
        It takes longer. The thread that makes it can't be killed, and goes on.
    """
    end = call_on_thread(call, "driver")
    left = limit.total_seconds()
    while not wait([end], min(left, WAIT_INTERVAL)).done:
        left = limit.total_seconds() if is_alive() else left - WAIT_INTERVAL
        if left <= 0:
            raise DriverStalled(who, limit, abandoned=True)
    return end.result()


def read_within(limit: timedelta, read: Callable[[], T]) -> T:
    """Return what ``read`` returns, or raise what it raises: for the few files that the loop itself needs.

    Raises
    ------
    DiskStalled
        It takes longer than ``limit``; it goes on, on a thread of its own.
    """
    try:
        return call_with_timeout(limit, "disk", read)
    except DriverStalled:
        raise DiskStalled(limit, is_first=True) from None
