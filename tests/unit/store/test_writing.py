"""Saving again and again: the text is joined from blocks, and is that of one plain dump."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from plantimager.timelapse.domain.records import SlotRecord
from plantimager.timelapse.domain.states import Reason, RecordStatus, TimeLapseMode, TimeLapseState
from plantimager.timelapse.domain.timelapse import TimeLapse
from plantimager.timelapse.store import stored_timelapse, writing
from plantimager.timelapse.store.schema import Logbook
from plantimager.timelapse.store.stored_timelapse import StoredTimelapse, new_stored_timelapse
from plantimager.timelapse.store.writing import FEW_SLOTS, StoreWriter
from plantimager.timelapse.support.chunked_map import ChunkedMap
from plantimager.timelapse.support.errors import ScanFailed
from plantimager.timelapse.support.json_text import loads
from stores import read, scan, store_of

if TYPE_CHECKING:
    from collections.abc import Iterator

BEGIN = datetime(2026, 6, 22, 8, tzinfo=UTC)
EVERY = timedelta(minutes=30)


@pytest.fixture(autouse=True, scope="module")
def short_stores_too() -> Iterator[None]:
    """Have stores of few slots written in blocks, as those of many are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writing, "FEW_SLOTS", 0)
        yield


def begun(n_slots: int, **others: object) -> StoredTimelapse:
    """Return the document of a timelapse that has just been defined."""
    timelapse = TimeLapse(
        id="tl",
        mode=TimeLapseMode.INTERVAL,
        state=TimeLapseState.SCHEDULED,
        schedule_times=tuple(BEGIN + slot * EVERY for slot in range(n_slots)),
    )
    return new_stored_timelapse(timelapse, {"ScanPath": {"class_name": "Circle"}, **others}, None)


def values_of(timelapse: TimeLapse, steps: list[str]) -> list[TimeLapse]:
    """Return the values that a timelapse goes through."""
    values = [timelapse]
    for step in steps:
        now = values[-1]
        if now.next_at is None:
            break
        at = now.next_at
        if step == "miss":
            values.append(now.skip_late_slots(at + 20 * EVERY, Reason.MISSED, ""))
        elif step == "cancel":
            values.append(now.cancel(at, "ada", "wilted"))
        else:
            running = now.begin(at, "boot")
            values.append(running)
            values.append(running.succeed(at, 72) if step == "take" else running.fail_attempt(at, ScanFailed(step)))
    return values


def written(writer: StoreWriter, stored: StoredTimelapse) -> bytes:
    """Return what a writer makes of a value."""
    return b"".join(writer.encode(stored))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    n_slots=st.sampled_from([1, 2, 9, 10, 11, 31, 32, 33, 99, 101, 999, 1001, 1200]),
    steps=st.lists(st.sampled_from(["take", "take", "half of a \\ud800 ä \n line", "miss", "cancel"]), max_size=40),
    skips=st.lists(st.booleans(), min_size=100, max_size=100),
)
def test_text_is_that_of_a_plain_dump_whatever_changed_since_the_last(n_slots, steps, skips) -> None:
    """It is the same byte for byte for every value, also where values in between were not written."""
    stored, writer = begun(n_slots), StoreWriter()
    for value, skip in zip(values_of(stored.timelapse, steps), skips, strict=False):
        stored = stored.evolved(value, Logbook(saved_at=BEGIN))
        if not skip:
            assert written(writer, stored) == stored.encode()


def test_text_is_right_for_an_earlier_value_too() -> None:
    """Reopened slots, or a value that was not adopted, leave nothing in the text."""
    stored, writer = begun(1200), StoreWriter()
    values = values_of(stored.timelapse, ["take"] * 150)
    for value in (values[-1], values[10], values[-1], values[0]):
        following = stored.evolved(value, Logbook())
        assert written(writer, following) == following.encode()


