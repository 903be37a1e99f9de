"""What holds whatever happens: random schedules, scans, clocks, power cuts and people, against the real daemon.

The invariants stand in `simulation`, which checks them whenever the daemon scans or goes to sleep. Here is what is
thrown at it, and what must hold at the end. ``TIMELAPSED_SIMULATIONS`` says how many cases are tried: the default
are the same ones each time; another number makes new ones, and prints how to repeat one that fails.
"""

import itertools
import os
import shutil
import tempfile
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from plantimager.controller.scanner.errors import ScanFailed, ScannerNotReady
from plantimager.controller.scanner.states import RecordStatus, TimeLapseState
from plantimager.controller.timelapsed.config import Config, Missed
from plantimager.controller.timelapsed.trust import ClockPolicy
from simulation import DAY, HOUR, MINUTE, NONE, SECOND, START, YEAR, Behaviour, Boot, End, Life, World
from virtual_time import FROM_RTC, SYNCHRONISED, UNSYNCHRONISED

CASES = 10_000
WANTED = int(os.environ.get("TIMELAPSED_SIMULATIONS", CASES))

TEMPORARY = Path("/dev/shm") if Path("/dev/shm").is_dir() else None
"""Memory, where there is some: ten thousand cases fsync a quarter of a million times."""


# --- what is thrown at it ---------------------------------------------------------------------------


@dataclass
class Run:
    """One run of the daemon: what happens before, meanwhile, and at its end."""

    off: timedelta
    boot: Boot | None
    happenings: list[tuple[timedelta, tuple]]
    limit: timedelta
    killed_at_save: int | None
    stopped: bool


@dataclass
class Case:
    config: Config
    definition: dict
    scans: list[Behaviour]
    hangs: set = field(default_factory=set)
    runs: list[Run] = field(default_factory=list)


def seconds(*numbers):
    return st.sampled_from([timedelta(seconds=number) for number in numbers])


def moments(span):
    """Return times within ``span``: any, and often one that is an even part of it."""
    whole = int(span.total_seconds())
    return st.integers(0, whole).map(lambda number: timedelta(seconds=number))


SCANS = st.one_of(
    st.builds(
        Behaviour,
        takes=seconds(1, 5, 30, 61, 600),
        progress=seconds(60) | st.none(),
        problem=st.sampled_from([None, None, None, None, ScanFailed("blurred"), ScannerNotReady("asleep"), OSError(5)]),
    ),
    st.builds(Behaviour, takes=st.none(), progress=seconds(100) | st.none(), stops_in=seconds(1, 29) | st.none()),
    st.just(Behaviour(takes=10 * SECOND, problem=ScannerNotReady("asleep"))),
)

SHIFTS = st.sampled_from([1, 10, 60, 61, 600, 3600, 6 * 3600, 86_400, 31_536_000, 3_153_600_000])

BOOTS = st.one_of(
    st.just(Boot()),
    st.builds(
        Boot,
        wrong_by=st.sampled_from([NONE, -MINUTE, -HOUR, -DAY, -20 * YEAR, HOUR, 10 * YEAR]),
        evidence=st.sampled_from([UNSYNCHRONISED, UNSYNCHRONISED, FROM_RTC]),
        ntp_after=seconds(3, 30, 59, 200),
    ),
    st.builds(Boot, wrong_by=st.sampled_from([NONE, MINUTE]), evidence=st.sampled_from([UNSYNCHRONISED, FROM_RTC])),
)

HAPPENINGS = st.one_of(
    st.tuples(st.just("shift"), SHIFTS),
    st.tuples(st.just("shift"), SHIFTS.map(lambda by: -by)),
    st.tuples(st.just("there and back"), SHIFTS, seconds(1, 40, 1000)),
    st.tuples(st.just("suspend"), seconds(1, 59, 600, 7200)),
    st.tuples(st.sampled_from(["reload", "cancel", "other policy"])),
    st.tuples(st.just("disk fills"), seconds(1, 15, 500)),
)


