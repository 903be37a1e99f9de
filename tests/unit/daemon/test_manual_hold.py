"""Manual commands in the daemon: the timelapse comes first, and every request is answered."""

import json

import pytest
from simulation import DAY, HOUR, MINUTE, NONE, SECOND, START, Behaviour, Boot, End, Life
from virtual_time import UNSYNCHRONISED

from plantimager.timelapse.daemon import dataset_probe
from plantimager.timelapse.daemon.call_supervisor import CANCEL_TIMEOUT
from plantimager.timelapse.daemon.disk_look import Found
from plantimager.timelapse.daemon.manual_hold import HOLD_TIME, MIN_TIME_BEFORE_SLOT
from plantimager.timelapse.domain.states import TimeLapseState
from plantimager.timelapse.drivers.base import Call
from plantimager.timelapse.support.errors import ScannerNotReady

# --- a person and a timelapse ---------------------------------------------------------------------------


class Person:
    """A person who makes one request."""

    def __init__(self, action="home", **more):
        self._action, self._more = action, more

    def __call__(self, life):
        self._asked = life.ask(self._action, **self._more)

    def withdraw(self, life):
        self._asked.request.withdraw()
        life.daemon.requests.put(self._asked.request)

    @property
    def answer(self):
        (answer,) = self._asked.answers
        return answer


def when(world, call):
    """Return when, after START by the wall clock, each call of a kind was made."""
    return [after for made, after in world.calls() if made == call]


def test_rig_is_moved_between_scans_and_the_person_is_answered(rig):
    """One line of the journal says so."""
    world = rig()
    world.define(every=HOUR, n=2)
    anna = Person("goto", x=5)
    world.live((30 * MINUTE, anna), (40 * MINUTE, Life.kill))
    assert when(world, "by hand") == [30 * MINUTE]
    answer = anna.answer
    assert (answer.accepted, answer.message) == (True, "done")
    assert world.said("rig_by_hand") == ["goto x 5, by anna: done"]
    assert world.said("request_refused") == []


def test_trial_gives_way_to_a_slot_and_the_rig_goes_to_standby_later(rig):
    """A time point can't be taken again. After a trial the rig is warm, whatever driver it has."""
    world = rig()
    world.define(every=2 * HOUR, n=2, warmup=30 * SECOND, standby_threshold=2 * MINUTE)
    early, late = Person("try", position=2), Person("try")
    world.live((5 * MINUTE, early), (HOUR + 30 * MINUTE, late), (2 * HOUR, Life.kill))
    assert (early.answer.accepted, late.answer.accepted) == (True, True)
    for asked in (5 * MINUTE, HOUR + 30 * MINUTE):
        assert any(asked < at <= asked + HOLD_TIME + MINUTE for at in when(world, "standby"))
    assert world.taken() == [0]


def test_trial_does_not_go_under_a_disk_that_is_not_mounted(rig, monkeypatch):
    """Its pictures would be gone once the disk is mounted."""
    world, anna = rig(), Person("try")
    world.define(every=HOUR, n=2)

    found = Found("its disk isn't mounted", is_elsewhere=True)
    monkeypatch.setattr(dataset_probe, "look_at_next", lambda *_, **__: found)
    world.live((5 * MINUTE, anna), (10 * MINUTE, Life.kill))
    answer = anna.answer
    assert (answer.accepted, "datasets can't be put there: its disk isn't mounted" in answer.message) == (False, True)
    assert when(world, "by hand") == []


def test_scan_is_not_disturbed_and_the_refusal_says_when_to_try_again(rig):
    """Estimated from the progress of the scan."""
    world = rig()
    world.define(every=HOUR, n=2)
    world.behaviour = lambda _: Behaviour(takes=10 * MINUTE, progress=2 * MINUTE)
    early, late = Person(), Person("check")
    world.live((HOUR + MINUTE, early), (HOUR + 3 * MINUTE, late), (90 * MINUTE, Life.kill))
    assert early.answer.message == "slot 0 of 2 is being scanned; try again when it is done"
    assert late.answer.message == ("slot 0 of 2 is being scanned; 1 of 2 pictures are taken; try again at about 09:06")
    assert when(world, "by hand") == []
    assert world.taken() == [0]


