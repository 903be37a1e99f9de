"""The traps of real stores: each is understood, and what was understood is still so after a save."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace
from zones import EUROPE, zone

from plantimager.timelapse.domain.states import Reason, RecordStatus, TimeLapseState
from plantimager.timelapse.store.document import TimelapseStore
from plantimager.timelapse.store.stored_timelapse import read_timelapse
from plantimager.timelapse.support.json_text import loads

HOURS = [f"2026-06-22T{hour:02}:00:00+00:00" for hour in range(6, 12)]
BOTH_TIMES = {"started_at": "2026-06-22T06:00:00", "finished_at": "2026-06-22T06:07:00"}

R, S = RecordStatus, TimeLapseState


def store_of(*scans, n_slots=4, next_idx=None, state="scheduled", **changes):
    values = {
        "timelapse_id": "tl",
        "mode": "interval",
        "state": state,
        "schedule_times": HOURS[:n_slots],
        "next_idx": len(scans) if next_idx is None else next_idx,
        "scans": list(scans),
        **changes,
    }
    return TimelapseStore.from_mapping(values, "s.json")


def scan(scan_id="tl_0", status="succeeded", **changes):
    return {"scan_id": scan_id, "started_at": None, "finished_at": None, "status": status, "error": None, **changes}


def read(store, host=UTC):
    """Read a store; whatever was understood of it must be the same once we have written it."""
    stored = read_timelapse(store, host)
    raw = loads(stored.encode())
    again = read_timelapse(TimelapseStore.from_mapping(raw, "s.json"), timedelta_zone)
    assert again.timelapse == stored.timelapse
    assert (again.unplaced, again.notes) == (stored.unplaced, ())
    assert again.encode() == stored.encode()
    return stored


timedelta_zone = zone(EUROPE)
"""Another than the tests' own: once written, no time depends on the zone any more."""


def statuses(stored):
    records = stored.timelapse.records
    return [records[slot].status if slot in records else None for slot in range(stored.timelapse.n_slots)]


# --- what a scan's status is ---------------------------------------------------------------------


def test_scan_that_is_pending_with_both_times_succeeded():
    """The older controllers never wrote more of a scan that went well."""
    assert statuses(read(store_of(scan(status="pending", **BOTH_TIMES))))[0] is R.SUCCEEDED


def test_scan_that_is_pending_with_both_times_and_an_error_failed():
    """The error is the better witness."""
    stored = read(store_of(scan(status="pending", error={"msg": "ALARM:1"}, **BOTH_TIMES)))
    assert (statuses(stored)[0], stored.timelapse.records[0].error_text) == (R.FAILED, "ALARM:1")


def test_scan_without_a_status_is_pending():
    """It is the documented default."""
    assert statuses(read(store_of({"scan_id": "tl_0", **BOTH_TIMES})))[0] is R.SUCCEEDED


@pytest.mark.parametrize("status", ["failed", "skipped", "interrupted", "succeeded"])
def test_status_that_was_written_is_believed(status):
    """With both times or without."""
    assert statuses(read(store_of(scan(status=status))))[0] == status
    assert statuses(read(store_of(scan(status=status, **BOTH_TIMES))))[0] == status


def test_naive_times_are_those_of_the_host():
    """Even where the schedule is in UTC; those with an offset are what they say."""
    times = {"started_at": "2026-06-22T08:00:30", "finished_at": "2026-06-22T06:01:21+00:00"}
    record = read_timelapse(store_of(scan(**times)), zone(EUROPE)).timelapse.records[0]
    assert record.started_at == datetime(2026, 6, 22, 6, 0, 30, tzinfo=UTC)
    assert record.took == timedelta(seconds=51)


# --- whose scan it is -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ids",
    [
        ["tl_0", "tl_1"],
        [f"tl_{time}" for time in HOURS],
        ["tl--2026-06-22T06-00-00_00-00", "tl--2026-06-22T07-00-00_00-00"],
    ],
    ids=["number", "colons", "dashes"],
)
def test_scan_ids_of_three_generations_name_their_slot(ids):
    """Wherever they stand in the list."""
    stored = read(store_of(scan(ids[1]), scan(ids[0], "failed"), next_idx=2))
    assert statuses(stored)[:2] == [R.FAILED, R.SUCCEEDED]
    assert stored.timelapse.records[0].scan_id == ids[0]


