"""The check by the service: its own driver is closed whatever it finds, and holds up no answer."""

import threading
from datetime import timedelta

import pytest
from virtual_time import START, VirtualClock

from plantimager.timelapse.channel.control_request import Request
from plantimager.timelapse.daemon import judgement
from plantimager.timelapse.daemon.judgement import ServiceJudgement
from plantimager.timelapse.settings.places import Places
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
