"""Older spellings of a file, rewritten to that of the `schema`, so that one reader understands every file.

Undone here are times without an offset or in other forms of ISO-8601, scans that succeeded and are still called
``pending``, and values of ours that another program damaged. `TimeLapseState` knows the state words of older
controllers, and `reconcile` their scan ids and contradictions.

Everything here is pure. A value that isn't understood stays as it is, so that `checks` can word what is wrong with it.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, get_args, get_origin

from msgspec import Struct, convert
from msgspec.structs import fields

from plantimager.timelapse.domain.schedule import EARLIEST, LATEST, to_utc
from plantimager.timelapse.store.schema import OWN_KEY, OptionalInstant, Own, SlotDetails, are_years_sound, times_in

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import tzinfo

_Object = dict[str, Any]

_SCAN_TIMES: Final = ("started_at", "finished_at")


# --- the documented keys --------------------------------------------------------------------------


def rewrite(raw: Mapping[str, Any], zone: tzinfo | None) -> tuple[_Object, list[str]]:
    """Return the JSON object of a file in today's spelling, and what a person should know of the rewriting.

    ``zone`` is that of times without an offset, ``None`` the host's. A time that had to be rewritten is a datetime in
    UTC, not a text. `read_own` does the same for what is ours in it.
    """
    store, notes = dict(raw), []
    times, scans = store.get("schedule_times"), store.get("scans")
    if isinstance(times, list):
        store["schedule_times"] = _rewrite_times(times, zone)
        if store["schedule_times"] is not times and any(map(_is_naive, _parse(times))):
            notes.append("times without an offset were read as local time")
    if "start_at" in store:
        (store["start_at"],) = _rewrite_times([store["start_at"]], zone)
    if isinstance(scans, list):
        store["scans"] = _rewrite_scans(scans, zone)
    return store, notes


def _rewrite_times(times: list[Any], zone: tzinfo | None) -> list[Any]:
    """Return times as the schema reads them; a value that is no time stays as it is."""
    if _is_sound(times, list[OptionalInstant]):
        return times
    return [time if at is None else to_utc(at, zone) for time, at in zip(times, _parse(times), strict=True)]


def _parse(times: list[Any]) -> list[datetime | None]:
    """Return the moments of texts; ``None`` for a value that is no time, or of a year that no timelapse has."""
    try:
        moments = [*map(datetime.fromisoformat, times)]
    except (TypeError, ValueError):
        return [None] if len(times) == 1 else [moment for time in times for moment in _parse([time])]
    return [moment if EARLIEST.year <= moment.year < LATEST.year else None for moment in moments]


def _is_naive(moment: datetime | None) -> bool:
    return moment is not None and moment.tzinfo is None


def _rewrite_scans(scans: list[Any], zone: tzinfo | None) -> list[Any]:
    objects = [scan for scan in scans if isinstance(scan, dict)]
    started, finished = (_rewrite_times([scan.get(key) for scan in objects], zone) for key in _SCAN_TIMES)
    rewritten = (
        {**scan, "status": _rewrite_status(scan), "started_at": start, "finished_at": end}
        for scan, start, end in zip(objects, started, finished, strict=True)
    )
    return [next(rewritten) if isinstance(scan, dict) else scan for scan in scans]


def _rewrite_status(scan: _Object) -> Any:
    """Return the status of a scan; older controllers never set that of one that went well."""
    status = scan.get("status", "pending")
    if status == "pending" and scan.get("started_at") and scan.get("finished_at"):
        return "failed" if scan.get("error") else "succeeded"
    return status


# --- what is ours ---------------------------------------------------------------------------------


class OwnPart(Struct, frozen=True):
    """The content of ``extra.timelapsed``."""

    own: Own
    unknown_keys: Mapping[str, Any] = {}
    unknown_details: Mapping[str, Mapping[str, Any]] = {}
    """The unknown keys in the details of slots, by slot."""
    note: str = ""
    """A remark for a person on what had to be left out; empty where nothing had."""


def read_own(raw: Any) -> OwnPart:
    """Return the sound values of what is ours; any other counts as absent, since a start must not fail by it."""
    if raw is None:
        return OwnPart(Own())
    if not isinstance(raw, dict):
        return OwnPart(Own(), note=f"extra.{OWN_KEY} is no object: it counts as none and is written anew")
    known, unknown = split_known(raw, Own)
    slots, unknown_details = known.get("slots"), {}
    if isinstance(slots, dict):
        split = {slot: split_known(entry, SlotDetails) for slot, entry in slots.items()}
        known["slots"] = {slot: entry for slot, (entry, _) in split.items()}
        unknown_details = {slot: others for slot, (_, others) in split.items() if others}
    types = _types_of(Own)
    known = {key: value for key, value in known.items() if value is not None}
    unsound = [key for key in types if key in known and not _is_sound(known[key], types[key])]
    for key in unsound:
        known[key] = _sound_part(known[key], types[key])
        if known[key] is None:
            del known[key]
    note = f"of extra.{OWN_KEY}, {', '.join(unsound)} can't be right: it counts as unknown and is written anew"
    return OwnPart(convert(known, Own, str_keys=True), unknown, unknown_details, note if unsound else "")


def split_known(raw: Any, kind: type[Struct]) -> tuple[Any, _Object]:
    """Return an object with the keys that a Struct declares, and one with all others; no object stays what it is."""
    if not isinstance(raw, dict):
        return raw, {}
    declared = kind.__struct_encode_fields__
    known = {key: value for key, value in raw.items() if key in declared}
    return known, {key: value for key, value in raw.items() if key not in known} if len(known) < len(raw) else {}


def _sound_part(value: Any, kind: Any) -> Any:
    """Return the sound members of a list, or of the objects in an object; ``None`` for anything else."""
    if isinstance(value, list) and get_origin(kind) is tuple:
        return [member for member in value if _is_sound(member, get_args(kind)[0])]
    if isinstance(value, dict) and get_origin(kind) is dict:
        types = _types_of(get_args(kind)[1])
        objects = {name: entry for name, entry in value.items() if isinstance(entry, dict)}
        parts = {
            name: {key: part for key, part in entry.items() if _is_sound(part, types[key])}
            for name, entry in objects.items()
        }
        return {name: part for name, part in parts.items() if _is_sound({name: part}, kind)}
    return None


def _types_of(kind: type[Struct]) -> dict[str, Any]:
    return {field.encode_name: field.type for field in fields(kind)}


def _is_sound(value: Any, kind: Any) -> bool:
    try:
        return are_years_sound(times_in(convert(value, kind, str_keys=True)))
    except ValueError:  # msgspec's own, and that of a lone surrogate
        return False
