"""What the daemon does about time, scenario by scenario: the real daemon and store, a virtual clock, a scripted rig."""

import errno
import json
import logging
import threading
from datetime import timedelta

import pytest
from simulation import (
    DAY,
    HOUR,
    MINUTE,
    NONE,
    SECOND,
    START,
    YEAR,
    Behaviour,
    Boot,
    End,
    Life,
    Notices,
    ScriptedDriver,
    World,
)
from virtual_time import FROM_RTC, UNSYNCHRONISED, Wake

from plantimager.timelapse.channel.live import read_live
from plantimager.timelapse.daemon import conductor
from plantimager.timelapse.daemon.conductor import CANCEL_PATIENCE
from plantimager.timelapse.daemon.pickup import PickUp
from plantimager.timelapse.domain.states import Reason, RecordStatus, TimeLapseState
from plantimager.timelapse.drivers.base import Call
from plantimager.timelapse.settings.config import ClockPolicy, Config, Missed
from plantimager.timelapse.support.errors import ScanFailed, ScannerNotReady

WITHOUT_NETWORK = Boot(wrong_by=-10 * DAY, evidence=UNSYNCHRONISED)
"""A Raspberry Pi boots in the past and nobody tells it the time."""


@pytest.fixture
def rig(tmp_path):
    """Return how to make a rig with a configuration."""

    def make(**config):
        return World(tmp_path / "rig", Config(**config))

    return make


def statuses(world):
    """Return what became of the slots, as words."""
    return [record.status.value for _, record in sorted(world.stored().records.items())]


def reasons(world):
    """Return why the slots were not taken that were not."""
    return [record.reason for _, record in sorted(world.stored().records.items())]


def scans_at(world):
    """Return when, after START by the wall clock, each scan was begun."""
    return [after for call, after in world.calls() if call == "scan"]


# --- a clock that isn't trusted -----------------------------------------------------------------------


def test_nothing_is_decided_while_the_clock_is_not_trusted(rig):
    """Slots are due by the wrong clock and missed by the right one: neither counts, and STATUS says why."""
    world = rig()
    world.define(every=HOUR, n=3)
    world.live((MINUTE, Life.kill))
    before = world.places.store.read_bytes()
    life = world.live((9 * MINUTE, Life.kill), boot=WITHOUT_NETWORK)
    assert life.notices.statuses == ["clock not trusted yet (9 d 23 h before the last write), nothing is decided"]
    assert not life.notices.is_ready
    assert world.said("clock_wait")[0].endswith("nothing is decided")
    assert world.places.store.read_bytes() == before
    assert world.calls() == [("standby", NONE)]


def test_schedule_stands_as_soon_as_the_network_tells_the_time(rig):
    """What was missed meanwhile is judged by the right clock, and the setting itself is no event any more."""
    world = rig()
    world.define(every=HOUR, n=3, grace=MINUTE)
    world.live((MINUTE, Life.kill))
    boot = Boot(wrong_by=-10 * DAY, evidence=UNSYNCHRONISED, ntp_after=40 * SECOND)
    life = world.live(off=90 * MINUTE, boot=boot)
    assert statuses(world) == ["skipped", "succeeded", "succeeded"]
    assert reasons(world)[0] is Reason.MISSED
    assert life.notices.is_ready
    assert world.said("clock_moved") == []


def test_clock_that_nobody_vouches_for_is_trusted_when_clock_wait_is_over(rig):
    """Counted from the machine's boot, so that a restart of the service alone does not wait a second time."""
    world = rig(clock_wait=10 * MINUTE)
    world.define(start=20 * MINUTE)
    boot = Boot(evidence=UNSYNCHRONISED)
    first = world.live((10 * MINUTE, Life.kill), boot=boot)
    assert first.notices.is_ready
    assert world.said("clock_trusted") == [
        "kernel: unsynchronised, but nothing better came within 10 min of boot (kernel: unsynchronised)"
    ]
    second = world.live(off=SECOND)
    assert world.said("clock_wait")[1:] == []
    assert second.ended is End.IDLE
    assert statuses(world) == ["succeeded"]


def test_clock_behind_the_last_write_is_not_trusted_even_after_clock_wait(rig):
    """It can't be right: the daemon waits until it has passed that moment."""
    world = rig(clock_wait=MINUTE)
    world.define(start=12 * HOUR)
    world.live((HOUR, Life.kill))
    world.live(boot=Boot(wrong_by=-2 * HOUR, evidence=UNSYNCHRONISED))
    first, second = [at for call, at in world.calls() if call == "standby"][:2]
    assert first == NONE, "the last write was then, too"
    assert NONE <= second < 10 * SECOND
    assert statuses(world) == ["succeeded"]


