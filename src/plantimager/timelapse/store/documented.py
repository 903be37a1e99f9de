"""The store as the community's controller documents it: names and meanings that other programs rely on.

They hand in live objects of their own classes (`TimelapseStore.from_timelapse`) and take out what builds such an
object again (`TimelapseStore.to_timelapse_kwargs`). Whatever `TimelapseStore.save` accepts,
`TimelapseStore.new_store_from_last` gives back; nothing is checked. The daemon doesn't use this: it reads with the
stricter `loading`.

These are all deliberate deviations from what is documented. None changes what a value means.

======================== ============================================ ===============================================
what                     documented                                   here
======================== ============================================ ===============================================
file name                read from the environment at import          read at the time of the call; an empty one is
                                                                      the default, one with a path separator refused
``XDG_DATA_HOME``        used as it is                                a relative path is ignored (the XDG rule)
`save`                   rename                                       the directory is synced as well, the generation
                                                                      before stays as ``.bak``, mode 0600 in a
                                                                      directory of mode 0700
`save` over a bad file   it is replaced                               one that can't be read is kept as
                                                                      ``.corrupt-<UTC time>``, and the ``.bak`` stays
                                                                      what it is
`save` through a link    the link is replaced                         the file that it leads to is replaced
`save` of too much       written                                      refused where it could not be read again: more
                                                                      than `MAX_STORE_BYTES`, or too deeply nested
text                     other characters than ASCII escaped          UTF-8; a byte order mark is read over
unknown keys             dropped at the top level; in a record, an    kept, at every level; `to_timelapse_kwargs`
                         error of `to_timelapse_kwargs`               leaves those of records out
later keys               unknown                                      ``on_scan_failed`` and ``scan_retries`` are
                                                                      fields, and written where they have a value
`new_store_from_last`    ``None`` for a file that can't be read       the same; the log also says when the ``.bak``
                                                                      could stand in for it, and calls a directory of
                                                                      that name an error; it warns of a file of the
                                                                      daemon's that doesn't fit its digest, which `save`
                                                                      renews
`from_scan`              ``_start_time`` in seconds, ``error`` and    also a datetime, and any kind of number; an
                         ``status`` as they are                       exception as its type and words; no status as
                                                                      ``pending``; a record stays as it is
`from_timelapse`         an error where ``scans`` is ``None``         no scans
enums                    only members whose value is a text           any enum, and the text itself
``repr`` of a store      shows ``extra``                              leaves it out: it may hold an ``api_token``
======================== ============================================ ===============================================
"""

from __future__ import annotations

import logging
from contextlib import closing
from copy import copy
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from plantimager.timelapse.domain.states import RecordStatus
from plantimager.timelapse.store.documented_values import _dt_to_iso, _enum_to_str, _iso_to_dt, _str_to_enum, time_text
from plantimager.timelapse.store.location import (
    BARE_FILE_NAME,
    TIMELAPSE_STORAGE_JSON,
    backup_path,
    follow_link,
    get_file_name,
    get_storage_dir,
    is_bare_file_name,
)
from plantimager.timelapse.store.raw_text import MAX_STORE_BYTES, fits_digest, read_object, read_text, seal
from plantimager.timelapse.store.schema import STORE_VERSION
from plantimager.timelapse.support import json_text
from plantimager.timelapse.support.clock import SystemClock
from plantimager.timelapse.support.durable import file_stamp, keep_copy, make_private_directory, write_durably
from plantimager.timelapse.support.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = [
    "TIMELAPSE_STORAGE_JSON",
    "ScanRecord",
    "TimelapseStore",
    "_dt_to_iso",
    "_enum_to_str",
    "_iso_to_dt",
    "_str_to_enum",
    "get_storage_dir",
]

logger = logging.getLogger("plantimager.controller.scanner.timelapse_store")

_PENDING: Final = RecordStatus.PENDING.value
_NUMBERS: Final = ("next_idx", "current_idx", "warmup_sec", "standby_threshold_sec", "grace_period")
"""What a live timelapse and its store have under one name."""
_LATER: Final = ("on_scan_failed", "scan_retries")
"""The keys that the documented version doesn't have."""


def _default_file_name() -> str:
    return get_file_name(default=TIMELAPSE_STORAGE_JSON)


