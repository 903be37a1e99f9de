"""The check of free space, and the option ``keep_free``."""

import errno
from types import SimpleNamespace

import pytest

from plantimager.timelapse.datasets import disk_space
from plantimager.timelapse.scan.cameras import Camera
from plantimager.timelapse.support.faults import Table

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
    disk_space.require_free_space(disk, needed, keep_free)


@pytest.mark.parametrize(
    ("needed", "keep_free", "words"),
    [
        (FREE + 1, 0, "64 MB free, 64 MB needed for this scan, and 0 MB kept free"),
        (0, FREE + 1, "64 MB free, 0 MB needed for this scan, and 64 MB kept free"),
        (FREE, 1, "64 MB free, 64 MB needed for this scan, and 1 kB kept free"),
        (1 << 60, 0, "64 MB free, 1152921504.6 GB needed for this scan, and 0 MB kept free"),
    ],
)
def test_disk_needs_space_for_the_scan_and_for_the_reserve(disk, needed, keep_free, words):
    """Where it has too little, the error says how much is free and what to do."""
    with pytest.raises(OSError, match="move datasets away, or lower keep_free") as caught:
        disk_space.require_free_space(disk, needed, keep_free)
    assert caught.value.errno == errno.ENOSPC
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("cameras", "needed"),
    [
        ([Camera("top", res_x=1000, res_y=500)], 500_000),
        ([Camera("top", res_x=1000, res_y=500, encoding="png"), Camera("side", res_x=10, res_y=10)], 1_500_100),
        ([Camera("top", encoding="png")], 0),
        ([Camera("top", res_x=1000), Camera("side", res_x=10, res_y=10)], 100),
    ],
)
def test_only_sizes_that_are_asked_for_count_as_needed(cameras, needed):
    """A guess that is too large would refuse every slot on a disk where the scan fits."""
    assert disk_space.max_picture_bytes(cameras) == needed


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({}, 10**9),
        ({"keep_free": "0 MB"}, 0),
        ({"keep_free": "1.5GB"}, 1_500_000_000),
        ({"keep_free": "2 TB"}, 2 * 10**12),
    ],
)
def test_reserve_is_read_as_a_size(options, size):
    """The default is a gigabyte."""
    faults = []
    table = Table(options, "drivers.mine", faults)
    assert table.read("keep_free", disk_space.read_size, disk_space.KEEP_FREE) == size
    assert faults == []


@pytest.mark.parametrize("size", [5, "1", "1 kB", "-1 MB", "", "1 GB more", f"{'9' * 400} GB"])
def test_anything_but_a_size_with_a_unit_is_a_fault(size):
    """A bare number has no unit."""
    faults = []
    Table({"keep_free": size}, "drivers.mine", faults).read("keep_free", disk_space.read_size, 0)
    assert 'write a size such as "500 MB" or "2 GB"' in str(faults[0])