def test_rig_that_is_about_to_be_prepared_is_not_given_to_a_person(rig):
    """The warm-up begins half a minute before the slot."""
    world = rig()
    world.define(every=HOUR, n=2, warmup=30 * SECOND)
    in_time, too_late, waiting = Person(), Person(), Person()
    last = HOUR - 30 * SECOND - MIN_TIME_BEFORE_SLOT
    world.live((last, in_time), (last + 2 * SECOND, too_late), (HOUR - SECOND, waiting), (90 * MINUTE, Life.kill))
    assert in_time.answer.accepted
    for person in (too_late, waiting):
        assert person.answer.message == (
            "slot 0 of 2 is due at 09:00, and the rig gets ready for it at 08:59:30; try again afterwards"
        )
    assert when(world, "scan") == [HOUR]


def test_rig_that_a_slot_waits_for_is_not_given_to_a_person(rig):
    """The slot asks it every few seconds."""
    world = rig()
    world.define(grace=10 * MINUTE)
    world.behaviour = lambda _: Behaviour(takes=SECOND, progress=None, problem=ScannerNotReady("asleep"))
    anna = Person()
    world.live((HOUR + MINUTE, anna))
    assert (
        anna.answer.message == "slot 0 of 1 is due since 09:00, and the rig isn't ready; timelapsectl status says why"
    )
    assert when(world, "by hand") == []


def test_second_person_is_refused_while_the_first_has_the_rig(rig):
    """One manual command at a time."""
    world = rig()
    world.slow = {Call.MANUAL: 20 * SECOND}
    anna, bert = Person(), Person("check", who="bert")
    world.live((MINUTE, anna), (MINUTE + SECOND, bert))
    assert bert.answer.message == "anna is at the rig (home); try again afterwards"
    assert anna.answer.accepted


@pytest.mark.parametrize("warmup", [30 * SECOND, NONE], ids=["with a warm-up", "without"])
def test_slot_that_comes_due_breaks_off_a_manual_command_and_is_on_time(rig, warmup):
    """A person can ask again; a time point can't be taken again."""
    world = rig()
    world.define(every=HOUR, n=2, warmup=warmup)
    world.slow = {Call.MANUAL: 10 * MINUTE}
    anna = Person()
    world.live((HOUR - 5 * MINUTE, anna), (90 * MINUTE, Life.kill))
    answer = anna.answer
    assert not answer.accepted
    assert answer.message == "as told, because slot 0 of 2 is due at 09:00"
    begun = HOUR - warmup + SECOND  # the arm came to a stand first
    assert when(world, "prepare")[:1] == [begun]
    prepared = HOUR if warmup else begun + SECOND
    assert world.stored().records[0].started_at == START + prepared
    assert world.taken() == [0]


def test_manual_command_that_hangs_costs_no_slot(rig):
    """It is broken off for the slot and abandoned; the next start takes the slot."""
    world = rig()
    world.define(every=HOUR, n=2, grace=10 * MINUTE)
    world.hangs = {Call.MANUAL}
    anna = Person()
    life = world.live((HOUR - 2 * MINUTE, anna))
    assert life.ended is End.ABANDONED
    assert life.clock.elapsed <= HOUR - 30 * SECOND + CANCEL_TIMEOUT + SECOND
    assert "abandoned; the daemon is restarted" in anna.answer.message
    world.hangs = set()
    world.live(off=5 * SECOND)
    assert world.taken() == [0, 1]


def test_manual_command_that_hangs_while_nothing_is_due_ends_the_process(rig):
    """Like any call of a driver that makes no progress."""
    world = rig(stall_timeout=5 * MINUTE)
    world.hangs = {Call.MANUAL}
    anna = Person()
    life = world.live((MINUTE, anna))
    assert life.ended is End.ABANDONED
    assert life.clock.elapsed == MINUTE + 5 * MINUTE + CANCEL_TIMEOUT
    assert not anna.answer.accepted
    assert world.actions()[-3:] == ["driver_stalled", "rig_by_hand", "driver_abandoned"]


def test_manual_command_that_stalls_and_is_cancelled_is_answered_with_the_reason(rig):
    """The rig is used again afterwards."""
    world = rig(stall_timeout=5 * MINUTE)
    world.slow = {Call.MANUAL: HOUR}
    anna = Person()
    life = world.live((MINUTE, anna))
    assert life.ended is End.IDLE
    assert anna.answer.message == "as told, because driver simulated made no progress for 300 s and was cancelled"


def test_request_that_is_withdrawn_stops_the_arm(rig):
    """As Ctrl-C at the command does."""
    world = rig()
    world.slow = {Call.MANUAL: 4 * MINUTE}
    anna = Person("goto", x=700)
    world.live((MINUTE, anna), (2 * MINUTE, anna.withdraw))
    assert world.said("rig_by_hand") == ["goto x 700, by anna: as told, because nobody waits for it any more"]


