"""Random histories of a rig: schedules, scans, clocks, power cuts and people, played against the real daemon.

`simulation` has the invariants, and checks them whenever the daemon scans or goes to sleep. This module has the random
histories, and what must hold at their end. The tests play some; to play more, run this file:

    python tests/support/histories.py 100000 --seed 7
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import shutil
import tempfile
import time
from collections import defaultdict
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from simulation import (
    DAY,
    HOUR,
    LOST,
    MINUTE,
    NONE,
    SECOND,
    TRUE_WHILE,
    YEAR,
    Behaviour,
    Boot,
    Bounded,
    End,
    Life,
    World,
)
from virtual_time import FROM_RTC, SYNCHRONISED, UNSYNCHRONISED

from plantimager.timelapse.channel.live import LiveFile
from plantimager.timelapse.daemon import disk_look
from plantimager.timelapse.daemon.driver_calls import MAX_START_DELAY
from plantimager.timelapse.daemon.journal_events import ACTION_OF_END
from plantimager.timelapse.domain.states import Reason, RecordStatus
from plantimager.timelapse.drivers.base import Call
from plantimager.timelapse.settings import definition
from plantimager.timelapse.settings.config import ClockPolicy, Config, Missed
from plantimager.timelapse.support.errors import PicturesUnreadable, ScanFailed, ScannerNotReady

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from simulation import Line

    from plantimager.timelapse.domain.timelapse import TimeLapse
    from plantimager.timelapse.settings.definition import Definition

TEMPORARY = Path("/dev/shm") if Path("/dev/shm").is_dir() else None
"""A directory in memory, where there is one: so many stores are written that a disk would wear out."""

RESTART = 5 * SECOND
"""The time that systemd waits before it restarts a daemon that ended itself."""
MAX_LIVES = 60
MAX_PROCESSES = 1000
"""Processes that play with seeds of their own, one beside the other."""
AFTERMATH = 3 * HOUR
"""How long what the faults caused may last: a scan that is being taken, a call that hangs, a wait for the clock."""


@dataclass
class Cut:
    """The end of one run of the daemon, and the start of the next."""

    how: str
    off: timedelta = RESTART
    boot: Boot | None = None


@dataclass
class History:
    config: Config
    definition: dict[str, Any]
    slots: list[timedelta]
    """When they are due, after `simulation.START`."""
    scans: list[Behaviour]
    """What the rig does at each scan; afterwards it works."""
    events: list[tuple[timedelta, Any]]
    """When, by true time after `simulation.START`, and what."""
    hangs: set[Call | Bounded] = field(default_factory=set)
    prepares: list[BaseException | None] = field(default_factory=list)
    """With what each prepare ends; afterwards they succeed."""
    never_prepared: BaseException | None = None
    """What every prepare after those raises, until the faults stop."""
    lengths: dict[Call | Bounded, timedelta] = field(default_factory=dict)
    """How long calls other than scans take, until the faults stop."""
    saves: list[timedelta] = field(default_factory=list)
    """How long the saves take, one after the other; afterwards they take no time."""
    unreadable: list[ScannerNotReady | None] = field(default_factory=list)
    """What each `recover` raises as the disk fails under it; afterwards it doesn't."""
    recover_silence: timedelta | None = None
    """How long the driver says that its `recover` is silent; it reports every second."""
    calm_after: timedelta = NONE
    """How long after the last event the faults stop."""


def seconds(*numbers):
    return st.sampled_from([timedelta(seconds=number) for number in numbers])


# --- random histories -------------------------------------------------------------------------------

WORKS = Behaviour(takes=10 * SECOND, progress=None, lands=True)

