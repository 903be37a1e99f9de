"""The slots of a timelapse with a rig that is warm, absent, slow or replaced."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from simulation import DAY, HOUR, MINUTE, NONE, SECOND, START, Behaviour, Life
from virtual_time import VirtualClock, Wake

from plantimager.timelapse.daemon.driver_calls import CallOutcome
from plantimager.timelapse.daemon.rig import Rig
from plantimager.timelapse.domain.states import Reason, TimeLapseState
from plantimager.timelapse.drivers.base import Call, ScanRequest, ScanResult
from plantimager.timelapse.settings.config import Missed
from plantimager.timelapse.support.errors import ScanFailed, ScannerNotReady


def test_rig_is_warmed_up_before_a_slot_and_powered_down_between_far_apart_ones(rig):
    """At the right moments, and not between slots that are near each other."""
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
    """It wakes up for the warm-up, the slot and the rig's outcomes alone."""
    world = rig()
    world.define(start=DAY, warmup=MINUTE)
    world.behaviour = lambda _: Behaviour(progress=None)
    life = world.live()
    assert [wake for wake in life.clock.wakes if wake & Wake.DUE] == [Wake.DUE] * 2
    after_jobs, of_calls = 2, 3 * len(world.calls())  # its beginning, its end, and the plan that follows
    assert len(life.clock.wakes) <= 2 + after_jobs + of_calls


def test_attempt_has_the_rig_until_its_outcome_is_taken():
    """Not only as long as the call is made: nobody knows before whether that of a cancelled timelapse is whole."""
    posts = []
    thread = SimpleNamespace(submit=lambda *_: None)
    rig = Rig(VirtualClock(START), SimpleNamespace(driver=None), lambda _, post: posts.append(post) or thread)
    slot = {"timelapse_id": "tl", "index": 0, "attempt": 1, "scheduled_at": START}
    request = ScanRequest(scan_id="tl", dataset_dir=Path("tl"), configuration={}, **slot)
    rig.scan(request)
    posts[0](CallOutcome(Call.SCAN, request, ScanResult(pictures=1)))
    assert rig.scanning is request
    assert [outcome.request for outcome in rig.take_outcomes()] == [request]
    assert rig.scanning is None


def test_absent_rig_is_asked_until_its_grace_is_over_and_the_next_slot_is_on_time(rig):
    """The last time a second before the end; logged once, and without using an attempt."""
    world = rig()
    world.define(every=2 * MINUTE, n=2, grace=2 * MINUTE - 5 * SECOND, warmup=10 * SECOND)
    absent = Behaviour(takes=NONE, progress=None, problem=ScannerNotReady("no answer on /dev/ttyACM0"))
    world.behaviour = lambda request: absent if request.index == 0 else Behaviour()
    world.live()
    assert world.statuses() == ["skipped", "succeeded"]
    assert world.reasons()[0] is Reason.RIG_NOT_READY
    begun = world.scans_at()
    assert begun[-2] == HOUR + 2 * MINUTE - 5 * SECOND  # behind its prepare
    assert begun[-1] == HOUR + 2 * MINUTE
    assert len(world.said("rig_not_ready")) == 1
    assert world.said("rig_warmup") == ["for slot 0 of 2", "for slot 1 of 2"]
    assert world.said("scan_started") == ["tl_0, slot 0 of 2", "tl_1, slot 1 of 2"]


def test_rig_that_is_not_ready_after_the_clock_was_set_back_is_asked_when_the_slot_is_due_again(rig):
    """Neither before, nor again and again at once."""
    world = rig()
    world.define(every=HOUR, n=1)
    asleep = iter([Behaviour(takes=5 * SECOND, problem=ScannerNotReady("asleep"))])
    world.behaviour = lambda _: next(asleep, Behaviour())
    world.live((HOUR + SECOND, lambda life: life.shift(-MINUTE)))
    assert world.scans_at() == [HOUR, HOUR]
    assert world.statuses() == ["succeeded"]


def test_warm_up_waits_behind_a_slow_standby(rig):
    """The calls are made one after the other."""
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
    assert world.statuses() == ["succeeded"] * 2


SYNCS = Behaviour(takes=20 * SECOND, progress=None, stops_in=None)
"""A scan whose pictures are being put on disk: it is whole, and can't be cancelled any more."""


def test_scan_that_is_whole_when_its_timelapse_is_cancelled_is_recorded_as_taken(rig):
    """Its dataset is there: nothing else would be true."""
    world = rig()
    world.define(every=HOUR, n=3)
    world.behaviour = lambda _: SYNCS
    world.live((HOUR + 10 * SECOND, Life.cancel))
    assert world.stored().state is TimeLapseState.CANCELLED
    assert world.statuses() == ["succeeded", "skipped", "skipped"]
    assert world.said("scan_succeeded") == ["tl_0 in 20 s, 1 picture; no slot is left"]


