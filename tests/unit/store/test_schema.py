"""A declared field is persisted: each field of each value that a store holds, and so each that is added later."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from msgspec import to_builtins
from msgspec.structs import fields, replace

from plantimager.timelapse.domain.records import Pause, SlotRecord
from plantimager.timelapse.domain.states import RecordStatus, TimeLapseMode, TimeLapseState
from plantimager.timelapse.domain.timelapse import Ending, TimeLapse
from plantimager.timelapse.store import schema
from plantimager.timelapse.store.schema import Logbook
from plantimager.timelapse.store.stored_timelapse import StoredTimelapse
from plantimager.timelapse.support.json_text import dumps, loads
from stores import AT, HOURS, example_of, read, read_again, scan, store_of, types_of

HOUR = timedelta(hours=1)
RECORD = SlotRecord(
    slot=0, scan_id="tl_0", status=RecordStatus.FAILED, attempt=1, started_at=AT - HOUR, finished_at=AT - HOUR / 2
)
TIMELAPSE = TimeLapse(
    id="tl",
    mode=TimeLapseMode.INTERVAL,
    state=TimeLapseState.SCHEDULED,
    schedule_times=(AT - HOUR, AT, AT + HOUR),
    next_idx=1,
    records={0: RECORD},
)


def survives(stored):
    assert read_again(stored) == stored


# --- the domain's values --------------------------------------------------------------------------

OF_RECORDS = {"slot": {"slot": 0}, "status": {"status": RecordStatus.SUCCEEDED}}
"""Fields that need another value than the example of their type, with what else changes."""


@pytest.mark.parametrize("name", SlotRecord.__struct_fields__)
def test_field_of_a_record_survives(name):
    """Each field of a record survives a save and a load: one in memory alone is gone after a restart."""
    changes = OF_RECORDS.get(name) or {name: example_of(types_of(SlotRecord)[name])}
    changed = replace(RECORD, **changes)
    assert changed != RECORD or name == "slot"
    survives(StoredTimelapse(replace(TIMELAPSE, records={0: changed}), Logbook()))


OF_TIMELAPSES = {
    "id": {"id": "seven"},
    "schedule_times": {"schedule_times": (AT - 2 * HOUR, AT, AT + HOUR)},
    "next_idx": {"next_idx": 2, "records": {0: RECORD, 1: replace(RECORD, slot=1, scan_id="tl_1")}},
    "records": {"records": {0: replace(RECORD, pictures=72)}},
}


@pytest.mark.parametrize("name", TimeLapse.__struct_fields__)
def test_field_of_a_timelapse_survives(name):
    """A save and a load keep it."""
    before = getattr(TIMELAPSE, name)
    changes = OF_TIMELAPSES.get(name) or {name: example_of(types_of(TimeLapse)[name], other_than=before)}
    changed = replace(TIMELAPSE, **changes)
    assert changed != TIMELAPSE
    survives(StoredTimelapse(changed, Logbook()))


@pytest.mark.parametrize("name", Ending.__struct_fields__)
def test_field_of_an_ending_survives(name):
    """A save and a load keep it."""
    ending = replace(Ending(AT - HOUR, "", ""), **{name: example_of(types_of(Ending)[name])})
    survives(StoredTimelapse(replace(TIMELAPSE, ending=ending), Logbook()))


@pytest.mark.parametrize("name", Pause.__struct_fields__)
def test_field_of_a_pause_survives(name):
    """A save and a load keep it."""
    pause = replace(Pause(AT - HOUR, ""), **{name: example_of(types_of(Pause)[name])})
    survives(StoredTimelapse(replace(TIMELAPSE, last_pause=pause), Logbook()))


@pytest.mark.parametrize("field", fields(Logbook), ids=lambda field: field.name)
def test_field_of_a_logbook_survives(field):
    """A save and a load keep it."""
    logbook = Logbook(**{field.name: example_of(field.type)})
    assert logbook != Logbook()
    survives(StoredTimelapse(TIMELAPSE, logbook))


def test_field_of_a_record_has_one_name_and_one_default():
    """Domain and file agree: a field that only one of them declares would be gone after a restart."""
    in_file = {field.name: field.default for kind in (schema.SlotDetails, schema.Scan) for field in fields(kind)}
    defaults = dict(zip(reversed(SlotRecord.__struct_fields__), reversed(SlotRecord.__struct_defaults__), strict=False))
    in_domain = {name: defaults.get(name) for name in SlotRecord.__struct_fields__}
    assert in_file.keys() == in_domain.keys() - {"slot", "unknown_keys"}, "these two follow from the place in the file"
    unlike = {name for name, default in in_file.items() if in_domain[name] != default}
    assert unlike <= {"scan_id", "attempt"}, "these two depend on the rest of the record"


# --- the file's keys ------------------------------------------------------------------------------

PLACES = {
    schema.Store: lambda raw: raw,
    schema.Scan: lambda raw: raw["scans"][0],
    schema.Own: lambda raw: raw["extra"]["timelapsed"],
    schema.SlotDetails: lambda raw: raw["extra"]["timelapsed"]["slots"]["0"],
    schema.StoredEnding: lambda raw: raw["extra"]["timelapsed"]["ending"],
    schema.StoredPause: lambda raw: raw["extra"]["timelapsed"]["pause"],
    schema.Recorded: lambda raw: raw["extra"]["timelapsed"]["recent"][0],
}
OF_KEYS = {"next_idx": 2, "status": "succeeded", "schedule_times": HOURS[:3]}
"""Keys that need another value than the example of their type."""
ELSEWHERE = ("scans", "extra", "slots", "current_idx", "digest")
"""Keys whose values have keys of their own in `PLACES`, and those that follow from the rest."""


def test_every_struct_of_the_schema_is_tested_below():
    """One that is added must be added here."""
    declared = {kind for kind in vars(schema).values() if isinstance(kind, type) and kind.__module__ == schema.__name__}
    assert declared - {Logbook, schema._UnusualDetails} == PLACES.keys(), "these two are parts of others"


@pytest.mark.parametrize(
    ("kind", "field"),
    [(kind, field) for kind in PLACES for field in fields(kind) if field.name not in ELSEWHERE],
    ids=lambda value: value.__name__ if isinstance(value, type) else value.name,
)
def test_key_of_the_file_survives(kind, field):
    """Reading and writing it leaves its value as it is."""
    begun = scan("tl_0", "failed", started_at=HOURS[0], finished_at=HOURS[1])
    ending = {"at": HOURS[2], "who": "", "why": ""}
    pause = {"since": HOURS[2], "who": "", "until": None}
    own = {"slots": {"0": {"interruptions": 1}}, "ending": ending, "pause": pause, "recent": [{"at": HOURS[2]}]}
    raw = store_of(begun, scan("tl_1", "failed"), next_idx=2, extra={"timelapsed": own})
    value = OF_KEYS.get(field.name) or as_json(example_of(field.type, other_than=field.default))
    PLACES[kind](raw)[field.encode_name] = value
    if field.name == "scan_id":
        begun["scan_id"] = value  # the details of a slot say whose scan it is, and must not contradict it
    written = loads(read(raw).encode())
    assert PLACES[kind](written)[field.encode_name] == value


def as_json(value):
    return loads(dumps(to_builtins(value, builtin_types=(datetime,))))
