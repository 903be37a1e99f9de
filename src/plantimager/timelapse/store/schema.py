"""The text of the store's file, key by key: the one place that declares what is persisted.

Reading (`loading`), writing (`conversion`, `writing`), the wording of faults (`checks`) and the strategies of the
tests follow from these Structs. The file has three levels::

    Store                             the documented keys, and in them
        schedule_times  [time]
        scans           [Scan]        one for each slot that has a record, in the order of the slots
        extra           {             what others keep there, and under one key all that is ours:
            timelapsed  Own           the logbook, how the timelapse ended, its pause, and
                slots   {slot: SlotDetails}   what a slot's record holds besides the documented keys of its scan

A field of a domain value has the same name here. One of a slot's record is declared in ``domain/records.py`` alone, in
`SlotRecord`: what the documented keys of a scan have no place for is in `SlotDetails`, whose fields are made from it.
``tests/unit/store/test_schema.py`` fails for a field that does not survive a save and a load.

The ``description`` of a type says in a fault report what a person may write there. ``holds`` in its ``extra`` is a
condition that msgspec can't express, and ``secret`` keeps the value out of every report.

Older spellings of a file are rewritten (`spellings`) before they are held against this.
"""

# Annotations are values here, not texts: msgspec would have to compile each at every start.

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING, Annotated, Any, Final, Self

from msgspec import Meta, Struct, defstruct, field
from msgspec.structs import astuple, fields, replace

from plantimager.timelapse.domain.absence import NO_ABSENCE, Absence
from plantimager.timelapse.domain.durations import MAX_DURATION
from plantimager.timelapse.domain.records import SlotRecord
from plantimager.timelapse.domain.schedule import EARLIEST, LATEST, shift_instant
from plantimager.timelapse.domain.states import OnScanFailed, RecordStatus, TimeLapseMode, TimeLapseState

STORE_VERSION: Final = 1
OWN_KEY: Final = "timelapsed"
"""The key in ``extra`` of everything that the documented keys have no place for."""
DIGEST_KEY: Final = "digest"
"""The key in what is ours of the digest of the file; `raw_text` knows it, too."""
CONFIG_SNAPSHOT: Final = "config_snapshot"
"""The key in ``extra`` of the scan configuration."""


# --- types of fields --------------------------------------------------------------------------------

MAX_NAME_BYTES: Final = 200
"""With a suffix of ours still below the 255 that file systems take."""


def is_safe_name(name: str) -> bool:
    """Whether a timelapse id or scan id from a store may become a file name."""
    return (
        bool(name)
        and name.isprintable()
        and "/" not in name
        and not name.startswith(".")
        and len(name.encode()) <= MAX_NAME_BYTES
    )


def are_years_sound(times: Iterable[datetime]) -> bool:
    """Whether aware times are far from where dates end: in UTC, as they are written."""
    times = [*times]
    if all(EARLIEST.year < year < LATEST.year - 1 for year in set(map(attrgetter("year"), times))):
        return True  # no offset is longer than a day
    return all(EARLIEST <= time < LATEST for time in times)


def times_in(value: object) -> Iterator[datetime]:
    """Yield the times in a Struct, a list, a tuple or the values of a dictionary, however deep."""
    if isinstance(value, datetime):
        yield value
    elif isinstance(value, Struct):
        yield from times_in(astuple(value))
    elif isinstance(value, list | tuple):
        for member in value:
            if isinstance(member, datetime):  # mostly: a list of thousands is read at a start
                yield member
            elif member is not None:
                yield from times_in(member)
    elif isinstance(value, dict):
        yield from times_in(list(value.values()))


def allowed_words(words: type[StrEnum]) -> str:
    """Return the description of a field that holds one of these words."""
    return f"write one of {', '.join(words)}"


def _has_sound_year(time: datetime | None) -> bool:
    return time is None or are_years_sound([time])


_TIME: Final = f"write an ISO-8601 date and time of the years {EARLIEST.year} to {LATEST.year - 1}"
_SAFE_NAME: Final = f"not empty, no '/', no leading dot, at most {MAX_NAME_BYTES} bytes"
_MAX_SECONDS: Final = int(MAX_DURATION.total_seconds())

