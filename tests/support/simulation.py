"""The real daemon with its real files, on a virtual clock and a scripted rig: years of a rig's life in milliseconds.

A `World` is one rig: its directory, the true time, and a ledger of what its hardware did. `World.live` is one run
of the daemon in it, from its start to a kill, a stop, or until nothing more is going to happen. Whenever the daemon
goes to sleep, and whenever it has the rig scan, the world checks what must hold at any time.
"""

from __future__ import annotations

import dataclasses
import logging
import re
import resource
import signal
import sys
from collections import defaultdict
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING
from unittest import mock

from event_fold import EventFold
from msgspec.structs import replace
from virtual_time import START, SYNCHRONISED, ScriptEnded, VirtualClock

from plantimager.timelapse.channel.control_request import Answer, Request
from plantimager.timelapse.channel.live import LiveFile
from plantimager.timelapse.daemon import (
    bounded_call,
    change_intake,
    dataset_probe,
    definition_intake,
    driver_calls,
    resume,
)
from plantimager.timelapse.daemon.attempt_request import is_running_attempt, is_unsettled_attempt
from plantimager.timelapse.daemon.bounded_call import DiskStalled
from plantimager.timelapse.daemon.daemon import Daemon, Host
from plantimager.timelapse.daemon.definition_intake import CHECK_TIMEOUT
from plantimager.timelapse.daemon.driver_calls import CallMonitor, CallOutcome, make_directory
from plantimager.timelapse.daemon.journal import logger
from plantimager.timelapse.daemon.retelling import JOURNAL_SYNC_INTERVAL
from plantimager.timelapse.daemon.store_keeper import StoreKeeper
from plantimager.timelapse.daemon.unsettled_attempts import LONGEST_PAUSE
from plantimager.timelapse.domain.durations import format_exact_duration
from plantimager.timelapse.domain.events import begins_anew
from plantimager.timelapse.domain.pausing import pause_at
from plantimager.timelapse.domain.states import Reason, RecordStatus, TimeLapseState
from plantimager.timelapse.domain.timelapse import MINIMUM_GRACE
from plantimager.timelapse.drivers.base import Call, ScannerDriver
from plantimager.timelapse.drivers.manual_control import ManualControl
from plantimager.timelapse.scan.request import ScanRequest, ScanResult
from plantimager.timelapse.settings.config import ClockPolicy, Config, Missed
from plantimager.timelapse.settings.places import Places
from plantimager.timelapse.store.loading import load_timelapse
from plantimager.timelapse.support.clock import EPOCH
from plantimager.timelapse.support.errors import (
    DriverStalled,
    PicturesUnreadable,
    ScanCancelled,
    ScanFailed,
    ScannerNotReady,
)
from plantimager.timelapse.support.progress import current_report
from plantimager.timelapse.systemd.notifier import Notifier

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from plantimager.timelapse.daemon.manual_request import ManualRequest
    from plantimager.timelapse.domain.records import Pause, SlotRecord
    from plantimager.timelapse.domain.timelapse import TimeLapse
    from plantimager.timelapse.support.clock_evidence import ClockEvidence

NONE = timedelta(0)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
YEAR = timedelta(days=365)

DEFINITION = """
[timelapse]
name = "{name}"
{times}
warmup_period = "{warmup}"
standby_threshold_sec = "{standby_threshold}"
grace_period = "{grace}"
scan_retries = {retries}
on_scan_failed = "{policy}"
"""

PROMISE = "can be attempted again until"
"""In a line about a slot that was interrupted."""

TIMEOUT_START, TIMEOUT_STOP = 15 * MINUTE, 2 * MINUTE
"""TimeoutStartSec= and TimeoutStopSec= of the unit."""

TRUE_WHILE = {
    "scan_started": {RecordStatus.RUNNING},
    "attempt_failed": {RecordStatus.RUNNING},
    "rig_not_ready": {None, RecordStatus.PENDING, RecordStatus.INTERRUPTED},
    "slots_given_back": {None, RecordStatus.PENDING, RecordStatus.INTERRUPTED},
    "scan_succeeded": {RecordStatus.SUCCEEDED},
    "scan_recovered": {RecordStatus.SUCCEEDED},
    "scan_failed": {RecordStatus.FAILED},
    "slot_skipped": {RecordStatus.SKIPPED},
    "slot_paused": {RecordStatus.SKIPPED},
    "slot_interrupted": {RecordStatus.INTERRUPTED},
}
"""The lines about a slot, and what its record may be when they are written."""
FINAL_LINES = {"scan_succeeded", "scan_recovered", "scan_failed", "slot_skipped", "slot_paused", "slot_interrupted"}

MAY_LAND = (is_running_attempt, is_unsettled_attempt)
"""Of which attempts the dataset may be whole, though its disk was pulled: those that are asked about."""

LOST = "lost"
"""Instead of the action of a line that a power cut took along."""

LONGEST_TURN = 30 * SECOND
"""Of the loop: half of WatchdogSec= of the unit, for which systemd waits after a sign of life."""

SPINNING = 100
"""So many waits in a row at one instant mean that the loop spins."""


class Killed(BaseException):
    """SIGKILL, or a power cut."""


class End(StrEnum):
    """How a run of the daemon ended."""

    IDLE = "idle"
    """It sleeps, and nothing will wake it."""
    KILLED = "killed"
    STOPPED = "stopped"
    ABANDONED = "abandoned"
    """It ended itself, since the driver hung."""


class Bounded(StrEnum):
    """What the loop itself waits for, for a limited time."""

    RECOVER = "recover"
    LOOK = "look at the datasets"
    CHECK = "check of a definition"
    READ = "read of a file"


BOUNDED = {resume: Bounded.RECOVER, dataset_probe: Bounded.LOOK}
BOUNDED |= {definition_intake: Bounded.CHECK, bounded_call: Bounded.READ}
"""Which module of the daemon waits for which of them."""


class Death(StrEnum):
    """Whether the daemon is killed before or after a save."""

    BEFORE = "before"
    AFTER = "after"


@dataclass(frozen=True, slots=True, kw_only=True)
class Boot:
    """The machine starts anew."""

    wrong_by: timedelta = NONE
    """Wall clock minus true time."""
    evidence: ClockEvidence = SYNCHRONISED
    takes: timedelta = 20 * SECOND
    """Until the daemon is started."""
    ntp_after: timedelta | None = None
    """How long after the daemon's start the network sets the clock right; None for never."""


@dataclass
class Asked:
    """A request of a person, and the answers to it."""

    answers: list[Answer] = field(default_factory=list)
    request: Request | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """What the rig does in a scan."""

    takes: timedelta | None = 30 * SECOND
    """None: it never ends by itself."""
    problem: BaseException | None = None
    """The exception with which it ends; None: with a whole dataset."""
    progress: timedelta | None = 10 * SECOND
    """Between two signs of life; None: silent."""
    stops_in: timedelta | None = SECOND
    """How long it takes to its safe point when it is cancelled; None: it ignores that, as one that syncs its files."""
    lands: bool = False
    """Whether its dataset is whole also where the disk was pulled at its end, and it fails."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One call of the driver."""

    call: Call
    at: datetime
    """By the wall clock."""
    true_at: datetime
    slot: int | None = None
    attempt: int | None = None
    driver: str = ""
    finished: bool = False
    """Whether this is the end of a scan that left a whole dataset."""
    timelapse_id: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the journal."""

    action: str
    sentence: str
    level: int
    fields: dict[str, object] = field(repr=False)
    at: datetime = START
    """By true time."""

    @property
    def slots(self) -> list[int]:
        """The slots that it is about."""
        slots = self.fields.get("SLOT", [])
        return [slots] if isinstance(slots, int) else slots

    @property
    def is_final(self) -> bool:
        """Whether it says what became of its slots; else another line has to follow."""
        return self.action in FINAL_LINES and PROMISE not in self.sentence

    @property
    def names_end_of_grace(self) -> bool:
        """Whether it says until when its slot may be begun, which that is not beyond."""
        return PROMISE in self.sentence or re.search(r"asked again until [0-9]", self.sentence) is not None


@dataclass
class Looks:
    """What came of the daemon's looks at directories of datasets, and of its questions about what is in them."""

    names: list[str] = field(default_factory=list)
    """Those of the directories, one for each look."""
    unanswered: set[Path] = field(default_factory=set)
    """The directories of whose last look nothing was heard in time."""
    unread: set[tuple[str, int]] = field(default_factory=set)
    """Timelapse and slot of what the driver could not read when it was asked: that may be taken anew."""