def test_operator_can_vouch_for_the_clock(rig):
    """``clock = "trust"``: no wait, whatever the kernel says."""
    world = rig(clock=ClockPolicy.TRUST)
    world.define()
    life = world.live(boot=Boot(evidence=UNSYNCHRONISED))
    assert life.notices.is_ready
    assert world.said("clock_wait") == []
    assert statuses(world) == ["succeeded"]


def test_ntp_only_waits_for_the_network_however_long_that_takes(rig):
    """Neither clock_wait nor a real-time clock will do."""
    world = rig(clock=ClockPolicy.NTP_ONLY, clock_wait=MINUTE)
    world.define(start=6 * HOUR)
    life = world.live(boot=Boot(evidence=FROM_RTC, ntp_after=5 * HOUR))
    waited = next(index for index, text in enumerate(life.notices.sent) if text == "READY=1")
    *waiting, trusted, extended = life.notices.sent[:waited]
    assert all("not trusted" in text or "EXTEND" in text for text in waiting)
    assert (trusted.startswith("STATUS=clock trusted"), extended.startswith("EXTEND")) == (True, True)
    assert world.ledger[0].true_at >= START + 5 * HOUR
    assert statuses(world) == ["succeeded"]


def test_reload_lets_the_operator_end_the_wait_for_the_clock(rig):
    """The way out for somebody in front of a rig without network, at once."""
    world = rig(clock=ClockPolicy.NTP_ONLY)
    world.define()

    def vouch(life):
        life.world.configure(clock=ClockPolicy.TRUST)
        life.reload()

    world.live((61 * SECOND, vouch), boot=Boot(evidence=UNSYNCHRONISED))
    assert world.said("clock_trusted") == ['clock = "trust" (kernel: unsynchronised)']
    assert world.ledger[0].true_at - START == 61 * SECOND + 20 * SECOND
    assert statuses(world) == ["succeeded"]


def test_request_waits_for_a_clock_that_can_be_trusted(rig):
    """To cancel writes when: that can't be undone either."""
    world = rig()
    world.define()
    world.live((MINUTE, Life.kill))
    boot = Boot(evidence=UNSYNCHRONISED, ntp_after=MINUTE)
    world.live((10 * SECOND, Life.cancel), boot=boot)
    assert world.actions()[-1] == "timelapse_cancelled"
    assert world.stored().ending.at == START + 2 * MINUTE + 20 * SECOND


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


# --- a clock that is set --------------------------------------------------------------------------------


def test_clock_set_forward_over_slots(rig):
    """Those still within their grace are taken, the rest recorded as skipped because of it, in one line."""
    world = rig()
    world.define(every=HOUR, n=6, grace=10 * MINUTE)
    world.live((90 * MINUTE, lambda life: life.shift(3 * HOUR - 25 * MINUTE)))
    assert statuses(world) == ["succeeded", "skipped", "skipped", "succeeded", "succeeded", "succeeded"]
    assert reasons(world)[1:3] == [Reason.CLOCK_MOVED] * 2
    assert world.said("clock_moved") == ["forward by 2 h 35 min (09:30 → 12:05); schedule looked at afresh"]
    assert world.said("slot_skipped") == [
        "2 slots from 10:00 to 11:00 were missed: the clock was set forward by 2 h 35 min (grace 10 min)"
    ]
    assert scans_at(world)[1] == 4 * HOUR + 5 * MINUTE + SECOND  # behind its warm-up


def test_clock_set_backward_takes_nothing_twice(rig):
    """What was taken stays taken; the schedule is kept by the clock as it is set now."""
    world = rig()
    world.define(every=HOUR, n=4)
    world.live((150 * MINUTE, lambda life: life.shift(-2 * HOUR)))
    assert world.taken() == [0, 1, 2, 3]
    assert statuses(world) == ["succeeded"] * 4
    assert scans_at(world) == [HOUR, 2 * HOUR, 3 * HOUR, 4 * HOUR]
    assert world.ledger[-2].true_at - START == 6 * HOUR + 30 * SECOND


@pytest.mark.parametrize("shift", [3 * HOUR, -3 * HOUR, 100 * YEAR, -40 * YEAR], ids=str)
def test_duration_of_a_running_scan_stays_right(rig, shift):
    """The journal and the record tell how long it took, not how far the clock was set."""
    world = rig()
    world.define(every=12 * HOUR, n=2)
    world.behaviour = lambda _: Behaviour(takes=388 * SECOND)
    world.live((HOUR + MINUTE, lambda life: life.shift(shift)), (2 * HOUR, Life.kill))
    record = world.stored().records[0]
    assert world.said("scan_succeeded")[0].startswith("tl_0 in 6 min 28 s, 1 pictures")
    assert record.took == 388 * SECOND
    assert record.finished_at == START + HOUR + 388 * SECOND + shift


