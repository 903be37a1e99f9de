"""The resume after an outage: which slots are recovered, attempted again, skipped and taken."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from simulation import (
    DAY,
    HOUR,
    MINUTE,
    NONE,
    SECOND,
    START,
    Behaviour,
    Boot,
    Bounded,
    End,
    Life,
    Notices,
    ScriptedDriver,
    World,
)
from virtual_time import UNSYNCHRONISED

from plantimager.timelapse.channel.live import read_live
from plantimager.timelapse.daemon.definition_intake import DefinitionIntake
from plantimager.timelapse.daemon.retelling import MAX_RETOLD
from plantimager.timelapse.domain.states import RecordStatus, TimeLapseState
from plantimager.timelapse.scan.request import ScanResult
from plantimager.timelapse.settings.config import Missed
from plantimager.timelapse.store.loading import load_timelapse
from plantimager.timelapse.support.errors import ScanFailed, ScannerNotReady


def test_missed_slots_are_skipped_with_one_line_for_the_whole_outage(rig):
    """Seventeen slots, one save, one line."""
    world = rig()
    world.define(every=30 * MINUTE, n=20)
    world.live((61 * MINUTE, Life.kill))
    world.live(off=8 * HOUR + 40 * MINUTE, boot=Boot())
    assert world.statuses() == ["succeeded"] + ["skipped"] * 17 + ["succeeded"] * 2
    assert world.said("slot_skipped") == [
        "17 slots from 09:30 to 17:30 were missed while the rig was off (grace 2 min)"
    ]


def at_ready(monkeypatch, world, do):
    """Have ``do`` called with each run that says READY=1."""
    real = Notices.ready

    def ready(notices, *status):
        real(notices, *status)
        do(world.lives[-1])

    monkeypatch.setattr(Notices, "ready", ready)


def test_start_is_ready_before_missed_slots_are_saved(rig, monkeypatch):
    """They are saved right after READY=1; after a kill in between, the next start finds the same store."""
    world = rig()
    world.define(every=HOUR, n=5)
    world.live((61 * MINUTE, Life.kill))
    with monkeypatch.context() as patch:
        at_ready(patch, world, Life.die_before_save)
        life = world.live(off=150 * MINUTE, boot=Boot())
    assert (life.notices.is_ready, life.ended, life.saves) == (True, End.KILLED, 0)
    assert world.statuses() == ["succeeded"]
    world.live(boot=Boot())
    assert world.statuses() == ["succeeded", "skipped", "skipped", "succeeded", "succeeded"]
    assert len(world.said("slot_skipped")) == 1


def test_scan_that_was_cut_off_is_recorded_once_though_the_start_that_found_it_was_killed(rig, monkeypatch):
    """Nothing was saved yet: the next start asks the driver again."""
    world = rig()
    world.define(every=HOUR, n=2)
    world.behaviour = lambda _: Behaviour(takes=20 * MINUTE)
    world.live((65 * MINUTE, Life.kill))
    with monkeypatch.context() as patch:
        at_ready(patch, world, Life.die_before_save)
        life = world.live(off=30 * MINUTE, boot=Boot())
    assert (life.notices.is_ready, life.saves) == (True, 0)
    world.live(boot=Boot())
    first, second = world.stored().records.values()
    assert (first.status, first.attempt, first.interruptions) == (RecordStatus.INTERRUPTED, 1, 1)
    assert second.status is RecordStatus.SUCCEEDED


def recover_takes(monkeypatch, world, duration):
    """Have the driver take its time to say what became of an attempt."""
    real = ScriptedDriver.recover

    def recover(driver, request):
        world.lives[-1].clock.pass_time(duration)
        return real(driver, request)

    monkeypatch.setattr(ScriptedDriver, "recover", recover)


def test_slots_missed_since_the_boot_were_not_missed_while_the_rig_was_off(rig):
    """The machine ran for hours before a person started the daemon; slot 3 could still have been taken then."""
    world = rig()
    world.define(every=HOUR, n=8)
    world.live((61 * MINUTE, Life.kill))
    world.live(off=3 * HOUR, boot=Boot(takes=3 * HOUR))
    assert world.said("slot_skipped") == [
        "2 slots from 10:00 to 11:00 were missed while the rig was off (grace 2 min)",
        "3 slots from 12:00 to 14:00 were missed while the daemon was not running (grace 2 min)",
    ]


def test_container_whose_host_was_on_all_the_time_was_off(rig):
    """It has a boot id of its own, but the time since the boot is its host's."""
    world = rig()
    world.define(every=HOUR, n=8)
    world.live((61 * MINUTE, Life.kill))
    world.live((NONE, Life.kill), off=3 * HOUR, boot=Boot())
    world.since_boot = 30 * DAY
    world.boots += 1
    world.live(off=3 * HOUR)
    assert all("while the rig was off" in line for line in world.said("slot_skipped"))


NEXT = [(2, "second"), (3, "third")]
"""When, in minutes after an hour, a definition comes."""


def retold(world):
    """Return action and sentence of the lines that repeat what the store holds."""
    return [(line.action, line.sentence) for line in world.journal if line.fields.get("RETOLD") == "yes"]


