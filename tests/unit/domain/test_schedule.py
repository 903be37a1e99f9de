"""The schedule of a timelapse: instants in UTC, made from the times that a person wrote."""

from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zones import EUROPE, LORD_HOWE, host_zone, zone

from plantimager.timelapse.domain.durations import MAX_DURATION
from plantimager.timelapse.domain.schedule import (
    EARLIEST,
    LATEST,
    MAX_SLOTS,
    duplicates,
    fixed_times,
    format_instant,
    interval,
    note_past_slots,
    one_shot,
    shift_instant,
    to_utc,
)

CENTRAL = zone(EUROPE)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def utc(*parts):
    """Return an instant in UTC."""
    return datetime(*parts, tzinfo=UTC)


def local(*parts):
    """Return a naive time."""
    return datetime(*parts)  # noqa: DTZ001 - the tests ask what a naive time means


def read(text, zone):
    """Return the instant of an ISO-8601 text, in UTC."""
    return to_utc(datetime.fromisoformat(text), zone)


@pytest.fixture(params=["a zone", "the host's zone"])
def central_europe(request, monkeypatch):
    """Return Central Europe as an argument, then `None` with the host in that zone."""
    if request.param == "a zone":
        yield CENTRAL
    else:
        with host_zone(EUROPE, monkeypatch):
            yield None


@pytest.mark.parametrize(
    ("written", "instant"),
    [
        ("2026-06-22T06:00:30+00:00", utc(2026, 6, 22, 6, 0, 30)),
        ("2026-06-22T06:00:30Z", utc(2026, 6, 22, 6, 0, 30)),
        ("2026-06-22T08:00:30+02:00", utc(2026, 6, 22, 6, 0, 30)),
        ("2026-06-22T08:00:30.123456", utc(2026, 6, 22, 6, 0, 30, 123456)),
        ("2026-06-22 08:00:30", utc(2026, 6, 22, 6, 0, 30)),
        ("2026-06-22T08:00", utc(2026, 6, 22, 6)),
        ("2026-06-22", utc(2026, 6, 21, 22)),
        ("20260622T080030", utc(2026, 6, 22, 6, 0, 30)),
        ("2026-W26-1T08", utc(2026, 6, 22, 6)),
        ("2026-01-10T08:00:30", utc(2026, 1, 10, 7, 0, 30)),
        ("2026-01-10T08:00:30-05:30", utc(2026, 1, 10, 13, 30, 30)),
    ],
)
def test_times_without_an_offset_are_local(written, instant, central_europe):
    """Every form of ISO-8601 is read. A time with an offset is that of the offset, a time without one of the zone."""
    assert read(written, central_europe) == instant
    assert read(written, central_europe).tzinfo is UTC


@pytest.mark.parametrize(
    ("written", "rule", "hours"), [("0001-01-01T00:00:00", "EAST-14", 14), ("9999-12-31T23:59:59", "WEST+12", -12)]
)
def test_a_local_time_without_a_date_in_utc_is_refused(written, rule, hours, monkeypatch):
    """There are such times in the first hours of year 1 in the east and the last hours of 9999 in the west."""
    with host_zone(rule, monkeypatch):
        for where in (None, timezone(timedelta(hours=hours))):
            with pytest.raises(ValueError, match=r"year|range"):
                read(written, where)


@given(st.text(max_size=30) | st.datetimes(timezones=st.none() | st.timezones()).map(str))
def test_every_text_is_read_or_refused(written):
    """No other exception than ValueError is raised."""
    try:
        instant = read(written, CENTRAL)
    except ValueError:
        return
    assert read(format_instant(instant), None) == instant


@given(st.datetimes(timezones=st.just(UTC) | st.just(CENTRAL), min_value=local(2, 1, 1), max_value=local(9998, 1, 1)))
def test_an_instant_is_read_back_as_written(instant):
    """The instant is the same to the microsecond, in any zone."""
    written = format_instant(instant)
    assert written.endswith("+00:00")
    assert read(written, None) == instant.astimezone(UTC)


def test_an_instant_is_written_as_utc_with_its_offset():
    """That is its form in the store."""
    assert format_instant(local(2026, 6, 22, 8, 0, 30).replace(tzinfo=CENTRAL)) == "2026-06-22T06:00:30+00:00"


def test_a_naive_time_is_never_written():
    """The instant would be unknown."""
    with pytest.raises(ValueError, match="no offset"):
        format_instant(local(2026, 6, 22))


@given(st.datetimes(min_value=local(1970, 1, 3), max_value=local(2200, 1, 1)), st.integers(0, 1))
def test_the_host_zone_and_a_zone_with_the_same_rule_agree(moment, fold):
    """They agree in the hours of a clock change as well, where the platform's own conversion differs."""
    moment = moment.replace(fold=fold)
    with pytest.MonkeyPatch.context() as monkeypatch, host_zone(EUROPE, monkeypatch):
        assert to_utc(moment, None) == to_utc(moment, CENTRAL)


