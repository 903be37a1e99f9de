"""The check by the service: its own driver is closed whatever it finds, and holds up no answer."""

import threading
from datetime import timedelta

import pytest
from virtual_time import START, VirtualClock

from plantimager.timelapse.channel.control_client import JUDGEMENT_SECONDS
from plantimager.timelapse.channel.control_request import Request
from plantimager.timelapse.daemon import judgement
from plantimager.timelapse.daemon.judgement import ServiceJudgement
from plantimager.timelapse.daemon.store_keeper import StoreKeeper
from plantimager.timelapse.domain.records import SlotRecord
from plantimager.timelapse.domain.states import RecordStatus, TimeLapseMode, TimeLapseState
from plantimager.timelapse.domain.timelapse import TimeLapse
from plantimager.timelapse.drivers.base import ScannerDriver
from plantimager.timelapse.drivers.programs.unmet import IMPORT_SECONDS
from plantimager.timelapse.relay.notify.messenger import CHECK_SECONDS
from plantimager.timelapse.settings.places import Places
from plantimager.timelapse.store.stored_timelapse import new_stored_timelapse
from plantimager.timelapse.support.errors import FaultsFound
from plantimager.timelapse.support.faults import Fault
from plantimager.timelapse.support.needs import Need

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
        service = ServiceJudgement(places, None, VirtualClock(START), lambda *_: driver)
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
    service = ServiceJudgement(places, keeper, VirtualClock(START), lambda *_: Driver(lambda _: [], print))
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


class DriverOfOthers(ScannerDriver):
    """One that only reads its table; a test gives it needs."""

    def check(self, configuration):
        return [Fault("drivers.paper", "pen", "a", "too thin"), Fault("drivers.paper", "pen", "a", "too short")]

    prepare = scan = recover = standby = None


class DriverWithNeeds(DriverOfOthers):
    """One that says what it needs."""

    def needs(self):
        yield Need("paper", "white", module="no_such_package.part", table="drivers.paper")
        yield Need("ink", ["/no/ink"], program="/no/ink", table="drivers.paper")
        yield Need("ink", ["/no/nib"], program="/no/nib", table="drivers.paper")


@pytest.fixture
def find(tmp_path):
    """Return a function that checks a configuration; it returns the faults and the notes."""

    def run(text, make_driver=DriverOfOthers):
        (tmp_path / "timelapsed.toml").write_text(text)
        places = Places(store=tmp_path / "store.json", config_directories=(tmp_path,))
        service = ServiceJudgement(places, None, VirtualClock(START), lambda _, options: make_driver(options))
        answer = service.answer(Request("check", {}, who="a", reply=print))
        (found,) = answer.details["found"]
        return (found["problem"] or "").split("\n  ")[1:], found["notes"]

    return run


def test_paths_that_may_be_no_programs_are_no_faults(find, tmp_path):
    """A driver by others says nothing of its table, in which a list may be one of devices and directories."""
    (tmp_path / "table").write_text("")
    options = f'ports = ["/dev/null"]\nfolders = ["{tmp_path}"]\ntables = ["{tmp_path}/table"]\nmore.take = ["/no/x"]'
    faults, notes = find(f'driver = "paper"\n[drivers.paper]\n{options}\n')
    assert len(faults) == 2  # those of its check, with the same key
    said = [note for note in notes if "drivers.paper" in note]
    assert [note.partition(" = ")[0] for note in said] == ["[drivers.paper] tables", "[drivers.paper.more] take"]
    assert "/no/x is not there, or the service may not run it" in said[1]


def test_needs_stand_beside_the_faults_that_are_known(find):
    """No fault hides another, though they be of the same key."""
    faults, _ = find('driver = "paper"\n', DriverWithNeeds)
    assert [fault.split(":")[0] for fault in faults] == [
        *['[drivers.paper] pen = "a"'] * 2,
        '[drivers.paper] paper = "white"',
        *('[drivers.paper] ink = ["/no/ink"]', '[drivers.paper] ink = ["/no/nib"]'),
    ]


def test_programs_are_looked_for_where_the_driver_can_not_be_made(find):
    """A fault of another option is said, and they too."""

    def refuse(_):
        raise FaultsFound([Fault("drivers.paper", "pen", "a", "too thin")])

    faults, notes = find('driver = "paper"\n[drivers.paper]\ntake = ["/no/take"]\n', refuse)
    assert faults == ['[drivers.paper] pen = "a": too thin']
    assert any(note.startswith('[drivers.paper] take = ["/no/take"]: /no/take is not there') for note in notes)


@pytest.mark.parametrize("key", ["observe", "[drivers.paper]\ntake", "[drivers.paper]\ntake = 1\nother.deep"])
def test_program_in_a_home_is_said_once_with_the_cure(find, key):
    """As a need of the configuration or of the driver; else as a word in the table."""
    _, notes = find(f'driver = "paper"\n{key} = ["/home/nobody-has/take"]\n')
    (note,) = (note for note in notes if "/home/nobody-has/take" in note)
    assert "put it into /usr/local/bin" in note


def test_driver_that_does_not_say_what_it_needs_holds_up_no_answer(find, monkeypatch):
    """It may wait for its device."""
    monkeypatch.setattr(judgement, "CALL_TIMEOUT", timedelta(seconds=0.01))
    goes_on = threading.Event()

    class Stalled(DriverOfOthers):
        def needs(self):
            goes_on.wait(60)
            yield Need("paper", 1, module="no_such_module", table="drivers.paper")

    try:
        faults, _ = find('driver = "paper"\n', Stalled)
        assert not goes_on.is_set()
        assert len(faults) == 2
    finally:
        goes_on.set()


def test_person_waits_longer_than_a_judgement_may_take():
    """Of the daemon, with its driver, imports and disk; of the relay, with its imports and apprise."""
    calls = 5 * judgement.CALL_TIMEOUT.total_seconds()  # check, needs, estimate, closing; the datasets
    assert calls + IMPORT_SECONDS < JUDGEMENT_SECONDS
    assert IMPORT_SECONDS + CHECK_SECONDS < JUDGEMENT_SECONDS
