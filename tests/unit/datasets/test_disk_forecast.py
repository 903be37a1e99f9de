"""The slot at which the disk would be full."""

import os
from types import SimpleNamespace

import pytest

from plantimager.timelapse.datasets import disk_forecast

FREE = 64_000_000
"""Bytes of an imagined disk."""


@pytest.fixture
def disk(tmp_path, monkeypatch):
    """Return a directory on a disk with `FREE` bytes free."""
    monkeypatch.setattr(disk_forecast.shutil, "disk_usage", lambda _: SimpleNamespace(free=FREE))
    return tmp_path


def test_slot_at_which_the_disk_would_be_full_is_found_by_the_largest_dataset(disk):
    """A plant grows, and its pictures with it."""
    for name, size in (("tl_0", 5_000_000), ("tl_1", 10_000_000)):
        (disk / name).mkdir()
        (disk / name / "0.jpg").touch()
        os.truncate(disk / name / "0.jpg", size)
    ids = ["tl_0", "tl_1", "tl_2"]
    assert disk_forecast.find_full_slot(disk, ids, 6, 0) is None
    words = f"up to 10 MB, 7 take 70 MB; {disk} has 64 MB for them, with 0 MB kept free: full at slot 6"
    assert disk_forecast.find_full_slot(disk, ids, 7, 0) == words
    assert disk_forecast.find_full_slot(disk, ids, 1, FREE).endswith(": full at slot 0")


def test_nothing_is_said_of_a_full_disk_without_a_dataset_to_go_by(disk):
    """They are moved away, or there never was one."""
    assert disk_forecast.find_full_slot(disk, ["tl_0"], 1000, FREE) is None
