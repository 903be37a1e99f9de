"""What was taken is what the store and the archive say together, and what they said last where they can't be read."""

import json
import os

import pytest

from plantimager.timelapse.channel.live import live_path
from plantimager.timelapse.channel.lock import InstanceLock
from plantimager.timelapse.relay.store_view import scan_runs
from stores import HOURS, scan, store_of


def names(view):
    return [taken_scan.scan_id for taken_scan in view.taken.scans]


def test_only_slots_that_were_taken_count_in_the_order_of_their_times(rig, reader):
    """Failed, skipped and running ones have no dataset."""
    statuses = ["succeeded", "failed", "succeeded", "skipped"]
    rig.write_store(store_of(*(scan(f"tl_{slot}", status) for slot, status in enumerate(statuses))))
    earlier = store_of(scan("old_0"), timelapse_id="old", n_slots=1, schedule_times=["2025-01-01T00:00:00+00:00"])
    earlier["scans"][0]["scan_id"] = "old"
    (rig.places.history / "old.json").write_text(json.dumps(earlier | {"state": "completed"}))
    assert names(reader.read()) == ["old", "tl_0", "tl_2"]


def test_a_store_that_is_in_the_archive_as_well_counts_once(rig, reader):
    """It stays where it is until the next timelapse begins. Unchanged files aren't even merged again."""
    store = store_of(scan("tl_0"), state="completed", n_slots=2)
    rig.write_store(store)
    (rig.places.history / "tl.json").write_text(json.dumps(store))
    first = reader.read()
    assert names(first) == ["tl_0"]
    assert reader.read().taken.scans is first.taken.scans


def test_a_later_timelapse_of_the_same_name_has_scans_of_its_own(rig, reader):
    """Their times differ, and so do their names in a ledger."""
    (rig.places.history / "tl.json").write_text(json.dumps(store_of(scan("tl_0"), n_slots=2, state="cancelled")))
    rig.write_store(store_of(scan("tl_0"), n_slots=2, schedule_times=HOURS[2:4]))
    assert [taken_scan.key for taken_scan in reader.read().taken.scans] == [f"tl_0 {HOURS[0]}", f"tl_0 {HOURS[2]}"]


@pytest.mark.parametrize("content", [b"{", b""], ids=["cut off", "empty"])
def test_a_store_that_cannot_be_read_says_what_it_said_before(rig, reader, content):
    """The daemon will write it again; until then nothing is forgotten, and the fault is there to be reported."""
    rig.write_store(store_of(scan("tl_0")))
    reader.read()
    rig.place.store.write_bytes(content)
    assert names(reader.read()) == ["tl_0"]
    assert list(reader.faults) == [rig.place.store]
    rig.write_store(store_of(scan("tl_0"), scan("tl_1")))
    assert names(reader.read()) == ["tl_0", "tl_1"]
    assert reader.faults == {}


def test_no_store_is_no_fault(reader):
    """The relay may be there first."""
    assert names(reader.read()) == []
    assert reader.faults == {}


def test_a_scan_runs_only_where_a_daemon_runs(rig, reader):
    """A store that a power cut left at `running` holds nothing up."""
    rig.write_store(store_of(scan("tl_0"), scan("tl_1", "running"), state="running", next_idx=1))
    assert not reader.read().taken.is_scanning
    lock = InstanceLock(rig.place.store)
    lock.acquire()
    assert reader.read().taken.is_scanning
    lock.release()


@pytest.mark.parametrize("place", ["beside the store", "in memory"])
def test_a_scan_that_the_store_does_not_know_is_seen_by_the_daemon_s_own_word(rig, place):
    """It goes on scanning while its disk takes no write; the word of a daemon that was killed says nothing."""
    rig.write_store(store_of(scan("tl_0")))
    control = rig.places.control
    control.parent.mkdir(parents=True, exist_ok=True)
    live = live_path(rig.place.store) if place == "beside the store" else control.with_name("live")
    live.write_text(json.dumps({"pid": os.getpid(), "rig": "scanning"}))
    assert scan_runs(rig.places) is False
    lock = InstanceLock(rig.place.store)
    lock.acquire()
    assert scan_runs(rig.places)
    live.write_text(json.dumps({"pid": os.getpid(), "rig": "on"}))
    assert scan_runs(rig.places) is False
    live.write_text(json.dumps({"pid": 1, "rig": "scanning"}))
    assert scan_runs(rig.places) is None
    lock.release()


def test_nothing_is_written_beside_the_store(rig, reader):
    """The relay only reads there."""
    rig.write_store(store_of(scan("tl_0")))
    before = {path: path.stat().st_mtime_ns for path in rig.place.storage.rglob("*")}
    reader.read()
    assert {path: path.stat().st_mtime_ns for path in rig.place.storage.rglob("*")} == before