@dataclass
class ScanRecord:
    """The part of a scan that the store keeps: what a resume needs."""

    scan_id: str
    started_at: str | None = None
    """ISO-8601."""
    finished_at: str | None = None
    """ISO-8601."""
    status: str = _PENDING
    error: Any = None

    @classmethod
    def from_scan(cls, scan_obj: Any) -> ScanRecord:
        """Return a record of a live scan, whatever its class.

        Reads ``scan_id``, and where they are there ``_start_time`` and ``_stop_time`` (seconds since the epoch, or a
        `datetime`), ``status`` and ``error``. A record, as `TimelapseStore.to_timelapse_kwargs` returns it, stays
        what it is.
        """
        if isinstance(scan_obj, ScanRecord):
            return copy(scan_obj)
        error, status = getattr(scan_obj, "error", None), getattr(scan_obj, "status", None)
        if isinstance(status, Enum):
            status = _enum_to_str(status)
        return cls(
            scan_id=scan_obj.scan_id,
            started_at=time_text(getattr(scan_obj, "_start_time", None)),
            finished_at=time_text(getattr(scan_obj, "_stop_time", None)),
            status=_PENDING if status is None else status,
            error={"type": type(error).__name__, "msg": str(error)} if isinstance(error, BaseException) else error,
        )


