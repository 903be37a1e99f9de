"""Taking up a definition: may it be, what store does it make, and where does the last one go. Loop thread."""

from __future__ import annotations

import itertools
import os
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from plantimager.controller.scanner.durable import make_private_directory, write_durably
from plantimager.controller.scanner.errors import DefinitionRefused, FaultsFound, TimelapsedError
from plantimager.controller.scanner.states import TimeLapseState
from plantimager.controller.scanner.stored_timelapse import StoredTimelapse, new_stored
from plantimager.controller.scanner.timelapse import LEAST_GRACE, TimeLapse
from plantimager.controller.timelapsed.config import Missed
from plantimager.controller.timelapsed.journal import Action, tell
from plantimager.controller.timelapsed.keeper import stamp_of
from plantimager.controller.timelapsed.rig import presentable, within
from plantimager.controller.timelapsed.words import local_time

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from plantimager.controller.scanner.schedule import Schedule
    from plantimager.controller.timelapsed.conductor import Conductor
    from plantimager.controller.timelapsed.definition import Definition
    from plantimager.controller.timelapsed.places import Places

CHECK_LIMIT: Final = timedelta(seconds=10)
"""What a driver gets to check a definition, with nothing but what it knows; well below the watchdog's limit."""


class DefinitionDone(DefinitionRefused):
    """The definition was taken up before, unchanged; nothing is wrong."""


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
            tell(Action.DEFINITION_FAULTY, str(faulty))
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
            tell(Action.DEFINITION_WAITS, words)

    def take_up_if_new(self, definition: Definition, *, quiet: bool = False) -> None:
        """Take up the definition that lies in the configuration directory; ``quiet`` about one that is done."""
        try:
            self.take_up(definition)
        except DefinitionDone as done:
            if not quiet:
                tell(Action.DEFINITION_DONE, str(done))
        except FaultsFound as faulty:
            tell(Action.DEFINITION_FAULTY, str(faulty))
        except (DefinitionRefused, OSError) as refusal:
            hint = getattr(refusal, "hint", None)
            tell(Action.DEFINITION_REFUSED, f"{refusal}{f'; {hint}' if hint else ''}")

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
        stored = plan_timelapse(definition, schedule, self.places.store.name)
        if held is not None:
            is_draft = held.timelapse.state is TimeLapseState.CONFIGURED  # whose name stays free
            stem = f"{held.timelapse.id}-draft" if is_draft else held.timelapse.id
            archived = archive(self.keeper.text(), stem, history, stamp_of(now))
            tell(Action.STORE_ARCHIVED, f"{held.timelapse.id} is kept as {archived}", timelapse=held.timelapse)
        boots = stored.logbook.came_back(now, clock.boot_id())
        self.keeper.start(StoredTimelapse(stored.store, stored.timelapse, boots), now)
        source = definition.source
        origin = "timelapsectl start" if source.parent == self._requests else source  # whose file is gone by now
        words = "; ".join([started_words(stored.timelapse, origin, now), *schedule.notes])
        tell(Action.DEFINITION_ACCEPTED, words, timelapse=stored.timelapse)
        self.conductor.begin(definition.configuration)
        self.conductor.look_at_datasets()
        return started_words(stored.timelapse, source, now)

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
            faults = within(CHECK_LIMIT, name, lambda: driver.check(definition.configuration))
        except BaseException as problem:  # whatever a driver does, it doesn't end the daemon
            kind = "" if isinstance(problem, TimelapsedError) else f"{type(problem).__name__}: "
            words = f"the driver {name} failed to check it: {kind}{presentable(problem)}"
            raise DefinitionRefused(f"{definition.name}: {words}") from problem
        if faults:
            raise FaultsFound(faults, definition.source)


def read_definition(path: Path) -> Definition:
    """Read a definition, by a module that is loaded only now: most starts have none to read.

    Raises
    ------
    FileUnusable, FaultsFound
        It is at fault.

    """
    from plantimager.controller.timelapsed import definition  # noqa: PLC0415 - see above

    return definition.read_definition(path)


