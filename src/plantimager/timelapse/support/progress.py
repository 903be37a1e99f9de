"""Progress of a step that can last, reported to whoever supervises the call on this thread.

For steps below a driver, and for drivers whose `recover` is given no monitor.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Report: TypeAlias = "Callable[[str], None]"
"""What is called with a sentence on the step that is being made."""

_report: ContextVar[Report] = ContextVar("report", default=lambda _: None)


def current_report() -> Report:
    """Return what to call with the progress of the call on this thread; the result may be called on any thread."""
    return _report.get()


@contextmanager
def reporting_to(report: Report) -> Iterator[None]:
    """Have the progress of everything in the block, on this thread, reported to ``report``."""
    token = _report.set(report)
    try:
        yield
    finally:
        _report.reset(token)
