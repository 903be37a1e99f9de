"""The intake of definitions: whether one may become the timelapse, what store it makes, where the last one goes."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from plantimager.timelapse.channel.control_request import refusal_of
from plantimager.timelapse.daemon.bounded_call import DiskStalled, call_with_timeout, read_within
from plantimager.timelapse.daemon.driver_calls import bound_error
from plantimager.timelapse.daemon.journal import Action, log_event
from plantimager.timelapse.daemon.retelling import keep_recorded
from plantimager.timelapse.daemon.transition import Circumstances
from plantimager.timelapse.domain.events import TimelapseEnded
from plantimager.timelapse.domain.states import Reason, TimeLapseState
from plantimager.timelapse.domain.wording import format_local_time
from plantimager.timelapse.settings.acceptance import (
    DefinitionAlreadyAccepted,
    check_may_start,
    check_not_over,
    describe_start,
    fit_notes,
    gave_name_back,
    plan_timelapse,
)
from plantimager.timelapse.settings.definition import read_definition
from plantimager.timelapse.support.errors import DefinitionRefused, FaultsFound, TimelapsedError
from plantimager.timelapse.support.text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from plantimager.timelapse.daemon.common import Common
    from plantimager.timelapse.daemon.dataset_probe import DatasetProbe
    from plantimager.timelapse.daemon.planner import Planner
    from plantimager.timelapse.daemon.transition import Transition
    from plantimager.timelapse.daemon.unsettled_attempts import UnsettledAttempts
    from plantimager.timelapse.domain.schedule import Schedule
    from plantimager.timelapse.domain.timelapse import TimeLapse
    from plantimager.timelapse.settings.definition import Definition
    from plantimager.timelapse.settings.places import Places
    from plantimager.timelapse.store.stored_timelapse import StoredTimelapse

CHECK_TIMEOUT: Final = timedelta(seconds=10)
"""For a driver to check a definition without its rig; well below the watchdog's interval."""

RETRY_INTERVAL: Final = timedelta(seconds=10)
"""Between two tries to accept a definition that can't begin yet."""

START_TIMEOUT: Final = timedelta(seconds=60)
"""For the disk of the definition at a start, when no slot waits; well below what systemd is asked for."""


class _NotYet(DefinitionRefused):
    """A definition can begin soon: when a disk answers or takes the last store, or a scan has stopped."""