def test_clock_set_to_its_beginning_in_mid_scan_leaves_a_store_that_can_be_read(rig):
    """A reset real-time clock says 1970; nothing in a store may be earlier."""
    world = rig()
    world.define(every=HOUR, n=2)
    world.behaviour = lambda _: Behaviour(takes=10 * MINUTE)
    world.live((HOUR + 5 * MINUTE, lambda life: life.shift(-100 * YEAR)), (2 * HOUR, Life.kill))
    assert world.stored().records[0].status is RecordStatus.SUCCEEDED
    assert world.stored().records[0].finished_at.year == 1970


def test_clock_is_not_blamed_for_what_a_slow_scan_made_late(rig):
    """In one scan: three slots go by for its slowness, then the clock jumps over four more."""
    world = rig()
    world.define(every=MINUTE, n=10, grace=5 * SECOND)
    slow = iter([Behaviour(takes=260 * SECOND)])
    world.behaviour = lambda _: next(slow, Behaviour(takes=SECOND))
    world.live((HOUR + 220 * SECOND, lambda life: life.shift(4 * MINUTE)))
    expected = [None, *[Reason.MISSED] * 4, *[Reason.CLOCK_MOVED] * 4, None]
    assert reasons(world) == expected
    assert len(world.said("slot_skipped")) == 2


def test_clock_that_lied_and_was_corrected_within_one_scan_is_not_blamed_at_all(rig):
    """In the end nothing was moved."""
    world = rig()
    world.define(every=MINUTE, n=4, grace=5 * SECOND)
    world.behaviour = lambda _: Behaviour(takes=100 * SECOND)
    there, back = (lambda life: life.shift(YEAR)), (lambda life: life.shift(-YEAR))
    world.live((HOUR + 10 * SECOND, there), (HOUR + 20 * SECOND, back))
    assert reasons(world) == [None, Reason.MISSED, None, Reason.MISSED]


def test_slots_skipped_by_a_wrong_answer_from_the_network_are_given_back(rig):
    """Forward by ten years, and back a minute later: the rest of the schedule is kept as if nothing had been."""
    world = rig()
    world.define(every=HOUR, n=5)
    lie, truth = (lambda life: life.shift(10 * YEAR)), (lambda life: life.shift(-10 * YEAR))
    life = world.live((90 * MINUTE, lie), (91 * MINUTE, truth))
    assert "timelapse_completed" in world.actions()[: world.actions().index("slots_given_back")]
    assert world.said("slots_given_back") == [
        "4 slots from 10:00 to 13:00, passed over under a wrong clock, can still be taken"
    ]
    assert statuses(world) == ["succeeded"] * 5
    assert scans_at(world) == [HOUR * number for number in range(1, 6)]
    assert life.notices.statuses[-1].startswith("tl: completed; 5 taken")


def test_slots_are_given_back_when_the_scan_is_over_in_which_the_clock_was_set_right(rig):
    """While a scan runs the schedule isn't touched; afterwards nothing may be forgotten."""
    world = rig()
    world.define(every=HOUR, n=6)
    world.behaviour = lambda _: Behaviour(takes=MINUTE)
    lie, truth = (lambda life: life.shift(3 * HOUR)), (lambda life: life.shift(-3 * HOUR))
    world.live((HOUR + 40 * MINUTE, lie), (2 * HOUR + SECOND, truth))
    assert statuses(world) == ["succeeded"] * 6
    assert world.taken() == [0, 4, 1, 2, 3, 5]


def test_slot_that_waited_for_its_rig_when_the_clock_lied_is_given_back(rig):
    """It was given up by the lie, and not by the rig, which came in time."""
    world = rig()
    world.define(every=HOUR, n=3, grace=30 * MINUTE)
    ready_at = HOUR + 10 * MINUTE
    absent = Behaviour(takes=SECOND, problem=ScannerNotReady("no USB device"))
    world.behaviour = lambda _: absent if world.lives[-1].clock.elapsed < ready_at else Behaviour(takes=SECOND)
    lie, truth = (lambda life: life.shift(DAY)), (lambda life: life.shift(-DAY))
    world.live((HOUR + 5 * MINUTE, lie), (HOUR + 6 * MINUTE, truth))
    assert statuses(world) == ["succeeded"] * 3
    assert [record.attempt for record in world.stored().records.values()] == [1, 1, 1]


def test_scan_that_was_cut_off_before_a_boot_with_a_wrong_clock_is_attempted_again(rig):
    """The clock of the board says tomorrow; half a minute later the network knows better, and grace isn't over."""
    world = rig()
    world.define(every=HOUR, n=3, grace=30 * MINUTE)
    world.behaviour = lambda _: Behaviour(takes=MINUTE)
    world.live((HOUR + 10 * SECOND, Life.kill))
    world.live(boot=Boot(wrong_by=DAY, evidence=FROM_RTC, ntp_after=30 * SECOND))
    assert statuses(world) == ["succeeded"] * 3
    first = world.stored().records[0]
    assert (first.attempt, first.interruptions) == (2, 1)


