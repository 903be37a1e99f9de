"""Scans on a disk that is nearly full."""

import sys

import pytest
from disks import small_disk

from plantimager.timelapse.drivers.command.driver import CommandDriver
from plantimager.timelapse.drivers.simulated import SimulatedDriver
from plantimager.timelapse.drivers.testing import CONFIGURATION, RecordingMonitor, make_request
from plantimager.timelapse.support.errors import ScanFailed, ScannerNotReady


@pytest.fixture
def small_datasets(tmp_path):
    """Return a directory on a disk of 8 MB."""
    directory = tmp_path / "datasets"
    directory.mkdir()
    with small_disk(directory, "8m"):
        yield directory


@pytest.mark.system
def test_scan_that_would_not_fit_is_not_begun(small_datasets):
    """Its pictures are estimated as large as they can be, because half a dataset is worth nothing."""
    large = {**CONFIGURATION, "top": {"res_x": 1000, "res_y": 1000, "encoding": "png"}}
    driver = SimulatedDriver({"time_per_position": 0, "image_width": 0, "keep_free": "0 MB"})
    with pytest.raises(ScannerNotReady, match="8 MB free, 12 MB needed for this scan, and 0 MB kept free"):
        driver.scan(make_request(small_datasets, configuration=large), RecordingMonitor())
    # With smaller pictures it fits.
    driver = SimulatedDriver({"time_per_position": 0, "image_width": 80, "keep_free": "1 MB"})
    driver.scan(make_request(small_datasets, configuration=large), RecordingMonitor())


@pytest.mark.system
def test_scan_stops_before_the_reserve_is_used_when_others_fill_the_disk(small_datasets):
    """The error says what to do; the pictures so far are kept."""

    class Filler(RecordingMonitor):
        def progress(self, done, total, note=""):
            super().progress(done, total, note)
            (small_datasets / "film").write_bytes(bytes(5_000_000))

    request = make_request(small_datasets)
    monitor = Filler()
    with pytest.raises(ScanFailed, match=f"{small_datasets}: 3 MB free, .* and 4 MB kept free; move datasets away"):
        SimulatedDriver({"time_per_position": 0, "image_width": 80, "keep_free": "4 MB"}).scan(request, monitor)
    assert monitor.recorded[-1][0] == 1
    assert not request.dataset_dir.exists()
    assert len([*(small_datasets / ".col0_0.attempt-1" / "images").iterdir()]) == 2


@pytest.mark.system
def test_program_is_started_only_with_the_reserve_free_and_may_use_it_then(small_datasets, tmp_path):
    """How much space a program needs is unknown to the driver."""
    log = tmp_path / "log"
    program = f"open({str(log)!r}, 'a').write('x'); open('film', 'wb').write(bytes(6_000_000))"
    argv = [sys.executable, "-S", "-c", program]
    with pytest.raises(ScannerNotReady, match="and 9 MB kept free"):
        CommandDriver({"argv": argv, "keep_free": "9 MB"}).scan(make_request(small_datasets), RecordingMonitor())
    assert not log.exists()
    CommandDriver({"argv": argv, "keep_free": "4 MB"}).scan(make_request(small_datasets), RecordingMonitor())
    assert log.read_text() == "x"
