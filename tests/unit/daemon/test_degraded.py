"""The schedule while the store can't be written."""

from __future__ import annotations

import logging

import pytest
from simulation import HOUR, MINUTE, NONE, SECOND, Behaviour, End, Life

from plantimager.timelapse.domain.states import TimeLapseState
from plantimager.timelapse.drivers.base import Call


def test_scans_go_on_while_the_store_can_not_be_written(rig):
    """CRITICAL once, STATUS all the time, and a complete store as soon as there is space."""
    world = rig()
    world.define(every=10 * MINUTE, n=4)
    full = (69 * MINUTE, lambda life: life.disk_fills(20 * MINUTE))
    life = world.live(full)
    assert world.statuses() == ["succeeded"] * 4
    assert [line.level for line in world.journal if line.action == "store_not_saved"] == [logging.CRITICAL]
    assert len(world.said("store_saved_again")) == 1
    degraded = [status for status in life.notices.statuses if status.startswith("DEGRADED")]
    assert degraded == ["DEGRADED: store can't be written (File too large), scans go on"]
    actions = world.actions()
    assert actions[actions.index("store_not_saved") : actions.index("store_saved_again")].count("scan_succeeded") == 2


def test_save_that_fails_while_no_slot_is_near_is_logged_and_tried_again_at_once(rig):
    """A suspended machine may wake up with a full disk; the next try doesn't wait for the next slot."""
    world = rig()
    world.define(every=HOUR, n=8, grace=MINUTE)

    def sleep(life):
        life.clock.suspend(3 * HOUR)
        life.disk_fills(2 * MINUTE)

    life = world.live((90 * MINUTE, sleep), (95 * MINUTE + 3 * HOUR, Life.kill))
    assert len(world.said("store_saved_again")) == 1
    assert world.statuses() == ["succeeded", "skipped", "skipped", "skipped"]
    assert life.notices.statuses[-1].startswith("tl: waiting for slot 4")


@pytest.mark.parametrize("begins_before", [5 * SECOND, NONE])
def test_disk_that_stalls_costs_no_slot_and_no_watchdog(rig, begins_before):
    """A save that doesn't come back counts as failed after a few seconds; when it does, the newest value is saved."""
    world = rig()
    world.define(every=MINUTE, n=6, grace=20 * SECOND)
    stall = (61 * MINUTE - begins_before, lambda life: life.disk_stalls(130 * SECOND))
    life = world.live(stall, (2 * HOUR, Life.kill), watchdog=MINUTE)
    assert world.statuses() == ["succeeded"] * 6
    (line,) = world.said("store_not_saved")
    assert line.startswith(f"{world.places.store} can't be written (no answer from the disk for 3 s); scans go on")
    assert len(world.said("store_saved_again")) == 1
    assert max(at - HOUR - slot * MINUTE for slot, at in enumerate(world.scans_at())) <= 3 * SECOND
    degraded = [status for status in life.notices.statuses if status.startswith("DEGRADED")]
    assert degraded == ["DEGRADED: store can't be written (no answer from the disk for 3 s), scans go on"]


def test_save_that_stalls_never_costs_a_slot_its_short_grace(rig):
    """The limit of a save is half of what is left of the grace period, where that is short."""
    world = rig()
    world.behaviour, world.slow = lambda _: Behaviour(takes=SECOND), {Call.PREPARE: SECOND / 2}
    world.define(every=10 * SECOND, n=6, grace=SECOND, warmup=NONE)
    world.live((HOUR - SECOND, lambda life: life.disk_stalls(30 * SECOND)))
    assert world.statuses() == ["succeeded"] * 6


def test_save_that_stalled_and_then_failed_is_tried_again(rig):
    """The reason changes as soon as it is known."""
    world = rig()
    world.define(every=MINUTE, n=4)
    stall = (HOUR, lambda life: (life.disk_stalls(20 * SECOND), life.disk_fills(40 * SECOND)))
    world.live(stall)
    assert [said.partition("(")[2].partition(")")[0] for said in world.said("store_not_saved")] == [
        "no answer from the disk for 3 s",
        "File too large",
    ]
    assert len(world.said("store_saved_again")) == 1
    assert world.statuses() == ["succeeded"] * 4


def test_disk_that_is_slow_for_good_is_up_to_date_after_each_save(rig):
    """Each save takes longer than its limit: what is saved late counts, so that the daemon doesn't save for ever."""
    world = rig()
    world.define(every=10 * MINUTE, n=3)

    def stall_again(life):
        life.disk_stalls(5 * SECOND)
        life.clock.at(6 * SECOND, lambda: stall_again(life))

    world.live((HOUR - MINUTE, stall_again), (2 * HOUR, Life.kill))
    assert world.statuses() == ["succeeded"] * 3
    assert world.stored().state is TimeLapseState.COMPLETED


def test_archive_that_comes_back_after_it_was_refused_is_removed(rig):
    """The timelapse may go on meanwhile: then an archive would hold slots as they are not."""
    world = rig()
    world.define(every=HOUR, n=1)
    stall = (2 * HOUR, lambda life: (life.disk_stalls(20 * SECOND), life.define("next", HOUR, 1)))
    world.live(stall)
    assert "no answer from the disk" in world.said("definition_refused")[0]
    assert [timelapse.id for timelapse in world.archived()] == ["tl"]


def test_stop_waits_for_a_save_that_stalled(rig):
    """What is in memory alone would be lost."""
    world = rig()
    world.define(every=MINUTE, n=3)
    life = world.live((HOUR, lambda life: life.disk_stalls(50 * SECOND)), (HOUR + 40 * SECOND, Life.stop))
    assert life.ended is End.STOPPED
    assert world.statuses() == ["succeeded"]


def test_kill_while_a_save_stalls_leaves_the_value_before(rig):
    """The next start asks the driver what became of the attempt of which the disk knows nothing."""
    world = rig()
    world.define(every=MINUTE, n=3)
    world.live((HOUR - SECOND, lambda life: life.disk_stalls(50 * SECOND)), (HOUR + 40 * SECOND, Life.kill))
    assert world.statuses() == []
    world.live()
    assert world.stored().state is TimeLapseState.COMPLETED


def test_cancel_that_is_repeated_while_it_is_not_on_disk_says_so(rig):
    """By the store it never happened, and the person may have been told so by status."""
    world = rig()
    world.define(every=HOUR, n=4)
    full = (69 * MINUTE, lambda life: life.disk_fills(20 * MINUTE))
    world.live(full, (70 * MINUTE, Life.cancel), (71 * MINUTE, Life.cancel), (72 * MINUTE, Life.kill))
    assert world.said("request_refused") == [
        (
            "cancel by anna: there is no active timelapse to cancel; "
            "tl is cancelled, but that is not on disk yet (File too large)"
        )
    ]