@pytest.mark.parametrize("years", [1, 100])
def test_slots_are_given_back_by_a_restart_after_the_clock_was_set_right(rig, years):
    """Also by the next boot, and also when the timelapse had completed under the wrong clock."""
    world = rig()
    world.define(every=HOUR, n=4)
    world.live((90 * MINUTE, lambda life: life.shift(years * YEAR)), (100 * MINUTE, Life.kill))
    assert world.stored().state is TimeLapseState.COMPLETED
    world.live(boot=Boot(takes=15 * MINUTE))
    assert statuses(world) == ["succeeded"] * 4
    assert world.said("resumed")[-1] == "tl, 4 slots, 4 done"


def test_clock_that_was_set_right_is_trusted_by_the_next_start(rig):
    """A store that says it was written tomorrow would have a rig without network wait until then."""
    world = rig()
    world.define(grace=DAY)
    lie, truth = (lambda life: life.shift(20 * HOUR)), (lambda life: life.shift(-20 * HOUR))
    world.live((MINUTE, lie), (10 * MINUTE, truth), (11 * MINUTE, Life.kill))
    assert statuses(world) == ["succeeded"]
    life = world.live(boot=Boot(evidence=FROM_RTC))
    assert world.said("clock_wait") == []
    assert life.notices.is_ready


def test_hundred_years_forward_over_a_hundred_thousand_slots(rig):
    """One line of summary and one save, and then nothing more."""
    world = rig()
    world.define(every=HOUR, n=100_000)
    saves = []

    def jump(life):
        saves.append(life.saves)
        life.shift(100 * YEAR)

    life = world.live((90 * MINUTE, jump), (91 * MINUTE, lambda life: life.shift(YEAR)))
    assert life.saves == saves[0] + 1
    told = world.actions()[world.actions().index("clock_moved") :]
    assert told == ["clock_moved", "slot_skipped", "timelapse_completed", "clock_moved"]
    missed = "99999 slots from 22 Jun 2026 10:00 to 18 Nov 2037 00:00 were missed"
    assert world.said("slot_skipped") == [f"{missed}: the clock was set forward by 36500 d (grace 2 min)"]
    assert len(world.stored().records) == 100_000


def test_suspended_machine_looks_at_its_schedule_when_it_wakes(rig):
    """What went by is skipped at once, the rig isn't warmed up for it, and STATUS is true."""
    world = rig()
    world.define(every=HOUR, n=6, grace=MINUTE)
    asleep = (90 * MINUTE, lambda life: life.clock.suspend(3 * HOUR))
    life = world.live(asleep, (91 * MINUTE + 3 * HOUR, Life.kill))
    assert statuses(world) == ["succeeded", "skipped", "skipped", "skipped"]
    assert reasons(world)[1:] == [Reason.MISSED] * 3
    assert world.said("clock_moved") == []
    assert len(world.said("slot_skipped")) == 1
    assert len(world.said("rig_warmup")) == 1
    assert life.notices.statuses[-1] == "tl: waiting for slot 4 of 6 at 13:00; 1 taken, 3 skipped"


# --- missed slots ---------------------------------------------------------------------------------------


def test_missed_slots_are_skipped_with_one_line_for_the_whole_outage(rig):
    """Seventeen slots, one save, one line."""
    world = rig()
    world.define(every=30 * MINUTE, n=20)
    world.live((61 * MINUTE, Life.kill))
    world.live(off=8 * HOUR + 40 * MINUTE, boot=Boot())
    assert statuses(world) == ["succeeded"] + ["skipped"] * 17 + ["succeeded"] * 2
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


def test_start_waits_for_no_disk_to_keep_what_went_by(rig, monkeypatch):
    """It is written right after READY=1; killed in between, the next start finds the same."""
    world = rig()
    world.define(every=HOUR, n=5)
    world.live((61 * MINUTE, Life.kill))
    with monkeypatch.context() as patch:
        at_ready(patch, world, Life.die_before_save)
        life = world.live(off=150 * MINUTE, boot=Boot())
    assert (life.notices.is_ready, life.ended, life.saves) == (True, End.KILLED, 0)
    assert statuses(world) == ["succeeded"]
    world.live(boot=Boot())
    assert statuses(world) == ["succeeded", "skipped", "skipped", "succeeded", "succeeded"]
    assert len(world.said("slot_skipped")) == 1


def test_scan_that_was_cut_off_is_recorded_once_though_the_start_that_found_it_was_killed(rig, monkeypatch):
    """Nothing was written yet: the next start asks the driver again."""
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
    assert (second.started_at, second.took) == (START + 2 * HOUR + MINUTE, 20 * MINUTE + SECOND)  # of warm-up