def test_slots_that_ended_in_the_minutes_before_a_power_cut_are_told_again(rig):
    """The lines about them were in journald's memory, and went with the power."""
    world = rig()
    world.define(at=[HOUR, HOUR + 4 * MINUTE, HOUR + 20 * MINUTE, HOUR + 22 * MINUTE, 2 * HOUR])
    world.behaviour = lambda request: Behaviour(problem=ScanFailed("no light") if request.index == 3 else None)
    world.live((HOUR + 23 * MINUTE, Life.kill))
    world.live(off=MINUTE, boot=Boot())
    assert retold(world) == [
        ("scan_succeeded", "retold from the store: tl_2 was taken at 09:20:30, 1 picture"),
        ("scan_failed", "retold from the store: tl_3 failed at 09:22:30: no light"),
    ]
    assert world.actions().index("resumed") > world.actions().index("scan_failed")


def test_store_with_times_beyond_all_measure_is_told_again_all_the_same(rig):
    """Another program may have written any lateness, and a save long ago."""
    world = rig()
    world.define(at=[HOUR, 2 * HOUR, 9 * HOUR])
    world.live((3 * HOUR, Life.kill))
    path = world.places.store
    store = json.loads(path.read_text())
    store["scans"][1] |= {"status": "skipped", "error": {"type": "missed", "msg": "x", "late_sec": 86_399_999_999_999}}
    store["extra"]["timelapsed"] |= {"saved_at": "1970-01-02T00:00:00+00:00"}
    del store["extra"]["timelapsed"]["digest"]
    path.write_text(json.dumps(store))
    path.with_name(path.name + ".live").unlink()
    world.live((MINUTE, Life.kill), off=MINUTE, boot=Boot())
    assert [action for action, _ in retold(world)] == ["definition_accepted", "scan_succeeded", "slot_skipped"]


def test_power_cut_long_after_the_last_slot_has_nothing_told_again(rig):
    """The daemon showed its status until then, and journald had written every line by that time."""
    world = rig()
    world.define(every=HOUR, n=3)
    world.live((HOUR + 30 * MINUTE, Life.kill), watchdog=MINUTE)
    world.live(off=MINUTE, boot=Boot())
    assert retold(world) == []


def test_correction_of_an_old_slot_before_a_power_cut_is_told_again(rig):
    """An attempt of hours ago was found whole, in a timelapse that is over: its own times are old."""
    world = rig(stall_timeout=5 * MINUTE)
    world.define(every=HOUR, n=2)
    world.behaviour = lambda request: DEAF if request.index == 0 else Behaviour()
    assert world.live().ended is End.ABANDONED
    world.datasets.add("tl_0")
    world.live((MINUTE, Life.kill), off=6 * HOUR, boot=Boot())
    world.journal.clear()
    world.live(off=MINUTE, boot=Boot())
    words = "slot 1 (10:00) was missed while the rig was off (5 h 5 min late, grace 2 min)"
    assert retold(world) == [
        ("scan_succeeded", "retold from the store: tl_0 was taken at 09:05:30, 1 picture"),
        ("slot_skipped", f"retold from the store: {words}"),
        ("timelapse_completed", "retold from the store: tl: 1 taken, 0 failed, 1 skipped"),
    ]


def test_slot_that_was_reopened_before_a_power_cut_is_told_again(rig):
    """It was skipped under a wrong clock, and nothing in its record tells when that was taken back."""
    world = rig()
    world.define(every=HOUR, n=5)
    back = (61 * MINUTE, lambda life: life.shift(-3 * HOUR))
    world.live((MINUTE, lambda life: life.shift(3 * HOUR)), back, (62 * MINUTE, Life.kill))
    world.journal.clear()
    world.live((MINUTE, Life.kill), off=SECOND, boot=Boot())
    words = [words for action, words in retold(world) if action == "slots_given_back"]
    assert words == ["retold from the store: slot 1 (10:00) can still be taken"]


def test_slot_that_was_reopened_before_a_power_cut_and_is_over_by_now_is_not_promised(rig):
    """The rig was off for longer than its grace period."""
    world = rig()
    world.define(every=HOUR, n=5)
    back = (61 * MINUTE, lambda life: life.shift(-4 * HOUR))
    world.live((MINUTE, lambda life: life.shift(4 * HOUR)), back, (62 * MINUTE, Life.kill))
    world.journal.clear()
    world.live((MINUTE, Life.kill), off=90 * MINUTE, boot=Boot())
    words = [words for action, words in retold(world) if action == "slots_given_back"]
    assert words == [
        "retold from the store: slot 1 (10:00) had been given back",
        "retold from the store: slot 2 (11:00) can still be taken",
    ]


def test_slots_that_were_reopened_push_out_no_other_line(rig):
    """However many a wrong clock had closed, they are one line."""
    world = rig()
    world.define(every=MINUTE, n=400)
    back = (65 * MINUTE, lambda life: life.shift(-5 * HOUR))
    world.live((64 * MINUTE + 40 * SECOND, lambda life: life.shift(5 * HOUR)), back, (66 * MINUTE, Life.kill))
    world.journal.clear()
    world.live((MINUTE, Life.kill), off=SECOND, boot=Boot())
    assert "scan_succeeded" in [action for action, _ in retold(world)]
    assert len([1 for action, _ in retold(world) if action == "slots_given_back"]) == 1


def test_beginning_and_cancellation_before_a_power_cut_are_told_again(rig):
    """They are no slot's."""
    world = rig()
    world.define(every=HOUR, n=3)
    world.live((MINUTE, Life.cancel), (2 * MINUTE, Life.kill))
    world.journal.clear()
    world.live(off=MINUTE, boot=Boot())
    accepted = "tl from its definition: 3 slots, 09:00 to 11:00"
    assert retold(world) == [
        ("definition_accepted", f"retold from the store: {accepted}"),
        ("timelapse_cancelled", "retold from the store: tl by anna: plants died; 0 taken, 0 failed, 3 skipped"),
    ]


