"""A pause of the daemon: no slot is taken in it, none is lost beside it, over restarts and outages."""

from __future__ import annotations

from datetime import timedelta

import pytest
from simulation import HOUR, MINUTE, NONE, SECOND, START, Behaviour, Life

from plantimager.timelapse.domain.states import Reason
from plantimager.timelapse.drivers.base import Call
from plantimager.timelapse.support.errors import ScannerNotReady

EVERY = 10 * MINUTE


def pause_for(duration=None):
    return lambda life: life.pause_for(duration)


def test_slots_of_a_pause_are_skipped_at_their_time_and_the_rest_goes_on(rig):
    """The rig is in standby, and not prepared before the pause is over."""
    world = rig()
    world.define(every=EVERY, start=NONE, n=6)
    world.live((5 * MINUTE, pause_for()), (25 * MINUTE, Life.resume))
    assert world.statuses() == ["succeeded", "skipped", "skipped", "succeeded", "succeeded", "succeeded"]
    assert world.reasons()[1:3] == [Reason.PAUSED, Reason.PAUSED]
    assert [line.at - START for line in world.journal if line.action == "slot_paused"] == [EVERY, 2 * EVERY]
    prepared = [after for call, after in world.calls() if call == Call.PREPARE]
    assert not [after for after in prepared if 5 * MINUTE <= after < 25 * MINUTE]
    assert world.said("paused") == [
        "tl: paused by anna until timelapsectl resume; slots that fall due meanwhile are skipped"
    ]
    assert world.said("pause_ended")[0].startswith("tl: by ben; next slot 3 at ")


def test_pause_ends_by_itself(rig):
    """At the second: the slot then is taken."""
    world = rig()
    world.define(every=EVERY, start=NONE, n=4)
    world.live((5 * MINUTE, pause_for(15 * MINUTE)))
    assert world.reasons() == [None, Reason.PAUSED, None, None]
    assert world.scans_at()[1] - 2 * EVERY <= 2 * SECOND, "its rig is prepared when the pause is over"
    assert world.said("pause_ended")[0].startswith("tl: its time is over; next slot 2 at ")


def test_scan_under_way_is_finished(rig):
    """Only the slots after it are skipped."""
    world = rig()
    world.define(every=EVERY, start=MINUTE, n=3)
    life = world.live((MINUTE + SECOND / 2, pause_for()), (25 * MINUTE, Life.resume))
    assert world.statuses() == ["succeeded", "skipped", "skipped"]
    assert "tl: paused until timelapsectl resume; 1 taken" in life.notices.statuses


def test_slots_that_fell_due_in_a_pause_are_not_taken_where_it_ends_during_a_scan(rig):
    """It doesn't matter whether the scan that was under way is done by then."""
    world = rig()
    world.behaviour = lambda _: Behaviour(takes=25 * MINUTE, progress=10 * SECOND)
    world.define(every=EVERY, start=MINUTE, n=6, grace=HOUR)
    world.live((2 * MINUTE, pause_for()), (23 * MINUTE, Life.resume))
    assert world.reasons()[:4] == [None, Reason.PAUSED, Reason.PAUSED, None]
    assert world.stored().last_pause.ended_by == "ben"
    assert [words.split(";")[0] for words in world.said("pause_ended")] == ["tl: by ben"]


def test_slot_that_a_long_scan_had_missed_before_the_pause_is_not_one_of_it(rig):
    """A person is told what they have paused, and what the rig was too slow for."""
    world = rig()
    world.behaviour = lambda _: Behaviour(takes=35 * MINUTE, progress=10 * SECOND)
    world.define(every=EVERY, start=MINUTE, n=5, grace=MINUTE)
    world.live((15 * MINUTE, pause_for()), (HOUR, Life.resume))
    assert world.reasons() == [None, Reason.MISSED, Reason.PAUSED, Reason.PAUSED, Reason.PAUSED]


