"""Between the value and the file: a `TimeLapse` read out of a `TimelapseStore`, and written back into it.

What is ours and has no documented key of its own goes under ``extra["timelapsed"]``; all that
others wrote is kept.
"""

from __future__ import annotations

import dataclasses
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from operator import gt
from types import NoneType
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct
from msgspec.structs import force_setattr, replace
from orjson import JSONEncodeError

from plantimager.timelapse.domain.schedule import format_instant, parse_instant, to_utc
from plantimager.timelapse.domain.states import OnScanFailed, TimeLapseMode
from plantimager.timelapse.domain.timelapse import Ending, TimeLapse
from plantimager.timelapse.store.document import VERSION, TimelapseStore, load_store, read_text
from plantimager.timelapse.store.logbook import Logbook, read_own_time
from plantimager.timelapse.store.scan_records import details_of, read_records, scans_of, straighten
from plantimager.timelapse.store.text_blocks import LongLists, Text, mapping
from plantimager.timelapse.support.errors import StoreError
from plantimager.timelapse.support.json_text import dumps, is_exact

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import tzinfo
    from pathlib import Path

    from plantimager.timelapse.domain.timelapse import SlotRecord
    from plantimager.timelapse.support.errors import StoreCorrupt

__all__ = ["LoadedTimelapse", "Logbook", "StoredTimelapse", "load_timelapse", "new_stored_timelapse", "read_timelapse"]

OURS: Final = "timelapsed"
"""The key in ``extra`` under which all lies that the documented keys have no place for."""
CONFIG_SNAPSHOT: Final = "config_snapshot"
LONG: Final = 100_000
"""Bytes of a store from which on the quick reader is worth being imported: some five hundred slots."""


class StoredTimelapse(Struct, frozen=True):
    """A timelapse with the document that carries it, keys of others included."""

    store: TimelapseStore
    """The document as it was read, without schedule and scans; the timelapse goes before it."""
    timelapse: TimeLapse
    logbook: Logbook
    unplaced: tuple[dict[str, Any], ...] = ()
    """Scan records that belong to no slot; written back as they are."""
    notes: tuple[str, ...] = ()
    """What had to be understood of another controller's file."""
    exact: bool = True
    """Whether orjson writes what others wrote as it is; what we write it always does."""
    long: LongLists | None = None
    """The text of what is long, which the values that evolve from this one share: a transition changes little of it."""

    def __post_init__(self) -> None:
        """Begin the text, where this is the first value of its document."""
        if self.long is None:
            timelapse = self.timelapse
            details = partial(details_of, timelapse_id=timelapse.id, n_slots=timelapse.n_slots)
            force_setattr(self, "long", LongLists(timelapse.schedule_times, scans_of, details))

    def evolved(self, timelapse: TimeLapse, logbook: Logbook) -> StoredTimelapse:
        """Return the document of the next value; this one stays as it is."""
        return replace(self, timelapse=timelapse, logbook=logbook)

    @property
    def configuration(self) -> Mapping[str, Any] | None:
        """The scan configuration that the store itself holds."""
        snapshot = self.store.extra.get(CONFIG_SNAPSHOT)
        return snapshot if isinstance(snapshot, dict) and snapshot else None

    def with_configuration(self, configuration: Mapping[str, Any]) -> StoredTimelapse:
        """Return the document with a scan configuration where it had none: the store alone must be enough to resume."""
        if self.configuration is not None or not configuration:
            return self
        extra = {**self.store.extra, CONFIG_SNAPSHOT: dict(configuration)}
        return replace(self, store=dataclasses.replace(self.store, extra=extra), exact=self.exact and is_exact(extra))

    def encode(self) -> bytes:
        """Return the text of the store."""
        return b"".join(self.encode_in_pieces())

    def encode_in_pieces(self) -> Sequence[bytes]:
        """Return the text of the store in pieces, most of which are there already."""
        if self.exact and self.long is not None:
            with suppress(JSONEncodeError):
                return self._encode_quickly(self.long).pieces
        return (dumps(self._as_mapping(), exact=self.exact),)

    def _encode_quickly(self, long: LongLists) -> Text:
        """Return what a dump of `_as_mapping` gives, its long parts put together from texts that are there already."""
        store, ours = self.store, self._own_extra()
        long.update(self.timelapse.records)
        document = {
            **self._frame(),
            "schedule_times": long.schedule(),
            "scans": long.scans(self.unplaced),
            "extra": mapping({**store.extra, OURS: mapping({**ours, "slots": long.details()}, 2)}, 1),
        }
        return mapping(document, 0)

    def _as_mapping(self) -> dict[str, Any]:
        timelapse, store = self.timelapse, self.store
        records = [timelapse.records[slot] for slot in sorted(timelapse.records)]
        slots = details_of(records, timelapse.id, timelapse.n_slots)
        return {
            **self._frame(),
            "schedule_times": [*map(format_instant, timelapse.schedule_times)],
            "scans": [*scans_of(records), *self.unplaced],
            "extra": {**store.extra, OURS: {**self._own_extra(), "slots": slots}},
        }

    def _frame(self) -> dict[str, Any]:
        """Return what the text holds besides schedule, scans and extra."""
        timelapse = self.timelapse
        return {
            **self.store.as_mapping(),
            "timelapse_id": timelapse.id,
            "mode": timelapse.mode.value,
            "state": timelapse.state.value,
            "next_idx": timelapse.next_idx,
            "current_idx": timelapse.current_idx,
            "warmup_sec": _seconds(timelapse.warmup),
            "standby_threshold_sec": _seconds(timelapse.standby_threshold),
            "grace_period": _seconds(timelapse.grace),
            "start_at": None if timelapse.start_at is None else format_instant(timelapse.start_at),
            "on_scan_failed": timelapse.on_scan_failed.value,
            "scan_retries": timelapse.scan_retries,
        }

    def _own_extra(self) -> dict[str, Any]:
        end = self.timelapse.ending
        ending = None if end is None else {"at": format_instant(end.at), "who": end.who, "why": end.why}
        return {**_ours(self.store), "ending": ending, **self.logbook.as_mapping()}


