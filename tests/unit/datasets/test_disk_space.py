"""The check of free space, and the option ``keep_free``."""

import errno
import shutil

import pytest

from plantimager.timelapse.datasets import disk_space
from plantimager.timelapse.support.faults import Table


@pytest.mark.parametrize(("needed", "keep_free", "fits"), [(0, 0, True), (1 << 60, 0, False), (0, 1 << 60, False)])
def test_disk_needs_space_for_the_scan_and_for_the_reserve(tmp_path, needed, keep_free, fits):
    """Where it has too little, the error says how much is free and what to do."""
    if fits:
        disk_space.require_free_space(tmp_path, needed, keep_free)
        return
    with pytest.raises(OSError, match="move datasets away, or lower keep_free") as caught:
        disk_space.require_free_space(tmp_path, needed, keep_free)
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
def test_reserve_is_read_as_a_size(options, size):
    """The default is a gigabyte."""
    faults = []
    table = Table(options, "drivers.mine", faults)
    assert table.take("keep_free", disk_space.read_size, disk_space.KEEP_FREE) == size
    assert faults == []


@pytest.mark.parametrize("size", [5, "1", "1 kB", "-1 MB", "", "1 GB more", f"{'9' * 400} GB"])
def test_anything_but_a_size_with_a_unit_is_a_fault(size):
    """A bare number has no unit."""
    faults = []
    Table({"keep_free": size}, "drivers.mine", faults).take("keep_free", disk_space.read_size, 0)
    assert 'write a size such as "500 MB" or "2 GB"' in str(faults[0])