@pytest.mark.parametrize(
    ("then", "told"),
    [
        ((), ("paused", "tl: paused by anna at 08:01, until timelapsectl resume")),
        (((2 * MINUTE, Life.resume),), ("pause_ended", "tl: paused by anna at 08:01, until 08:02, ended by ben")),
    ],
)
def test_pause_and_its_end_before_a_power_cut_are_told_again(rig, then, told):
    """Who has paused or resumed is on disk, also once it is over."""
    world = rig()
    world.define(every=HOUR, n=3)
    world.live((MINUTE, lambda life: life.pause_for(None)), *then, (3 * MINUTE, Life.kill))
    world.live(off=MINUTE, boot=Boot())
    action, words = told
    assert retold(world)[1:] == [(action, f"retold from the store: {words}")]


def test_amendment_before_a_power_cut_is_told_again(rig):
    """With what it has changed, and who has made it."""
    world = rig()
    world.define(every=HOUR, n=3)
    world.live((MINUTE, lambda life: life.amend(HOUR, 5)), (2 * MINUTE, Life.kill))
    (line,) = [line.sentence for line in world.journal if line.action == "amended"]
    world.live(off=MINUTE, boot=Boot())
    assert "3 slots to come become 5" in line
    assert retold(world)[1:] == [("amended", f"retold from the store: {line}")]


def test_end_of_a_timelapse_that_made_room_before_a_power_cut_is_told_again(rig):
    """The store is the next one's by then; the archive has what became of the slots, of one after the other."""
    world = rig()
    world.define(at=[HOUR, HOUR + MINUTE])
    world.behaviour = lambda request: Behaviour(problem=ScanFailed("no light") if request.index else None)
    soon = ((HOUR + minutes * MINUTE, lambda life, name=name: life.define(name, HOUR, 1)) for minutes, name in NEXT)
    world.live(*soon, (HOUR + 4 * MINUTE, Life.kill))
    world.journal.clear()
    for _ in range(2):
        world.live((MINUTE, Life.kill), off=MINUTE, boot=Boot())
        assert [(line.fields["TIMELAPSE_ID"], line.action) for line in world.journal if "RETOLD" in line.fields] == [
            ("tl", "scan_succeeded"),
            ("tl", "scan_failed"),
            ("tl", "timelapse_completed"),
            ("second", "definition_accepted"),
            ("second", "scan_succeeded"),
            ("second", "timelapse_completed"),
            ("third", "definition_accepted"),
            ("third", "scan_succeeded"),
            ("third", "timelapse_completed"),
        ]
        world.journal.clear()


def test_end_of_a_timelapse_whose_archive_is_gone_is_not_told_again(rig):
    """The lines about the one in the store are."""
    world = rig()
    world.define(start=HOUR)
    world.live((HOUR + MINUTE, lambda life: life.define("second", HOUR, 3)), (HOUR + 2 * MINUTE, Life.kill))
    (world.places.history / "tl.json").write_text("{")
    world.journal.clear()
    world.live((MINUTE, Life.kill), off=MINUTE, boot=Boot())
    assert {line.fields["TIMELAPSE_ID"] for line in world.journal if "RETOLD" in line.fields} == {"second"}


def test_what_was_told_again_is_told_once_more_after_the_next_power_cut_alone(rig):
    """The lines that told it again were in journald's memory, too."""
    world = rig()
    world.define(every=HOUR, n=9)
    world.live((61 * MINUTE, Life.kill))
    for off in (MINUTE, MINUTE):
        world.journal.clear()
        world.live((MINUTE, Life.kill), off=off, boot=Boot())
        assert [action for action, _ in retold(world)] == ["scan_succeeded"]
    world.live((10 * MINUTE, Life.kill), off=MINUTE, watchdog=MINUTE)
    world.journal.clear()
    world.live((MINUTE, Life.kill), off=MINUTE, boot=Boot())
    assert retold(world) == []


def test_end_that_was_told_again_is_told_once_more_after_the_next_power_cut_alone(rig):
    """Those lines were in journald's memory, too; nothing else is saved once the timelapse has ended."""
    world = rig()
    world.define(every=HOUR, n=1)
    world.live((61 * MINUTE, Life.kill))
    told = []
    for off in (10 * MINUTE, MINUTE, HOUR, HOUR):
        world.journal.clear()
        world.live((MINUTE, Life.kill), off=off, boot=Boot())
        told.append([action for action, _ in retold(world)])
    again = ["scan_succeeded", "timelapse_completed"]
    assert told == [again, again, again, []]


def test_wait_for_a_rig_and_a_failed_attempt_before_a_power_cut_are_told_again(rig):
    """Nothing is left of them but their record."""
    world = rig()
    world.define(every=10 * MINUTE, n=3, grace=4 * MINUTE, retries=3)
    fails = Behaviour(problem=ScanFailed("no light"))
    world.behaviour = lambda request: fails if request.attempt == 1 else Behaviour(takes=2 * MINUTE)
    world.live((61 * MINUTE, Life.kill))
    world.journal.clear()
    world.prepares = iter([ScannerNotReady("no relay")] * 99)
    world.live((2 * MINUTE, Life.kill), off=SECOND, boot=Boot())
    assert retold(world) == [("attempt_failed", "retold from the store: tl_0: no light; the 2nd attempt was begun")]
    world.journal.clear()
    world.live((SECOND, Life.kill), off=SECOND, boot=Boot())
    assert [action for action, _ in retold(world)] == ["rig_not_ready"]


