"""The contract of `drivers.base.ScannerDriver`, as tests."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from plantimager.timelapse.drivers import load_driver
from plantimager.timelapse.drivers.base import Part
from plantimager.timelapse.drivers.manual_control import ManualControl
from plantimager.timelapse.drivers.testing.killed_scan import KillPoint, scan_until_killed
from plantimager.timelapse.drivers.testing.kit import Kit, RecordingMonitor, make_request
from plantimager.timelapse.scan.pose import Pose
from plantimager.timelapse.scan.request import ScanRequest, ScanResult
from plantimager.timelapse.support.errors import FaultsFound, ScanCancelled, ScanFailed, ScannerNotReady

if TYPE_CHECKING:
    from pathlib import Path


class DriverContract:
    """The tests that every driver passes. A subclass, whose name begins with ``Test``, provides the fixture ``kit``."""

    @pytest.fixture
    def scan_request(self, tmp_path: Path, kit: Kit) -> ScanRequest:
        """Return a request for slot 0, whose dataset is alone in its directory."""
        datasets = tmp_path / "datasets"
        datasets.mkdir()
        return make_request(datasets, configuration=kit.configuration)

    # --- a scan ---------------------------------------------------------------------------------------

    def test_prepare_may_be_called_twice(self, kit: Kit) -> None:
        """The daemon warms up before a slot, and again where it isn't sure that it has."""
        driver = load_driver(kit.name, kit.good)
        driver.prepare()
        driver.prepare()

    def test_scan_leaves_a_whole_dataset(self, kit: Kit, scan_request: ScanRequest) -> None:
        """The dataset is in its place when `scan` returns, and nothing else is beside it."""
        result = load_driver(kit.name, kit.good).scan(scan_request, RecordingMonitor())
        assert isinstance(result, ScanResult)
        assert [*scan_request.dataset_dir.parent.iterdir()] == [scan_request.dataset_dir]
        assert any(path.is_file() for path in scan_request.dataset_dir.rglob("*"))

    def test_progress_never_goes_back_and_ends_at_its_total(self, kit: Kit, scan_request: ScanRequest) -> None:
        """STATUS shows it while the scan runs, and a scan that doesn't report counts as stalled."""
        monitor = RecordingMonitor()
        load_driver(kit.name, kit.good).scan(scan_request, monitor)
        done = [done for done, _, _ in monitor.recorded]
        assert done == sorted(done)
        assert all(0 <= done <= total for done, total, _ in monitor.recorded)
        last_done, last_total, _ = monitor.recorded[-1]
        assert last_done == last_total > 0

    def test_cancelled_scan_stops_soon_and_leaves_no_dataset(self, kit: Kit, scan_request: ScanRequest) -> None:
        """It stops at its next safe point, which is at most two pictures away."""
        monitor = RecordingMonitor(cancel_after=1)
        with pytest.raises(ScanCancelled):
            load_driver(kit.name, kit.endless).scan(scan_request, monitor)
        after = [done for done, _, _ in monitor.recorded if done > 1]
        assert len(after) <= 2
        assert not scan_request.dataset_dir.exists()

    def test_scan_that_is_cancelled_before_it_begins_leaves_nothing(self, kit: Kit, scan_request: ScanRequest) -> None:
        """The service may be stopped between the time of the slot and the first step of the driver."""
        monitor = RecordingMonitor()
        monitor.cancel()
        with pytest.raises(ScanCancelled):
            load_driver(kit.name, kit.endless).scan(scan_request, monitor)
        assert not scan_request.dataset_dir.exists()

    def test_failed_scan_leaves_no_dataset(self, kit: Kit, scan_request: ScanRequest) -> None:
        """A partial dataset never counts as a whole one."""
        driver = load_driver(kit.name, kit.failing)
        with pytest.raises(ScanFailed):
            driver.scan(scan_request, RecordingMonitor())
        assert not scan_request.dataset_dir.exists()
        assert driver.recover(scan_request) is None

    def test_absent_rig_is_not_ready(self, kit: Kit, scan_request: ScanRequest) -> None:
        """A rig that is still booting uses no attempt, and leaves no files, however often it is called."""
        driver = load_driver(kit.name, kit.absent)
        for _ in range(3):
            with pytest.raises(ScannerNotReady):
                driver.scan(scan_request, RecordingMonitor())
        assert [*scan_request.dataset_dir.parent.iterdir()] == []

    def test_rig_is_not_ready_while_the_disk_has_no_space(self, kit: Kit, scan_request: ScanRequest) -> None:
        """A person may free space within the grace period; until then no scan begins."""
        monitor = RecordingMonitor()
        with pytest.raises(ScannerNotReady, match=f"{scan_request.dataset_dir.parent}: .*move datasets away"):
            load_driver(kit.name, kit.crowded).scan(scan_request, monitor)
        assert not any(done for done, _, _ in monitor.recorded)
        assert [*scan_request.dataset_dir.parent.iterdir()] == []

    # --- what was there before ------------------------------------------------------------------------

    def test_recover_returns_the_result_of_a_finished_scan(self, kit: Kit, scan_request: ScanRequest) -> None:
        """After a kill between the end of the scan and the saving of its record, the slot isn't taken twice."""
        assert load_driver(kit.name, kit.good).recover(scan_request) is None
        result = load_driver(kit.name, kit.good).scan(scan_request, RecordingMonitor())
        assert load_driver(kit.name, kit.good).recover(scan_request) == result

    def test_slot_with_a_whole_dataset_is_not_taken_again(self, kit: Kit, scan_request: ScanRequest) -> None:
        """A second attempt, after a record that was lost, finds the dataset of the first and doesn't change it."""
        result = load_driver(kit.name, kit.good).scan(scan_request, RecordingMonitor())
        before = {path: path.stat().st_ino for path in scan_request.dataset_dir.rglob("*")}
        again = replace(scan_request, attempt=2)
        assert load_driver(kit.name, kit.failing).scan(again, RecordingMonitor()) == result
        assert {path: path.stat().st_ino for path in scan_request.dataset_dir.rglob("*")} == before

    def test_dataset_of_another_experiment_with_the_same_name_is_kept(
        self, kit: Kit, scan_request: ScanRequest
    ) -> None:
        """A name that is used again loses neither the old pictures nor the new ones."""
        load_driver(kit.name, kit.good).scan(scan_request, RecordingMonitor())
        before = {path.name for path in scan_request.dataset_dir.rglob("*")}
        later = replace(scan_request, scheduled_at=datetime(2027, 1, 1, tzinfo=UTC))
        driver = load_driver(kit.name, kit.good)
        assert driver.recover(later) is None
        driver.scan(later, RecordingMonitor())
        assert driver.recover(later) is not None
        kept = scan_request.dataset_dir.with_name(f"{scan_request.dataset_dir.name}.earlier-1")
        assert {path.name for path in kept.rglob("*")} == before

    @pytest.mark.parametrize("attempt", [1, 2], ids=["same number", "next number"])
    def test_kill_during_a_scan_leaves_no_dataset_and_the_next_attempt_works(
        self, kit: Kit, scan_request: ScanRequest, attempt: int
    ) -> None:
        """The daemon is killed with SIGKILL. The number is the same again where the store could not be saved."""
        scan_until_killed(kit.name, kit.endless, scan_request)
        assert not scan_request.dataset_dir.exists()
        driver = load_driver(kit.name, kit.good)
        assert driver.recover(scan_request) is None
        driver.scan(replace(scan_request, attempt=attempt), RecordingMonitor())
        assert scan_request.dataset_dir.is_dir()

    @pytest.mark.parametrize(
        ("at", "finished"),
        [(KillPoint.BEFORE_RECEIPT, False), (KillPoint.BEFORE_SYNC, True), (KillPoint.BEFORE_RENAME, True)],
        ids=lambda value: value.name.lower() if isinstance(value, KillPoint) else "",
    )
    def test_kill_while_the_dataset_is_finished_loses_nothing_after_the_receipt(
        self, kit: Kit, scan_request: ScanRequest, at: KillPoint, *, finished: bool
    ) -> None:
        """`recover` takes the steps that were left."""
        scan_until_killed(kit.name, kit.good, scan_request, at)
        driver = load_driver(kit.name, kit.good)
        assert (driver.recover(scan_request) is not None) == finished
        assert scan_request.dataset_dir.exists() == finished

    # --- between scans --------------------------------------------------------------------------------

    def test_rig_scans_after_standby(self, kit: Kit, scan_request: ScanRequest) -> None:
        """Standby powers down and may be called twice."""
        driver = load_driver(kit.name, kit.good)
        driver.standby()
        driver.standby()
        driver.prepare()
        driver.scan(scan_request, RecordingMonitor())
        assert scan_request.dataset_dir.is_dir()

    def test_every_part_of_a_good_rig_answers_when_it_is_examined(self, kit: Kit, scan_request: ScanRequest) -> None:
        """The parts have different names, and the rig scans afterwards."""
        driver = load_driver(kit.name, kit.good)
        parts = driver.examine()
        assert [part for part in parts if not (isinstance(part, Part) and part.answers)] == []
        assert len({part.name for part in parts}) == len(parts)
        driver.scan(scan_request, RecordingMonitor())

    def test_rig_scans_after_manual_control(self, kit: Kit, scan_request: ScanRequest) -> None:
        """Whatever a person did, the next scan is a scan like any other."""
        driver = load_driver(kit.name, kit.good)
        if isinstance(driver, ManualControl):
            assert driver.home(RecordingMonitor())
            assert driver.go_to(Pose(x=10), RecordingMonitor())
            driver.light(on=True)
            cameras = driver.cameras(kit.configuration)
            assert all(driver.snapshot(camera, RecordingMonitor()) for camera in cameras)
            assert len({camera.name for camera in cameras}) == len(cameras) > 0
            driver.light(on=False)
        driver.scan(scan_request, RecordingMonitor())
        assert scan_request.dataset_dir.is_dir()

    def test_manual_command_is_cancelled_for_a_scan(self, kit: Kit, scan_request: ScanRequest) -> None:
        """The next slot doesn't wait, and the rig scans afterwards."""
        driver, monitor = load_driver(kit.name, kit.good), RecordingMonitor()
        monitor.cancel()
        if isinstance(driver, ManualControl):
            with pytest.raises(ScanCancelled):
                driver.home(monitor)
            with pytest.raises(ScanCancelled):
                driver.go_to(Pose(x=10, pan=90), monitor)
        driver.scan(scan_request, RecordingMonitor())

    def test_pose_beyond_the_rig_is_refused(self, kit: Kit) -> None:
        """Before anything moves."""
        driver = load_driver(kit.name, kit.good)
        if isinstance(driver, ManualControl):
            with pytest.raises(ScannerNotReady, match=r"x = -1e\+06 mm leaves"):
                driver.go_to(Pose(x=-1e6), RecordingMonitor())

    def test_rig_can_be_used_by_another_process_after_leave(self, kit: Kit, scan_request: ScanRequest) -> None:
        """Where no daemon runs, each manual command is a process of its own."""
        driver = load_driver(kit.name, kit.good)
        if isinstance(driver, ManualControl):
            driver.home(RecordingMonitor())
            driver.leave()
        load_driver(kit.name, kit.good).scan(scan_request, RecordingMonitor())

    def test_close_may_be_called_twice(self, kit: Kit) -> None:
        """A service that is stopped while it starts does so."""
        driver = load_driver(kit.name, kit.good)
        driver.close()
        driver.close()

    # --- options --------------------------------------------------------------------------------------

    def test_all_faults_of_the_options_are_reported_at_once(self, kit: Kit) -> None:
        """A person corrects the file once, not fault by fault; each fault names the driver's table."""
        with pytest.raises(FaultsFound) as caught:
            load_driver(kit.name, kit.faulty)
        assert len(caught.value.faults) >= 2
        assert {fault.table.split(".")[:2][-1] for fault in caught.value.faults} == {kit.name}

    def test_unknown_option_is_a_fault(self, kit: Kit) -> None:
        """A misspelt key must not be silently without effect."""
        with pytest.raises(FaultsFound, match="unknown key"):
            load_driver(kit.name, {**kit.good, "no_such_option": 1})
