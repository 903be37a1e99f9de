"""The slot that each scan of a file belongs to: by what was noted of it, by its id, else by its place in the list."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from plantimager.timelapse.domain.records import scan_ids_of
from plantimager.timelapse.domain.schedule import format_instant
from plantimager.timelapse.domain.states import RecordStatus

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plantimager.timelapse.store.schema import Own, Store


class Placement(Struct, frozen=True):
    """The scans of a file by their slots; a scan is named by its position in the list."""

    placed: Mapping[int, int]
    """The position of each slot's scan."""
    left_over: Sequence[int] = ()
    """The positions of scans that belong to no slot."""


def place_usual_scans(store: Store, own: Own) -> Placement | None:
    """Return the placement by what was noted and by today's ids; ``None`` where a scan has no slot of its own."""
    placed = {slot: position for position, slot in enumerate(_find_slots(store, own, {})) if slot is not None}
    return Placement(placed) if len(placed) == len(store.scans) else None


def place_scans(store: Store, own: Own, schedule_texts: Sequence[str]) -> Placement:
    """Return the placement of scans that any controller may have written.

    Of two scans of one slot the first that succeeded counts, else the first. A scan whose id names no slot is that of
    its place among the slots before ``next_idx``: controllers appended one for each slot that they went past.
    """
    slots = _find_slots(store, own, {})
    if None in slots:
        slots = _find_slots(store, own, _older_ids(store, schedule_texts))
    placed: dict[int, int] = {}
    left_over, nameless = [], []
    for position, slot in enumerate(slots):
        if slot is None:
            nameless.append(position)
        elif slot not in placed:
            placed[slot] = position
        elif _succeeded(store, position) and not _succeeded(store, placed[slot]):
            left_over.append(placed[slot])
            placed[slot] = position
        else:
            left_over.append(position)
    for position in nameless:
        if position < store.next_idx and position not in placed:
            placed[position] = position
        else:
            left_over.append(position)
    return Placement(placed, left_over)


def _succeeded(store: Store, position: int) -> bool:
    return store.scans[position].status is RecordStatus.SUCCEEDED


def _find_slots(store: Store, own: Own, older_ids: Mapping[str, int]) -> Sequence[int | None]:
    """Return the slot that each scan names, ``None`` where it names none; two may name the same."""
    scan_ids, n_slots = [scan.scan_id for scan in store.scans], len(store.schedule_times)
    noted = {slot: entry.scan_id for slot, entry in own.slots.items() if entry.scan_id is not None}
    in_order = range(len(scan_ids))
    if not noted and len(scan_ids) <= n_slots and scan_ids == scan_ids_of(store.timelapse_id, in_order, n_slots):
        return in_order  # as in nearly all files
    slots_noted: dict[str, list[int]] = {}
    for slot, scan_id in sorted(noted.items()):
        if slot in range(n_slots):
            slots_noted.setdefault(scan_id, []).append(slot)
    todays_ids = zip(scan_ids_of(store.timelapse_id, range(n_slots), n_slots), range(n_slots), strict=True)
    ids = {**older_ids, **dict(todays_ids)}
    return [slots_noted[name].pop(0) if slots_noted.get(name) else ids.get(name) for name in scan_ids]


def _older_ids(store: Store, schedule_texts: Sequence[str]) -> dict[str, int]:
    """Return the scan ids that the controllers of all generations gave the slots, with the slots."""
    name = store.timelapse_id
    ids = {f"{name}_{slot}": slot for slot in range(len(schedule_texts))}
    for slot, (text, instant) in enumerate(zip(schedule_texts, store.schedule_times, strict=True)):
        for form in (text, format_instant(instant)):
            ids.setdefault(f"{name}_{form}", slot)
            ids.setdefault(f"{name}--{form.replace(':', '-').replace('+', '_')}", slot)
    return ids
