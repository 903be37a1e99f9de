"""Taking up a definition: may it be, what store does it make, and where does the last one go. Loop thread."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from plantimager.timelapse.daemon.journal import Action, log_event
from plantimager.timelapse.daemon.rig_thread import bounded_error, call_with_timeout
from plantimager.timelapse.domain.states import TimeLapseState
from plantimager.timelapse.settings.acceptance import (
    DefinitionAlreadyAccepted,
    check_may_start,
    check_not_over,
    describe_start,
    plan_timelapse,
    read_definition,
)
from plantimager.timelapse.settings.config import Missed
from plantimager.timelapse.store.archive import archive_store, file_stamp
from plantimager.timelapse.support.errors import DefinitionRefused, FaultsFound, TimelapsedError

if TYPE_CHECKING:
    from pathlib import Path

    from plantimager.timelapse.daemon.conductor import Conductor
    from plantimager.timelapse.settings.definition import Definition
    from plantimager.timelapse.settings.places import Places

CHECK_LIMIT: Final = timedelta(seconds=10)
"""What a driver gets to check a definition, with nothing but what it knows; well below the watchdog's limit."""


class PickUp:
    """Makes definitions the timelapse that the conductor keeps: the one that lies ready, or one that is handed in."""

    def __init__(self, places: Places, conductor: Conductor, *, requests: Path) -> None:
        self.places, self.conductor, self.keeper = places, conductor, conductor.keeper
        self._requests = requests
        """Where definitions are left by ``timelapsectl start``."""

    def look(self) -> Definition | None:
        """Return the definition that lies in the configuration directory; one at fault is told."""
        try:
            path = self.places.find_definition()
            return None if path is None else read_definition(path)
        except TimelapsedError as faulty:
            log_event(Action.DEFINITION_FAULTY, str(faulty))
            return None

    def take_up_what_lies_ready(self, *, quiet: bool = False) -> None:
        """Look for a definition in the configuration directory, and take it up if it is new."""
        definition = self.look()
        if definition is not None:
            self.take_up_if_new(definition, quiet=quiet)

    def announce_what_lies_ready(self, why: str) -> None:
        """Say of a new definition in the configuration directory ``why`` a person has to begin it."""
        definition = self.look()
        if definition is None:
            return
        with suppress(DefinitionRefused, OSError):  # which a reload tells
            check_may_start(definition, self.keeper.stored, self.places.history)
            words = f"{definition.name} isn't begun by itself: {why}; systemctl reload begins it"
            log_event(Action.DEFINITION_WAITS, words)

    def take_up_if_new(self, definition: Definition, *, quiet: bool = False) -> None:
        """Take up the definition that lies in the configuration directory; ``quiet`` about one that is done."""
        try:
            self.take_up(definition)
        except DefinitionAlreadyAccepted as done:
            if not quiet:
                log_event(Action.DEFINITION_DONE, str(done))
        except FaultsFound as faulty:
            log_event(Action.DEFINITION_FAULTY, str(faulty))
        except (DefinitionRefused, OSError) as refusal:
            hint = getattr(refusal, "hint", None)
            log_event(Action.DEFINITION_REFUSED, f"{refusal}{f'; {hint}' if hint else ''}")

    def take_up(self, definition: Definition) -> str:
        """Make a definition the timelapse; return how that is told.

        Raises
        ------
        DefinitionRefused, FaultsFound
            It can't be taken up.
        OSError
            The store of the last timelapse can't be archived.

        """
        held, history, clock = self.keeper.stored, self.places.history, self.conductor.clock
        check_may_start(definition, held, history)
        now = clock.now()
        schedule = definition.schedule(now)
        if self.conductor.config.missed is Missed.SKIP:
            check_not_over(definition, schedule, now)
        self._ask_driver(definition)
        stored = plan_timelapse(definition, schedule)
        if held is not None:
            is_draft = held.timelapse.state is TimeLapseState.CONFIGURED  # whose name stays free
            stem = f"{held.timelapse.id}-draft" if is_draft else held.timelapse.id
            archived = archive_store(self.keeper.text(), stem, history, file_stamp(now))
            log_event(Action.STORE_ARCHIVED, f"{held.timelapse.id} is kept as {archived}", timelapse=held.timelapse)
        boots = stored.logbook.came_back(now, clock.boot_id())
        self.keeper.start(replace(stored, logbook=boots), now)
        source = definition.source
        origin = "timelapsectl start" if source.parent == self._requests else source  # whose file is gone by now
        words = "; ".join([describe_start(stored.timelapse, origin, now), *schedule.notes])
        log_event(Action.DEFINITION_ACCEPTED, words, timelapse=stored.timelapse)
        self.conductor.begin(definition.configuration)
        self.conductor.look_at_datasets()
        return describe_start(stored.timelapse, source, now)

    def _ask_driver(self, definition: Definition) -> None:
        """Have the driver check whether its rig can take what is asked for.

        Raises
        ------
        FaultsFound
            It can't.
        DefinitionRefused
            The driver failed to say.

        """
        driver, name = self.conductor.driver, self.conductor.config.driver
        try:
            faults = call_with_timeout(CHECK_LIMIT, name, lambda: driver.check(definition.configuration))
        except BaseException as problem:  # whatever a driver does, it doesn't end the daemon
            kind = "" if isinstance(problem, TimelapsedError) else f"{type(problem).__name__}: "
            words = f"the driver {name} failed to check it: {kind}{bounded_error(problem)}"
            raise DefinitionRefused(f"{definition.name}: {words}") from problem
        if faults:
            raise FaultsFound(faults, definition.source)
