"""How each slot of a timelapse ended, told by its events alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plantimager.timelapse.domain.events import (
    DefinitionAccepted,
    DraftFound,
    SlotFailed,
    SlotInterrupted,
    SlotsReopened,
    SlotsSkipped,
    SlotTaken,
    events_between,
)
from plantimager.timelapse.domain.states import RecordStatus

if TYPE_CHECKING:
    from collections.abc import Collection

    from plantimager.timelapse.domain.events import Event
    from plantimager.timelapse.domain.timelapse import TimeLapse

STATUS_OF_ENDING = {
    SlotTaken: RecordStatus.SUCCEEDED,
    SlotFailed: RecordStatus.FAILED,
    SlotInterrupted: RecordStatus.INTERRUPTED,
    SlotsSkipped: RecordStatus.SKIPPED,
}


class EventFold:
    """Follows one timelapse from value to value, and checks that its events account for every closed slot."""

    def __init__(self, *, step_by_step: bool = True) -> None:
        """With ``step_by_step`` no transition is left out, so that a slot ends twice only if it was reopened."""
        self.endings: dict[int, RecordStatus] = {}
        self._step_by_step = step_by_step
        self._last: TimeLapse | None = None

    def follow(self, timelapse: TimeLapse) -> tuple[Event, ...]:
        """Take the events up to the next value, and return them."""
        last, self._last = self._last, timelapse
        events = events_between(last, timelapse)
        assert bool(events) == (last != timelapse), (events, last, timelapse)
        unsettled = [] if last is None else last.unsettled
        for event in events:
            self._take(event, unsettled)
        closed = {slot: record.status for slot, record in timelapse.records.items() if timelapse.is_closed(slot)}
        assert self.endings == closed, events
        return events

    def _take(self, event: Event, unsettled: Collection[int]) -> None:
        if isinstance(event, DefinitionAccepted | DraftFound):
            self.endings.clear()
        elif isinstance(event, SlotsReopened):
            for slot in event.slots:
                del self.endings[slot]
        elif type(event) in STATUS_OF_ENDING:
            for slot in event.slots if isinstance(event, SlotsSkipped) else (event.record.slot,):
                is_whole = type(event) is SlotTaken and slot in unsettled  # whatever it counted as
                assert is_whole or slot not in self.endings or not self._step_by_step, f"slot {slot} ended twice"
                self.endings[slot] = STATUS_OF_ENDING[type(event)]