def test_start_that_is_stopped_while_the_driver_is_asked_begins_no_scan(rig, monkeypatch):
    """What the driver said is kept, and the slot is still next."""
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


def test_status_says_no_longer_that_the_clock_is_not_trusted_once_it_is(rig, monkeypatch):
    """The driver may take minutes to answer, and the disk to keep what went by, before there is a schedule to tell."""
    world = rig()
    world.define(every=HOUR, n=3)
    world.behaviour = lambda _: Behaviour(takes=20 * MINUTE)
    world.live((61 * MINUTE, Life.kill))
    seen = []

    def recover(*_):
        seen.append((world.lives[-1].notices.statuses[-1], read_live(world.places.store)["clock"]))

    monkeypatch.setattr(ScriptedDriver, "recover", recover)
    world.live(off=MINUTE, boot=Boot(wrong_by=-10 * DAY, evidence=UNSYNCHRONISED, ntp_after=40 * SECOND))
    assert seen == [("clock trusted, looking back at what went by", "trusted")]


def test_slot_that_went_by_while_the_driver_was_asked_is_not_laid_to_the_absence(rig, monkeypatch):
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


def test_slot_that_went_by_while_the_clock_was_not_trusted_is_not_laid_to_the_absence(rig):
    """The rig was on when it was due, though nobody knew that it was."""
    world = rig(clock_wait=10 * MINUTE)
    world.define(every=5 * MINUTE, n=5)
    world.live((61 * MINUTE, Life.kill))
    world.live(off=8 * MINUTE, boot=Boot(evidence=UNSYNCHRONISED))
    assert world.said("slot_skipped") == [
        "slot 1 (09:05) was missed while the rig was off (4 min 20 s late, grace 2 min)",
        "2 slots from 09:10 to 09:15 were missed (grace 2 min)",
    ]


def test_what_somebody_writes_while_the_start_looks_further_is_kept(rig, monkeypatch):
    """Between the reading of the store and the first save lie the definition and the driver."""
    world = rig()
    world.define(every=HOUR, n=3)
    world.live((MINUTE, Life.kill))
    store, real = world.places.store, PickUp.look
    theirs = json.dumps({**json.loads(store.read_bytes()), "theirs": 1})

    def look(pickup):
        store.write_text(theirs)
        return real(pickup)

    with monkeypatch.context() as patch:
        patch.setattr(PickUp, "look", look)
        world.live((MINUTE, Life.kill), off=MINUTE)
    (kept,) = store.parent.glob("*.foreign-*")
    assert kept.read_text() == theirs
    assert len(world.said("store_changed")) == 1


def test_what_makes_room_is_archived_as_it_ended(rig):
    """The slots that went by included, though the store itself was not written yet."""
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
    """The plant has grown meanwhile: a late picture of it is better than none."""
    world = rig(missed=Missed.RUN_LATEST)
    world.define(every=HOUR, n=6)
    world.live((61 * MINUTE, Life.kill))
    world.live(off=3 * HOUR + 10 * MINUTE, boot=Boot())
    assert statuses(world) == ["succeeded", "skipped", "skipped", "succeeded", "succeeded", "succeeded"]
    assert scans_at(world)[1] == 4 * HOUR + 11 * MINUTE + 20 * SECOND + SECOND  # the boot, and the warm-up


def test_slot_that_was_cut_off_is_not_run_as_the_latest(rig):
    """Else a scan that takes the process with it would be attempted for ever."""
    world = rig(missed=Missed.RUN_LATEST)
    world.define(every=HOUR, n=1)
    world.behaviour = lambda _: Behaviour(takes=10 * MINUTE)
    world.live((HOUR + 30 * SECOND, Life.kill))
    world.live((30 * SECOND, Life.kill), off=SECOND)
    world.live(off=2 * MINUTE)
    assert statuses(world) == ["interrupted"]
    assert world.stored().state is TimeLapseState.COMPLETED


def test_rig_that_is_absent_for_the_latest_slot_is_asked_until_the_next_is_due(rig):
    """Its grace period is over; no line says that it is asked until then."""
    world = rig(missed=Missed.RUN_LATEST)
    world.define(every=HOUR, n=3)
    world.live((61 * MINUTE, Life.kill))
    world.behaviour = lambda _: Behaviour(takes=SECOND, problem=ScannerNotReady("no USB device"))
    world.live((2 * MINUTE, Life.kill), off=90 * MINUTE, boot=Boot())
    assert world.said("rig_not_ready")[-1].endswith("; it is asked again until the next slot is due")


def test_newest_missed_slot_gives_way_to_one_that_is_due(rig):
    """Two pictures within a minute help nobody."""
    world = rig(missed=Missed.RUN_LATEST)
    world.define(every=HOUR, n=4, grace=10 * MINUTE)
    world.live((61 * MINUTE, Life.kill))
    world.live(off=2 * HOUR + 3 * MINUTE, boot=Boot())
    assert statuses(world) == ["succeeded", "skipped", "succeeded", "succeeded"]