def test_second_pause_in_a_scan_forgets_no_slot_of_the_first(rig):
    """What fell due between the two is skipped as well: a person is in the rig."""
    world = rig()
    world.behaviour = lambda _: Behaviour(takes=25 * MINUTE, progress=10 * SECOND)
    world.define(every=EVERY, start=MINUTE, n=4, grace=HOUR)
    world.live(
        (2 * MINUTE, pause_for()), (13 * MINUTE, Life.resume), (14 * MINUTE, pause_for()), (15 * MINUTE, Life.resume)
    )
    assert world.reasons()[:3] == [None, Reason.PAUSED, None]


def test_pause_that_begins_by_a_clock_that_is_ahead_holds_when_that_is_set_right(rig):
    """Slots that fall due in it are skipped at their time, as others are."""
    world = rig()
    world.define(every=EVERY, start=NONE, n=8)
    world.live(
        (MINUTE, lambda life: life.shift(35 * MINUTE)),
        (2 * MINUTE, pause_for()),
        (3 * MINUTE, lambda life: life.shift(-35 * MINUTE)),
        (EVERY + 20 * SECOND, Life.resume),
    )
    assert world.reasons() == [None, Reason.PAUSED, *[None] * 6]
    assert world.stored().last_pause.since < world.stored().last_pause.until


def test_pause_goes_on_when_a_clock_that_was_ahead_is_set_right(rig):
    """A person is in the rig until the end that was said."""
    world = rig()
    world.define(every=EVERY, start=NONE, n=6)
    day = timedelta(days=1)
    world.live(
        (5 * MINUTE, pause_for(40 * MINUTE)),
        (6 * MINUTE, lambda life: life.shift(day)),
        (8 * MINUTE, lambda life: life.shift(-day)),
    )
    assert world.reasons() == [None, *[Reason.PAUSED] * 4, None]
    assert [words.split(";")[0] for words in world.said("pause_ended")] == ["tl: its time is over"] * 2


def test_pause_survives_a_power_cut(rig):
    """It is on disk when it is answered; an outage within it costs nothing but its slots."""
    world = rig()
    world.define(every=EVERY, start=NONE, n=6)
    world.live((5 * MINUTE, pause_for()), (6 * MINUTE, Life.kill))
    world.live((MINUTE, Life.resume), off=20 * MINUTE)
    assert world.reasons() == [None, Reason.PAUSED, Reason.PAUSED, None, None, None]
    assert world.said("resumed")[-1].endswith("; paused by anna until timelapsectl resume")


def test_pause_that_ends_while_the_machine_is_off_costs_only_its_own_slots(rig):
    """What came after it was missed because the rig was off."""
    world = rig()
    world.define(every=EVERY, start=NONE, n=8)
    world.live((5 * MINUTE, pause_for(20 * MINUTE)), (6 * MINUTE, Life.kill))
    world.live(off=40 * MINUTE)
    assert world.reasons()[1:5] == [Reason.PAUSED, Reason.PAUSED, Reason.MISSED, Reason.MISSED]
    assert world.statuses()[5:] == ["succeeded"] * 3


def test_newest_of_the_missed_slots_is_not_taken_for_one_of_a_pause(rig):
    """``missed = "run_latest"`` is about outages."""
    world = rig(missed="run_latest")
    world.define(every=EVERY, start=NONE, n=4)
    world.live((5 * MINUTE, pause_for()), (21 * MINUTE, Life.resume))
    assert world.reasons() == [None, Reason.PAUSED, Reason.PAUSED, None]


def test_manual_command_is_carried_out_in_a_pause_at_any_time(rig):
    """A person has paused the timelapse for that."""
    world = rig()
    world.define(every=EVERY, start=NONE, n=3)
    asked = []
    at_the_slot = (EVERY - 5 * SECOND, lambda life: asked.append(life.ask()))
    world.live((5 * MINUTE, pause_for()), at_the_slot, (HOUR, Life.resume))
    assert asked[0].answers[0].accepted


