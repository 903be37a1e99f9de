"""The store: the JSON file that holds the timelapse, as the community's controller documents it.

Names and meanings of this module are a contract with other programs, which hand in live
objects of their own classes (`TimelapseStore.from_timelapse`) and take out what builds such
an object again (`TimelapseStore.to_timelapse_kwargs`). The daemon itself reads with the
stricter `load` and turns stores into values in `stored_timelapse`.
"""

from __future__ import annotations

import errno
import logging
import os
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from platformdirs import user_data_path

from plantimager.controller.scanner.durable import (
    TooLarge,
    make_private_directory,
    read_regular,
    write_durably,
)
from plantimager.controller.scanner.durations import LONGEST
from plantimager.controller.scanner.errors import (
    FaultsFound,
    StoreCorrupt,
    StoreError,
    StoreUnreadable,
    TimelapsedError,
)
from plantimager.controller.scanner.faults import MISSING, Fault
from plantimager.controller.scanner.json_text import dumps, loads
from plantimager.controller.scanner.schedule import read_instant, write_instant
from plantimager.controller.scanner.states import OnScanFailed, RecordStatus, TimeLapseMode, TimeLapseState

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

logger = logging.getLogger(__name__)

APPLICATION: Final = "plant-imager3-app"
TIMELAPSE_STORAGE_JSON: Final = "timelapse_storage.json"
FILE_NAME_VARIABLE: Final = "PI3_TIMELAPSE_FILE_NAME"
VERSION: Final = 1
LARGEST_STORE: Final = 50_000_000
"""Bytes of a store that are read: a hundred thousand slots with all their records take 40 MB."""

_RECORD_KEYS: Final = ("scan_id", "started_at", "finished_at", "status", "error")


def get_storage_dir() -> Path:
    """Return the directory of the store: ``$XDG_DATA_HOME/plant-imager3-app``, by default in ``~/.local/share``.

    The environment is read at each call; a relative ``XDG_DATA_HOME`` is ignored.
    """
    return user_data_path(APPLICATION)


def get_file_name() -> str:
    """Return the store's file name: ``$PI3_TIMELAPSE_FILE_NAME``, by default ``timelapse_storage.json``.

    Raises
    ------
    FaultsFound
        The variable holds a path, not a bare file name.

    """
    name = os.environ.get(FILE_NAME_VARIABLE) or TIMELAPSE_STORAGE_JSON
    if "/" in name or "\0" in name or name in (".", ".."):
        problem = "write a bare file name, without a path separator"
        raise FaultsFound([Fault("", FILE_NAME_VARIABLE, name, problem)], "environment")
    return name


