"""The states, and the table of transitions."""

import itertools

import pytest

from plantimager.timelapse.domain.states import (
    TRANSITIONS,
    RecordStatus,
    TimeLapseMode,
    TimeLapseState,
    Trigger,
    check_transition,
)
from plantimager.timelapse.support.errors import IllegalTransition

S = TimeLapseState


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("scheduled", S.SCHEDULED), ("idle", S.SCHEDULED), ("arming", S.SCHEDULED), ("waiting", S.SCHEDULED),
        ("standby", S.SCHEDULED), ("cooldown", S.SCHEDULED), ("running", S.RUNNING), ("scanning", S.RUNNING),
        ("failed", S.FAILED), ("error", S.FAILED), ("completed", S.COMPLETED), ("cancelled", S.CANCELLED),
        ("configured", S.CONFIGURED),
    ],
)  # fmt: skip
def test_words_of_every_age_are_read(word, state):
    """Stores of older controllers use other words for the same states."""
    assert TimeLapseState(word) is state


@pytest.mark.parametrize("word", ["", "Scheduled", "IDLE", "done", "name", "__members__", None, 3, ["idle"]])
def test_any_other_word_is_refused(word):
    """An unknown word isn't guessed."""
    with pytest.raises(ValueError):
        TimeLapseState(word)


def test_names_that_programs_import_are_there():
    """`STANDBY` and `SCHEDULED` are one state, and the older words are the first names of none."""
    assert TimeLapseState.STANDBY is TimeLapseState.SCHEDULED
    assert TimeLapseState.SCANNING is TimeLapseState.RUNNING
    assert TimeLapseState.ERROR is TimeLapseState.FAILED
    assert [state.value for state in TimeLapseState] == [
        "configured", "scheduled", "running", "completed", "failed", "cancelled",
    ]  # fmt: skip


def test_states_and_modes_are_text():
    """Other programs write them into JSON as they are."""
    assert f"{TimeLapseState.STANDBY}" == "scheduled"
    assert [*TimeLapseMode] == ["one_shot", "interval", "fixed_times"]
    assert [*RecordStatus] == ["pending", "running", "succeeded", "failed", "skipped", "interrupted"]


def test_every_state_is_ended_active_or_a_draft():
    """The facts on the enum leave no state between."""
    assert {state for state in S if state.is_terminal} == {S.COMPLETED, S.FAILED, S.CANCELLED}
    assert {state for state in S if state.is_active} == {S.SCHEDULED, S.RUNNING}


def test_slot_that_was_interrupted_may_be_attempted_again():
    """`interrupted` alone of the statuses that end an attempt leaves the slot open."""
    assert {status for status in RecordStatus if status.is_final} == {
        RecordStatus.SUCCEEDED, RecordStatus.FAILED, RecordStatus.SKIPPED,
    }  # fmt: skip


@pytest.mark.parametrize(("state", "event"), list(itertools.product(S, Trigger)))
def test_transition_is_in_the_table_or_refused(state, event):
    """One function refuses every pair without a row, and names both."""
    allowed = TRANSITIONS.get((state, event), ())
    for to in S:
        if to in allowed:
            check_transition(state, event, to)
        else:
            with pytest.raises(IllegalTransition, match=f"{state.value} can't take the event {event.value}"):
                check_transition(state, event, to)


def test_nothing_leads_out_of_a_draft():
    """The daemon leaves a draft alone until a definition replaces it."""
    assert not [key for key in TRANSITIONS if key[0] is S.CONFIGURED]


def test_failed_timelapse_goes_on_only_where_its_failure_was_none():
    """Any other failure is for good."""
    rows = {key: to for key, to in TRANSITIONS.items() if key[0] is S.FAILED}
    assert rows == {(S.FAILED, Trigger.WHOLE_AFTER_ALL): (S.FAILED, S.SCHEDULED, S.COMPLETED)}


def test_cancelled_timelapse_can_only_have_the_scan_recorded_that_was_whole_all_the_same():
    """It stays cancelled."""
    rows = {key: to for key, to in TRANSITIONS.items() if key[0] is S.CANCELLED}
    assert rows == {(S.CANCELLED, Trigger.WHOLE_AFTER_ALL): (S.CANCELLED,)}


def test_completed_timelapse_can_only_have_its_slots_reopened():
    """A wrong clock may have skipped them to the end."""
    leave = [key[1] for key, to in TRANSITIONS.items() if key[0] is S.COMPLETED and to != (S.COMPLETED,)]
    assert leave == [Trigger.SLOTS_REOPENED]


@pytest.mark.parametrize("state", [S.SCHEDULED, S.COMPLETED, S.CANCELLED])
def test_scan_that_is_whole_after_all_changes_no_state(state):
    """Its record alone was not right; that of the last slot, which a stop had cut off, completes the timelapse."""
    leads_to = (S.SCHEDULED, S.COMPLETED) if state is S.SCHEDULED else (state,)
    assert TRANSITIONS[state, Trigger.WHOLE_AFTER_ALL] == leads_to
