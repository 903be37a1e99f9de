"""Driver calls that stall or never end."""

from __future__ import annotations

import logging

import pytest
from simulation import HOUR, MINUTE, SECOND, START, Behaviour, Bounded, End, Life, ScriptedDriver

from plantimager.timelapse.drivers.base import CANCEL_TIMEOUT, Call
from plantimager.timelapse.support.errors import ScanFailed


def test_scan_without_progress_is_cancelled_and_the_next_slot_taken(rig):
    """A stall costs one slot."""
    world = rig(stall_timeout=5 * MINUTE)
    world.define(every=HOUR, n=2)
    world.behaviour = lambda request: Behaviour(takes=None, progress=None) if request.index == 0 else Behaviour()
    life = world.live()
    assert life.ended is End.IDLE
    assert world.statuses() == ["failed", "succeeded"]
    record = world.stored().records[0]
    assert record.took == 5 * MINUTE + SECOND
    assert record.error["type"] == "DriverStalled"


def test_scan_that_never_ends_is_cancelled_at_its_time_out(rig):
    """Progress doesn't extend ``scan_timeout``."""
    world = rig(scan_timeout=20 * MINUTE)
    world.define()
    world.behaviour = lambda _: Behaviour(takes=None, progress=MINUTE)
    world.live()
    assert world.stored().records[0].error["type"] == "ScanTimedOut"
    assert world.stored().records[0].took == 20 * MINUTE + SECOND


@pytest.mark.parametrize("watchdog", [None, 30 * SECOND], ids=["alone", "under systemd"])
def test_call_that_ignores_its_cancellation_is_abandoned_and_the_next_start_goes_on(rig, watchdog):
    """The thread can't be killed, so the process ends: by itself, or by the watchdog."""
    world = rig(stall_timeout=5 * MINUTE)
    world.define(every=HOUR, n=2)
    deaf = Behaviour(takes=None, progress=None, stops_in=None)
    world.behaviour = lambda request: deaf if request.index == 0 else Behaviour()
    killed = HOUR + 5 * MINUTE + CANCEL_TIMEOUT + SECOND
    life = world.live((killed, Life.kill), watchdog=watchdog)
    assert life.ended is (End.ABANDONED if watchdog is None else End.KILLED)
    assert ("WATCHDOG=trigger" in life.notices.sent) == (watchdog is not None)
    assert world.statuses() == ["failed"]
    assert world.journal[-1].action == "driver_abandoned"
    assert world.journal[-1].level == logging.CRITICAL
    world.live(off=5 * SECOND)
    assert world.statuses() == ["failed", "succeeded"]


def test_call_that_hangs_before_the_scan_does_not_cost_the_slot(rig):
    """The warm-up hangs, the process is replaced, and the slot is taken within its grace."""
    world = rig(stall_timeout=2 * MINUTE)
    world.define(grace=10 * MINUTE, warmup=30 * SECOND)
    world.hangs = {Call.PREPARE}
    life = world.live()
    assert life.ended is End.ABANDONED
    world.hangs = set()
    world.live(off=5 * SECOND)
    assert world.statuses() == ["succeeded"]
    assert world.scans() == [(0, 1)]  # none was begun behind the warm-up


def test_failure_of_a_scan_is_not_explained_by_an_earlier_call_that_stalled(rig):
    """The warm-up hangs for a while; then the scan fails for a reason of its own."""
    world = rig(stall_timeout=MINUTE)
    world.define(warmup=30 * SECOND)
    world.slow = {Call.PREPARE: 70 * SECOND}
    world.behaviour = lambda _: Behaviour(takes=SECOND, problem=ScanFailed("lens cap"))
    world.live()
    assert world.stored().records[0].error == {"type": "ScanFailed", "msg": "lens cap"}


def test_prepare_has_the_time_that_its_driver_asks_for(rig, monkeypatch):
    """A gantry may home for longer than a scan may be silent."""
    monkeypatch.setattr(ScriptedDriver, "call_timeout", 5 * MINUTE)
    world = rig(stall_timeout=90 * SECOND)
    world.define(warmup=4 * MINUTE)
    world.slow = {Call.PREPARE: 200 * SECOND}
    world.live()
    assert world.said("driver_stalled") == []
    assert world.scans_at() == [HOUR]