# --- the three modes


def test_one_shot_is_one_slot(central_europe):
    """The slot is in UTC, and an ordinary day gives no note."""
    assert one_shot(local(2026, 6, 22, 8), central_europe) == ((utc(2026, 6, 22, 6),), ())


def test_an_interval_is_elapsed_time(central_europe):
    """The first slot is at the start, and each further slot is one interval later."""
    slots, notes = interval(local(2026, 6, 22, 8), 20 * timedelta(minutes=1), 4, central_europe)
    assert slots == tuple(utc(2026, 6, 22, 6 + minute // 60, minute % 60) for minute in (0, 20, 40, 60))
    assert notes == ()


@given(
    st.datetimes(min_value=local(1971, 1, 1), max_value=local(8800, 1, 1)),
    st.timedeltas(min_value=timedelta(microseconds=1), max_value=DAY * 300),
    st.integers(1, 100),
)
def test_an_interval_is_exact_to_the_last_slot(start, every, n_shots):
    """Rounding errors don't add up, and changes of the clocks have no effect."""
    slots, _ = interval(start, every, n_shots, CENTRAL)
    assert len(slots) == n_shots
    assert all(later - earlier == every for earlier, later in pairwise(slots))
    assert slots[-1] - slots[0] == every * (n_shots - 1)


@given(
    st.lists(
        st.datetimes(min_value=local(1971, 1, 1), timezones=st.just(UTC), max_value=local(8800, 1, 1)),
        min_size=1,
        unique=True,
    )
)
def test_fixed_times_are_sorted_and_complete(moments):
    """A list out of order is sorted, and a note says so."""
    slots, notes = fixed_times(moments, None)
    assert slots == tuple(sorted(moments))
    assert bool(notes) == (list(slots) != moments)


def test_fixed_times_may_mix_local_times_and_offsets(central_europe):
    """Each time is converted by itself, then they are sorted as instants."""
    moments = [local(2026, 6, 22, 8), utc(2026, 6, 22, 5), local(2026, 6, 22, 6, 30)]
    slots, notes = fixed_times(moments, central_europe)
    assert slots == (utc(2026, 6, 22, 4, 30), utc(2026, 6, 22, 5), utc(2026, 6, 22, 6))
    assert notes == ("the dates were not in order of time and have been sorted",)


def test_two_fixed_times_of_the_same_instant_are_refused(central_europe):
    """Their spelling makes no difference: a plant is not scanned twice at once."""
    with pytest.raises(ValueError, match=r"dates 0 and 2 are the same instant, 2026-06-22T06:00:00\+00:00"):
        fixed_times([local(2026, 6, 22, 8), utc(2026, 6, 22, 5), utc(2026, 6, 22, 6)], central_europe)


def test_duplicates_are_paired_with_their_first_occurrence():
    """A message can name both."""
    a, b = utc(2026, 1, 1), utc(2026, 1, 2)
    assert duplicates([a, b, a, b, a]) == [(2, 0), (3, 1), (4, 0)]


# --- bounds


@pytest.mark.parametrize("n_shots", [0, -1, MAX_SLOTS + 1])
def test_a_schedule_has_from_one_to_a_hundred_thousand_slots(n_shots):
    """An empty schedule is refused, and so is one that is too long for a store."""
    with pytest.raises(ValueError, match="from 1 to 100000 slots"):
        interval(utc(2026, 1, 1), HOUR, n_shots, UTC)
    with pytest.raises(ValueError, match="from 1 to 100000 slots"):
        fixed_times([utc(2026, 1, 1)] * max(n_shots, 0), UTC)


def test_the_longest_schedule_can_be_made_and_read():
    """Both modes with many slots allow a hundred thousand."""
    slots, _ = interval(utc(2026, 1, 1), HOUR, MAX_SLOTS, CENTRAL)
    assert fixed_times(slots, CENTRAL).slots == slots
    assert tuple(read(format_instant(slot), None) for slot in slots) == slots


@pytest.mark.parametrize("start", [local(1969, 6, 1), local(9000, 6, 1), local(1, 1, 1), local(9999, 12, 31)])
def test_a_slot_out_of_range_is_refused(start):
    """Adding a grace period or an offset to it could overflow a date."""
    for build in (lambda: one_shot(start, CENTRAL), lambda: fixed_times([start], CENTRAL)):
        with pytest.raises(ValueError, match=r"out of range|beyond the years"):
            build()


def test_every_duration_fits_around_the_bounds():
    """The longest grace period can be added to a slot and subtracted from it."""
    assert utc(9999, 12, 31) - LATEST > MAX_DURATION + DAY
    assert EARLIEST - utc(1, 1, 1) > MAX_DURATION + DAY


def test_an_interval_of_more_than_a_hundred_years_is_refused():
    """Neither a date nor a multiplication overflows."""
    with pytest.raises(ValueError, match="longer than 100 years"):
        interval(utc(2026, 1, 1), MAX_DURATION, MAX_SLOTS, UTC)
    with pytest.raises(ValueError, match="the last slot is out of range"):
        interval(utc(8999, 12, 31), DAY, 3, UTC)
    with pytest.raises(ValueError, match="longer than 0 s"):
        interval(utc(2026, 1, 1), timedelta(0), 3, UTC)


# --- changes of the clocks


def test_a_time_that_the_clocks_leap_over_is_moved_with_a_note(central_europe):
    """The slot is later by the length of the leap."""
    schedule = fixed_times([local(2026, 3, 29, 1, 30), local(2026, 3, 29, 2, 30)], central_europe)
    assert schedule.slots == (utc(2026, 3, 29, 0, 30), utc(2026, 3, 29, 1, 30))
    assert schedule.notes == (
        "2026-03-29T02:30:00 doesn't exist: the clocks leap over it; taken as 2026-03-29T03:30:00+02:00",
    )


def test_a_time_that_comes_twice_is_the_first_with_a_note(central_europe):
    """The note has the text that means the second."""
    schedule = one_shot(local(2026, 10, 25, 2, 30), central_europe)
    assert schedule.slots == (utc(2026, 10, 25, 0, 30),)
    (note,) = schedule.notes
    assert note == (
        "2026-10-25T02:30:00 comes twice: the clocks go back over it; the first is taken, "
        "2026-10-25T02:30:00+02:00; write 2026-10-25T02:30:00+01:00 for the second"
    )
    assert one_shot(datetime.fromisoformat("2026-10-25T02:30:00+01:00"), central_europe).notes == ()


def test_a_moved_time_that_equals_another_is_a_duplicate(central_europe):
    """02:30 becomes 03:30, which is in the list already."""
    with pytest.raises(ValueError, match="dates 0 and 1 are the same instant"):
        fixed_times([local(2026, 3, 29, 2, 30), local(2026, 3, 29, 3, 30)], central_europe)


def test_fixed_times_keep_their_hour_over_a_clock_change(central_europe):
    """08:00 stays 08:00 in local time, without a note."""
    moments = [local(2026, 10, 24, 8), local(2026, 10, 25, 8), local(2026, 10, 26, 8)]
    schedule = fixed_times(moments, central_europe)
    assert schedule.slots == (utc(2026, 10, 24, 6), utc(2026, 10, 25, 7), utc(2026, 10, 26, 7))
    assert schedule.notes == ()


@pytest.mark.parametrize(
    ("start", "every", "change"),
    [
        (local(2026, 10, 24, 8), DAY, ("slot 1, 2026-10-25T07:00:00+01:00", "1 h earlier")),
        (local(2026, 3, 28, 8), 2 * HOUR, ("slot 9, 2026-03-29T03:00:00+02:00", "1 h later")),
        (local(2026, 10, 24, 8), HOUR, None),
        (local(2026, 10, 24, 8), HOUR / 2, None),
        (local(2026, 10, 24, 8), 7 * HOUR, None),
        (local(2026, 6, 22, 8), DAY, None),
    ],
)
def test_an_interval_that_leaves_its_hours_gets_a_note(start, every, change, central_europe):
    """There is a note only where slots have the same hours every day and a clock change moves them."""
    notes = interval(start, every, 20, central_europe).notes
    if change is None:
        assert notes == ()
    else:
        slot, shift = change
        (note,) = notes
        assert note == (
            f"the clocks change before {slot}: from there on the slots are {shift} by the wall clock; "
            "an interval is real time, fixed_times keep their hour"
        )


def test_a_clock_change_of_half_an_hour_gets_a_note():
    """Not every zone changes by a whole hour; there hourly slots move by 30 min."""
    (note,) = interval(local(2026, 10, 3, 12), HOUR, 48, zone(LORD_HOWE)).notes
    assert "30 min later" in note


# --- slots in the past


def test_slots_past_their_grace_period_get_a_note():
    """They can't be taken any more; slots within their grace period can."""
    slots = tuple(utc(2026, 6, 22, hour) for hour in range(5))
    minute = timedelta(minutes=1)
    assert note_past_slots(slots, utc(2026, 6, 22, 1, 2), 2 * minute) == (
        "already missed: 1 of 5 slots, due longer ago than the grace period of 2 min"
    )
    assert note_past_slots(slots, utc(2026, 6, 22, 0, 2), 2 * minute) is None


@pytest.mark.parametrize("years", [-8000, -1, 0, 1, 7500])
@pytest.mark.parametrize("instant", [EARLIEST, LATEST - timedelta(seconds=1), datetime(2026, 6, 22, tzinfo=UTC)])
def test_instant_by_a_clock_that_was_set_is_within_the_bounds(instant, years):
    """A file may have any year of them, and a clock may be set to any other one."""
    shifted = shift_instant(instant, timedelta(days=365 * years))
    assert EARLIEST <= shifted < LATEST
    if abs(years) == 1 and instant.year == 2026:
        assert shifted - instant == timedelta(days=365 * years)
