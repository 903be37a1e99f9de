"""The requests of people about the pause of a timelapse: to begin it, to change its end, to end it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plantimager.timelapse.channel.message import MessageFaulty
from plantimager.timelapse.daemon.transition import Circumstances
from plantimager.timelapse.domain.pausing import begin_pause, end_pause, pause_at
from plantimager.timelapse.domain.schedule import slot_at
from plantimager.timelapse.domain.states import TimeLapseState
from plantimager.timelapse.domain.wording import describe_end_of_pause, describe_next_slot, format_local_time
from plantimager.timelapse.settings.written_times import date_and_time
from plantimager.timelapse.support.errors import DefinitionRefused

if TYPE_CHECKING:
    from datetime import datetime

    from plantimager.timelapse.channel.control_request import Request
    from plantimager.timelapse.daemon.common import Common
    from plantimager.timelapse.daemon.planner import Planner
    from plantimager.timelapse.domain.timelapse import TimeLapse


class PauseIntake:
    """Begins and ends the pause of the timelapse. Loop thread."""

    def __init__(self, common: Common, planner: Planner) -> None:
        self._keeper, self._clock, self._planner = common.keeper, common.clock, planner

    def pause(self, request: Request) -> str:
        """Pause the timelapse, or change until when it is paused; return the sentence for the person.

        Raises
        ------
        DefinitionRefused
            There is none, or its pause would be over.
        MessageFaulty
            The request can't be understood.
        """
        until, now = _end_in(request), self._clock.now()
        if until is not None and until <= now:
            raise DefinitionRefused(f"{format_local_time(until, now)} is over; it is {format_local_time(now, now)} now")
        timelapse = self._judged(now, "paused")
        paused = begin_pause(timelapse, now, request.who, until)
        self._keeper.commit(paused, now)
        self._planner.plan_afresh()
        is_scanning = paused.state is TimeLapseState.RUNNING
        first = f"; the scan of slot {paused.next_idx} is finished first" if is_scanning else ""
        end = describe_end_of_pause(until, now)
        return f"{paused.id} is paused {end}{first}; slots that fall due meanwhile are skipped"

    def end(self, request: Request) -> str:
        """End the pause of the timelapse; return the sentence for the person.

        Raises
        ------
        DefinitionRefused
            It has none.
        """
        now = self._clock.now()
        timelapse = self._judged(now, "resumed")
        if pause_at(timelapse, now) is None:
            raise DefinitionRefused(f"{timelapse.id} is not paused; {describe_next_slot(timelapse, now)}")
        ended = end_pause(timelapse, now, request.who)
        self._keeper.commit(ended, now, Circumstances(origin=request.who))
        self._planner.plan_afresh()
        return f"{ended.id} goes on; {describe_next_slot(ended, now)}"

    def _judged(self, now: datetime, what: str) -> TimeLapse:
        """Return the timelapse with the slots closed that are late or paused by now; it is to be ``what``.

        Raises
        ------
        DefinitionRefused
            There is none with a schedule to keep.
        """
        timelapse = self._keeper.active
        if timelapse is not None and not self._keeper.is_scanning:
            judged = self._planner.judge(timelapse, now)
            if judged is not timelapse:
                self._keeper.commit(judged, now)
        timelapse = self._keeper.active
        if timelapse is None:
            raise DefinitionRefused(f"there is no active timelapse that could be {what}")
        return timelapse


def _end_in(request: Request) -> datetime | None:
    """Return until when a pause is asked for; ``None`` where a person ends it."""
    text = request.text("until")
    try:
        return slot_at(date_and_time(text), None) if text else None
    except ValueError as problem:
        raise MessageFaulty(f"until: {problem}") from None
