"""The demo checks its own claims: each that isn't true is named."""

import os
from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from plantimager.timelapse.cli.demo import Cut, find_false_claims
from plantimager.timelapse.cli.demo_home import POSITIONS, Home
from plantimager.timelapse.domain.states import TimeLapseMode, TimeLapseState
from plantimager.timelapse.domain.timelapse import TimeLapse
from plantimager.timelapse.support.errors import ScanFailed

FIRST = datetime(2026, 6, 22, 6, 0, tzinfo=UTC)
CUT = Cut(slot=1, attempt=1, picture=5)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Return the demo's own directory."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return Home.make(os.environ)


def take_slots(home, cut=CUT, *, failed_attempts=0):
    """Return a timelapse of three slots that went as the demo claims, with its pictures."""
    slots = tuple(FIRST + timedelta(seconds=4 * index) for index in range(3))
    timelapse = TimeLapse(
        id="demo",
        mode=TimeLapseMode.INTERVAL,
        state=TimeLapseState.SCHEDULED,
        schedule_times=slots,
        scan_retries=1,
    )
    for slot, due in enumerate(slots):
        timelapse = timelapse.begin(due, "boot")
        if slot == cut.slot:
            for _ in range(failed_attempts):
                timelapse = timelapse.fail_attempt(due, ScanFailed("belt"))
            timelapse = timelapse.interrupt(None, "killed").begin(due, "boot")
        timelapse = timelapse.succeed(due, POSITIONS)
        images = home.datasets / f"demo_{slot}" / "images"
        images.mkdir(parents=True)
        for picture in range(POSITIONS):
            (images / f"{picture:05}.jpg").touch()
    return timelapse


@pytest.fixture
def timelapse(home):
    """Return a timelapse that went as the demo claims."""
    return take_slots(home)


def test_no_claim_is_false_after_a_good_run(home, timelapse):
    """The timelapse is completed, all slots have all pictures, the cut one in its second attempt."""
    assert find_false_claims(timelapse, home, CUT) == []


def test_power_cut_in_a_retry_is_a_good_run(home):
    """The slot may have failed once before the cut: then the third attempt takes it."""
    cut = Cut(slot=2, attempt=2, picture=5)
    assert find_false_claims(take_slots(home, cut, failed_attempts=1), home, cut) == []


def test_slot_without_a_record_is_named(home, timelapse):
    """Every slot must have a final record."""
    records = dict(timelapse.records)
    del records[2]
    lost = replace(timelapse, records=records)
    assert find_false_claims(lost, home, CUT) == ["slot 2 is not recorded, not taken"]


def test_timelapse_that_is_not_over_is_named(home, timelapse):
    """It must end by itself."""
    first = replace(timelapse, state=TimeLapseState.SCHEDULED, next_idx=0, records={})
    failed = first.begin(FIRST, "boot").fail_attempt(FIRST, ScanFailed("belt"), give_up=True)
    assert find_false_claims(failed, home, CUT) == [
        "it is scheduled, not completed",
        "slot 0 is failed, not taken",
        "slot 1 is not recorded, not taken",
        "slot 2 is not recorded, not taken",
    ]


def test_missing_picture_is_named(home, timelapse):
    """The record alone is no evidence."""
    home.pictures("demo_0")[3].unlink()
    assert find_false_claims(timelapse, home, CUT) == ["slot 0 has 11 pictures, not 12"]


def test_power_cut_without_a_trace_is_named(home, timelapse):
    """The record of the slot that it hit must show it."""
    assert find_false_claims(timelapse, home, replace(CUT, slot=2)) == [
        "slot 2 had 1 attempts, 0 of them interrupted; not 2 and 1"
    ]


def test_store_without_a_timelapse_is_named(home):
    """There is nothing to show then."""
    assert find_false_claims(None, home, CUT) == ["the store holds no timelapse"]
