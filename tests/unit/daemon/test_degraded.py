"""The schedule while the store can't be written."""

from __future__ import annotations

import logging

from simulation import HOUR, MINUTE, Life


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
