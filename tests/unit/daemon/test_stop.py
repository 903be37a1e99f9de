"""The stop of the service, which is a pause."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest
from simulation import DAY, HOUR, MINUTE, NONE, SECOND, Behaviour, Boot, Bounded, End, Life, ScriptedDriver, World
from virtual_time import UNSYNCHRONISED

from plantimager.timelapse.daemon.stop import EXTEND_INTERVAL, EXTENSION
from plantimager.timelapse.domain.states import TimeLapseState
from plantimager.timelapse.drivers.base import Call

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

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
    assert life.clock.elapsed == HOUR - MINUTE + 5 * MINUTE
    assert "made no progress for 300 s" in world.said("driver_abandoned")[0]


@pytest.mark.parametrize("call", [Call.PREPARE, Call.STANDBY, Call.CLOSE])
def test_stop_gives_up_a_call_that_hangs_after_the_time_that_its_driver_asks_for(rig, call, monkeypatch):
    """A person waits no longer than the call may take, however long a scan may be silent."""
    monkeypatch.setattr(ScriptedDriver, "call_timeout", 80 * SECOND)
    world = rig(stall_timeout=HOUR)
    world.define(start=HOUR, warmup=MINUTE)
    world.hangs = {call}
    begun = HOUR - MINUTE if call is Call.PREPARE else NONE
    life = world.live((begun + 10 * SECOND, Life.stop))
    assert life.ended is End.ABANDONED
    assert life.clock.elapsed <= begun + 2 * MINUTE


class Moment(NamedTuple):
    """A moment for a stop: what the daemon does then, how long that may take, and how to get there."""

    does: str
    begun: timedelta
    """When that begins."""
    lasts: timedelta
    prepare: Callable[[World], object] = lambda _: None
    boot: Boot | None = None
    before: tuple[tuple[timedelta, Callable[[Life], object]], ...] = ()
    """What happens before the stop."""


def interrupt_a_scan(world: World) -> None:
    """Leave a slot that the next start asks the driver about."""
    world.live((HOUR + 5 * SECOND, Life.kill))
    world.slow[Bounded.RECOVER] = 10 * MINUTE


def change_driver(life: Life) -> None:
    """Have another driver take the place of the one in use, which is closed."""
    life.world.configure(driver="command", driver_options={"argv": ["true"]})
    life.reload()


MOMENTS = [
    Moment("wait for the clock", NONE, MINUTE, boot=Boot(wrong_by=-10 * DAY, evidence=UNSYNCHRONISED)),
    Moment("recover", NONE, 10 * MINUTE, interrupt_a_scan),
    Moment("standby", NONE, 200 * SECOND),
    Moment("nothing", HOUR / 2, MINUTE),
    Moment("prepare", HOUR - MINUTE, 200 * SECOND),
    Moment("scan", HOUR + 140 * SECOND, 20 * SECOND),
    Moment("by hand", HOUR / 2, 20 * SECOND, before=((HOUR / 2, Life.ask),)),
    Moment("close", HOUR / 2, 200 * SECOND, before=((HOUR / 2, change_driver),)),
]


@pytest.mark.parametrize("again", [False, True], ids=["once", "twice"])
@pytest.mark.parametrize("moment", MOMENTS, ids=[moment.does for moment in MOMENTS])
@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.99])
def test_stop_at_any_moment_ends_cleanly(rig, moment, part, again):
    """In time for systemd, in standby, with no word of a call that hangs, as each is within its own time-out."""
    world = rig(stall_timeout=5 * MINUTE, scan_timeout=DAY)
    world.define(start=HOUR, warmup=MINUTE, grace=DAY)
    world.behaviour = lambda _: Behaviour(takes=10 * MINUTE, stops_in=20 * SECOND)
    world.slow = {Call.PREPARE: 200 * SECOND, Call.STANDBY: 200 * SECOND, Call.CLOSE: 200 * SECOND}
    world.slow[Call.MANUAL] = HOUR
    moment.prepare(world)
    ledger = len(world.ledger)
    stops = [(moment.begun + moment.lasts * part, Life.stop)]
    if again:
        stops.append((moment.begun + moment.lasts * part + 5 * SECOND, Life.stop))
    life = world.live(*moment.before, *stops, boot=moment.boot)
    assert life.ended is End.STOPPED
    assert not {"driver_stalled", "driver_abandoned"} & {*world.actions()}
    assert len(world.said("stopping")) == 1
    if moment.boot is None:
        assert Call.STANDBY in [entry.call for entry in world.ledger[ledger:]]
    assert life.notices.sent.count("STOPPING=1") == 1


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
