"""From what a person wrote to instants in UTC."""

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
    parse_instant,
    to_utc,
)

CENTRAL = zone(EUROPE)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def utc(*parts):
    """Return an instant."""
    return datetime(*parts, tzinfo=UTC)


def local(*parts):
    """Return a time as people write it, without an offset."""
    return datetime(*parts)  # noqa: DTZ001 - what it means is what is tested


@pytest.fixture(params=["a zone", "the host's zone"])
def central_europe(request, monkeypatch):
    """Central Europe, as an argument and as the host's own zone."""
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
    """All that ISO-8601 knows is read; an offset is obeyed, its absence means the zone."""
    assert parse_instant(written, central_europe) == instant
    assert parse_instant(written, central_europe).tzinfo is UTC


@pytest.mark.parametrize(
    "written", ["", "tomorrow", "08:00", "2026-13-01", "2026-06-22T25:00", "0001-01-01T00:00:00+14:00", None, 3, []]
)
def test_what_is_no_instant_is_refused(written):
    """Whatever stands in a store in place of a time, ValueError says so."""
    with pytest.raises(ValueError, match="not an ISO-8601 date and time"):
        parse_instant(written, UTC)


@pytest.mark.parametrize(
    ("written", "rule", "hours"), [("0001-01-01T00:00:00", "EAST-14", 14), ("9999-12-31T23:59:59", "WEST+12", -12)]
)
def test_a_local_time_that_utc_has_no_date_for_is_refused(written, rule, hours, monkeypatch):
    """The first hours of year 1 east of Greenwich, the last of 9999 west of it."""
    with host_zone(rule, monkeypatch):
        for where in (None, timezone(timedelta(hours=hours))):
            with pytest.raises(ValueError, match="not an ISO-8601"):
                parse_instant(written, where)


@given(st.text(max_size=30) | st.datetimes(timezones=st.none() | st.timezones()).map(str))
def test_every_text_is_read_or_refused(written):
    """Nothing but ValueError comes out."""
    try:
        instant = parse_instant(written, CENTRAL)
    except ValueError:
        return
    assert parse_instant(format_instant(instant), None) == instant


@given(st.datetimes(timezones=st.just(UTC) | st.just(CENTRAL), min_value=local(2, 1, 1), max_value=local(9998, 1, 1)))
def test_an_instant_is_read_back_as_written(instant):
    """To the microsecond, in whichever zone it was."""
    written = format_instant(instant)
    assert written.endswith("+00:00")
    assert parse_instant(written, None) == instant.astimezone(UTC)


def test_an_instant_is_written_as_utc_with_its_offset():
    """The form that we write into the store."""
    assert format_instant(local(2026, 6, 22, 8, 0, 30).replace(tzinfo=CENTRAL)) == "2026-06-22T06:00:30+00:00"


def test_a_naive_time_is_never_written():
    """Nobody could say which instant it is."""
    with pytest.raises(ValueError, match="no offset"):
        format_instant(local(2026, 6, 22))


@given(st.datetimes(min_value=local(1970, 1, 3), max_value=local(2200, 1, 1)), st.integers(0, 1))
def test_the_host_zone_and_a_zone_with_the_same_rule_agree(moment, fold):
    """Also in the hours of a clock change, where the platform's own conversion does not."""
    moment = moment.replace(fold=fold)
    with pytest.MonkeyPatch.context() as monkeypatch, host_zone(EUROPE, monkeypatch):
        assert to_utc(moment, None) == to_utc(moment, CENTRAL)


# --- the three modes


def test_one_shot_is_one_slot(central_europe):
    """In UTC, with nothing to remark on an ordinary day."""
    assert one_shot(local(2026, 6, 22, 8), central_europe) == ((utc(2026, 6, 22, 6),), ())


