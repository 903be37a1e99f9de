"""Reading a store strictly: the timelapse in its file, with absent, unreadable and corrupt files kept apart.

The text of a file in today's spelling is decoded and checked against the `schema` at once. A file in another spelling
is rewritten first (`spellings`), and then checked against the same schema. One function makes the `StoredTimelapse`.
"""

from __future__ import annotations

import contextlib
from operator import attrgetter, gt
from types import NoneType
from typing import TYPE_CHECKING, Any, Final

from msgspec import Raw, Struct, convert
from msgspec.json import Decoder, decode
from msgspec.structs import asdict, replace

from plantimager.timelapse.domain.states import RecordStatus
from plantimager.timelapse.domain.timelapse import TimeLapse
from plantimager.timelapse.store.checks import faults_of
from plantimager.timelapse.store.conversion import convert_fields, in_utc, read_records, read_timelapse_fields
from plantimager.timelapse.store.location import backup_path, follow_link
from plantimager.timelapse.store.raw_text import fits_digest, read_object, read_text
from plantimager.timelapse.store.reconcile import Placement, Progress, place_scans, place_usual_scans, reconcile
from plantimager.timelapse.store.schema import CONFIG_SNAPSHOT, OWN_KEY, STORE_VERSION, Logbook, Own, Scan, Store
from plantimager.timelapse.store.spellings import read_own, rewrite, split_known
from plantimager.timelapse.store.stored_timelapse import KeptParts, StoredTimelapse
from plantimager.timelapse.support.errors import StoreCorrupt, StoreError
from plantimager.timelapse.support.json_text import MAX_LEVELS, fits_orjson, is_exact
from plantimager.timelapse.support.text import format_count

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime, tzinfo
    from pathlib import Path


class LoadedTimelapse(Struct, frozen=True):
    """A timelapse that was read from disk, and which file it is from."""

    stored: StoredTimelapse
    path: Path
    """The main file, or its ``.bak``."""
    trouble: StoreCorrupt | None = None
    """The fault of the main file, where the ``.bak`` had to stand in for it."""
    is_altered: bool = False
    """Whether the file doesn't fit its digest: an edit by hand, or damage; which of them is not known."""


def load_timelapse(path: Path, zone: tzinfo | None = None) -> LoadedTimelapse | None:
    """Return the timelapse in a store; ``None`` where there is no store.

    Times without an offset are read in ``zone``, by default in the host's. A corrupt main file is left as it is, and
    its ``.bak`` is read in its place.

    Raises
    ------
    StoreUnreadable
        The file can't be read now: permission, I/O, not a regular file. It may be fine.
    StoreCorrupt
        It doesn't hold a timelapse, and ``.bak`` doesn't either.
    """
    try:
        return load_generation(path, zone)
    except StoreCorrupt as trouble:
        with contextlib.suppress(StoreError):
            previous = load_generation(backup_path(follow_link(path)), zone)
            if previous is not None:
                return replace(previous, trouble=trouble)
        raise


def load_generation(path: Path, zone: tzinfo | None = None) -> LoadedTimelapse | None:
    """Return the timelapse in one file, as `load_timelapse` does; nothing stands in for it."""
    text = read_text(path)
    if text is None:
        return None
    return LoadedTimelapse(read_timelapse(text, path, zone), path, is_altered=fits_digest(text) is False)


def read_timelapse(text: bytes, path: Path, zone: tzinfo | None = None) -> StoredTimelapse:
    """Return the timelapse that the text of a store holds, or raise `StoreCorrupt`; ``path`` is for its words."""
    contents = _decode_todays(text) or _decode_older(text, path, zone)
    return _as_timelapse(contents)


class _Contents(Struct, frozen=True):
    """The contents of a file, by the schema."""

    store: Store
    own: Own
    placement: Placement
    kept: KeptParts
    unknown_keys_of_scans: Sequence[Mapping[str, Any]] | None = None
    """The unknown keys of each scan in the list; ``None`` where no scan has any."""
    notes: Sequence[str] = ()
    exact: bool = True
    """Whether orjson writes what others wrote as it is: what msgspec has read, it does."""


class _StoreText(Store, frozen=True, forbid_unknown_fields=True):
    """The file with ``extra`` still as text: thousands of details are decoded only once, by their type."""

    extra: dict[str, Raw] | None = None


_STORE_DECODER: Final = Decoder(_StoreText)
_OWN_DECODER: Final = Decoder(Own)
_SCAN_KEYS: Final = frozenset(Scan.__struct_encode_fields__)
_ERROR: Final = attrgetter("error")