class World:
    """One rig with its directory, through all the runs of its daemon."""

    recover_silence: timedelta | None = None
    """How long the driver says that it is silent in `recover` at most."""
    stalled: frozenset[Path] = frozenset()
    """Directories of datasets whose disk doesn't answer, while others do."""
    loses_lines = False
    """Whether a power cut takes along what journald was given in the minutes before it."""
    unreadable: Iterator[ScannerNotReady | None] = iter(())
    """What each `recover` raises that doesn't know, as the disk fails under it; afterwards it doesn't."""
    was_set = False
    """Whether the wall clock was ever set, or wrong at a boot."""
    lost_lines = False
    """Whether the daemon was killed between a save and the lines about it."""
    least_grace = timedelta.max
    """The shortest grace period that the timelapse has had: an amendment may make it longer."""
    judged = 0
    """How many slots were due after the faults had stopped."""
    forgetful = False
    """Whether a run ended while the store could not be written: it may be older than the ledger."""

    def __init__(self, directory: Path, config: Config | None = None, now: datetime = START) -> None:
        self.directory = directory
        directory.mkdir()
        self.places = Places(store=directory / "data" / "store.json", config_directories=(directory / "config",))
        (directory / "config").mkdir()
        self.config = replace(config or Config(), datasets=self.disk)
        self.suspends: dict[datetime, timedelta] = {}
        """How long the machine slept, by the true time at which it fell asleep."""
        self.truth, self.wrong_by, self.looks = now, NONE, Looks()
        self.evidence, self.since_boot, self.boots = SYNCHRONISED, HOUR, 1
        self.ntp_at: datetime | None = None
        """When, by true time, the network will set the clock right."""
        self.behaviour: Callable[[ScanRequest], Behaviour] = lambda _: Behaviour()
        """Asked whenever a scan begins."""
        self.recover_reports = True
        """Whether the driver reports what it does in `recover`, every second."""
        self.hangs: set[Call | Bounded] = set()
        """Calls other than scans that never come back."""
        self.slow: dict[Call | Bounded, timedelta] = {}
        """How long calls other than scans take, where that isn't a second, or no time for what the loop waits for."""
        self.saves: Iterator[timedelta] = iter(())
        """How long each save takes; afterwards they take no time."""
        self.prepares: Iterator[BaseException | None] = iter(())
        """With what each prepare ends; afterwards they succeed."""
        self.ledger: list[Entry] = []
        self.journal: list[Line] = []
        self.datasets: set[str] = set()
        """The scan ids whose dataset is whole."""
        self.put_into: dict[str, set[Path]] = defaultdict(set)
        """The directories of a dataset, where scans put it there."""
        self.taken_anew: set[tuple[str, int]] = set()
        """Timelapse and slot of what was attempted in another directory, as the one before was out of reach."""
        self.finished_at: dict[str, datetime] = {}
        """When their last file was written, by the wall clock."""
        self.pulled_at: datetime | None = None
        """Since when, by true time, the datasets' disk is away; below its mount point is the root's, writable."""
        self.plugged_at = now
        """When it comes back."""
        self.landing: Callable[[], None] | None = None
        """Makes a dataset whole whose disk was pulled at its end, where the daemon sees that it is still away."""
        self.calm_since: datetime | None = None
        """By the wall clock, from when on nothing disturbs the rig any more."""
        self.begun_at: dict[str, datetime] = {}
        """When each timelapse was accepted, by true time."""
        self.closed_before: set[tuple[str, int]] = set()
        """Timelapse and slot of what was closed by then for good, though a clock that was set back has them to come."""
        self.closed_in_pause: set[tuple[str, int]] = set()
        """Timelapse and slot of what was skipped in a pause, for which the rig hadn't been ready before."""
        self.told_unsaved: set[tuple[str, int]] = set()
        """Timelapse and slot of lines about what was not on disk: a kill may have taken that back."""
        self.lives: list[Life] = []

    # Its files

    @property
    def disk(self) -> Path:
        """The mount point of the disk that can be pulled; every other directory is on the root's."""
        return self.directory / "datasets"

    def define(self, **commands: object) -> None:
        """Write a definition; ``every`` and ``n``, ``at`` (times after START) or nothing (one shot) give its times.

        The timelapse is called ``tl`` unless ``name`` says otherwise.
        """
        every, n, at = commands.pop("every", None), commands.pop("n", 1), commands.pop("at", None)
        start = START + commands.pop("start", HOUR)
        if at is not None:
            dates = ", ".join(f'"{(START + after).isoformat()}"' for after in at)
            times = f'mode = "fixed_times"\ndates = [{dates}]'
        elif every is not None:
            interval = format_exact_duration(every)
            times = f'mode = "interval"\ninterval = "{interval}"\nn_shots = {n}\nstart_at = "{start.isoformat()}"'
        else:
            times = f'mode = "one_shot"\nstart_at = "{start.isoformat()}"'
        values = {"warmup": 30 * SECOND, "standby_threshold": 600 * SECOND, "grace": 2 * MINUTE}
        values = {"name": "tl", "retries": 0, "policy": "skip_scan"} | {
            key: format_exact_duration(value) if isinstance(value, timedelta) else value
            for key, value in {**values, **commands}.items()
        }
        with room_on_disk():
            (self.directory / "config" / "timelapse.toml").write_text(DEFINITION.format(times=times, **values))

    def configure(self, **changes: object) -> None:
        """Write another configuration, for a reload or the next start."""
        config = self.config = replace(self.config, **changes)
        durations = {
            key: format_exact_duration(getattr(config, key)) for key in ("clock_wait", "scan_timeout", "stall_timeout")
        }
        words = {key: getattr(config, key) for key in ("driver", "datasets", "missed", "clock")}
        lines = [f'{key} = "{value}"' for key, value in {**words, **durations}.items()]
        lines += [f"[drivers.{config.driver}]", *(f"{key} = {value!r}" for key, value in config.driver_options.items())]
        with room_on_disk():
            (self.directory / "config" / "timelapsed.toml").write_text("\n".join(lines))

    # Its runs

    def live(
        self,
        *happenings: tuple[timedelta, Callable[[Life], object]],
        off: timedelta = NONE,
        boot: Boot | None = None,
        watchdog: timedelta | None = None,
    ) -> Life:
        """Run the daemon once, ``off`` after the last run, and return that run.

        Each of ``happenings`` is called with the run, so long after its start.
        """
        self.truth += off
        self.since_boot += off
        if boot is not None:
            if self.loses_lines and self.lives and self.lives[-1].ended is End.KILLED:
                self._lose_lines(self.truth - off - JOURNAL_SYNC_INTERVAL)
            self.truth += boot.takes
            self.boots += 1
            self.was_set |= boot.wrong_by != NONE
            self.wrong_by, self.evidence, self.since_boot = boot.wrong_by, boot.evidence, boot.takes
            self.ntp_at = None if boot.ntp_after is None else self.truth + boot.ntp_after
        life = Life(self, watchdog)
        self.lives.append(life)
        if self.ntp_at is not None:
            life.clock.at(max(self.ntp_at - self.truth, NONE), life.ntp_answers)
        for after, do in happenings:
            life.clock.at(after, lambda do=do: do(life))
        try:
            life.run()
        finally:
            elapsed = life.clock.elapsed
            self.truth += elapsed
            self.since_boot += elapsed
            self.wrong_by = life.clock.now() - self.truth
            self.evidence = life.clock.shown_evidence
        return life

    def stored(self) -> TimeLapse:
        """Return the timelapse as it is on disk."""
        loaded = load_timelapse(self.places.store)
        assert loaded is not None
        return loaded.stored.timelapse

    def is_whole_in(self, request: ScanRequest) -> bool:
        """Whether the dataset of a request is whole in its directory."""
        places = self.put_into.get(request.scan_id)
        return request.scan_id in self.datasets and (places is None or request.dataset_dir.parent in places)

    def identify_file_system(self, path: Path) -> dict[str, str]:
        """Return the marks of the disk that a path is on, for the look at the datasets."""
        is_on_disk = path.is_relative_to(self.disk) and self.pulled_at is None
        return {"uuid": "of the disk" if is_on_disk else "of the root"}

    def _lose_lines(self, since: datetime) -> None:
        """Take the lines ``since`` then out of the journal, and leave which slots they were about."""
        for number, line in enumerate(self.journal):
            if line.at > since:
                self.journal[number] = dataclasses.replace(line, action=LOST)

    def last_change(self, dataset: Path) -> datetime | None:
        """Return when the last file of a dataset was written, for the record of a scan that is found later."""
        return self.finished_at.get(dataset.name)

    # Its ledger and journal

    def scans(self) -> list[tuple[int, int]]:
        """Return (slot, attempt) of every scan that was begun."""
        return [(entry.slot, entry.attempt) for entry in self.ledger if entry.call is Call.SCAN and not entry.finished]

    def taken(self, timelapse_id: str = "tl") -> list[int]:
        """Return the slots with a whole dataset, in the order of their scans."""
        return [entry.slot for entry in self.ledger if entry.finished and entry.timelapse_id == timelapse_id]

    def archived(self) -> list[TimeLapse]:
        """Return the timelapses that made room for another one."""
        return [load_timelapse(path).stored.timelapse for path in self.places.history.glob("*.json")]

    def calls(self) -> list[tuple[str, timedelta]]:
        """Return every call of the driver, and its time after START by the wall clock."""
        return [(entry.call.value, entry.at - START) for entry in self.ledger if not entry.finished]

    def scans_at(self) -> list[timedelta]:
        """Return the beginning of each scan, as a time after START by the wall clock."""
        return [after for call, after in self.calls() if call == Call.SCAN]

    def statuses(self) -> list[str]:
        """Return what became of the slots, as words."""
        return [record.status.value for _, record in sorted(self.stored().records.items())]

    def reasons(self) -> list[Reason | None]:
        """Return why slots were not taken, ``None`` for the others."""
        return [record.reason for _, record in sorted(self.stored().records.items())]

    def said(self, action: str) -> list[str]:
        """Return the sentences of one action."""
        return [line.sentence for line in self.journal if line.action == action]

    def actions(self) -> list[str]:
        """Return the actions in their order."""
        return [line.action for line in self.journal]


