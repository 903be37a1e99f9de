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
    """What the journal says of a transition beyond the values before and after it."""

    note: str = ""
    """A remark of the driver on its scan, or of the reader on a definition."""
    problem: BaseException | None = None
    """What the driver raised."""
    origin: str = ""
    """Where an accepted definition is from."""
    is_repeated: bool = False
    """Whether this is one more try for a rig that wasn't ready, of which the journal knows."""
    cut_off_by: str = ""
    """With the first transition of a start: what ended the process before, to follow "when": ``the power went``."""


class Transition(Struct, frozen=True):
    """The step from one value of the timelapse to the next; the next one is saved by now, or the daemon is degraded."""

    before: TimeLapse | None
    after: TimeLapse
    at: datetime
    events: tuple[Event, ...]
    circumstances: Circumstances


Subscriber: TypeAlias = "Callable[[Transition], None]"
"""What is called with each transition. Loop thread."""
