"""Definitions that are as long as they may be."""

from datetime import UTC, datetime, timedelta

import pytest
from zones import EUROPE, zone

from plantimager.timelapse.settings.definition import read_definition
from plantimager.timelapse.support.errors import FaultsFound

FIRST = datetime(2026, 1, 1, tzinfo=UTC)
EVERY = timedelta(minutes=7)
FIXED_TIMES = '[timelapse]\nname = "col0_ld"\nmode = "fixed_times"\n'


def test_a_hundred_thousand_dates_are_read(tmp_path):
    """A schedule may have as many; the file of three megabytes isn't too large."""
    path, central = tmp_path / "timelapse.toml", zone(EUROPE)
    dates = ",\n".join(f'"{(FIRST + index * EVERY).isoformat()}"' for index in range(100_000))
    path.write_text(FIXED_TIMES + f"dates = [\n{dates}\n]")
    assert read_definition(path, central).schedule(FIRST, central).slots[-1] == FIRST + 99_999 * EVERY
    path.write_text(FIXED_TIMES + f"dates = [\n{dates},\n2026-01-01T00:00:01Z]")
    with pytest.raises(FaultsFound, match=r"100001 dates; at most 100000"):
        read_definition(path, central)