class Life:
    """One run of the daemon, and the invariants that hold meanwhile."""

    def __init__(self, world: World, watchdog: timedelta | None) -> None:
        self.world = world
        self.clock = WatchedClock(self, world)
        self.notices = Notices(self, watchdog)
        self.dies_at_save: Death | None = None
        self.is_dead = False
        self.saves = 0
        self.disk = VirtualDisk(self)
        self.daemon = SimulatedDaemon(self)
        self.ended: End | None = None
        self.trusts_clock = False
        """Whether the daemon has done anything irreversible."""
        self.last_write: datetime | None = None
        if world.places.store.exists():
            self.last_write = load_timelapse(world.places.store).stored.logbook.saved_at
        self.pause: tuple[str, Pause | None] = ("", None)
        """The timelapse, and its pause, as last saved or found."""
        self.paused_by: Pause | None = None
        """The pause until the transition that is looked at."""
        self.is_asked_to_pause = self.is_asked_to_resume = False
        if world.places.store.exists():
            self.pause = (world.stored().id, world.stored().pause)
        self.seen: TimeLapse | None = None
        self.fold = EventFold()
        self.shift_unjudged = NONE
        """How far the clock was set since the daemon last judged the schedule by it."""
        self.is_waiting = self.has_waited = self.is_set_in_wait = False
        """Whether the loop itself waits for a disk or a driver; whether it did in this turn, and the clock was set."""
        self.is_beside = False
        """Whether a call is made beside the loop, which goes on meanwhile."""
        self.set_back = True
        """Whether the clock may be earlier than when records were made."""
        self.set_back_since_scan = False
        self._last_scan: ScanRequest | None = None
        self.report = current_report()
        """What takes the progress of the driver's `recover`."""
        self.has_hung = False
        """Whether a call was made that never ends."""
        self.longest_turn = self.longest_start = NONE
        """How long the loop was held at most, while the schedule was kept, and in the turn of the start."""
        self.turn_at = world.truth
        """When, by true time, the loop last woke up."""
        self.looked_at: datetime | None = None
        """When it last looked at the datasets' disk; None where that had no answer."""
        self.is_asked_blindly = False
        """Whether the driver was asked about an attempt without the disk; what its call raises is taken for a no."""
        self.in_vain_since: timedelta | None = None
        """Since when, in the clock's elapsed time, nothing is left but to look for a disk."""
        self.awaits_disk = False
        """Whether a definition waits for its own disk, or for that of the archive."""

    def run(self) -> None:
        world = self.world
        if world.pulled_at is not None:
            self.clock.at(max(world.plugged_at - world.truth, NONE), self.plug_disk)
        with self._journal(), self._virtual_time():
            try:
                code = self.daemon.run()
            except (Killed, ScriptEnded) as end:
                self.ended = End.KILLED if isinstance(end, Killed) else End.IDLE
            else:
                self.ended = End.ABANDONED if code else End.STOPPED
                self.notices.check_in_time()
                assert self.has_hung or not code, "abandoned, though every call of the driver comes to its end"
                assert code or world.ledger[-1].call is Call.CLOSE or not self.standing, "the rig was left as it was"
            finally:
                world.forgetful |= self.daemon.keeper.trouble is not None
                fill_disk(full=False)

    @contextmanager
    def _journal(self) -> Iterator[None]:
        """Collect the journal, have each line judged, and keep its many lines from all other handlers."""
        handler = _Collector(self)
        propagated, level = logger.propagate, logger.level
        logger.addHandler(handler)
        logger.propagate = False
        logger.setLevel(logging.DEBUG)
        try:
            yield
        finally:
            logger.removeHandler(handler)
            logger.propagate = propagated
            logger.setLevel(level)

    @contextmanager
    def _virtual_time(self) -> Iterator[None]:
        """Have what the loop waits for take virtual time, without a thread."""
        with ExitStack() as stack:
            for module, what in BOUNDED.items():
                call = partial(self._call_with_timeout, what)
                stack.enter_context(mock.patch.object(module, "call_with_timeout", call))
            stack.enter_context(mock.patch.object(driver_calls, "last_change", self.world.last_change))
            stack.enter_context(mock.patch.object(change_intake, "call_on_thread", self._call_on_thread))
            stack.enter_context(mock.patch.object(dataset_probe, "call_on_thread", self._begin_look))
            stack.enter_context(mock.patch.object(dataset_probe, "wait", self._wait_for_looks))
            yield

    def wait_in_turn(self, duration: timedelta) -> None:
        """Let time pass while the loop itself waits for something."""
        self.is_waiting = self.has_waited = True
        self.clock.pass_time(duration)
        self.is_waiting = False

    def _call_with_timeout(self, what, limit, who, call, is_alive=lambda: False):
        """Do what `bounded_call.call_with_timeout` does."""
        clock, hangs = self.clock, what in self.world.hangs
        if self.is_beside:
            if hangs:
                raise DriverStalled(who, limit, abandoned=True)
            return call()
        self.has_hung |= hangs
        if what is Bounded.LOOK:
            self._look_begins()
        result, began = call(), clock.elapsed
        ends, last_sign = began + (limit * 100 if hangs else self.world.slow.get(what, NONE)), began
        while (left := ends - clock.elapsed) > NONE:
            if clock.elapsed - last_sign >= limit:
                self.has_hung |= what is Bounded.RECOVER
                self.looked_at = None if what is Bounded.LOOK else self.looked_at
                raise DriverStalled(who, limit, abandoned=True)
            self.wait_in_turn(min(left, SECOND, limit - (clock.elapsed - last_sign)))
            if what is Bounded.RECOVER and self.world.recover_reports:
                self.report("putting a file on disk")
            last_sign = clock.elapsed if is_alive() else last_sign
        return result

    def _look_begins(self) -> None:
        if self.world.landing is not None and not self.may_use_disk(None):
            self.world.landing()
        self.looked_at, self.world.landing = self.true_now, None

    def _begin_look(self, call, _name="side"):
        """Do what `side_call.call_on_thread` does, for a look at one of some directories of datasets."""
        place = call.args[0]
        self.world.looks.names.append(place.name)
        if place == self.world.disk:
            self._look_begins()
        if Bounded.LOOK in self.world.hangs or place in self.world.stalled:
            return HeldLook(self, place, call)
        return TimedLook(self, place, call, self.world.slow.get(Bounded.LOOK, NONE))

    def _wait_for_looks(self, looks, limit) -> None:
        """Do what `concurrent.futures.wait` does."""
        limit, began = timedelta(seconds=limit), self.clock.elapsed
        ends = [look.over_at for look in looks]
        over_at = max([began, *(began + limit if end is None else min(end, began + limit) for end in ends)])
        if over_at > began:
            self.wait_in_turn(over_at - began)
        for look in looks:
            (self.world.looks.unanswered.discard if look.done() else self.world.looks.unanswered.add)(look.place)
            if look.place == self.world.disk:
                self.looked_at = look.began if look.done() else None

    def _call_on_thread(self, call, _name="side"):
        """Do what `side_call.call_on_thread` does, for a check of a definition: the loop goes on meanwhile."""
        self.is_beside, end = True, Future()
        found = call()
        self.is_beside = False
        hangs = Bounded.CHECK in self.world.hangs
        takes = CHECK_TIMEOUT if hangs else self.world.slow.get(Bounded.CHECK, NONE)
        self.clock.at(takes, lambda: end.set_result(found))
        return end

    def judge_line(self, line: Line) -> None:
        """Check that a line about slots is true when it is written, and that what it promises is possible."""
        timelapse = self.timelapse
        if line.action not in TRUE_WHILE or timelapse is None or line.fields.get("TIMELAPSE_ID") != timelapse.id:
            return
        if "RETOLD" in line.fields and any(self.world.places.history.glob(f"{timelapse.id}*.json")):
            return  # it may be of that one, which has given its name back
        at = self.clock.now() - self.disk.last_took  # when it was judged; it is written when it is on disk
        if self.daemon.keeper.trouble is not None:
            self.world.told_unsaved |= {(timelapse.id, slot) for slot in line.slots}
        for slot in line.slots:
            record = timelapse.records.get(slot)
            assert (None if record is None else record.status) in TRUE_WHILE[line.action], (line, record)
            if line.action != "slot_interrupted":  # at a stop its slot is closed by the next start
                assert line.is_final == timelapse.is_closed(slot), (line, record)
            if PROMISE in line.sentence:
                assert timelapse.next_idx == slot, line
            if line.names_end_of_grace and not self.is_set_in_wait:
                assert at <= timelapse.latest_start(slot), line

    # What a test does to it

    def kill(self) -> None:
        self.is_dead = True
        self.go_on_if_alive()

    def go_on_if_alive(self) -> None:
        """End what the daemon does after its death: it catches some exceptions of a driver, whatever they are."""
        if self.is_dead:
            raise Killed

    def die_before_save(self) -> None:
        self.dies_at_save = Death.BEFORE

    def die_after_save(self) -> None:
        self.dies_at_save = Death.AFTER

    def die_in_save(self) -> None:
        """Be killed while the next save, which stalls, is under way; what it was about to write is lost."""
        self.disk_stalls(MINUTE)
        self.clock.at(SECOND, self.kill)

    def move_datasets(self, name: str, duration: timedelta) -> None:
        """Have the configuration name another directory for the datasets for so long."""
        world = self.world
        world.configure(datasets=world.directory / name)
        world.config.datasets.mkdir(exist_ok=True)
        self.reload()
        self.clock.at(duration, self.move_datasets_back)

    def stall_datasets(self, name: str, duration: timedelta) -> None:
        """Have the disk of one directory of datasets not answer for so long."""
        place = {self.world.directory / name}
        self.world.stalled |= place
        self.clock.at(duration, lambda: setattr(self.world, "stalled", self.world.stalled - place))

    def move_datasets_back(self) -> None:
        """Have it name the first directory again."""
        world = self.world
        if world.config.datasets != world.disk:
            world.configure(datasets=world.disk)
            self.reload()

    def stop(self) -> None:
        self.notices.begin_stop()
        self.daemon.signals.send(signal.SIGTERM)

    def reload(self) -> None:
        if not (self.world.directory / "config" / "timelapsed.toml").exists():
            self.world.configure()
        self.daemon.signals.send(signal.SIGHUP)

    def cancel(self) -> None:
        """Do what ``timelapsectl cancel`` does."""
        self.request("cancel", {"why": "plants died"})

    def amend(self, every: timedelta, n: int) -> Asked | None:
        """Do what ``timelapsectl amend`` does, with slots ``every`` so long from now on."""
        if self.timelapse is None:
            return None
        start = self.clock.now() + every
        text = DEFINITION.format(
            name=self.timelapse.id,
            times=f'mode = "interval"\ninterval = {every.total_seconds():g}\nn_shots = {n}\n'
            f'start_at = "{start.isoformat()}"',
            warmup="1s", standby_threshold="60s", grace="2min", retries=0, policy="skip_scan",
        )  # fmt: skip
        asked = Asked()
        asked.request = Request("amend", {}, "anna", asked.answers.append, [text.encode()])
        self.daemon.requests._read(asked.request)  # as the thread does
        return asked

    def pause_for(self, duration: timedelta | None, who: str = "anna") -> Asked:
        """Do what ``timelapsectl pause`` does."""
        self.is_asked_to_pause = True
        until = {} if duration is None else {"until": (self.clock.now() + duration).isoformat()}
        return self.request("pause", until, who)

    def resume(self, who: str = "ben") -> Asked:
        """Do what ``timelapsectl resume`` does."""
        self.is_asked_to_resume = True
        return self.request("resume", {}, who)

    def ask(self, action: str = "home", who: str = "anna", **more: object) -> Asked:
        """Do what ``timelapsectl rig`` does."""
        return self.request("rig", {"action": action, **more}, who)

    def request(self, command: str, body: dict[str, object], who: str = "anna") -> Asked:
        """Do what the control socket does with the request of a person."""
        asked = Asked()
        asked.request = Request(command, body, who, asked.answers.append)
        self.daemon.requests.put(asked.request)
        return asked

    def define(self, name: str, every: timedelta, n: int) -> None:
        """Write another definition, which begins in a second, and reload."""
        begins = self.clock.now() + SECOND - START
        self.world.define(name=name, every=every, n=n, start=timedelta(seconds=round(begins.total_seconds())))
        self.reload()

    def shift(self, by: timedelta) -> None:
        """Set the wall clock forward, or backward; Linux knows no time before 1970."""
        by = max(by, EPOCH - self.clock.now())
        self.shift_unjudged += by
        self.world.was_set = True
        self.is_set_in_wait |= self.is_waiting
        if by < NONE:
            self.set_back = self.set_back_since_scan = True
        self.clock.shift(by)
        if self.world.calm_since is not None:
            self._note_calm()

    def calm_down(self) -> None:
        """End all faults of the rig, from now on."""
        world = self.world
        world.behaviour, world.hangs = (lambda _: Behaviour(takes=10 * SECOND, progress=None)), set()
        lasting = {Call.RECOVER: world.slow.get(Call.RECOVER, SECOND)}  # which no slot may be lost to
        world.slow = {Call.PREPARE: SECOND / 5}  # else a slot without warm-up and grace is late when its rig is ready
        world.slow |= lasting
        world.prepares, world.saves, world.unreadable = iter(()), iter(()), iter(())
        world.plugged_at, world.pulled_at, world.stalled = world.truth, None, frozenset()
        self.move_datasets_back()
        if self.is_asked_to_pause or self.pause[1] is not None:
            self._insist_on_resume()  # also where the daemon has yet to read the store, or that it is to pause
        self._note_calm()

    def _insist_on_resume(self) -> None:
        """Have the pause ended; look a minute later whether it is: that is refused while the clock isn't trusted."""
        self.resume()

        def look() -> None:
            held = self.timelapse
            if self.pause[1] is not None if held is None else pause_at(held, self.clock.now()) is not None:
                self._insist_on_resume()

        self.clock.at(MINUTE, look)

    def _note_calm(self) -> None:
        """Note from when on nothing disturbs the rig, and which slots are closed by then for good."""
        world = self.world
        world.calm_since = self.clock.now()
        timelapse = self.timelapse or (world.stored() if world.places.store.exists() else None)
        if timelapse is not None:
            closed = (slot for slot in timelapse.records if timelapse.is_closed(slot))
            world.closed_before |= {(timelapse.id, slot) for slot in closed if not timelapse.records[slot].may_reopen}
            if timelapse.state is TimeLapseState.RUNNING:  # by a rig that still has its faults
                world.closed_before.add((timelapse.id, timelapse.next_idx))
        for archived in world.archived():
            world.closed_before |= {(archived.id, slot) for slot in archived.records}

    def ntp_answers(self) -> None:
        """Set the clock right, and have the kernel say so."""
        true_now = self.world.truth + self.clock.elapsed
        self.clock.shown_evidence, self.world.ntp_at = SYNCHRONISED, None
        self.shift(true_now - self.clock.now())

    def disk_fills(self, duration: timedelta) -> None:
        """Fail every write for so long."""
        fill_disk(full=True)
        self.clock.at(duration, lambda: fill_disk(full=False))

    @property
    def true_now(self) -> datetime:
        return self.world.truth + self.clock.elapsed

    def pull_disk(self, duration: timedelta) -> None:
        """Have the datasets' disk away for so long."""
        world = self.world
        world.pulled_at = world.pulled_at or self.true_now
        world.plugged_at = max(world.plugged_at, self.true_now + duration)
        self.clock.at(world.plugged_at - self.true_now, self.plug_disk)

    def plug_disk(self) -> None:
        if self.world.plugged_at <= self.true_now:  # else it was pulled once more meanwhile
            self.world.pulled_at = None

    def may_use_disk(self, since: datetime | None) -> bool:
        """Whether the datasets' disk is there, or was pulled after the daemon looked, or before it ever saw it."""
        pulled_at = self.world.pulled_at
        if len(self.daemon.keeper.logbook.datasets_disk) < 2:  # its path alone
            return True  # one that isn't remembered can't be missed
        return pulled_at is None or (since is not None and since <= pulled_at)

    def disk_stalls(self, duration: timedelta) -> None:
        """Have no write of the store come back before so long has passed."""
        self.disk.stall(duration)

    # The invariants

    @property
    def timelapse(self) -> TimeLapse | None:
        return self.daemon.keeper.timelapse

    @property
    def standing(self) -> bool:
        return self.notices.is_ready

    def will_act(self) -> None:
        """Check, before what can't be undone, that the clock was judged; whoever sets it afterwards is not foreseen."""
        assert self.trusts_clock, "acted before the clock was trusted"

    def judge_trust(self) -> None:
        """Check that the clock can be trusted, now that the daemon does."""
        self.trusts_clock = True
        config, clock = self.world.config, self.clock
        synchronised = clock.evidence().kernel_synchronised
        behind = self.last_write is not None and clock.now() < self.last_write
        waited = clock.since_boot() >= config.clock_wait.total_seconds()
        if config.clock is ClockPolicy.NTP_ONLY:
            assert synchronised, "trusted without network time"
        if config.clock is not ClockPolicy.TRUST:
            assert synchronised or clock.evidence().set_from_rtc or waited, "trusted a clock that nobody vouches for"
            assert not behind or (synchronised and waited), "trusted a clock that is behind the store"

    def scan_begins(self, request: ScanRequest) -> None:
        """Check that this slot may be taken now."""
        world, slot, now = self.world, request.index, self.clock.now()
        timelapse = self.timelapse
        assert self.standing, "fired before the clock was trusted"
        self.will_act()
        assert timelapse.state is TimeLapseState.RUNNING
        assert timelapse.next_idx == slot
        if self.looked_at is not None and request.dataset_dir.parent == world.disk:  # no answer says nothing of it
            assert self.may_use_disk(self.turn_at), f"slot {slot} is taken under the mount point of its disk"
        elsewhere = world.put_into.get(request.scan_id, set()) - {request.dataset_dir.parent}
        is_away = elsewhere and (world.pulled_at is not None or elsewhere & world.looks.unanswered)
        is_unread = (request.timelapse_id, slot) in world.looks.unread
        if is_away or is_unread:
            world.taken_anew.add((request.timelapse_id, slot))
        is_whole = not is_unread and (world.is_whole_in(request) or (elsewhere and not is_away))
        assert not is_whole or world.forgetful, f"slot {slot} is taken a second time"
        late = now - timelapse.schedule_times[slot]
        began = timelapse.records[slot].started_at  # it is judged, and then saved before the scan, or its save gives up
        assert began + self.disk.last_took == now, f"slot {slot} is recorded with another start"
        last = self._last_scan
        if last is not None and last.timelapse_id != request.timelapse_id:
            last = None
        retry = last is not None and last.index == slot and request.attempt == last.attempt + 1
        if not retry:
            assert pause_at(timelapse, now) is None or self.is_set_in_wait, f"slot {slot} is taken in a pause"
            assert late >= NONE or self.is_set_in_wait, f"slot {slot} fired {late} early"
            if world.config.missed is Missed.SKIP and not self.is_set_in_wait:
                assert late <= max(timelapse.grace, SECOND), f"slot {slot} fired {late} late"
        if last is not None and slot < last.index:
            assert self.set_back_since_scan, "an earlier slot after a later one"
        self._last_scan = request
        if not retry:
            self.set_back_since_scan &= self.is_set_in_wait
            self._is_judged()

    def falls_asleep(self, until: datetime | None, timeout: float | None) -> None:
        """Check everything that holds whenever the daemon goes to sleep."""
        keeper, rig = self.daemon.keeper, self.daemon.rig
        self.notices.check_in_time()
        self.has_waited = False
        assert not self.is_asked_blindly, "asked about an attempt without the datasets' disk"
        if not self.standing:
            assert keeper.stored is None, "decided something before the clock was trusted"
            return
        if keeper.stored is not None and keeper.trouble is None:
            self._look_at_disk()
        phase = self.daemon.lifecycle.phase
        goes_on = phase.is_stopping or self.notices.watchdog_interval is not None or self.clock.is_woken
        goes_on |= self.awaits_disk
        goes_on |= self.daemon.hold.is_on  # which ends when its time is over
        goes_on |= self.daemon.requests.refusals.flush() is not None
        goes_on |= self.timelapse is not None and bool(self.timelapse.unsettled)  # for which it looks for the disk
        if rig.is_idle and keeper.trouble is None and not goes_on:
            assert timeout is None, "polls"
        self._end_in_vain()
        if self.is_set_in_wait:  # then it doesn't sleep: the clock's timer has that to report
            self.is_set_in_wait = False
        elif not keeper.is_scanning:
            self._is_judged()
            if phase.keeps_schedule:  # else the next start sees to it
                self._look_for_lost_slots()

    def _end_in_vain(self) -> None:
        """End a run in which nothing is left but to look for a disk that nobody brings back."""
        is_over = self.timelapse is not None and self.timelapse.state.is_terminal and self.timelapse.unsettled
        if not is_over or self.clock.has_script or not self.daemon.rig.is_idle:
            self.in_vain_since = None
        elif self.in_vain_since is None:
            self.in_vain_since = self.clock.elapsed
        elif self.clock.elapsed - self.in_vain_since > 2 * LONGEST_PAUSE:
            raise ScriptEnded

    def _is_judged(self) -> None:
        """Note that the schedule was judged by the clock as it is set now; not so in a turn in which it was set."""
        if not self.is_set_in_wait:
            self.shift_unjudged, self.set_back = NONE, False

    def _look_for_lost_slots(self) -> None:
        """Check that no slot is closed that can still be taken."""
        timelapse, now = self.timelapse, self.clock.now()
        if timelapse is None or timelapse.ending is not None:
            return
        for slot, record in timelapse.records.items():
            if record.reason is Reason.PAUSED:
                assert timelapse.schedule_times[slot] <= now, f"slot {slot} is not due yet, and closed by a pause"
        closed_by_clock = (Reason.MISSED, Reason.CLOCK_MOVED, Reason.RIG_NOT_READY)
        for slot, record in timelapse.records.items():
            is_cut_off = record.status is RecordStatus.INTERRUPTED
            following = timelapse.records.get(slot + 1)
            is_given_up = (timelapse.id, slot) in self.world.closed_in_pause
            is_given_up |= is_cut_off and following is not None and following.reason is Reason.PAUSED
            if slot < timelapse.next_idx and not is_given_up and (is_cut_off or record.reason in closed_by_clock):
                late = now - timelapse.schedule_times[slot]
                grace = max(min(timelapse.grace, self.world.least_grace), MINIMUM_GRACE)
                assert late > grace, f"slot {slot} could be taken after all"

    def looks_after(self, timelapse: TimeLapse) -> None:
        """Check the next value, which is about to be saved."""
        self.will_act()
        before, self.seen = self.seen, timelapse
        is_other = before is not None and before.id != timelapse.id
        self.world.least_grace = min(timelapse.grace, timedelta.max if is_other else self.world.least_grace)
        self.fold.follow(timelapse)
        for slot in range(timelapse.next_idx):
            assert _is_done(timelapse.records.get(slot)), f"slot {slot} was left behind without a final record"
        self._look_at_pause(timelapse)
        following = timelapse.records.get(timelapse.next_idx)
        assert following is None or not following.status.is_final, f"slot {timelapse.next_idx} is done, but next"
        if timelapse.state.is_terminal:
            assert sorted(timelapse.records) == list(range(timelapse.n_slots))
        if before is None or begins_anew(before, timelapse):
            assert before is None or not before.state.is_active, f"{before.id} was pushed aside by {timelapse.id}"
            if before is not None and self.is_set_in_wait:  # it was archived by the clock as it was before
                self.world.closed_before |= {(before.id, slot) for slot in before.records}
            if before is not None:
                self.world.begun_at.pop(timelapse.id, None)  # the name of one that has given it back
            self.world.begun_at.setdefault(timelapse.id, self.world.truth + self.clock.elapsed)
            self._last_scan = None
            self._is_judged()  # no clock can have been set since it began
            return
        for slot, record in before.records.items():
            if record.status.is_final and timelapse.records.get(slot) is not record:
                if _is_whole(timelapse, slot):
                    assert slot in before.unsettled, f"slot {slot} was closed, and is another one now"
                    assert (slot, record.attempt) in self.world.scans(), f"slot {slot} was never tried"
                    assert record.scan_id in self.world.datasets
                    continue
                if timelapse.records.get(slot) == replace(record, boot_id=None, directory=None):
                    continue  # the driver has said that it is not whole
                if record.reason is Reason.TIMELAPSE_FAILED and timelapse.ending is None:
                    continue  # the slot that failed is whole after all
                assert record.status is RecordStatus.SKIPPED, f"the {record.status} of slot {slot} was lost"
                late = self.clock.now() - timelapse.schedule_times[slot]
                is_amended = self.world.least_grace < late <= timelapse.grace  # in time by a grace that is longer
                assert self.set_back or is_amended, f"slot {slot} was given back, though the clock was not set back"
        for slot, record in timelapse.records.items():
            if before.records.get(slot) is record:
                continue
            if record.status is RecordStatus.SKIPPED:
                self._look_at_skipped(timelapse, record)
            if record.status is RecordStatus.FAILED:
                assert (slot, record.attempt) in self.world.scans(), f"slot {slot} failed without having been tried"

    def _look_at_pause(self, timelapse: TimeLapse) -> None:
        """Check that a pause begins by a person's word alone, and ends by that or by its time.

        One that a clock ended which was ahead goes on.
        """
        name, before = self.pause
        self.paused_by = (before or timelapse.pause) if name == timelapse.id else None
        self.pause = timelapse.id, timelapse.pause
        if timelapse.pause == before or name != timelapse.id:
            assert timelapse.pause == before or timelapse.pause is None, "it begins with a pause"
        elif timelapse.pause is not None:
            is_asked = self.is_asked_to_resume if timelapse.pause.ended_by else self.is_asked_to_pause
            assert is_asked or self.world.was_set, "nobody has paused it"
        else:
            is_over = bool(before.ended_by) or (before.until is not None and before.until <= self.clock.now())
            assert self.is_asked_to_resume or is_over, "nobody has ended its pause"

    def _look_at_skipped(self, timelapse: TimeLapse, record: SlotRecord) -> None:
        """Check that a skipped slot was late, and that the clock is its reason only if it was set over the slot."""
        if record.reason is Reason.PAUSED:
            self._look_at_paused(timelapse, record)
        if record.reason is Reason.RIG_NOT_READY and self.paused_by is not None:
            self.world.closed_in_pause.add((timelapse.id, record.slot))
        if record.reason not in (Reason.MISSED, Reason.CLOCK_MOVED):
            return
        late = self.clock.now() - timelapse.schedule_times[record.slot]
        grace = max(timelapse.grace, SECOND)
        assert late > grace, f"slot {record.slot} was skipped within its grace"
        moved_over = self.shift_unjudged > NONE and late - self.shift_unjudged <= grace
        if self.world.config.missed is Missed.SKIP and not self.has_waited:  # else a slot may be late by the wait
            assert (record.reason is Reason.CLOCK_MOVED) == moved_over, record

    def _look_at_paused(self, timelapse: TimeLapse, record: SlotRecord) -> None:
        """Check that a slot which was skipped for a pause fell due in it, or could not be taken before it was over."""
        pause = self.paused_by
        assert pause is not None, f"slot {record.slot} was skipped for a pause that there was not"
        assert record.error_text == f"paused by {pause.who}"
        due = timelapse.schedule_times[record.slot]
        assert pause.until is None or due < pause.until, f"slot {record.slot} was due after the pause"
        if not self.world.was_set and self.world.config.missed is Missed.SKIP:  # else the newest may be taken late
            assert timelapse.latest_start(record.slot) >= pause.since, f"slot {record.slot} was over before the pause"

    def _look_at_disk(self) -> None:
        keeper = self.daemon.keeper
        if keeper.stored is keeper.checked:
            return
        keeper.checked = keeper.stored
        found = load_timelapse(keeper.file.path).stored
        assert found.timelapse == keeper.timelapse
        recent = keeper.logbook.recent  # is redated with the clock, and saved with what comes next
        assert replace(found.logbook, recent=recent) == keeper.logbook