def test_scan_id_of_a_local_schedule_names_its_slot():
    """Naive in the oldest controllers; in UTC by the next one, whatever offset its schedule was written with."""
    local = ["2026-06-22T08:00:00.5", "2026-06-22T09:00:00"]
    ids = ["tl_2026-06-22T08:00:00.5", "tl--2026-06-22T07-00-00_00-00"]
    stored = read(store_of(scan(ids[1]), scan(ids[0]), schedule_times=local), zone(EUROPE))
    assert [stored.timelapse.records[slot].scan_id for slot in (0, 1)] == ids


def test_single_slot_has_the_bare_id_or_a_number():
    """Both were written."""
    for name in ("tl", "tl_0"):
        stored = read(store_of(scan(name), n_slots=1, state="completed"))
        assert statuses(stored) == [R.SUCCEEDED]
        assert stored.timelapse.scan_id(0) == name


def test_scan_whose_id_says_nothing_is_that_of_its_place():
    """Its controller appended one a slot that it went past; and it stays there when later the list has gaps."""
    stored = read(store_of(scan("x"), scan("y", "failed"), scan("z")))
    assert statuses(stored)[:3] == [R.SUCCEEDED, R.FAILED, R.SUCCEEDED]
    gap = {slot: record for slot, record in stored.timelapse.records.items() if slot != 1}
    sparse = stored.evolved(replace(stored.timelapse, records=gap, next_idx=1), stored.logbook)
    again = read_timelapse(TimelapseStore.from_mapping(loads(sparse.encode()), "s.json"), UTC)
    assert again.timelapse == sparse.timelapse


def test_scans_of_one_and_the_same_id_are_those_of_their_places():
    """A controller that gave all of them one name still took them one after the other."""
    stored = read(store_of(scan("x"), scan("x", "failed"), scan("x")))
    assert statuses(stored)[:3] == [R.SUCCEEDED, R.FAILED, R.SUCCEEDED]


@pytest.mark.parametrize(
    ("first", "second", "winner"),
    [("failed", "succeeded", 1), ("succeeded", "failed", 0), ("failed", "failed", 0), ("succeeded", "succeeded", 0)],
)
def test_second_scan_of_a_slot_takes_no_other_slots_place(first, second, winner):
    """One that succeeded counts, else the first; the other is kept as it is, and the next slot is still open."""
    scans = [scan("tl_0", first, n=0), scan("tl_0", second, n=1)]
    stored = read(store_of(*scans, next_idx=1))
    assert statuses(stored) == [scans[winner]["status"], None, None, None]
    assert stored.timelapse.records[0].unknown_keys == {"n": winner}
    assert stored.unplaced == (scans[1 - winner],)


def test_scans_beyond_the_schedule_are_kept():
    """Somebody shortened it."""
    stored = read(store_of(scan("tl_0"), scan("tl_7"), scan("x"), scan("y"), n_slots=2, next_idx=1))
    assert [each["scan_id"] for each in stored.unplaced] == ["tl_7", "x", "y"]


def test_scan_of_nobody_knows_what_takes_no_slots_place():
    """It stays behind those that do, so that its place is never one that has gone by without a record."""
    stored = read(store_of(scan("tl_0"), scan("x"), next_idx=1))
    assert statuses(stored) == [R.SUCCEEDED, None, None, None]
    assert stored.unplaced == (scan("x"),)


@pytest.mark.parametrize("scan_id", ["../../etc", "a/b", "", ".", "x" * 300, "a\nb"])
def test_scan_id_that_can_name_no_dataset_is_not_scanned_under(scan_id):
    """A slot that is still to be taken gets the usual one; a finished one keeps what it was called."""
    noted = {"timelapsed": {"slots": {"0": {"scan_id": scan_id}, "1": {"scan_id": scan_id}}}}
    stored = read(store_of(scan(scan_id), scan(scan_id, "running"), next_idx=1, extra=noted))
    assert stored.timelapse.state is S.RUNNING
    assert stored.timelapse.current.scan_id == "tl_1"
    assert stored.timelapse.records[0].scan_id == scan_id


# --- what contradicts -----------------------------------------------------------------------------


def test_slot_without_a_record_was_not_recorded():
    """Its controller went past it; that is said once, and the slot has its final record."""
    stored = read(store_of(scan("tl_1"), next_idx=3))
    assert statuses(stored) == [R.SKIPPED, R.SUCCEEDED, R.SKIPPED, None]
    assert stored.timelapse.records[0].reason is Reason.NOT_RECORDED
    assert stored.notes == ("2 slots before slot 3 had no record",)


def test_slot_that_was_left_pending_was_not_recorded():
    """Pending and gone by is nothing that became of it."""
    stored = read(store_of(scan(status="pending", theirs=1), next_idx=1))
    assert statuses(stored)[0] is R.SKIPPED
    assert stored.timelapse.records[0].unknown_keys == {"theirs": 1}
    assert stored.notes == ("1 slot before slot 1 had no record",)


