"""The definition in the configuration directory: when it begins, waits, or is refused."""

from __future__ import annotations

import errno
import json
from datetime import timedelta
from pathlib import Path

import pytest
from simulation import DAY, HOUR, MINUTE, SECOND, START, YEAR, Behaviour, Boot, Bounded, Life
from virtual_time import FROM_RTC

from plantimager.timelapse.channel.control_client import DECISION_SECONDS, SILENCE_SECONDS
from plantimager.timelapse.channel.control_request import Request
from plantimager.timelapse.channel.live import read_live
from plantimager.timelapse.daemon.definition_intake import CHECK_TIMEOUT
from plantimager.timelapse.daemon.store_keeper import SAVE_TIMEOUT
from plantimager.timelapse.domain.states import TimeLapseState
from plantimager.timelapse.settings.config import Missed
from plantimager.timelapse.settings.definition import parse_definition
from plantimager.timelapse.support.errors import ScanFailed


def test_definition_that_waits_begins_when_the_active_timelapse_has_ended(rig):
    """As its refusal says. The ended timelapse's own definition is not logged as done."""
    world = rig()
    world.define(every=HOUR, n=2, name="a")
    following = [lambda _: world.define(every=HOUR, n=3, name="b", start=5 * HOUR), Life.reload]
    world.live(*((HOUR + MINUTE, do) for do in following))
    assert world.taken("a") == [0, 1]
    assert world.taken("b") == [0, 1, 2]
    assert world.said("definition_done") == []


def test_definition_that_waits_begins_when_the_active_timelapse_is_cancelled(rig):
    """In the same reload."""
    world = rig()
    world.define(every=HOUR, n=3, name="a")
    following = [lambda _: world.define(every=HOUR, n=3, name="b", start=3 * HOUR), Life.cancel]
    world.live(*((HOUR + MINUTE, do) for do in following))
    assert (world.taken("a"), world.taken("b")) == ([0], [0, 1, 2])
    assert world.said("definition_refused") == []


@pytest.mark.parametrize("trouble", [lambda life: life.disk_stalls(50 * SECOND), lambda life: life.disk_fills(MINUTE)])
def test_definition_that_waits_begins_when_the_disk_can_archive_the_last_timelapse(rig, trouble):
    """The save of its last slot stalls, or finds no space, and so does the archive: logged once, then tried again."""
    world = rig()
    world.define(every=HOUR, n=2, name="a")
    following = [lambda _: world.define(every=HOUR, n=2, name="b", start=5 * HOUR), Life.reload]
    world.live(*((HOUR + MINUTE, do) for do in following), (2 * HOUR + 20 * SECOND, trouble))
    assert (world.taken("a"), world.taken("b")) == ([0, 1], [0, 1])
    assert len([line for line in world.said("definition_refused") if "can't be put into" in line]) == 1
    assert [timelapse.id for timelapse in world.archived()] == ["a"]


def test_definition_that_is_refused_at_a_cancellation_is_logged_once(rig):
    """Its name was used before."""
    world = rig()
    world.define(every=HOUR, n=3)
    changed = [lambda _: world.define(every=HOUR, n=4), Life.cancel]
    world.live(*((HOUR + MINUTE, do) for do in changed))
    assert len(world.said("definition_refused")) == 1


@pytest.mark.parametrize("lie", [8 * HOUR, YEAR])
@pytest.mark.parametrize("missed", Missed)
def test_definition_that_waits_does_not_replace_a_timelapse_that_a_wrong_clock_ended(rig, lie, missed):
    """Its slots are reopened with the right time. A line says how a person can begin the definition all the same."""
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


def test_restart_under_a_wrong_clock_accepts_no_definition(rig):
    """A power cut or the watchdog is no request of a person."""
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


