"""Whether a definition may amend a timelapse, and what it makes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from plantimager.timelapse.domain.amending import amend, slots_behind
from plantimager.timelapse.domain.schedule import MAX_SLOTS, note_past_slots
from plantimager.timelapse.settings.acceptance import plan_timelapse
from plantimager.timelapse.support.errors import DefinitionRefused

if TYPE_CHECKING:
    from datetime import datetime

    from plantimager.timelapse.domain.schedule import Schedule
    from plantimager.timelapse.domain.timelapse import TimeLapse
    from plantimager.timelapse.settings.definition import Definition
    from plantimager.timelapse.store.stored_timelapse import StoredTimelapse


def amended_schedule(before: TimeLapse, definition: Definition, now: datetime) -> tuple[TimeLapse, Schedule]:
    """Return a timelapse with a definition in the place of what is to come, and the schedule of that.

    Slots of a definition without ``start_at`` are counted from the first one that the timelapse has had.

    Raises
    ------
    DefinitionRefused
        It is of another timelapse, or no slot of it is to come.
    FaultsFound
        Its times make no schedule.
    """
    name = definition.name
    if name != before.id:
        hint = f'write name = "{before.id}" to amend it'
        raise DefinitionRefused(f"{name} is not the timelapse that runs; {before.id} is", hint=hint)
    first = before.schedule_times[0]
    schedule = replace(definition, start_at=definition.start_at or first).schedule(first)
    before_it = note_past_slots(schedule.slots, first, definition.grace)  # of which none is missed by an amendment
    to_come = slots_behind(before, schedule.slots, now)
    if not to_come:
        words = f"{name} can't be amended: no slot of the new definition is to come"
        raise DefinitionRefused(words, hint="timelapsectl cancel ends the timelapse")
    after = amend(before, plan_timelapse(definition, schedule).timelapse, now)
    if after.n_slots > MAX_SLOTS:
        raise DefinitionRefused(f"{name} would come to {after.n_slots} slots, with those before; at most {MAX_SLOTS}")
    notes = tuple(note for note in schedule.notes if note != before_it)
    return after, schedule._replace(slots=tuple(to_come), notes=notes)


def amended_by(held: StoredTimelapse, definition: Definition, now: datetime) -> tuple[StoredTimelapse, Schedule]:
    """Return the store in which a definition takes the place of what is to come, and the schedule of that.

    Raises as `amended_schedule`, and `DefinitionRefused` where it changes nothing.
    """
    after, schedule = amended_schedule(held.timelapse, definition, now)
    if after == held.timelapse and held.configuration == definition.configuration:
        raise DefinitionRefused(f"{definition.name}: the definition changes nothing that is to come")
    return held.evolved(after, held.logbook.amended(definition.digest)).reconfigured(definition.configuration), schedule


def is_scan_amended(held: StoredTimelapse, definition: Definition) -> bool:
    """Whether a definition would have slots scanned in another way, or described by other metadata."""
    before, after = ({**(each or {}), "timelapse": None} for each in (held.configuration, definition.configuration))
    return before != after