def _decode_todays(text: bytes) -> _Contents | None:
    """Return the contents of a file in today's spelling, ``None`` for any other."""
    try:
        store = _STORE_DECODER.decode(text)
        texts = dict(store.extra or {})
        own = _OWN_DECODER.decode(texts.pop(OWN_KEY, b"{}"))
        extra = {key: decode(text) for key, text in texts.items()}
    except (ValueError, RecursionError):  # msgspec's own errors are ValueErrors
        return None
    placement = place_usual_scans(store, own)
    errors = [error for error in map(_ERROR, store.scans) if error is not None]
    if placement is None or _any_pending_is_over(store.scans) or not fits_orjson([store.version, extra, [errors]]):
        return None
    return _Contents(store, own, placement, KeptParts(version=store.version, extra=extra))


def _any_pending_is_over(scans: Sequence[Scan]) -> bool:
    if RecordStatus.PENDING not in map(attrgetter("status"), scans):  # as in nearly all files
        return False
    pending = [scan for scan in scans if scan.status is RecordStatus.PENDING]
    return any(scan.started_at is not None and scan.finished_at is not None for scan in pending)


def _decode_older(text: bytes, path: Path, zone: tzinfo | None) -> _Contents:
    """Return the contents of a file in any spelling."""
    read = read_object(text, path)
    rewritten, notes = rewrite(read.value, zone)
    known, unknown_keys = split_known(rewritten, Store)
    unknown_keys_of_scans = None
    if _any_has_unknown_keys(known.get("scans")):
        split = [split_known(scan, Scan) for scan in known["scans"]]
        known["scans"], unknown_keys_of_scans = map(list, zip(*split, strict=True))
    try:
        store = convert(known, Store)
    except ValueError as problem:
        faults = [*map(str, faults_of(rewritten))] or [str(problem)]
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise StoreCorrupt(path, f"{faults[0]}{more}") from None
    extra = dict(store.extra or {})
    ours = read_own(extra.pop(OWN_KEY, None))
    placement = place_scans(store, ours.own, read.value["schedule_times"])
    kept = KeptParts(
        version=store.version,
        unknown_keys=unknown_keys,
        extra=extra,
        own_unknown_keys=ours.unknown_keys,
        details_unknown_keys=ours.unknown_details,
        scans=tuple(read.value["scans"][position] for position in placement.left_over),
    )
    notes = [*filter(None, [ours.note]), *notes, *_notes_on_scans(placement)]
    exact = read.exact or _is_kept_exactly(kept, [store.version, unknown_keys_of_scans, [*map(_ERROR, store.scans)]])
    return _Contents(store, ours.own, placement, kept, unknown_keys_of_scans, notes, exact)


def _is_kept_exactly(kept: KeptParts, others: Sequence[Any]) -> bool:
    """Return whether orjson can write all that is kept: what it can't may have been in a part that is dropped."""
    parts = [kept.unknown_keys, kept.extra, kept.own_unknown_keys, kept.details_unknown_keys, kept.scans, *others]
    return all(is_exact(part, levels=MAX_LEVELS + 1) for part in parts)


def _any_has_unknown_keys(scans: Any) -> bool:
    objects = [scan for scan in scans if isinstance(scan, dict)] if isinstance(scans, list) else []
    return not set().union(*objects) <= _SCAN_KEYS


def _as_timelapse(contents: _Contents) -> StoredTimelapse:
    """Return the timelapse that a file holds, with everything else in it."""
    store, own, unknown_keys = contents.store, contents.own, contents.unknown_keys_of_scans
    slots, positions = [*contents.placement.placed], [*contents.placement.placed.values()]
    schedule = tuple(in_utc(store.schedule_times))
    records = read_records(
        slots,
        [store.scans[position] for position in positions],
        own.slots,
        None if unknown_keys is None else [unknown_keys[position] for position in positions],
    )
    found = Progress(store.state, store.next_idx, records)
    progress, reconciled = reconcile(store.timelapse_id, len(schedule), found)
    fields = {**read_timelapse_fields(store, own), **asdict(progress)}
    return StoredTimelapse(
        TimeLapse(schedule_times=schedule, **fields),
        convert_fields(Logbook, own),
        contents.kept,
        notes=(*_notes_on(contents.kept), *contents.notes, *_notes_on_order(schedule), *reconciled),
        exact=contents.exact,
    )


def _notes_on(kept: KeptParts) -> Iterator[str]:
    if kept.version != STORE_VERSION:
        yield f"written by version {kept.version}, not {STORE_VERSION}: what is known of it is used, the rest is kept"
    if not isinstance(kept.extra.get(CONFIG_SNAPSHOT), dict | NoneType):
        yield f"extra.{CONFIG_SNAPSHOT} is no object and counts as none; scans go by the definition or the driver"


def _notes_on_scans(placement: Placement) -> Iterator[str]:
    if placement.overruled:
        scans = format_count(placement.overruled, "scan record")
        yield f"{scans} doubled by a later one of the same slot that succeeded, or ended: that one counts"


def _notes_on_order(schedule: Sequence[datetime]) -> Iterator[str]:
    backward = sum(map(gt, schedule, schedule[1:]))
    if backward:
        slots = format_count(backward, "slot")
        yield f"the schedule goes back in time at {slots}: late ones will count as missed"
