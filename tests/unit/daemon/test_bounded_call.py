"""Files that the loop itself reads, on a disk that doesn't answer."""

from __future__ import annotations

import pytest
from simulation import HOUR, MINUTE, NONE, SECOND, Bounded, Life

from plantimager.timelapse.domain.states import TimeLapseState


@pytest.mark.parametrize("before", [NONE, SECOND / 10, SECOND / 2])
def test_reload_whose_files_do_not_come_costs_no_slot(rig, before):
    """Not even right before it, with the shortest grace; the configuration in use is kept, and that is said."""
    world = rig()
    world.define(every=MINUTE, n=3, grace=NONE, warmup=10 * SECOND)

    def stalls(_: Life) -> None:
        world.slow[Bounded.READ] = 9 * SECOND

    world.live((HOUR - MINUTE, stalls), (HOUR - before, Life.reload), (HOUR + 5 * MINUTE, Life.stop))
    assert world.statuses() == ["succeeded"] * 3
    assert "can't be read: no answer from the disk for 0.2 s" in world.said("config_faulty")[0]


def test_definition_whose_disk_does_not_answer_begins_when_it_does(rig):
    """The timelapse before it has ended; nobody has to ask again."""
    world = rig()
    world.define(every=MINUTE, n=1)

    def following(life: Life) -> None:
        world.define(every=MINUTE, n=1, name="b", start=2 * HOUR)
        world.slow[Bounded.READ] = 9 * SECOND

    world.live((HOUR - 10 * SECOND, following), (HOUR + 10 * MINUTE, lambda _: world.slow.clear()))
    assert (world.stored().id, world.stored().state) == ("b", TimeLapseState.COMPLETED)
    assert len(world.said("definition_faulty")) == 1


def test_stop_is_not_held_up_by_a_definition_that_waits_for_its_disk(rig):
    """Nothing is tried any more by then."""
    world = rig()
    world.define(every=MINUTE, n=1)
    world.slow = {Bounded.READ: 9 * SECOND}
    life = world.live((HOUR + 2 * MINUTE, Life.stop))
    assert life.clock.elapsed < HOUR + 3 * MINUTE


def test_store_whose_disk_does_not_answer_at_a_start_is_unreadable(rig):
    """The service manager tries again, and the store is left as it is."""
    world = rig()
    world.define(every=MINUTE, n=1)
    world.live((MINUTE, Life.kill))
    before = world.places.store.read_bytes()
    world.slow = {Bounded.READ: 10 * MINUTE}
    with pytest.raises(Exception, match="no answer from the disk for 1 min"):
        world.live()
    assert world.places.store.read_bytes() == before