def test_scan_that_is_whole_while_another_timelapse_waits_is_recorded_as_taken(rig):
    """The other one begins when it has stopped: the archive of its timelapse would be closed."""
    world = rig()
    world.define(every=HOUR, n=3)
    world.behaviour = lambda _: SYNCS
    world.live(
        (HOUR + SECOND, lambda _: world.define(every=HOUR, n=1, name="b", start=3 * HOUR)),
        (HOUR + 10 * SECOND, Life.cancel),
    )
    assert world.stored().id == "b"
    assert world.said("scan_succeeded")[0] == "tl_0 in 20 s, 1 picture; no slot is left"


def test_cancelled_timelapse_leaves_the_rig_in_standby(rig):
    """The scan comes to its safe point first, and its result changes nothing."""
    world = rig()
    world.define(every=HOUR, n=3)
    world.behaviour = lambda _: Behaviour(takes=10 * MINUTE, stops_in=7 * SECOND)
    world.live((HOUR + MINUTE, Life.cancel))
    assert world.statuses() == ["interrupted", "skipped", "skipped"]
    assert world.reasons() == [Reason.CANCELLED] * 3
    assert world.calls()[-1] == ("standby", HOUR + MINUTE + 7 * SECOND)
    assert world.stored().state is TimeLapseState.CANCELLED


# --- a rig that is prepared before it scans ----------------------------------------------------------


NO_RELAY = ScannerNotReady("prepare: the relay does not answer")


def test_slot_is_not_taken_with_a_rig_whose_prepare_failed(rig):
    """Its lights may be off: it is asked again within the grace period, and the slot skipped without an attempt."""
    world = rig()
    world.define(every=HOUR, n=2, warmup=10 * SECOND, grace=MINUTE)
    world.prepares = iter([NO_RELAY] * 7)
    world.live()
    assert world.statuses() == ["skipped", "succeeded"]
    assert world.reasons()[0] is Reason.RIG_NOT_READY
    record = world.stored().records[0]
    assert (record.attempt, record.error_text) == (0, "prepare: the relay does not answer")
    assert world.scans() == [(1, 1)]
    assert world.said("rig_not_ready") == [
        "slot 0 of 2: prepare: the relay does not answer; it is asked again until 09:01"
    ]
    assert world.said("slot_skipped")[0].startswith("slot 0 (09:00) was missed: prepare: the relay does not answer")


@pytest.mark.parametrize("problem", [NO_RELAY, OSError(5, "I/O error"), SystemExit(3)], ids=lambda p: type(p).__name__)
@pytest.mark.parametrize("warmup", [NONE, 10 * SECOND], ids=["at the slot", "ahead"])
def test_slot_is_taken_as_soon_as_prepare_succeeds(rig, problem, warmup):
    """Whatever it was that the driver raised before."""
    world = rig()
    world.define(warmup=warmup)
    world.prepares = iter([problem] * 5)
    world.live()
    assert world.statuses() == ["succeeded"]
    assert [call for call, _ in world.calls()] == ["standby", *["prepare"] * 6, "scan", "standby"]
    assert world.scans() == [(0, 1)]


def test_rig_without_a_warm_up_is_prepared_at_the_slot(rig):
    """Its lights are on in the pictures all the same."""
    world = rig()
    world.define(every=HOUR, n=2, warmup=NONE)
    world.live()
    begun = [("prepare", HOUR), ("scan", HOUR + SECOND)]
    assert world.calls()[1:3] == begun
    assert [call for call, _ in world.calls()] == ["standby", *["prepare", "scan", "standby"] * 2]
    assert world.stored().records[0].started_at == START + HOUR + SECOND


@pytest.mark.parametrize("call", [Call.PREPARE, Call.STANDBY])
def test_slot_behind_a_slow_call_is_skipped_at_the_end_of_its_grace_period(rig, call):
    """With the true reason; it isn't begun late and recorded as on time."""
    world = rig()
    world.define(
        every=10 * MINUTE, n=2, start=MINUTE, warmup=2 * SECOND, standby_threshold=20 * SECOND, grace=5 * SECOND
    )
    world.slow = {call: 90 * SECOND}
    world.live((MINUTE + 8 * SECOND, lambda life: life.world.slow.clear()), (5 * MINUTE, Life.kill))
    assert world.reasons() == [Reason.RIG_NOT_READY]
    why = {Call.PREPARE: "getting ready", Call.STANDBY: "powering down"}[call]
    assert world.said("slot_skipped") == [f"slot 0 (08:01) was missed: the rig was still {why} (5 s late, grace 5 s)"]
    assert world.scans() == []
    world.live(off=SECOND)
    assert world.statuses() == ["skipped", "succeeded"]


