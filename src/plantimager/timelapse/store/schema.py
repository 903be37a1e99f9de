"""The text of the store's file, key by key: the one place that declares what is persisted.

Reading (`loading`), writing (`conversion`, `writing`), the wording of faults (`checks`) and the strategies of the
tests follow from these Structs. The file has three levels::

    Store                             the documented keys, and in them
        schedule_times  [time]
        scans           [Scan]        one for each slot that has a record, in the order of the slots
        extra           {             what others keep there, and under one key all that is ours:
            timelapsed  Own           the logbook, how the timelapse ended, and
                slots   {slot: SlotDetails}   what a slot's record holds besides the documented keys of its scan

A field of a domain value has the same name here. So a new field of a slot's record is declared in
``domain/records.py``, in `SlotRecord`, and here, in `SlotDetails`, with the same default.
``tests/unit/store/test_schema.py`` fails for a field that only one of them has, or that does not survive a save and a
load.

Older spellings of a file are rewritten (`spellings`) before they are held against this.
"""

# Annotations are values here, not texts: msgspec would have to compile each at every start.

from itertools import chain
from operator import attrgetter
from typing import Annotated, Any, Final

from msgspec import Meta, Struct, field

from plantimager.timelapse.domain.states import OnScanFailed, RecordStatus, TimeLapseMode, TimeLapseState
from plantimager.timelapse.store.field_types import (
    Count,
    Instant,
    Name,
    OptionalInstant,
    Seconds,
    Text,
    WholeNumber,
    allowed_words,
    are_years_sound,
    is_safe_name,
)
from plantimager.timelapse.store.logbook import Logbook

VERSION: Final = 1
OURS: Final = "timelapsed"
"""The key in ``extra`` of everything that the documented keys have no place for."""
CONFIG_SNAPSHOT: Final = "config_snapshot"
"""The key in ``extra`` of the scan configuration."""


class Scan(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """An entry of ``scans``."""

    scan_id: Text
    started_at: OptionalInstant = None
    finished_at: OptionalInstant = None
    status: Annotated[RecordStatus, Meta(description=allowed_words(RecordStatus))] = RecordStatus.PENDING
    error: Any = None


class SlotDetails(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """An entry of ``extra.timelapsed.slots``; a field that is as usual is not written, and of most slots none is."""

    scan_id: str | None = None
    """The id of the slot's scan, where it isn't the usual one."""
    attempt: Count | None = None
    """The usual value is 1 for a slot that was begun, else 0."""
    interruptions: Count = 0
    last_error: str | None = None
    pictures: Count | None = None
    boot_id: str | None = None


class StoredEnding(Struct, frozen=True):
    """``extra.timelapsed.ending``."""

    at: Instant
    who: str = ""
    why: str = ""


class Own(Logbook, frozen=True, forbid_unknown_fields=True):
    """``extra.timelapsed``: the fields of the `Logbook`, and these."""

    slots: dict[int, SlotDetails] = field(default_factory=dict)
    ending: StoredEnding | None = None


class Store(Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    timelapse_id: Name
    mode: Annotated[TimeLapseMode, Meta(description=allowed_words(TimeLapseMode))]
    state: Annotated[TimeLapseState, Meta(description=allowed_words(TimeLapseState))]
    """The words of older controllers are read as well: `TimeLapseState` knows them."""
    schedule_times: Annotated[list[Instant], Meta(description="write a list of ISO-8601 dates and times")]
    version: WholeNumber = VERSION
    next_idx: Count = 0
    current_idx: WholeNumber = 0
    """Follows from ``next_idx`` and ``state``: written for other programs, and not read."""
    warmup_sec: Seconds = 0
    standby_threshold_sec: Seconds = 0
    grace_period: Seconds = 0
    start_at: OptionalInstant = None
    scans: Annotated[list[Scan], Meta(description="write a list of objects")] = field(default_factory=list)
    extra: Annotated[dict[str, Any] | None, Meta(description="write an object", extra={"secret": True})] = None
    """May hold an ``api_token``."""
    on_scan_failed: Annotated[OnScanFailed | None, Meta(description=allowed_words(OnScanFailed))] = None
    scan_retries: Count | None = None

    def __post_init__(self) -> None:
        """Hold what the types can't say; `checks` words it.

        Raises
        ------
        ValueError
            A value is not sound.

        """
        started, finished = (map(attrgetter(key), self.scans) for key in ("started_at", "finished_at"))
        times = filter(None, chain([self.start_at], self.schedule_times, started, finished))
        in_schedule = self.next_idx <= len(self.schedule_times)
        if not (in_schedule and is_safe_name(self.timelapse_id) and are_years_sound(times)):
            raise ValueError("not a sound store")
