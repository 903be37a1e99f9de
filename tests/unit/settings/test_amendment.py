"""What a definition makes of a timelapse that it amends."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

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


def test_scan_is_amended_by_what_is_beside_the_table_of_the_timelapse():
    """Path, camera and metadata; times and grace period are told one by one."""
    held = planned(define("09", "10"))
    assert not is_scan_amended(held, define("09", "11", "grace_period = 9\n"))
    assert is_scan_amended(held, define("09", "10", '[Metadata]\nplant = "seven"\n'))
