"""The look at the datasets' directory before a slot is due, so that a person can mend it in time."""

from __future__ import annotations

from concurrent.futures import wait
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from plantimager.timelapse.daemon.attempt_request import place_of, request_of
from plantimager.timelapse.daemon.bounded_call import call_with_timeout
from plantimager.timelapse.daemon.disk_look import Found, look_at_earlier, look_at_next
from plantimager.timelapse.daemon.driver_calls import CallOutcome
from plantimager.timelapse.daemon.journal import Action, log_event
from plantimager.timelapse.datasets.contents import find_moved, last_change
from plantimager.timelapse.domain.durations import format_duration
from plantimager.timelapse.domain.events import SlotTaken
from plantimager.timelapse.domain.states import TimeLapseState
from plantimager.timelapse.drivers.base import Call
from plantimager.timelapse.support.errors import DriverStalled
from plantimager.timelapse.support.file_system import UNMOUNTED, awaits_disk, mount_of
from plantimager.timelapse.support.side_call import NoThreadLeft, call_on_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from concurrent.futures import Future

    from plantimager.timelapse.daemon.common import Common
    from plantimager.timelapse.daemon.transition import Transition
    from plantimager.timelapse.domain.timelapse import TimeLapse
    from plantimager.timelapse.scan.request import ScanRequest
    from plantimager.timelapse.support.file_system import Mount

PROBE_TIMEOUT: Final = timedelta(seconds=5)
"""The datasets' disk may be another computer's, which doesn't answer."""
MAX_HUNG: Final = 3
"""Looks at one mount that may hang at a time: each holds a thread for as long as the disk does, which may be weeks."""
ANEW_AFTER: Final = 10.0
"""Seconds from the beginning of a look that has no answer to that of another, so that one turn waits for no two."""
STALLED: Final = f"no answer within {format_duration(PROBE_TIMEOUT)}"


