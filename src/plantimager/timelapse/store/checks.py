"""What is wrong with the JSON object of a store, key by key, worded for the person who has to look at it.

Strict about what a resume hangs on, and silent about keys that nobody here knows.
"""

from __future__ import annotations

from datetime import datetime
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from plantimager.timelapse.domain.durations import MAX_DURATION
from plantimager.timelapse.domain.schedule import EARLIEST, LATEST
from plantimager.timelapse.domain.states import OnScanFailed, RecordStatus, TimeLapseMode, TimeLapseState
from plantimager.timelapse.support.faults import MISSING, Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

REQUIRED: Final = ("timelapse_id", "mode", "state", "schedule_times")
"""Without these there is nothing to resume."""

LONGEST_NAME: Final = 200
"""Bytes; with a suffix of ours still below the 255 that file systems take."""


def missing_from(raw: Mapping[str, Any]) -> Iterator[Fault]:
    """Yield the required keys that are not there."""
    for key in REQUIRED:
        if key not in raw:
            yield Fault("", key, MISSING, "required, but missing")


def faults_of(raw: Mapping[str, Any]) -> Iterator[Fault]:
    """Yield what is wrong with the keys that are there."""
    for key, (is_sound, allowed) in _CHECKS.items():
        if key in raw and not is_sound(raw[key]):
            # The value of extra is not shown: it may hold an api_token.
            yield Fault("", key, MISSING if key == "extra" else raw[key], allowed)
    times = raw.get("schedule_times")
    if isinstance(times, list):
        yield from _faults_of_times(times, raw.get("next_idx"))
    scans = raw.get("scans")
    if isinstance(scans, list) and not _are_scans(scans):
        for index, scan in enumerate(scans):
            yield from _faults_of_scan(scan, f"scans[{index}]")


def _are_scans(values: list[Any]) -> bool:
    """Whether all are sound, as they nearly always are: told in a quarter of the time of a search for faults."""
    try:
        ids = {type(scan["scan_id"]) for scan in values}
        words = {scan.get("status", RecordStatus.PENDING) for scan in values}
        times = [scan[key] for scan in values for key in ("started_at", "finished_at") if scan.get(key) is not None]
    except (TypeError, KeyError, AttributeError):
        return False
    return ids <= {str} and words <= _STATUS_WORDS and _are_instants(times)


def _faults_of_times(times: list[Any], next_idx: Any) -> Iterator[Fault]:
    if not _are_instants(times):
        for index, time in enumerate(times):
            if not _is_instant(time):
                yield Fault("", f"schedule_times[{index}]", time, _INSTANT)
    if type(next_idx) is int and next_idx > len(times):
        allowed = f"beyond the schedule ({len(times)} slots); write a number from 0 to {len(times)}"
        yield Fault("", "next_idx", next_idx, allowed)


def _faults_of_scan(scan: Any, place: str) -> Iterator[Fault]:
    if not isinstance(scan, dict):
        yield Fault("", place, scan, "write an object")
        return
    if not isinstance(scan.get("scan_id"), str):
        yield Fault("", f"{place}.scan_id", scan.get("scan_id", MISSING), "write a text")
    for key in ("started_at", "finished_at"):
        time = scan.get(key)
        if time is not None and not _is_instant(time):
            yield Fault("", f"{place}.{key}", time, f"{_INSTANT}, or null")
    status = scan.get("status", RecordStatus.PENDING)
    if not isinstance(status, str) or status not in _STATUS_WORDS:
        yield Fault("", f"{place}.status", status, f"write one of {', '.join(RecordStatus)}")


def is_safe_name(name: str) -> bool:
    """Whether a timelapse id or scan id from a store may become a file name."""
    return (
        bool(name)
        and name.isprintable()
        and "/" not in name
        and not name.startswith(".")
        and len(name.encode()) <= LONGEST_NAME
    )


def _are_instants(values: Iterable[Any]) -> bool:
    try:
        return are_years_sound(map(datetime.fromisoformat, values))
    except (TypeError, ValueError):
        return False


def are_years_sound(moments: Iterable[datetime]) -> bool:
    """Whether times stay far from where dates end, whatever zone a naive one is read in later."""
    return all(EARLIEST.year <= year < LATEST.year for year in set(map(attrgetter("year"), moments)))


def _is_instant(value: Any) -> bool:
    return _are_instants([value])


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_seconds(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value <= MAX_DURATION.total_seconds()


def _is_state(value: Any) -> bool:
    try:
        TimeLapseState(value)
    except ValueError:
        return False
    return True


_STATUS_WORDS: Final = frozenset(RecordStatus)
_INSTANT: Final = f"write an ISO-8601 date and time of the years {EARLIEST.year} to {LATEST.year - 1}"
_COUNT: Final = (_is_count, "write a whole number of at least 0")
_SECONDS: Final = (_is_seconds, "write seconds: a number from 0 to 100 years")
_CHECKS: Final[Mapping[str, tuple[Callable[[Any], bool], str]]] = {
    "version": (lambda value: type(value) is int, "write a whole number"),
    "timelapse_id": (
        lambda value: isinstance(value, str) and is_safe_name(value),
        f"write a name that can name a file: not empty, no '/', no leading dot, at most {LONGEST_NAME} bytes",
    ),
    "mode": (lambda value: value in list(TimeLapseMode), f"write one of {', '.join(TimeLapseMode)}"),
    "state": (_is_state, f"write one of {', '.join(TimeLapseState)}"),
    "schedule_times": (lambda value: isinstance(value, list), "write a list of ISO-8601 dates and times"),
    "next_idx": _COUNT,
    "current_idx": (lambda value: type(value) is int, "write a whole number"),  # nothing hangs on it
    "warmup_sec": _SECONDS,
    "standby_threshold_sec": _SECONDS,
    "grace_period": _SECONDS,
    "start_at": (lambda value: value is None or _is_instant(value), f"{_INSTANT}, or null"),
    "scans": (lambda value: isinstance(value, list), "write a list of objects"),
    "extra": (lambda value: value is None or isinstance(value, dict), "write an object"),
    "on_scan_failed": (lambda value: value in (None, *OnScanFailed), f"write one of {', '.join(OnScanFailed)}"),
    "scan_retries": (lambda value: value is None or _is_count(value), _COUNT[1]),
}
