"""Contradictions between state, ``next_idx`` and records, as real stores have them, and how each is resolved."""

from __future__ import annotations

import pytest

from plantimager.timelapse.domain.states import Reason, RecordStatus, TimeLapseState
from stores import HOURS, read_and_write, scan, statuses, store_of

R, S = RecordStatus, TimeLapseState


def test_slot_without_a_record_was_not_recorded():
    """Its controller went past it. The slot gets its final record, and one note counts such slots."""
    stored = read_and_write(store_of(scan("tl_1"), next_idx=3))
    assert statuses(stored) == [R.SKIPPED, R.SUCCEEDED, R.SKIPPED, None]
    assert stored.timelapse.records[0].reason is Reason.NOT_RECORDED
    assert stored.notes == ("2 slots before slot 3 had no record",)


def test_slot_that_was_left_pending_was_not_recorded():
    """A slot before ``next_idx`` can't be pending any more."""
    stored = read_and_write(store_of(scan(status="pending", theirs=1), next_idx=1))
    assert statuses(stored)[0] is R.SKIPPED
    assert stored.timelapse.records[0].unknown_keys == {"theirs": 1}
    assert stored.notes == ("1 slot before slot 1 had no record",)


def test_error_of_a_slot_that_was_left_pending_is_not_lost():
    """It failed, whatever its status says."""
    stored = read_and_write(store_of(scan(status="pending", error={"msg": "ALARM:1"}), next_idx=1))
    assert (statuses(stored)[0], stored.timelapse.records[0].error) == (R.FAILED, {"msg": "ALARM:1"})
    assert stored.notes == ()


@pytest.mark.parametrize("changes", [{"status": "running"}, {"status": "pending", "started_at": HOURS[0]}])
def test_scan_that_was_begun_and_left_behind_was_interrupted(changes):
    """Its controller went on without it, so nothing says how it ended."""
    stored = read_and_write(store_of(scan(**changes), next_idx=1))
    assert statuses(stored) == [R.INTERRUPTED, None, None, None]
    assert stored.timelapse.tally.interrupted == 1


def test_next_idx_behind_the_records_is_moved_on():
    """No slot that has its final record is taken again."""
    stored = read_and_write(store_of(scan("tl_0"), scan("tl_1"), scan("tl_2"), next_idx=1))
    assert stored.timelapse.next_idx == 3
    assert stored.notes == ("next_idx was 1, but the slots before 3 are recorded",)


def test_next_idx_stays_before_a_gap():
    """The open slot comes first; the record after it stays."""
    stored = read_and_write(store_of(scan("tl_0"), scan("tl_2"), next_idx=1))
    assert (stored.timelapse.next_idx, statuses(stored)) == (1, [R.SUCCEEDED, None, R.SUCCEEDED, None])


@pytest.mark.parametrize("state", ["scheduled", "running", "cooldown", "scanning"])
def test_active_timelapse_without_an_open_slot_is_completed(state):
    """There is nothing left to do."""
    scans = [scan(f"tl_{slot}") for slot in range(4)]
    for raw in (store_of(*scans, state=state), store_of(n_slots=0, state=state)):
        assert read_and_write(raw).timelapse.state is S.COMPLETED


def test_running_timelapse_without_a_record_runs_its_next_slot():
    """The older controllers did not save at the start of a scan."""
    timelapse = read_and_write(store_of(scan("tl_0"), state="scanning")).timelapse
    assert (timelapse.state, timelapse.next_idx) == (S.RUNNING, 1)
    assert (timelapse.current.status, timelapse.current.attempt, timelapse.current.scan_id) == (R.RUNNING, 1, "tl_1")


@pytest.mark.parametrize("changes", [{"status": "running"}, {"status": "pending", "started_at": HOURS[1]}])
def test_next_slot_that_was_begun_is_running_whatever_the_state_says(changes):
    """The driver is so asked what became of it."""
    timelapse = read_and_write(store_of(scan("tl_0"), scan("tl_1", **changes), next_idx=1, state="standby")).timelapse
    assert (timelapse.state, timelapse.next_idx, timelapse.current.attempt) == (S.RUNNING, 1, 1)


def test_no_slot_but_the_next_one_can_be_running():
    """A second one was cut off, and is tried again when it is next."""
    stored = read_and_write(store_of(scan("tl_0", "running"), scan("tl_2", "running"), next_idx=0, state="running"))
    assert statuses(stored) == [R.RUNNING, None, R.INTERRUPTED, None]


@pytest.mark.parametrize("state", ["completed", "failed", "error", "cancelled", "configured"])
def test_timelapse_that_is_not_kept_has_nothing_running(state):
    """Its state counts; the scan was cut off."""
    stored = read_and_write(store_of(scan("tl_0"), scan("tl_1", "running"), next_idx=1, state=state))
    assert stored.timelapse.state is TimeLapseState(state)
    assert statuses(stored)[1] is R.INTERRUPTED


def test_slot_that_waits_for_its_rig_after_an_attempt_is_not_running():
    """The start of the attempt stays on record, and the error says why the slot waits."""
    waiting = scan("tl_0", status="pending", started_at=HOURS[0], error={"type": "rig_not_ready", "msg": "no relay"})
    timelapse = read_and_write(store_of({**waiting, "finished_at": None}, next_idx=0, state="scheduled")).timelapse
    assert (timelapse.state, timelapse.current.status) == (S.SCHEDULED, R.PENDING)