def test_definition_that_waits_begins_where_no_slot_can_be_reopened(rig):
    """A failure has ended the timelapse, though the clock was once set forward over a slot of it."""
    world = rig()
    world.define(every=HOUR, n=4, name="a", policy="fail_timelapse")
    world.behaviour = lambda request: Behaviour(problem=ScanFailed("blurred") if request.index == 2 else None)
    world.live(
        (HOUR + MINUTE, lambda _: world.define(every=HOUR, n=2, name="b", start=DAY)),
        (90 * MINUTE, lambda life: life.shift(HOUR)),
    )
    assert world.archived()[0].state is TimeLapseState.FAILED
    assert world.taken("b") == [0, 1]


def test_archive_that_can_not_be_searched_ends_no_timelapse(rig, monkeypatch):
    """The directory may belong to root. The slots that a wrong clock has closed are reopened all the same."""
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
    """A mistyped year is corrected in a minute."""
    world = rig()
    world.define(every=HOUR, n=3, start=-YEAR)
    world.live((MINUTE, lambda _: world.define(every=HOUR, n=3)), (MINUTE, Life.reload))
    assert world.said("definition_refused") == [
        "tl can't start: its last slot was 22 Jun 2025 10:00; look at the dates in it, the year included"
    ]
    assert world.taken() == [0, 1, 2]


def test_definition_that_was_over_by_a_wrong_clock_begins_when_the_clock_is_set_right(rig):
    """Without a reload."""
    world = rig()
    world.define(every=HOUR, n=3)
    world.live(boot=Boot(wrong_by=YEAR, evidence=FROM_RTC, ntp_after=MINUTE))
    assert world.said("definition_refused") != []
    assert world.taken() == [0, 1, 2]


def test_notes_on_a_definition_are_in_the_journal(rig):
    """The file is read without a person at a terminal."""
    world = rig()
    world.define(at=[2 * HOUR, HOUR])
    world.live((MINUTE, Life.kill))
    assert world.said("definition_accepted")[0].endswith("; the dates were not in order of time and have been sorted")


def test_name_of_a_draft_stays_free_for_a_definition(rig):
    """It is archived as a draft, not as a timelapse that has ended."""
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


def definition_notes(life):
    """Return what the live status says of definitions."""
    return [note for note in read_live(life.world.places.store).notes if note.startswith("definition ")]


def test_definition_that_is_refused_stands_in_the_status_until_one_begins(rig):
    """The line in the journal is long gone by the time that somebody looks."""
    world, seen = rig(), []
    look = lambda life: seen.append(definition_notes(life))  # noqa: E731 - a moment of the story
    world.define(every=HOUR, n=2, name="a")
    world.live(
        (MINUTE, look),
        (MINUTE, lambda _: world.define(every=HOUR, n=3, name="b", start=5 * HOUR)),
        (MINUTE, Life.reload),
        (2 * MINUTE, look),
        (3 * HOUR, look),
    )
    before, refused, begun = seen
    assert (before, begun) == ([], [])
    assert len(refused) == 1
    assert "definition refused at 08:01: b can't start: a is active, 0 of 2 slots are done; cancel it" in refused[0]


@pytest.mark.parametrize("refused", ["tl", "b"])
def test_refusal_of_changes_stands_in_the_status_until_the_timelapse_is_amended(rig, refused):
    """That of another definition, which waits for its end, stays."""
    world, seen = rig(), []
    look = lambda life: seen.append(definition_notes(life))  # noqa: E731 - a moment of the story
    world.define(every=HOUR, n=3)
    world.live(
        (MINUTE, lambda _: world.define(every=HOUR, n=4, name=refused)),
        (MINUTE, Life.reload),
        (2 * MINUTE, look),
        (3 * MINUTE, lambda life: life.amend(2 * HOUR, 4)),
        (4 * MINUTE, look),
        (5 * MINUTE, Life.kill),
    )
    before, after = seen
    assert len(before) == 1
    assert after == ([] if refused == "tl" else before)