def _seconds(duration: timedelta) -> float:
    """Return a duration as stores have it: whole seconds as an integer."""
    seconds = duration.total_seconds()
    return int(seconds) if seconds.is_integer() else seconds


def new_stored_timelapse(
    timelapse: TimeLapse, configuration: Mapping[str, Any], digest: str | None, file_name: str
) -> StoredTimelapse:
    """Return the document of a timelapse that was just defined."""
    extra = {CONFIG_SNAPSHOT: dict(configuration)} if configuration else {}
    store = TimelapseStore(_file_name=file_name, extra=extra)
    return StoredTimelapse(store, timelapse, Logbook(definition_digest=digest), exact=is_exact(store.extra))


class LoadedTimelapse(Struct, frozen=True):
    """A timelapse that was read from disk, and which file it is from."""

    stored: StoredTimelapse
    path: Path
    """The main file, or its ``.bak``."""
    trouble: StoreCorrupt | None = None
    """What is wrong with the main file, where the ``.bak`` had to stand in for it."""


def load_timelapse(path: Path) -> LoadedTimelapse | None:
    """Return the timelapse in a store, naive times read as the host's; ``None`` where there is no store.

    Raises
    ------
    StoreUnreadable, StoreCorrupt
        As `timelapse_store.load_store`.

    """
    stored = _read_if_long(path)
    if stored is not None:
        return LoadedTimelapse(stored, path)
    loaded = load_store(path)
    if loaded is None:
        return None
    return LoadedTimelapse(read_timelapse(loaded.store, None, exact=loaded.exact), loaded.path, loaded.trouble)


def _read_if_long(path: Path) -> StoredTimelapse | None:
    """Return the timelapse in a long store where all is as usual; `load_store` words the faults of another."""
    with suppress(OSError, StoreError):
        text = read_text(path) if path.stat().st_size >= LONG else None
        if text is not None:
            from plantimager.timelapse.store.quick_reader import read_quickly  # noqa: PLC0415 - for long ones alone

            return read_quickly(text, path.name)
    return None