@pytest.mark.parametrize("boot", [None, Boot()])
def test_daemon_that_was_stopped_has_nothing_told_again(rig, boot):
    """Every line was written before it ended, and journald is stopped in order with the machine."""
    world = rig()
    world.define(every=HOUR, n=3)
    world.live((61 * MINUTE, Life.stop))
    world.live(off=MINUTE, boot=boot)
    assert retold(world) == []


def test_slots_that_were_saved_by_a_daemon_that_was_killed_before_it_said_so_are_told(rig, monkeypatch):
    """The other lines are in the journal: the machine went on."""
    world = rig()
    world.define(every=HOUR, n=5)
    world.live((61 * MINUTE, Life.kill))
    with monkeypatch.context() as patch:
        at_ready(patch, world, Life.die_after_save)
        world.live(off=2 * HOUR + 10 * MINUTE)
    assert not world.said("slot_skipped")
    world.live((MINUTE, Life.kill), off=5 * SECOND)
    words = "2 slots from 10:00 to 11:00 were missed while the daemon was not running (grace 2 min)"
    assert retold(world) == [("slot_skipped", f"retold from the store: {words}")]
    world.live(off=5 * SECOND)
    assert len(retold(world)) == 1


def test_slots_that_follow_one_another_closely_are_told_again_for_five_minutes_back(rig):
    """However densely they are recorded, those of long before are in the journal."""
    world = rig()
    world.define(every=10 * SECOND, n=200, warmup=NONE)
    world.behaviour = lambda _: Behaviour(takes=SECOND)
    world.live((HOUR + 20 * MINUTE, Life.kill))
    entries = load_timelapse(world.places.store).stored.logbook.recent
    spans = [span for entry in entries for span in entry.slots]
    assert 30 <= sum(last - first + 1 for first, last in spans) <= 45


def test_no_more_than_some_lines_are_told_again(rig):
    """The newest; a person finds the others in the store."""
    world = rig()
    world.define(every=5 * SECOND, n=60, warmup=NONE)
    world.behaviour = lambda _: Behaviour(takes=SECOND)
    world.live((HOUR + 4 * MINUTE, Life.kill))
    world.live(off=MINUTE, boot=Boot())
    slots = [line.fields["SLOT"] for line in world.journal if line.fields.get("RETOLD") == "yes"]
    assert len(slots) == MAX_RETOLD
    assert slots == sorted(slots)


def absences(world):
    """Return what the store knows of the times without a daemon: uncertain and certain ones, after START."""
    logbook = load_timelapse(world.places.store).stored.logbook
    return tuple([tuple(at - START for at in span) for span in spans] for spans in (logbook.uncertain, logbook.outages))


def test_outage_begins_when_the_daemon_last_showed_its_status(rig):
    """Under systemd it does every minute, long after its last save."""
    world = rig()
    world.define(every=4 * HOUR, n=3)
    world.live((3 * HOUR, Life.kill), watchdog=MINUTE)
    world.live((NONE, Life.kill), off=6 * HOUR, boot=Boot())
    uncertain, ((began, over),) = absences(world)
    assert (uncertain, over) == ([], 9 * HOUR + 20 * SECOND)
    assert timedelta(0) <= 3 * HOUR - began <= MINUTE


def test_outage_without_a_sign_of_life_is_uncertain_until_a_slot_was_missed(rig):
    """Nothing was written between two slots."""
    world = rig()
    world.define(every=4 * HOUR, n=3)
    world.live((3 * HOUR, Life.kill))
    world.live((NONE, Life.kill), off=6 * HOUR, boot=Boot())
    saved_at, due, over = HOUR + 30 * SECOND, 5 * HOUR + 2 * MINUTE, 9 * HOUR + 20 * SECOND
    assert absences(world) == ([(saved_at, due)], [(due, over)])


def test_restart_after_a_stop_leaves_nothing_uncertain(rig):
    """A daemon that ends by itself leaves the time."""
    world = rig()
    world.define(every=4 * HOUR, n=3)
    world.live((3 * HOUR, Life.stop))
    world.live((NONE, Life.kill), off=5 * SECOND)
    uncertain, ((began, over),) = absences(world)
    assert (uncertain, over - began) == ([], 5 * SECOND)


def test_slot_begun_right_after_the_clock_was_set_during_a_start_keeps_its_time(rig, monkeypatch):
    """The network may answer while the driver looks for the dataset that was cut off."""
    world = rig()
    world.define(every=HOUR, n=3)
    world.behaviour = lambda _: Behaviour(takes=20 * MINUTE)
    world.live((61 * MINUTE, Life.kill))
    monkeypatch.setattr(ScriptedDriver, "recover", lambda *_: world.lives[-1].shift(50 * MINUTE))
    world.live(off=10 * MINUTE)
    assert len(world.said("clock_moved")) == 1
    second = world.stored().records[1]
    assert (second.started_at, second.took) == (START + 2 * HOUR + MINUTE + SECOND, 20 * MINUTE)  # behind its warm-up