def _is_whole(timelapse: TimeLapse, slot: int) -> bool:
    record = timelapse.records.get(slot)
    return record is not None and record.status is RecordStatus.SUCCEEDED


def _is_done(record: SlotRecord | None) -> bool:
    return record is not None and (record.status.is_final or record.status is RecordStatus.INTERRUPTED)


class WatchedClock(VirtualClock):
    """A virtual clock that has the invariants checked before each sleep."""

    def __init__(self, life: Life, world: World) -> None:
        super().__init__(
            world.truth + world.wrong_by,
            since_boot=world.since_boot,
            evidence=world.evidence,
            boot_id=f"boot-{world.boots}",
        )
        self._life = life
        self._spins, self._slept_at = 0, None
        self._woke_at, self._is_kept = self._awake, False
        """When the loop woke up last, and whether systemd waits for it: not during a start."""

    @property
    def is_woken(self) -> bool:
        return self._woken.is_set()

    def wait(self, until, timeout):
        at = self._boottime
        self._spins = self._spins + 1 if at == self._slept_at else 0
        self._slept_at = at
        assert self._spins < SPINNING, "the loop spins"
        self._life.go_on_if_alive()
        life, took = self._life, self._awake - self._woke_at
        if self._is_kept:
            assert took <= LONGEST_TURN, "the loop was held too long"
            life.longest_turn = max(life.longest_turn, took)
        elif life.standing:
            life.longest_start = took
        life.falls_asleep(until, timeout)
        woken = super().wait(until, timeout)
        self._life.turn_at = self._life.true_now
        self._woke_at, self._is_kept = self._awake, self._life.standing
        return woken


