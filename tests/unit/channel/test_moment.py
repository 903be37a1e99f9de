"""Times in files that others may write."""

from datetime import UTC, datetime

import pytest

from plantimager.timelapse.channel.moment import moment_in


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-06-22T08:00:00+02:00", datetime(2026, 6, 22, 6, tzinfo=UTC)),
        ("2026-06-22T08:00:00", None),
        ("9999-12-31T23:59:59-12:00", None),
        ("9999-12-31T23:59:59+00:00", None),
        ("0001-01-01T00:00:00+12:00", None),
        ("yesterday", None),
        ("", None),
    ],
)
def test_only_a_time_with_a_zone_and_far_from_where_dates_end_is_one(text, moment):
    """Nothing that is done with one afterwards, such as its showing in any zone, overflows."""
    assert moment_in(text) == moment
