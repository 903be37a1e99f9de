"""The text of a store is put together from blocks, and is what a plain dump of the whole is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plantimager.timelapse.domain.states import Reason, TimeLapseMode, TimeLapseState
from plantimager.timelapse.domain.timelapse import TimeLapse
from plantimager.timelapse.store.document import TimelapseStore
from plantimager.timelapse.store.logbook import Logbook
from plantimager.timelapse.store.stored_timelapse import StoredTimelapse, new_stored_timelapse, read_timelapse
from plantimager.timelapse.support.errors import ScanFailed
from plantimager.timelapse.support.json_text import dumps

BEGIN = datetime(2026, 6, 22, 8, tzinfo=UTC)
EVERY = timedelta(minutes=30)


def begun(n_slots: int, **others: object) -> StoredTimelapse:
    """Return the document of a timelapse that has just been defined."""
    timelapse = TimeLapse(
        id="tl",
        mode=TimeLapseMode.INTERVAL,
        state=TimeLapseState.SCHEDULED,
        schedule_times=tuple(BEGIN + slot * EVERY for slot in range(n_slots)),
    )
    return new_stored_timelapse(timelapse, {"ScanPath": {"class_name": "Circle"}, **others}, None, "s.json")


def steps(timelapse: TimeLapse, deeds: list[str]) -> list[TimeLapse]:
    """Return the values that a timelapse goes through."""
    values = [timelapse]
    for action in deeds:
        now = values[-1]
        if now.next_at is None:
            break
        at = now.next_at
        if action == "miss":
            values.append(now.skip_late_slots(at + 20 * EVERY, Reason.MISSED, ""))
        elif action == "cancel":
            values.append(now.cancel(at, "ada", "wilted"))
        else:
            running = now.begin(at, "boot")
            values.append(running)
            values.append(running.succeed(at, 72) if action == "take" else running.fail_attempt(at, ScanFailed(action)))
    return values


@settings(max_examples=60, derandomize=True)
@given(
    n_slots=st.sampled_from([1, 2, 9, 10, 11, 31, 32, 33, 99, 101, 999, 1001, 1200]),
    deeds=st.lists(st.sampled_from(["take", "take", "half of a \\ud800 ä \n line", "miss", "cancel"]), max_size=40),
    skips=st.lists(st.booleans(), min_size=100, max_size=100),
)
def test_text_is_that_of_a_plain_dump_whatever_changed_since_the_last(n_slots, deeds, skips) -> None:
    """Byte for byte, for every value on the way, and also where values in between were never written."""
    stored = begun(n_slots)
    for value, skip in zip(steps(stored.timelapse, deeds), skips, strict=False):
        stored = stored.evolved(value, Logbook(saved_at=BEGIN))
        if not skip:
            assert stored.encode() == dumps(stored._as_mapping())


def test_text_goes_back_with_the_value() -> None:
    """Slots that are given back, or a value that was never adopted, leave nothing in the text."""
    stored = begun(1200)
    values = steps(stored.timelapse, ["take"] * 150)
    for value in (values[-1], values[10], values[-1], values[0]):
        assert stored.evolved(value, Logbook()).encode() == dumps(stored.evolved(value, Logbook())._as_mapping())


@pytest.mark.parametrize("odd", [float("nan"), 2**80, "\ud800"], ids=["NaN", "a huge integer", "half a character"])
def test_document_that_only_python_can_write_is_written_by_python(odd) -> None:
    """What others left in it survives."""
    stored = begun(3, odd=odd)
    assert stored.encode() == dumps(stored._as_mapping())


def test_scans_of_no_slot_stand_after_the_others() -> None:
    """They are kept as they were, where they were."""
    raw = {
        **TimelapseStore(_file_name="s").as_mapping(),
        "timelapse_id": "tl",
        "mode": "interval",
        "state": "scheduled",
        "schedule_times": [BEGIN.isoformat()] * 2,
        "scans": [{"scan_id": "stranger", "note": {"of": ["somebody", {"else": 1}]}}],
    }
    stored = read_timelapse(TimelapseStore.from_mapping(raw, "s"), UTC)
    assert stored.encode() == dumps(stored._as_mapping())
    assert b"stranger" in stored.encode()
