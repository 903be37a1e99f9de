"""One transition of the timelapse as the subscribers of the store keeper are given it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from plantimager.timelapse.domain.events import Event
    from plantimager.timelapse.domain.timelapse import TimeLapse


class Circumstances(Struct, frozen=True):
    """The remarks of the journal on a transition, beyond the values before and after it."""

    note: str = ""
    """A remark of the driver on its scan, or of the reader on a definition."""
    problem: BaseException | None = None
    """The exception of the driver."""
    origin: str = ""
    """The file or command of an accepted definition, the person who ended a pause, or what was amended by whom."""
    is_repeated: bool = False
    """Whether this is one more try for a rig that wasn't ready; the journal has the first."""
    is_found: bool = False
    """Whether the driver was asked about the attempt later, and has found its dataset."""
    cut_off_by: str = ""
    """The end of the process before, to follow "when": ``the power went``; with the first transition of a start."""


class Transition(Struct, frozen=True):
    """The step from one value of the timelapse to the next; the next one is saved by now, or the daemon is degraded."""

    before: TimeLapse | None
    after: TimeLapse
    at: datetime
    events: tuple[Event, ...]
    circumstances: Circumstances


Subscriber: TypeAlias = "Callable[[Transition], None]"
"""A callable for each transition. Loop thread."""
