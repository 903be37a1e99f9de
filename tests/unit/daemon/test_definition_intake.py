"""The definition in the configuration directory: when it begins, waits, or is refused."""

from __future__ import annotations

import errno
import json

import pytest
from simulation import DAY, HOUR, MINUTE, SECOND, START, YEAR, Behaviour, Boot, Life
from virtual_time import FROM_RTC

from plantimager.timelapse.domain.states import TimeLapseState
from plantimager.timelapse.settings.config import Missed
from plantimager.timelapse.support.errors import ScanFailed


def test_definition_that_was_told_to_wait_begins_when_the_other_has_ended(rig):
    """As its refusal says; and its own one is not told to be done at that moment."""
    world = rig()
    world.define(every=HOUR, n=2, name="a")
    following = [lambda _: world.define(every=HOUR, n=3, name="b", start=5 * HOUR), Life.reload]
    world.live(*((HOUR + MINUTE, do) for do in following))
    assert world.taken("a") == [0, 1]
    assert world.taken("b") == [0, 1, 2]
    assert world.said("definition_done") == []


def test_definition_that_lies_ready_begins_when_the_other_is_cancelled(rig):
    """By one and the same reload."""
    world = rig()
    world.define(every=HOUR, n=3, name="a")
    following = [lambda _: world.define(every=HOUR, n=3, name="b", start=3 * HOUR), Life.cancel]
    world.live(*((HOUR + MINUTE, do) for do in following))
    assert (world.taken("a"), world.taken("b")) == ([0], [0, 1, 2])
    assert world.said("definition_refused") == []


def test_definition_that_is_refused_with_a_cancellation_is_told_once(rig):
    """It has a name that was used before."""
    world = rig()
    world.define(every=HOUR, n=3)
    changed = [lambda _: world.define(every=HOUR, n=4), Life.cancel]
    world.live(*((HOUR + MINUTE, do) for do in changed))
    assert len(world.said("definition_refused")) == 1


@pytest.mark.parametrize("lie", [8 * HOUR, YEAR])
@pytest.mark.parametrize("missed", Missed)
def test_definition_that_lies_ready_does_not_push_aside_what_a_lying_clock_has_ended(rig, lie, missed):
    """The slots come back with the right time; a line says how to begin the other all the same."""
    world = rig(missed=missed)
    world.define(every=HOUR, n=10, name="a")
    there, back = (lambda life: life.shift(lie)), (lambda life: life.shift(-lie))
    world.live(
        (HOUR + MINUTE, lambda _: world.define(every=HOUR, n=3, name="b", start=lie + DAY)),
        (90 * MINUTE, there),
        (121 * MINUTE, back),
    )
    assert sorted(world.taken("a")) == list(range(10))
    announced = world.said("definition_waits")[0]
    assert announced.startswith("b isn't begun by itself: the clock was set forward over slots of a, ")
    assert announced.endswith("; systemctl reload begins it")


def test_restart_while_the_clock_lies_begins_nothing_either(rig):
    """Power cuts and the watchdog ask nobody."""
    world = rig()
    world.define(every=HOUR, n=5, name="a")
    world.live(
        (HOUR + MINUTE, lambda _: world.define(every=HOUR, n=3, name="b", start=3 * DAY)),
        (90 * MINUTE, lambda life: life.shift(DAY)),
        (91 * MINUTE, Life.kill),
    )
    world.live((20 * MINUTE, lambda life: life.shift(-DAY)), off=5 * SECOND)
    assert (world.taken("a"), world.taken("b")) == ([0, 1, 2, 3, 4], [0, 1, 2])
    first, second = world.said("definition_waits")
    assert first == second


def test_definition_that_lies_ready_begins_when_no_slot_of_the_other_can_come_back(rig):
    """A failure has ended that, though the clock was once set forward over a slot of it."""
    world = rig()
    world.define(every=HOUR, n=4, name="a", policy="fail_timelapse")
    world.behaviour = lambda request: Behaviour(problem=ScanFailed("blurred") if request.index == 2 else None)
    world.live(
        (HOUR + MINUTE, lambda _: world.define(every=HOUR, n=2, name="b", start=DAY)),
        (90 * MINUTE, lambda life: life.shift(HOUR)),
    )
    assert world.archived()[0].state is TimeLapseState.FAILED
    assert world.taken("b") == [0, 1]


def test_history_that_can_not_be_searched_ends_no_timelapse(rig, monkeypatch):
    """Root once ran a daemon by hand, and the directory is root's: the slots that a lying clock closed come back."""
    world = rig()
    world.define(every=HOUR, n=10, name="a")
    exists = type(world.places.history).exists

    def refused(path):
        if path.parent == world.places.history:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return exists(path)

    world.live(
        (HOUR + MINUTE, lambda _: world.define(every=HOUR, n=3, name="b", start=8 * HOUR + DAY)),
        (HOUR + MINUTE, lambda _: monkeypatch.setattr(type(world.places.history), "exists", refused)),
        (90 * MINUTE, lambda life: life.shift(8 * HOUR)),
        (121 * MINUTE, lambda life: life.shift(-8 * HOUR)),
    )
    assert sorted(world.taken("a")) == list(range(10))


def test_definition_that_is_over_is_refused_and_its_name_stays_free(rig):
    """A year mistyped is mended in a minute."""
    world = rig()
    world.define(every=HOUR, n=3, start=-YEAR)
    world.live((MINUTE, lambda _: world.define(every=HOUR, n=3)), (MINUTE, Life.reload))
    assert world.said("definition_refused") == [
        "tl can't start: its last slot was 22 Jun 2025 10:00; look at the dates in it, the year included"
    ]
    assert world.taken() == [0, 1, 2]


def test_definition_that_only_a_wrong_clock_called_over_begins_when_that_is_set_right(rig):
    """Nobody has to reload anything for it."""
    world = rig()
    world.define(every=HOUR, n=3)
    world.live(boot=Boot(wrong_by=YEAR, evidence=FROM_RTC, ntp_after=MINUTE))
    assert world.said("definition_refused") != []
    assert world.taken() == [0, 1, 2]


def test_what_had_to_be_understood_of_a_definition_is_in_the_journal(rig):
    """A person who starts it by hand is told at the terminal."""
    world = rig()
    world.define(at=[2 * HOUR, HOUR])
    world.live((MINUTE, Life.kill))
    assert world.said("definition_accepted")[0].endswith("; the dates were not in order of time and have been sorted")


def test_draft_that_made_room_leaves_its_name_to_the_definition(rig):
    """It is archived as a draft, and no timelapse of that name has ended there."""
    world = rig()
    world.define(every=HOUR, n=2)
    draft = {"timelapse_id": "tl", "mode": "one_shot", "state": "configured", "schedule_times": [START.isoformat()]}
    world.places.store.parent.mkdir()
    world.places.store.write_text(json.dumps(draft))
    world.live()
    assert world.taken() == [0, 1]
    assert [path.name for path in world.places.history.iterdir()] == ["tl-draft.json"]


def test_definition_that_comes_after_the_end_waits_for_a_reload(rig):
    """A person may still be writing it; the loop's next turn is no reason to read it."""
    world = rig()
    world.define(name="a")
    world.live(
        (2 * HOUR, lambda _: world.define(start=DAY, name="b")),
        (3 * HOUR, lambda life: life.clock.wake()),
        (4 * HOUR, lambda life: life.kill()),
    )
    assert world.stored().id == "a"
    world.live((HOUR, Life.reload), (2 * HOUR, Life.kill))
    assert world.stored().id == "b"
