"""Attempts that were left open as their disk was away: when the driver is asked about them, and that no slot waits."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from simulation import HOUR, MINUTE, NONE, SECOND, Behaviour, Life, ScriptedDriver

from plantimager.timelapse.channel.control_request import Request
from plantimager.timelapse.daemon import disk_look
from plantimager.timelapse.daemon.dataset_probe import MAX_HUNG, PROBE_TIMEOUT
from plantimager.timelapse.domain.states import TimeLapseState
from plantimager.timelapse.drivers.base import Call
from plantimager.timelapse.settings.definition import parse_definition
from plantimager.timelapse.support.errors import PicturesUnreadable, ScannerNotReady

AWAY, UNREADABLE = ScannerNotReady("Input/output error"), PicturesUnreadable("0.jpg: Input/output error; move it away")
LANDS = Behaviour(takes=10 * SECOND, progress=None, lands=True)


@pytest.fixture
def pulled(rig, monkeypatch):
    """Return a function that makes a rig whose disk can be pulled, with scans that are whole all the same."""

    def make(**definition):
        world = rig()
        monkeypatch.setattr(disk_look, "identify_file_system", world.identify_file_system)
        world.behaviour = lambda _: LANDS
        world.define(**{"every": HOUR, "n": 4, **definition})
        return world

    return make


def pull(duration):
    return lambda life: life.pull_disk(duration)


def start_next(answers, life):
    """Do as ``timelapsectl start``."""
    request = Request("start", {}, "anna", answers.append)
    text = b'[timelapse]\nname = "next"\nmode = "interval"\ninterval = "10m"\nn_shots = 2\n'
    request.content = parse_definition(text, Path("next.toml"))
    life.daemon.requests._append(request)
    life.clock.wake()


@pytest.mark.parametrize("warmup", [NONE, 30 * SECOND])
@pytest.mark.parametrize("takes", [SECOND, 200 * SECOND])
def test_driver_is_asked_soon_after_the_disk_is_back_and_no_slot_waits(pulled, warmup, takes):
    """It was pulled at the end of slot 1, and is back after five minutes; the answer may take minutes."""
    world = pulled(warmup=warmup)
    world.slow = {Call.RECOVER: takes}
    found = []

    def look(life):
        found.append(life.timelapse.records[1].status)

    world.live((2 * HOUR + 5 * SECOND, pull(5 * MINUTE)), (2 * HOUR + 15 * MINUTE, look))
    assert (found, world.statuses()) == (["succeeded"], ["succeeded"] * 4)
    scan_times = [after - HOUR * (slot + 1) for slot, after in enumerate(world.scans_at())]
    assert scan_times == [NONE if warmup else SECOND] * 4
    assert [call for call, _ in world.calls()].count("recover") == 1


def test_question_that_lasts_gives_way_to_the_next_slot_and_is_asked_again(pulled):
    """It can go on for as long as files are put on disk."""
    world = pulled(every=20 * MINUTE)
    world.slow = {Call.RECOVER: 25 * MINUTE}
    world.live((80 * MINUTE + 5 * SECOND, pull(MINUTE)))
    assert world.statuses() == ["succeeded"] * 4
    assert world.scans_at() == [HOUR + 20 * MINUTE * slot for slot in range(4)]
    calls = world.calls()
    assert [call for call, _ in calls].count("recover") == 3  # before each slot that was left, and after the last
    assert not {"rig_trouble", "driver_stalled"} & {*world.actions()}


def test_question_that_may_not_end_in_time_is_not_begun(pulled):
    """A driver that doesn't say how far it is can't be broken off: not between slots that are that near."""
    world = pulled(every=4 * MINUTE, n=6)
    world.recover_reports, world.slow = False, {Call.RECOVER: 200 * SECOND}
    world.live((HOUR + 5 * SECOND, pull(20 * SECOND)))
    assert world.statuses() == ["succeeded"] * 6
    calls = [call for call, _ in world.calls()]
    assert calls.index("recover") > len(calls) - 1 - calls[::-1].index("scan")


@pytest.mark.parametrize("warmup", [NONE, 5 * SECOND])
@pytest.mark.parametrize("prepare", [SECOND / 5, 4 * SECOND])
@pytest.mark.parametrize("takes", [SECOND, 20 * MINUTE])
def test_driver_that_knows_its_silence_is_asked_between_slots_that_are_near(pulled, warmup, prepare, takes):
    """Each slot begins as if nobody had asked, as soon as its rig is prepared."""
    world = pulled(every=30 * SECOND, n=8, warmup=warmup)
    world.recover_silence, world.slow = 2 * SECOND, {Call.RECOVER: takes, Call.PREPARE: prepare}
    world.live((HOUR + 5 * SECOND, pull(10 * SECOND)))
    assert world.statuses() == ["succeeded"] * 8
    late = [after - HOUR - 30 * SECOND * slot for slot, after in enumerate(world.scans_at())]
    assert late == [NONE if warmup else prepare] * 8
    calls = [call for call, _ in world.calls()]
    assert calls[: calls.index("recover")].count("scan") == 2  # before it nobody knows that the disk is back
    is_answered_early = "scan" in calls[len(calls) - calls[::-1].index("recover") :]
    assert is_answered_early == (takes == SECOND)


@pytest.mark.parametrize("is_restarted", [False, True])
def test_definition_waits_until_the_last_timelapse_is_settled(pulled, is_restarted):
    """In the archive its attempt would be recorded as failed for ever, though its dataset is whole."""
    world = pulled(n=1)
    asked = []

    def define(life):
        asked.extend(life.timelapse.unsettled)
        life.world.define(name="next", every=MINUTE, n=2, start=3 * HOUR)
        (life.kill if is_restarted else life.reload)()

    world.live((HOUR + 5 * SECOND, pull(HOUR)), (HOUR + 2 * MINUTE, define))
    if is_restarted:
        world.live(off=MINUTE)
    assert (asked, world.stored().id, world.statuses()) == ([0], "next", ["succeeded"] * 2)
    (last,) = world.archived()
    assert ([record.status.value for record in last.records.values()], last.unsettled) == (["succeeded"], [])
    (words,) = world.said("definition_refused")
    assert "next can't start yet: the scan of tl, which may be whole, can't be looked for" in words
    assert "its disk isn't mounted" in words
    assert "begins as soon as it can" in words


def test_person_whose_definition_is_refused_is_told_what_to_wait_for(pulled):
    """The disk comes back by itself in no moment."""
    world, answers = pulled(n=1), []
    world.configure()
    world.slow = {Call.RECOVER: 5 * MINUTE}
    start = partial(start_next, answers)
    world.live((HOUR + 5 * SECOND, pull(HOUR)), (HOUR + 5 * MINUTE, start), (2 * HOUR + 6 * SECOND, start))
    away, soon = (answer.message for answer in answers)
    assert "another one is there; mount it, or accept this one with touch " in away
    assert away.endswith("; try again when they can be put there")
    assert soon.endswith("is looked for; try again in a moment")


def test_service_that_stops_breaks_the_question_off_and_the_next_start_asks(pulled):
    """A stop isn't held up by it either."""
    world = pulled(n=2)
    world.slow = {Call.RECOVER: HOUR}
    world.live((HOUR + 5 * SECOND, pull(MINUTE)), (HOUR + 10 * MINUTE, Life.stop))
    assert (world.statuses(), world.stored().unsettled) == (["failed"], [0])
    assert world.truth < world.lives[0].looked_at + 10 * MINUTE
    world.slow = {}
    world.live((MINUTE, Life.kill), off=5 * SECOND)
    assert world.statuses() == ["succeeded"]