class DefinitionIntake:
    """Makes a definition the timelapse: the one in the configuration directory, or one from a request. Loop thread."""

    def __init__(
        self, common: Common, places: Places, planner: Planner, probe: DatasetProbe, attempts: UnsettledAttempts
    ) -> None:
        self._common, self._keeper, self._clock = common, common.keeper, common.clock
        self._places, self._planner, self._probe, self._attempts = places, planner, probe, attempts
        self._has_ended = False
        """Whether a timelapse has ended since the last look; a definition may have waited for that."""
        self._retry_at: float | None = None
        """On the monotonic clock, where a definition can't begin yet."""
        self.notes: Mapping[str, str] = {}
        """What became of the last definition, by its name, for ``timelapsectl status``; nothing if it has begun."""

    def accept(
        self, definition: Definition, origin: str | None = None, is_withdrawn: Callable[[], bool] = lambda: False
    ) -> str:
        """Make a definition the timelapse; return the sentence for the person.

        ``origin`` is what a person has asked for it with, who may withdraw it; nobody has, where its file was found.

        Raises
        ------
        DefinitionRefused, FaultsFound
            It can't be accepted, or the store of the last timelapse can't be archived.
        """
        try:
            words = self._accept(definition, origin, is_withdrawn)
        except (TimelapsedError, OSError) as refusal:
            words = "" if isinstance(refusal, DefinitionAlreadyAccepted) else refusal_of(refusal).message
            self._note("refused", words, definition.name)
            raise
        self.notes, self._retry_at = {}, None
        return words

    def forget_refusal(self, name: str) -> None:
        """Forget why the definition of this name was refused, as the timelapse of that name is amended."""
        self.notes = {of: note for of, note in self.notes.items() if of != name}

    def _note(self, outcome: str, words: str, name: str = "") -> None:
        """Keep what became of a definition; nothing where there are no words. A faulty one has no name."""
        now = self._clock.now()
        note = f"definition {outcome} at {format_local_time(now, now)}: {one_line(words)}"
        self.notes = {name: note} if words else {}

    def _check_has_stopped(self, definition: Definition) -> None:
        """Refuse a definition while a scan of the last one goes on or may be whole: in the archive nobody would ask."""
        open_scan = self._common.rig.describe_open_scan()
        words, hint = (open_scan, "try again in a moment") if open_scan else self._attempts.describe()
        if words:
            raise _NotYet(f"{definition.name} can't start yet: {words}", hint=hint)

    def _accept(self, definition: Definition, origin: str | None, is_withdrawn: Callable[[], bool]) -> str:
        held, now = self._keeper.stored, self._clock.now()
        self._check_may_start(definition, by_a_person=origin is not None)
        self._check_has_stopped(definition)
        schedule = definition.schedule(now)
        if not self._common.active.run_latest:
            check_not_over(definition, schedule, now)
        self.ask_driver(definition)
        notes = (*schedule.notes, *self.fit_notes(definition, schedule))
        planned = plan_timelapse(definition, schedule)
        if is_withdrawn():  # the driver and the disks may have taken long
            raise DefinitionRefused(f"{definition.name}: nobody waits for the answer any more, so it is not begun")
        before = self._keeper.logbook
        recent = () if held is None else keep_recorded(before, self._archive(held, now))
        disk, others = before.datasets_disk, before.other_disks
        logbook = replace(planned.logbook, datasets_disk=disk, other_disks=others, recent=recent)
        stored = planned.evolved(planned.timelapse, logbook.came_back(self._clock.boot_id()))
        self._common.active.keep_datasets(None)
        self._keeper.start(stored, now, Circumstances(origin=origin or str(definition.source), note="; ".join(notes)))
        self._planner.plan_afresh()
        self._probe.look()
        return describe_start(stored.timelapse, definition.source, now)

    def _check_may_start(self, definition: Definition, *, by_a_person: bool) -> None:
        """Do as `check_may_start`; raise `_NotYet` where the disk of the archive doesn't answer."""
        held, history = self._keeper.stored, self._places.history
        check = partial(check_may_start, definition, held, history, by_a_person=by_a_person)
        try:
            read_within(self._keeper.patience, check)
        except DiskStalled as stalled:
            raise _NotYet(f"{definition.name} can't start: {self._places.history}: {stalled}") from stalled

    def ask_driver(self, definition: Definition) -> None:
        """Have the driver check whether its rig can make the scans that a definition asks for. Any thread.

        Raises
        ------
        FaultsFound
            It can't.
        DefinitionRefused
            The driver failed to check it.
        """
        driver, name = self._common.active.driver, self._common.active.config.driver
        try:
            faults = call_with_timeout(CHECK_TIMEOUT, name, lambda: driver.check(definition.configuration))
        except BaseException as problem:  # whatever a driver raises, it doesn't end the daemon
            kind = "" if isinstance(problem, TimelapsedError) else f"{type(problem).__name__}: "
            words = f"the driver {name} failed to check it: {kind}{bound_error(problem)}"
            raise DefinitionRefused(f"{definition.name}: {words}") from problem
        if faults:
            raise FaultsFound(faults, definition.source)

    def fit_notes(self, definition: Definition, schedule: Schedule) -> tuple[str, ...]:
        """Return what doesn't fit in a schedule, by the driver's estimate or the last scans. Any thread."""
        driver, name, estimate = self._common.active.driver, self._common.active.config.driver, None
        with suppress(BaseException):  # as above; a driver that can't say is no reason to refuse
            estimate = call_with_timeout(CHECK_TIMEOUT, name, lambda: driver.estimate(definition.configuration))
        run_latest, places = self._common.active.run_latest, self._places
        find = partial(fit_notes, definition, schedule.slots, estimate, places, run_latest=run_latest)
        try:
            return tuple(read_within(CHECK_TIMEOUT, lambda: [*find()]))
        except DiskStalled:  # a note is missing
            return ()

    def _archive(self, held: StoredTimelapse, now: datetime) -> str:
        """Put the store of the last timelapse into the archive, and return its name there.

        That is another than its own if that stays free.

        Raises
        ------
        DefinitionRefused
            It can't be archived.
        """
        timelapse = held.timelapse
        is_draft = timelapse.state is TimeLapseState.CONFIGURED
        end = "-draft" if is_draft else f"-{timelapse.state}" if gave_name_back(timelapse) else ""
        try:
            archived = self._keeper.archive(f"{timelapse.id}{end}", self._places.history, now)
        except OSError as problem:
            why = f"can't be put into {self._places.history}: {problem.strerror or problem}"
            raise _NotYet(f"the store of {timelapse.id} {why}") from problem
        log_event(Action.STORE_ARCHIVED, f"{timelapse.id} is kept as {archived}", timelapse=timelapse)
        return archived.stem

    # --- the definition in the configuration directory ------------------------------------------------

    def look(self) -> Definition | None:
        """Return the definition in the configuration directory; a faulty one is logged.

        Where its disk doesn't answer, `accept_waiting` looks again if there is no schedule to keep then.
        """

        def read() -> Definition | None:
            path = self._places.find_definition()
            if path is None:
                self.notes = {}
                return None
            return read_definition(path)

        try:
            is_kept = self._common.lifecycle.phase.keeps_schedule
            return read_within(self._keeper.patience if is_kept else START_TIMEOUT, read)
        except DiskStalled as stalled:
            if self._retry_at is None:
                log_event(Action.DEFINITION_FAULTY, f"the definition can't be read: {stalled}; it is tried again")
            self._has_ended, self._retry_at = True, self._clock.monotonic() + RETRY_INTERVAL.total_seconds()
        except TimelapsedError as faulty:
            self._note("faulty", str(faulty))
            log_event(Action.DEFINITION_FAULTY, str(faulty))
        return None

    def accept_found(self, *, quiet: bool = False) -> None:
        """Accept the definition in the configuration directory if it is new; ``quiet`` about one that is done."""
        self._has_ended, self._retry_at = False, None
        definition = self.look()
        if definition is not None:
            self._accept_or_log(definition, quiet=quiet)

    def accept_if_idle(self) -> None:
        """Accept the definition in the configuration directory where there is no schedule to keep.

        For a clock that was set back: by the clock as it was before, the definition may have been over.
        """
        if self._keeper.active is None:
            self.accept_found(quiet=True)

    def accept_waiting(self) -> None:
        """Accept the definition in the configuration directory if a timelapse has ended since the last look."""
        if self._retry_at is not None and self._clock.monotonic() < self._retry_at:
            return
        has_ended, self._has_ended = self._has_ended, False
        if has_ended and self._common.lifecycle.phase.keeps_schedule and self._keeper.active is None:
            definition = self.look()
            if definition is not None:
                self.accept_by_itself(definition, quiet=True)
        if not self._has_ended:
            self._retry_at = None

    def watch(self) -> float | None:
        """Return in how many seconds `accept_waiting` tries again; ``None`` where nothing waits."""
        if self._retry_at is None or not self._common.lifecycle.phase.keeps_schedule:
            return None
        return max(self._retry_at - self._clock.monotonic(), 0.0)

    def accept_by_itself(self, definition: Definition, *, quiet: bool = False) -> None:
        """Accept a definition without a person having asked for it.

        Not where the clock was set forward over slots of the last timelapse: if that clock was wrong, they come back.
        """
        self._has_ended = False
        last = self._keeper.timelapse
        if last is not None and _may_come_back(last):
            self._announce(definition, last)
        else:
            self._accept_or_log(definition, quiet=quiet)

    def on_transition(self, transition: Transition) -> None:
        """Note that the timelapse has ended, or what a definition may wait for: `accept_waiting` looks again."""
        if self._retry_at is not None:
            self._retry_at = self._clock.monotonic()
        if any(isinstance(event, TimelapseEnded) for event in transition.events):
            self._has_ended = True

    def _announce(self, definition: Definition, last: TimeLapse) -> None:
        """Log of a new definition that a person has to begin it, and why."""
        with suppress(DefinitionRefused, OSError):  # a reload logs these
            self._check_may_start(definition, by_a_person=False)
            why = f"the clock was set forward over slots of {last.id}, which can be taken after all if it is set right"
            words = f"{definition.name} isn't begun by itself: {why}; systemctl reload begins it"
            log_event(Action.DEFINITION_WAITS, words)
            self._note("waits", words, definition.name)

    def _accept_or_log(self, definition: Definition, *, quiet: bool) -> None:
        try:
            self.accept(definition)
        except DefinitionAlreadyAccepted as done:
            if not quiet:
                log_event(Action.DEFINITION_DONE, str(done))
        except FaultsFound as faulty:
            log_event(Action.DEFINITION_FAULTY, str(faulty))
        except _NotYet as refusal:
            if self._retry_at is None:
                log_event(Action.DEFINITION_REFUSED, f"{refusal}; {definition.name} begins as soon as it can")
            self._note("waits", f"{refusal}; {definition.name} begins as soon as it can", definition.name)
            self._has_ended, self._retry_at = True, self._clock.monotonic() + RETRY_INTERVAL.total_seconds()
        except (DefinitionRefused, OSError) as refusal:
            log_event(Action.DEFINITION_REFUSED, refusal_of(refusal).message)


def _may_come_back(timelapse: TimeLapse) -> bool:
    """Whether a timelapse is completed only because the clock was set forward over slots of it."""
    return timelapse.state is TimeLapseState.COMPLETED and any(
        record.reason is Reason.CLOCK_MOVED for record in timelapse.records.values()
    )