def test_scan_that_is_as_silent_as_its_disk_goes_on_when_the_disk_answers(rig):
    """A file server that is away holds up the driver, and would hold up the next process, too: neither has failed."""
    world = rig(stall_timeout=5 * MINUTE)
    world.define(every=3 * HOUR, n=2)
    world.behaviour = lambda request: Behaviour(takes=HOUR, progress=None) if request.index == 0 else Behaviour()
    world.live(
        (HOUR + MINUTE, lambda _: world.hangs.add(Bounded.LOOK)),
        (2 * HOUR - 2 * MINUTE, lambda _: world.hangs.discard(Bounded.LOOK)),
    )
    assert world.statuses() == ["succeeded", "succeeded"]
    assert world.scans() == [(0, 1), (1, 1)]
    assert not {"driver_stalled", "driver_abandoned"} & {*world.actions()}
    (said,) = world.said("datasets_out_of_reach")
    assert "datasets can't be put there: no answer within 5 s" in said


def test_scan_whose_disk_stays_away_is_abandoned_when_its_time_is_over(rig):
    """The process is replaced, and a later one asks whether the attempt is whole once the disk answers."""
    world = rig(stall_timeout=5 * MINUTE, scan_timeout=20 * MINUTE)
    world.define(every=3 * HOUR, n=2)
    hung = Behaviour(takes=None, progress=None, stops_in=None)
    world.behaviour = lambda request: hung if request.index == 0 else Behaviour()
    life = world.live((HOUR + MINUTE, lambda _: world.hangs.add(Bounded.LOOK)))
    assert life.ended is End.ABANDONED
    assert world.journal[-1].at - START > HOUR + 20 * MINUTE
    world.hangs, world.datasets = set(), {"tl_0"}
    world.live(off=5 * SECOND)
    assert world.statuses() == ["succeeded", "succeeded"]
    assert world.scans() == [(0, 1), (1, 1)]


def test_stop_does_not_wait_for_a_disk_that_hangs(rig):
    """The service ends in the time that it has; the next start asks about the attempt, and takes the slot."""
    world = rig(stall_timeout=5 * MINUTE)
    world.define(every=3 * HOUR, n=1, grace=HOUR)
    hung = Behaviour(takes=None, progress=None, stops_in=None)
    world.behaviour = lambda request: hung if request.attempt == 1 else Behaviour()
    world.live(
        (HOUR + MINUTE, lambda _: world.hangs.add(Bounded.LOOK)),
        (HOUR + 20 * MINUTE, Life.stop),
        (HOUR + 25 * MINUTE, Life.kill),
    )
    assert world.journal[-1].at - START < HOUR + 25 * MINUTE
    world.hangs.clear()
    world.live(off=MINUTE)
    assert world.statuses() == ["succeeded"]


def test_question_to_an_earlier_disk_that_hangs_costs_no_slot_of_another_one(rig, tmp_path):
    """The process is replaced, as it is for each call that hangs; slots go on in the directory that is named by now."""
    world = rig(stall_timeout=5 * MINUTE)
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    world.configure(datasets=first)
    world.define(every=HOUR, n=4)
    world.live((HOUR + 10 * SECOND, Life.kill))
    world.configure(datasets=second)
    world.stalled = frozenset({first})

    def answer(_):
        world.stalled = frozenset()
        world.hangs.add(Call.RECOVER)

    def stall(_):
        world.stalled = frozenset({first})

    life = world.live((25 * MINUTE, answer), (33 * MINUTE, stall), off=5 * MINUTE)
    assert (life.ended, [call for call, _ in world.calls()][-1]) == (End.ABANDONED, "recover")
    world.live(off=5 * SECOND)
    assert world.statuses() == ["interrupted", "succeeded", "succeeded", "succeeded"]
    assert world.stored().unsettled == [0]