SCANS = st.one_of(
    st.builds(Behaviour, takes=seconds(0, 1, 30, 61, 600, 5000), progress=seconds(60), lands=st.booleans()),
    st.sampled_from([ScanFailed("blurred"), OSError(5, "camera"), ScannerNotReady("asleep"), SystemExit(3)]).map(
        lambda problem: Behaviour(takes=3 * SECOND, progress=None, problem=problem)
    ),
    st.just(Behaviour(takes=SECOND, progress=None, problem=ScannerNotReady("asleep"))),
    st.builds(Behaviour, takes=seconds(1, 29), progress=st.none(), stops_in=st.none()),  # it is whole, and put on disk
    st.builds(Behaviour, takes=st.none(), progress=seconds(80) | st.none(), stops_in=seconds(1, 29) | st.none()),
)

SAVES = st.sampled_from([timedelta(seconds=number) for number in (0, 0, 0.2, 0.9, 2, 5, 30)])

UNREADABLE = st.sampled_from([None, ScannerNotReady("Input/output error"), PicturesUnreadable("Input/output error")])

PREPARE_PROBLEMS = st.sampled_from([ScannerNotReady("no relay"), OSError(5, "relay"), SystemExit(3)])

SHIFTS = st.sampled_from([1, 10, 60, 61, 600, 3600, 21_600, 86_400, 31_536_000, 3_153_600_000])

WRONG = st.sampled_from([NONE, -MINUTE, -HOUR, -DAY, -20 * YEAR, HOUR, 10 * YEAR])
BOOTS = st.builds(
    Boot,
    wrong_by=WRONG,
    evidence=st.sampled_from([UNSYNCHRONISED, UNSYNCHRONISED, FROM_RTC]),
    ntp_after=seconds(3, 59, 200),  # at last, or a rig would wait for years whose store was written in the next century
) | st.just(Boot(evidence=SYNCHRONISED))

EVENTS = st.one_of(
    st.tuples(st.just("shift"), SHIFTS),
    st.tuples(st.just("shift"), SHIFTS.map(lambda by: -by)),
    st.tuples(st.just("there and back"), SHIFTS, seconds(1, 40, 1000)),
    st.tuples(st.just("suspend"), seconds(1, 59, 600, 7200)),
    st.tuples(st.sampled_from(["reload", "cancel", "policy"])),
    st.tuples(st.just("disk fills"), seconds(1, 15, 500)),
    st.tuples(st.just("disk stalls"), seconds(1, 4, 70, 600)),
    st.tuples(st.just("pull"), seconds(1, 30, 500, 7200)),
    st.tuples(st.just("define"), st.sampled_from(["tl", "next", "other"]), seconds(1, 60, 7200), st.integers(1, 3)),
    st.tuples(st.just("amend"), seconds(1, 60, 600, 7200), st.sampled_from([1, 2, 5])),
    st.tuples(st.just("pause"), st.none() | seconds(1, 50, 70, 600, 7200)),
    st.tuples(st.just("resume")),
    st.tuples(st.just("by hand"), seconds(1, 70, 500), st.sampled_from(["home", "snapshot", "try"])),
    st.tuples(st.just("datasets"), st.sampled_from(["elsewhere", "there"]), seconds(0, 30, 7200)),
    st.tuples(st.just("stalls"), st.sampled_from(["datasets", "elsewhere", "there"]), seconds(1, 30, 7200)),
    st.builds(
        Cut,
        how=st.sampled_from(["kill", "kill", "before save", "after save", "in a save that stalls", "stop", "stop"]),
        off=seconds(0, 5, 50, 1000, 10_000),
        boot=st.none() | BOOTS,
    ),
)


@st.composite
def schedules(draw):
    """Return the times of a definition in its own terms, and as times after START."""
    if draw(st.booleans()):
        every, n = draw(seconds(1, 10, 60, 600, 7200)), draw(st.sampled_from([2, 3, 5, 8]))
        start = draw(seconds(-30, 0, 60, 3600))
        return {"every": every, "n": n, "start": start}, [start + every * slot for slot in range(n)]
    if draw(st.booleans()):
        choice = st.sampled_from([-100, 0, 1, 2, 60, 100, 3600, 3601, 7200, 90_000])
        at = [timedelta(seconds=number) for number in sorted(draw(st.sets(choice, min_size=1, max_size=6)))]
        return {"at": at}, at
    start = draw(seconds(0, 60, 3600))
    return {"start": start}, [start]