class SimulatedDaemon(Daemon):
    """The daemon, with a keeper that can be killed at a save, and a scripted rig."""

    def __init__(self, life: Life) -> None:
        world = life.world
        self.rig = ScriptedRig(life)
        host = Host(
            world.places,
            life.clock,
            life.notices,
            MortalLiveFile(world.places.store),
            make_driver=lambda name, options: ScriptedDriver(world, name, options),
            make_thread=self.rig.join,
            make_control=lambda *_: mock.Mock(),
            side=DirectWrites(),
        )
        super().__init__(host, world.config, MortalKeeper(world.places.store, life))


class MortalLiveFile(LiveFile):
    """A live status that a daemon which is killed leaves as it is."""

    def end(self, at):
        if not isinstance(sys.exception(), Killed):
            super().end(at)


class MortalKeeper(StoreKeeper):
    """A keeper that is killed right before or right after a save."""

    def __init__(self, path: Path, life: Life) -> None:
        super().__init__(path, life.disk)
        self._life = life
        self.checked = None

    def _save(self, following, content, at):
        life = self._life
        life.go_on_if_alive()
        life.looks_after(following.timelapse)
        if life.dies_at_save is Death.BEFORE:
            life.kill()
        saved = super()._save(following, content, at)
        life.saves += 1
        if life.dies_at_save is Death.AFTER:
            life.world.lost_lines = True
            life.kill()
        return saved