@pytest.mark.parametrize("n", [1, 2])
def test_last_slot_is_asked_about(pulled, n):
    """No warm-up follows it."""
    world = pulled(every=HOUR, n=n)
    world.live((n * HOUR + 5 * SECOND, pull(5 * MINUTE)))
    assert (world.statuses(), world.stored().state) == (["succeeded"] * n, TimeLapseState.COMPLETED)
    calls = [call for call, _ in world.calls()]
    assert calls[-3:] == ["scan", "standby", "recover"]  # and it stays in standby


def test_timelapse_that_failed_by_a_disk_that_was_away_goes_on(pulled):
    """Its slot is whole, so the failure was none."""
    world = pulled(policy="fail_timelapse")
    world.live((2 * HOUR + 5 * SECOND, pull(5 * MINUTE)))
    assert (world.statuses(), world.stored().state) == (["succeeded"] * 4, TimeLapseState.COMPLETED)
    assert world.stored().ending is None


def test_disk_that_stays_away_is_looked_for_more_and_more_rarely(pulled):
    """It may be away for weeks."""
    world = pulled(n=1)
    life = world.live((HOUR + 5 * SECOND, pull(24 * HOUR)))
    assert world.statuses() == ["succeeded"]
    assert len(life.clock.wakes) < 100


