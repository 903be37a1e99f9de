"""Whether a definition may become the timelapse, and the store that it becomes."""

from __future__ import annotations

import os
import re
import shlex
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from plantimager.timelapse.domain.durations import format_duration
from plantimager.timelapse.domain.fit import closest_slots, describe_gap, describe_grace, describe_misfit
from plantimager.timelapse.domain.states import TimeLapseState
from plantimager.timelapse.domain.timelapse import MINIMUM_GRACE, TimeLapse
from plantimager.timelapse.domain.wording import format_local_time
from plantimager.timelapse.store.archive import find_past_scans
from plantimager.timelapse.store.loading import load_timelapse
from plantimager.timelapse.store.stored_timelapse import StoredTimelapse, new_stored_timelapse
from plantimager.timelapse.support.errors import DefinitionRefused, TimelapsedError
from plantimager.timelapse.support.text import format_count

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime, timedelta
    from pathlib import Path

    from plantimager.timelapse.domain.schedule import Schedule
    from plantimager.timelapse.settings.definition import Definition
    from plantimager.timelapse.settings.places import Places

MAX_NAMED: Final = 3
"""Datasets that a note names."""

_SLOT: Final = "0|[1-9][0-9]{0,5}"
"""The number of a slot, as the name of its dataset has it."""

_STAMP: Final = r"-[0-9]{8}T[0-9]{6}Z(?:-[0-9]+)?"
"""What `archive_store` adds to a name that is there."""


class DefinitionAlreadyAccepted(DefinitionRefused):
    """The definition was accepted before, unchanged; nothing is wrong."""


def gave_name_back(timelapse: TimeLapse) -> bool:
    """Whether a timelapse ended by a person or a failure before anything was taken: nothing has its name then."""
    return timelapse.state in (TimeLapseState.CANCELLED, TimeLapseState.FAILED) and not timelapse.tally.taken


def check_may_start(
    definition: Definition, held: StoredTimelapse | None, history: Path, *, by_a_person: bool = False
) -> None:
    """Refuse a definition while a timelapse is active, and one whose name was used before.

    Datasets carry the name of their timelapse: those of a second one of the same name would meet those of the first.
    One that gave its name back begins again unchanged only ``by_a_person``: its file may have been left behind.

    Raises
    ------
    DefinitionAlreadyAccepted
        This definition was accepted before, unchanged.
    DefinitionRefused
        It can't be accepted.
    """
    name = definition.name
    if held is not None and held.timelapse.state is TimeLapseState.CONFIGURED:
        held = None  # a draft that nobody armed has taken nothing; any definition replaces it
    if held is not None and held.timelapse.id == name:
        is_free = by_a_person and gave_name_back(held.timelapse)
        logbook, state = held.logbook, held.timelapse.state
        amend = _amend_hint(definition)
        if not {None, definition.digest}.isdisjoint(logbook.definitions) and not is_free:
            since = ", was amended since," if logbook.definition_digest not in (None, definition.digest) else ""
            hint = amend if since and state.is_active else None
            raise DefinitionAlreadyAccepted(f"{name} was taken up before{since} and is {state.value}", hint=hint)
        if state.is_active:
            as_what = "amended" if logbook.earlier_definitions else "defined"
            words = f"{name} runs as it was {as_what}; the changes in {definition.source} are ignored"
            raise DefinitionRefused(words, hint=amend)
    elif held is not None and held.timelapse.state.is_active:
        active = held.timelapse
        raise DefinitionRefused(
            f"{name} can't start: {active.id} is active, {active.tally.done} of {active.n_slots} slots are done",
            hint="cancel it with timelapsectl cancel, or wait until it has ended",
        )
    earlier = [*_earlier(name, held, history)]
    if any(other is None or not gave_name_back(other.timelapse) for other in earlier):
        raise DefinitionRefused(
            f"{name} can't start: a timelapse of that name has already ended here",
            hint="give it another name, so that its datasets don't meet those of the first",
        )
    if not by_a_person and any(other and definition.digest in other.logbook.definitions for other in earlier):
        raise DefinitionAlreadyAccepted(f"{name} was taken up before, and ended before anything was taken")
    clash = find_name_clash(definition, held, history)
    if clash is not None:
        raise DefinitionRefused(f"{name} can't start: {clash}", hint="give it another name")


