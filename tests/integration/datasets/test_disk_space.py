"""Room on the datasets' disk: what a scan must find before it begins, and what it leaves to others."""

import errno
import sys
from types import SimpleNamespace

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


FREE = 64_000_000
"""Bytes of an imagined disk: how much this machine has free says nothing about the check."""


@pytest.fixture
def disk(tmp_path, monkeypatch):
    """Return a directory on a disk with `FREE` bytes free."""
    monkeypatch.setattr(disk_space.shutil, "disk_usage", lambda _: SimpleNamespace(free=FREE))
    return tmp_path


@pytest.mark.parametrize(("needed", "keep_free"), [(0, 0), (FREE, 0), (0, FREE), (FREE - 1, 1)])
def test_disk_with_space_for_the_scan_and_for_the_reserve_is_enough(disk, needed, keep_free):
    """Both fit to the last byte."""
    disk_space.check(disk, needed, keep_free)


@pytest.mark.parametrize(
    ("needed", "keep_free", "words"),
    [
        (FREE + 1, 0, "64 MB free, 64 MB needed for this scan, and 0 MB kept free"),
        (0, FREE + 1, "64 MB free, 0 MB needed for this scan, and 64 MB kept free"),
        (FREE, 1, "64 MB free, 64 MB needed for this scan, and 0 MB kept free"),
        (1 << 60, 0, "64 MB free, 1152921504.6 GB needed for this scan, and 0 MB kept free"),
    ],
)
def test_disk_needs_space_for_the_scan_and_for_the_reserve(disk, needed, keep_free, words):
    """Where it has too little, the error says how much is free and what to do."""
    with pytest.raises(OSError, match="move datasets away, or lower keep_free") as caught:
        disk_space.check(disk, needed, keep_free)
    assert caught.value.errno == errno.ENOSPC
    assert words in str(caught.value)


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
    assert disk_space.read_keep_free(Table(options, "drivers.mine", faults)) == size
    assert faults == []


@pytest.mark.parametrize("size", [5, "1", "1 kB", "-1 MB", "", "1 GB more", f"{'9' * 400} GB"])
def test_what_is_no_size_is_a_fault(size):
    """A bare number leaves open of what."""
    faults = []
    disk_space.read_keep_free(Table({"keep_free": size}, "drivers.mine", faults))
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
