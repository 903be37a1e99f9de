"""What differs between two generations of a store, in words that a person can act on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from plantimager.timelapse.domain.timelapse import TimeLapse
from plantimager.timelapse.store.differences import MAX_DIFFERENCES, describe_differences
from stores import HOURS, read, scan, store_of

SECRET = "s3cr3t"


def differing(change, **others) -> str:
    """Return what differs after a change of the JSON object of a store."""
    raw = store_of(scan("tl_0"), scan("tl_1", started_at=HOURS[1]), **others)
    before = read(raw)
    change(raw)
    return describe_differences(before, read(raw))


def test_equal_stores_have_no_differences() -> None:
    """The digest isn't part of the content: it makes no difference."""
    assert differing(dict.copy) == ""


def test_status_of_a_slot_is_named() -> None:
    """The sentence has the status as it was, and as it is."""
    assert differing(lambda raw: raw["scans"][1].update(status="failed")) == "slot 1: succeeded → failed"


def test_time_of_a_slot_is_named() -> None:
    """The year is among it."""
    sentence = differing(lambda raw: raw["schedule_times"].__setitem__(3, HOURS[3].replace("2026", "3026")))
    assert sentence == "slot 3: 2026-06-22 09:00:00+00:00 → 3026-06-22 09:00:00+00:00"


def test_slot_that_is_gone_and_policy_are_named() -> None:
    """Whatever a person may edit is named."""
    assert differing(lambda raw: raw["schedule_times"].pop()) == "slot 3: 2026-06-22 09:00:00+00:00 → none"
    assert differing(lambda raw: raw.update(scan_retries=2)) == "scan_retries 0 → 2"
    assert differing(lambda raw: raw.update(grace_period=60)) == "grace 0 s → 1 min"
    assert differing(lambda raw: raw["scans"][1].update(started_at=HOURS[2])) == (
        "slot 1: started_at 2026-06-22 07:00:00+00:00 → 2026-06-22 08:00:00+00:00"
    )


def test_secrets_are_not_named() -> None:
    """Of what others keep, only the name of the key is named."""
    extra = {"api_token": "old", "config_snapshot": {"a": 1}}
    assert differing(lambda raw: raw["extra"].update(api_token=SECRET), extra=extra) == "extra.api_token"
    changed = {"a": 1, "password": SECRET}
    assert differing(lambda raw: raw["extra"].update(config_snapshot=changed), extra=extra) == "extra.config_snapshot"
    assert differing(lambda raw: raw["scans"][0].update(api_token=SECRET)) == "slot 0: unknown_keys"
    assert differing(lambda raw: raw["scans"][0].update(error={"api_token": SECRET})) == "slot 0: error"
    assert differing(lambda raw: raw.update(theirs=SECRET)) == "theirs"


def test_many_differences_are_counted() -> None:
    """The line stays readable, whatever became of the file."""
    times = tuple(datetime(2026, 6, 22, tzinfo=UTC) + timedelta(hours=slot) for slot in range(1000))
    before = read(store_of())
    before = replace(before, timelapse=replace(before.timelapse, schedule_times=times))
    later = tuple(at + timedelta(days=365_000) for at in times)
    after = replace(before, timelapse=replace(before.timelapse, id="x" * 1000, schedule_times=later))
    sentence = describe_differences(before, after)
    assert sentence.count("; ") == MAX_DIFFERENCES
    assert sentence.endswith(f"and {1001 - MAX_DIFFERENCES} more")
    assert len(sentence) < 1000


def test_every_field_of_a_timelapse_is_compared() -> None:
    """A field that is added is, too."""
    before = read(store_of())
    changed = {"id": "seven", "warmup": timedelta(7), "scan_retries": 7}
    for name, value in changed.items():
        assert name in TimeLapse.__struct_fields__
        after = replace(before, timelapse=replace(before.timelapse, **{name: value}))
        assert describe_differences(before, after).startswith(f"{name} ")