@st.composite
def histories(draw):
    definition, slots = draw(schedules())
    definition |= {
        "grace": draw(seconds(0, 1, 5, 60, 120, 1000, 90_000)),
        "warmup": draw(seconds(0, 1, 30)),
        "standby_threshold": draw(seconds(60, 600)),
        "retries": draw(st.sampled_from([0, 0, 1, 3])),
        "policy": draw(st.sampled_from(["skip_scan", "skip_scan", "skip_scan", "fail_timelapse"])),
    }
    config = Config(
        missed=draw(st.sampled_from([Missed.SKIP, Missed.SKIP, Missed.RUN_LATEST])),
        clock=draw(st.sampled_from([ClockPolicy.AUTO, ClockPolicy.AUTO, ClockPolicy.NTP_ONLY, ClockPolicy.TRUST])),
        clock_wait=draw(seconds(0, 60, 120)),
        stall_timeout=draw(seconds(90, 300)),
        scan_timeout=draw(seconds(400, 3600)),
    )
    moments = st.builds(
        lambda slot, after: max(slot + timedelta(seconds=after), NONE),
        st.sampled_from(slots),
        st.sampled_from([-31, -30, -1, 0, 1, 2, 5, 9, 29, 60, 61, 120, 400, 2000]),
    )
    together = st.tuples(moments, st.lists(EVENTS, min_size=1, max_size=2))
    events = [(at, what) for at, some in draw(st.lists(together, max_size=6)) for what in some]
    hangs = draw(
        st.sampled_from([set(), set(), set(), set(), {Call.STANDBY}, {Call.PREPARE}, {Call.MANUAL}, {Bounded.RECOVER}])
    )
    history = History(config, definition, slots, draw(st.lists(SCANS, max_size=6)), events, hangs)
    history.prepares = draw(st.lists(st.none() | PREPARE_PROBLEMS, max_size=8))
    history.never_prepared = draw(st.none() | st.none() | PREPARE_PROBLEMS)
    history.lengths = {call: draw(seconds(1, 0, 5, 20, 80, 80)) for call in (Call.PREPARE, Call.STANDBY, Call.CLOSE)}
    history.lengths |= {what: draw(seconds(0, 0, 0, 1, 4, 9)) for what in Bounded}
    history.lengths[Bounded.LOOK] *= draw(st.sampled_from([1, 1, 10]))
    history.lengths[Bounded.RECOVER] *= draw(st.sampled_from([1, 1, 40]))  # of the start, and of the rig
    history.recover_silence = draw(st.sampled_from([None, 2 * SECOND, 10 * SECOND]))
    history.saves = draw(st.lists(SAVES, max_size=8))
    history.unreadable = draw(st.lists(UNREADABLE, max_size=4))
    history.calm_after = draw(seconds(0, 600, 7200))
    return without(history, draw(st.sets(st.sampled_from(KINDS))))


KINDS = ("shift", "there and back", "suspend", "reload", "cancel", "policy", "disk fills", "disk stalls", "define")
KINDS += ("amend", "pause", "resume", "by hand", "datasets", "stalls", "pull", "cut", "scans", "hangs", "prepares")
KINDS += ("lengths", "saves", "unreadable")


def kind_of(happening: Any) -> str:
    """Return which of `KINDS` a happening is."""
    return "cut" if isinstance(happening, Cut) else happening[0]


def without(history: History, kinds: set[str]) -> History:
    """Return a history without some kinds of fault: where all are at work, each hides what another would show."""
    history.events = [(at, what) for at, what in history.events if kind_of(what) not in kinds]
    history.scans = [] if "scans" in kinds else history.scans
    history.hangs = set() if "hangs" in kinds else history.hangs
    history.lengths = {} if "lengths" in kinds else history.lengths
    history.saves = [] if "saves" in kinds else history.saves
    history.unreadable = [] if "unreadable" in kinds else history.unreadable
    if "prepares" in kinds:
        history.prepares, history.never_prepared = [], None
    return history


