"""The requests of people that change what is to come: another definition for it, or a pause."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from plantimager.timelapse.channel.message import MessageFaulty
from plantimager.timelapse.daemon.bounded_call import DiskStalled, read_within
from plantimager.timelapse.daemon.definition_intake import CHECK_TIMEOUT
from plantimager.timelapse.daemon.journal import Action, log_event
from plantimager.timelapse.daemon.transition import Circumstances
from plantimager.timelapse.domain.amending import describe_amendment
from plantimager.timelapse.domain.pausing import begin_pause, end_pause, pause_at
from plantimager.timelapse.domain.schedule import slot_at
from plantimager.timelapse.domain.states import TimeLapseState
from plantimager.timelapse.domain.wording import describe_end_of_pause, describe_next_slot, format_local_time
from plantimager.timelapse.settings.acceptance import find_name_clash
from plantimager.timelapse.settings.amendment import amended_by, is_scan_amended
from plantimager.timelapse.settings.written_times import date_and_time
from plantimager.timelapse.support.errors import DefinitionRefused
from plantimager.timelapse.support.side_call import call_on_thread

if TYPE_CHECKING:
    from concurrent.futures import Future
    from datetime import datetime

    from plantimager.timelapse.channel.control_request import Request
    from plantimager.timelapse.daemon.common import Common
    from plantimager.timelapse.daemon.definition_intake import DefinitionIntake
    from plantimager.timelapse.daemon.planner import Planner
    from plantimager.timelapse.daemon.request_queue import RequestQueue
    from plantimager.timelapse.domain.schedule import Schedule
    from plantimager.timelapse.domain.timelapse import TimeLapse
    from plantimager.timelapse.drivers.base import ScannerDriver
    from plantimager.timelapse.settings.definition import Definition
    from plantimager.timelapse.settings.places import Places
    from plantimager.timelapse.store.stored_timelapse import StoredTimelapse


class _Judged(Struct, frozen=True):
    """What was found beside the loop about a definition that amends a timelapse."""

    definition: Definition
    driver: ScannerDriver
    """The driver that was asked."""
    n_slots: int
    """How many slots the timelapse would come to have."""
    refusal: BaseException | None = None
    notes: tuple[str, ...] = ()
    """What doesn't fit in its schedule."""


class AmendIntake:
    """Gives the timelapse another definition. Loop thread.

    Driver and disks are asked about it beside the loop, for slots fall due meanwhile.
    """

    def __init__(
        self, common: Common, places: Places, planner: Planner, intake: DefinitionIntake, queue: RequestQueue
    ) -> None:
        self._keeper, self._clock, self._active = common.keeper, common.clock, common.active
        self._places, self._planner, self._intake, self._queue = places, planner, intake, queue
        self._judging: Future[_Judged] | None = None

    def accept(self, request: Request) -> str | None:
        """Amend the timelapse by a definition; return the sentence for the person, ``None`` while it is judged.

        The request comes back from that with what was found. Then it is one save: whatever happens, the old schedule is
        on disk or the new one.

        Raises
        ------
        DefinitionRefused, FaultsFound
            It has faults, is of another timelapse, or changes nothing.
        """
        content, held = request.content, self._keeper.stored
        if isinstance(content, BaseException):
            raise content
        if held is None or not held.timelapse.state.is_active:
            raise DefinitionRefused("there is no active timelapse to amend", hint="timelapsectl start begins one")
        judged = content if isinstance(content, _Judged) else None
        definition = content if judged is None else judged.definition
        now, before = self._clock.now(), held.timelapse
        amended, schedule = amended_by(held, definition, now)
        after = amended.timelapse
        if judged is None or (judged.driver, judged.n_slots) != (self._active.driver, after.n_slots):
            self._judge(request, definition, held, after, schedule)
            return None
        if judged.refusal is not None:
            raise judged.refusal
        scan = "the scan" if is_scan_amended(held, definition) else ""
        words = f"{before.id} is amended: {describe_amendment(before, after, now, scan)}"
        whose = f"by {request.who}, from {definition.source}"
        self._keeper.start(amended, now, Circumstances(origin=f"{words}; {whose}"))
        noted = "".join(f"; {note}" for note in (*schedule.notes, *judged.notes))
        log_event(Action.AMENDED, f"{words}; {whose}{noted}", timelapse=after)
        self._intake.forget_refusal(before.id)
        self._planner.plan_afresh()
        return f"{words}{noted}"

    def _judge(
        self, request: Request, definition: Definition, held: StoredTimelapse, after: TimeLapse, schedule: Schedule
    ) -> None:
        """Begin to judge a definition; the request waits again with what was found.

        Raises
        ------
        DefinitionRefused
            Another is being judged: a driver checks one at a time.
        """
        if self._judging is not None and not self._judging.done():
            raise DefinitionRefused(f"{after.id}: another amendment is being checked", hint="try again in a moment")
        judged = _Judged(definition, self._active.driver, after.n_slots)

        def judge() -> _Judged:
            try:
                self._intake.ask_driver(definition)
                self._check_names(definition, held, after.n_slots)
                return replace(judged, notes=self._intake.fit_notes(definition, schedule))
            except Exception as refusal:  # noqa: BLE001 - it is raised again where the request is handled
                return replace(judged, refusal=refusal)

        def give_back(end: Future[_Judged]) -> None:
            request.read_by(lambda _: end.exception() or end.result())
            self._queue.put_back(request)

        self._judging = call_on_thread(judge, "amend")
        self._judging.add_done_callback(give_back)

    def _check_names(self, definition: Definition, held: StoredTimelapse, n_slots: int) -> None:
        """Refuse a definition by which a dataset would have the name of one that was taken here. Any thread."""
        try:
            history = self._places.history
            taken = read_within(CHECK_TIMEOUT, partial(find_name_clash, definition, held, history, n_slots))
        except DiskStalled as stalled:
            raise DefinitionRefused(f"{self._places.history}: {stalled}", hint="try again when it answers") from stalled
        if taken is not None:
            raise DefinitionRefused(f"{held.timelapse.id} can't be amended: {taken}", hint="let it have fewer slots")


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
