"""What a definition makes of a timelapse that it amends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from plantimager.timelapse.domain.states import TimeLapseMode
from plantimager.timelapse.domain.wording import describe_mode
from plantimager.timelapse.settings.acceptance import plan_timelapse
from plantimager.timelapse.settings.amendment import amended_by, is_scan_amended
from plantimager.timelapse.settings.definition import parse_definition

NOW = datetime(2026, 6, 22, 8, tzinfo=UTC)
TIMES = 'mode = "fixed_times"\ndates = ["2026-06-22T{}:00:00Z", "2026-06-22T{}:00:00Z"]'


def define(first, second, more=""):
    text = f'[timelapse]\nname = "tl"\n{TIMES.format(first, second)}\n{more}'
    return parse_definition(text.encode(), Path("tl.toml"))


def planned(definition):
    return plan_timelapse(definition, definition.schedule(NOW))


def test_dates_before_the_first_slot_are_not_called_missed():
    """They are not to come, and nobody waits for them."""
    after, schedule = amended_by(planned(define("09", "10")), define("07", "11"), NOW)
    assert (schedule.notes, [slot.hour for slot in after.timelapse.schedule_times]) == ((), [11])


def test_other_notes_on_the_schedule_stay():
    """A person may have meant another order."""
    _, schedule = amended_by(planned(define("09", "10")), define("12", "11"), NOW)
    assert schedule.notes == ("the dates were not in order of time and have been sorted",)


EVERY = (
    '[timelapse]\nname = "tl"\nmode = "interval"\nstart_at = "2026-06-22T08:00:00Z"\ninterval = "{}min"\nn_shots = {}\n'
)


def every(minutes, n_shots):
    return parse_definition(EVERY.format(minutes, n_shots).encode(), Path("tl.toml"))


@pytest.mark.parametrize(
    ("minutes", "n_shots", "said"),
    [
        (20, 3, "interval"),  # one slot is to come, 10 min after the last of the old schedule
        (60, 2, "interval, every 30 min"),  # as the old schedule has it
        (20, 4, "interval"),
        (20, 5, "interval, every 20 min"),
        (50, 9, "interval, every 50 min"),
    ],
)
def test_interval_that_is_told_is_that_of_more_than_one_new_slot(minutes, n_shots, said):
    """A single one is as far from the slot before as it happens to be, which is nobody's interval."""
    after, _ = amended_by(planned(every(30, 6)), every(minutes, n_shots), NOW + timedelta(minutes=35))
    assert describe_mode(TimeLapseMode.INTERVAL, after.timelapse.schedule_times) == said


def test_scan_is_amended_by_what_is_beside_the_table_of_the_timelapse():
    """Path, camera and metadata; times and grace period are told one by one."""
    held = planned(define("09", "10"))
    assert not is_scan_amended(held, define("09", "11", "grace_period = 9\n"))
    assert is_scan_amended(held, define("09", "10", '[Metadata]\nplant = "seven"\n'))
