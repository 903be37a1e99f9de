"""The quick way to read a long store: msgspec decodes its text and checks it against types, all at once and in C.

Only for a text in which all is as usual. One with a key of a newer version, a time in another spelling or a fault
is left to the careful way of `stored_timelapse.read_timelapse`, which understands it or words what is wrong. Where both
read a text, they read the same (but for the seventh decimal of a second: it is rounded here, and cut off there).
"""

# Annotations are no texts here: msgspec would have to compile each.

from datetime import datetime
from itertools import chain, repeat
from operator import attrgetter
from typing import Annotated, Any, Final

from msgspec import Meta, Raw, Struct
from msgspec.json import Decoder

from plantimager.timelapse.domain.states import RecordStatus
from plantimager.timelapse.store.checks import are_years_sound, faults_of
from plantimager.timelapse.store.document import TimelapseStore
from plantimager.timelapse.store.scan_records import as_records, stand_in_their_places
from plantimager.timelapse.store.stored_timelapse import OURS, StoredTimelapse, put_together, read_schedule
from plantimager.timelapse.support import json_text

_Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
_Number = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | float


class _Scan(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """A scan record with the documented keys, and an error as we write it."""

    scan_id: str
    started_at: datetime | None = None
    finished_at: datetime | None = None
    status: RecordStatus = RecordStatus.PENDING
    error: dict[str, str | _Number | None] | str | None = None


class _Details(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """What `scan_records.details_of` says of a slot, unless its scan id is an unusual one."""

    attempt: _Count | None = None
    interruptions: _Count | None = None
    pictures: _Count | None = None
    last_error: str | None = None
    boot_id: str | None = None


class _Store(Struct, forbid_unknown_fields=True):
    """The documented keys. What their values may be is checked as ever; here only that they are plain ones."""

    timelapse_id: str
    mode: str
    state: str
    schedule_times: list[datetime]
    version: int = 1
    next_idx: int = 0
    current_idx: int = 0
    warmup_sec: _Number = 0
    standby_threshold_sec: _Number = 0
    grace_period: _Number = 0
    start_at: str | None = None
    scans: list[_Scan] = []
    extra: dict[str, Raw] | None = None
    on_scan_failed: str | None = None
    scan_retries: int | None = None


_STORE: Final = Decoder(_Store)
_MEMBERS: Final = Decoder(dict[str, Raw])
_DETAILS: Final = Decoder(dict[int, _Details])
_LONG_LISTS: Final = ("schedule_times", "scans", "extra")
_NO_DETAILS: Final = _Details()


def read_quickly(text: bytes, file_name: str) -> StoredTimelapse | None:
    """Return the timelapse that a text holds, naive times read as the host's; ``None``: read it the careful way."""
    try:
        store = _STORE.decode(text)
        extra, details = _read_extra(store.extra or {})
    except (ValueError, RecursionError):  # msgspec's own errors are ValueErrors
        return None
    frame = {key: getattr(store, key) for key in store.__struct_fields__ if key not in _LONG_LISTS}
    scans, n_slots = store.scans, len(store.schedule_times)
    started, finished = [scan.started_at for scan in scans], [scan.finished_at for scan in scans]
    if (
        any(faults_of(frame))
        or store.next_idx > n_slots
        or not json_text.is_exact(frame)
        or not are_years_sound(filter(None, chain(store.schedule_times, started, finished)))
        or not stand_in_their_places([scan.scan_id for scan in scans], store.timelapse_id, n_slots)
    ):
        return None
    known = [*map(details.get, range(len(scans)), repeat(_NO_DETAILS))]
    records = as_records(
        slot=range(len(scans)),
        scan_id=[scan.scan_id for scan in scans],
        status=[scan.status for scan in scans],
        started_at=started,
        finished_at=finished,
        error=[scan.error for scan in scans],
        zone=None,
        **{key: map(attrgetter(key), known) for key in _Details.__struct_fields__},
    )
    schedule, notes = read_schedule(store.schedule_times, None)
    document = TimelapseStore(_file_name=file_name, extra=extra, **frame)
    return put_together(document, schedule, dict(enumerate(records)), notes, None)


def _read_extra(raw: dict[str, Raw]) -> tuple[dict[str, Any], dict[int, _Details]]:
    """Return ``extra`` without the details of slots, and those.

    Raises
    ------
    ValueError
        There is something unusual in it.

    """
    if OURS not in raw:
        return {key: _exactly(value, 2) for key, value in raw.items()}, {}
    ours = _MEMBERS.decode(raw[OURS])
    details = _DETAILS.decode(ours.pop("slots", b"{}"))
    extra = {key: _exactly(value, 2) for key, value in raw.items() if key != OURS}
    return {**extra, OURS: {key: _exactly(value, 3) for key, value in ours.items()}}, details


def _exactly(raw: Raw, depth: int) -> Any:
    """Return what a text holds that stands ``depth`` levels deep, unless only the slow reader of JSON can tell."""
    read = json_text.load(b"[" * depth + bytes(raw) + b"]" * depth)
    if not read.exact:
        raise ValueError("not exact")
    value = read.value
    for _ in range(depth):
        (value,) = value
    return value