def test_what_was_moved_for_a_dataset_that_was_found_is_told(rig, monkeypatch):
    """As it is where the scan ends in the usual way."""
    world = rig()
    world.define(every=HOUR, n=2)
    world.behaviour = lambda _: Behaviour(takes=20 * MINUTE)
    world.live((61 * MINUTE, Life.kill))
    moved = ScanResult(pictures=3, note="what was at tl_0 is now at tl_0.earlier-1")
    monkeypatch.setattr(ScriptedDriver, "recover", lambda *_: moved)
    world.live((MINUTE, Life.kill), off=MINUTE)
    assert world.said("scan_recovered") == [f"tl_0: slot 0 of 2 had been finished; recorded as taken ({moved.note})"]


def test_scan_that_a_failing_disk_hides_at_the_start_is_asked_about_again(rig, monkeypatch):
    """A disk that can't be read says neither yes nor no."""
    world = rig()
    world.define(every=HOUR, n=2)
    world.behaviour = lambda _: Behaviour(takes=20 * MINUTE)
    world.live((61 * MINUTE, Life.kill))
    answers = [ScannerNotReady("Input/output error")]

    def recover(*_):
        if answers:
            raise answers.pop()
        return ScanResult(pictures=3)

    monkeypatch.setattr(ScriptedDriver, "recover", recover)
    world.live(off=MINUTE)
    assert not answers
    first = world.stored().records[0]
    assert (first.status, first.pictures) == (RecordStatus.SUCCEEDED, 3)
    assert world.scans() == [(0, 1), (1, 1)]


def test_start_that_is_stopped_while_the_driver_is_asked_begins_no_scan(rig, monkeypatch):
    """The driver's answer is saved, and the slot stays next."""
    world = rig()
    world.define(every=HOUR, n=3, grace=30 * MINUTE)
    world.behaviour = lambda _: Behaviour(takes=20 * MINUTE)
    world.live((61 * MINUTE, Life.kill))
    monkeypatch.setattr(ScriptedDriver, "recover", lambda *_: world.lives[-1].stop())
    life = world.live(off=MINUTE)
    assert life.ended is End.STOPPED
    assert world.scans() == [(0, 1)]
    record = world.stored().records[0]
    assert (record.status, record.interruptions) == (RecordStatus.INTERRUPTED, 1)


def test_status_says_that_the_clock_is_trusted_as_soon_as_it_is(rig, monkeypatch):
    """The driver may take minutes to answer, and the disk to save, before there is a schedule to show."""
    world = rig()
    world.define(every=HOUR, n=3)
    world.behaviour = lambda _: Behaviour(takes=20 * MINUTE)
    world.live((61 * MINUTE, Life.kill))
    seen = []

    def recover(*_):
        seen.append((world.lives[-1].notices.statuses[-1], read_live(world.places.store).clock))

    monkeypatch.setattr(ScriptedDriver, "recover", recover)
    world.live(off=MINUTE, boot=Boot(wrong_by=-10 * DAY, evidence=UNSYNCHRONISED, ntp_after=40 * SECOND))
    assert seen == [("clock trusted, judging the slots since the last save", "trusted")]


def test_outage_is_no_reason_for_a_slot_that_was_missed_while_the_driver_was_asked(rig, monkeypatch):
    """The daemon was there again when it was due."""
    world = rig()
    world.define(every=5 * MINUTE, n=5)
    world.behaviour = lambda _: Behaviour(takes=4 * MINUTE)
    world.live((61 * MINUTE, Life.kill))
    recover_takes(monkeypatch, world, 4 * MINUTE)
    world.live(off=7 * MINUTE + 30 * SECOND)
    assert [record.error["msg"] for record in world.stored().records.values() if record.error] == [
        "the daemon was killed while it was being taken",
        "the daemon was not running",
        "2 min 30 s late, grace 2 min",
    ]
    assert world.said("slot_skipped") == [
        "slot 1 (09:05) was missed while the daemon was not running (3 min 30 s late, grace 2 min)",
        "slot 2 (09:10) was missed (2 min 30 s late, grace 2 min)",
    ]


def test_outage_is_no_reason_for_a_slot_that_was_missed_while_the_clock_was_not_trusted(rig):
    """The rig was on when it was due."""
    world = rig(clock_wait=10 * MINUTE)
    world.define(every=5 * MINUTE, n=5)
    world.live((61 * MINUTE, Life.kill))
    world.live(off=8 * MINUTE, boot=Boot(evidence=UNSYNCHRONISED))
    assert world.said("slot_skipped") == [
        "slot 1 (09:05) was missed while the rig was off (4 min 20 s late, grace 2 min)",
        "2 slots from 09:10 to 09:15 were missed (grace 2 min)",
    ]


def test_store_that_another_program_writes_during_the_start_is_kept(rig, monkeypatch):
    """Between the reading of the store and the first save, the definition is read and the driver asked."""
    world = rig()
    world.define(every=HOUR, n=3)
    world.live((MINUTE, Life.kill))
    store, real = world.places.store, DefinitionIntake.look
    theirs = json.dumps({**json.loads(store.read_bytes()), "theirs": 1})

    def look(pickup):
        store.write_text(theirs)
        return real(pickup)

    with monkeypatch.context() as patch:
        patch.setattr(DefinitionIntake, "look", look)
        world.live((MINUTE, Life.kill), off=MINUTE)
    (kept,) = store.parent.glob("*.foreign-*")
    assert kept.read_text() == theirs
    assert len(world.said("store_changed")) == 1


