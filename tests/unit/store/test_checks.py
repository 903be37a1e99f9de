"""Faults of a store, key by key: one line for each wrong value, none for a value that some controller wrote."""

from __future__ import annotations

from datetime import UTC

import pytest

from plantimager.timelapse.store.checks import faults_of
from plantimager.timelapse.store.schema import is_safe_name
from plantimager.timelapse.store.spellings import rewrite

SCAN = {"scan_id": "tl_0", "started_at": None, "finished_at": None, "status": "pending", "error": None}
SOUND = {
    "version": 1,
    "timelapse_id": "tl",
    "mode": "interval",
    "state": "scheduled",
    "schedule_times": ["2026-06-22T08:00:00+00:00", "2026-06-22T09:00:00"],
    "next_idx": 1,
    "current_idx": 0,
    "warmup_sec": 30,
    "standby_threshold_sec": 600,
    "grace_period": 120,
    "start_at": None,
    "scans": [SCAN],
    "extra": {},
    "on_scan_failed": "skip_scan",
    "scan_retries": 0,
}

COUNT = "write a whole number of at least 0"
SECONDS = "write seconds: a number from 0 to 100 years"
NAME = "write a name that can name a file: not empty, no '/', no leading dot, at most 200 bytes"
MODE = "write one of one_shot, interval, fixed_times"
STATE = "write one of configured, scheduled, running, completed, failed, cancelled"
STATUS = "write one of pending, running, succeeded, failed, skipped, interrupted"
TIME = "write an ISO-8601 date and time of the years 1970 to 8999"
POLICY = "write one of skip_scan, fail_timelapse"
OBJECT = "write an object"

WRONG = {
    "version": ([None, "1", 1.0, True, [], {}], "write a whole number"),
    "timelapse_id": (
        [None, 1, [], {}, "", ".", "..", ".hidden", "a/b", "../x", "a\nb", "a\0b", "x" * 201, "ö" * 101, "\ud800"],
        NAME,
    ),
    "mode": ([None, 1, [], {}, "", "Interval", "hourly"], MODE),
    "state": ([None, 1, [], {}, "", "Scheduled", "paused", "name"], STATE),
    "schedule_times": ([None, 1, "2026-06-22T08:00:00", {}], "write a list of ISO-8601 dates and times"),
    "next_idx": ([None, "1", 1.0, True, [], {}, -1], COUNT),
    "current_idx": ([None, "1", 1.0, True, [], {}], "write a whole number"),
    "warmup_sec": ([None, "30", True, [], {}, -1, float("nan"), float("inf"), 10**12, 10**400], SECONDS),
    "standby_threshold_sec": ([None, "30", True, [], {}, -0.5, float("nan"), 1e300], SECONDS),
    "grace_period": ([None, "30", False, [], {}, -1, float("-inf")], SECONDS),
    "start_at": ([1, "", "soon", [], {}, "0001-01-01T00:00:00"], f"{TIME}, or null"),
    "scans": ([None, 1, "x", {}], "write a list of objects"),
    "on_scan_failed": (["", "retry", 1, [], {}], POLICY),
    "scan_retries": ([-1, "1", 1.0, True, [], {}], COUNT),
}


def lines(**changes):
    return faults({**SOUND, **changes})


def faults(raw):
    """Return what is wrong with a file, in whatever spelling."""
    rewritten, _ = rewrite(raw, UTC)
    return [str(fault) for fault in faults_of(rewritten)]


def test_sound_store_has_no_faults():
    """A store has none with all its keys, nor with the required ones alone."""
    assert lines() == []
    required = ("timelapse_id", "mode", "state", "schedule_times")
    least = {key: SOUND[key] for key in required}
    assert faults(least) == []
    assert faults({}) == [f"{key}: required, but missing" for key in required]


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, (values, _) in WRONG.items() for value in values])
def test_wrong_value_of_any_key_gets_one_line(key, value):
    """The line names the key, the value and what is allowed, and fits a screen."""
    (line,) = lines(**{key: value})
    assert line.startswith(f"{key} = ")
    assert line.endswith(f": {WRONG[key][1]}")
    assert line.isprintable()
    assert len(line) < 250