def test_faulty_definition_stands_in_the_status_until_it_is_gone(rig):
    """Nothing is taken meanwhile, and somebody believes that it is."""
    world, seen = rig(), []
    look = lambda life: seen.append(definition_notes(life))  # noqa: E731 - a moment of the story
    world.define(every=HOUR, n=2)
    path = world.places.find_definition()
    path.write_text("[timelapse]\nmode = 3\n")
    world.live(
        (MINUTE, look), (MINUTE, lambda _: path.unlink()), (MINUTE, Life.reload), (2 * MINUTE, look), (HOUR, Life.kill)
    )
    faulty, gone = seen
    assert "definition faulty at " in faulty[0]
    assert "mode = 3" in faulty[0]
    assert gone == []


def test_timelapse_that_was_cancelled_in_time_gives_its_name_back(rig):
    """Its corrected definition begins under the same name; the first one's store is kept beside the second's."""
    world = rig()
    world.define(every=HOUR, n=3)
    world.live(
        (MINUTE, Life.cancel),
        (2 * MINUTE, lambda _: world.define(every=HOUR, n=2)),
        (2 * MINUTE, Life.reload),
    )
    assert world.taken() == [0, 1]
    assert sorted(path.name for path in world.places.history.iterdir()) == ["tl-cancelled.json"]
    world.define(every=HOUR, n=2, start=30 * HOUR)
    world.live()
    assert world.said("definition_refused")[-1].startswith("tl can't start: a timelapse of that name has already ended")


def test_cancelled_timelapse_is_not_brought_back_by_its_unchanged_definition(rig):
    """Neither by a reload nor by a start, nor when the timelapse after it has ended."""
    world = rig()
    world.define(every=HOUR, n=3, start=40 * HOUR)
    text = world.places.find_definition().read_text()
    world.live((MINUTE, Life.cancel), (2 * MINUTE, Life.reload), (3 * MINUTE, Life.kill))
    world.live(
        (MINUTE, lambda _: world.define(name="b", start=2 * HOUR)),
        (MINUTE, Life.reload),
        (2 * MINUTE, lambda _: world.places.find_definition().write_text(text)),
        (10 * HOUR, Life.reload),
        (11 * HOUR, Life.kill),
    )
    assert (world.taken("b"), world.taken("tl")) == ([0], [])
    assert world.stored().id == "b"


@pytest.mark.parametrize("name", ["tl", "next"])
def test_nothing_begins_before_the_cancelled_scan_has_stopped(rig, name):
    """It may yet end whole, and if it hangs, the next daemon asks for it; then the new one begins by itself."""
    world = rig()
    world.behaviour = lambda _: Behaviour(takes=5 * MINUTE, stops_in=20 * SECOND)
    world.define(every=HOUR, n=3)
    world.live(
        (HOUR + MINUTE, lambda _: world.define(every=HOUR, n=2, start=3 * HOUR, name=name)),
        (HOUR + MINUTE, Life.cancel),
    )
    refused = (
        f"{name} can't start yet: the scan of tl_0, which was cancelled, has not stopped; {name} begins as soon as"
    )
    assert refused in world.said("definition_refused")[0]
    assert len(world.said("definition_refused")) == 1
    assert world.taken(name) == [0, 1]


@pytest.mark.parametrize("leaves", [True, False])
def test_definition_whose_person_has_left_during_the_check_is_not_begun(rig, leaves):
    """They were told that nothing more is asked; a driver may take long to check it."""
    world = rig()
    world.define(every=HOUR, n=1, name="a")

    def ask(life):
        world.define(every=HOUR, n=2, name="b", start=5 * HOUR)
        written = world.directory / "config" / "timelapse.toml"
        request = Request("start", {}, "anna", print)
        request.content = parse_definition(written.read_bytes(), Path("b.toml"))
        written.unlink()
        life.daemon.requests._append(request)
        world.slow[Bounded.CHECK] = 9 * SECOND
        if leaves:
            life.clock.at(5 * SECOND, request.withdraw)

    world.live((3 * HOUR, ask), (3 * HOUR + SECOND, lambda life: life.clock.wake()))
    assert world.taken("b") == ([] if leaves else [0, 1])
    assert [timelapse.id for timelapse in world.archived()] == ([] if leaves else ["a"])