def _amend_hint(definition: Definition) -> str:
    return f"timelapsectl amend {shlex.quote(str(definition.source))} replaces what is still to come by it"


def is_new_name(definition: Definition, held: StoredTimelapse | None, history: Path) -> bool:
    """Whether no earlier timelapse here has the names of a definition: datasets with them are not its own."""
    earlier = _earlier(definition.name, held, history)
    is_free = all(other is not None and gave_name_back(other.timelapse) for other in earlier)
    return is_free and find_name_clash(definition, held, history) is None


def _earlier(name: str, held: StoredTimelapse | None, history: Path) -> Iterator[StoredTimelapse | None]:
    """Yield the timelapses that had a name: the one that is held, those in the archive; None for an unreadable one."""
    if held is not None and held.timelapse.id == name:
        yield held
    ends = (f"-{TimeLapseState.CANCELLED}", f"-{TimeLapseState.FAILED}", "")
    firsts = [f"{name}{end}" for end in ends if (history / f"{name}{end}.json").exists()]
    if not firsts:
        return
    same = re.compile(rf"(?:{'|'.join(map(re.escape, firsts))})(?:{_STAMP})?\.json")
    for path in filter(lambda path: same.fullmatch(path.name), history.iterdir()):
        loaded = None
        with suppress(TimelapsedError, OSError):
            loaded = load_timelapse(path)
        if loaded is None:
            if path.name == f"{name}.json":
                yield None
        elif loaded.stored.timelapse.id == name:
            yield loaded.stored


def find_name_clash(
    definition: Definition, held: StoredTimelapse | None, history: Path, n_slots: int | None = None
) -> str | None:
    """Return which dataset of an earlier timelapse has the name of one of this; None where none has.

    ``n_slots`` is how many slots it comes to have, where that isn't the definition's own number.
    A timelapse of one slot has one dataset, ``NAME``, and another has ``NAME_0`` and so on.
    """
    name, n_slots = definition.name, n_slots or definition.n_slots
    several, _, slot = name.rpartition("_")
    if n_slots == 1 and re.fullmatch(_SLOT, slot) and _has_dataset(name, several, int(slot), held, history):
        return f"its dataset would have the name of slot {slot} of {several}, which was taken here"
    earlier = {held.timelapse.id} if held is not None else set[str]()
    with suppress(OSError):
        earlier |= {path.stem for path in history.glob(f"{name}_*.json")}
    for single in sorted(earlier):
        slot = single.removeprefix(f"{name}_")
        is_slot = single != slot and re.fullmatch(_SLOT, slot) is not None and 1 < n_slots > int(slot)
        if is_slot and _has_dataset(single, single, 0, held, history):
            return f"its slot {slot} would have the name of the dataset {single}, which was taken here"
    return None


def _has_dataset(dataset: str, name: str, slot: int, held: StoredTimelapse | None, history: Path) -> bool:
    """Whether a slot of an earlier timelapse that keeps its name has a dataset; one that can't be read may have it.

    One that was amended may have the dataset of its first slot under another name than its number of slots tells.
    """
    earlier = (None if other is None else other.timelapse for other in _earlier(name, held, history))
    keeping = [other for other in earlier if other is None or not gave_name_back(other)]
    return any(o is None or (slot < o.n_slots and o.scan_id(slot) == dataset) for o in keeping)


def describe_existing(definition: Definition, datasets: Path) -> str | None:
    """Return which datasets of a directory have the names that a definition's will have. May hang as the disk may."""
    name, found = definition.name, []
    with suppress(OSError), os.scandir(datasets) as entries:
        for entry in entries:
            slot = entry.name.removeprefix(f"{name}_")
            is_slot = slot != entry.name and re.fullmatch(_SLOT, slot) is not None
            if entry.name == name if definition.n_slots == 1 else is_slot and int(slot) < definition.n_slots:
                found.append(entry.name)
    if not found:
        return None
    found.sort(key=lambda name: (len(name), name))
    names = ", ".join([*found[:MAX_NAMED], *(["…"] if len(found) > MAX_NAMED else [])])
    what = format_count(len(found), "dataset")
    fate = "another rig's fail its slots, others are moved aside; give it another name"
    return f"{datasets} already has {what} with names of this definition ({names}): {fate}"


