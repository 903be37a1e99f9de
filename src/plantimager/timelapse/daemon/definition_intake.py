"""The intake of definitions: whether one may become the timelapse, what store it makes, where the last one goes."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from plantimager.timelapse.daemon.driver_calls import bound_error, call_with_timeout
from plantimager.timelapse.daemon.journal import Action, log_event
from plantimager.timelapse.daemon.transition import Circumstances
from plantimager.timelapse.domain.events import TimelapseEnded
from plantimager.timelapse.domain.states import Reason, TimeLapseState
from plantimager.timelapse.settings.acceptance import (
    DefinitionAlreadyAccepted,
    check_may_start,
    check_not_over,
    describe_start,
    fit_notes,
    load_definition,
    plan_timelapse,
)
from plantimager.timelapse.support.errors import DefinitionRefused, FaultsFound, TimelapsedError
from plantimager.timelapse.support.text import one_line

if TYPE_CHECKING:
    from datetime import datetime

    from plantimager.timelapse.daemon.common import Common
    from plantimager.timelapse.daemon.dataset_probe import DatasetProbe
    from plantimager.timelapse.daemon.planner import Planner
    from plantimager.timelapse.daemon.transition import Transition
    from plantimager.timelapse.domain.schedule import Schedule
    from plantimager.timelapse.domain.timelapse import TimeLapse
    from plantimager.timelapse.settings.definition import Definition
    from plantimager.timelapse.settings.places import Places
    from plantimager.timelapse.store.stored_timelapse import StoredTimelapse

CHECK_TIMEOUT: Final = timedelta(seconds=10)
"""For a driver to check a definition without its rig; well below the watchdog's interval."""

ARCHIVE_INTERVAL: Final = timedelta(seconds=10)
"""Between two tries to accept a definition for which the last timelapse couldn't be archived."""


class _NotArchived(DefinitionRefused):
    """The disk doesn't take the store of the last timelapse into the archive; it may later."""