def test_timelapse_that_makes_room_is_archived_as_it_ended(rig):
    """With the missed slots, though the store itself was not saved yet."""
    world = rig()
    world.define(every=HOUR, n=3)
    world.live((61 * MINUTE, Life.kill))
    world.define(start=DAY, name="next")
    world.live((NONE, Life.kill), off=6 * HOUR, boot=Boot())
    (ended,) = world.archived()
    assert [record.status.value for record in ended.records.values()] == ["succeeded", "skipped", "skipped"]
    assert ended.state is TimeLapseState.COMPLETED
    assert world.stored().id == "next"


def test_newest_missed_slot_is_taken_at_once_with_run_latest(rig):
    """The plant has grown meanwhile: a late picture is better than none."""
    world = rig(missed=Missed.RUN_LATEST)
    world.define(every=HOUR, n=6)
    world.live((61 * MINUTE, Life.kill))
    world.live(off=3 * HOUR + 10 * MINUTE, boot=Boot())
    assert world.statuses() == ["succeeded", "skipped", "skipped", "succeeded", "succeeded", "succeeded"]
    assert world.scans_at()[1] == 4 * HOUR + 11 * MINUTE + 20 * SECOND + SECOND  # the boot, and the warm-up


def test_slot_that_was_cut_off_is_not_run_as_the_latest(rig):
    """Else a scan that ends the process would be attempted again and again."""
    world = rig(missed=Missed.RUN_LATEST)
    world.define(every=HOUR, n=1)
    world.behaviour = lambda _: Behaviour(takes=10 * MINUTE)
    world.live((HOUR + 30 * SECOND, Life.kill))
    world.live((30 * SECOND, Life.kill), off=SECOND)
    world.live(off=2 * MINUTE)
    assert world.statuses() == ["interrupted"]
    assert world.stored().state is TimeLapseState.COMPLETED


def test_rig_that_is_absent_for_the_latest_slot_is_asked_until_the_next_is_due(rig):
    """Its grace period is over, and the journal doesn't name its end."""
    world = rig(missed=Missed.RUN_LATEST)
    world.define(every=HOUR, n=3)
    world.live((61 * MINUTE, Life.kill))
    world.behaviour = lambda _: Behaviour(takes=SECOND, problem=ScannerNotReady("no USB device"))
    world.live((2 * MINUTE, Life.kill), off=90 * MINUTE, boot=Boot())
    assert world.said("rig_not_ready")[-1].endswith("; it is asked again until the next slot is due")


def test_newest_missed_slot_gives_way_to_one_that_is_due(rig):
    """Two scans within a minute are of no use."""
    world = rig(missed=Missed.RUN_LATEST)
    world.define(every=HOUR, n=4, grace=10 * MINUTE)
    world.live((61 * MINUTE, Life.kill))
    world.live(off=2 * HOUR + 3 * MINUTE, boot=Boot())
    assert world.statuses() == ["succeeded", "skipped", "succeeded", "succeeded"]


def foreign_store(world, configuration=None):
    """Write the store of another controller, with a slot to come."""
    world.define(at=[2 * HOUR])
    world.live((MINUTE, Life.stop))
    (world.directory / "config" / "timelapse.toml").unlink()
    path = world.places.store
    store = json.loads(path.read_text())
    store["extra"] = {} if configuration is None else {"config_snapshot": configuration}
    path.write_text(json.dumps(store))
    path.with_name("store.json.bak").unlink(missing_ok=True)


PATH = {"ScanPath": {"class_name": "Circle", "kwargs": {}}}
BY_DEFAULT = "its slots are scanned as the driver simulated does by default"


@pytest.mark.parametrize(
    ("configuration", "table", "said"),
    [
        (PATH, {}, []),
        (None, PATH, ["the store has no scan configuration; its slots are scanned as the table [scan] of"]),
        (None, {}, [f"the store has no scan configuration; {BY_DEFAULT}"]),
        ({"picamera": {}}, {}, [f"the store has no scan path; {BY_DEFAULT}"]),
    ],
)
def test_store_that_does_not_say_how_it_is_scanned_is_told_with_what_scans_it(rig, configuration, table, said):
    """In the journal at the resume, and in the live status as long as the daemon runs."""
    world = rig()
    foreign_store(world, configuration)
    world.configure(scan=table)
    seen = []
    world.live((MINUTE, lambda life: seen.extend(read_live(life.world.places.store).notes)))
    warned = [line for line in world.journal if line.action == "scan_assumed"]
    assert [line.sentence.startswith(f"tl: {words}") for line, words in zip(warned, said, strict=True)] == [True] * len(
        said
    )
    assert [f"tl: {note}" for note in seen if "scanned as" in note] == [line.sentence for line in warned]


def test_definition_of_the_same_name_is_named_as_the_source_of_the_scan(rig):
    """It comes before the table [scan]."""
    world = rig()
    foreign_store(world)
    world.configure(scan=PATH)
    world.define(at=[2 * HOUR])
    world.live((MINUTE, Life.stop))
    (said,) = world.said("scan_assumed")
    assert f"scanned as its definition {world.directory}/config/timelapse.toml says" in said


def test_timelapse_whose_definition_leaves_the_path_to_the_driver_is_no_news(rig):
    """`preview` shows it, and the person wrote it so."""
    world = rig()
    world.define(at=[2 * HOUR])
    world.live((MINUTE, Life.stop))
    world.live()
    assert not world.said("scan_assumed")


