"""The times that files have."""

from __future__ import annotations

import os

import pytest

from plantimager.timelapse.support.clock_evidence import modified_at


@pytest.mark.parametrize("seconds", [-(10**11), 253_402_300_799, 253_402_300_800, 10**15])
def test_file_of_a_time_that_no_date_can_be_has_none(tmp_path, seconds):
    """Anybody may have touched it; a file system that can't hold the time has another one in its place."""
    path = tmp_path / "store.json"
    assert modified_at(path) is None
    path.touch()
    assert modified_at(path) is not None
    os.utime(path, (seconds, seconds))
    at = modified_at(path)
    assert at is None or abs(at.timestamp() - seconds) > 1
    if at is not None:
        assert 1970 <= at.year < 9000