def test_what_cannot_be_paused_is_refused(rig):
    """Each refusal has its reason."""
    world = rig()
    world.define(every=HOUR, n=2, start=NONE)
    asked = []

    def ask(*what):
        return lambda life: asked.append(life.request(*what))

    world.live(
        (MINUTE, ask("resume", {})),
        (2 * MINUTE, ask("pause", {"until": START.isoformat()})),
        (3 * MINUTE, ask("pause", {"until": "tomorrow"})),
        (4 * MINUTE, ask("pause", {"until": 7})),
        (5 * MINUTE, ask("pause", {"until": "9999-12-31T23:59:59-14:00"})),
        (6 * MINUTE, Life.cancel),
        (7 * MINUTE, ask("pause", {})),
        (8 * MINUTE, ask("resume", {})),
    )
    answers = [each.answers[0] for each in asked]
    assert not any(answer.accepted for answer in answers)
    words = [answer.message for answer in answers]
    assert words[0].startswith("tl is not paused; next slot 1 at ")
    assert "is over; it is" in words[1]
    assert words[2].startswith("until: not a date and time")
    assert words[3] == "until: write a text"
    assert words[4].startswith("until: ")
    assert words[5] == "there is no active timelapse that could be paused"
    assert words[6] == "there is no active timelapse that could be resumed"


def test_prepare_that_is_queued_when_a_pause_begins_is_not_made(rig):
    """The rig was still powering down for a long time; a person may be in it as soon as the pause is told."""
    world = rig(stall_timeout=HOUR)
    world.slow = {Call.STANDBY: 8 * MINUTE}
    world.define(every=EVERY, start=10 * MINUTE, n=4, warmup=4 * MINUTE, standby_threshold=8 * MINUTE)
    world.live((7 * MINUTE, pause_for()), (25 * MINUTE, Life.resume))
    prepared = [after for call, after in world.calls() if call == Call.PREPARE]
    assert [after for after in prepared if after < 25 * MINUTE] == []
    assert world.statuses() == ["skipped", "skipped", "succeeded", "succeeded"]


def test_pause_that_takes_a_prepare_back_has_the_rig_put_into_standby_once(rig):
    """A standby was under way: a second one behind it would cost the slot after a short pause."""
    world = rig(stall_timeout=HOUR)
    world.slow = {Call.STANDBY: 8 * MINUTE}
    world.define(every=EVERY, start=10 * MINUTE, n=2, warmup=4 * MINUTE, standby_threshold=8 * MINUTE)
    world.live(
        (7 * MINUTE, pause_for()),
        (7 * MINUTE + 20 * SECOND, Life.resume),
        (7 * MINUTE + 30 * SECOND, pause_for()),
        (8 * MINUTE, Life.resume),
    )
    assert world.calls()[:2] == [(Call.STANDBY, NONE), (Call.PREPARE, 8 * MINUTE)]
    assert world.statuses() == ["succeeded"] * 2


def test_pauses_during_a_prepare_have_the_rig_put_into_standby_once(rig):
    """The second pause takes back a prepare that was queued behind the standby of the first."""
    world = rig(stall_timeout=HOUR)
    world.slow = {Call.PREPARE: 2 * MINUTE}
    world.define(every=EVERY, start=10 * MINUTE, n=2, warmup=4 * MINUTE, standby_threshold=8 * MINUTE)
    world.live(
        (6 * MINUTE + 10 * SECOND, pause_for()),
        (6 * MINUTE + 20 * SECOND, Life.resume),
        (6 * MINUTE + 30 * SECOND, pause_for()),
        (6 * MINUTE + 40 * SECOND, Life.resume),
    )
    begun = world.calls()
    assert begun[:2] == [(Call.STANDBY, NONE), (Call.PREPARE, 6 * MINUTE)]
    assert begun[2:4] == [(Call.STANDBY, 8 * MINUTE), (Call.PREPARE, 8 * MINUTE + SECOND)]
    assert world.statuses() == ["succeeded"] * 2


