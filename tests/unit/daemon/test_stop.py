"""The stop of the service, which is a pause."""

from __future__ import annotations

import pytest
from simulation import DAY, HOUR, MINUTE, NONE, SECOND, Behaviour, Boot, End, Life, ScriptedDriver
from virtual_time import UNSYNCHRONISED

from plantimager.timelapse.daemon.stop import EXTEND_INTERVAL, EXTENSION
from plantimager.timelapse.domain.states import TimeLapseState
from plantimager.timelapse.drivers.base import CANCEL_TIMEOUT, Call

WITHOUT_NETWORK = Boot(wrong_by=-10 * DAY, evidence=UNSYNCHRONISED)
"""A Raspberry Pi boots in the past, and no network sets its clock."""


def test_stop_while_waiting_for_the_clock_is_immediate(rig):
    """Nothing was begun; the store stays as it is."""
    world = rig()
    world.define()
    world.live((MINUTE, Life.kill))
    before = world.places.store.read_bytes()
    life = world.live((30 * SECOND, Life.stop), boot=WITHOUT_NETWORK)
    assert life.ended is End.STOPPED
    assert life.clock.elapsed < 35 * SECOND
    assert world.places.store.read_bytes() == before


def test_stop_in_mid_scan_is_a_pause(rig):
    """The slot is attempted again by the next start, within its grace."""
    world = rig()
    world.define(every=HOUR, n=2, grace=10 * MINUTE)
    world.behaviour = lambda _: Behaviour(takes=5 * MINUTE, stops_in=3 * SECOND)
    life = world.live((HOUR + MINUTE, Life.stop))
    assert life.ended is End.STOPPED
    assert world.statuses() == ["interrupted"]
    assert world.calls()[-1][0] == "close"
    world.live(off=10 * SECOND)
    assert world.scans() == [(0, 1), (0, 2), (1, 1)]
    assert world.statuses() == ["succeeded"] * 2


def test_cancellation_that_could_not_be_saved_is_saved_by_the_stop(rig):
    """Else the next start would take the slots of a timelapse that was cancelled."""
    world = rig()
    world.define(every=HOUR, n=3)
    world.live(
        (30 * MINUTE, lambda life: life.disk_fills(62 * SECOND)),
        (31 * MINUTE, Life.cancel),
        (31 * MINUTE + 5 * SECOND, Life.stop),
    )
    assert world.stored().state is TimeLapseState.CANCELLED


@pytest.mark.parametrize("call", [Call.PREPARE, Call.STANDBY])
def test_stop_waits_for_a_call_that_can_not_be_cancelled(rig, call):
    """It ends by its own time-out; systemd is asked to wait meanwhile, and the rig is left in standby."""
    world = rig(stall_timeout=5 * MINUTE)
    world.define(start=HOUR, warmup=MINUTE)
    world.slow = {call: 200 * SECOND}
    begun = HOUR - MINUTE if call is Call.PREPARE else NONE
    life = world.live((begun + 10 * SECOND, Life.stop))
    assert life.ended is End.STOPPED
    expected = ["prepare", "standby", "close"] if call is Call.PREPARE else ["standby", "close"]
    assert [name for name, _ in world.calls()][-len(expected) :] == expected
    assert not {"driver_stalled", "driver_abandoned"} & {*world.actions()}
    extended = [text for text in life.notices.sent if text.startswith("EXTEND_TIMEOUT_USEC=")]
    assert len(extended) >= 190 * SECOND / EXTEND_INTERVAL
    assert EXTEND_INTERVAL < EXTENSION


def test_stop_gives_up_a_call_that_hangs(rig):
    """After the time-out of any call, with the time that it really took."""
    world = rig(stall_timeout=5 * MINUTE)
    world.define(start=HOUR, warmup=MINUTE)
    world.hangs = {Call.PREPARE}
    life = world.live((HOUR - MINUTE + 10 * SECOND, Life.stop))
    assert life.ended is End.ABANDONED
    assert life.clock.elapsed == HOUR - MINUTE + 5 * MINUTE + CANCEL_TIMEOUT
    assert "made no progress for 330 s" in world.said("driver_abandoned")[0]


def test_stop_gives_a_scan_the_time_that_its_driver_asks_for(rig, monkeypatch):
    """A program may need longer than usual to bring its rig to a safe point."""
    monkeypatch.setattr(ScriptedDriver, "cancel_timeout", 3 * MINUTE)
    world = rig()
    world.define(grace=DAY)
    world.behaviour = lambda _: Behaviour(takes=10 * MINUTE, stops_in=2 * MINUTE)
    life = world.live((HOUR + MINUTE, Life.stop))
    assert life.ended is End.STOPPED
    assert world.statuses() == ["interrupted"]
    assert world.calls()[-2][0] == "standby"
