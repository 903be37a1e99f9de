"""The demo's word can be relied on: it fails when what it shows isn't true."""

import io
import os
from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace
from virtual_time import SYNCHRONISED

from plantimager.timelapse.cli import demo
from plantimager.timelapse.cli.snapshot import StatusSnapshot
from plantimager.timelapse.cli.terminal import Screen
from plantimager.timelapse.domain.states import TimeLapseMode, TimeLapseState
from plantimager.timelapse.domain.timelapse import TimeLapse
from plantimager.timelapse.support.clock import SystemClock
from plantimager.timelapse.support.errors import ScanFailed

FIRST = datetime(2026, 6, 22, 6, 0, tzinfo=UTC)
CUT = demo.Cut(slot=1, picture=5)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Return the demo's own directory."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return demo.Home.make(os.environ)


@pytest.fixture
def told_rightly(home):
    """Return a timelapse of three slots that went as the demo says, with its pictures."""
    slots = tuple(FIRST + timedelta(seconds=4 * index) for index in range(3))
    timelapse = TimeLapse(id="demo", mode=TimeLapseMode.INTERVAL, state=TimeLapseState.SCHEDULED, schedule_times=slots)
    for slot, due in enumerate(slots):
        timelapse = timelapse.begin(due, "boot")
        if slot == CUT.slot:
            timelapse = timelapse.interrupt(None, "killed").begin(due, "boot")
        timelapse = timelapse.succeed(due, demo.POSITIONS)
        images = home.datasets / f"demo_{slot}" / "images"
        images.mkdir(parents=True)
        for picture in range(demo.POSITIONS):
            (images / f"{picture:05}.jpg").touch()
    return StatusSnapshot(at=FIRST, store=home.store, timelapse=timelapse, evidence=SYNCHRONISED)


def test_true_story_has_no_objections(home, told_rightly):
    """Completed, all slots taken with all pictures, the cut one in its second attempt."""
    assert demo.what_is_untrue(told_rightly, home, CUT) == []


def test_slot_without_a_record_is_objected_to(home, told_rightly):
    """Every slot has a final record, or the demo has failed."""
    records = dict(told_rightly.timelapse.records)
    del records[2]
    lost = replace(told_rightly, timelapse=replace(told_rightly.timelapse, records=records))
    assert demo.what_is_untrue(lost, home, CUT) == ["slot 2 is not recorded, not taken"]


def test_timelapse_that_is_not_over_is_objected_to(home, told_rightly):
    """It must end by itself."""
    first = replace(told_rightly.timelapse, state=TimeLapseState.SCHEDULED, next_idx=0, records={})
    failed = first.begin(FIRST, "boot").fail_attempt(FIRST, ScanFailed("belt"), give_up=True)
    objections = demo.what_is_untrue(replace(told_rightly, timelapse=failed), home, CUT)
    assert objections == [
        "it is scheduled, not completed",
        "slot 0 is failed, not taken",
        "slot 1 is not recorded, not taken",
        "slot 2 is not recorded, not taken",
    ]


def test_missing_picture_is_objected_to(home, told_rightly):
    """The record says twelve."""
    home.pictures("demo_0")[3].unlink()
    assert demo.what_is_untrue(told_rightly, home, CUT) == ["slot 0 has 11 pictures, not 12"]


def test_kill_that_left_no_trace_is_objected_to(home, told_rightly):
    """It was to be seen in the records of the slot that it hit."""
    assert demo.what_is_untrue(told_rightly, home, replace(CUT, slot=2)) == [
        "slot 2 had 1 attempts, 0 of them interrupted; not 2 and 1"
    ]


def test_store_without_a_timelapse_is_objected_to(home):
    """There is nothing to show."""
    empty = StatusSnapshot(at=FIRST, store=home.store, evidence=SYNCHRONISED)
    assert demo.what_is_untrue(empty, home, CUT) == ["the store holds no timelapse"]


def test_daemon_that_does_not_start_ends_the_demo(home):
    """Its own words are passed on, and nothing is waited for."""
    faulty = home.directory / "config" / "plant-imager3-app" / "timelapsed.toml"
    faulty.write_text('driver = "robot"')
    output = io.StringIO()
    with pytest.raises(demo.DemoFailed, match="the daemon ended with 78"):
        demo._run_until_the_cut(home, SystemClock(), Screen(output))
    assert "no such driver" in output.getvalue()


def test_demo_is_nobodys_service(tmp_path, monkeypatch):
    """Its daemon must not report to the service manager of whoever shows it."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    made = demo.Home.make({"NOTIFY_SOCKET": "/run/x", "PI3_TIMELAPSE_FILE_NAME": "other.json", "PATH": "/bin"})
    assert set(made.environment) == {"PATH", "XDG_DATA_HOME", "XDG_CONFIG_HOME"}