def test_pause_in_a_scan_begins_earlier_when_the_clock_is_set_back(rig):
    """What falls due in it by the clock as it is now is skipped, as its beginning moves with the clock."""
    world = rig()
    world.behaviour = lambda _: Behaviour(takes=9 * MINUTE, progress=10 * SECOND)
    world.define(every=EVERY, start=NONE, n=5, grace=HOUR)
    seen = []
    world.live(
        (MINUTE, lambda life: life.shift(35 * MINUTE)),
        (2 * MINUTE, pause_for()),
        (3 * MINUTE, lambda life: life.shift(-35 * MINUTE)),
        (4 * MINUTE, lambda life: seen.append((life.timelapse.pause.since - START, life.timelapse.state.value))),
        (15 * MINUTE, Life.resume),
    )
    assert seen == [(2 * MINUTE, "running")]
    assert world.reasons() == [None, Reason.PAUSED, None, None, None]


def test_pause_that_was_ended_in_a_scan_ended_earlier_when_the_clock_is_set_back(rig):
    """Slots after its end are taken, though the clock that was ahead had shown their time in it."""
    world = rig()
    world.behaviour = lambda _: Behaviour(takes=9 * MINUTE, progress=10 * SECOND)
    world.define(every=EVERY, start=NONE, n=5, grace=HOUR)
    world.live(
        (MINUTE, lambda life: life.shift(35 * MINUTE)),
        (2 * MINUTE, pause_for()),
        (3 * MINUTE, Life.resume),
        (4 * MINUTE, lambda life: life.shift(-35 * MINUTE)),
    )
    assert world.statuses() == ["succeeded"] * 5


@pytest.mark.parametrize("ahead", [NONE, 10 * MINUTE])
def test_pause_in_a_scan_begins_no_earlier_for_a_clock_that_is_set_forward_and_back(rig, ahead):
    """A slot from before it isn't lost to it: that waited for the scan, and is within its grace period."""
    world = rig()
    world.behaviour = lambda request: Behaviour(takes=25 * MINUTE if request.index == 0 else MINUTE)
    world.define(every=EVERY, start=NONE, n=6, grace=HOUR)
    seen = []
    world.live(
        (14 * MINUTE, lambda life: life.shift(ahead)),
        (15 * MINUTE, pause_for()),
        (16 * MINUTE, lambda life: life.shift(35 * MINUTE)),
        (17 * MINUTE, lambda life: life.shift(-35 * MINUTE - ahead)),
        (18 * MINUTE, lambda life: seen.append(life.timelapse.pause.since - START)),
        (19 * MINUTE, Life.resume),
    )
    assert seen == [17 * MINUTE if ahead else 15 * MINUTE]
    assert world.statuses() == ["succeeded"] * 6


def test_end_of_a_pause_in_a_scan_follows_the_clock_by_which_it_was_told(rig):
    """The clock was set forward after the pause began: of that the beginning knows nothing."""
    world = rig()
    world.behaviour = lambda request: Behaviour(takes=25 * MINUTE if request.index == 0 else MINUTE)
    world.define(every=EVERY, start=NONE, n=6, grace=HOUR)
    world.live(
        (15 * MINUTE, pause_for()),
        (16 * MINUTE, lambda life: life.shift(35 * MINUTE)),
        (17 * MINUTE, Life.resume),
        (18 * MINUTE, lambda life: life.shift(-35 * MINUTE)),
    )
    assert world.statuses() == ["succeeded"] * 6


def test_slot_that_waited_for_its_rig_is_closed_once_by_a_pause_though_the_clock_is_set(rig):
    """It isn't opened again to be closed once more, and its line doesn't say that its grace period was over."""
    world = rig()
    world.prepares = iter([ScannerNotReady("no relay")] * 60)
    world.define(every=EVERY, start=10 * MINUTE, n=4, grace=HOUR)
    world.live((15 * MINUTE, pause_for()), (25 * MINUTE, lambda life: life.shift(SECOND)), (45 * MINUTE, Life.resume))
    assert world.reasons()[:2] == [Reason.RIG_NOT_READY, Reason.PAUSED]
    assert world.said("slots_given_back") == []
    (line,) = world.said("slot_skipped")
    assert line == "slot 0 (08:10) was missed: no relay; its grace was not over when it was paused"
