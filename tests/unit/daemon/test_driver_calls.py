"""Calls of a driver, and their outcomes."""

from __future__ import annotations

import os
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace
from virtual_time import VirtualClock

from plantimager.timelapse.daemon import bounded_call, driver_calls
from plantimager.timelapse.daemon.bounded_call import call_with_timeout
from plantimager.timelapse.daemon.driver_calls import CallMonitor, make_call
from plantimager.timelapse.datasets.attempt import begin_attempt, find_finished
from plantimager.timelapse.drivers.base import Call, ScannerDriver
from plantimager.timelapse.scan.request import ScanRequest, ScanResult
from plantimager.timelapse.support.errors import DriverStalled, ScannerNotReady

if TYPE_CHECKING:
    from pathlib import Path


class Driver(ScannerDriver):
    """Notes the directories of its datasets."""

    def __init__(self) -> None:
        super().__init__({})
        self.asked: list[Path] = []

    def prepare(self) -> None:
        """Do nothing."""

    standby = close = prepare

    def scan(self, request, _monitor):
        """Take no picture."""
        self.asked.append(request.dataset_dir)
        return ScanResult()

    def recover(self, _request):
        """Find nothing."""


AT = datetime(2026, 6, 22, 8, tzinfo=UTC)


def request_into(datasets: Path) -> ScanRequest:
    """Return the request for a scan into ``datasets``."""
    return ScanRequest(
        scan_id="tl_0",
        timelapse_id="tl",
        index=0,
        attempt=1,
        scheduled_at=AT,
        started_at=AT,
        dataset_dir=datasets / "tl_0",
        configuration={},
    )


def scan_into(datasets: Path, driver: ScannerDriver, clock: VirtualClock | None = None):
    """Return the outcome of a scan into ``datasets``."""
    request = request_into(datasets)
    return make_call(driver, Call.SCAN, request, CallMonitor(clock or VirtualClock(), Call.SCAN, request))


def test_directory_of_datasets_is_made_private_before_the_driver_is_asked(tmp_path):
    """Its parents, too."""
    driver, datasets = Driver(), tmp_path / "disk" / "scans"
    assert scan_into(datasets, driver).problem is None
    assert driver.asked == [datasets / "tl_0"]
    assert [path.stat().st_mode & 0o777 for path in (datasets.parent, datasets)] == [0o750, 0o750]


@pytest.mark.parametrize("below", ["", "scans"])
def test_directory_that_cannot_be_made_is_a_rig_that_is_not_ready(tmp_path, below):
    """The driver isn't called, and the slot waits."""
    (tmp_path / "disk").write_text("nothing is mounted here")
    driver, datasets = Driver(), tmp_path / "disk" / below
    problem = scan_into(datasets, driver).problem
    assert isinstance(problem, ScannerNotReady)
    assert str(problem).startswith(f"{datasets}: datasets can't be put there: ")
    assert driver.asked == []


class Index:
    """A whole number of a library's type."""

    def __index__(self):
        return 72


@pytest.mark.parametrize(
    ("said", "kept"), [(72, 72), (Index(), 72), (None, None), (-1, None), ("72", None), (7.5, None), (1 << 70, None)]
)
def test_number_of_pictures_is_one_that_a_store_can_hold(tmp_path, said, kept):
    """A scan is whole, whatever type its driver counts in."""
    driver = Driver()
    driver.scan = lambda *_: ScanResult(pictures=said, note=None)
    outcome = scan_into(tmp_path, driver)
    assert (outcome.problem, outcome.result) == (None, ScanResult(pictures=kept, note=""))
    assert type(outcome.result.pictures) in (int, type(None))


@pytest.mark.parametrize("said", [(float("nan"), 5), (None, 5), (3, None), (-1, 5), (3, float("inf")), ("many", 5)])
def test_progress_that_is_no_count_is_ignored_with_one_line(caplog, said):
    """It costs no scan, and it is still a sign of life."""
    clock = VirtualClock()
    monitor = CallMonitor(clock, Call.SCAN)
    monitor.progress(2, 5, "picture 2 of 5")
    clock.pass_time(timedelta(seconds=100))
    monitor.progress(*said)
    monitor.progress(*said, "picture 3 of 5")
    assert monitor.steps == (2, 5, "picture 3 of 5")
    assert monitor.last_sign == clock.monotonic()
    assert len(caplog.records) == 1
    monitor.progress(4.0, 5)
    assert monitor.steps == (4, 5, "")