# --- playing them ------------------------------------------------------------------------------------


def play(world: World, history: History) -> None:
    """Play a history until nothing is left to happen."""
    scans = iter(history.scans)
    world.behaviour, world.loses_lines = (lambda _: next(scans, WORKS)), True
    world.hangs, world.slow, world.saves = history.hangs, dict(history.lengths), iter(history.saves)
    world.unreadable = iter(history.unreadable)
    world.prepares = itertools.chain(history.prepares, itertools.repeat(history.never_prepared))
    calm_at = max((at for at, _ in history.events), default=NONE) + history.calm_after
    world.recover_silence = history.recover_silence
    world.define(**history.definition)
    ahead = sorted(history.events, key=lambda event: event[0])
    began, cut = world.truth, Cut("start", NONE)
    for _ in range(MAX_LIVES):
        cuts: list[Cut] = []
        passed = world.truth - began + cut.off
        happenings = [(max(event[0] - passed, NONE), _happening(event, ahead, cuts)) for event in ahead]
        if world.calm_since is None:
            happenings.append((max(calm_at - passed, NONE), Life.calm_down))
        else:
            world.calm_since = None
            happenings.append((NONE, Life.calm_down))
        life = world.live(*happenings, off=cut.off, boot=cut.boot)
        if life.ended is End.IDLE:
            return
        world.hangs = set()  # repaired by a person, or by the restart
        cut = cuts[-1] if cuts else Cut("restart")
    raise AssertionError("it never ends")


def _happening(event, ahead, cuts):
    """Return a function that applies an event to a run of the daemon, and removes it from the list."""

    def do(life: Life) -> None:
        ahead.remove(event)
        match event[1]:
            case ("shift", by):
                life.shift(timedelta(seconds=by))
            case ("there and back", by, after):
                life.shift(timedelta(seconds=by))
                life.clock.at(after, lambda: life.shift(timedelta(seconds=-by)))
            case ("suspend", duration):
                life.world.suspends[life.true_now] = duration
                life.clock.suspend(duration)
            case ("reload",):
                life.reload()
            case ("cancel",):
                life.cancel()
            case ("amend", every, n):
                life.amend(every, n)
            case ("pause", duration):
                life.pause_for(duration)
            case ("resume",):
                life.resume()
            case ("policy",):
                life.world.configure(missed=Missed.RUN_LATEST)
                life.reload()
            case ("disk fills", duration):
                life.disk_fills(duration)
            case ("disk stalls", duration):
                life.disk_stalls(duration)
            case ("pull", duration):
                life.pull_disk(duration)
            case ("define", name, every, n):
                if life.timelapse is not None:  # else it would take the place of the first one
                    life.define(name, every, n)
            case ("by hand", duration, action):
                life.world.slow[Call.MANUAL] = duration
                life.ask(action)
            case ("datasets", name, duration):
                life.move_datasets(name, duration)
            case ("stalls", name, duration):
                life.stall_datasets(name, duration)
            case Cut(how) as cut:
                cuts.append(cut)
                {
                    "kill": life.kill,
                    "before save": life.die_before_save,
                    "after save": life.die_after_save,
                    "in a save that stalls": life.die_in_save,
                    "stop": life.stop,
                }[how]()

    return do


# --- what holds at their end ------------------------------------------------------------------------


def ended_well(world: World) -> None:
    """Check that every slot has its record, and that the records agree with the ledger of the hardware."""
    if not world.places.store.exists():
        assert any("its last slot was" in words for words in world.said("definition_refused"))
        return
    # One that was archived right before a kill is in the store, too.
    found = {(timelapse.id, timelapse.schedule_times): timelapse for timelapse in (*world.archived(), world.stored())}
    of_name = defaultdict(list)
    for timelapse in found.values():
        of_name[timelapse.id].append(timelapse)
    for timelapses in of_name.values():
        *earlier, last = sorted(timelapses, key=lambda timelapse: timelapse.tally.taken)
        assert not any(timelapse.tally.taken for timelapse in earlier), "it kept its name"
        has_ended_well(world, last, is_only=not earlier)