# --- the rig --------------------------------------------------------------------------------------------


def test_rig_is_warmed_up_before_a_slot_and_powered_down_between_far_apart_ones(rig):
    """At their very moments, and not between slots that are near each other."""
    world = rig()
    world.define(at=[HOUR, HOUR + 5 * MINUTE, 3 * HOUR], warmup=MINUTE, standby_threshold=10 * MINUTE)
    world.live()
    assert world.calls() == [
        ("standby", NONE),
        ("prepare", 59 * MINUTE),
        ("scan", HOUR),
        ("prepare", 64 * MINUTE),
        ("scan", 65 * MINUTE),
        ("standby", 65 * MINUTE + 30 * SECOND),
        ("prepare", 179 * MINUTE),
        ("scan", 180 * MINUTE),
        ("standby", 180 * MINUTE + 30 * SECOND),
    ]


def test_loop_sleeps_through_a_day_without_slots(rig):
    """It wakes for the warm-up and the slot, and for what the rig says, and for nothing else."""
    world = rig()
    world.define(start=DAY, warmup=MINUTE)
    world.behaviour = lambda _: Behaviour(progress=None)
    life = world.live()
    assert [wake for wake in life.clock.wakes if wake & Wake.DUE] == [Wake.DUE] * 2
    after_jobs, of_calls = 2, 2 * len(world.calls())
    assert len(life.clock.wakes) <= 2 + after_jobs + of_calls


def test_absent_rig_is_asked_until_its_grace_is_over_and_the_next_slot_is_on_time(rig):
    """The last time a second before the end, told once however often it is warmed up, and no attempt is used up."""
    world = rig()
    world.define(every=2 * MINUTE, n=2, grace=2 * MINUTE - 5 * SECOND, warmup=10 * SECOND)
    absent = Behaviour(takes=NONE, progress=None, problem=ScannerNotReady("no answer on /dev/ttyACM0"))
    world.behaviour = lambda request: absent if request.index == 0 else Behaviour()
    world.live()
    assert statuses(world) == ["skipped", "succeeded"]
    assert reasons(world)[0] is Reason.RIG_NOT_READY
    begun = scans_at(world)
    assert begun[-2] == HOUR + 2 * MINUTE - 6 * SECOND
    assert begun[-1] == HOUR + 2 * MINUTE
    assert len(world.said("rig_not_ready")) == 1
    assert world.said("rig_warmup") == ["for slot 0 of 2"]
    assert world.said("scan_started") == ["tl_0, slot 0 of 2", "tl_1, slot 1 of 2"]


def test_slot_waits_for_a_directory_that_its_dataset_can_be_put_into(rig, tmp_path):
    """It is told when the timelapse begins; a slot that comes due meanwhile is taken when somebody has mended it."""
    disk = tmp_path / "disk"
    disk.write_text("where a disk is to be mounted")
    world = rig()
    world.configure(datasets=disk / "scans")
    world.define(grace=10 * MINUTE, every=HOUR, n=2)
    shown = []

    def show(life):
        shown.append(read_live(life.world.places.store)["trouble"])

    world.live((HOUR / 2, show), (HOUR + MINUTE, lambda _: disk.unlink()), (HOUR + 5 * MINUTE, show))
    why = f"{disk}/scans: datasets can't be put there: Not a directory"
    assert world.said("datasets_out_of_reach") == [f"{why}; slots wait for it, within their grace of 10 min"]
    assert world.said("rig_not_ready")[0].startswith(f"slot 0 of 2: {why}; it is asked again until ")
    assert world.actions().index("datasets_out_of_reach") < world.actions().index("rig_not_ready")
    assert shown == [why, None]
    assert statuses(world) == ["succeeded", "succeeded"]
    assert world.stored().records[0].attempt == 1


def test_datasets_disk_that_goes_and_comes_is_told_once_each_time_before_a_slot(rig, tmp_path):
    """With each warm-up it is looked at, and shown to whoever asks while it is away."""
    disk, shown = tmp_path / "disk", []
    world = rig()
    world.configure(datasets=disk)
    world.define(every=HOUR, n=4, warmup=MINUTE)

    def show(life):
        shown.append(read_live(life.world.places.store)["trouble"])

    world.live(
        (HOUR / 2, show),
        (HOUR + HOUR / 2, lambda _: disk.rename(tmp_path / "elsewhere")),
        (HOUR + HOUR / 2 + SECOND, lambda _: disk.write_text("nothing is mounted here")),
        (2 * HOUR - SECOND, show),
        (2 * HOUR + HOUR / 2, lambda _: disk.unlink()),
        (3 * HOUR - SECOND, show),
    )
    why = f"{disk}: datasets can't be put there: Not a directory"
    assert world.said("datasets_out_of_reach") == [f"{why}; slots wait for it, within their grace of 2 min"]
    assert shown == [None, why, None]
    assert statuses(world) == ["succeeded", "skipped", "succeeded", "succeeded"]
    assert reasons(world)[1] is Reason.RIG_NOT_READY


