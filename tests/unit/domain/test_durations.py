"""Durations in the forms that people write and read."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plantimager.timelapse.domain.durations import (
    MAX_DURATION,
    format_duration,
    format_exact_duration,
    format_stopwatch,
    parse_duration,
)

DURATIONS = st.timedeltas(min_value=timedelta(0), max_value=MAX_DURATION)


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        (20, 20),
        (0, 0),
        (1.5, 1.5),
        ("20", 20),
        ("0.25", 0.25),
        ("20m", 1200),
        ("1h30m", 5400),
        ("1h-30m", 5400),
        ("2d-3h-1m-0s", 183660),
        ("2d3h1m0s", 183660),
        ("2d-5s", 172805),
        ("90m", 5400),
        ("0s", 0),
        ("1.5s", 1.5),
        ("  1h ", 3600),
        ("007m", 420),
        ("5min", 300),
        ("5 min", 300),
        ("20 m", 1200),
        ("1h 30m", 5400),
        ("1 h 30 min", 5400),
        ("1h30min", 5400),
        ("2h30", 9000),
        ("2h05", 7500),
        ("1d2h30", 95400),
        ("2.5h", 9000),
        ("0.5d", 43200),
        ("1h1.5m", 3690),
        ("2d 3h 1m 0s", 183660),
        ("2d-3h-1min-0s", 183660),
    ],
)
def test_durations_are_read_as_people_write_them(written, seconds):
    """A duration is a number of seconds, in quotes or not, or days, hours, minutes and seconds, any part absent."""
    assert parse_duration(written) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "written",
    [
        *("", " ", "-", "h", "m", "20 mins", "20  m", "1 hour", "1h  30m", "30m1h", "1h1h", "1m-", "-1m", "- 1m"),
        *("1h--30m", "2d---5s", "1h - 30m", "1.5h30m", "0.5d12", "1h 30", "1h-30", "2h60", "2h5", "2h300", "5m30"),
        *("1d12", "1e3", ".5", "5.", ".5h", "5.h", "+5", "1_000", "٢m", "20m\nx", "20\tm", "P1D", "inf", "nan"),
        *("9" * 400, "9" * 400 + "d", float("nan"), float("inf"), 10**400, True, False, None, [], {}, [20], b"20m"),
    ],
)
def test_value_that_is_no_duration_is_refused_with_the_allowed_forms(written):
    """Nothing is guessed from other words, other types, or text that matches in part."""
    with pytest.raises(ValueError, match=r"not a duration; write seconds or 1h, 1h30m, 2d-3h"):
        parse_duration(written)


@pytest.mark.parametrize("written", [-1, -0.5, -(10**6)])
def test_a_negative_duration_is_called_negative(written):
    """The message says that the number is negative, not that it is no duration."""
    with pytest.raises(ValueError, match="negative"):
        parse_duration(written)


@pytest.mark.parametrize("written", ["36601d", 10**10, "99999999h", 3162240000.5])
def test_a_duration_of_more_than_a_hundred_years_is_refused(written):
    """A later sum with a date would overflow."""
    with pytest.raises(ValueError, match="longer than 100 years"):
        parse_duration(written)


def test_the_maximum_duration_is_read():
    """The bound itself is allowed."""
    assert parse_duration("36600d") == MAX_DURATION


@given(DURATIONS)
def test_exact_text_is_read_back_to_the_microsecond(duration):
    """`format_exact_duration` and `parse_duration` are inverse for everything that can be written."""
    assert parse_duration(format_exact_duration(duration)) == duration


@given(DURATIONS)
def test_what_the_programs_write_is_read(duration):
    """`format_duration` leaves out what is smaller than its two units; nothing else is lost."""
    seconds = duration.total_seconds()
    accuracy = next((size for at_least, size in ((86_400, 3_600), (3_600, 60), (9.95, 1)) if seconds >= at_least), 0.05)
    read = parse_duration(format_duration(duration)).total_seconds()
    assert seconds - accuracy <= read <= seconds + accuracy


@given(st.text(alphabet="0123456789dhmins-. ", max_size=20) | st.text(max_size=20) | st.floats() | st.integers())
def test_every_value_is_read_or_refused(written):
    """No other exception than ValueError is raised, and a duration that is read is within the bounds."""
    try:
        duration = parse_duration(written)
    except ValueError:
        return
    assert timedelta(0) <= duration <= MAX_DURATION


@given(
    days=st.integers(0, 999), hours=st.integers(0, 99), minutes=st.integers(0, 99), seconds=st.integers(0, 99),
    dashes=st.booleans(), absent=st.sets(st.sampled_from("dhms"), max_size=3),
)  # fmt: skip
def test_parts_add_up_whichever_are_absent(days, hours, minutes, seconds, dashes, absent):
    """An absent part counts as zero; dashes change nothing."""
    parts = {"d": (days, 86400), "h": (hours, 3600), "m": (minutes, 60), "s": (seconds, 1)}
    kept = {unit: part for unit, part in parts.items() if unit not in absent}
    text = ("-" if dashes else "").join(f"{count}{unit}" for unit, (count, _) in kept.items())
    assert parse_duration(text) == timedelta(seconds=sum(count * size for count, size in kept.values()))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"), (1, "1s"), (1.5, "1.5s"), (0.000001, "0.000001s"), (60, "1m"), (5400, "1h30m"), (183660, "2d3h1m"),
        (59.9999995, "1m"), (3600.25, "1h0.25s"), (86400, "1d"),
    ],
)  # fmt: skip
def test_exact_text_is_as_short_as_people_write_it(seconds, text):
    """It has no units without a count and no zeros at its end."""
    assert format_exact_duration(timedelta(seconds=seconds)) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"), (0.04, "0 s"), (0.26, "0.3 s"), (3, "3 s"), (9.94, "9.9 s"), (9.96, "10 s"), (12.4, "12 s"),
        (59.6, "1 min"), (60, "1 min"), (388, "6 min 28 s"), (720, "12 min"), (3599.7, "1 h"), (18720, "5 h 12 min"),
        (86399.9, "1 d"), (266400, "3 d 2 h"), (-720, "12 min"), (86400 * 40, "40 d"),
    ],
)  # fmt: skip
def test_formatted_duration_has_its_two_largest_units(seconds, text):
    """Below ten seconds it has tenths; above, at most two neighbouring units, without a sign."""
    assert format_duration(timedelta(seconds=seconds)) == text


@given(st.timedeltas(min_value=-MAX_DURATION, max_value=MAX_DURATION))
def test_every_duration_can_be_formatted(duration):
    """Rounding never shows 60 s, 60 min or 24 h."""
    assert "60 s" not in format_duration(duration).split(" min ")
    assert not format_duration(duration).endswith((" 60 s", " 60 min", " 24 h"))
    assert ":60" not in format_stopwatch(duration)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (6, "0:06"), (388, "6:28"), (59.5, "1:00"), (3727, "1:02:07"), (90000, "25:00:00")],
)
def test_duration_is_formatted_as_a_stop_watch_shows_it(seconds, text):
    """It has minutes and seconds, and hours in front of them from one hour on."""
    assert format_stopwatch(timedelta(seconds=seconds)) == text