def test_stop_does_not_wait_for_a_manual_command(rig):
    """The command is broken off and answered, and the rig powered down."""
    world = rig()
    world.define(start=DAY)
    world.slow = {Call.MANUAL: 4 * MINUTE}
    anna = Person()
    life = world.live((MINUTE, anna), (2 * MINUTE, Life.stop))
    assert life.ended is End.STOPPED
    assert life.clock.elapsed < 2 * MINUTE + 10 * SECOND
    assert anna.answer.message == "as told, because the service stops"
    assert [call for call, _ in world.calls()][-2:] == ["standby", "close"]


# --- and afterwards -----------------------------------------------------------------------------------------


def test_rig_stays_as_a_person_left_it_for_the_hold_time_and_goes_to_standby_then(rig):
    """A person needs time to look; but a growth light may be off meanwhile."""
    world = rig()
    world.define(start=DAY)
    world.live((MINUTE, Person("lights", on=True)), (5 * MINUTE, Life.reload), (HOUR, Life.kill))
    assert when(world, "standby") == [NONE, MINUTE + SECOND + HOLD_TIME]


def test_each_manual_command_restarts_the_hold_time(rig):
    """The person is still at work."""
    world = rig()
    world.define(start=DAY)
    world.live((MINUTE, Person()), (10 * MINUTE, Person("goto", x=1)), (HOUR, Life.kill))
    assert when(world, "standby") == [NONE, 10 * MINUTE + SECOND + HOLD_TIME]


def test_rig_that_stays_warm_is_prepared_after_the_hold_time(rig):
    """A light that was left on is switched back also where the next slot is too near for standby."""
    world = rig()
    world.define(start=20 * MINUTE, standby_threshold=HOUR)
    world.live((MINUTE, Person("lights", on=True)), (21 * MINUTE, Life.kill))
    assert world.calls()[:4] == [
        ("by hand", MINUTE),
        ("prepare", MINUTE + SECOND + HOLD_TIME),
        ("prepare", 20 * MINUTE - 30 * SECOND),
        ("scan", 20 * MINUTE),
    ]


@pytest.mark.parametrize("shift", [-DAY, 30 * DAY], ids=str)
def test_setting_the_clock_does_not_change_the_hold_time(rig, shift):
    """A plant must not stand in the dark for a day."""
    world = rig()
    world.live((MINUTE, Person()), (2 * MINUTE, lambda life: life.shift(shift)), (HOUR, Life.kill))
    assert world.ledger[-1].call is Call.STANDBY
    assert world.ledger[-1].true_at == world.ledger[0].true_at + MINUTE + SECOND + HOLD_TIME


def test_slot_within_the_hold_time_ends_it(rig):
    """The rig is the timelapse's again."""
    world = rig()
    world.define(at=[10 * MINUTE, 5 * HOUR])
    world.live((MINUTE, Person()), (HOUR, Life.kill))
    assert world.calls() == [
        ("by hand", MINUTE),
        ("prepare", 10 * MINUTE - 30 * SECOND),
        ("scan", 10 * MINUTE),
        ("standby", 10 * MINUTE + 30 * SECOND),
    ]


def test_live_status_says_that_a_person_has_the_rig(rig):
    """Another person may wonder why it moves."""
    world = rig()
    world.slow = {Call.MANUAL: 20 * SECOND}
    words = []

    def look(life):
        words.append(json.loads(life.daemon.host.live.path.read_text())["rig"])

    looks = [(MINUTE + after * SECOND, look) for after in (-1, 1, 30)]
    world.live((MINUTE, Person()), *looks, (HOUR, Life.kill))
    assert words == ["standby", "by hand", "by hand"]


# --- when not to ----------------------------------------------------------------------------------------


def test_nothing_moves_before_the_clock_is_trusted(rig):
    """A scan may have to be resumed first. The refusal says so."""
    world = rig()
    anna = Person()
    world.live((10 * SECOND, anna), (20 * SECOND, Life.kill), boot=Boot(evidence=UNSYNCHRONISED))
    assert anna.answer.message == (
        "clock not trusted yet (kernel: unsynchronised), nothing is decided; "
        "try again when timelapsectl status calls the clock trusted"
    )
    assert when(world, "by hand") == []


def test_manual_command_does_not_change_the_store(rig):
    """Not one byte of it."""
    world = rig()
    world.configure()  # a request reads the file again: datasets stay where they are
    world.define(start=DAY)
    before = []
    world.live(
        (MINUTE, lambda _: before.append(world.places.store.read_bytes())),
        (2 * MINUTE, Person()),
        (HOUR, Life.kill),
    )
    assert world.places.store.read_bytes() == before[0]
    assert world.stored().state is TimeLapseState.SCHEDULED
