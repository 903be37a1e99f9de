"""The store: the JSON file that holds the timelapse, as the community's controller documents it.

Names and meanings of this module are a contract with other programs, which hand in live
objects of their own classes (`TimelapseStore.from_timelapse`) and take out what builds such
an object again (`TimelapseStore.to_timelapse_kwargs`). The daemon itself reads with the
stricter `load_store` and turns stores into values in `stored_timelapse`.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
from copy import copy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from numbers import Real
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct
from msgspec.structs import replace
from platformdirs import user_data_path

from plantimager.timelapse.domain.schedule import format_instant, to_utc
from plantimager.timelapse.domain.states import RecordStatus
from plantimager.timelapse.store.checks import faults_of, missing_from
from plantimager.timelapse.support import json_text
from plantimager.timelapse.support.durable import (
    FileTooLarge,
    make_private_directory,
    read_regular,
    write_durably,
)
from plantimager.timelapse.support.errors import (
    FaultsFound,
    StoreCorrupt,
    StoreError,
    StoreUnreadable,
)
from plantimager.timelapse.support.faults import MISSING, Fault

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

logger = logging.getLogger(__name__)

APPLICATION: Final = "plant-imager3-app"
TIMELAPSE_STORAGE_JSON: Final = "timelapse_storage.json"
FILE_NAME_VARIABLE: Final = "PI3_TIMELAPSE_FILE_NAME"
VERSION: Final = 1
LARGEST_STORE: Final = 58_000_000
"""Bytes of a store that are read: a hundred thousand slots with all their records take 28 MB."""


_BARE: Final = "write a bare file name, without a path separator"


def get_storage_dir() -> Path:
    """Return the directory of the store: ``$XDG_DATA_HOME/plant-imager3-app``, by default in ``~/.local/share``.

    The environment is read at each call; a relative ``XDG_DATA_HOME`` is ignored.

    Raises
    ------
    FaultsFound
        The variable isn't set, and the user has no home.

    """
    try:
        return user_data_path(APPLICATION)
    except RuntimeError:
        problem = "missing, and this user has no home directory; write an absolute path"
        raise FaultsFound([Fault("", "XDG_DATA_HOME", MISSING, problem)], "environment") from None


def get_file_name(environment: Mapping[str, str] = os.environ) -> str:
    """Return the store's file name: ``$PI3_TIMELAPSE_FILE_NAME``, by default ``timelapse_storage.json``.

    Raises
    ------
    FaultsFound
        The variable holds a path, not a bare file name.

    """
    name = environment.get(FILE_NAME_VARIABLE) or TIMELAPSE_STORAGE_JSON
    if not _is_bare(name):
        raise FaultsFound([Fault("", FILE_NAME_VARIABLE, name, _BARE)], "environment")
    return name


def _is_bare(name: str) -> bool:
    return "/" not in name and "\0" not in name and name not in ("", ".", "..")


def backup_path(path: Path) -> Path:
    """Return where the generation before ``path`` is kept."""
    return path.with_name(f"{path.name}.bak")


@dataclass
class ScanRecord:
    """What the store keeps of one scan: only what a resume needs."""

    scan_id: str
    started_at: str | None = None
    """ISO-8601."""
    finished_at: str | None = None
    """ISO-8601."""
    status: str = RecordStatus.PENDING.value
    error: Any = None

    @classmethod
    def from_scan(cls, scan_obj: Any) -> ScanRecord:
        """Make a record of a live scan, whatever its class.

        Reads ``scan_id``, and where they are there ``_start_time`` and ``_stop_time`` (seconds since the epoch, or a
        `datetime`), ``status`` and ``error``. A record, as `TimelapseStore.to_timelapse_kwargs` hands it out, stays
        what it is.
        """
        if isinstance(scan_obj, ScanRecord):
            return copy(scan_obj)
        return cls(
            scan_id=scan_obj.scan_id,
            started_at=_epoch_to_iso(getattr(scan_obj, "_start_time", None)),
            finished_at=_epoch_to_iso(getattr(scan_obj, "_stop_time", None)),
            status=_word(getattr(scan_obj, "status", None) or RecordStatus.PENDING),
            error=_plain_error(getattr(scan_obj, "error", None)),
        )


@dataclass
class TimelapseStore:
    """A timelapse as its JSON file has it: texts, numbers and plain containers."""

    _file_name: str = field(default_factory=get_file_name)
    version: int = VERSION
    timelapse_id: str = ""
    mode: str = ""
    state: str = ""
    schedule_times: list[str] = field(default_factory=list)
    """ISO-8601, one a slot."""
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

    # --- other programs' face ----------------------------------------------------------------

    @staticmethod
    def from_timelapse(tl_obj: Any) -> TimelapseStore:
        """Make a store of a live timelapse, whatever its class.

        Reads ``id``, ``mode``, ``_state``, ``schedule_times`` (datetimes), ``next_idx``, ``current_idx``,
        ``warmup_sec``, ``standby_threshold_sec``, ``grace_period``, ``start_at`` and, where it is there,
        ``scans``; also ``on_scan_failed`` and ``scan_retries`` of later versions.
        """
        policy = getattr(tl_obj, "on_scan_failed", None)
        retries = getattr(tl_obj, "scan_retries", None)
        return TimelapseStore(
            timelapse_id=tl_obj.id,
            mode=_word(tl_obj.mode),
            state=_word(tl_obj._state),  # noqa: SLF001 - the documented attribute of foreign objects
            schedule_times=[_time_to_iso(time) for time in tl_obj.schedule_times],
            next_idx=tl_obj.next_idx,
            current_idx=tl_obj.current_idx,
            warmup_sec=tl_obj.warmup_sec,
            standby_threshold_sec=tl_obj.standby_threshold_sec,
            grace_period=tl_obj.grace_period,
            start_at=None if tl_obj.start_at is None else _time_to_iso(tl_obj.start_at),
            scans=[vars(ScanRecord.from_scan(scan)) for scan in getattr(tl_obj, "scans", None) or ()],
            on_scan_failed=_word(policy) if isinstance(policy, str | Enum) else None,
            scan_retries=retries if type(retries) is int else None,
        )

    @classmethod
    def new_store_from_last(cls) -> TimelapseStore | None:
        """Return the store of the last run, or ``None``: absent or invalid, and the log says which.

        Absent keys have their defaults. A store of another version is read as well as can be, with a warning.
        """
        try:
            path = get_storage_dir() / get_file_name()
            read = read_object(path)
            if read is None:
                logger.info("%s: no timelapse is stored", path)
                return None
            raw = read.value
            if raw.get("version", VERSION) != VERSION:
                logger.warning("%s: version %r, not %d; reading what can be read", path, raw["version"], VERSION)
            elif (fault := next(faults_of(raw), None)) is not None:
                raise StoreCorrupt(path, str(fault))
        except Exception as problem:  # noqa: BLE001 - as documented: whatever it is, the program starts afresh
            logger.error("the stored timelapse can't be used: %s", problem)  # noqa: TRY400 - a sentence, no traceback
            return None
        return cls.from_mapping(raw, path.name)

    def save(self) -> None:
        """Put the store on disk: durable, whole, the generation before it as ``.bak``; mode 0600, directory 0700.

        Raises
        ------
        OSError, TypeError, ValueError
            It is not on disk; the file that was there still is. Logged as well.

        """
        try:
            path = self._full_path
            content = json_text.dumps(self.as_mapping())
            make_private_directory(path.parent)
            write_durably(path, content, backup=backup_path(path))
        except Exception as problem:
            logger.error("%s: can't be saved: %s", self._file_name, problem)  # noqa: TRY400 - raised again below
            raise

    def to_timelapse_kwargs(self) -> dict[str, Any]:
        """Return what the constructor of a timelapse takes, to go on where the store stopped.

        Times are datetimes as they were written (naive ones stay naive), records are `ScanRecord`.
        """
        return {
            "timelapse_id": self.timelapse_id,
            "mode": self.mode,
            "state": self.state,
            "schedule_times": [datetime.fromisoformat(text) for text in self.schedule_times],
            "next_idx": self.next_idx,
            "current_idx": self.current_idx,
            "warmup_sec": self.warmup_sec,
            "standby_threshold_sec": self.standby_threshold_sec,
            "grace_period": self.grace_period,
            "start_at": None if self.start_at is None else datetime.fromisoformat(self.start_at),
            "scans": [ScanRecord(**{key: scan[key] for key in RECORD_KEYS if key in scan}) for scan in self.scans],
            "extra": self.extra,
        }

    # --- JSON ----------------------------------------------------------------------------------

    @property
    def _full_path(self) -> Path:
        if not _is_bare(self._file_name):
            raise ValueError(f"{self._file_name!r} can't be the store's file: {_BARE}")
        return get_storage_dir() / self._file_name

    @classmethod
    def from_mapping(cls, raw: Mapping[str, Any], file_name: str) -> TimelapseStore:
        """Make a store of what the JSON text held; absent keys get the defaults above."""
        known = {key: raw[key] for key in _STORE_KEYS if key in raw and not (key == "extra" and raw[key] is None)}
        unknown = {key: value for key, value in raw.items() if key not in _STORE_KEYS}
        return cls(_file_name=file_name, _unknown=unknown, **known)

    def as_mapping(self) -> dict[str, Any]:
        """Return what the JSON text is to hold; the optional keys only where they say something."""
        known = {key: getattr(self, key) for key in _STORE_KEYS}
        absent = [key for key in _OPTIONAL_KEYS if known[key] is None]
        return {**self._unknown, **{key: value for key, value in known.items() if key not in absent}}


RECORD_KEYS: Final = frozenset(ScanRecord.__dataclass_fields__)
_OPTIONAL_KEYS: Final = ("on_scan_failed", "scan_retries")
_STORE_KEYS: Final = (
    "version",
    "timelapse_id",
    "mode",
    "state",
    "schedule_times",
    "next_idx",
    "current_idx",
    "warmup_sec",
    "standby_threshold_sec",
    "grace_period",
    "start_at",
    "scans",
    "extra",
    *_OPTIONAL_KEYS,
)


# --- reading strictly ---------------------------------------------------------------------------


class LoadedStore(Struct, frozen=True):
    """A store that is sound, and which file it is from."""

    store: TimelapseStore
    path: Path
    """The main file, or its ``.bak``."""
    exact: bool
    """Whether the quick reader of JSON has read it, which writes what it reads as it is."""
    trouble: StoreCorrupt | None = None
    """What is wrong with the main file, where the ``.bak`` had to stand in for it."""


def load_store(path: Path) -> LoadedStore | None:
    """Read a store strictly; ``None`` where there is none.

    A main file that is corrupt is told, not touched, and ``.bak`` is read in its place.

    Raises
    ------
    StoreUnreadable
        It can't be read now: permission, I/O, not a regular file. It may be fine.
    StoreCorrupt
        It doesn't hold a timelapse, and ``.bak`` doesn't either.

    """
    try:
        return _read_strictly(path, path)
    except StoreCorrupt as trouble:
        with contextlib.suppress(StoreError):
            previous = _read_strictly(path, backup_path(path))
            if previous is not None:
                return replace(previous, trouble=trouble)
        raise


def _read_strictly(path: Path, file: Path) -> LoadedStore | None:
    """Read the store ``path`` from ``file``, which may be its backup."""
    read = read_object(file)
    if read is None:
        return None
    faults = [*missing_from(read.value), *faults_of(read.value)]
    if faults:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise StoreCorrupt(file, f"{faults[0]}{more}")
    return LoadedStore(TimelapseStore.from_mapping(read.value, path.name), file, read.exact)


def read_object(path: Path) -> json_text.LoadedJson | None:
    """Return the JSON object in a file, unchecked; ``None`` where there is no file.

    Raises
    ------
    StoreUnreadable, StoreCorrupt
        As `load_store`.

    """
    text = read_text(path)
    if text is None:
        return None
    if not text.strip(b"\0 \t\r\n"):
        raise StoreCorrupt(path, "empty" if not text else f"{len(text)} bytes of nothing (a write that was cut off)")
    try:
        read = json_text.load(text)
    except ValueError as problem:
        raise StoreCorrupt(path, f"not JSON: {problem}") from None
    if not isinstance(read.value, dict):
        raise StoreCorrupt(path, f"holds a JSON {_kind(read.value)}, not an object")
    return read


def read_text(path: Path) -> bytes | None:
    """Return what is in a file, whatever it is; ``None`` where there is no file.

    Raises
    ------
    StoreUnreadable, StoreCorrupt
        It can't be read now; it is too large.

    """
    try:
        return read_regular(path, LARGEST_STORE)
    except FileNotFoundError as problem:
        if path.is_symlink():  # perhaps the disk that it leads to isn't mounted yet
            raise StoreUnreadable(path, f"a symbolic link to {path.readlink()}, which isn't there") from problem
        return None
    except FileTooLarge as problem:
        raise StoreCorrupt(path, problem.strerror or "too large") from problem
    except OSError as problem:
        reason = "a loop of symbolic links" if problem.errno == errno.ELOOP else problem.strerror
        raise StoreUnreadable(path, f"can't be read: {reason}") from problem


def _kind(value: Any) -> str:
    kinds = {list: "array", str: "string", bool: "boolean", type(None): "null"}
    return kinds.get(type(value), "number")


# --- foreign objects to JSON ----------------------------------------------------------------------


def _word(value: Any) -> str:
    """Return an enum member's word as stores spell it, or the text that it already is."""
    if isinstance(value, Enum):
        return value.value if isinstance(value.value, str) else value.name.lower()
    return str(value)


def _time_to_iso(time: datetime | str) -> str:
    # A naive time of a live object means the host's local zone, now, while both are in one process.
    return time if isinstance(time, str) else format_instant(to_utc(time, None))


def _epoch_to_iso(seconds: Any) -> str | None:
    if isinstance(seconds, datetime):
        return _time_to_iso(seconds)
    is_time = isinstance(seconds, Real) and seconds  # the controller's 0 means not yet; numpy has floats, too
    return format_instant(datetime.fromtimestamp(float(seconds), tz=UTC)) if is_time else None


def _plain_error(error: Any) -> Any:
    if isinstance(error, BaseException):
        return {"type": type(error).__name__, "msg": str(error)}
    return error
