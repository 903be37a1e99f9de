"""The requests of people to amend the timelapse: another definition for what is still to come."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from plantimager.timelapse.daemon.bounded_call import read_within
from plantimager.timelapse.daemon.disk_thread import DiskStalled
from plantimager.timelapse.daemon.journal import Action, log_event
from plantimager.timelapse.daemon.transition import Circumstances
from plantimager.timelapse.domain.amending import describe_amendment
from plantimager.timelapse.settings.acceptance import find_name_clash
from plantimager.timelapse.settings.amendment import amended_by
from plantimager.timelapse.support.errors import DefinitionRefused

if TYPE_CHECKING:
    from plantimager.timelapse.channel.control_request import Request
    from plantimager.timelapse.daemon.common import Common
    from plantimager.timelapse.daemon.definition_intake import DefinitionIntake
    from plantimager.timelapse.daemon.planner import Planner
    from plantimager.timelapse.settings.places import Places


class AmendIntake:
    """Gives the timelapse another definition. Loop thread."""

    def __init__(self, common: Common, places: Places, planner: Planner, intake: DefinitionIntake) -> None:
        self._keeper, self._clock, self._places = common.keeper, common.clock, places
        self._planner, self._intake = planner, intake

    def accept(self, request: Request) -> str:
        """Amend the timelapse by a definition, which was read beside the loop; return the sentence for the person.

        It is one save: whatever happens, the old schedule is on disk or the new one.

        Raises
        ------
        DefinitionRefused, FaultsFound
            It has faults, is of another timelapse, or changes nothing.
        """
        definition, held = request.content, self._keeper.stored
        if isinstance(definition, BaseException):
            raise definition
        if held is None or not held.timelapse.state.is_active:
            raise DefinitionRefused("there is no active timelapse to amend", hint="timelapsectl start begins one")
        amended_by(held, definition, self._clock.now())  # the driver need not be asked about one that is refused
        self._intake.ask_driver(definition)
        now, before = self._clock.now(), held.timelapse  # the driver may have taken long
        amended, schedule = amended_by(held, definition, now)
        after = amended.timelapse
        clash = partial(find_name_clash, definition, held, self._places.history, after.n_slots)
        try:
            taken = read_within(self._keeper.patience, clash)
        except DiskStalled as stalled:
            raise DefinitionRefused(f"{self._places.history}: {stalled}", hint="try again when it answers") from stalled
        if taken is not None:
            raise DefinitionRefused(f"{before.id} can't be amended: {taken}", hint="let it have fewer slots")
        notes = (*schedule.notes, *self._intake.fit_notes(definition, schedule))
        if request.is_withdrawn:
            raise DefinitionRefused(f"{before.id}: nobody waits for the answer any more, so it is not amended")
        words = f"{before.id} is amended: {describe_amendment(before, after, now)}"
        whose = f"by {request.who}, from {definition.source}"
        self._keeper.start(amended, now, Circumstances(origin=f"{words}; {whose}"))
        noted = f"; {'; '.join(notes)}" if notes else ""
        log_event(Action.AMENDED, f"{words}; {whose}{noted}", timelapse=after)
        self._planner.plan_afresh()
        return words
