"""What every driver must do, as a test class: give it a kit, and it holds your driver to the contract.

    class TestMyDriver(DriverContract):
        @pytest.fixture
        def kit(self, tmp_path):
            return Kit("mine", good={...}, failing={...}, absent={...}, endless={...}, crowded={...},
                       faulty={...})

The driver is loaded by its entry point, as the daemon does. Where a test needs a daemon to be killed in mid-scan, a
real process is.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from plantimager.timelapse.drivers import load_driver
from plantimager.timelapse.drivers.base import EventMonitor, Part
from plantimager.timelapse.drivers.manual_control import ManualControl
from plantimager.timelapse.scan.paths import Pose
from plantimager.timelapse.scan.request import ScanRequest, ScanResult
from plantimager.timelapse.support.errors import FaultsFound, ScanCancelled, ScanFailed, ScannerNotReady

if TYPE_CHECKING:
    from pathlib import Path

CONFIGURATION = {
    "ScanPath": {
        "class_name": "Circle",
        "kwargs": {"center_x": 375, "center_y": 375, "z": 0, "tilt": 0, "radius": 350, "n_points": 4},
    },
    "Metadata": {"object": {"species": "Arabidopsis thaliana"}, "hardware": {"frame": "a table"}},
    "timelapse": {"start_at": "2026-06-22T08:00:00+00:00"},
    "top": {"res_x": 80, "res_y": 60, "encoding": "jpeg", "offset": {"z": -100}},
}
"""A scan of four positions with one small camera."""


@dataclass(frozen=True)
class Kit:
    """A driver by its entry-point name, and options with which it behaves in each way."""

    name: str
    good: dict[str, Any]
    """It scans."""
    failing: dict[str, Any]
    """Its scan of slot 0 fails."""
    absent: dict[str, Any]
    """It isn't there for the scan of slot 0."""
    endless: dict[str, Any]
    """Its scan of slot 0 makes some progress and then doesn't go on, but hears that it is cancelled."""
    crowded: dict[str, Any]
    """It finds too little room on the datasets' disk."""
    faulty: dict[str, Any]
    """Options with at least two faults."""
    configuration: dict[str, Any] = field(default_factory=lambda: CONFIGURATION)


class RecordingMonitor(EventMonitor):
    """Keeps all progress, and cancels the scan after so many steps of it."""

    def __init__(self, cancel_after: int | None = None) -> None:
        super().__init__()
        self.told: list[tuple[int, int, str]] = []
        self._cancel_after = cancel_after

    def progress(self, done: int, total: int, note: str = "") -> None:
        super().progress(done, total, note)
        self.told.append((done, total, note))
        if self._cancel_after is not None and done >= self._cancel_after:
            self.cancel()


def make_request(datasets: Path, **changes: Any) -> ScanRequest:
    """Return a request for slot 0 of a timelapse, its dataset in ``datasets``."""
    index = changes.get("index", 0)
    request = ScanRequest(
        scan_id=f"col0_{index}",
        timelapse_id="col0",
        index=index,
        attempt=1,
        scheduled_at=datetime(2026, 6, 22, 8, tzinfo=UTC),
        started_at=datetime(2026, 6, 22, 8, 0, 1, tzinfo=UTC),
        dataset_dir=datasets / f"col0_{index}",
        configuration=CONFIGURATION,
    )
    return replace(request, **changes)


def scan_and_be_killed(name: str, options: dict[str, Any], request: ScanRequest, *, before: str = "") -> None:
    """Scan in a process of its own, which is killed with SIGKILL at the first progress.

    ``before`` names a function of the module ``dataset``, to be killed when that is called instead.
    """
    work = {
        "before": before,
        "name": name,
        "options": options,
        "request": {
            "scan_id": request.scan_id,
            "timelapse_id": request.timelapse_id,
            "index": request.index,
            "attempt": request.attempt,
        },
        "scheduled_at": request.scheduled_at.isoformat(),
        "dataset_dir": str(request.dataset_dir),
        "configuration": request.configuration,
    }
    daemon = subprocess.run(
        [sys.executable, "-c", _DAEMON], input=json.dumps(work), text=True, check=False, capture_output=True
    )
    assert daemon.returncode == -9, daemon.stderr


_DAEMON = """
import json, os, signal, sys
from datetime import datetime
from pathlib import Path
from plantimager.timelapse.drivers import load_driver
from plantimager.timelapse.datasets import attempt
from plantimager.timelapse.drivers.base import EventMonitor
from plantimager.timelapse.scan.request import ScanRequest

work = json.load(sys.stdin)

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

class Killer(EventMonitor):
    def progress(self, done, total, note=""):
        if done and not work["before"]:
            die()

if work["before"]:
    getattr(attempt, work["before"])
    setattr(attempt, work["before"], die)
request = ScanRequest(
    **work["request"],
    scheduled_at=datetime.fromisoformat(work["scheduled_at"]),
    dataset_dir=Path(work["dataset_dir"]),
    configuration=work["configuration"],
)
load_driver(work["name"], work["options"]).scan(request, Killer())
"""