@st.composite
def cases(draw):
    mode = draw(st.sampled_from(["one_shot", "interval", "interval", "fixed"]))
    definition = {
        "grace": draw(seconds(0, 1, 5, 60, 120, 1000, 90_000)),
        "warmup": draw(seconds(0, 1, 30)),
        "standby_threshold": draw(seconds(60, 600)),
        "retries": draw(st.sampled_from([0, 0, 1, 3])),
        "policy": draw(st.sampled_from(["skip_scan", "skip_scan", "skip_scan", "fail_timelapse"])),
    }
    if mode == "interval":
        every, n = draw(seconds(1, 10, 60, 600, 7200)), draw(st.integers(1, 6))
        definition |= {"every": every, "n": n, "start": draw(seconds(-30, 0, 60, 3600))}
        span = every * n + 2 * HOUR
    elif mode == "fixed":
        after = draw(st.sets(st.sampled_from([-100, 0, 1, 2, 60, 100, 3600, 3601, 7200, 90_000]), min_size=1, max_size=5))
        definition["at"] = [timedelta(seconds=number) for number in sorted(after)]
        span = 26 * HOUR
    else:
        definition["start"] = draw(seconds(0, 60, 3600))
        span = 2 * HOUR
    config = Config(
        missed=draw(st.sampled_from([Missed.SKIP, Missed.SKIP, Missed.RUN_LATEST])),
        clock=draw(st.sampled_from([ClockPolicy.AUTO, ClockPolicy.AUTO, ClockPolicy.NTP_ONLY, ClockPolicy.TRUST])),
        clock_wait=draw(seconds(0, 60, 120)),
        stall_timeout=draw(seconds(90, 300)),
        scan_timeout=draw(seconds(400, 3600)),
    )
    scans = draw(st.lists(SCANS, max_size=8))
    happening = st.tuples(moments(span), HAPPENINGS)
    runs = draw(
        st.lists(
            st.builds(
                Run,
                off=seconds(0, 5, 50, 1000, 10_000),
                boot=st.none() | BOOTS,
                happenings=st.lists(happening, max_size=3),
                limit=moments(span),
                killed_at_save=st.none() | st.integers(1, 12),
                stopped=st.booleans(),
            ),
            min_size=1,
            max_size=4,
        )
    )
    if config.clock is ClockPolicy.NTP_ONLY:
        for run in runs:
            if run.boot is not None and not run.boot.evidence.kernel_synchronised and run.boot.ntp_after is None:
                run.boot = Boot()
    return Case(config, definition, scans, runs=runs)


def happen(what):
    """Return what a happening does to a run of the daemon."""

    def do(life):
        match what:
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
            case ("other policy",):
                life.world.configure(missed=Missed.RUN_LATEST)
                life.reload()
            case ("disk fills", duration):
                life.disk_fills(duration)

    return do


def play(world, case):
    """Play a case to its end: when its runs are through, the machine runs undisturbed until nothing happens any more."""
    scans = iter(case.scans)
    world.behaviour = lambda _: next(scans, Behaviour())
    world.define(**case.definition)
    for run in case.runs:
        happenings = [(after, happen(what)) for after, what in run.happenings]
        if run.stopped:
            happenings.append((run.limit, Life.stop))
        limit = run.limit + 10 * MINUTE if run.stopped else run.limit
        try:
            world.live(*happenings, off=run.off, boot=run.boot, killed_at_save=run.killed_at_save, limit=limit)
        except ValueError as refusal:  # the clock was set to before the year 1 or after 9999
            assert "year" in str(refusal)  # noqa: PT017
    for _ in range(50):
        if world.live(off=5 * SECOND, boot=Boot()).ended is End.IDLE:
            return
    raise AssertionError("it never comes to an end")


# --- what must hold ---------------------------------------------------------------------------------

_numbers = itertools.count()


@settings(
    max_examples=WANTED,
    derandomize=WANTED == CASES,
    deadline=None,
    database=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)
@given(case=cases())
def simulate(case):
    directory = Path(tempfile.mkdtemp(dir=TEMPORARY))
    try:
        world = World(directory / "rig", case.config)
        play(world, case)
        ended_well(world)
    finally:
        shutil.rmtree(directory)


def ended_well(world):
    """Check what must hold at the end."""
    timelapse = world.stored()
    assert timelapse.state.is_terminal
    assert timelapse.next_idx == timelapse.n_slots
    assert sorted(timelapse.records) == list(range(timelapse.n_slots))
    taken = world.taken()
    succeeded = [slot for slot, record in timelapse.records.items() if record.status is RecordStatus.SUCCEEDED]
    if not world.forgetful:
        assert len(taken) == len(set(taken)), "a slot was taken twice"
        if timelapse.state is not TimeLapseState.CANCELLED:
            assert set(taken) == set(succeeded)


def test_everything_holds_whatever_happens():
    """Ten thousand histories of a rig; see the docstrings of this module and of `simulation`."""
    simulate()
