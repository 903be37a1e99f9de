"""The resume: what a start makes of the store that it finds.

First the driver is asked what became of the attempt that was cut off, and of those that are unsettled: their datasets
may be whole. Where their disk isn't there, `UnsettledAttempts` asks as soon as it is. Then the
daemon is ready. After that the slots that are late by now are skipped, in one pass and one save, for which no start
waits. Where the daemon is killed in between, the next start finds the same store.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from plantimager.timelapse.daemon.bounded_call import call_with_timeout
from plantimager.timelapse.daemon.driver_calls import (
    CallMonitor,
    CallOutcome,
    make_call,
    max_silence,
)
from plantimager.timelapse.daemon.journal import Action, log_event
from plantimager.timelapse.daemon.phases import PhaseEvent
from plantimager.timelapse.daemon.retelling import log_retold
from plantimager.timelapse.daemon.rig import log_trouble
from plantimager.timelapse.daemon.transition import Circumstances
from plantimager.timelapse.domain.states import TimeLapseState
from plantimager.timelapse.domain.wording import describe_timelapse
from plantimager.timelapse.drivers.base import Call
from plantimager.timelapse.settings.acceptance import describe_scan_source, scan_configuration_for
from plantimager.timelapse.support.errors import DriverStalled

if TYPE_CHECKING:
    from datetime import datetime

    from plantimager.timelapse.daemon.common import Common
    from plantimager.timelapse.daemon.dataset_probe import DatasetProbe
    from plantimager.timelapse.daemon.definition_intake import DefinitionIntake
    from plantimager.timelapse.daemon.planner import Planner
    from plantimager.timelapse.daemon.previous_run import PreviousRun
    from plantimager.timelapse.daemon.stop import Stop
    from plantimager.timelapse.domain.timelapse import TimeLapse
    from plantimager.timelapse.scan.request import ScanRequest
    from plantimager.timelapse.settings.definition import Definition
    from plantimager.timelapse.store.loading import LoadedTimelapse
    from plantimager.timelapse.store.stored_timelapse import StoredTimelapse
    from plantimager.timelapse.support.errors import StoreCorrupt


class Resume:
    """Goes on with the timelapse in the store, or begins the one that a definition asks for. Loop thread, once."""

    def __init__(
        self,
        common: Common,
        planner: Planner,
        intake: DefinitionIntake,
        probe: DatasetProbe,
        stop: Stop,
        previous: PreviousRun,
    ) -> None:
        self._keeper, self._clock, self._lifecycle = common.keeper, common.clock, common.lifecycle
        self._active, self._notifier = common.active, common.notifier
        self._planner, self._intake, self._probe, self._stop = planner, intake, probe, stop
        self._previous = previous

    def run(self, loaded: LoadedTimelapse | StoreCorrupt | None) -> None:
        """Keep the schedule of the store, or of a definition, from now on."""
        stored = self._keeper.salvage(loaded, self._clock.now())
        definition = self._intake.look()
        since = self._previous.over_at
        found = None if stored is None else self._recover(stored, definition)
        self._lifecycle.advance(PhaseEvent.STORE_READ)
        self._notifier.ready()
        if found is not None:
            self._go_on(found, since)
        if definition is not None:
            self._intake.accept_by_itself(definition)
        if self._keeper.timelapse is None:
            self._planner.plan()
            store = self._keeper.file.path
            log_event(Action.IDLE, f"no timelapse in {store}; define one with timelapsectl start FILE")
        self._probe.look()

    def _recover(self, stored: StoredTimelapse, definition: Definition | None) -> _Found:
        """Hold the timelapse of the store, and find out what became of an attempt that was cut off."""
        before = stored.timelapse
        config = self._active.config
        configuration = scan_configuration_for(stored, definition, config.scan)
        assumed = describe_scan_source(stored, definition, config.scan, config.driver)
        for note in stored.notes:
            log_event(Action.STORE_FOUND, f"{before.id}: {note}", timelapse=before)
        if assumed is not None:
            log_event(Action.SCAN_ASSUMED, f"{before.id}: {assumed}", timelapse=before)
            stored = replace(stored, notes=(*stored.notes, assumed))
        self._keeper.hold(stored.with_configuration(configuration))
        self._probe.find_place(before)
        is_running = before.state is TimeLapseState.RUNNING
        found = _Found(before, before)
        slots = [*([before.next_idx] if is_running else []), *before.unsettled]
        requests = [self._probe.question_about(before, slot) for slot in slots]
        directories = {request.dataset_dir.parent for request in requests}
        places = self._probe.examine_each(directories)
        gone = [request for request in requests if places[request.dataset_dir.parent].is_gone]
        outcomes = self._probe.find_moved(before, gone)
        for request in requests:
            place, is_cut_off = places[request.dataset_dir.parent], is_running and request.index == before.next_idx
            # Where the next datasets' disk doesn't answer the driver may know more; but "no" is final for closed slots.
            is_next = is_cut_off and request.dataset_dir.parent == self._active.datasets
            is_asked = place.is_in_sight or (is_cut_off and not place.is_away and (is_next or not place.is_stalled))
            if is_asked and not any(map(_hung_in, outcomes.values())):
                outcomes[request.index] = self._ask_driver(request)
        seen = self._probe.examine_each(directories) if outcomes else places
        for request in requests:
            outcome = outcomes.get(request.index)
            if outcome is not None:
                found = self._settle(found, request, outcome, is_sure=seen[request.dataset_dir.parent].is_in_sight)
            elif is_running and request.index == before.next_idx:  # it is asked later
                found = replace(found, settled=before.interrupt(None, self._describe_cut(), is_unsettled=True))
        return found

    def _describe_cut(self) -> str:
        return f"{self._previous.describe_cut(self._keeper.logbook)} while it was being taken"

    def _settle(self, found: _Found, request: ScanRequest, outcome: CallOutcome, *, is_sure: bool) -> _Found:
        """Settle one attempt by the driver's answer; a no counts where the disk was still there afterwards."""
        before, slot, hung = found.settled, request.index, _hung_in(outcome)
        is_running = before.state is TimeLapseState.RUNNING
        if outcome.problem is not None:
            log_trouble(outcome)
        if outcome.result is not None:
            now, pictures, end = self._clock.now(), outcome.result.pictures, outcome.finished_at
            if is_running:
                taken = before.succeed(before.records[slot].end_of_attempt(end, now), pictures)
            else:
                taken = before.succeed_after_all(slot, now, pictures, end)
            notes = [note for note in (found.note, outcome.result.note) if note]
            return replace(found, settled=taken, note="; ".join(notes))
        is_unsettled = hung is None and (outcome.is_no_answer or not is_sure)
        if is_running:
            cut = before.interrupt(None, self._describe_cut(), is_unsettled=is_unsettled)
            return replace(found, settled=cut, hung=hung)
        return found if is_unsettled else replace(found, settled=before.settle(slot), hung=hung)

    def _ask_driver(self, request: ScanRequest) -> CallOutcome:
        """Return the driver's answer to whether an attempt was finished; one that hangs counts as a no."""
        config, driver = self._active.config, self._active.driver
        monitor = CallMonitor(self._clock, Call.RECOVER, request)
        limit = max_silence(driver, Call.RECOVER, config.stall_timeout)

        heard = monitor.began

        def is_alive() -> bool:
            nonlocal heard
            self._stop.go_on_in_recover(monitor.steps[2])
            before, heard = heard, monitor.last_sign
            return heard > before and monitor.age < config.scan_timeout

        try:
            ask = partial(make_call, driver, Call.RECOVER, request, monitor)
            return call_with_timeout(limit, config.driver, ask, is_alive)
        except DriverStalled as stalled:
            return CallOutcome(Call.RECOVER, request, problem=stalled)

    def _go_on(self, found: _Found, since: datetime) -> None:
        """Save what was found, with the slots that are late by now, and arm the next one.

        The daemon was there again from ``since`` on, though it may have waited for the clock, and then for the driver.
        """
        if found.hung is not None:  # the call holds the rig; the next start won't repeat it, as the attempt is settled
            self._lifecycle.abandon(str(found.hung))
        now, logbook, previous = self._clock.now(), self._keeper.logbook, self._previous
        retold_since, since = previous.retold_since(logbook), min(since, now)  # the clock may have been set back
        if retold_since is not None:
            logbook = log_retold(found.before, logbook, retold_since, now, previous.find_archived)
        timelapse = found.settled.reopen_slots(now)
        if not found.before.state.is_active:
            self._probe.find_place(timelapse)  # it may go on, and had no place while it had ended
        if timelapse is found.before and not timelapse.state.is_active:
            _log_ended(timelapse)
            known = self._keeper.logbook
            was_told = all(entry.at == known.saved_at for entry in known.recent)  # once more is enough
            if retold_since is not None and logbook.recent and not was_told:
                self._keeper.commit(timelapse, now, logbook=logbook)  # the next power cut may take these lines along
            elif self._keeper.file.must_rewrite:
                self._keeper.retry(now)
            self._planner.plan()
            return
        for until, cause in (*previous.causes(logbook, since), (now, "")):
            timelapse = self._planner.judge(timelapse, until, cause)
        came_back = logbook.came_back(self._clock.boot_id(), previous.absence(found.before, logbook, since))
        circumstances = Circumstances(cut_off_by=previous.describe_cut(logbook), note=found.note)
        self._keeper.commit(timelapse, now, circumstances, logbook=came_back)
        self._planner.plan_afresh()


class _Found(Struct, frozen=True):
    """The timelapse as it is in the store, and as it is when the attempt that was cut off has been settled."""

    before: TimeLapse
    settled: TimeLapse
    note: str = ""
    """What the driver said of a dataset that it found, such as what it moved away for it."""
    hung: DriverStalled | None = None
    """Set where the driver didn't answer, and its call never ends."""


def _hung_in(outcome: CallOutcome) -> DriverStalled | None:
    """Return the fault of a call that never ends, if it is one."""
    return outcome.problem if isinstance(outcome.problem, DriverStalled) else None


def _log_ended(timelapse: TimeLapse) -> None:
    """Log that nothing is left to do in the store."""
    draft = ", a draft that nobody armed; it is left alone until a timelapse begins"
    draft = "" if timelapse.state.is_terminal else draft
    words = f"{describe_timelapse(timelapse)}: {timelapse.state.value}{draft}; {timelapse.tally}"
    log_event(Action.STORE_FOUND, words, timelapse=timelapse)