def test_slot_behind_a_slow_prepare_has_its_true_start(rig):
    """It is judged, and its time is taken, when the driver is really called."""
    world = rig()
    world.define(warmup=2 * SECOND, grace=MINUTE)
    world.slow = {Call.PREPARE: 20 * SECOND}
    world.live()
    record = world.stored().records[0]
    assert world.scans_at() == [HOUR + 18 * SECOND]
    assert (record.started_at, record.took) == (START + HOUR + 18 * SECOND, 30 * SECOND)
    assert world.said("scan_started") == ["tl, slot 0 of 1, 18 s late"]


def test_attempt_behind_a_driver_that_was_replaced_waits_for_its_prepare(rig):
    """The driver is changed in mid-scan, the attempt fails, and the new driver is prepared before the next attempt."""
    world = rig()
    world.define(retries=1)
    scans = iter([Behaviour(takes=MINUTE, problem=ScanFailed("blurred"))])
    world.behaviour = lambda _: next(scans, Behaviour())

    def change(life):
        life.world.configure(driver="command", driver_options={"argv": ["/bin/true"]})
        life.reload()

    world.live((HOUR + SECOND, change))
    calls = [(entry.driver, entry.call.value) for entry in world.ledger if not entry.finished][1:]
    assert calls[:5] == [
        ("simulated", "prepare"),
        ("simulated", "scan"),
        ("simulated", "close"),
        ("command", "prepare"),
        ("command", "scan"),
    ]
    assert world.statuses() == ["succeeded"]


def test_missed_slot_that_is_run_after_all_waits_for_its_rig(rig):
    """With ``missed = "run_latest"`` lateness is no reason to skip it, until the next slot is due."""
    world = rig(missed=Missed.RUN_LATEST)
    world.define(every=HOUR, n=2, warmup=2 * SECOND, grace=5 * SECOND)
    world.slow = {Call.PREPARE: 20 * SECOND}
    world.live()
    assert world.scans_at()[0] == HOUR + 18 * SECOND
    assert world.statuses() == ["succeeded"] * 2


def test_slot_that_was_due_in_a_long_scan_says_which_slot_was_still_being_taken(rig):
    """Record and journal name the cause; lateness alone would look like a fault of the rig."""
    world = rig()
    world.behaviour = lambda _: Behaviour(takes=400 * SECOND)
    world.define(every=5 * MINUTE, n=4, grace=MINUTE)
    world.live()
    assert world.statuses() == ["succeeded", "skipped", "succeeded", "skipped"]
    assert [world.stored().records[slot].error_text for slot in (1, 3)] == [
        "slot 0 was still being taken",
        "slot 2 was still being taken",
    ]
    assert world.said("slot_skipped")[0] == (
        "slot 1 (09:05) was missed while slot 0 was still being taken (1 min 40 s late, grace 1 min)"
    )


def test_record_says_when_the_scan_was_called_and_the_call_knows_the_end_of_grace(rig, monkeypatch):
    """It is judged before the save, and the directory of datasets is made after it. A retry isn't bound by grace."""

    def delayed(call, request, *rest, **more):
        return CallOutcome(call, request, *rest, **more, delay=NONE if request is None else 2 * SECOND)

    monkeypatch.setattr("simulation.CallOutcome", delayed)
    world, bound = rig(), []
    world.define(every=10 * MINUTE, n=1, grace=5 * SECOND, retries=1)

    def behaviour(request):
        bound.append(request.start_by)
        return Behaviour(takes=10 * SECOND, problem=ScanFailed("no picture") if request.attempt == 1 else None)

    world.behaviour = behaviour
    world.live()
    assert bound == [START + HOUR + 5 * SECOND, None]
    assert world.stored().records[0].started_at == START + HOUR + 12 * SECOND


def test_running_record_on_disk_soon_has_the_true_start_of_a_scan_that_a_slow_disk_delayed(rig, monkeypatch):
    """A kill leaves it as it is then; the correction isn't made twice where the scan comes to its end."""

    def delayed(call, request, *rest, **more):
        return CallOutcome(call, request, *rest, **more, delay=NONE if request is None else 4 * SECOND)

    monkeypatch.setattr("simulation.CallOutcome", delayed)
    world = rig()
    world.define(every=10 * MINUTE, n=2, grace=5 * MINUTE)

    def is_called_late(life):
        life.daemon.rig.monitor.note_delay(4 * SECOND)

    world.behaviour = lambda _: Behaviour(takes=20 * SECOND)
    world.live((HOUR + SECOND, is_called_late), (HOUR + 5 * SECOND, Life.kill))
    assert world.stored().current.started_at == START + HOUR + 4 * SECOND
    world.live((SECOND, is_called_late), (MINUTE, Life.kill), off=5 * SECOND)
    began = HOUR + 5 * SECOND + 5 * SECOND + SECOND  # the kill, the time off, prepare
    assert world.stored().records[0].started_at == START + began + 4 * SECOND