def has_ended_well(world: World, timelapse: TimeLapse, *, is_only: bool) -> None:
    assert timelapse.state.is_terminal
    assert timelapse.next_idx == timelapse.n_slots
    assert sorted(timelapse.records) == list(range(timelapse.n_slots))
    taken = world.taken(timelapse.id)
    succeeded = {slot for slot, record in timelapse.records.items() if record.status is RecordStatus.SUCCEEDED}
    if not world.forgetful:
        anew = {slot for name, slot in world.taken_anew if name == timelapse.id}
        assert not {slot for slot in taken if taken.count(slot) > 1} - anew, "a slot was taken twice"
        assert (set(taken) - set(timelapse.unsettled)) - anew == succeeded - anew
        is_calm = world.calm_since is not None or timelapse != world.stored()  # its disk is there, and there was time
        if is_calm:
            assert not timelapse.unsettled, "the driver was never asked"
        calm_is_used(world, timelapse)
        if not world.was_set and is_only:
            durations_are_true(world, timelapse)
    if not world.lost_lines and is_only:
        journal_agrees(world, timelapse)
        if not world.was_set:  # else the clock may be set at the very moment of the beginning
            actions = {line.action for line in world.journal if line.fields.get("TIMELAPSE_ID") == timelapse.id}
            assert "definition_accepted" in actions, "its beginning was never told, or the line was lost"
            assert actions & {ACTION_OF_END[timelapse.state].word, "store_found"}, "nor its end"


def durations_are_true(world: World, timelapse: TimeLapse) -> None:
    """Check that no scan is recorded to have taken longer or shorter than the rig had for it.

    Where the machine was suspended at the very moment of its end, the daemon learns of it when it wakes.
    """
    begun: dict[int, datetime] = {}
    took: dict[int, timedelta] = {}
    most: dict[int, timedelta] = {}
    for entry in world.ledger:
        if entry.call is Call.SCAN and entry.timelapse_id == timelapse.id and entry.finished:
            took[entry.slot] = entry.true_at - begun[entry.slot]
            learned = entry.true_at
            while learned in world.suspends:
                learned += world.suspends[learned]
            most[entry.slot] = learned - begun[entry.slot]
        elif entry.call is Call.SCAN and entry.timelapse_id == timelapse.id:
            begun[entry.slot] = entry.true_at
    for slot, record in timelapse.records.items():
        if record.status is RecordStatus.SUCCEEDED and record.took is not None:
            is_true = took[slot] - MAX_START_DELAY <= record.took <= most[slot] + MAX_START_DELAY
            assert is_true, f"slot {slot} took {took[slot]}: {record}"


def calm_is_used(world: World, timelapse: TimeLapse) -> None:
    """Check that every slot was taken that is due once the faults have stopped, and what they caused is over."""
    if timelapse.ending is not None or world.calm_since is None:
        return
    since = max(world.calm_since + AFTERMATH, world.begun_at[timelapse.id] + world.wrong_by)
    before = None
    for slot, at in enumerate(timelapse.schedule_times):
        is_to_come = at >= since and (timelapse.id, slot) not in world.closed_before
        if is_to_come and (before is None or at - before >= MINUTE):
            record = timelapse.records[slot]
            is_paused = (
                record.reason is Reason.PAUSED
            )  # whether it fell due in a pause was looked at when it was skipped
            assert record.status is RecordStatus.SUCCEEDED or is_paused, f"slot {slot} could have been taken"
            world.judged += 1
        before = at


