"""The slot of each scan: by what was noted, by ids of three generations, by its place; one scan for each slot."""

from __future__ import annotations

import itertools

import pytest
from msgspec.structs import replace
from zones import EUROPE, zone

from plantimager.timelapse.domain.states import RecordStatus, TimeLapseState
from stores import HOURS, read_again, read_and_write, scan, statuses, store_of

R, S = RecordStatus, TimeLapseState


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
    """They may stand in the list in any order."""
    stored = read_and_write(store_of(scan(ids[1]), scan(ids[0], "failed"), next_idx=2))
    assert statuses(stored)[:2] == [R.FAILED, R.SUCCEEDED]
    assert stored.timelapse.records[0].scan_id == ids[0]


def test_scan_id_of_a_local_schedule_names_its_slot():
    """The oldest controllers wrote the naive time, the next one UTC, whatever offset its schedule had."""
    local = ["2026-06-22T08:00:00.5", "2026-06-22T09:00:00"]
    ids = ["tl_2026-06-22T08:00:00.5", "tl--2026-06-22T07-00-00_00-00"]
    stored = read_and_write(store_of(scan(ids[1]), scan(ids[0]), schedule_times=local), zone(EUROPE))
    assert [stored.timelapse.records[slot].scan_id for slot in (0, 1)] == ids


def test_single_slot_has_the_bare_id_or_a_number():
    """Controllers wrote both, and both are read."""
    for name in ("tl", "tl_0"):
        stored = read_and_write(store_of(scan(name), n_slots=1, state="completed"))
        assert statuses(stored) == [R.SUCCEEDED]
        assert stored.timelapse.scan_id(0) == name


def test_scan_whose_id_says_nothing_is_that_of_its_place():
    """Its controller appended one for each slot that it went past; the slot keeps it when the list has gaps later."""
    stored = read_and_write(store_of(scan("x"), scan("y", "failed"), scan("z")))
    assert statuses(stored)[:3] == [R.SUCCEEDED, R.FAILED, R.SUCCEEDED]
    gap = {slot: record for slot, record in stored.timelapse.records.items() if slot != 1}
    sparse = stored.evolved(replace(stored.timelapse, records=gap, next_idx=1), stored.logbook)
    again = read_again(sparse)
    assert again.timelapse == sparse.timelapse


def test_scans_of_one_and_the_same_id_are_those_of_their_places():
    """A controller that gave all of them one name took them one after the other."""
    stored = read_and_write(store_of(scan("x"), scan("x", "failed"), scan("x")))
    assert statuses(stored)[:3] == [R.SUCCEEDED, R.FAILED, R.SUCCEEDED]


@pytest.mark.parametrize("next_idx", [0, 1])
@pytest.mark.parametrize(("first", "second"), [*itertools.product(R, repeat=2)])
def test_second_scan_of_a_slot_takes_no_other_slots_place(first, second, next_idx):
    """One that succeeded counts, else one that is final, else the first; the other is kept, as is the next slot.

    A slot that one of them has closed is never taken again, and it is told where the second counts.
    """
    scans = [scan("tl_0", first.value, n=0), scan("tl_0", second.value, n=1)]
    stored = read_and_write(store_of(*scans, next_idx=next_idx))
    winner = int((second is R.SUCCEEDED, second.is_final) > (first is R.SUCCEEDED, first.is_final))
    assert stored.timelapse.records[0].unknown_keys == {"n": winner}
    assert stored.kept.scans == (scans[1 - winner],)
    assert statuses(stored)[1:] == [None, None, None]
    told = [note for note in stored.notes if "doubled" in note]
    words = "1 scan record doubled by a later one of the same slot that succeeded, or ended: that one counts"
    assert told == [words] * winner
    if first.is_final or second.is_final:
        assert statuses(stored)[0] is (first, second)[winner]
        assert (stored.timelapse.state, stored.timelapse.next_idx) == (S.SCHEDULED, 1)


def test_scans_beyond_the_schedule_are_kept():
    """A person shortened the schedule; what was taken before stays in the store."""
    stored = read_and_write(store_of(scan("tl_0"), scan("tl_7"), scan("x"), scan("y"), n_slots=2, next_idx=1))
    assert [each["scan_id"] for each in stored.kept.scans] == ["tl_7", "x", "y"]


def test_scan_of_an_unknown_name_takes_no_slots_place():
    """It stays after the scans of slots, so its place is never that of a slot before ``next_idx`` without a record."""
    stored = read_and_write(store_of(scan("tl_0"), scan("x"), next_idx=1))
    assert statuses(stored) == [R.SUCCEEDED, None, None, None]
    assert stored.kept.scans == (scan("x"),)


@pytest.mark.parametrize("scan_id", ["../../etc", "a/b", "", ".", "x" * 300, "a\nb"])
def test_scan_id_that_can_name_no_dataset_is_not_scanned_under(scan_id):
    """A slot that is still to be taken gets the usual id; a finished one keeps its own."""
    noted = {"timelapsed": {"slots": {"0": {"scan_id": scan_id}, "1": {"scan_id": scan_id}}}}
    stored = read_and_write(store_of(scan(scan_id), scan(scan_id, "running"), next_idx=1, extra=noted))
    assert stored.timelapse.state is S.RUNNING
    assert stored.timelapse.current.scan_id == "tl_1"
    assert stored.timelapse.records[0].scan_id == scan_id