@pytest.mark.parametrize("n_slots", [1, FEW_SLOTS, FEW_SLOTS + 1])
def test_few_slots_are_written_at_once(monkeypatch, n_slots) -> None:
    """It takes half as long, and the text is the same."""
    monkeypatch.setattr(writing, "FEW_SLOTS", FEW_SLOTS)
    stored, writer = begun(n_slots), StoreWriter()
    for value in values_of(stored.timelapse, ["take"] * n_slots):
        pieces = writer.encode(following := stored.evolved(value, Logbook()))
        assert b"".join(pieces) == following.encode()
        assert (len(pieces) == 1) is (n_slots <= FEW_SLOTS)


@pytest.mark.parametrize("odd", [float("nan"), 2**80, "\ud800"], ids=["NaN", "a huge integer", "half a character"])
def test_document_that_only_python_can_write_is_written_by_python(odd) -> None:
    """The values of others survive."""
    stored = begun(3, odd=odd)
    assert written(StoreWriter(), stored) == stored.encode()


def test_scans_of_no_slot_stand_after_the_others() -> None:
    """They are kept as they are."""
    stranger = {"scan_id": "stranger", "note": {"of": ["somebody", {"else": 1}]}}
    stored = read(store_of(scan("tl_0"), stranger, next_idx=1))
    assert stored.kept.scans == (stranger,)
    assert written(StoreWriter(), stored) == stored.encode()
    assert stored.encode().index(b"tl_0") < stored.encode().index(b"stranger")


def test_unknown_keys_in_the_details_of_a_slot_stay_with_it() -> None:
    """They stay whether or not the slot has known details, and whatever happens to other slots."""
    slots = {"0": {"new": 1}, "1": {"pictures": 3, "new": [2]}}
    stored, writer = read(store_of(scan("tl_0"), scan("tl_1"), extra={"timelapsed": {"slots": slots}})), StoreWriter()
    for value in values_of(stored.timelapse, ["take", "miss"]):
        following = stored.evolved(value, Logbook())
        assert written(writer, following) == following.encode()
        found = loads(following.encode())["extra"]["timelapsed"]["slots"]
        assert {slot: found[slot] for slot in slots} == slots


def test_another_timelapse_or_another_store_is_written_by_the_same_writer() -> None:
    """Nothing of the timelapse before is left in the text."""
    writer = StoreWriter()
    first = begun(40)
    others = [begun(40), begun(1200), first.with_configuration({}), read(store_of(scan("tl_0"), scan("x"), next_idx=1))]
    for stored in (first, *others, first):
        assert written(writer, stored) == stored.encode()
        taken = stored.evolved(values_of(stored.timelapse, ["take"])[-1], Logbook())
        assert written(writer, taken) == taken.encode()


def test_transition_of_one_slot_makes_few_records_anew(monkeypatch) -> None:
    """There are five thousand; those that are made are counted, since times depend on the machine."""
    made, noted = [], []

    def counted(real, slots):
        def convert(records, *others):
            slots.extend(record.slot for record in records)
            return real(records, *others)

        return convert

    monkeypatch.setattr(writing, "scans_of", counted(writing.scans_of, made))
    monkeypatch.setattr(stored_timelapse, "details_of", counted(stored_timelapse.details_of, noted))
    value, writer = begun(10_000).timelapse, StoreWriter()
    done = {slot: SlotRecord(slot=slot, scan_id=f"tl_{slot}", status=RecordStatus.SUCCEEDED) for slot in range(5000)}
    held = new_stored_timelapse(replace(value, records=ChunkedMap(done), next_idx=5000), {}, None)
    writer.encode(held)
    assert len(made) == len(noted) == 5000
    made.clear()
    noted.clear()
    held = held.evolved(held.timelapse.begin(BEGIN, "b"), Logbook())
    writer.encode(held)
    writer.encode(held.evolved(held.timelapse.succeed(BEGIN), Logbook()))
    assert made.count(5000) == 2
    assert len(made) < 100
    assert noted == [5000, 5000]
