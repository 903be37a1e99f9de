"""The stop of the service, which is a pause."""

from __future__ import annotations

from simulation import DAY, HOUR, MINUTE, SECOND, Behaviour, Boot, End, Life
from virtual_time import UNSYNCHRONISED

from plantimager.timelapse.domain.states import TimeLapseState

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