def test_error_of_a_slot_that_was_left_pending_is_not_lost():
    """It failed, whatever its status says."""
    stored = read(store_of(scan(status="pending", error={"msg": "ALARM:1"}), next_idx=1))
    assert (statuses(stored)[0], stored.timelapse.records[0].error) == (R.FAILED, {"msg": "ALARM:1"})
    assert stored.notes == ()


@pytest.mark.parametrize("changes", [{"status": "running"}, {"status": "pending", "started_at": HOURS[0]}])
def test_scan_that_was_begun_and_left_behind_was_interrupted(changes):
    """Its controller went on without it."""
    stored = read(store_of(scan(**changes), next_idx=1))
    assert statuses(stored) == [R.INTERRUPTED, None, None, None]
    assert stored.timelapse.tally.interrupted == 1


def test_next_idx_behind_the_records_is_moved_on():
    """No slot that has its final record is taken again."""
    stored = read(store_of(scan("tl_0"), scan("tl_1"), scan("tl_2"), next_idx=1))
    assert stored.timelapse.next_idx == 3
    assert stored.notes == ("next_idx was 1, but the slots before 3 are recorded",)


def test_next_idx_stays_before_a_gap():
    """The open slot comes first; the record after it stays."""
    stored = read(store_of(scan("tl_0"), scan("tl_2"), next_idx=1))
    assert (stored.timelapse.next_idx, statuses(stored)) == (1, [R.SUCCEEDED, None, R.SUCCEEDED, None])


@pytest.mark.parametrize("state", ["scheduled", "running", "cooldown", "scanning"])
def test_active_timelapse_without_an_open_slot_is_completed(state):
    """There is nothing left to do."""
    assert read(store_of(*[scan(f"tl_{slot}") for slot in range(4)], state=state)).timelapse.state is S.COMPLETED
    assert read(store_of(n_slots=0, state=state)).timelapse.state is S.COMPLETED


def test_running_timelapse_without_a_record_runs_its_next_slot():
    """The older controllers did not save at the start of a scan."""
    timelapse = read(store_of(scan("tl_0"), state="scanning")).timelapse
    assert (timelapse.state, timelapse.next_idx) == (S.RUNNING, 1)
    assert (timelapse.current.status, timelapse.current.attempt, timelapse.current.scan_id) == (R.RUNNING, 1, "tl_1")


@pytest.mark.parametrize("changes", [{"status": "running"}, {"status": "pending", "started_at": HOURS[1]}])
def test_next_slot_that_was_begun_is_running_whatever_the_state_says(changes):
    """So that the driver is asked what became of it."""
    timelapse = read(store_of(scan("tl_0"), scan("tl_1", **changes), next_idx=1, state="standby")).timelapse
    assert (timelapse.state, timelapse.next_idx, timelapse.current.attempt) == (S.RUNNING, 1, 1)


def test_no_slot_but_the_next_one_can_be_running():
    """A second one was cut off, and is tried when its turn comes."""
    stored = read(store_of(scan("tl_0", "running"), scan("tl_2", "running"), next_idx=0, state="running"))
    assert statuses(stored) == [R.RUNNING, None, R.INTERRUPTED, None]


@pytest.mark.parametrize("state", ["completed", "failed", "error", "cancelled", "configured"])
def test_timelapse_that_is_not_kept_has_nothing_running(state):
    """Its state is believed; the scan was cut off."""
    stored = read(store_of(scan("tl_0"), scan("tl_1", "running"), next_idx=1, state=state))
    assert stored.timelapse.state is TimeLapseState(state)
    assert statuses(stored)[1] is R.INTERRUPTED


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("idle", S.SCHEDULED), ("arming", S.SCHEDULED), ("waiting", S.SCHEDULED), ("standby", S.SCHEDULED),
        ("cooldown", S.SCHEDULED), ("scheduled", S.SCHEDULED), ("scanning", S.RUNNING), ("running", S.RUNNING),
        ("error", S.FAILED), ("failed", S.FAILED), ("completed", S.COMPLETED), ("cancelled", S.CANCELLED),
        ("configured", S.CONFIGURED),
    ],
)  # fmt: skip
def test_word_of_any_age_is_read_and_todays_is_written(word, state):
    """The left-most of the row."""
    stored = read(store_of(state=word))
    assert stored.timelapse.state is state
    assert loads(stored.encode())["state"] == state.value