class DatasetProbe:
    """Checks whether datasets can be written to their directory, while there is a schedule to keep. Loop thread."""

    def __init__(self, common: Common) -> None:
        self._keeper, self._active, self._clock = common.keeper, common.active, common.clock
        self.trouble: str | None = None
        """Why datasets can't be written, as of the last look."""
        self._found: dict[Path, Found] = {}
        """What was found at each directory, as of the last look, too."""
        self._hung: dict[Path, list[_Look]] = {}
        """The looks at each directory that have not come back, and the last one."""
        self._lost: str | None = None
        """The timelapse of which it isn't known in which directory its earlier datasets are."""
        self._lost_why = Found()

    @property
    def is_away(self) -> bool:
        """Whether the directory or its disk may be another one: a driver could write there, and must not."""
        found = self._found.get(self._active.datasets)
        return found is not None and found.is_away

    def find_place(self, timelapse: TimeLapse) -> None:
        """Have the datasets of a timelapse where its earlier ones are; an ended one may have unsettled attempts.

        Earlier versions put those of a named rig into the directory that the configuration names, not below it. While
        the disk is away or doesn't answer, no slot is taken, and `look` asks again: the timelapse would be in two
        directories.
        """
        self._lost = None
        later = self._active.later_datasets
        is_over = not timelapse.state.is_active and not timelapse.unsettled
        if is_over or self._active.config.datasets in (None, later):
            return  # there is one place alone
        try:
            place = call_with_timeout(PROBE_TIMEOUT, "datasets", partial(self._find, timelapse.scan_ids))
            if isinstance(place, Found):
                self._lost, self._lost_why = timelapse.id, place
            elif place not in (later, self._active.datasets):
                self._active.keep_datasets(place)
                words = f"datasets of {timelapse.id} stay in {place}; those of later timelapses go to {later}"
                log_event(Action.CONFIG_LOADED, words)
        except DriverStalled:
            self._lost, self._lost_why = timelapse.id, Found(STALLED, is_stalled=True)

    def _find(self, scan_ids: Iterable[str]) -> Path | Found:
        """Return the directory of the datasets of some scans, or why they can't be seen. May hang as the disk may."""
        later, named, storage = self._active.later_datasets, self._active.config.datasets, self._keeper.file.path.parent
        known = {path: self._known_disk(path) for path in (named, later) if path is not None}
        path = next((path for path, disk in known.items() if disk), None)
        found = Found() if path is None else look_at_next(path, storage, known[path], accept=False)
        if found.why is not None:
            return found
        place = self._active.find_datasets(scan_ids)
        return Found(UNMOUNTED) if awaits_disk(place) else place

    def examine(self) -> Found:
        """Return what is found now at the directory of the next datasets, with or without a timelapse."""
        return self.examine_each([self._active.datasets])[self._active.datasets]

    def examine_each(self, places: Iterable[Path], *, accept: bool = False, anew: bool = False) -> dict[Path, Found]:
        """Return what is found now at some directories, looked at side by side: that takes no longer than one look.

        Those of earlier attempts hold up no slot: see `_patience`. One of them whose last look hasn't come back counts
        as stalled, unless it is to be looked at ``anew``: it may have been mounted again since. No directory is looked
        at while `MAX_HUNG` looks hang on its mount. With ``accept`` a new disk of the next datasets is accepted.
        """
        active, storage = self._active.datasets, self._keeper.file.path.parent
        found: dict[Path, Found] = {}
        ends: dict[Path, Future[Found]] = {}
        for place in dict.fromkeys(places):
            if place == active and self.is_lost:
                why = f"{self._lost_why.why}, so that it isn't known where its earlier ones are"
                found[place] = replace(self._lost_why, why=why, is_elsewhere=True)
            elif self._may_look(place, anew=anew or place == active):
                look = look_at_next if place == active else look_at_earlier
                is_accepted = accept and place == active
                call = partial(look, place, storage, self._known_disk(place), accept=is_accepted)
                begun = _Look(place, call, self._clock.monotonic())
                self._hung.setdefault(place, []).append(begun)
                ends[place] = begun.end
            else:
                found[place] = Found(STALLED, is_stalled=True)
        patience = self._patience
        wait(ends.values(), patience.total_seconds())
        wait([end for place, end in ends.items() if place == active], (PROBE_TIMEOUT - patience).total_seconds())
        for place, end in ends.items():
            found[place] = Found(STALLED, is_stalled=True)
            with suppress(NoThreadLeft):
                found[place] = end.result() if end.done() else found[place]
        unmounted = {place for place, each in found.items() if not each.is_in_sight and awaits_disk(place)}
        return {place: replace(each, why=UNMOUNTED) if place in unmounted else each for place, each in found.items()}

    def _may_look(self, place: Path, *, anew: bool) -> bool:
        """Whether a look at a directory may begin: the last one is back, or another is wanted and few hang there."""
        looks = self._hung.get(place, [])
        if not looks or looks[-1].end.done():
            self._hung[place] = [look for look in looks if not look.end.done()]
            return True
        if not anew or self._clock.monotonic() - looks[-1].began < ANEW_AFTER:
            return False
        mount = mount_of(place)
        return sum(look.mount in (None, mount) and not look.end.done() for look in looks) < MAX_HUNG

    @property
    def _patience(self) -> timedelta:
        """How long directories of earlier attempts are waited for: half the time that the next slot has left."""
        timelapse, now = self._keeper.active, self._clock.now()
        if timelapse is None:
            return PROBE_TIMEOUT
        slots = range(timelapse.n_slots)[timelapse.next_idx : timelapse.next_idx + 2]  # the first may be being taken
        left = (timelapse.latest_start(slot) - now for slot in slots)
        return min(next((each / 2 for each in left if each > timedelta(0)), PROBE_TIMEOUT), PROBE_TIMEOUT)

    @property
    def is_lost(self) -> bool:
        """Whether it isn't known in which directory the earlier datasets are."""
        timelapse = self._keeper.timelapse
        return timelapse is not None and self._lost == timelapse.id

    def _known_disk(self, place: Path) -> Mapping[str, str]:
        """Return the path and the marks of a directory's disk; empty where none is known."""
        known, path = self._keeper.logbook, str(place)
        if known.datasets_disk.get("path") == path:
            return known.datasets_disk
        return {**known.other_disks[path], "path": path} if path in known.other_disks else {}

    def _remember(self, timelapse: TimeLapse, disk: Mapping[str, str]) -> None:
        """Have the store hold the disk of the next datasets, and those that attempts may be whole on."""
        known, active = self._keeper.logbook, str(self._active.datasets)
        slots = [*([timelapse.next_idx] if timelapse.state is TimeLapseState.RUNNING else []), *timelapse.unsettled]
        places = {timelapse.records[slot].directory for slot in slots}
        others = {path: marks for path, marks in known.other_disks.items() if path in places and path != active}
        first, path = known.datasets_disk, known.datasets_disk.get("path")
        if path in (None, active) or not {None, path} & places:
            first = {**disk}
        elif active.isprintable():
            others[active] = {kind: mark for kind, mark in disk.items() if kind != "path"}
        if (first, others) != (known.datasets_disk, known.other_disks):
            logbook = replace(known, datasets_disk=first, other_disks=others)
            self._keeper.commit(timelapse, self._clock.now(), logbook=logbook)

    @property
    def unrecorded_place(self) -> Path:
        """Where attempts are whose directory isn't recorded: the known one, whichever a person has named since."""
        path = self._keeper.logbook.datasets_disk.get("path", "")
        return Path(path) if path.startswith("/") and not self.is_lost else self._active.datasets

    def question_about(self, timelapse: TimeLapse, slot: int) -> ScanRequest:
        """Return the request for `recover`: nothing is observed for it, which would be hours after the attempt."""
        place, owner = self.unrecorded_place, self._active.owner
        return request_of(timelapse, self._keeper.configuration, place, owner, slot=slot)

    def describe(self, why: str) -> str:
        """Return for a person why datasets can't be written."""
        return f"{self._active.datasets}: datasets can't be put there: {why}"

    def look(self, *earlier: Path, anew: bool = False) -> None:
        """Try it now, and look at directories of earlier attempts, see `examine_each`.

        Log why the next datasets can't be put into theirs, unless that is known, and that it has ended.
        """
        before, self.trouble = self.trouble, None
        last, timelapse = self._keeper.timelapse, self._keeper.active
        if last is not None and self._lost == last.id:
            self.find_place(last)
        datasets = self._active.datasets
        places = earlier if timelapse is None else (datasets, *earlier)
        self._found = self.examine_each(places, accept=timelapse is not None, anew=anew)
        if timelapse is None:
            return
        found = self._found[datasets]
        if found.why is None:
            self._remember(timelapse, found.disk or self._known_disk(datasets))
            if before is not None:
                words = f"{datasets}: datasets can be put there again"
                log_event(Action.DATASETS_WITHIN_REACH, words, timelapse=timelapse)
            return
        self.trouble = self.describe(found.why)
        if self.trouble != before:
            words = f"{self.trouble}; slots wait for it, within their grace of {format_duration(timelapse.grace)}"
            log_event(Action.DATASETS_OUT_OF_REACH, words, timelapse=timelapse)

    def look_at(self, place: Path) -> Found:
        """Look, and return what is found at one directory, with or without a timelapse that goes on."""
        self.look(place)
        return self.seen_at(place)

    def seen_at(self, place: Path) -> Found:
        """Return what was found at a directory by the last look."""
        return self._found.get(place) or self.examine_each([place])[place]

    def find_moved(self, timelapse: TimeLapse, gone: Sequence[ScanRequest]) -> dict[int, CallOutcome]:
        """Return by slot what became of attempts whose directory is gone, and which are whole in the present one.

        A person has moved that, be it with the store. See `datasets.contents.find_moved`.
        """
        moved = [replace(request, dataset_dir=self._active.datasets / request.scan_id) for request in gone]

        def find() -> dict[int, CallOutcome]:
            results = [(request, find_moved(request, timelapse.records[request.index].boot_id)) for request in moved]
            return {
                request.index: CallOutcome(Call.RECOVER, request, result, finished_at=last_change(request.dataset_dir))
                for request, result in results
                if result is not None
            }

        with suppress(DriverStalled):
            return call_with_timeout(PROBE_TIMEOUT, "datasets", find) if gone else {}
        return {}

    def on_transition(self, transition: Transition) -> None:
        """Forget the trouble when a slot is taken: its dataset is there, unless that is in an earlier directory."""
        records = {} if transition.before is None else transition.before.records
        taken = [records[event.record.slot] for event in transition.events if isinstance(event, SlotTaken)]
        if self._active.datasets in {place_of(record, self.unrecorded_place) for record in taken}:
            self.trouble = None


class _Look:
    """A look at a directory, on a thread of its own, which may never come back."""

    def __init__(self, place: Path, call: Callable[[], Found], began: float) -> None:
        self.began, self.end = began, call_on_thread(partial(self._look, place, call), "look")

    mount: Mount | None = None
    """What the directory is on, once the look has begun."""

    def _look(self, place: Path, call: Callable[[], Found]) -> Found:
        self.mount = mount_of(place)
        return call()
