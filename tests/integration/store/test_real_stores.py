"""Stores that the community's controller wrote: each is found, is one line in the journal, and goes on."""

from __future__ import annotations

import shutil

import pytest
from daemon_process import Place, statuses
from tree import STORES

PAST = [
    # file, the line in the journal, state afterwards, how many records of each status
    ("fixed-times-dst", "resumed: dst_check, 5 slots, 1 done", "completed", {"succeeded": 1, "skipped": 4}),
    ("interval-naive-midrun", "resumed: romi_demo_1, 24 slots, 3 done", "completed", {"succeeded": 3, "skipped": 21}),
    (
        "interval-utc-interrupted",
        "resumed: col0_ld_2026-06, 48 slots, 5 done; was scanning slot 5 when its controller ended",
        "completed",
        {"succeeded": 4, "failed": 1, "interrupted": 1, "skipped": 42},
    ),
    ("one-shot-pending", "resumed: single, 1 slot, 0 done", "completed", {"skipped": 1}),
]


@pytest.mark.parametrize(("name", "line", "state", "counts"), PAST, ids=[row[0] for row in PAST])
def test_every_slot_of_a_past_store_gets_its_record(place: Place, name, line, state, counts) -> None:
    """Slots that were due while no daemon ran are recorded in one pass and one line, and the timelapse ends."""
    shutil.copy(STORES / f"{name}.json", place.store)
    place.configure('clock = "trust"\n')
    with place.start() as daemon:
        assert line in daemon.wait_for("resumed: ")
        daemon.wait_for("timelapse_completed: ")
        assert daemon.stop() == 0
    store = place.read()
    assert store["state"] == state
    assert store["next_idx"] == len(store["schedule_times"])
    found = statuses(store)
    assert {status: found.count(status) for status in set(found)} == counts
    assert len(daemon.said("slot_skipped")) == (1 if counts.get("skipped") else 0)


def test_completed_store_is_left_as_it_is(place: Place) -> None:
    """An ended timelapse is one line in the journal, and its file stays byte for byte."""
    original = (STORES / "interval-completed.json").read_bytes()
    place.store.write_bytes(original)
    place.configure('clock = "trust"\n')
    with place.start() as daemon:
        assert "done_tl, 3 slots, 3 done: completed" in daemon.wait_for("store_found: ")
        assert daemon.stop() == 0
    assert place.store.read_bytes() == original


def test_year_of_hourly_slots_is_resumed_like_any_other(place: Place) -> None:
    """8 760 slots: missed ones are one line and one save; in which year the test runs decides whether there are any."""
    shutil.copy(STORES / "interval-year-8760.json", place.store)
    place.configure('clock = "trust"\n')
    with place.start() as daemon:
        assert "resumed: year_hourly, 8760 slots, 4000 done" in daemon.wait_for("resumed: ")
        assert daemon.stop() == 0
    assert len(daemon.said("slot_skipped")) <= 1
    store = place.read()
    assert store["next_idx"] >= 4000
    assert statuses(store).count("succeeded") == 4000