def test_scan_does_not_begin_late_behind_a_directory_that_is_slow(tmp_path, monkeypatch):
    """A network disk that wakes up: the slot is judged afresh, and the time of its beginning stays true."""
    clock, driver = VirtualClock(), Driver()
    monkeypatch.setattr(driver_calls, "make_directory", lambda _: clock.pass_time(timedelta(seconds=9)))
    problem = scan_into(tmp_path / "scans", driver, clock).problem
    assert isinstance(problem, ScannerNotReady)
    assert "took 9 s to answer" in str(problem)
    assert driver.asked == []


@pytest.mark.parametrize(("took", "begins"), [(1.8, False), (0.02, False), (0.01, True)])
def test_scan_does_not_begin_after_the_end_of_grace_behind_a_directory(tmp_path, monkeypatch, took, begins):
    """Not by a millisecond: a slot judged at the very end of its grace has no two seconds left."""
    clock, driver = VirtualClock(AT + timedelta(seconds=1.99)), Driver()
    monkeypatch.setattr(driver_calls, "make_directory", lambda _: clock.pass_time(timedelta(seconds=took)))
    request = replace(request_into(tmp_path), started_at=clock.now(), start_by=AT + timedelta(seconds=2))
    outcome = make_call(driver, Call.SCAN, request, CallMonitor(clock, Call.SCAN, request))
    assert bool(driver.asked) is begins
    assert isinstance(outcome.problem, ScannerNotReady) is not begins


@pytest.mark.parametrize("problem", [None, ScannerNotReady("gone")])
def test_start_is_that_of_the_driver_s_scan(tmp_path, monkeypatch, problem):
    """Save and directory come before it: the dataset has the true time, and the record is corrected by the delay."""
    clock, driver, seen = VirtualClock(AT), Driver(), []

    def scan(request, _monitor):
        seen.append(request.started_at)
        clock.pass_time(timedelta(seconds=30))
        if problem is not None:
            raise problem
        return ScanResult()

    driver.scan = scan
    monkeypatch.setattr(driver_calls, "make_directory", lambda _: clock.pass_time(timedelta(seconds=1.5)))
    outcome = scan_into(tmp_path, driver, clock)
    assert (seen, outcome.delay) == ([AT + timedelta(seconds=1.5)], timedelta(seconds=1.5))


def test_clock_that_is_set_before_a_scan_is_no_delay_of_it(tmp_path, monkeypatch):
    """The loop corrects the record by the step itself."""
    clock, driver = VirtualClock(AT), Driver()
    monkeypatch.setattr(driver_calls, "make_directory", lambda _: clock.shift(timedelta(hours=1)))
    assert scan_into(tmp_path, driver, clock).delay == timedelta(0)


class Finder(Driver):
    """A driver of somebody else's: its `recover` has no monitor."""

    def recover(self, request):
        """Put the pictures of a killed daemon on disk."""
        return find_finished(request)


def test_recover_that_puts_pictures_on_disk_reports_each_of_them(tmp_path):
    """A driver's `recover` has no monitor; what it calls reports to the daemon all the same."""
    request = request_into(tmp_path)
    with begin_attempt(request) as attempt:
        for number in range(3):
            (attempt.directory / f"{number}.jpg").write_bytes(b"a picture")
            os.utime(attempt.directory / f"{number}.jpg", (AT.timestamp() + number, AT.timestamp() + number))
        attempt.seal(ScanResult(pictures=3))  # and here the daemon is killed
    said = []
    monitor = CallMonitor(VirtualClock(), Call.RECOVER, request)
    monitor.progress = lambda *step: said.append(step)
    outcome = make_call(Finder(), Call.RECOVER, replace(request, attempt=2), monitor)
    assert (outcome.result, outcome.finished_at) == (ScanResult(pictures=3), AT + timedelta(seconds=2))
    assert {(0, 0, f"putting file {number} of 3 on disk") for number in (1, 2, 3)} <= {*said}


def test_call_that_gives_signs_of_life_is_waited_for(monkeypatch):
    """Its time-out counts from the last of them."""
    monkeypatch.setattr(bounded_call, "WAIT_INTERVAL", 0.01)
    is_done, asked = threading.Event(), []

    def is_alive() -> bool:
        asked.append(True)
        if len(asked) == 10:
            is_done.set()
        return True

    assert call_with_timeout(timedelta(seconds=0.02), "rig", is_done.wait, is_alive)
    assert len(asked) >= 10


def test_call_that_gives_no_sign_of_life_any_more_is_given_up(monkeypatch):
    """It counts as hung, and its thread goes on."""
    monkeypatch.setattr(bounded_call, "WAIT_INTERVAL", 0.01)
    is_done, signs = threading.Event(), iter([True] * 5)
    with pytest.raises(DriverStalled, match=r"made no progress for 0\.0"):
        call_with_timeout(timedelta(seconds=0.02), "rig", is_done.wait, lambda: next(signs, False))
    assert next(signs, None) is None
    is_done.set()
