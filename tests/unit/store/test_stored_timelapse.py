"""A timelapse and the file that holds it: no key of any program is lost between them."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from tree import STORES
from zones import EUROPE, zone

from plantimager.timelapse.domain.states import TimeLapseMode, TimeLapseState
from plantimager.timelapse.domain.timelapse import TimeLapse
from plantimager.timelapse.store.loading import read_timelapse
from plantimager.timelapse.store.schema import Logbook
from plantimager.timelapse.store.stored_timelapse import new_stored_timelapse
from plantimager.timelapse.support.json_text import loads
from stores import read, read_again

FILES = sorted(STORES.glob("*.json"))
START = datetime(2026, 6, 22, 6, tzinfo=UTC)
HOUR = timedelta(hours=1)


def timelapse(n_slots=3, **changes):
    times = tuple(START + HOUR * slot for slot in range(n_slots))
    values = {"id": "tl", "mode": TimeLapseMode.INTERVAL, "state": TimeLapseState.SCHEDULED, "schedule_times": times}
    return TimeLapse(**{**values, **changes})


def raw(**changes):
    values = {
        "timelapse_id": "tl",
        "mode": "interval",
        "state": "scheduled",
        "schedule_times": [(START + HOUR * slot).isoformat() for slot in range(3)],
        "extra": {},
    }
    return {**values, **changes}


# --- real stores ----------------------------------------------------------------------------------


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_real_store_is_the_same_after_it_was_written(file):
    """Read, written, and read again in another zone: the same timelapse and the same text."""
    first = read_timelapse(file.read_bytes(), file, zone(EUROPE))
    again = read_again(first)
    assert again.timelapse == first.timelapse
    assert again.encode() == first.encode()


@pytest.mark.parametrize(
    ("name", "state", "n_slots", "next_idx", "tally", "next_at", "notes"),
    [
        ("fixed-times-dst", "scheduled", 5, 1, "1 taken, 0 failed, 0 skipped", "2026-10-24T18:00:00+00:00", 0),
        ("interval-completed", "completed", 3, 3, "3 taken, 0 failed, 0 skipped", None, 0),
        ("interval-naive-midrun", "scheduled", 24, 3, "3 taken, 0 failed, 0 skipped",
         "2026-06-22T09:00:30.123456+00:00", 1),
        ("interval-utc-interrupted", "running", 48, 5, "4 taken, 1 failed, 0 skipped", "2026-06-22T08:30:30+00:00", 0),
        ("interval-year-8760", "scheduled", 8760, 4000, "4000 taken, 0 failed, 0 skipped",
         "2026-06-16T16:00:00+00:00", 0),
        ("one-shot-pending", "scheduled", 1, 0, "0 taken, 0 failed, 0 skipped", "2026-06-22T12:00:00+00:00", 0),
    ],
)  # fmt: skip
def test_real_store_is_understood(name, state, n_slots, next_idx, tally, next_at, notes):
    """It is what a person reads in it, on a host in Central Europe."""
    file = next(file for file in FILES if file.stem == name)
    found = read_timelapse(file.read_bytes(), file, zone(EUROPE))
    value = found.timelapse
    assert (value.state.value, value.n_slots, value.next_idx) == (state, n_slots, next_idx)
    assert str(value.tally) == tally
    assert (value.next_at.isoformat() if value.next_at else None) == next_at
    assert len(found.notes) == notes
    assert found.kept.scans == ()


# --- notes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"version": 7}, "written by version 7, not 1: what is known of it is used, the rest is kept"),
        ({"schedule_times": ["2026-06-22T06:00:00"]}, "times without an offset were read as local time"),
        (
            {"schedule_times": ["2026-06-22T06:00Z", "2026-06-22T08:00Z", "2026-06-22T07:00Z"]},
            "the schedule goes back in time at 1 slot: late ones will count as missed",
        ),
        (
            {"extra": {"config_snapshot": 5}},
            "extra.config_snapshot is no object and counts as none; scans go by the definition or the driver",
        ),
        (
            {"extra": {"timelapsed": "x"}},
            "extra.timelapsed is no object: it counts as none and is written anew",
        ),
        (
            {
                "extra": {
                    "timelapsed": {
                        "saved_at": 5,
                        "definition": 5,
                        "boot_id": [],
                        "boots": -1,
                        "outages": [["2026-06-22T06:00Z"]],
                        "slots": 3,
                        "ending": "x",
                    }
                }
            },
            (
                "of extra.timelapsed, saved_at, definition, boot_id, boots, outages, slots, ending can't be right:"
                " it counts as unknown and is written anew"
            ),
        ),
    ],
)
def test_note_says_how_an_unusual_file_was_read(changes, note):
    """The journal has it at the start."""
    assert read(raw(**changes)).notes == (note,)


# --- keys of others -------------------------------------------------------------------------------


def test_keys_of_others_survive_every_save():
    """They stand at the top, in extra, in extra.timelapsed and in scans, with NaN, huge integers and surrogates."""
    theirs = {"nan": float("nan"), "huge": 2**70, "lone": "\ud800", "deep": [{"a": [None]}]}
    scan = {"scan_id": "tl_0", "status": "succeeded", "theirs": theirs}
    source = raw(theirs=theirs, next_idx=1, scans=[scan, {"scan_id": "other", "theirs": theirs}])
    source["extra"] = {"api_token": "hunter2", "db_url": "x", "theirs": theirs, "timelapsed": {"theirs": theirs}}
    held = read(source)
    for _ in range(2):
        held = held.evolved(held.timelapse.begin(START, "b").succeed(START, 1), Logbook(saved_at=START))
        written = json.loads(held.encode())
        first, *_, last = written["scans"]
        for place in (written, written["extra"], written["extra"]["timelapsed"], first, last):
            assert json.dumps(place["theirs"], sort_keys=True) == json.dumps(theirs, sort_keys=True)
        assert (written["extra"]["api_token"], written["extra"]["db_url"]) == ("hunter2", "x")


@pytest.mark.parametrize("value", [None, 3, "x", [], {"slots": 3}, {"slots": {"0": 3, "x": {"scan_id": "y"}, "9": {}}}])
def test_what_is_ours_but_damaged_is_as_good_as_absent(value):
    """The documented keys alone say what the timelapse is."""
    held = read(raw(extra={"timelapsed": value}, scans=[{"scan_id": "tl_0", "status": "succeeded"}]))
    assert held.timelapse.next_idx == 1
    assert held.logbook == Logbook()
    assert read_again(held).timelapse == held.timelapse


def test_secret_is_not_shown():
    """``repr`` has no value of ``extra``."""
    held = read(raw(extra={"api_token": "hunter2"}, api_token="hunter2"))  # noqa: S106 - that is what it stands for
    assert "hunter2" not in repr(held)
    assert b"hunter2" in held.encode()


def test_configuration_is_the_snapshot_of_the_store():
    """An empty one, or one that is no object, counts as none."""
    assert read(raw(extra={"config_snapshot": {"ScanPath": {}}})).configuration == {"ScanPath": {}}
    for none in ({}, None, 3, []):
        assert read(raw(extra={"config_snapshot": none})).configuration is None
    assert new_stored_timelapse(timelapse(), {}, None).configuration is None
    assert new_stored_timelapse(timelapse(), {"camera": {}}, None).configuration == {"camera": {}}


# --- text -----------------------------------------------------------------------------------------


def test_new_timelapse_is_laid_out_as_documented():
    """Indent 2, sorted keys, words and times as they are to be written."""
    text = new_stored_timelapse(timelapse(1, start_at=START), {"camera": {}}, "abc").encode().decode()
    assert text == json.dumps(json.loads(text), indent=2, sort_keys=True)
    assert json.loads(re.sub("adler32:[0-9a-f]{8}", "adler32:c0decafe", text)) == {
        "version": 1, "timelapse_id": "tl", "mode": "interval", "state": "scheduled",
        "schedule_times": ["2026-06-22T06:00:00+00:00"], "next_idx": 0, "current_idx": 0, "warmup_sec": 30,
        "standby_threshold_sec": 600, "grace_period": 120, "start_at": "2026-06-22T06:00:00+00:00", "scans": [],
        "on_scan_failed": "skip_scan", "scan_retries": 0,
        "extra": {
            "config_snapshot": {"camera": {}},
            "timelapsed": {
                "boots": 0,
                "datasets_disk": {},
                "other_disks": {},
                "digest": "adler32:c0decafe",
                "boot_id": None, "definition": "abc", "ending": None, "outages": [], "saved_at": None,
                "uncertain": [], "recent": [], "pause": None, "earlier_definitions": [],
                "slots": {},
            },
        },
    }  # fmt: skip


def test_usual_slots_take_no_room_in_extra():
    """A hundred thousand of them must fit: only what the keys of a scan can't say is there."""
    value = timelapse()
    value = value.begin(START, "boot").succeed(START + HOUR / 2)
    value = value.begin(START + HOUR, "boot").interrupt(None, "the power went").begin(START + HOUR, "boot")
    slots = json.loads(new_stored_timelapse(value, {}, None).encode())["extra"]["timelapsed"]["slots"]
    assert slots == {"1": {"attempt": 2, "interruptions": 1, "boot_id": "boot"}}


def test_evolving_leaves_the_value_before_as_it_is():
    """A save that fails must not have changed what is held."""
    before = new_stored_timelapse(timelapse(), {}, None)
    text = before.encode()
    after = before.evolved(before.timelapse.begin(START, "b"), Logbook(boots=3))
    assert after.encode() != text
    assert before.encode() == text


def test_fractions_of_seconds_survive():
    """Whole seconds are written as integers, as in every store there is."""
    value = timelapse(warmup=timedelta(seconds=0.25), grace=timedelta(microseconds=1))
    written = loads(new_stored_timelapse(value, {}, None).encode())
    assert (written["warmup_sec"], written["grace_period"], written["standby_threshold_sec"]) == (0.25, 1e-06, 600)
    assert read(written).timelapse == value
