"""The check by the service: its own driver is closed whatever it finds, and holds up no answer."""

import threading
from datetime import timedelta

import pytest
from virtual_time import START, VirtualClock

from plantimager.timelapse.channel.control_request import Request
from plantimager.timelapse.daemon import judgement
from plantimager.timelapse.daemon.judgement import ServiceJudgement
from plantimager.timelapse.daemon.store_keeper import StoreKeeper
from plantimager.timelapse.domain.records import SlotRecord
from plantimager.timelapse.domain.states import RecordStatus, TimeLapseMode, TimeLapseState
from plantimager.timelapse.domain.timelapse import TimeLapse
from plantimager.timelapse.settings.places import Places
from plantimager.timelapse.store.stored_timelapse import new_stored_timelapse
from plantimager.timelapse.support.faults import Fault

NO_DEFINITION = b'[timelapse]\nname = "a/b"\n'


class Driver:
    """What a driver says of a configuration, as the script ``check``; it counts how often it is closed."""

    def __init__(self, check, closing):
        self.check, self._closing, self.closed = check, closing, 0

    def close(self):
        self.closed += 1
        self._closing()


@pytest.fixture
def judge(tmp_path):
    """Return a function that checks a configuration and a definition; it returns the problems, and the driver."""

    def run(check, closing=lambda: None):
        driver = Driver(check, closing)
        places = Places(store=tmp_path / "store.json", config_directories=(tmp_path,))
        service = ServiceJudgement(places, None, VirtualClock(START), lambda *_: driver, print)
        answer = service.answer(Request("check", {"names": ["a.toml"]}, files=(NO_DEFINITION,), who="a", reply=print))
        return [found["problem"] for found in answer.details["found"]], driver

    return run


def test_unsettled_attempt_of_the_last_timelapse_is_given_as_a_reason_to_refuse(tmp_path):
    """Start says so, and check before it."""
    record = SlotRecord(slot=0, scan_id="tl_0", status=RecordStatus.FAILED, attempt=1, started_at=START, boot_id="b")
    state, mode = TimeLapseState.COMPLETED, TimeLapseMode.ONE_SHOT
    last = TimeLapse(id="tl", mode=mode, state=state, schedule_times=(START,), next_idx=1, records={0: record})
    places = Places(store=tmp_path / "store.json", config_directories=(tmp_path,))
    keeper = StoreKeeper(places.store)
    keeper.hold(new_stored_timelapse(last, {}, None))
    service = ServiceJudgement(places, keeper, VirtualClock(START), lambda *_: Driver(lambda _: [], print), print)
    definition = b'[timelapse]\nname = "next"\nmode = "interval"\ninterval = "10m"\nn_shots = 2\n'
    answer = service.answer(Request("check", {"names": ["a.toml"]}, files=(definition,), who="a", reply=print))
    words = "next can't start yet: the scan of tl_0, which may be whole, is still to be looked for"
    assert f"it would be refused now: {words}" in answer.details["found"][1]["notes"]


def test_driver_of_a_faulty_configuration_is_closed(judge):
    """It may have opened a device, which the rig's own driver needs."""
    problems, driver = judge(lambda _: [Fault("scan", "speed", 9, "too fast")])
    assert "too fast" in problems[0]
    assert driver.closed == 1


def test_driver_that_fails_is_closed(judge):
    """A driver by others may raise anything."""

    def fail(_):
        raise IndexError("no camera")

    problems, driver = judge(fail)
    assert problems[0] == "driver Driver can't be used: IndexError: no camera"
    assert driver.closed == 1


def test_driver_of_a_sound_configuration_is_closed_once_and_may_fail_at_it(judge):
    """What was found is the answer all the same."""

    def fail():
        raise OSError(5, "Input/output error")

    problems, driver = judge(lambda _: [], fail)
    assert problems[0] is None
    assert "a/b" in problems[1]
    assert driver.closed == 1


def test_driver_that_does_not_answer_holds_up_no_answer(judge, monkeypatch):
    """It waits for a device that hangs; the check of the next person would wait behind it."""
    monkeypatch.setattr(judgement, "CALL_TIMEOUT", timedelta(seconds=0.01))
    goes_on = threading.Event()
    try:
        problems, driver = judge(lambda _: goes_on.wait(60), lambda: goes_on.wait(60))
        assert not goes_on.is_set()
    finally:
        goes_on.set()
    assert problems[0].startswith("driver Driver can't be used: TimeoutError: its check gave no answer within")
    assert driver.closed == 1
