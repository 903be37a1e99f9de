"""Room on the datasets' disk: what a scan must find before it begins, and what it leaves to others."""

import errno
import shutil
import sys

import pytest
from disks import small_disk
from driver_contract import CONFIGURATION, RecordingMonitor, make_request

from plantimager.timelapse.datasets import disk_space
from plantimager.timelapse.drivers.command import CommandDriver
from plantimager.timelapse.drivers.simulated import SimulatedDriver
from plantimager.timelapse.support.errors import ScanFailed, ScannerNotReady
from plantimager.timelapse.support.faults import Table


@pytest.fixture
def small(tmp_path):
    """Return a directory on a disk of 8 MB."""
    directory = tmp_path / "datasets"
    directory.mkdir()
    with small_disk(directory, "8m"):
        yield directory


@pytest.mark.parametrize(("needed", "keep_free", "fits"), [(0, 0, True), (1 << 60, 0, False), (0, 1 << 60, False)])
def test_room_is_for_the_scan_and_for_what_must_stay_free(tmp_path, needed, keep_free, fits):
    """Too little of either is told with what there is, and what to do."""
    if fits:
        disk_space.check(tmp_path, needed, keep_free)
        return
    with pytest.raises(OSError, match="move datasets away, or lower keep_free") as caught:
        disk_space.check(tmp_path, needed, keep_free)
    assert caught.value.errno == errno.ENOSPC
    assert f"{shutil.disk_usage(tmp_path).free / 1e9:.0f}"[:1] in str(caught.value)


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({}, 10**9),
        ({"keep_free": "0 MB"}, 0),
        ({"keep_free": "1.5GB"}, 1_500_000_000),
        ({"keep_free": "2 TB"}, 2 * 10**12),
    ],
)
def test_floor_is_written_as_a_size(options, size):
    """A gigabyte where nobody wrote one."""
    faults = []
    table = Table(options, "drivers.mine", faults)
    assert table.take("keep_free", disk_space.read_size, disk_space.KEEP_FREE) == size
    assert faults == []


@pytest.mark.parametrize("size", [5, "1", "1 kB", "-1 MB", "", "1 GB more", f"{'9' * 400} GB"])
def test_what_is_no_size_is_a_fault(size):
    """A bare number leaves open of what."""
    faults = []
    Table({"keep_free": size}, "drivers.mine", faults).take("keep_free", disk_space.read_size, 0)
    assert 'write a size such as "500 MB" or "2 GB"' in str(faults[0])


@pytest.mark.system
def test_scan_that_would_not_fit_is_not_begun(small):
    """Its pictures are reckoned as large as they can be: half a dataset is worth nothing."""
    large = {**CONFIGURATION, "top": {"res_x": 1000, "res_y": 1000, "encoding": "png"}}
    driver = SimulatedDriver({"time_per_position": 0, "image_width": 0, "keep_free": "0 MB"})
    with pytest.raises(ScannerNotReady, match="8 MB free, 12 MB needed for this scan, and 0 MB kept free"):
        driver.scan(make_request(small, configuration=large), RecordingMonitor())
    # As it paints them, they are small enough.
    driver = SimulatedDriver({"time_per_position": 0, "image_width": 80, "keep_free": "1 MB"})
    driver.scan(make_request(small, configuration=large), RecordingMonitor())


@pytest.mark.system
def test_scan_stops_at_the_floor_when_others_fill_the_disk_meanwhile(small):
    """The attempt fails with the cure; what it took stays aside."""

    class Filler(RecordingMonitor):
        def progress(self, done, total, note=""):
            super().progress(done, total, note)
            (small / "somebody's film").write_bytes(bytes(5_000_000))

    request = make_request(small)
    monitor = Filler()
    with pytest.raises(ScanFailed, match=f"{small}: 3 MB free, .* and 4 MB kept free; move datasets away"):
        SimulatedDriver({"time_per_position": 0, "image_width": 80, "keep_free": "4 MB"}).scan(request, monitor)
    assert monitor.told[-1][0] == 1
    assert not request.dataset_dir.exists()
    assert len([*(small / ".col0_0.attempt-1" / "images").iterdir()]) == 2


@pytest.mark.system
def test_program_is_not_started_below_the_floor_and_may_use_what_is_above(small, tmp_path):
    """What it needs nobody knows but itself: only the floor counts, and only before it begins."""
    ledger = tmp_path / "ledger"
    program = f"open({str(ledger)!r}, 'a').write('x'); open('film', 'wb').write(bytes(6_000_000))"
    argv = [sys.executable, "-S", "-c", program]
    with pytest.raises(ScannerNotReady, match="and 9 MB kept free"):
        CommandDriver({"argv": argv, "keep_free": "9 MB"}).scan(make_request(small), RecordingMonitor())
    assert not ledger.exists()
    CommandDriver({"argv": argv, "keep_free": "4 MB"}).scan(make_request(small), RecordingMonitor())
    assert ledger.read_text() == "x"