def test_slow_recover_that_reports_is_waited_for(rig):
    """A killed daemon had taken all pictures, and the card is slow: the next one puts them on disk, and says so."""
    world = rig(stall_timeout=2 * MINUTE)
    world.define(every=HOUR, n=2, grace=HOUR / 2)
    world.live((HOUR + 10 * SECOND, Life.kill))
    world.datasets.add("tl_0")
    world.slow = {Bounded.RECOVER: 20 * MINUTE}
    life = world.live(off=5 * SECOND)
    assert world.statuses() == ["succeeded", "succeeded"]
    assert "looking for the scan that was cut off: putting a file on disk" in life.notices.statuses


def test_recover_that_reports_nothing_is_given_up(rig):
    """It counts as hung after ``stall_timeout``, and the process is replaced."""
    world = rig(stall_timeout=2 * MINUTE)
    world.define(every=HOUR, n=2, grace=HOUR / 2)
    world.live((HOUR + 10 * SECOND, Life.kill))
    world.slow, world.recover_reports = {Bounded.RECOVER: 20 * MINUTE}, False
    life = world.live(off=5 * SECOND)
    assert life.ended is End.ABANDONED
    world.slow = {}
    world.live(off=5 * SECOND)
    assert world.statuses() == ["succeeded", "succeeded"]


def test_recover_has_the_time_that_its_driver_asks_for(rig, monkeypatch):
    """A program that says what became of a scan may have a time-out of its own, and report nothing."""
    monkeypatch.setattr(ScriptedDriver, "call_timeout", 30 * MINUTE)
    world = rig(stall_timeout=2 * MINUTE)
    world.define(every=HOUR, n=2, grace=HOUR / 2)
    world.live((HOUR + 10 * SECOND, Life.kill))
    world.slow, world.recover_reports = {Bounded.RECOVER: 20 * MINUTE}, False
    assert world.live(off=5 * SECOND).ended is End.IDLE


DEAF = Behaviour(takes=None, progress=None, stops_in=None)
"""A call that never ends."""


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("ends_all", [False, True])
def test_unsettled_attempt_whose_dataset_is_whole_is_recorded_as_taken(rig, n, ends_all):
    """It was only slow to put its pictures on disk; the next process asks, whatever the record says."""
    world = rig(stall_timeout=5 * MINUTE)
    world.define(every=HOUR, n=n, policy="fail_timelapse" if ends_all else "skip_scan")
    world.behaviour = lambda request: DEAF if request.index == 0 else Behaviour()
    assert world.live().ended is End.ABANDONED
    assert world.stored().records[0].status is RecordStatus.FAILED
    world.datasets.add("tl_0" if n > 1 else "tl")
    world.live((30 * MINUTE, Life.kill), off=5 * SECOND)
    record = world.stored().records[0]
    assert (record.status, record.error, record.pictures) == (RecordStatus.SUCCEEDED, None, 1)
    assert len(world.said("scan_recovered")) == 1
    assert world.stored().state is not TimeLapseState.FAILED


@pytest.mark.parametrize(
    ("finished", "took"), [(12 * SECOND, 12 * SECOND), (None, None), (-HOUR, None), (20 * DAY, None), (-SECOND, NONE)]
)
def test_scan_found_whole_at_the_next_start_took_as_long_as_its_files_say(rig, finished, took):
    """Not until the start that found it. Where its files say what can't be, nobody knows how long it took."""
    world = rig()
    world.define(every=HOUR, n=2)
    world.behaviour = lambda _: Behaviour(takes=5 * MINUTE)
    world.live((HOUR + 40 * SECOND, Life.kill))
    began = world.stored().records[0].started_at
    world.datasets.add("tl_0")
    if finished is not None:
        world.finished_at["tl_0"] = began + finished
    world.live((MINUTE, Life.kill), off=3 * HOUR, boot=Boot())
    record = world.stored().records[0]
    assert (record.status, record.took) == (RecordStatus.SUCCEEDED, took)


def test_timelapse_that_ended_by_a_failure_that_was_none_goes_on(rig):
    """Its first slot is whole after all: the slots to come are taken, those that passed meanwhile stay skipped."""
    world = rig(stall_timeout=5 * MINUTE)
    world.define(every=HOUR, n=5, policy="fail_timelapse")
    world.behaviour = lambda request: DEAF if request.index == 0 else Behaviour()
    world.live()
    assert world.stored().state is TimeLapseState.FAILED
    world.datasets.add("tl_0")
    world.live(off=90 * MINUTE)
    assert world.statuses() == ["succeeded", "skipped", "succeeded", "succeeded", "succeeded"]
    assert (world.stored().state, world.stored().ending) == (TimeLapseState.COMPLETED, None)
    said = ["3 slots from 11:00 to 13:00, skipped for a failure that was none, can still be taken"]
    assert world.said("slots_given_back") == said
    assert len(world.said("scan_recovered")) == len(world.said("definition_accepted")) == 1