def test_network_disk_that_does_not_answer_holds_up_nobody(rig, monkeypatch):
    """The look at it is given up after a while, and is told; the rest of the start goes on."""
    server_is_back = threading.Event()
    monkeypatch.setattr(conductor, "DATASETS_LIMIT", timedelta(0))
    monkeypatch.setattr(conductor, "write_refusal", lambda _: str(server_is_back.wait()))
    world = rig()
    world.define()
    world.live()
    server_is_back.set()
    (said,) = world.said("datasets_out_of_reach")
    assert "datasets can't be put there: no answer within 0 s; slots wait for it" in said
    assert statuses(world) == ["succeeded"]


def test_rig_that_is_not_ready_after_the_clock_was_set_back_is_asked_when_the_slot_is_due_again(rig):
    """Neither before, nor over and over at once."""
    world = rig()
    world.define(every=HOUR, n=1)
    asleep = iter([Behaviour(takes=5 * SECOND, problem=ScannerNotReady("asleep"))])
    world.behaviour = lambda _: next(asleep, Behaviour())
    world.live((HOUR + SECOND, lambda life: life.shift(-MINUTE)))
    assert scans_at(world) == [HOUR, HOUR]
    assert statuses(world) == ["succeeded"]


def test_scan_without_progress_is_cancelled_and_the_next_slot_taken(rig):
    """A stall costs its slot; nothing else."""
    world = rig(stall_timeout=5 * MINUTE)
    world.define(every=HOUR, n=2)
    world.behaviour = lambda request: Behaviour(takes=None, progress=None) if request.index == 0 else Behaviour()
    life = world.live()
    assert life.ended is End.IDLE
    assert statuses(world) == ["failed", "succeeded"]
    record = world.stored().records[0]
    assert record.took == 5 * MINUTE + SECOND
    assert record.error["type"] == "DriverStalled"


def test_scan_that_goes_on_for_ever_is_cancelled_when_its_time_is_over(rig):
    """Progress alone isn't an end."""
    world = rig(scan_timeout=20 * MINUTE)
    world.define()
    world.behaviour = lambda _: Behaviour(takes=None, progress=MINUTE)
    world.live()
    assert world.stored().records[0].error["type"] == "ScanTimedOut"
    assert world.stored().records[0].took == 20 * MINUTE + SECOND


@pytest.mark.parametrize("watchdog", [None, 30 * SECOND], ids=["alone", "under systemd"])
def test_driver_deaf_to_its_cancellation_is_abandoned_and_the_next_start_goes_on(rig, watchdog):
    """The thread can't be killed, so the process is: by itself, or by the watchdog that it stops feeding."""
    world = rig(stall_timeout=5 * MINUTE)
    world.define(every=HOUR, n=2)
    deaf = Behaviour(takes=None, progress=None, stops_in=None)
    world.behaviour = lambda request: deaf if request.index == 0 else Behaviour()
    killed = HOUR + 5 * MINUTE + CANCEL_PATIENCE + SECOND
    life = world.live((killed, Life.kill), watchdog=watchdog)
    assert life.ended is (End.ABANDONED if watchdog is None else End.KILLED)
    assert ("WATCHDOG=trigger" in life.notices.sent) == (watchdog is not None)
    assert statuses(world) == ["failed"]
    assert world.journal[-1].action == "driver_abandoned"
    assert world.journal[-1].level == logging.CRITICAL
    world.live(off=5 * SECOND)
    assert statuses(world) == ["failed", "succeeded"]


def test_call_that_hangs_before_the_scan_does_not_cost_the_slot(rig):
    """The warm-up hangs, the process is replaced, and the slot is taken within its grace."""
    world = rig(stall_timeout=2 * MINUTE)
    world.define(grace=10 * MINUTE, warmup=30 * SECOND)
    world.hangs = {Call.PREPARE}
    life = world.live()
    assert life.ended is End.ABANDONED
    world.hangs = set()
    world.live(off=5 * SECOND)
    assert statuses(world) == ["succeeded"]
    assert world.scans() == [(0, 2)]  # the first attempt was queued behind the warm-up and never began


def test_failure_of_a_scan_is_not_explained_by_an_earlier_call_that_stalled(rig):
    """The warm-up hangs for a while; then the scan fails for a reason of its own."""
    world = rig(stall_timeout=MINUTE)
    world.define(warmup=30 * SECOND)
    world.slow = {Call.PREPARE: 70 * SECOND}
    world.behaviour = lambda _: Behaviour(takes=SECOND, problem=ScanFailed("lens cap"))
    world.live()
    assert world.stored().records[0].error == {"type": "ScanFailed", "msg": "lens cap"}


