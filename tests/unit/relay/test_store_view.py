"""A sink is given the present timelapse with its records, what is archived, and the word of the running daemon."""

import json
import os

import pytest
from msgspec.structs import replace
from notify_rig import AHEAD

from plantimager.timelapse.channel.live import live_path
from plantimager.timelapse.channel.lock import InstanceLock
from plantimager.timelapse.relay.store_view import StoreViewReader
from stores import scan, store_of


@pytest.fixture
def lock(rig):
    lock = InstanceLock(rig.place.store)
    lock.acquire()
    yield lock
    lock.release()


def test_the_present_timelapse_comes_with_its_records_and_its_logbook(rig, reader):
    """A sink compares two of them."""
    rig.write_store(store_of(scan("tl_0"), scan("tl_1", "failed")))
    view = reader.read()
    assert [record.status for record in view.timelapse.records.values()] == ["succeeded", "failed"]
    assert view.stored.logbook.boots == 0


def test_no_store_gives_an_empty_view(reader):
    """The relay may be there first."""
    assert reader.read().timelapse is None
    assert reader.read().archived == ()


@pytest.mark.parametrize("is_present", [True, False])
def test_only_a_fault_of_the_present_store_makes_the_view_stale(rig, reader, is_present):
    """A damaged file in the archive says nothing of what goes on."""
    rig.write_store(store_of(scan("tl_0")))
    (rig.place.store if is_present else rig.places.history / "old.json").write_bytes(b"{")
    view = reader.read()
    assert len(view.faults) == 1
    assert view.is_stale is is_present
    assert view.fault == (view.faults[0] if is_present else "")


def test_a_store_that_vanishes_before_its_timelapse_has_ended_counts_as_it_was(rig, reader):
    """Its disk isn't mounted; nobody has to believe that nothing is scheduled."""
    rig.write_store(store_of(scan("tl_0"), schedule_times=AHEAD[:2]))
    known = reader.read()
    rig.place.store.unlink()
    view = reader.read()
    assert (view.stored, view.is_stale) == (known.stored, True)
    assert view.fault.endswith(": it is gone, and tl has not ended: see whether its disk is mounted")
    next_one = StoreViewReader(rig.places, reader.unended).read()
    assert (next_one.timelapse, next_one.fault) == (None, view.fault)
    rig.write_store(store_of(scan("tl_0"), schedule_times=AHEAD[:2]))
    assert not reader.read().is_stale


def test_a_store_that_is_gone_after_its_end_leaves_nothing_to_wait_for(rig, reader):
    """Whether it ended there, or in the archive."""
    rig.write_store(store_of(scan("tl_0"), schedule_times=AHEAD[:2]))
    reader.read()
    rig.place.store.rename(rig.places.history / "tl.json")
    assert (reader.read().timelapse, reader.read().is_stale) == (None, False)
    rig.write_store(store_of(scan("b_0"), schedule_times=AHEAD[:1], timelapse_id="b", state="completed"))
    assert reader.read().timelapse.id == "b"
    rig.place.store.unlink()
    assert (reader.read().timelapse, reader.read().is_stale) == (None, False)


def test_a_storage_directory_that_is_not_there_is_a_fault(rig, reader):
    """A daemon makes it before its first store."""
    rig.place.store.parent.rename(rig.place.store.parent.with_name("elsewhere"))
    assert reader.read().fault.endswith("its directory isn't there")


def test_an_archived_timelapse_is_loaded_by_who_needs_it(rig, reader):
    """When it ended is known before."""
    archived = store_of(scan("old", "failed", finished_at="2026-06-22T08:05:00Z"), n_slots=1, timelapse_id="old")
    (rig.places.history / "old.json").write_text(json.dumps(archived | {"state": "completed"}))
    (found,) = reader.read().archived
    assert (found.name.partition(" ")[0], found.ended_at.isoformat()) == ("old", "2026-06-22T08:05:00+00:00")
    assert found.load().tally.failed == 1
    found.path.unlink()
    assert found.load() is None


def test_a_running_daemon_is_known_by_its_lock_and_its_own_word(rig, lock, tmp_path):
    """What a daemon before it left behind says nothing of it."""
    view = {"pid": os.getpid(), "degraded": "disk full", "datasets": None, "clock": "not trusted", "rig": "standby"}
    live_path(rig.place.store).write_text(json.dumps(view))
    reader = StoreViewReader(replace(rig.places, runtime=tmp_path))
    facts = reader.read().daemon
    assert (facts.is_live, facts.degraded, facts.datasets, facts.clock_trusted) == (True, "disk full", "", False)
    live_path(rig.place.store).write_text(json.dumps(view | {"degraded": None}))
    spare = tmp_path / "live"
    spare.write_text(json.dumps(view | {"degraded": "read-only"}))  # where the disk took no write
    assert reader.read().daemon.degraded == "read-only"
    spare.unlink()
    live_path(rig.place.store).write_text(json.dumps(view | {"pid": 1}))
    assert not reader.read().daemon.is_live


def test_without_a_daemon_its_last_word_counts_for_nothing(rig, reader):
    """It may have been killed."""
    live_path(rig.place.store).write_text(json.dumps({"pid": os.getpid(), "degraded": "disk full"}))
    assert reader.read().daemon is None
