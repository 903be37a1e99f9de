"""The table ``[drivers.simulated]``."""

# Annotations are evaluated here, since `SimulatedOptions` declares keys.

from datetime import timedelta
from typing import Annotated, Final

from msgspec import Struct

from plantimager.timelapse.datasets.disk_space import MEGABYTE, read_size
from plantimager.timelapse.domain.durations import parse_duration
from plantimager.timelapse.support.faults import boolean, number, whole_number
from plantimager.timelapse.support.keys import Key

TABLE: Final = "drivers.simulated"

ALL_ATTEMPTS: Final = 1_000_000
"""More attempts than a slot ever has."""

KEEP_FREE: Final = 100 * MEGABYTE
"""Bytes. Less than for a real rig: this one is for trying out, also in the /tmp of a small computer."""


def _slots(value: object) -> frozenset[int]:
    if not isinstance(value, list):
        raise ValueError("write a list of slots, from 0: [2, 5]")  # noqa: TRY004 - readers raise ValueError
    return frozenset(map(whole_number(0), value))


def _days(value: object) -> float:
    days = number(value)
    if not 0 <= days <= 1000:
        raise ValueError("write days from 0 to 1000")
    return days


class SimulatedOptions(Struct, frozen=True, kw_only=True):
    """How the simulated rig scans, fails, stalls and is absent."""

    time_per_position: Annotated[timedelta, Key(parse_duration, "duration")] = timedelta(seconds=0.5)
    """How long the arm takes from one position to the next; 0 for at once."""
    image_width: Annotated[int, Key(whole_number(0, 10_000), "pixels")] = 640
    """How wide pictures are at most, 0 to 10000; 0 leaves them as wide as the camera's."""
    days_per_slot: Annotated[float | None, Key(_days, "days", "as the calendar has it")] = None
    """How many days the plant grows from slot to slot, 0 to 1000."""
    fail: Annotated[frozenset[int], Key(_slots)] = frozenset()
    """A list of slots that fail half-way."""
    stall: Annotated[frozenset[int], Key(_slots)] = frozenset()
    """A list of slots that stop half-way and report no more progress."""
    fail_attempts: Annotated[int, Key(whole_number(1), "attempts", "all of them")] = ALL_ATTEMPTS
    stall_attempts: Annotated[int, Key(whole_number(1), "attempts", "all of them")] = ALL_ATTEMPTS
    """How many of the first attempts at those slots do so, 1 or more."""
    deaf: Annotated[bool, Key(boolean)] = False
    """Whether a scan that has stopped ignores that it is cancelled."""
    absent: Annotated[frozenset[int], Key(_slots)] = frozenset()
    """A list of slots in which the rig is absent."""
    absent_for: Annotated[timedelta, Key(parse_duration, "duration")] = timedelta(0)
    """How long after the service's start the rig is absent, too."""
    keep_free: Annotated[int, Key(read_size, "size")] = KEEP_FREE
    """With less than this free on the disk of the datasets no scan is begun."""
