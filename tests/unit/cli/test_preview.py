"""`timelapsectl preview`: the schedule before it starts."""

from datetime import UTC, datetime

import pytest

from plantimager.timelapse.cli.preview import preview_lines
from plantimager.timelapse.settings.definition import read_definition

NOW = datetime(2026, 6, 22, 5, 0, tzinfo=UTC)


@pytest.fixture
def preview(tmp_path, screen):
    """Return a function that shows a definition with these keys, by default at 07:00 on the 22nd of June."""

    def show(keys, tail="", *, now=NOW, every_slot=False, **about):
        path = tmp_path / "timelapse.toml"
        path.write_text(f'[timelapse]\nname = "col0_ld"\n{keys}\n{tail}')
        definition = read_definition(path)
        schedule = definition.schedule(now)
        return "\n".join(preview_lines(definition, schedule, now, screen(**about), every_slot=every_slot))

    return show


CAMERA = """
[ScanPath]
class_name = "Circle"
[ScanPath.kwargs]
center_x = 375
center_y = 375
z = 0
tilt = 0
radius = 350
n_points = 36
[picamera]
[picamera2]
"""


def test_preview_shows_days_slots_and_what_a_slot_takes(preview):
    """Local times, a paragraph for each day, and the rig's warm-up and standby."""
    keys = 'mode = "interval"\ninterval = "2h"\nn_shots = 14\nstart_at = "2026-06-22T08:00:00"'
    assert (
        preview(keys, CAMERA)
        == """\
col0_ld  interval, every 2 h, 08:00 → 23 Jun 10:00
14 slots over 1 d 2 h, on 2 days; times are local, CEST (UTC+02:00)
a slot: 36 positions, 2 cameras, 72 pictures
the rig: warmed up 30 s before, standby in 13 of 13 pauses (those longer than 10 min)
a slot may start 2 min late; if it fails: the timelapse goes on

Mon 22 Jun 2026  08:00  10:00  12:00  14:00  16:00  18:00  20:00  22:00
Tue 23 Jun 2026  00:00  02:00  04:00  06:00  08:00  10:00"""
    )


def test_preview_without_a_start_shows_one_that_begins_now(preview):
    """A line says so, since the times will be others."""
    shown = preview('mode = "one_shot"\nscan_retries = 2\non_scan_failed = "fail_timelapse"')
    assert "the first slot is a warm-up after the start; shown as if that were now" in shown
    assert "Mon 22 Jun 2026  07:00:30" in shown
    assert "if it fails: 2 retries, then the timelapse ends" in shown


def test_preview_shows_beginning_and_end_of_a_long_schedule(preview):
    """It fits a terminal of 24 lines."""
    shown = preview('mode = "interval"\ninterval = "10m"\nn_shots = 5000\nstart_at = "2026-06-22T08:00:00"')
    assert "Mon 22 Jun 2026  08:00  08:10  08:20  08:30  … 91 more …  23:50" in shown
    assert "…                31 more days (--all shows every slot)" in shown
    assert len(shown.splitlines()) < 24
    assert "standby in 0 of 4999 pauses" in shown


def test_preview_of_every_slot_has_a_line_for_each(preview):
    """Each line has the time in UTC, and says whether the slot is missed and whether standby follows."""
    keys = 'mode = "fixed_times"\ndates = ["2026-06-22T06:30:00", "2026-06-22T08:00:00", "2026-06-22T08:05:00"]'
    assert preview(keys, every_slot=True).splitlines()[-4:] == [
        "slot  local time             UTC",
        "   0  Mon 22 Jun 2026 06:30  2026-06-22T04:30:00Z  already missed  then standby",
        "   1  Mon 22 Jun 2026 08:00  2026-06-22T06:00:00Z",
        "   2  Mon 22 Jun 2026 08:05  2026-06-22T06:05:00Z",
    ]


def test_preview_notes_slots_that_are_already_missed(preview):
    """The definition can still be changed then."""
    keys = 'mode = "fixed_times"\ndates = ["2026-06-22T06:30:00", "2026-06-22T08:00:00"]'
    assert "note: already missed: 1 of 2 slots" in preview(keys)


def test_preview_shows_the_change_of_clocks(preview):
    """An interval is real time; the times of the hour that occurs twice have their offset."""
    keys = 'mode = "interval"\ninterval = "1h"\nn_shots = 5\nstart_at = "2026-10-25T01:00:00"'
    shown = preview(keys)
    assert "Sun 25 Oct 2026  01:00  02:00+0200  02:00+0100  03:00  04:00" in shown
    assert "times are local, CEST (UTC+02:00), CET (UTC+01:00)" in shown


def test_notes_are_coloured_on_a_terminal(preview):
    """A person must not overlook them."""
    keys = 'mode = "fixed_times"\ndates = ["2026-06-22T06:30:00"]'
    assert "\x1b[33mnote: already missed" in preview(keys, colour=True)