def read_timelapse(store: TimelapseStore, zone: tzinfo | None, *, exact: bool = False) -> StoredTimelapse:
    """Return the timelapse that a sound store holds; naive times are read in ``zone`` (``None``: the host's).

    ``exact`` is `LoadedStore.format_exact_duration`, where the store was loaded: it spares a look at every value.
    """
    schedule, notes = read_schedule([*map(datetime.fromisoformat, store.schedule_times)], zone)
    details = _ours(store).get("slots")
    records, unplaced = read_records(store, schedule, details if isinstance(details, dict) else {}, zone)
    stored = put_together(store, schedule, records, notes, zone)
    return replace(stored, unplaced=tuple(unplaced), exact=exact or _is_exact(stored.store, store.scans))


def read_schedule(moments: Sequence[datetime], zone: tzinfo | None) -> tuple[tuple[datetime, ...], list[str]]:
    """Return the slots in UTC, and what had to be understood of their times."""
    zones = {moment.tzinfo for moment in moments}
    schedule = tuple(moments if zones == {UTC} else [to_utc(moment, zone) for moment in moments])
    notes = ["times without an offset were read as local time"] if None in zones else []
    backward = sum(map(gt, schedule, schedule[1:]))
    if backward:
        slots = f"{backward} slot{'s' * (backward > 1)}"
        notes.append(f"the schedule goes back in time at {slots}: late ones will count as missed")
    return schedule, notes


def put_together(
    store: TimelapseStore,
    schedule: tuple[datetime, ...],
    found: dict[int, SlotRecord],
    notes: Iterable[str],
    zone: tzinfo | None,
) -> StoredTimelapse:
    """Return the timelapse that a store holds, of which the long lists have been read."""
    notes = [*_notes_on(store), *notes]
    state, next_idx, records = straighten(store, len(schedule), found, notes)
    timelapse = TimeLapse(
        id=store.timelapse_id,
        mode=TimeLapseMode(store.mode),
        state=state,
        schedule_times=schedule,
        next_idx=next_idx,
        records=records,
        warmup=timedelta(seconds=store.warmup_sec),
        standby_threshold=timedelta(seconds=store.standby_threshold_sec),
        grace=timedelta(seconds=store.grace_period),
        start_at=None if store.start_at is None else parse_instant(store.start_at, zone),
        on_scan_failed=OnScanFailed(store.on_scan_failed or OnScanFailed.SKIP_SCAN),
        scan_retries=store.scan_retries or 0,
        ending=_read_ending(_ours(store).get("ending")),
    )
    # What the timelapse holds now is not kept a second time.
    ours = {key: value for key, value in _ours(store).items() if key != "slots"}
    document = dataclasses.replace(store, schedule_times=[], scans=[], extra={**store.extra, OURS: ours})
    return StoredTimelapse(document, timelapse, Logbook.read(_ours(store)), notes=tuple(notes))


def _ours(store: TimelapseStore) -> Mapping[str, Any]:
    ours = store.extra.get(OURS)
    return ours if isinstance(ours, dict) else {}


def _notes_on(store: TimelapseStore) -> Iterator[str]:
    if store.version != VERSION:
        yield f"written by version {store.version}, not {VERSION}: what is known of it is used, the rest is kept"
    snapshot, ours = store.extra.get(CONFIG_SNAPSHOT), store.extra.get(OURS)
    if snapshot is not None and not isinstance(snapshot, dict):
        yield f"extra.{CONFIG_SNAPSHOT} is no object and counts as none; scans go by the definition or the driver"
    if ours is not None and not isinstance(ours, dict):
        yield f"extra.{OURS} is no object: it counts as none and is written anew"
    unsound = [*Logbook.unsound_in(_ours(store))]
    unsound += [key for key in ("slots", "ending") if not isinstance(_ours(store).get(key, {}), dict | NoneType)]
    if unsound:
        yield f"of extra.{OURS}, {', '.join(unsound)} can't be right: it counts as unknown and is written anew"


def _read_ending(raw: Any) -> Ending | None:
    if not isinstance(raw, dict):
        return None
    at = read_own_time(raw.get("at"))
    return None if at is None else Ending(at, str(raw.get("who", "")), str(raw.get("why", "")))


def _is_exact(document: TimelapseStore, scans: Sequence[Mapping[str, Any]]) -> bool:
    """Whether orjson can write all that others may have written."""
    values = [value for scan in scans for value in scan.values()]
    unusual = [value for value in values if value is not None and not (type(value) is str and value.isascii())]
    keys = {key for scan in scans for key in scan}
    return is_exact([document.as_mapping(), unusual, *keys])
