"""The slot at which the disk would be full, with what retention deletes in time."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plantimager.timelapse.datasets.disk_forecast import NO_RETENTION, Retention, dataset_bytes, forecast_disk

START = datetime(2026, 6, 22, 8, tzinfo=UTC)
HOUR = timedelta(hours=1)


def hours(n):
    """Return so many slots, one an hour."""
    return [START + HOUR * number for number in range(n)]


SIZES = st.integers(1, 20)
SPACES = st.integers(0, 200)
TIMES = st.lists(st.integers(0, 100), max_size=30).map(lambda at: [START + HOUR * hour for hour in sorted(at)])
KEPT = st.none() | st.integers(0, 60).map(lambda hours: HOUR * hours)
RETENTIONS = st.tuples(KEPT, st.integers(0, 150)).map(lambda values: Retention(*values))


@given(TIMES, SIZES, SPACES, SPACES)
def test_without_retention_the_disk_is_full_after_as_many_datasets_as_fit(slots, size, free, reserve):
    """What no scan may use up is left."""
    fit = max(free - reserve, 0) // size
    forecast = forecast_disk(slots, size, free, reserve)
    assert forecast.full_slot == (fit if fit < len(slots) else None)
    assert forecast.most == min(fit, len(slots)) * size


@given(TIMES, SIZES, SPACES, SPACES, TIMES, RETENTIONS)
def test_forecast_is_what_happens_slot_by_slot(slots, size, free, reserve, held, retention):
    """Told step by step: what is due for deletion goes, the oldest first, and then a scan begins if it fits."""
    held = [at - timedelta(days=30) for at in held]
    present, full, most = list(held), None, len(held)
    for number, at in enumerate(slots):
        used = [taken for taken in present if retention.keep is None or at < taken + retention.keep]

        def left(used=used):
            return free + size * (len(held) - len(used))

        while used and left() < retention.keep_free:
            used.pop(0)
        if left() - size < reserve:
            full = number
            break
        present = [*used, at]
        most = max(most, len(present))
    forecast = forecast_disk(slots, size, free, reserve, held=held, retention=retention)
    assert (forecast.full_slot, forecast.most) == (full, most * size)


@given(TIMES, SIZES, SPACES, SPACES, RETENTIONS, st.integers(0, 50))
def test_retention_and_a_larger_disk_never_make_it_full_earlier(slots, size, free, reserve, retention, more):
    """So a person who deletes more gets on longer."""

    def full_slot(free, retention=NO_RETENTION):
        found = forecast_disk(slots, size, free, reserve, retention=retention).full_slot
        return len(slots) if found is None else found

    assert full_slot(free) <= full_slot(free, retention)
    assert full_slot(free) <= full_slot(free + more)


@given(TIMES, TIMES, SIZES, SPACES, SPACES, RETENTIONS)
def test_later_slots_change_nothing_for_earlier_ones(slots, more, size, free, reserve, retention):
    """A timelapse that is made longer is full at the same slot."""
    full = forecast_disk(slots, size, free, reserve, retention=retention).full_slot
    longer = slots + [at + timedelta(days=9) for at in more]
    if full is not None:
        assert forecast_disk(longer, size, free, reserve, retention=retention).full_slot == full


def test_datasets_that_are_there_make_space_when_their_time_is_over():
    """They were taken before; the disk is as full as they leave it."""
    held = [START - HOUR * 24] * 3
    assert forecast_disk(hours(3), 10, 0, held=held).full_slot == 0
    assert forecast_disk(hours(3), 10, 0, held=held, retention=Retention(keep=HOUR * 24)).full_slot is None
    assert forecast_disk(hours(4), 10, 0, held=held, retention=Retention(keep=HOUR * 24)).full_slot == 3


def test_ten_years_of_slots_are_forecast_at_once():
    """A hundred thousand are the most that a definition may ask for."""
    forecast = forecast_disk(hours(100_000), 7, 10**9, retention=Retention(keep=timedelta(days=30)))
    assert (forecast.full_slot, forecast.most) == (None, 720 * 7)


def test_size_of_a_dataset_is_that_of_its_files(tmp_path):
    """Nothing where it is gone."""
    (tmp_path / "tl_0" / "images").mkdir(parents=True)
    (tmp_path / "tl_0" / "images" / "0.jpg").write_bytes(b"123")
    (tmp_path / "tl_0" / "files.json").write_bytes(b"{}")
    assert dataset_bytes(tmp_path / "tl_0") == 5
    assert dataset_bytes(tmp_path / "tl_1") == 0


@pytest.mark.parametrize("size", [0, -1])
def test_datasets_without_a_size_have_no_forecast(size):
    """A mistake of the caller."""
    with pytest.raises(ValueError, match="no size"):
        forecast_disk(hours(1), size, 5)
