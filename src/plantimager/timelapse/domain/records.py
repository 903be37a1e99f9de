"""What became of each slot: its record, the name of its dataset, its error, and the tally of all slots."""

# Annotations are values here, not texts: `store.schema` takes the types of a record's fields from them.

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from itertools import accumulate
from json import dumps
from types import MappingProxyType
from typing import Any, Final, Self

from msgspec import Struct
from msgspec.structs import replace

from plantimager.timelapse.domain.durations import format_duration
from plantimager.timelapse.domain.states import Reason, RecordStatus

MAX_TEXT_BYTES: Final = 500
"""Bytes of an error, or of a person's reason, that are kept; counted as JSON, where a control character takes six."""
MAX_REPEATED_TEXT_BYTES: Final = 80
"""Bytes of a text that stands in the records of many slots: a hundred thousand of them must still fit a store."""

FILE_TIME_ERROR: Final = timedelta(seconds=2)
"""How much earlier than it was written a file system may say that a file was: FAT counts in two seconds."""

MANY_SLOTS: Final = 10_000
"""Slots from which on even the errors of single slots are cut to `MAX_REPEATED_TEXT_BYTES`."""


class SlotRecord(Struct, frozen=True, gc=False):
    """What became of one slot, or is becoming of it.

    A field that is added here is persisted (`store.schema`), and shown by ``timelapsectl status --json``.
    """

    slot: int
    scan_id: str
    status: RecordStatus = RecordStatus.PENDING
    attempt: int = 0
    """The number of the last attempt; 0 where the driver was never called."""
    interruptions: int = 0
    """How many of the attempts were cut off by a stop or a power cut; they use up no retry."""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    error: Any = None
    """``{"type": …, "msg": …}`` as the daemon writes it; any JSON where another controller wrote it."""
    last_error: str | None = None
    """Why the attempt before this one failed, once a later one succeeded."""
    pictures: int | None = None
    boot_id: str | None = None
    """The machine's boot during which the attempt began that is running or unsettled."""
    directory: str | None = None
    """The directory of all datasets that this attempt puts its own into; ``None`` where that isn't known."""
    unknown_keys: Mapping[str, Any] = MappingProxyType({})
    """The keys of a stored record that this program doesn't know."""

    @property
    def reason(self) -> Reason | None:
        """Why the slot was not taken, where that was the daemon's own decision."""
        kind = self.error.get("type") if isinstance(self.error, dict) else None
        return _REASONS.get(kind) if isinstance(kind, str) else None

    @property
    def is_unsettled(self) -> bool:
        """Whether the attempt counts as ended while its dataset may be whole: the driver is still to be asked."""
        return self.boot_id is not None and self.status is not RecordStatus.RUNNING

    @property
    def error_text(self) -> str:
        """The error in words, whoever wrote it; empty without one."""
        if isinstance(self.error, dict):
            return str(self.error.get("msg") or self.error.get("type") or "")
        return str(self.error or "")

    @property
    def late(self) -> timedelta | None:
        """How late the slot was when it was skipped; ``None`` where lateness wasn't the cause."""
        seconds = self.error.get("late_sec") if isinstance(self.error, dict) else None
        try:
            return timedelta(seconds=seconds) if isinstance(seconds, float | int) else None
        except (OverflowError, ValueError):  # another program may have written any number
            return None

    @property
    def took(self) -> timedelta | None:
        """How long the last attempt lasted by the wall clock."""
        if self.started_at is None or self.finished_at is None:
            return None
        return self.finished_at - self.started_at

    def end_of_attempt(self, at: datetime | None, now: datetime) -> datetime | None:
        """Return the end of the last attempt: ``at`` if it can have ended then, else what is on record, if anything."""
        began = self.started_at
        if at is None or began is None or not began - FILE_TIME_ERROR <= at <= now:
            return self.finished_at
        return max(at, began)

    @property
    def may_reopen(self) -> bool:
        """Whether the slot was closed by the clock alone, so that a clock that was set right may open it again."""
        if self.status is RecordStatus.SKIPPED:
            return self.reason in (Reason.MISSED, Reason.CLOCK_MOVED, Reason.RIG_NOT_READY, Reason.PAUSED)
        return self.status is RecordStatus.INTERRUPTED

    @property
    def without_place(self) -> Self:
        """The record, without the directory of an attempt that nobody will ask about."""
        return self if self.directory is None or self.boot_id is not None else replace(self, directory=None)

    @property
    def was_paused(self) -> bool:
        """Whether a pause has closed the slot, be it that it waited for its rig until then."""
        return self.reason is Reason.PAUSED or (self.reason is Reason.RIG_NOT_READY and self.late is None)

    def closed_late(self, error: dict[str, Any]) -> Self:
        """Return the final record of a slot that became late after it was begun, or while its rig wasn't ready."""
        if self.status is RecordStatus.INTERRUPTED:
            return self
        if self.reason is Reason.RIG_NOT_READY:
            error = {**error, "type": Reason.RIG_NOT_READY.value, "msg": self.error_text}
        return replace(self, status=RecordStatus.SKIPPED, error=error)