def check_not_over(definition: Definition, schedule: Schedule, now: datetime) -> None:
    """Refuse a definition of which no slot can be taken any more: with a mistyped year it would use up its name."""
    last = max(schedule.slots)
    if now - last > max(definition.grace, MINIMUM_GRACE):
        raise DefinitionRefused(
            f"{definition.name} can't start: its last slot was {format_local_time(last, now)}",
            hint="look at the dates in it, the year included",
        )


def fit_notes(
    definition: Definition, slots: Sequence[datetime], estimate: timedelta | None, places: Places, *, run_latest: bool
) -> Iterator[str]:
    """Yield what doesn't fit in a schedule: its scans, its grace period.

    ``estimate`` is the driver's; without one the last scans in the store and in the archive count.
    """
    subject, scan_time, gap = "a scan takes", estimate, closest_slots(slots)
    if scan_time is None and (past := find_past_scans(places.store, places.history)) is not None:
        subject, scan_time = f"a scan of {past.timelapse_id} took", past.took
    if gap is not None and scan_time is not None and scan_time > gap:
        misfit = describe_misfit(slots, definition.grace, scan_time, run_latest=run_latest)
        if misfit is not None:
            yield f"{subject} about {format_duration(scan_time)}, {describe_gap(definition.mode, gap)}: {misfit}"
    yield from describe_grace(definition.mode, slots, definition.grace)


def plan_timelapse(definition: Definition, schedule: Schedule) -> StoredTimelapse:
    """Return the timelapse that a definition asks for, with no slot taken yet."""
    timelapse = TimeLapse(
        id=definition.name,
        mode=definition.mode,
        state=TimeLapseState.SCHEDULED,
        schedule_times=schedule.slots,
        warmup=definition.warmup,
        standby_threshold=definition.standby_threshold,
        grace=definition.grace,
        start_at=schedule.slots[0],
        on_scan_failed=definition.on_scan_failed,
        scan_retries=definition.scan_retries,
    )
    return new_stored_timelapse(timelapse, definition.configuration, definition.digest)


def scan_configuration_for(
    held: StoredTimelapse, definition: Definition | None, default: Mapping[str, object]
) -> Mapping[str, object]:
    """Return the scan configuration of a timelapse: its store's, else its definition's, else the host's, else none."""
    return _sources_of_scan(held, definition, default)[0][1]


def describe_scan_source(
    held: StoredTimelapse, definition: Definition | None, default: Mapping[str, object], driver: str
) -> str | None:
    """Return how slots are scanned whose store doesn't say it; ``None`` where it does, or nothing is scanned any more.

    A definition of ours may leave the path to the driver; `preview` shows that.
    """
    source, configuration = _sources_of_scan(held, definition, default)[0]
    is_asked = source == "" and (held.logbook.definition_digest is not None or "ScanPath" in configuration)
    if is_asked or not held.timelapse.state.is_active:
        return None
    if source:
        return f"the store has no scan configuration; its slots are scanned as {source} says"
    lacks = "has no scan path" if configuration else "has no scan configuration"
    return f"the store {lacks}; its slots are scanned as the driver {driver} does by default"


def _sources_of_scan(
    held: StoredTimelapse, definition: Definition | None, default: Mapping[str, object]
) -> Sequence[tuple[str, Mapping[str, object]]]:
    """Return the scan configurations that there are, the nearest first, each with its source: ``""`` is the store."""
    sources: list[tuple[str, Mapping[str, object] | None]] = [("", held.configuration)]
    if definition is not None and definition.name == held.timelapse.id:
        sources.append((f"its definition {definition.source}", definition.configuration))
    sources.append(("the table [scan] of timelapsed.toml", default))
    return [(source, configuration) for source, configuration in sources if configuration] or [("", {})]


def describe_start(timelapse: TimeLapse, origin: Path | str, now: datetime) -> str:
    """Return the sentence about the start of a timelapse; ``origin`` is where its definition is from."""
    first, last = timelapse.schedule_times[0], timelapse.schedule_times[-1]
    until = f" to {format_local_time(last, now)}" if timelapse.n_slots > 1 else ""
    slots = format_count(timelapse.n_slots, "slot")
    return f"{timelapse.id} from {origin}: {slots}, {format_local_time(first, now)}{until}"