def test_question_has_nothing_observed(pulled, monkeypatch):
    """It would be written into the dataset as what was observed beside the scan, hours before."""
    world, observed, recover = pulled(), [], ScriptedDriver.recover

    def note(call, request):
        observed.append((call, request.observe is not None))

    def ask(driver, request):
        note(Call.RECOVER, request)
        return recover(driver, request)

    def scan(request):
        note(Call.SCAN, request)
        return LANDS

    monkeypatch.setattr(ScriptedDriver, "recover", ask)
    world.configure(observe=("true",))
    world.behaviour = scan
    world.live((2 * HOUR + 5 * SECOND, pull(5 * MINUTE)))
    assert observed == [(Call.SCAN, True)] * 2 + [(Call.RECOVER, False)] + [(Call.SCAN, True)] * 2


@pytest.mark.parametrize("failures", [1, 2, 5])
def test_disk_that_fails_again_under_the_question_says_nothing_and_is_asked_again(pulled, failures):
    """A driver that can't read the disk gives no answer, however often."""
    world = pulled(every=12 * HOUR, n=2)
    world.unreadable = iter([AWAY] * failures)
    world.live((HOUR + 5 * SECOND, pull(5 * MINUTE)))
    assert world.statuses() == ["succeeded"] * 2
    assert world.scans() == [(0, 1), (1, 1)]
    assert [call for call, _ in world.calls()].count("recover") == failures + 1
    assert len(world.said("rig_trouble")) == 1


@pytest.mark.parametrize("warmup", [NONE, 30 * SECOND])
def test_disk_that_fails_under_each_question_holds_up_no_later_slot(pulled, warmup):
    """The slot in question waits within its grace period, and stays open to the answer when it is over."""
    world = pulled(n=3, warmup=warmup, grace=10 * MINUTE)
    world.unreadable = iter([AWAY] * 40)
    world.live((HOUR + 5 * SECOND, Life.kill))
    world.datasets.add("tl_0")
    world.live((50 * MINUTE, lambda _: setattr(world, "unreadable", iter(()))), off=MINUTE)
    assert world.statuses() == ["succeeded"] * 3
    assert world.scans() == [(0, 1), (1, 1), (2, 1)]
    scan_times = [after - HOUR * (slot + 1) for slot, after in enumerate(world.scans_at())]
    assert scan_times == [NONE if warmup else SECOND] * 3
    assert 2 < len([call for call, at in world.calls() if call == "recover" and at < HOUR + 11 * MINUTE]) < 40


@pytest.mark.parametrize("warmup", [NONE, 30 * SECOND])
@pytest.mark.parametrize("failures", [2, 3, 500])
def test_slot_whose_pictures_can_not_be_read_is_rather_taken_twice_than_not_at_all(pulled, warmup, failures):
    """A bad block under them lasts, and the disk takes other pictures."""
    world = pulled(n=3, warmup=warmup, grace=2 * MINUTE)
    world.unreadable = iter([UNREADABLE] * failures)
    world.live((HOUR + 5 * SECOND, Life.kill))
    world.datasets.add("tl_0")
    world.live(off=10 * SECOND)
    assert (world.statuses(), world.stored().unsettled) == (["succeeded"] * 3, [])
    assert world.scans() == [(0, 1), (0, 2), (1, 1), (2, 1)]
    assert len(world.said("rig_trouble")) == 2  # the start says it, and the daemon


def test_slot_whose_pictures_can_not_be_read_is_no_failed_one_while_that_is_not_known(pulled):
    """It stays open to an answer, however late; no other slot waits, and a person is told what to do."""
    world, answers = pulled(n=2), []
    world.unreadable = iter([UNREADABLE] * 500)
    world.live((HOUR + 5 * SECOND, Life.kill))
    world.datasets.add("tl_0")
    open_until = []

    def start(life):
        open_until.append((life.timelapse.unsettled, life.timelapse.records[0].status.value))
        start_next(answers, life)

    world.live(
        (4 * HOUR, start),
        (5 * HOUR, lambda _: setattr(world, "unreadable", iter(()))),
        (6 * HOUR, Life.kill),
        off=10 * MINUTE,
    )
    assert open_until == [([0], "interrupted")]
    assert answers[0].message.endswith(
        "next can't start yet: the scan of tl_0, which may be whole, can't be looked for: "
        f"{UNREADABLE}; try again when they can be read, or are away"
    )
    assert (world.statuses(), world.scans()) == (["succeeded"] * 2, [(0, 1), (1, 1)])
    assert world.scans_at()[1] == 2 * HOUR
    assert len([call for call, _ in world.calls() if call == "recover"]) < 30