@dataclass
class TimelapseStore:
    """A timelapse as its JSON file has it: texts, numbers and plain containers."""

    _file_name: str = field(default_factory=_default_file_name)
    version: int = STORE_VERSION
    timelapse_id: str = ""
    mode: str | None = ""
    state: str | None = ""
    schedule_times: list[str | None] = field(default_factory=list)
    """ISO-8601, one for each slot."""
    next_idx: int = 0
    current_idx: int = 0
    warmup_sec: float = 0
    standby_threshold_sec: float = 0
    grace_period: float = 0
    """Seconds."""
    start_at: str | None = None
    scans: list[dict[str, Any]] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict, repr=False)  # may hold an api_token
    on_scan_failed: str | None = None
    scan_retries: int | None = None
    _unknown: dict[str, Any] = field(default_factory=dict, repr=False)
    """Top-level keys of a newer version, written back as they were read."""

    @staticmethod
    def from_timelapse(tl_obj: Any) -> TimelapseStore:
        """Return a store of a live timelapse, whatever its class.

        Reads ``id``, ``mode``, ``_state``, ``schedule_times`` (datetimes), ``next_idx``, ``current_idx``,
        ``warmup_sec``, ``standby_threshold_sec``, ``grace_period``, ``start_at`` and, where they are there,
        ``scans``, and ``on_scan_failed`` and ``scan_retries`` of later versions.
        """
        policy = getattr(tl_obj, "on_scan_failed", None)
        retries = getattr(tl_obj, "scan_retries", None)
        return TimelapseStore(
            timelapse_id=tl_obj.id,
            mode=_enum_to_str(tl_obj.mode),
            state=_enum_to_str(tl_obj._state),  # noqa: SLF001 - the documented attribute of others' objects
            schedule_times=[_dt_to_iso(time) for time in tl_obj.schedule_times],
            **{name: getattr(tl_obj, name) for name in _NUMBERS},
            start_at=_dt_to_iso(tl_obj.start_at),
            scans=[asdict(ScanRecord.from_scan(scan)) for scan in getattr(tl_obj, "scans", None) or ()],
            on_scan_failed=_enum_to_str(policy) if isinstance(policy, str | Enum) else None,
            scan_retries=retries if type(retries) is int else None,
        )

    @classmethod
    def new_store_from_last(cls) -> TimelapseStore | None:
        """Return the store of the last run, or ``None``: it is absent or can't be read, and the log says which.

        Absent keys have their defaults. A store of another version is read as well as can be, with a warning.
        """
        try:
            path = get_storage_dir() / _default_file_name()
            text = read_text(path)
            if text is None:
                logger.info("%s: no timelapse is stored", path)
                return None
            raw = read_object(text, path).value
        except Exception as problem:  # noqa: BLE001 - as documented: whatever it is, the program starts afresh
            hint = _describe_backup(path) if isinstance(problem, StoreError) else ""
            logger.error("the stored timelapse can't be used: %s%s", problem, hint)  # noqa: TRY400 - no traceback
            return None
        if fits_digest(text) is False:
            logger.warning("%s: not as it was written: edited by hand, or damaged", path)
        version = raw.get("version", STORE_VERSION)
        if version != STORE_VERSION:
            logger.warning("%s: version %r, not %d; reading what can be read", path, version, STORE_VERSION)
        logger.debug("%s: read", path)
        return cls._from_mapping(raw, path.name)

    def save(self) -> None:
        """Put the store on disk: durable, whole, the generation before it as ``.bak``; mode 0600, directory 0700.

        Raises
        ------
        OSError, TypeError, ValueError
            It is not on disk; the file that was there still is. Logged as well.
        """
        try:
            content = seal(json_text.dumps(self._as_serialisable_dict(), exact=False, default=None))
            if len(content) > MAX_STORE_BYTES:
                raise ValueError(f"{len(content)} bytes, at most {MAX_STORE_BYTES} are read again")
            make_private_directory(self._full_path.parent)
            path = follow_link(self._full_path)
            was_kept = _keep_unreadable(path)
            write_durably(path, content, backup=None if was_kept else backup_path(path))
        except Exception as problem:
            logger.error("%s: can't be saved: %s", self._file_name, problem)  # noqa: TRY400 - raised again below
            raise
        logger.debug("%s: saved", path)

    def to_timelapse_kwargs(self) -> dict[str, Any]:
        """Return what the constructor of a timelapse takes, to go on where the store stopped.

        Times are datetimes as they were written (naive ones stay naive), records are `ScanRecord`.
        """
        keys = _keys_of(ScanRecord)
        return {
            **{key: getattr(self, key) for key in _keys_of(TimelapseStore) if key not in ("version", *_LATER)},
            "schedule_times": [_iso_to_dt(text) for text in self.schedule_times],
            "start_at": _iso_to_dt(self.start_at),
            "scans": [ScanRecord(**{key: scan[key] for key in keys if key in scan}) for scan in self.scans],
        }

    @property
    def _full_path(self) -> Path:
        if not is_bare_file_name(self._file_name):
            raise ValueError(f"{self._file_name!r} can't be the store's file: {BARE_FILE_NAME}")
        return get_storage_dir() / self._file_name

    def _as_serialisable_dict(self) -> dict[str, Any]:
        """Return what the JSON text is to hold; the later keys only where they have a value."""
        absent = [key for key in _LATER if getattr(self, key) is None]
        values = asdict(self)
        return {**values["_unknown"], **{key: values[key] for key in _keys_of(type(self)) if key not in absent}}

    @classmethod
    def _from_mapping(cls, raw: Mapping[str, Any], file_name: str) -> TimelapseStore:
        """Return the store that a JSON object holds, its values as they are."""
        known = _keys_of(cls)
        unknown = {key: value for key, value in raw.items() if key not in known}
        return cls(_file_name=file_name, _unknown=unknown, **{key: raw[key] for key in known if key in raw})


def _keys_of(kind: type[ScanRecord | TimelapseStore]) -> tuple[str, ...]:
    """Return the keys of a JSON object, in the order in which they are documented."""
    return tuple(key for key in kind.__dataclass_fields__ if not key.startswith("_"))


# --- files ----------------------------------------------------------------------------------------


def _keep_unreadable(path: Path) -> bool:
    """Give a file that holds no store a further name, and say so; return whether there was one."""
    try:
        text = read_text(path)
        if text is not None:
            read_object(text, path)
    except StoreError as problem:
        with closing(SystemClock()) as clock:
            kept = keep_copy(path, "corrupt", file_stamp(clock.now()))
        logger.warning("%s; kept as %s", problem, kept.name)
        return True
    return False


def _describe_backup(path: Path) -> str:
    """Return what to do where the generation before a file could stand in for it; empty where it could not."""
    try:
        backup = backup_path(follow_link(path))
        name = read_object(read_text(backup) or b"", backup).value.get("timelapse_id")
    except (StoreError, OSError):
        return ""
    return f"; {backup} holds the save before it, of {name}: rename it to {path.name} to go on from there"