def test_each_unsettled_attempt_is_asked_about_by_one_start(rig):
    """Two of them, of which one start had no answer to ask for, and the one that was cut off."""
    world = rig(stall_timeout=5 * MINUTE, scan_timeout=40 * MINUTE)
    world.define(every=HOUR, n=4)
    world.behaviour = lambda request: DEAF if request.index < 2 else Behaviour(takes=30 * MINUTE)
    world.live()
    world.hangs = {Bounded.LOOK}
    world.live(off=5 * SECOND)
    world.live((25 * MINUTE, Life.kill), off=5 * SECOND)
    assert world.statuses() == ["failed", "failed", "running"]
    world.hangs, world.datasets = set(), {"tl_0", "tl_1"}
    world.live(off=5 * SECOND)
    assert world.statuses() == ["succeeded", "succeeded", "interrupted", "succeeded"]
    assert len(world.said("scan_recovered")) == 2


def test_question_about_an_unsettled_attempt_that_hangs_is_not_repeated(rig):
    """Else each start would hang."""
    world = rig(stall_timeout=5 * MINUTE)
    world.define(every=2 * HOUR, n=2)
    world.behaviour = lambda request: DEAF if request.index == 0 else Behaviour()
    world.live()
    world.hangs = {Bounded.RECOVER}
    assert world.live(off=5 * SECOND).ended is End.ABANDONED
    world.live(off=5 * SECOND)
    assert world.statuses() == ["failed", "succeeded"]


def stop_in_mid_scan(world):
    world.live((HOUR + MINUTE, Life.stop))


def cancel_in_mid_scan(world):
    world.live((HOUR + MINUTE, Life.cancel))


def cancel_and_stop_in_mid_scan(world):
    world.live((HOUR + MINUTE, Life.cancel), (HOUR + MINUTE + SECOND, Life.stop))


ABANDONMENTS = [
    (stop_in_mid_scan, ["succeeded", "succeeded"], TimeLapseState.COMPLETED),
    (cancel_in_mid_scan, ["succeeded", "skipped"], TimeLapseState.CANCELLED),
    (cancel_and_stop_in_mid_scan, ["succeeded", "skipped"], TimeLapseState.CANCELLED),
]
"""How a call is abandoned while its record says something else than that it failed, and what becomes of the slots."""


@pytest.mark.parametrize(("abandon", "statuses", "state"), ABANDONMENTS)
@pytest.mark.parametrize("off", [5 * SECOND, 30 * MINUTE])
def test_unsettled_attempt_is_asked_about_whatever_its_record_says(rig, abandon, statuses, state, off):
    """At a stop, or after a cancellation, within its grace period or after it; no slot is taken twice."""
    world = rig(stall_timeout=5 * MINUTE)
    world.define(every=HOUR, n=2)
    world.behaviour = lambda request: DEAF if request.index == 0 else Behaviour()
    abandon(world)
    assert world.lives[-1].ended is End.ABANDONED
    assert world.stored().records[0].status is RecordStatus.INTERRUPTED
    world.datasets.add("tl_0")
    world.live(off=off)
    record = world.stored().records[0]
    assert (record.status, record.error, record.pictures) == (RecordStatus.SUCCEEDED, None, 1)
    assert (world.statuses(), world.stored().state) == (statuses, state)
    assert world.scans()[1:] == ([(1, 1)] if state is TimeLapseState.COMPLETED else [])
    assert len(world.said("scan_recovered")) == 1


@pytest.mark.parametrize(
    ("abandon", "status"),
    [
        (World.live, "failed"),
        (stop_in_mid_scan, "interrupted"),
        (cancel_in_mid_scan, "interrupted"),
        (cancel_and_stop_in_mid_scan, "interrupted"),
    ],
)
def test_unsettled_attempt_that_left_nothing_is_asked_about_once(rig, monkeypatch, abandon, status):
    """It stays as it is recorded, without another line, as if nobody had asked."""
    asked = []
    monkeypatch.setattr(ScriptedDriver, "recover", lambda _, request: asked.append(request.scan_id))
    world = rig(stall_timeout=5 * MINUTE)
    world.define(every=HOUR, n=2, grace=10 * MINUTE)
    world.behaviour = lambda request: DEAF if (request.index, request.attempt) == (0, 1) else Behaviour()
    abandon(world)
    for _ in range(3):
        world.live((10 * SECOND, Life.stop), off=5 * SECOND)
    assert asked == ["tl_0"]
    assert (world.statuses()[0], len(world.said("scan_failed"))) == (status, int(status == "failed"))


def test_cancelled_attempt_whose_daemon_is_killed_is_asked_about(rig):
    """Its pictures were being put on disk; one that came to its end before is not asked about."""
    world = rig()
    world.define(every=HOUR, n=2)
    world.behaviour = lambda _: Behaviour(takes=10 * MINUTE, stops_in=None)
    world.live((HOUR + MINUTE, Life.cancel), (HOUR + MINUTE + 5 * SECOND, Life.kill))
    world.datasets.add("tl_0")
    world.live((MINUTE, Life.kill), off=5 * SECOND)
    assert world.statuses() == ["succeeded", "skipped"]


def test_cancelled_attempt_that_has_ended_is_not_asked_about(rig, monkeypatch):
    """The driver has answered by then."""
    asked = []
    monkeypatch.setattr(ScriptedDriver, "recover", lambda _, request: asked.append(request.scan_id))
    world = rig()
    world.define(every=HOUR, n=2)
    world.behaviour = lambda _: Behaviour(takes=10 * MINUTE)
    world.live((HOUR + MINUTE, Life.cancel), (HOUR + 2 * MINUTE, Life.kill))
    world.live((MINUTE, Life.kill), off=5 * SECOND)
    assert (asked, world.statuses()) == ([], ["interrupted", "skipped"])