def check_may_start(definition: Definition, held: StoredTimelapse | None, history: Path) -> None:
    """Refuse a definition while a timelapse is active, and one whose name was used before.

    Datasets carry the timelapse's name: a second one of the same name would meet the first one's.

    Raises
    ------
    DefinitionDone
        This very definition was taken up already.
    DefinitionRefused
        It can't be taken up.

    """
    name = definition.name
    if held is not None and held.timelapse.state is TimeLapseState.CONFIGURED:
        held = None  # a draft that nobody armed took nothing; it makes room for any definition
    if held is not None and held.timelapse.id == name:
        if held.logbook.definition_digest in (None, definition.digest):
            raise DefinitionDone(f"{name} was taken up before and is {held.timelapse.state.value}")
        if held.timelapse.state.is_active:
            refusal = DefinitionRefused(
                f"{name} runs as it was defined; the changes in {definition.source} are ignored"
            )
            refusal.hint = "cancel it with timelapsectl cancel, and start the changed one under another name"
            raise refusal
    elif held is not None and held.timelapse.state.is_active:
        active = held.timelapse
        refusal = DefinitionRefused(
            f"{name} can't start: {active.id} is active, {active.tally.done} of {active.n_slots} slots are done"
        )
        refusal.hint = "cancel it with timelapsectl cancel, or wait until it has ended"
        raise refusal
    if (held is not None and held.timelapse.id == name) or (history / f"{name}.json").exists():
        refusal = DefinitionRefused(f"{name} can't start: a timelapse of that name has already ended here")
        refusal.hint = "give it another name, so that its datasets don't meet those of the first"
        raise refusal


def check_not_over(definition: Definition, schedule: Schedule, now: datetime) -> None:
    """Refuse a definition of which no slot can be taken any more: a year mistyped would use up its name.

    Raises
    ------
    DefinitionRefused
        All its slots are later than its grace period.

    """
    last = max(schedule.slots)
    if now - last > max(definition.grace, LEAST_GRACE):
        refusal = DefinitionRefused(f"{definition.name} can't start: its last slot was {local_time(last, now)}")
        refusal.hint = "look at the dates in it, the year included"
        raise refusal


def plan_timelapse(definition: Definition, schedule: Schedule, store_name: str) -> StoredTimelapse:
    """Return the timelapse that a definition asks for, nothing of it taken yet."""
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
    return new_stored(timelapse, definition.configuration, definition.digest, store_name)


def archive(text: bytes, name: str, history: Path, stamp: str) -> Path:
    """Put the text of an ended timelapse's store into ``history``, over nothing that is there; return the file.

    Raises
    ------
    OSError
        It can't be written.

    """
    make_private_directory(history)
    names = itertools.chain([name, f"{name}-{stamp}"], (f"{name}-{stamp}-{number}" for number in itertools.count(2)))
    archived = next(path for stem in names if not os.path.lexists(path := history / f"{stem}.json"))
    write_durably(archived, text)
    return archived


def configuration_for(
    held: StoredTimelapse, definition: Definition | None, default: Mapping[str, object]
) -> Mapping[str, object]:
    """Return the scan configuration of a timelapse: its store's, its definition's, the host's, or none."""
    candidates: Sequence[Mapping[str, object] | None] = (
        held.configuration,
        definition.configuration if definition is not None and definition.name == held.timelapse.id else None,
        default,
    )
    return next((candidate for candidate in candidates if candidate), {})


def started_words(timelapse: TimeLapse, origin: Path | str, now: datetime) -> str:
    """Return how the start of a timelapse is told; ``origin`` is where its definition is from."""
    first, last = timelapse.schedule_times[0], timelapse.schedule_times[-1]
    until = f" to {local_time(last, now)}" if timelapse.n_slots > 1 else ""
    slots = f"{timelapse.n_slots} slot{'s' if timelapse.n_slots != 1 else ''}"
    return f"{timelapse.id} from {origin}: {slots}, {local_time(first, now)}{until}"