def backup_of(path: Path) -> Path:
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

        Reads ``scan_id``, and where they are there ``_start_time`` and ``_stop_time`` (seconds since
        the epoch), ``status`` and ``error``.
        """
        return cls(
            scan_id=scan_obj.scan_id,
            started_at=_epoch_to_iso(getattr(scan_obj, "_start_time", None)),
            finished_at=_epoch_to_iso(getattr(scan_obj, "_stop_time", None)),
            status=_word(getattr(scan_obj, "status", RecordStatus.PENDING.value)),
            error=_plain_error(getattr(scan_obj, "error", None)),
        )

    def _as_mapping(self) -> dict[str, Any]:
        return {key: getattr(self, key) for key in _RECORD_KEYS}


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
            scans=[ScanRecord.from_scan(scan)._as_mapping() for scan in getattr(tl_obj, "scans", None) or ()],  # noqa: SLF001 - its own module
            on_scan_failed=_word(policy) if isinstance(policy, str | Enum) else None,
            scan_retries=retries if type(retries) is int else None,
        )

    @classmethod
    def new_store_from_last(cls) -> TimelapseStore | None:
        """Return the store of the last run, or ``None``: absent or invalid, and the journal says which.

        A store of another version is read as well as can be, with a warning.
        """
        try:
            path = get_storage_dir() / get_file_name()
            raw = read_mapping(path)
            if raw is None:
                logger.info("%s: no timelapse is stored", path)
                return None
            if raw.get("version", VERSION) != VERSION:
                logger.warning("%s: version %r, not %d; reading what can be read", path, raw["version"], VERSION)
            elif (fault := next(faults_of(raw), None)) is not None:
                raise StoreCorrupt(path, str(fault))
        except (TimelapsedError, RuntimeError) as problem:  # RuntimeError: a user without a home
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
            make_private_directory(self._full_path.parent)
            write_durably(self._full_path, dumps(self.as_mapping()), backup=backup_of(self._full_path))
        except Exception as problem:
            logger.error("%s: can't be saved: %s", self._full_path, problem)  # noqa: TRY400 - raised again below
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
            "scans": [ScanRecord(**{key: scan[key] for key in _RECORD_KEYS if key in scan}) for scan in self.scans],
            "extra": self.extra,
        }

    # --- JSON ----------------------------------------------------------------------------------

    @property
    def _full_path(self) -> Path:
        return get_storage_dir() / self._file_name

    @classmethod
    def from_mapping(cls, raw: Mapping[str, Any], file_name: str) -> TimelapseStore:
        """Make a store of what the JSON text held; absent keys get the defaults above."""
        known = {key: raw[key] for key in _STORE_KEYS if key in raw and not (key == "extra" and raw[key] is None)}
        unknown = {key: value for key, value in raw.items() if key not in _STORE_KEYS}
        return cls(_file_name=file_name, _unknown=unknown, **known)

    def as_mapping(self) -> dict[str, Any]:
        """Return what the JSON text is to hold; the optional keys only where they say something."""
        mapping = {key: getattr(self, key) for key in _STORE_KEYS}
        for optional in _OPTIONAL_KEYS:
            if mapping[optional] is None:
                del mapping[optional]
        return {**self._unknown, **mapping}


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


@dataclass(frozen=True, slots=True)
class LoadedStore:
    """A store that is sound, and which file it is from."""

    store: TimelapseStore
    path: Path
    """The main file, or its ``.bak``."""
    trouble: StoreCorrupt | None = None
    """What is wrong with the main file, where the ``.bak`` had to stand in for it."""


def load(path: Path) -> LoadedStore | None:
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
        store = _read_strictly(path)
    except StoreCorrupt as trouble:
        backup = backup_of(path)
        try:
            store = _read_strictly(backup, path.name)
        except StoreError:
            store = None
        if store is None:
            raise
        return LoadedStore(store, backup, trouble)
    return None if store is None else LoadedStore(store, path)


def _read_strictly(path: Path, file_name: str | None = None) -> TimelapseStore | None:
    raw = read_mapping(path)
    if raw is None:
        return None
    faults = list(faults_of(raw))
    if faults:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise StoreCorrupt(path, f"{faults[0]}{more}")
    return TimelapseStore.from_mapping(raw, file_name or path.name)


def read_mapping(path: Path) -> dict[str, Any] | None:
    """Return the JSON object in a file, unchecked; ``None`` where there is no file.

    Raises
    ------
    StoreUnreadable, StoreCorrupt
        As `load`.

    """
    try:
        text = read_regular(path, LARGEST_STORE)
    except FileNotFoundError:
        return None
    except TooLarge as problem:
        raise StoreCorrupt(path, problem.strerror or "too large") from problem
    except OSError as problem:
        reason = "a loop of symbolic links" if problem.errno == errno.ELOOP else problem.strerror
        raise StoreUnreadable(path, f"can't be read: {reason}") from problem
    if not text.strip(b"\0 \t\r\n"):
        raise StoreCorrupt(path, "empty" if not text else f"{len(text)} bytes of nothing (a write that was cut off)")
    try:
        raw = loads(text)
    except ValueError as problem:
        raise StoreCorrupt(path, f"not JSON: {problem}") from None
    if not isinstance(raw, dict):
        raise StoreCorrupt(path, f"holds a JSON {_kind(raw)}, not an object")
    return raw


def faults_of(raw: Mapping[str, Any]) -> Iterator[Fault]:
    """Yield what is wrong with the object of a store file, key by key."""
    for key in ("timelapse_id", "mode", "state", "schedule_times"):
        if key not in raw:
            yield Fault("", key, MISSING, "required, but missing")
    for key, (sound, allowed) in _CHECKS.items():
        if key in raw and not sound(raw[key]):
            yield Fault("", key, raw[key], allowed)
    times = raw.get("schedule_times")
    if isinstance(times, list):
        for index, text in enumerate(times):
            if not _is_instant(text):
                yield Fault("", f"schedule_times[{index}]", text, "write an ISO-8601 date and time")
        next_idx = raw.get("next_idx", 0)
        if type(next_idx) is int and next_idx > len(times):
            allowed = f"beyond the schedule ({len(times)} slots); write a number from 0 to {len(times)}"
            yield Fault("", "next_idx", next_idx, allowed)
    scans = raw.get("scans")
    if isinstance(scans, list):
        for index, scan in enumerate(scans):
            yield from _faults_of_scan(scan, f"scans[{index}]")


def _faults_of_scan(scan: Any, place: str) -> Iterator[Fault]:
    if not isinstance(scan, dict):
        yield Fault("", place, scan, "write an object")
        return
    if not isinstance(scan.get("scan_id"), str):
        yield Fault("", f"{place}.scan_id", scan.get("scan_id", MISSING), "write a text")
    for key in ("started_at", "finished_at"):
        time = scan.get(key)
        if time is not None and not _is_instant(time):
            yield Fault("", f"{place}.{key}", time, "write an ISO-8601 date and time, or null")
    status = scan.get("status", "pending")
    if not isinstance(status, str) or status not in _STATUS_WORDS:
        yield Fault("", f"{place}.status", status, f"write one of {', '.join(RecordStatus)}")


def _is_instant(value: Any) -> bool:
    try:
        read_instant(value, UTC)  # the zone doesn't matter for whether it is one
    except (TypeError, ValueError, OverflowError):
        return False
    return True


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_seconds(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value <= LONGEST.total_seconds()


def _is_state(value: Any) -> bool:
    return isinstance(value, str) and any(value == name.lower() for name in TimeLapseState.__members__)


_STATUS_WORDS: Final = frozenset(RecordStatus)
_COUNT: Final = (_is_count, "write a whole number of at least 0")
_SECONDS: Final = (_is_seconds, "write seconds: a number from 0 to 100 years")
_CHECKS: Final[dict[str, tuple[Any, str]]] = {
    "version": (lambda value: type(value) is int, f"write {VERSION}"),
    "timelapse_id": (
        lambda value: isinstance(value, str) and is_safe_name(value),
        "write a name that can name a file: not empty, no '/', no leading dot, at most 200 bytes",
    ),
    "mode": (lambda value: value in list(TimeLapseMode), f"write one of {', '.join(TimeLapseMode)}"),
    "state": (_is_state, f"write one of {', '.join(TimeLapseState)}"),
    "schedule_times": (lambda value: isinstance(value, list), "write a list of ISO-8601 dates and times"),
    "next_idx": _COUNT,
    "current_idx": _COUNT,
    "warmup_sec": _SECONDS,
    "standby_threshold_sec": _SECONDS,
    "grace_period": _SECONDS,
    "start_at": (lambda value: value is None or _is_instant(value), "write an ISO-8601 date and time, or null"),
    "scans": (lambda value: isinstance(value, list), "write a list of objects"),
    "extra": (lambda value: value is None or isinstance(value, dict), "write an object"),
    "on_scan_failed": (lambda value: value in (None, *OnScanFailed), f"write one of {', '.join(OnScanFailed)}"),
    "scan_retries": (lambda value: value is None or _is_count(value), _COUNT[1]),
}


def is_safe_name(name: str) -> bool:
    """Whether a timelapse id or scan id from a store may become a file name."""
    return (
        bool(name)
        and name.isprintable()
        and "/" not in name
        and not name.startswith(".")
        and len(name.encode(errors="replace")) <= 200  # with a suffix of ours still below the 255 of file systems
    )


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
    return time if isinstance(time, str) else write_instant(time.astimezone(UTC))


def _epoch_to_iso(seconds: float | None) -> str | None:
    return write_instant(datetime.fromtimestamp(seconds, tz=UTC)) if seconds else None


def _plain_error(error: Any) -> Any:
    if isinstance(error, BaseException):
        return {"type": type(error).__name__, "msg": str(error)}
    return error


def seconds_of(duration: timedelta) -> float:
    """Return a duration as stores have it: whole seconds as an integer."""
    seconds = duration.total_seconds()
    return int(seconds) if seconds.is_integer() else seconds