@pytest.mark.parametrize("problem", [AWAY, UNREADABLE])
def test_attempts_that_can_not_be_read_keep_no_other_one_from_its_answer(rig, monkeypatch, problem):
    """Each is asked about in its turn."""
    world, recover = rig(), ScriptedDriver.recover

    def ask(driver, request):
        if request.index < 3:
            raise problem
        return recover(driver, request)

    monkeypatch.setattr(ScriptedDriver, "recover", ask)
    world.define(every=HOUR, n=6)
    for slot in range(4):
        world.live((HOUR - 5 * MINUTE if slot else HOUR + 10 * SECOND, Life.kill), off=5 * MINUTE if slot else NONE)
    world.datasets |= {f"tl_{slot}" for slot in range(4)}
    world.unreadable = iter([problem])  # as the disk was not there yet
    world.live((50 * MINUTE, Life.kill), off=5 * MINUTE)
    assert world.stored().unsettled == [0, 1, 2]
    assert world.statuses()[:4] == ["interrupted"] * 3 + ["succeeded"]


def test_directory_that_is_gone_for_good_keeps_no_timelapse_from_beginning(rig, tmp_path):
    """A person is told the cure, which is to make it: then the driver finds nothing in it."""
    world, answers, first = rig(), [], tmp_path / "first"
    first.mkdir()
    world.configure(datasets=first)
    world.define(n=1)
    world.live((HOUR + 10 * SECOND, Life.kill))
    first.rmdir()
    world.configure(datasets=tmp_path / "second")
    start = partial(start_next, answers)
    world.live(
        (10 * MINUTE, start),
        (20 * MINUTE, lambda _: first.mkdir()),
        (21 * MINUTE, start),
        (25 * MINUTE, start),
        off=30 * MINUTE,
    )
    refused, soon, begun = answers
    assert refused.message.endswith(
        f"can't be looked for: {first}: it is not there; mount its disk again, or mkdir -p {first} where it is gone "
        "for good: its scans count as not there then; try again when it is there"
    )
    assert soon.message.endswith("is looked for; try again in a moment")
    assert (begun.accepted, world.stored().id) == (True, "next")


def test_earlier_directory_that_can_be_read_alone_is_asked_about(rig, monkeypatch, tmp_path):
    """A disk that turned read-only shows a whole dataset, too."""
    world, first = rig(), tmp_path / "first"
    first.mkdir()
    world.configure(datasets=first)
    world.define(every=HOUR, n=2)
    world.live((HOUR + 10 * SECOND, Life.kill))
    read_only = {first: "Read-only file system"}
    monkeypatch.setattr(disk_look, "write_refusal", read_only.get)
    world.configure(datasets=tmp_path / "second")
    world.datasets.add("tl_0")
    world.live(off=5 * MINUTE)
    assert world.statuses() == ["succeeded"] * 2


@pytest.fixture
def stalled(rig):
    """Return a function that makes a rig with a slot cut off in each of some directories, whose disks now stall."""

    def make(*names, **definition):
        world = rig()
        every = definition.setdefault("every", HOUR)
        world.define(**{"n": 30, **definition})
        for slot, name in enumerate(names):
            (world.directory / name).mkdir()
            world.configure(datasets=world.directory / name)
            off = min(5 * MINUTE, every / 2) if slot else NONE
            world.live((every - off if slot else HOUR + 10 * SECOND, Life.kill), off=off)
            world.stalled |= {world.directory / name}
        world.configure(datasets=world.directory / "last")
        world.looks.names.clear()
        return world

    return make


def test_slot_begins_when_the_stalled_disk_of_its_attempt_has_been_looked_at(stalled):
    """Not before that, by its record: it is judged by the time at which its scan is called."""
    world, begun = stalled("first", grace=20 * MINUTE), []
    world.behaviour = lambda request: begun.append((request.started_at, world.lives[-1].clock.now())) or Behaviour()
    world.live((3 * MINUTE, Life.kill), off=MINUTE)
    assert "first" in world.looks.names
    assert begun == [(at, at) for _, at in begun]
    assert world.scans() == [(0, 1), (0, 2)]