@pytest.mark.parametrize("value", [1, "x", [], [["api_token", "hunter2"]]])
def test_wrong_extra_is_not_shown(value):
    """It may hold a secret."""
    assert lines(extra=value) == ["extra: write an object"]


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"schedule_times": ["soon"]}, f'schedule_times[0] = "soon": {TIME}'),
        ({"schedule_times": ["2026-06-22", 5]}, f"schedule_times[1] = 5: {TIME}"),
        ({"schedule_times": ["2026-06-22", None]}, f"schedule_times[1] = null: {TIME}"),
        ({"schedule_times": ["2026-06-22", "0001-01-01"]}, f'schedule_times[1] = "0001-01-01": {TIME}'),
        ({"schedule_times": ["2026-06-22", "9999-12-31T23:59"]}, f'schedule_times[1] = "9999-12-31T23:59": {TIME}'),
        ({"next_idx": 3}, "next_idx = 3: beyond the schedule (2 slots); write a number from 0 to 2"),
        ({"scans": [SCAN, 3]}, f"scans[1] = 3: {OBJECT}"),
        ({"scans": [None]}, f"scans[0] = null: {OBJECT}"),
        ({"scans": [{}]}, "scans[0].scan_id: write a text"),
        ({"scans": [{**SCAN, "scan_id": 1}]}, "scans[0].scan_id = 1: write a text"),
        ({"scans": [{**SCAN, "started_at": 0}]}, f"scans[0].started_at = 0: {TIME}, or null"),
        ({"scans": [{**SCAN, "finished_at": ""}]}, f'scans[0].finished_at = "": {TIME}, or null'),
        ({"scans": [{**SCAN, "status": "done"}]}, f'scans[0].status = "done": {STATUS}'),
        ({"scans": [{**SCAN, "status": None}]}, f"scans[0].status = null: {STATUS}"),
        ({"scans": [{**SCAN, "status": ["x"]}]}, f'scans[0].status = ["x"]: {STATUS}'),
    ],
)
def test_wrong_value_within_a_list_is_named_by_its_place(changes, line):
    """A person can so find one scan among hundreds."""
    assert lines(**changes) == [line]


@pytest.mark.parametrize(
    "changes",
    [
        {"next_idx": 2},
        {"current_idx": -1},
        {"version": 2},
        {"version": 10**30},
        {"extra": None},
        {"on_scan_failed": None, "scan_retries": None},
        {"scan_retries": 10**30},
        {"warmup_sec": 0.5},
        {"schedule_times": [], "next_idx": 0, "state": "completed"},
        {"schedule_times": ["2026-06-22T08:00Z", "20260622T080000+0200", "2026-W26-1"]},
        {"timelapse_id": "wheat, plot 3: été"},
        {"scans": [{"scan_id": ""}, {**SCAN, "error": {"msg": "x"}, "theirs": [1]}]},
        pytest.param({"later": object()}, id="later"),
        *({"state": word} for word in ("idle", "arming", "waiting", "standby", "cooldown", "scanning", "error")),
    ],
    ids=str,
)
def test_whatever_a_controller_may_have_written_has_no_faults(changes):
    """Controllers of all ages are read."""
    assert lines(**changes) == []


def test_all_faults_are_reported():
    """A person sees all that is wrong with a file, not only the first of it."""
    assert len(lines(mode=1, state=2, scans=[{}, 3], next_idx=-1)) == 5


@pytest.mark.parametrize("name", ["tl_0", "a--2026-06-22T06-00-30_00-00", "romi 2026-06-22T08:00:30.1", "ö", "x" * 200])
def test_name_that_can_name_a_file_is_safe(name):
    """Scan ids of all generations can."""
    assert is_safe_name(name)