Instant = Annotated[datetime, Meta(tz=True, description=_TIME, extra={"holds": _has_sound_year})]
OptionalInstant = Annotated[Instant | None, Meta(description=f"{_TIME}, or null")]
WholeNumber = Annotated[int, Meta(description="write a whole number")]
Count = Annotated[int, Meta(ge=0, description="write a whole number of at least 0")]
Seconds = Annotated[
    Annotated[int, Meta(ge=0, le=_MAX_SECONDS)] | Annotated[float, Meta(ge=0, le=_MAX_SECONDS)],
    Meta(description="write seconds: a number from 0 to 100 years"),
]
Name = Annotated[
    str, Meta(description=f"write a name that can name a file: {_SAFE_NAME}", extra={"holds": is_safe_name})
]
Text = Annotated[str, Meta(description="write a text")]


# --- the file, from the inside out --------------------------------------------------------------------


class Scan(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """An entry of ``scans``."""

    scan_id: Text
    started_at: OptionalInstant = None
    finished_at: OptionalInstant = None
    status: Annotated[RecordStatus, Meta(description=allowed_words(RecordStatus))] = RecordStatus.PENDING
    error: Any = None


_STORED_TYPES: Final[dict[Any, Any]] = {int: Count, int | None: Count | None}
"""A whole number in a record is a count."""
_FROM_PLACE: Final = ("slot", "unknown_keys")
"""The fields of a record that follow from its place in the file, and from the rest of it."""


class _UnusualDetails(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """The fields of an entry of ``extra.timelapsed.slots`` whose usual value depends on the rest of the record."""

    scan_id: str | None = None
    attempt: Count | None = None
    """The usual value is 1 for a slot that was begun, else 0."""


if TYPE_CHECKING:
    SlotDetails = _UnusualDetails
else:
    SlotDetails = defstruct(
        "SlotDetails",
        [
            (field.name, _STORED_TYPES.get(field.type, field.type), field.default)
            for field in fields(SlotRecord)
            if field.name not in {*Scan.__struct_fields__, *_UnusualDetails.__struct_fields__, *_FROM_PLACE}
        ],
        bases=(_UnusualDetails,),
        module=__name__,
        frozen=True,
        gc=False,
    )
    """An entry of ``extra.timelapsed.slots``: what a record holds besides the documented keys of its scan.

    A field that is as usual is not written, and in most slots all are.
    """


MAX_OUTAGES: Final = 1000
"""Outages that a store remembers; the oldest are dropped first."""

MAX_DEFINITIONS: Final = 100
"""Replaced definitions that a store remembers besides the first, which is the one that may lie in ``/etc``."""


class Recorded(Struct, frozen=True, omit_defaults=True):
    """Something that was recorded, for the journal that may lack its line after a power cut."""

    at: Instant
    """When the first of it was recorded, or last told."""
    slots: tuple[tuple[Count, Count], ...] = ()
    """Spans of slots: the first and the last of each."""
    begins: bool = False
    """Whether the timelapse began."""
    ends: bool = False
    """Whether it ended."""
    pauses: bool = False
    """Whether a pause began, was changed or ended: `Own.pause` has which."""
    amended: tuple[str, ...] = ()
    """What amendments have changed, and whose they were."""
    archived: str = ""
    """The name in the archive of the timelapse that this is about; empty for the one in the store."""


class Logbook(Struct, frozen=True):
    """The last write of the store, the boots of the machine, and the times in which no daemon ran."""

    saved_at: Instant | None = None
    """The last write; a clock that shows an earlier time can't be right."""
    definition_digest: str | None = field(default=None, name="definition")
    earlier_definitions: tuple[str | None, ...] = ()
    """The digests of the definitions that amendments have replaced, the oldest first; ``None`` for an unknown one."""
    boot_id: str | None = None
    boots: Count = 0
    """Boots of the machine that this timelapse has seen."""
    outages: tuple[tuple[Instant, Instant], ...] = ()
    """The times in which no daemon ran."""
    uncertain: tuple[tuple[Instant, Instant], ...] = ()
    """The times of which nobody knows whether a daemon ran."""
    datasets_disk: dict[str, str] = field(default_factory=dict)
    """The ``path`` that datasets are put into, and the marks of its file system where that isn't the store's own.

    Where a person has named another path since, it is the first one that an attempt may still be whole in.
    """
    other_disks: dict[str, dict[str, str]] = field(default_factory=dict)
    """The marks of the other paths that attempts are or may be in, by path; none of the store's own file system."""
    recent: tuple[Recorded, ...] = ()
    """What was recorded in the last minutes."""

    @property
    def definitions(self) -> tuple[str | None, ...]:
        """The digests of all definitions that the timelapse has had: none of them is a new one."""
        return (self.definition_digest, *self.earlier_definitions)

    def amended(self, digest: str | None) -> Self:
        """Return the log after an amendment by the definition with this digest."""
        known = dict.fromkeys((*self.earlier_definitions, self.definition_digest))
        earlier = tuple(each for each in known if each != digest)
        kept = (*earlier[:1], *earlier[1:][-MAX_DEFINITIONS:])
        return replace(self, definition_digest=digest, earlier_definitions=kept)

    def redated(self, shift: timedelta) -> Self:
        """Return the log by a clock that was set, in which the last minutes stay the last minutes."""
        return replace(self, recent=tuple(replace(entry, at=shift_instant(entry.at, shift)) for entry in self.recent))

    def came_back(self, boot_id: str, absence: Absence = NO_ABSENCE) -> Self:
        """Return the log of a daemon that is there again after an ``absence``."""
        return replace(
            self,
            boot_id=boot_id,
            boots=self.boots + (boot_id != self.boot_id),
            outages=(*self.outages, *absence.outage)[-MAX_OUTAGES:],
            uncertain=(*self.uncertain, *absence.uncertain)[-MAX_OUTAGES:],
        )


class StoredEnding(Struct, frozen=True):
    """``extra.timelapsed.ending``."""

    at: Instant
    who: str = ""
    why: str = ""


class StoredPause(Struct, frozen=True):
    """``extra.timelapsed.pause``: the last one, also where it is over."""

    since: Instant
    who: str = ""
    until: Instant | None = None
    ended_by: str = ""
    is_over: bool = False


class Own(Logbook, frozen=True, forbid_unknown_fields=True):
    """``extra.timelapsed``: the fields of the `Logbook`, and these."""

    slots: dict[int, SlotDetails] = field(default_factory=dict)
    ending: StoredEnding | None = None
    pause: StoredPause | None = None
    digest: Any = None
    """Written with each text, and compared with the text alone (`raw_text`)."""

    def __post_init__(self) -> None:
        """Raise `ValueError` for unsound years, as `Store` does; `spellings` drops the values that have some."""
        values = [getattr(self, name) for name in self.__struct_fields__ if name != "slots"]  # which hold no times
        if not are_years_sound(times_in(values)):
            raise ValueError("not sound years")


class Store(Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    timelapse_id: Name
    mode: Annotated[TimeLapseMode, Meta(description=allowed_words(TimeLapseMode))]
    state: Annotated[TimeLapseState, Meta(description=allowed_words(TimeLapseState))]
    """The words of older controllers are read as well: `TimeLapseState` knows them."""
    schedule_times: Annotated[list[Instant], Meta(description="write a list of ISO-8601 dates and times")]
    version: WholeNumber = STORE_VERSION
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
        """Raise `ValueError` for what the types can't say: years, name, next slot. `checks` words the faults."""
        started, finished = (map(attrgetter(key), self.scans) for key in ("started_at", "finished_at"))
        times = filter(None, chain([self.start_at], self.schedule_times, started, finished))
        in_schedule = self.next_idx <= len(self.schedule_times)
        if not (in_schedule and is_safe_name(self.timelapse_id) and are_years_sound(times)):
            raise ValueError("not a sound store")