def test_an_interval_counts_in_real_time(central_europe):
    """The first slot at the start, the others that much later."""
    slots, notes = interval(local(2026, 6, 22, 8), 20 * timedelta(minutes=1), 4, central_europe)
    assert slots == tuple(utc(2026, 6, 22, 6 + minute // 60, minute % 60) for minute in (0, 20, 40, 60))
    assert notes == ()


@given(
    st.datetimes(min_value=local(1971, 1, 1), max_value=local(8800, 1, 1)),
    st.timedeltas(min_value=timedelta(microseconds=1), max_value=DAY * 300),
    st.integers(1, 100),
)
def test_an_interval_is_exact_to_the_last_slot(start, every, n_shots):
    """No rounding adds up, whatever the clocks do on the way."""
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
def test_fixed_times_are_sorted_and_all_there(moments):
    """A list that is out of order is put in order, and that is told."""
    slots, notes = fixed_times(moments, None)
    assert slots == tuple(sorted(moments))
    assert bool(notes) == (list(slots) != moments)


def test_fixed_times_may_mix_local_times_and_offsets(central_europe):
    """Each is understood by itself, then they are sorted as instants."""
    moments = [local(2026, 6, 22, 8), utc(2026, 6, 22, 5), local(2026, 6, 22, 6, 30)]
    slots, notes = fixed_times(moments, central_europe)
    assert slots == (utc(2026, 6, 22, 4, 30), utc(2026, 6, 22, 5), utc(2026, 6, 22, 6))
    assert notes == ("the dates were not in order of time and have been sorted",)


def test_two_fixed_times_of_the_same_instant_are_refused(central_europe):
    """However they are written: a plant isn't scanned twice at once."""
    with pytest.raises(ValueError, match=r"dates 0 and 2 are the same instant, 2026-06-22T06:00:00\+00:00"):
        fixed_times([local(2026, 6, 22, 8), utc(2026, 6, 22, 5), utc(2026, 6, 22, 6)], central_europe)


def test_duplicates_are_told_with_their_first_twin():
    """So that a message can name both."""
    a, b = utc(2026, 1, 1), utc(2026, 1, 2)
    assert duplicates([a, b, a, b, a]) == [(2, 0), (3, 1), (4, 0)]


# --- bounds


@pytest.mark.parametrize("n_shots", [0, -1, MAX_SLOTS + 1])
def test_a_schedule_has_from_one_to_a_hundred_thousand_slots(n_shots):
    """Neither none nor more than a store can carry."""
    with pytest.raises(ValueError, match="from 1 to 100000 slots"):
        interval(utc(2026, 1, 1), HOUR, n_shots, UTC)
    with pytest.raises(ValueError, match="from 1 to 100000 slots"):
        fixed_times([utc(2026, 1, 1)] * max(n_shots, 0), UTC)


def test_the_greatest_schedule_can_be_made_and_read():
    """A hundred thousand slots, in each of the modes that can have them."""
    slots, _ = interval(utc(2026, 1, 1), HOUR, MAX_SLOTS, CENTRAL)
    assert fixed_times(slots, CENTRAL).slots == slots
    assert tuple(parse_instant(format_instant(slot), None) for slot in slots) == slots


@pytest.mark.parametrize("start", [local(1969, 6, 1), local(9000, 6, 1), local(1, 1, 1), local(9999, 12, 31)])
def test_a_slot_beyond_the_years_is_refused(start):
    """A grace period or an offset would overflow a date."""
    for build in (lambda: one_shot(start, CENTRAL), lambda: fixed_times([start], CENTRAL)):
        with pytest.raises(ValueError, match=r"out of range|beyond the years"):
            build()


def test_the_bounds_leave_room_for_every_duration():
    """The longest grace period fits on both sides of a slot."""
    assert utc(9999, 12, 31) - LATEST > MAX_DURATION + DAY
    assert EARLIEST - utc(1, 1, 1) > MAX_DURATION + DAY


def test_an_interval_that_outlasts_the_calendar_is_refused():
    """Neither the date nor the multiplication overflows."""
    with pytest.raises(ValueError, match="longer than 100 years"):
        interval(utc(2026, 1, 1), MAX_DURATION, MAX_SLOTS, UTC)
    with pytest.raises(ValueError, match="the last slot is out of range"):
        interval(utc(8999, 12, 31), DAY, 3, UTC)
    with pytest.raises(ValueError, match="longer than 0 s"):
        interval(utc(2026, 1, 1), timedelta(0), 3, UTC)


# --- the days on which the clocks change


def test_a_time_that_the_clocks_leap_over_is_moved_and_told(central_europe):
    """It is taken as much later as the clocks leap."""
    schedule = fixed_times([local(2026, 3, 29, 1, 30), local(2026, 3, 29, 2, 30)], central_europe)
    assert schedule.slots == (utc(2026, 3, 29, 0, 30), utc(2026, 3, 29, 1, 30))
    assert schedule.notes == (
        "2026-03-29T02:30:00 doesn't exist: the clocks leap over it; taken as 2026-03-29T03:30:00+02:00",
    )


def test_a_time_that_comes_twice_is_the_first_and_told(central_europe):
    """With the text that means the second."""
    schedule = one_shot(local(2026, 10, 25, 2, 30), central_europe)
    assert schedule.slots == (utc(2026, 10, 25, 0, 30),)
    (note,) = schedule.notes
    assert note == (
        "2026-10-25T02:30:00 comes twice: the clocks go back over it; the first is taken, "
        "2026-10-25T02:30:00+02:00; write 2026-10-25T02:30:00+01:00 for the second"
    )
    assert one_shot(datetime.fromisoformat("2026-10-25T02:30:00+01:00"), central_europe).notes == ()


def test_a_moved_time_that_meets_another_is_a_duplicate(central_europe):
    """02:30 is taken as 03:30, which is in the list already."""
    with pytest.raises(ValueError, match="dates 0 and 1 are the same instant"):
        fixed_times([local(2026, 3, 29, 2, 30), local(2026, 3, 29, 3, 30)], central_europe)


def test_fixed_times_keep_their_hour_over_a_clock_change(central_europe):
    """08:00 stays 08:00 on the wall, without a remark."""
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
def test_an_interval_that_leaves_its_hours_is_told(start, every, change, central_europe):
    """Where slots are at the same hours every day and a clock change moves them; otherwise nothing is worth saying."""
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


def test_half_an_hour_of_change_is_told_too():
    """Not every zone changes by a whole hour: hourly slots then move by 30 min."""
    (note,) = interval(local(2026, 10, 3, 12), HOUR, 48, zone(LORD_HOWE)).notes
    assert "30 min later" in note


# --- slots that are past


def test_slots_past_their_grace_are_told_before_the_start():
    """They can't be taken any more; those in grace can."""
    slots = tuple(utc(2026, 6, 22, hour) for hour in range(5))
    minute = timedelta(minutes=1)
    assert note_past_slots(slots, utc(2026, 6, 22, 1, 2), 2 * minute) == (
        "already missed: 1 of 5 slots, due longer ago than the grace period of 2 min"
    )
    assert note_past_slots(slots, utc(2026, 6, 22, 0, 2), 2 * minute) is None