def test_warm_up_is_not_lost_to_a_slow_standby(rig):
    """It waits its turn behind it."""
    world = rig()
    world.define(start=2 * MINUTE, warmup=20 * SECOND, standby_threshold=MINUTE)
    world.slow = {Call.STANDBY: 105 * SECOND}
    world.live()
    assert [call for call, _ in world.calls()][:3] == ["standby", "prepare", "scan"]


def test_driver_changed_in_mid_scan_takes_the_next_slot(rig):
    """The running scan ends under the driver it began with, which is then closed."""
    world = rig()
    world.define(every=HOUR, n=2)
    world.behaviour = lambda _: Behaviour(takes=MINUTE)

    def change(life):
        life.world.configure(driver="command", driver_options={"argv": ["/bin/true"]})
        life.reload()

    world.live((HOUR + SECOND, change))
    assert [entry.driver for entry in world.ledger if not entry.finished] == ["simulated"] * 4 + ["command"] * 4
    assert statuses(world) == ["succeeded"] * 2


def test_cancelled_timelapse_leaves_the_rig_in_standby(rig):
    """The scan comes to its safe point first, and its result changes nothing any more."""
    world = rig()
    world.define(every=HOUR, n=3)
    world.behaviour = lambda _: Behaviour(takes=10 * MINUTE, stops_in=7 * SECOND)
    world.live((HOUR + MINUTE, Life.cancel))
    assert statuses(world) == ["interrupted", "skipped", "skipped"]
    assert reasons(world) == [Reason.CANCELLED] * 3
    assert world.calls()[-1] == ("standby", HOUR + MINUTE + 7 * SECOND)
    assert world.stored().state is TimeLapseState.CANCELLED


def test_stop_in_mid_scan_is_a_pause(rig):
    """The slot is attempted again by the next start, within its grace."""
    world = rig()
    world.define(every=HOUR, n=2, grace=10 * MINUTE)
    world.behaviour = lambda _: Behaviour(takes=5 * MINUTE, stops_in=3 * SECOND)
    life = world.live((HOUR + MINUTE, Life.stop))
    assert life.ended is End.STOPPED
    assert statuses(world) == ["interrupted"]
    assert world.calls()[-1][0] == "close"
    world.live(off=10 * SECOND)
    assert world.scans() == [(0, 1), (0, 2), (1, 1)]
    assert statuses(world) == ["succeeded"] * 2


# --- a store that can't be written ------------------------------------------------------------------------


def test_scans_go_on_while_the_store_can_not_be_written(rig):
    """CRITICAL once, STATUS all the time, and saved again when there is room: nothing is missing in it."""
    world = rig()
    world.define(every=10 * MINUTE, n=4)
    full = (69 * MINUTE, lambda life: life.disk_fills(20 * MINUTE))
    life = world.live(full)
    assert statuses(world) == ["succeeded"] * 4
    assert [line.level for line in world.journal if line.action == "store_not_saved"] == [logging.CRITICAL]
    assert len(world.said("store_saved_again")) == 1
    degraded = [status for status in life.notices.statuses if status.startswith("DEGRADED")]
    assert degraded == ["DEGRADED: store can't be written (File too large), scans go on"]
    told = world.actions()
    assert told[told.index("store_not_saved") : told.index("store_saved_again")].count("scan_succeeded") == 2


def test_save_that_fails_while_nothing_moves_is_told_and_tried_again_at_once_nevertheless(rig):
    """A suspended machine wakes up with a full disk: the next try must not wait for the next slot."""
    world = rig()
    world.define(every=HOUR, n=8, grace=MINUTE)

    def sleep(life):
        life.clock.suspend(3 * HOUR)
        life.disk_fills(2 * MINUTE)

    life = world.live((90 * MINUTE, sleep), (95 * MINUTE + 3 * HOUR, Life.kill))
    assert len(world.said("store_saved_again")) == 1
    assert statuses(world) == ["succeeded", "skipped", "skipped", "skipped"]
    assert life.notices.statuses[-1].startswith("tl: waiting for slot 4")


# --- what lies ready ------------------------------------------------------------------------------------


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


def test_cancellation_that_could_not_be_saved_is_saved_by_the_stop(rig):
    """The disk had room again; the next start would have taken the slots of a timelapse that was cancelled."""
    world = rig()
    world.define(every=HOUR, n=3)
    world.live(
        (30 * MINUTE, lambda life: life.disk_fills(62 * SECOND)),
        (31 * MINUTE, Life.cancel),
        (31 * MINUTE + 5 * SECOND, Life.stop),
    )
    assert world.stored().state is TimeLapseState.CANCELLED


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