class Ending(Struct, frozen=True):
    """Who ended a timelapse before its last slot, when, and why."""

    at: datetime
    who: str
    why: str


class Pause(Struct, frozen=True):
    """Who has the schedule rest, since when, and until when; ``None`` where a person has to end it."""

    since: datetime
    who: str
    until: datetime | None = None
    ended_by: str = ""
    """The person who has ended it, ``until`` then; empty where its time ends it."""
    is_over: bool = False
    """Whether it is recorded that it has ended, and the slots that fell due in it have their records."""


class Tally(Struct, frozen=True):
    """How many slots ended how."""

    taken: int
    failed: int
    skipped: int
    interrupted: int

    @property
    def done(self) -> int:
        """How many slots have their final record."""
        return self.taken + self.failed + self.skipped + self.interrupted

    def __str__(self) -> str:
        parts = [f"{self.taken} taken", f"{self.failed} failed", f"{self.skipped} skipped"]
        if self.interrupted:
            parts.append(f"{self.interrupted} interrupted")
        return ", ".join(parts)


_REASONS: Final = {reason.value: reason for reason in Reason}


def scan_id_of(timelapse_id: str, slot: int, n_slots: int) -> str:
    """Return the usual name of a slot's dataset: ``{timelapse_id}_{slot}``, the bare id for a single slot."""
    return scan_ids_of(timelapse_id, [slot], n_slots)[0]


def scan_ids_of(timelapse_id: str, slots: Iterable[int], n_slots: int) -> list[str]:
    """Return what `scan_id_of` gives for each of thousands of slots, in a quarter of the time."""
    return [timelapse_id for _ in slots] if n_slots == 1 else [f"{timelapse_id}_{slot}" for slot in slots]


def error_of(problem: Exception, n_slots: int = 1) -> dict[str, Any]:
    """Return the fields of an error for `SlotRecord.error`; shortened in a timelapse so long that all may fail."""
    kind = type(problem).__name__
    max_bytes = MAX_TEXT_BYTES if n_slots <= MANY_SLOTS else MAX_REPEATED_TEXT_BYTES
    return {"type": kind, "msg": storable_text(str(problem) or kind, max_bytes)}


def lateness_suffix(grace: timedelta) -> str:
    """Return how the error of a slot ends whose only cause is its own lateness: ``" late, grace 2 min"``."""
    return f" late, grace {format_duration(grace)}"


def storable_text(text: str, max_bytes: int = MAX_TEXT_BYTES) -> str:
    r"""Return a text without the surrogates that no UTF-8 file can carry, cut to ``max_bytes`` of JSON.

    A byte of a file name that isn't UTF-8 becomes ``\xff``.
    """
    try:
        text = text.encode(errors="surrogateescape").decode(errors="backslashreplace")
    except UnicodeEncodeError:  # half a character that is no such byte
        text = text.encode(errors="replace").decode()
    sizes = accumulate(len(dumps(sign, ensure_ascii=False).encode()) - len('""') for sign in text[:max_bytes])
    kept = sum(size <= max_bytes for size in sizes)
    return text if kept == len(text) else f"{text[:kept]}… ({len(text)} characters in all)"