class VirtualDisk:
    """Takes the place of a `DiskThread`: its writes take virtual time, and are made at the end of it."""

    def __init__(self, life: Life) -> None:
        self._life, self._clock, self._world = life, life.clock, life.world
        self._until = NONE
        """When, in the clock's elapsed time, the disk answers again."""
        self._stalled: Future | None = None
        self.last_took = NONE
        """How far the wall clock went during the last write that was waited for."""

    def stall(self, duration: timedelta) -> None:
        self._until = max(self._until, self._clock.elapsed + duration)

    def run(self, write, limit):
        self.last_took = NONE
        if self._stalled is not None:
            raise DiskStalled(limit, is_first=False)
        began = self._clock.now()
        self.stall(next(self._world.saves, NONE))
        if self._until - self._clock.elapsed > limit:
            self._stalled = Future()
            self._clock.at(self._until - self._clock.elapsed, lambda: self._come_back(write))
            self._life.wait_in_turn(limit)
            self.last_took = self._clock.now() - began
            raise DiskStalled(limit, is_first=True)
        if self._until > self._clock.elapsed:
            self._life.wait_in_turn(self._until - self._clock.elapsed)
        self.last_took = self._clock.now() - began
        return write()

    def _come_back(self, write) -> None:
        if self._until > self._clock.elapsed:  # it stalled once more meanwhile
            self._clock.at(self._until - self._clock.elapsed, lambda: self._come_back(write))
            return
        try:
            self._stalled.set_result(write())
        except OSError as problem:
            self._stalled.set_exception(problem)
        self._clock.wake()

    def take_late(self):
        if self._stalled is None or not self._stalled.done():
            return None
        late, self._stalled = self._stalled, None
        return late

    def wait_late(self, limit) -> None:
        if self._stalled is not None:
            self._life.wait_in_turn(min(limit, max(self._until - self._clock.elapsed, NONE)))