def test_stalled_disks_are_looked_at_once_in_a_turn(stalled):
    """That of the next datasets, too, however many there are of earlier attempts: systemd waits a minute for the loop.

    No more than three looks at each hang in all, though the next datasets' are asked for again and again.
    """
    names = ["first", "last", "second", "third"]
    world = stalled("first", "second", "third")
    world.stalled |= {world.directory / "last"}
    world.live((30 * MINUTE, Life.kill), off=5 * MINUTE)
    assert sorted(world.looks.names[:4]) == names
    assert {name: world.looks.names.count(name) for name in names} == dict.fromkeys(names, MAX_HUNG)
    life = world.lives[-1]
    assert life.longest_turn <= PROBE_TIMEOUT
    assert life.longest_start <= 2 * PROBE_TIMEOUT  # it looks for the place of the datasets first


def test_no_number_of_stalled_disks_holds_the_loop_longer_than_one(stalled):
    """Neither a turn, nor a start: all are looked at side by side, as in other turns before each slot."""
    names = [f"disk{number}" for number in range(20)]
    world, ready = stalled(*names), []
    ready_at = len(world.lives)
    world.live((30 * MINUTE, lambda life: ready.append(life.notices.is_ready)), (2 * HOUR, Life.kill), off=5 * MINUTE)
    life = world.lives[ready_at]
    assert ready == [True]
    assert max(life.longest_turn, life.longest_start) <= PROBE_TIMEOUT
    assert set(names) <= {*world.looks.names}


def answers(world):
    """Return a happening with which all disks answer again."""
    return lambda _: setattr(world, "stalled", frozenset())


@pytest.mark.parametrize("name", ["first", "last"])
def test_disk_that_hangs_for_four_weeks_holds_few_threads(stalled, name):
    """Each look at it holds one; it is looked at again as soon as it answers."""
    world, begun = stalled("first", n=24 * 30), []
    world.stalled = frozenset({world.directory / name})
    world.datasets |= {"tl_0"}
    weeks = 28 * 24 * HOUR
    count = (weeks, lambda _: begun.append(world.looks.names.count(name)))
    world.live(count, (weeks, answers(world)), (weeks + 3 * HOUR, Life.kill), off=5 * MINUTE)
    assert begun == [MAX_HUNG]
    assert world.looks.names.count(name) > MAX_HUNG
    assert world.statuses()[0] == "succeeded"


def test_stalled_disks_are_asked_about_when_they_answer(stalled):
    """One after the other, as soon as they are looked at again."""
    world = stalled("first", "second", "third")
    world.datasets |= {"tl_0", "tl_1", "tl_2"}
    world.live((20 * MINUTE, answers(world)), (50 * MINUTE, Life.kill), off=5 * MINUTE)
    assert world.statuses()[:3] == ["succeeded"] * 3


@pytest.mark.parametrize("grace", [SECOND, 2 * SECOND, 3 * SECOND, 4 * SECOND])
@pytest.mark.parametrize("warmup", [NONE, SECOND, 30 * SECOND])
@pytest.mark.parametrize("silence", [None, 2 * SECOND])
def test_stalled_disk_of_an_earlier_attempt_costs_no_slot_however_short_its_grace(stalled, grace, warmup, silence):
    """Neither that of an earlier slot, nor that of the slot itself, in which the daemon was restarted."""
    world = stalled("first", "second", grace=grace, warmup=warmup, every=MINUTE)
    world.recover_silence, world.slow = silence, {Call.PREPARE: SECOND / 5}
    world.live((20 * MINUTE, Life.kill), off=50 * SECOND)
    late = [record for record in world.stored().records.values() if record.status == "skipped"]
    assert [record.slot for record in late] == []


def test_disk_that_stalls_while_the_slot_of_its_attempt_waits_is_looked_at_for_half_of_the_grace_that_is_left(stalled):
    """Then the slot is rather taken twice than not at all."""
    world = stalled("first", grace=15 * SECOND)
    first, world.stalled = world.stalled, frozenset()
    world.slow, world.unreadable = {Call.PREPARE: SECOND / 5}, iter([AWAY] * 2)
    world.live((SECOND, lambda _: setattr(world, "stalled", first)), (MINUTE, Life.kill))
    assert (world.statuses(), world.scans()) == (["succeeded"], [(0, 1), (0, 2)])
    assert HOUR + 13 * SECOND < world.scans_at()[-1] < HOUR + 15 * SECOND
