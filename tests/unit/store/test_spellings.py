"""Older spellings: each is understood, and means the same after a save."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from zones import EUROPE, zone

from plantimager.timelapse.domain.states import RecordStatus, TimeLapseState
from plantimager.timelapse.support.json_text import loads
from stores import read, read_and_write, scan, statuses, store_of

BOTH_TIMES = {"started_at": "2026-06-22T06:00:00", "finished_at": "2026-06-22T06:07:00"}

R, S = RecordStatus, TimeLapseState


def test_scan_that_is_pending_with_both_times_succeeded():
    """Older controllers never set the status of a scan that went well."""
    assert statuses(read_and_write(store_of(scan(status="pending", **BOTH_TIMES))))[0] is R.SUCCEEDED


def test_scan_that_is_pending_with_both_times_and_an_error_failed():
    """The error counts for more than the status."""
    stored = read_and_write(store_of(scan(status="pending", error={"msg": "ALARM:1"}, **BOTH_TIMES)))
    assert (statuses(stored)[0], stored.timelapse.records[0].error_text) == (R.FAILED, "ALARM:1")


def test_scan_without_a_status_is_pending():
    """It is the documented default."""
    assert statuses(read_and_write(store_of({"scan_id": "tl_0", **BOTH_TIMES})))[0] is R.SUCCEEDED


@pytest.mark.parametrize("status", ["failed", "skipped", "interrupted", "succeeded"])
def test_any_other_status_is_kept(status):
    """It is kept with both times and without."""
    assert statuses(read_and_write(store_of(scan(status=status))))[0] == status
    assert statuses(read_and_write(store_of(scan(status=status, **BOTH_TIMES))))[0] == status


def test_naive_times_are_those_of_the_host():
    """That holds even where the schedule is in UTC; a time with an offset is unmistakable."""
    times = {"started_at": "2026-06-22T08:00:30", "finished_at": "2026-06-22T06:01:21+00:00"}
    record = read(store_of(scan(**times)), zone(EUROPE)).timelapse.records[0]
    assert record.started_at == datetime(2026, 6, 22, 6, 0, 30, tzinfo=UTC)
    assert record.took == timedelta(seconds=51)


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("idle", S.SCHEDULED), ("arming", S.SCHEDULED), ("waiting", S.SCHEDULED), ("standby", S.SCHEDULED),
        ("cooldown", S.SCHEDULED), ("scheduled", S.SCHEDULED), ("scanning", S.RUNNING), ("running", S.RUNNING),
        ("error", S.FAILED), ("failed", S.FAILED), ("completed", S.COMPLETED), ("cancelled", S.CANCELLED),
        ("configured", S.CONFIGURED),
    ],
)  # fmt: skip
def test_state_word_of_any_age_is_read_and_todays_is_written(word, state):
    """Older controllers had other words."""
    stored = read_and_write(store_of(state=word))
    assert stored.timelapse.state is state
    assert loads(stored.encode())["state"] == state.value