class DefinitionIntake:
    """Makes a definition the timelapse: the one in the configuration directory, or one from a request. Loop thread."""

    def __init__(self, common: Common, places: Places, planner: Planner, probe: DatasetProbe) -> None:
        self._keeper, self._clock, self._lifecycle = common.keeper, common.clock, common.lifecycle
        self._active, self._places = common.active, places
        self._planner, self._probe = planner, probe
        self._has_ended = False
        """Whether a timelapse has ended since the last look; a definition may have waited for that."""
        self._retry_at: float | None = None
        """On the monotonic clock, where a definition waits for the archive."""
        self.trouble = ""
        """Why the definition in the configuration directory was not taken up; empty where it was, or there is none."""

    def accept(self, definition: Definition, *, origin: str | None = None) -> str:
        """Make a definition the timelapse; return the sentence for the person.

        ``origin`` is where it is from for the journal, where its file's name says nothing to others.

        Raises
        ------
        DefinitionRefused, FaultsFound
            It can't be accepted, or the store of the last timelapse can't be archived.
        """
        held, history, now = self._keeper.stored, self._places.history, self._clock.now()
        check_may_start(definition, held, history)
        schedule = definition.schedule(now)
        if not self._active.run_latest:
            check_not_over(definition, schedule, now)
        self._ask_driver(definition)
        notes = (*schedule.notes, *self._fit_notes(definition, schedule))
        planned = plan_timelapse(definition, schedule)
        if held is not None:
            self._archive(held, now)
        logbook = replace(planned.logbook, datasets_disk=self._keeper.logbook.datasets_disk)
        stored = planned.evolved(planned.timelapse, logbook.came_back(self._clock.boot_id()))
        source = definition.source
        self._active.keep_datasets(None)
        self.trouble = ""
        self._keeper.start(stored, now, Circumstances(origin=origin or str(source), note="; ".join(notes)))
        self._planner.plan_afresh()
        self._probe.look()
        return describe_start(stored.timelapse, source, now)

    def _ask_driver(self, definition: Definition) -> None:
        """Have the driver check whether its rig can make the scans that a definition asks for.

        Raises
        ------
        FaultsFound
            It can't.
        DefinitionRefused
            The driver failed to check it.
        """
        driver, name = self._active.driver, self._active.config.driver
        try:
            faults = call_with_timeout(CHECK_TIMEOUT, name, lambda: driver.check(definition.configuration))
        except BaseException as problem:  # whatever a driver raises, it doesn't end the daemon
            kind = "" if isinstance(problem, TimelapsedError) else f"{type(problem).__name__}: "
            words = f"the driver {name} failed to check it: {kind}{bound_error(problem)}"
            raise DefinitionRefused(f"{definition.name}: {words}") from problem
        if faults:
            raise FaultsFound(faults, definition.source)

    def _fit_notes(self, definition: Definition, schedule: Schedule) -> tuple[str, ...]:
        """Return what doesn't fit in a schedule, by the driver's estimate or the last scans; as `fit_notes`."""
        driver, name, estimate = self._active.driver, self._active.config.driver, None
        with suppress(BaseException):  # as above; a driver that can't say is no reason to refuse
            estimate = call_with_timeout(CHECK_TIMEOUT, name, lambda: driver.estimate(definition.configuration))
        run_latest = self._active.run_latest
        return tuple(fit_notes(definition, schedule.slots, estimate, self._places, run_latest=run_latest))

    def _archive(self, held: StoredTimelapse, now: datetime) -> None:
        """Put the store of the last timelapse into the archive; the name of a draft stays free.

        Raises
        ------
        DefinitionRefused
            It can't be archived.
        """
        timelapse = held.timelapse
        stem = f"{timelapse.id}-draft" if timelapse.state is TimeLapseState.CONFIGURED else timelapse.id
        try:
            archived = self._keeper.archive(stem, self._places.history, now)
        except OSError as problem:
            why = f"can't be put into {self._places.history}: {problem.strerror or problem}"
            raise _NotArchived(f"the store of {timelapse.id} {why}") from problem
        log_event(Action.STORE_ARCHIVED, f"{timelapse.id} is kept as {archived}", timelapse=timelapse)

    # --- the definition in the configuration directory ------------------------------------------------

    def look(self) -> Definition | None:
        """Return the definition in the configuration directory; a faulty one is logged."""
        self.trouble = ""
        try:
            path = self._places.find_definition()
            return None if path is None else load_definition(path)
        except TimelapsedError as faulty:
            self._log(Action.DEFINITION_FAULTY, faulty)
            return None

    def _log(self, action: Action, why: object) -> None:
        """Log why the definition isn't taken up, and keep that for the status."""
        self.trouble = one_line(str(why))
        log_event(action, str(why))

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
        if has_ended and self._lifecycle.phase.keeps_schedule and self._keeper.active is None:
            definition = self.look()
            if definition is not None:
                self.accept_by_itself(definition, quiet=True)
        if not self._has_ended:
            self._retry_at = None

    def watch(self) -> float | None:
        """Return in how many seconds `accept_waiting` tries again; ``None`` where nothing waits for the archive."""
        return None if self._retry_at is None else max(self._retry_at - self._clock.monotonic(), 0.0)

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

    def take(self, transition: Transition) -> None:
        """Note that the timelapse has ended, so that `accept_waiting` looks again."""
        if any(isinstance(event, TimelapseEnded) for event in transition.events):
            self._has_ended = True

    def _announce(self, definition: Definition, last: TimeLapse) -> None:
        """Log of a new definition that a person has to begin it, and why."""
        with suppress(DefinitionRefused, OSError):  # a reload logs these
            check_may_start(definition, self._keeper.stored, self._places.history)
            why = f"the clock was set forward over slots of {last.id}, which can be taken after all if it is set right"
            words = f"{definition.name} isn't begun by itself: {why}; systemctl reload begins it"
            self._log(Action.DEFINITION_WAITS, words)

    def _accept_or_log(self, definition: Definition, *, quiet: bool) -> None:
        try:
            self.accept(definition)
        except DefinitionAlreadyAccepted as done:
            if not quiet:
                log_event(Action.DEFINITION_DONE, str(done))
        except FaultsFound as faulty:
            self._log(Action.DEFINITION_FAULTY, faulty)
        except _NotArchived as refusal:
            if self._retry_at is None:
                self._log(Action.DEFINITION_REFUSED, f"{refusal}; {definition.name} begins as soon as it can")
            self._has_ended, self._retry_at = True, self._clock.monotonic() + ARCHIVE_INTERVAL.total_seconds()
        except (DefinitionRefused, OSError) as refusal:
            hint = getattr(refusal, "hint", None)
            self._log(Action.DEFINITION_REFUSED, f"{refusal}{f'; {hint}' if hint else ''}")


def _may_come_back(timelapse: TimeLapse) -> bool:
    """Whether a timelapse is completed only because the clock was set forward over slots of it."""
    return timelapse.state is TimeLapseState.COMPLETED and any(
        record.reason is Reason.CLOCK_MOVED for record in timelapse.records.values()
    )