class DirectWrites:
    """Takes the place of a `SideThread`: its writes are made at once."""

    def put(self, _, write) -> None:
        with suppress(OSError):
            write()

    def finish(self) -> None:
        pass


class ScriptedDriver(ScannerDriver, ManualControl):
    """The calls that the loop makes itself; `ScriptedRig` makes the others."""

    def __init__(self, world: World, name, options) -> None:
        super().__init__(options)
        self.world, self.name = world, name
        self.recover_silence = world.recover_silence

    def prepare(self) -> None:
        raise AssertionError

    standby = home = go_to = cameras = snapshot = light = leave = prepare

    def scan(self, request, monitor):
        raise AssertionError

    def recover(self, request):
        life = self.world.lives[-1]
        life.report = current_report()
        problem = next(self.world.unreadable, None)
        if isinstance(problem, PicturesUnreadable):
            self.world.looks.unread.add((request.timelapse_id, request.index))
        if problem is not None:
            raise problem
        is_on_disk = request.dataset_dir.parent == self.world.disk
        life.is_asked_blindly |= is_on_disk and not life.may_use_disk(life.looked_at)
        is_there = self.world.is_whole_in(request) and not (is_on_disk and self.world.pulled_at is not None)
        return ScanResult(pictures=1) if is_there else None


class ScriptedMonitor(CallMonitor):
    """A monitor whose call notices that it is cancelled."""

    def __init__(self, clock, call, request, manual, on_cancel) -> None:
        super().__init__(clock, call, request, manual)
        self._on_cancel = on_cancel

    def cancel(self) -> None:
        if self.cancelled_at is None:
            self._on_cancel(self)
        super().cancel()

    def give_way(self) -> None:
        if not self.cancelled:
            self._on_cancel(self)
        super().give_way()


