"""Random histories of a rig: schedules, scans, clocks, power cuts and people, played against the real daemon.

`simulation` has the invariants, and checks them whenever the daemon scans or goes to sleep. This module has the random
histories, and what must hold at their end. The tests play some; to play more, run this file:

    python tests/support/histories.py 100000 --seed 7
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from simulation import DAY, HOUR, MINUTE, NONE, SECOND, YEAR, Behaviour, Boot, End, Life, World
from virtual_time import FROM_RTC, SYNCHRONISED, UNSYNCHRONISED

from plantimager.timelapse.domain.states import RecordStatus, TimeLapseState
from plantimager.timelapse.drivers.base import Call
from plantimager.timelapse.settings.config import ClockPolicy, Config, Missed
from plantimager.timelapse.support.errors import ScanFailed, ScannerNotReady

if TYPE_CHECKING:
    from plantimager.timelapse.domain.timelapse import TimeLapse

TEMPORARY = Path("/dev/shm") if Path("/dev/shm").is_dir() else None
"""A directory in memory, where there is one: so many stores are written that a disk would wear out."""

RESTART = 5 * SECOND
"""The time that systemd waits before it restarts a daemon that ended itself."""
MAX_LIVES = 60


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
    hangs: set[Call] = field(default_factory=set)


def seconds(*numbers):
    return st.sampled_from([timedelta(seconds=number) for number in numbers])


# --- random histories -------------------------------------------------------------------------------

WORKS = Behaviour(takes=10 * SECOND, progress=None)

SCANS = st.one_of(
    st.builds(Behaviour, takes=seconds(0, 1, 30, 61, 600, 5000), progress=seconds(60)),
    st.sampled_from([ScanFailed("blurred"), OSError(5, "camera"), ScannerNotReady("asleep"), SystemExit(3)]).map(
        lambda problem: Behaviour(takes=3 * SECOND, progress=None, problem=problem)
    ),
    st.just(Behaviour(takes=SECOND, progress=None, problem=ScannerNotReady("asleep"))),
    st.builds(Behaviour, takes=st.none(), progress=seconds(80) | st.none(), stops_in=seconds(1, 29) | st.none()),
)

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
    st.tuples(st.just("define"), st.sampled_from(["tl", "next", "other"]), seconds(1, 60, 7200), st.integers(1, 3)),
    st.tuples(st.just("by hand"), seconds(1, 70, 500)),
    st.builds(
        Cut,
        how=st.sampled_from(["kill", "kill", "before save", "after save", "stop"]),
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
    events = draw(st.lists(st.tuples(moments, EVENTS), max_size=6))
    hangs = draw(st.sampled_from([set(), set(), set(), set(), {Call.STANDBY}, {Call.PREPARE}, {Call.MANUAL}]))
    return History(config, definition, slots, draw(st.lists(SCANS, max_size=6)), events, hangs)


# --- playing them ------------------------------------------------------------------------------------


def play(world: World, history: History) -> None:
    """Play a history until nothing is left to happen."""
    scans = iter(history.scans)
    world.behaviour = lambda _: next(scans, WORKS)
    world.hangs = history.hangs
    world.define(**history.definition)
    ahead = sorted(history.events, key=lambda event: event[0])
    began, cut = world.truth, Cut("start", NONE)
    for _ in range(MAX_LIVES):
        cuts: list[Cut] = []
        passed = world.truth - began + cut.off
        happenings = [(max(event[0] - passed, NONE), _happening(event, ahead, cuts)) for event in ahead]
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
                life.clock.suspend(duration)
            case ("reload",):
                life.reload()
            case ("cancel",):
                life.cancel()
            case ("policy",):
                life.world.configure(missed=Missed.RUN_LATEST)
                life.reload()
            case ("disk fills", duration):
                life.disk_fills(duration)
            case ("define", name, every, n):
                if life.timelapse is not None:  # else it would take the place of the first one
                    life.define(name, every, n)
            case ("by hand", duration):
                life.world.slow[Call.MANUAL] = duration
                life.ask()
            case Cut(how) as cut:
                cuts.append(cut)
                {
                    "kill": life.kill,
                    "before save": life.die_before_save,
                    "after save": life.die_after_save,
                    "stop": life.stop,
                }[how]()

    return do


# --- what holds at their end ------------------------------------------------------------------------


def ended_well(world: World) -> None:
    """Check that every slot has its record, and that the records agree with the ledger of the hardware."""
    if not world.places.store.exists():
        assert "its last slot was" in world.said("definition_refused")[0]
        return
    for timelapse in (*world.archived(), world.stored()):
        has_ended_well(world, timelapse)


def has_ended_well(world: World, timelapse: TimeLapse) -> None:
    assert timelapse.state.is_terminal
    assert timelapse.next_idx == timelapse.n_slots
    assert sorted(timelapse.records) == list(range(timelapse.n_slots))
    taken = world.taken(timelapse.id)
    succeeded = {slot for slot, record in timelapse.records.items() if record.status is RecordStatus.SUCCEEDED}
    if not world.forgetful:
        assert len(taken) == len(set(taken)), "a slot was taken twice"
        if timelapse.state is not TimeLapseState.CANCELLED:  # the scan may have finished after that
            assert set(taken) == succeeded


def simulate(number_of_cases: int, number: int) -> None:
    """Play so many histories, the same ones for the same ``number``."""

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
            play(world, history)
            ended_well(world)
        finally:
            shutil.rmtree(directory)

    play_one()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Play random histories of a rig against the daemon.")
    parser.add_argument("cases", type=int)
    parser.add_argument("--seed", type=int, default=0)
    wanted = parser.parse_args()
    simulate(wanted.cases, wanted.seed)