def journal_agrees(world: World, timelapse: TimeLapse) -> None:
    """Check that each line about a slot is followed by another when it stops being true, and that the last one is."""
    last: dict[int, Line] = {}
    for line in world.journal:
        if line.action == LOST and line.fields.get("TIMELAPSE_ID") == timelapse.id:
            for slot in line.slots:
                last.pop(slot, None)
        if line.action not in TRUE_WHILE or line.fields.get("TIMELAPSE_ID") != timelapse.id:
            continue
        for slot in line.slots:
            before = last.get(slot)
            if before is not None and before.is_final and not world.forgetful:
                allowed = {"slots_given_back", "scan_recovered"}
                if before.action == "slot_interrupted":  # by the clock of the next start it may be in time
                    allowed |= {"slot_interrupted", "scan_started", "rig_not_ready"}
                is_repeated = "RETOLD" in line.fields and bool(TRUE_WHILE[line.action] & TRUE_WHILE[before.action])
                assert is_repeated or line.action in allowed, f"slot {slot} was closed: {before}, {line}"
            last[slot] = line
    for slot, record in timelapse.records.items():
        if record.reason is not None and record.reason.ends_timelapse:
            continue  # the line about the end closes all slots
        if world.forgetful and (timelapse.id, slot) in world.told_unsaved:
            continue  # the next start retells it where there is a live status, which is not written here
        line = last.get(slot)
        assert line is not None, f"no line about slot {slot}"
        assert record.status in TRUE_WHILE[line.action], f"slot {slot} is {record.status}: {line}"
        assert line.is_final or timelapse.ending is not None, f"slot {slot} is {record.status}: {line}"


@dataclass
class Played:
    """What was played."""

    histories: int = 0
    rig_years: float = 0
    """How long the rigs have lived."""
    slots_after: int = 0
    """How many slots were due after the faults had stopped, and had to be taken."""

    def __add__(self, other: Played) -> Played:
        return Played(
            self.histories + other.histories, self.rig_years + other.rig_years, self.slots_after + other.slots_after
        )

    def __str__(self) -> str:
        return f"{self.histories} histories, {self.rig_years:.0f} rig-years, {self.slots_after} slots after the faults"


def simulate(number_of_cases: int, number: int) -> Played:
    """Play so many histories, the same ones for the same ``number``."""
    played = Played()

    @seed(number)
    @settings(
        max_examples=number_of_cases,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(history=histories())
    def play_one(history: History) -> None:
        directory = Path(tempfile.mkdtemp(dir=TEMPORARY))
        try:
            world = World(directory / "rig", history.config)
            world.configure()  # a request reads the file again: datasets stay where they are
            with mock.patch.object(disk_look, "identify_file_system", world.identify_file_system):
                play(world, history)
            ended_well(world)
            played.histories += 1
            played.rig_years += sum((life.clock.elapsed for life in world.lives), NONE) / YEAR
            played.slots_after += world.judged
        finally:
            shutil.rmtree(directory)

    with (
        mock.patch.object(LiveFile, "show", _do_nothing),  # nobody reads it
        mock.patch.object(definition, "read_definition", _read_each_text_once(definition.read_definition)),
    ):
        play_one()
    return played


def _read_each_text_once(read: Callable[[Path], Definition]) -> Callable[[Path], Definition]:
    """Return a reader of definitions that parses the same text only once: the daemon looks at the file all the time."""

    @functools.lru_cache(maxsize=8)
    def parse(path: Path, _: bytes) -> Definition:
        return read(path)

    def read_definition(path: Path) -> Definition:
        return parse(path, path.read_bytes()) if path.is_file() else read(path)

    return read_definition


def _do_nothing(*_) -> None:
    pass


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Play random histories of a rig against the daemon.")
    parser.add_argument("cases", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=0, help="go on so long, with one seed after the other")
    wanted = parser.parse_args()
    total, began = Played(), time.perf_counter()
    for number in itertools.count(wanted.seed, MAX_PROCESSES):
        total += simulate(wanted.cases, number)
        if time.perf_counter() - began >= 60 * wanted.minutes:
            break
    print(json.dumps(asdict(total)))