class ScriptedRig:
    """Takes the place of a `RigThread`: its calls take virtual time and end as the script says."""

    def __init__(self, life: Life) -> None:
        self._life, self._world, self._clock = life, life.world, life.clock
        self._calls: list[tuple[ScriptedDriver, Call, ScanRequest | None, ManualRequest | None]] = []
        self.monitor: ScriptedMonitor | None = None
        self._behaviour = Behaviour()
        self.is_prepared = False
        """Whether the last call other than a scan was a prepare that succeeded."""

    def join(self, _clock, post):
        self._post = post
        return self

    @property
    def is_idle(self) -> bool:
        return self.monitor is None and not self._calls

    def submit(self, driver, call, request=None, manual=None) -> None:
        self._life.go_on_if_alive()
        if manual is not None:
            assert not self._life.daemon.keeper.is_scanning, "a person has the rig in mid-scan"
        self._calls.append((driver, call, request, manual))
        if self.monitor is None:
            self._next()

    def withdraw(self, call) -> int:
        before, self._calls = self._calls, [queued for queued in self._calls if queued[1] is not call]
        return len(before) - len(self._calls)

    def _note(self, driver, call, request, *, finished=False) -> None:
        life = self._world.lives[-1]  # a dataset may land when the daemon of its scan was killed
        now, true_now = life.clock.now(), life.true_now
        slot, attempt = (request.index, request.attempt) if request is not None else (None, None)
        timelapse_id = request.timelapse_id if request is not None else ""
        self._world.ledger.append(Entry(call, now, true_now, slot, attempt, driver.name, finished, timelapse_id))

    def _next(self) -> None:
        driver, call, request, manual = self._calls.pop(0)
        is_late = request is not None and request.start_by is not None and self._clock.now() > request.start_by
        if call is Call.SCAN:
            assert self.is_prepared, f"slot {request.index} is scanned by a rig that isn't prepared"
        else:
            self.is_prepared = False
        if call is Call.PREPARE and not self._life.shift_unjudged:
            timelapse = self._life.timelapse
            assert timelapse is None or pause_at(timelapse, self._clock.now()) is None, "the rig is prepared in a pause"
        if is_late:  # by the save before it, in which the machine may have slept: then no driver is called
            refused = ScannerNotReady("its grace period was over when the store had answered")
            self._behaviour = Behaviour(takes=NONE, progress=None, problem=refused)
        else:
            self._call(driver, call, request)
        self._made = driver, call
        self.monitor = watch = ScriptedMonitor(self._clock, call, request, manual, self._cancelled)
        self._clock.wake()
        does = self._behaviour
        self._life.has_hung |= does.takes is None and does.stops_in is None
        if does.takes is not None:
            self._clock.at(does.takes, lambda: self._end(watch, does.problem))
        if does.progress is not None:
            self._clock.at(does.progress, lambda: self._progress(watch))

    def _call(self, driver, call, request) -> None:
        """Call the driver, and find out how long that takes."""
        if call is Call.SCAN:
            self._life.scan_begins(request)
        self._note(driver, call, request)
        reports = SECOND if call is Call.RECOVER and self._world.recover_reports else None
        hears = SECOND if call is Call.MANUAL else reports
        self._behaviour = Behaviour(takes=self._world.slow.get(call, SECOND), progress=reports, stops_in=hears)
        if call is Call.SCAN:
            self._behaviour = self._world.behaviour(request)
            try:
                make_directory(request.dataset_dir.parent)
            except ScannerNotReady as refused:
                self._behaviour = Behaviour(takes=timedelta(0), progress=None, problem=refused)
        elif call in self._world.hangs:
            self._behaviour = Behaviour(takes=None, progress=None, stops_in=None)
        elif call is Call.PREPARE:
            self._behaviour = dataclasses.replace(self._behaviour, problem=next(self._world.prepares, None))

    def _finish(self, driver, request) -> None:
        self._world.datasets.add(request.scan_id)
        self._world.put_into[request.scan_id].add(request.dataset_dir.parent)
        self._world.finished_at.setdefault(request.scan_id, self._world.lives[-1].clock.now())
        self._note(driver, Call.SCAN, request, finished=True)

    def _progress(self, watch) -> None:
        if watch is self.monitor:
            watch.progress(1, 2)
            self._clock.at(self._behaviour.progress, lambda: self._progress(watch))

    def _cancelled(self, watch) -> None:
        if self._behaviour.stops_in is not None:
            self._clock.at(self._behaviour.stops_in, lambda: self._end(watch, ScanCancelled("as told")))

    def _end(self, watch, problem) -> None:
        if watch is not self.monitor:
            return
        driver, call = self._made
        request, result, finished_at = watch.request, None, None
        if call is Call.RECOVER and problem is None:
            try:
                result, finished_at = driver.recover(request), self._world.last_change(request.dataset_dir)
            except ScannerNotReady as no_answer:
                problem = no_answer
        if call is Call.SCAN and problem is None:
            is_pulled = self._world.pulled_at is not None and request.dataset_dir.parent == self._world.disk
            problem = ScanFailed("Input/output error") if is_pulled else None
            result = None if is_pulled else ScanResult(pictures=1)
            finish = partial(self._finish, driver, request)
            if not is_pulled:
                finish()
            elif self._behaviour.lands and any(may(self._life.timelapse, request) for may in MAY_LAND):
                self._world.landing = finish
        self.is_prepared = problem is None if call is Call.PREPARE else self.is_prepared
        self.monitor = None
        answer = Answer(accepted=True, message="done") if call is Call.MANUAL and problem is None else None
        self._post(CallOutcome(call, request, result, problem, answer, finished_at=finished_at))
        if self._calls:
            self._next()


class Notices(Notifier):
    """The notices that systemd would receive."""

    def __init__(self, life: Life, watchdog: timedelta | None) -> None:
        super().__init__({})
        self._life = life
        self.watchdog_interval = watchdog
        self.sent: list[str] = []
        self.kills_at: float | None = life.clock.monotonic() + TIMEOUT_START.total_seconds()
        """When systemd loses its patience with a start or stop, on the monotonic clock."""

    def _send(self, *assignments: str) -> None:
        self.check_in_time()
        self.sent += assignments
        if "READY=1" in assignments:
            self._life.will_act()
            self.kills_at = None
        for assignment in assignments:
            if assignment.startswith("EXTEND_TIMEOUT_USEC=") and self.kills_at is not None:
                by = int(assignment.partition("=")[2]) / 1e6
                self.kills_at = max(self.kills_at, self._life.clock.monotonic() + by)

    def begin_stop(self) -> None:
        """Count the time of a stop, as systemd does from its SIGTERM on."""
        self.kills_at = self._life.clock.monotonic() + TIMEOUT_STOP.total_seconds()

    def check_in_time(self) -> None:
        """Check that systemd has not killed the daemon, which asks for more time where a start or stop lasts."""
        at = self.kills_at
        assert at is None or self._life.clock.monotonic() <= at, "killed by systemd: it asked for no more time"

    @property
    def statuses(self) -> list[str]:
        return [text.removeprefix("STATUS=") for text in self.sent if text.startswith("STATUS=")]

    @property
    def is_ready(self) -> bool:
        return "READY=1" in self.sent


class TimedLook:
    """A look at a directory of datasets that takes its time."""

    def __init__(self, life: Life, place: Path, look: Callable[[], object], takes: timedelta) -> None:
        self.place, self.began = place, life.true_now
        self._clock, self.over_at, self._found = life.clock, life.clock.elapsed + takes, look()

    def done(self) -> bool:
        return self._clock.elapsed >= self.over_at

    def result(self) -> object:
        return self._found


class HeldLook:
    """A look at one whose disk doesn't answer; it is back when that does."""

    over_at = None

    def __init__(self, life: Life, place: Path, look: Callable[[], object]) -> None:
        self.place, self.began = place, life.true_now
        self._world, self.result = life.world, look

    def done(self) -> bool:
        return Bounded.LOOK not in self._world.hangs and self.place not in self._world.stalled


def fill_disk(*, full: bool) -> None:
    """Have the kernel refuse, or allow again, every write of this process to a file."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0 if full else hard, hard))


@contextmanager
def room_on_disk() -> Iterator[None]:
    """Let another program write, which has a disk of its own."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    fill_disk(full=False)
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


class _Collector(logging.Handler):
    def __init__(self, life: Life) -> None:
        super().__init__()
        self._life = life

    def emit(self, record: logging.LogRecord) -> None:
        self._life.go_on_if_alive()
        fields = getattr(record, "journal", {})
        action = fields.get("ACTION", "")
        sentence = record.getMessage().removeprefix(f"{action}: ")
        line = Line(action, sentence, record.levelno, fields, self._life.true_now)
        self._life.world.journal.append(line)
        if action == "clock_trusted":
            self._life.judge_trust()
        if action.startswith("definition_"):
            self._life.awaits_disk = "begins as soon as it can" in sentence or "is tried again" in sentence
        self._life.judge_line(line)