class DriverContract:
    """The suite; a subclass gives the fixture ``kit``."""

    @pytest.fixture
    def kit(self) -> Kit:
        raise AssertionError("a contract test needs a kit")

    @pytest.fixture
    def request_(self, tmp_path, kit):
        datasets = tmp_path / "datasets"
        datasets.mkdir()
        return make_request(datasets, configuration=kit.configuration)

    def test_prepare_may_be_called_twice(self, kit):
        """The daemon warms up before a slot, and again where it isn't sure that it did."""
        driver = load_driver(kit.name, kit.good)
        driver.prepare()
        driver.prepare()

    def test_a_scan_leaves_a_whole_dataset(self, kit, request_):
        """The dataset stands in its place when `scan` returns, and nothing stands beside it."""
        result = load_driver(kit.name, kit.good).scan(request_, RecordingMonitor())
        assert isinstance(result, ScanResult)
        assert [*request_.dataset_dir.parent.iterdir()] == [request_.dataset_dir]
        assert any(path.is_file() for path in request_.dataset_dir.rglob("*"))

    def test_progress_never_goes_back_and_ends_at_its_total(self, kit, request_):
        """STATUS shows it while the scan runs, and a scan that doesn't tell is held to be stalled."""
        monitor = RecordingMonitor()
        load_driver(kit.name, kit.good).scan(request_, monitor)
        done = [done for done, _, _ in monitor.told]
        assert done == sorted(done)
        assert all(0 <= done <= total for done, total, _ in monitor.told)
        last_done, last_total, _ = monitor.told[-1]
        assert last_done == last_total > 0

    def test_a_cancelled_scan_stops_soon_and_leaves_no_dataset(self, kit, request_):
        """It stops at its next safe point, which is not many steps away."""
        monitor = RecordingMonitor(cancel_after=1)
        with pytest.raises(ScanCancelled):
            load_driver(kit.name, kit.endless).scan(request_, monitor)
        after = [done for done, _, _ in monitor.told if done > 1]
        assert len(after) <= 2
        assert not request_.dataset_dir.exists()

    def test_a_scan_that_was_cancelled_before_it_began_leaves_nothing(self, kit, request_):
        """The service may be stopped between the slot's due time and the driver's first step."""
        monitor = RecordingMonitor()
        monitor.cancel()
        with pytest.raises(ScanCancelled):
            load_driver(kit.name, kit.endless).scan(request_, monitor)
        assert not request_.dataset_dir.exists()

    def test_a_failed_scan_leaves_no_dataset(self, kit, request_):
        """Half a dataset is never taken for a whole one."""
        driver = load_driver(kit.name, kit.failing)
        with pytest.raises(ScanFailed):
            driver.scan(request_, RecordingMonitor())
        assert not request_.dataset_dir.exists()
        assert driver.recover(request_) is None

    def test_an_absent_rig_is_not_ready(self, kit, request_):
        """No attempt is used up by a rig that is still booting, and it leaves no litter however often it is asked."""
        driver = load_driver(kit.name, kit.absent)
        for _ in range(3):
            with pytest.raises(ScannerNotReady):
                driver.scan(request_, RecordingMonitor())
        assert [*request_.dataset_dir.parent.iterdir()] == []

    def test_a_disk_without_room_is_a_rig_that_is_not_ready(self, kit, request_):
        """Somebody may make room while the grace period lasts; until then nothing is begun."""
        monitor = RecordingMonitor()
        with pytest.raises(ScannerNotReady, match=f"{request_.dataset_dir.parent}: .*move datasets away"):
            load_driver(kit.name, kit.crowded).scan(request_, monitor)
        assert not any(done for done, _, _ in monitor.told)
        assert [*request_.dataset_dir.parent.iterdir()] == []

    def test_recover_tells_whether_the_scan_had_finished(self, kit, request_):
        """After a kill between the scan and the saving of its record, the slot isn't taken twice."""
        assert load_driver(kit.name, kit.good).recover(request_) is None
        result = load_driver(kit.name, kit.good).scan(request_, RecordingMonitor())
        assert load_driver(kit.name, kit.good).recover(request_) == result

    def test_a_slot_that_is_whole_is_not_taken_again(self, kit, request_):
        """A second attempt after a record that was lost finds the first one's dataset, and leaves it as it is."""
        result = load_driver(kit.name, kit.good).scan(request_, RecordingMonitor())
        before = {path: path.stat().st_ino for path in request_.dataset_dir.rglob("*")}
        again = replace(request_, attempt=2)
        assert load_driver(kit.name, kit.failing).scan(again, RecordingMonitor()) == result
        assert {path: path.stat().st_ino for path in request_.dataset_dir.rglob("*")} == before

    def test_another_experiments_dataset_of_the_same_name_is_kept(self, kit, request_):
        """A name that is used again loses neither the old pictures nor the new ones."""
        load_driver(kit.name, kit.good).scan(request_, RecordingMonitor())
        before = {path.name for path in request_.dataset_dir.rglob("*")}
        later = replace(request_, scheduled_at=datetime(2027, 1, 1, tzinfo=UTC))
        driver = load_driver(kit.name, kit.good)
        assert driver.recover(later) is None
        driver.scan(later, RecordingMonitor())
        assert driver.recover(later) is not None
        kept = request_.dataset_dir.with_name(f"{request_.dataset_dir.name}.earlier-1")
        assert {path.name for path in kept.rglob("*")} == before

    @pytest.mark.parametrize("attempt", [1, 2], ids=["number used again", "next number"])
    def test_a_kill_in_mid_scan_leaves_no_dataset_and_the_next_attempt_works(self, kit, request_, attempt):
        """The daemon is killed with SIGKILL; a number is used again where the store could not be saved."""
        scan_and_be_killed(kit.name, kit.endless, request_)
        assert not request_.dataset_dir.exists()
        driver = load_driver(kit.name, kit.good)
        assert driver.recover(request_) is None
        driver.scan(replace(request_, attempt=attempt), RecordingMonitor())
        assert request_.dataset_dir.is_dir()

    @pytest.mark.parametrize(
        ("before", "finished"),
        [("write_durably", False), ("_sync_tree", True), ("_put_in_place", True)],
    )
    def test_a_kill_while_the_dataset_is_finished_is_judged_rightly(self, kit, request_, before, finished):
        """From its receipt on no kill undoes it; what was left to do then, `recover` does."""
        scan_and_be_killed(kit.name, kit.good, request_, before=before)
        driver = load_driver(kit.name, kit.good)
        assert (driver.recover(request_) is not None) == finished
        assert request_.dataset_dir.exists() == finished

    def test_a_rig_scans_after_standby(self, kit, request_):
        """Standby powers down, it doesn't end anything."""
        driver = load_driver(kit.name, kit.good)
        driver.standby()
        driver.standby()
        driver.prepare()
        driver.scan(request_, RecordingMonitor())
        assert request_.dataset_dir.is_dir()

    def test_a_good_rig_answers_when_it_is_examined(self, kit, request_):
        """All of it that the driver can tell of, and it scans afterwards."""
        driver = load_driver(kit.name, kit.good)
        parts = driver.examine()
        assert [part for part in parts if not (isinstance(part, Part) and part.answers)] == []
        assert len({part.name for part in parts}) == len(parts)
        driver.scan(request_, RecordingMonitor())

    def test_a_person_may_use_the_rig_where_the_driver_offers_it(self, kit, request_):
        """Whatever was done by hand, the next scan is a scan like any other."""
        driver = load_driver(kit.name, kit.good)
        if isinstance(driver, ManualControl):
            assert driver.home(RecordingMonitor())
            assert driver.go_to(Pose(x=10), RecordingMonitor())
            driver.light(on=True)
            cameras = driver.cameras(kit.configuration)
            assert all(driver.snapshot(camera, RecordingMonitor()) for camera in cameras)
            assert len({camera.name for camera in cameras}) == len(cameras) > 0
            driver.light(on=False)
        driver.scan(request_, RecordingMonitor())
        assert request_.dataset_dir.is_dir()

    def test_what_a_person_began_is_broken_off_for_a_scan(self, kit, request_):
        """The next slot doesn't wait, and finds the rig in order."""
        driver, monitor = load_driver(kit.name, kit.good), RecordingMonitor()
        monitor.cancel()
        if isinstance(driver, ManualControl):
            for move in (driver.home, lambda monitor: driver.go_to(Pose(x=10, pan=90), monitor)):
                with pytest.raises(ScanCancelled):
                    move(monitor)
        driver.scan(request_, RecordingMonitor())

    def test_a_goal_beyond_the_rig_is_refused(self, kit):
        """Before anything moves."""
        driver = load_driver(kit.name, kit.good)
        if isinstance(driver, ManualControl):
            with pytest.raises(ScannerNotReady, match=r"x = -1e\+06 mm leaves"):
                driver.go_to(Pose(x=-1e6), RecordingMonitor())

    def test_a_rig_that_was_left_to_itself_can_be_used_by_another_process(self, kit, request_):
        """Without a daemon each command is one."""
        driver = load_driver(kit.name, kit.good)
        if isinstance(driver, ManualControl):
            driver.home(RecordingMonitor())
            driver.leave()
        load_driver(kit.name, kit.good).scan(request_, RecordingMonitor())

    def test_close_may_be_called_twice(self, kit):
        """A service that stops while it starts does so."""
        driver = load_driver(kit.name, kit.good)
        driver.close()
        driver.close()

    def test_all_faults_of_the_options_are_told_at_once(self, kit):
        """Nobody has to mend a file fault by fault."""
        with pytest.raises(FaultsFound) as caught:
            load_driver(kit.name, kit.faulty)
        assert len(caught.value.faults) >= 2
        assert {fault.table.split(".")[:2][-1] for fault in caught.value.faults} == {kit.name}

    def test_an_unknown_option_is_a_fault(self, kit):
        """A key that is misspelt isn't silently without effect."""
        with pytest.raises(FaultsFound, match="unknown key"):
            load_driver(kit.name, {**kit.good, "no_such_option": 1})