def test_client_waits_longer_than_a_decision_takes_at_most():
    """Else it would be told that nothing is asked any more, and then the timelapse begins."""
    reads = 3 * SAVE_TIMEOUT  # the configuration, the last store's name, the archive's
    fits = CHECK_TIMEOUT * 3  # the check, the estimate, the notes
    archive_and_save = 2 * SAVE_TIMEOUT
    assert timedelta(seconds=DECISION_SECONDS) > reads + fits + archive_and_save
    amends = CHECK_TIMEOUT * 4 + 3 * SAVE_TIMEOUT  # beside the loop, also the names; the configuration twice, the save
    assert timedelta(seconds=DECISION_SECONDS) > amends
    assert DECISION_SECONDS % SILENCE_SECONDS == 0


def test_cancelled_timelapse_that_was_amended_is_not_brought_back_by_its_first_definition(rig):
    """It lies in the configuration directory yet, and nobody has asked for it again."""
    world = rig()
    world.define(every=HOUR, n=3)
    world.live(
        (MINUTE, lambda life: life.amend(2 * HOUR, 4)),
        (2 * MINUTE, Life.reload),
        (3 * MINUTE, Life.cancel),
        (4 * MINUTE, Life.reload),
        (5 * MINUTE, Life.kill),
    )
    world.live((8 * HOUR, Life.kill))
    assert (world.taken(), world.stored().state) == ([], TimeLapseState.CANCELLED)
    assert world.said("definition_refused") == []
    assert world.said("definition_done")[0].startswith("tl was taken up before, was amended since, and is scheduled")


@pytest.mark.parametrize("hangs", [False, True])
def test_slot_fires_on_time_while_the_driver_checks_an_amendment(rig, hangs):
    """It may take ten seconds; the loop goes on meanwhile, and the slot that was due stays as it was."""
    world, asked = rig(), []

    def amend(life):
        world.slow[Bounded.CHECK] = 9 * SECOND
        world.hangs |= {Bounded.CHECK} if hangs else set()
        asked.append(life.amend(HOUR, 4))

    world.define(every=HOUR, n=3)
    world.live((HOUR - 4 * SECOND, amend))
    (answer,) = asked[0].answers
    assert world.stored().records[0].started_at == START + HOUR
    assert answer.accepted is not hangs
    assert world.stored().n_slots == (3 if hangs else 5)
    assert "failed to check it" in answer.message if hangs else "2 slots to come become 4" in answer.message


def test_two_amendments_are_checked_one_after_the_other(rig):
    """A driver is asked about one definition at a time; the person of the other tries again."""
    world, asked = rig(), []
    world.define(every=HOUR, n=3)
    world.live(
        (MINUTE, lambda _: world.slow.update({Bounded.CHECK: 9 * SECOND})),
        (MINUTE, lambda life: asked.append(life.amend(2 * HOUR, 4))),
        (MINUTE + SECOND, lambda life: asked.append(life.amend(3 * HOUR, 4))),
        (2 * MINUTE, lambda life: asked.append(life.amend(3 * HOUR, 2))),
    )
    first, second, third = (each.answers[0] for each in asked)
    assert (first.accepted, second.accepted, third.accepted) == (True, False, True)
    assert "another amendment is being checked; try again in a moment" in second.message


def test_amendment_whose_person_leaves_during_the_check_changes_nothing(rig):
    """They were told that nothing more is asked."""
    world = rig()
    world.define(every=HOUR, n=3)
    world.live(
        (MINUTE, lambda _: world.slow.update({Bounded.CHECK: 9 * SECOND})),
        (MINUTE, lambda life: life.clock.at(5 * SECOND, life.amend(2 * HOUR, 4).request.withdraw)),
    )
    assert world.taken() == [0, 1, 2]
    assert world.said("amended") == []
