"""`timelapsectl timeline`: scheduled against taken."""

import itertools
import os
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree as ET

import pytest
from msgspec.structs import replace

from plantimager.timelapse.cli.timeline import draw_text, read_boots
from plantimager.timelapse.cli.timeline_chart import SCALES, Mark, MarkKind, Row, build_chart, narrow_by_boots
from plantimager.timelapse.cli.timeline_svg import NAMESPACE, draw_svg
from plantimager.timelapse.domain.absence import LastSign
from plantimager.timelapse.domain.states import TimeLapseMode
from plantimager.timelapse.support.clock import EPOCH

SVG = f"{{{NAMESPACE}}}"


EVERYTHING = Row(
    "all",
    tuple(Mark(n, datetime(2026, 6, 22, tzinfo=UTC), n / 10, kind) for n, kind in enumerate(MarkKind)),
    ((0.1, 0.2),),
    ((0.3, 0.4),),
)
"""A row with each kind of mark, and each kind of band."""


def chart(snapshot):
    """Return the chart of a snapshot's timelapse."""
    return build_chart(snapshot, snapshot.timelapse)


def with_slots(snapshot, *slots):
    """Return a snapshot whose timelapse has these slots, none of them taken."""
    fresh = replace(
        snapshot.timelapse, mode=TimeLapseMode.FIXED_TIMES, schedule_times=tuple(slots), next_idx=0, records={}
    )
    return replace(snapshot, timelapse=fresh)


def test_text_has_a_row_a_day_and_a_mark_a_slot(snapshot, screen):
    """Each mark stands at its hour, with the sign of its outcome; the legend counts them."""
    assert (
        "\n".join(draw_text(chart(snapshot), screen()))
        == """\
col0_ld
interval, every 30 min, 22 Jun 2026 08:00 → 23 Jun 2026 07:30; scheduled, 15
taken, 1 failed, 1 skipped

                 00    03    06    09    12    15    18    21    24
Mon 22 Jun 2026 │                ●●●●●●●●●●●●●✗○◐●···············│
Tue 23 Jun 2026 │················                                │

● 14 taken   ◐ 1 late   ✗ 1 failed   ○ 1 skipped   · 31 to come   ░ rig off
times: CEST (UTC+02:00)"""
    )


def test_time_without_a_daemon_is_a_band(snapshot, screen):
    """It is visible where no slot covers it."""
    morning = snapshot.timelapse.schedule_times[0] - timedelta(hours=7)
    earlier = replace(snapshot.logbook, outages=((morning, morning + timedelta(hours=3)),))
    row = draw_text(chart(replace(snapshot, logbook=earlier)), screen())[5]
    assert row == "Mon 22 Jun 2026 │  ░░░░░░        ●●●●●●●●●●●●●✗○◐●···············│"


def test_band_over_midnight_is_cut_in_two(snapshot):
    """Each day shows its part of an outage."""
    night = (datetime(2026, 6, 22, 20, 0, tzinfo=UTC), datetime(2026, 6, 23, 4, 0, tzinfo=UTC))
    drawn = chart(replace(snapshot, logbook=replace(snapshot.logbook, outages=(night,))))
    assert [row.off for row in drawn.rows] == [((22 / 24, 1.0),), ((0.0, 0.25),)]


def of_day(*times):
    """Return times of the first day as positions on its row."""
    return pytest.approx(tuple((3600 * hour + 60 * minute + second) / 86400 for hour, minute, second in times))


def test_present_outage_is_shown_too(snapshot):
    """The store doesn't have it yet, since no daemon runs to write it: not known until slot 17 was not taken."""
    seen = LastSign(snapshot.saved_at)
    now = replace(snapshot, daemon=None, seen=seen, at=snapshot.at + timedelta(hours=1))
    (row, _) = chart(now).rows
    assert row.unknown[-1] == of_day((16, 17, 57), (16, 32, 0))
    assert row.off[-1] == of_day((16, 32, 0), (17, 18, 0))


def test_present_outage_begins_at_the_last_sign_of_life(snapshot):
    """The daemon showed its status until then, or its machine kept the time."""
    seen = snapshot.at + timedelta(minutes=7)
    (row, _) = chart(replace(snapshot, daemon=None, seen=LastSign(seen), at=snapshot.at + timedelta(hours=1))).rows
    assert (row.unknown, row.off[-1]) == ((), of_day((16, 25, 0), (17, 18, 0)))


def test_daemon_that_runs_leaves_nothing_unknown(snapshot):
    """It is known what it does."""
    (row, _) = chart(replace(snapshot, at=snapshot.at + timedelta(hours=1))).rows
    assert (len(row.off), row.unknown) == (1, ())


def test_time_of_which_nothing_is_known_is_drawn_as_such(snapshot, screen):
    """In the text and in the picture, with a word in the legend of each."""
    morning = snapshot.timelapse.schedule_times[0] - timedelta(hours=7)
    spans = ((morning, morning + timedelta(hours=3)),)
    drawn = chart(replace(snapshot, logbook=replace(snapshot.logbook, outages=(), uncertain=spans)))
    shown = draw_text(drawn, screen())
    assert shown[5] == "Mon 22 Jun 2026 │  ??????        ●●●●●●●●●●●●●✗○◐●···············│"
    assert "? not known whether it was on" in "\n".join(shown)
    assert "rig off" not in "\n".join(shown)
    root = ET.fromstring(draw_svg(drawn))  # noqa: S314 - our own picture
    frames = [element for element in root.iter(f"{SVG}rect") if element.get("stroke-dasharray")]
    assert len(frames) == 2  # the band, and that of the legend
    assert "not known" in [element.text for element in root.iter(f"{SVG}text")]


NIGHT = datetime(2026, 6, 22, 20, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("boots", "left"),
    [
        pytest.param([], [(0, 8)], id="no journal"),
        pytest.param([(-9, 2), (7, 12)], [(2, 7)], id="its last line, and the first one of the next boot"),
        pytest.param([(-9, 2), (4, 5), (7, 12)], [(2, 4), (5, 7)], id="a boot in which no daemon ran"),
        pytest.param([(-9, -1), (8, 12)], [(0, 8)], id="an older boot"),
        pytest.param([(-9, 12)], [], id="the machine was on throughout"),
    ],
)
def test_rig_is_not_off_while_it_writes_its_journal(boots, left):
    """The journal's last line of a boot is a sign of life."""
    boots = [(NIGHT + first * HOUR, NIGHT + last * HOUR) for first, last in boots]
    spans = narrow_by_boots([(NIGHT, NIGHT + 8 * HOUR)], boots)
    assert [((start - NIGHT) / HOUR, (end - NIGHT) / HOUR) for start, end in spans] == left


@pytest.mark.parametrize(
    ("answer", "boots"),
    [
        ('[{"boot_id": "a", "first_entry": 1000000, "last_entry": 61000000}]', [(1, 61)]),
        ("No journal files were found.", []),
        ('[{"boot_id": "a"}]', []),
        ('[{"first_entry": "x", "last_entry": null}]', []),
        ("7", []),
        ("[]", []),
    ],
)
def test_boots_are_those_that_journalctl_lists(monkeypatch, tmp_path, answer, boots):
    """A journalctl with another format, or none, leaves the picture as exact as the store."""
    program = tmp_path / "journalctl"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{answer}\nEND\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert [((first - EPOCH).seconds, (last - EPOCH).seconds) for first, last in read_boots(os.environ)] == boots
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    assert read_boots(os.environ) == []


def test_scan_of_a_daemon_that_is_gone_is_not_being_taken(scanning, screen):
    """The store says so long after; it is true only while a daemon runs."""
    assert "▶ 1 being taken" in "\n".join(draw_text(chart(scanning), screen()))
    cut_off = chart(replace(scanning, daemon=None))
    shown = "\n".join(draw_text(cut_off, screen()))
    assert ("▷ 1 cut off" in shown, "being taken" in shown) == (True, False)
    drawn = draw_svg(cut_off).decode()
    assert (": cut off</title>" in drawn, "being taken" in drawn) == (True, False)


def test_worst_mark_is_shown_where_several_coincide(snapshot, screen):
    """A success a minute later must not hide a failure."""
    timelapse = snapshot.timelapse
    dense = tuple(timelapse.schedule_times[0] + timedelta(hours=7) + timedelta(minutes=index) for index in range(48))
    dense = (*dense[:47], dense[0] + timedelta(hours=8))
    row = draw_text(chart(replace(snapshot, timelapse=replace(timelapse, schedule_times=dense))), screen())[5]
    assert row.count("✗") == 1
    assert "●" not in row


@pytest.mark.parametrize(
    ("apart", "label", "ticks"),
    [
        (timedelta(days=1), "Sat 24 Oct 2026", ["00", "03", "06", "09", "12", "15", "18", "21", "24"]),
        (timedelta(minutes=20), "24 Oct 08:00", [":00", ":10", ":20", ":30", ":40", ":50", ":60"]),
        (timedelta(seconds=4), "24 Oct 08:00", [":00", ":10", ":20", ":30", ":40", ":50", ":60"]),
    ],
)
def test_short_timelapse_has_shorter_rows(snapshot, apart, label, ticks):
    """In rows of a day a timelapse of a minute would be one mark."""
    first = datetime(2026, 10, 24, 6, 0, tzinfo=UTC)
    drawn = chart(with_slots(snapshot, first, first + apart, first + 2 * apart))
    assert drawn.rows[0].label == label
    assert [text for _, text in drawn.ticks] == ticks
    assert [place for place, _ in drawn.ticks] == pytest.approx([i / (len(ticks) - 1) for i in range(len(ticks))])


def test_slots_stand_at_their_local_hour_when_clocks_change(snapshot):
    """The 25th of October has 25 hours; 08:00 has the same position on each day."""
    slots = [datetime(2026, 10, day, hour, 0, tzinfo=UTC) for day, hour in ((24, 6), (25, 7), (26, 7))]
    drawn = chart(with_slots(snapshot, *slots))
    assert [mark.position for row in drawn.rows for mark in row.marks] == pytest.approx([8 / 24] * 3)
    assert drawn.zone == "CEST (UTC+02:00), CET (UTC+01:00)"


def test_days_without_a_slot_have_no_row(snapshot):
    """Fixed times may be months apart."""
    slots = [datetime(2026, month, 1, 12, 0, tzinfo=UTC) for month in (1, 4, 7)]
    assert len(chart(with_slots(snapshot, *slots)).rows) == 3


def test_every_scale_covers_its_row_with_whole_ticks():
    """Otherwise the axis would end before or behind the rows."""
    for scale in SCALES:
        assert not scale.row % scale.tick


def test_svg_stands_on_its_own(snapshot):
    """It has title, axis, rows, a mark for each slot, bands and legend, and refers to no other file."""
    picture = draw_svg(chart(snapshot))
    root = ET.fromstring(picture)  # noqa: S314 - our own picture
    texts = [element.text for element in root.iter(f"{SVG}text")]
    assert texts[0] == "col0_ld"
    assert "Mon 22 Jun 2026" in texts
    assert {"00", "12", "24", "14 taken", "1 late", "1 failed", "1 skipped", "31 to come", "rig off"} <= set(texts)
    marks = [element.text for element in root.iter(f"{SVG}title")][1:]
    assert len(marks) == 48
    assert marks[13] == "slot 13, 22 Jun 2026 14:30:00: failed"
    assert not [key for element in root.iter() for key in element.attrib if key.endswith("href")]


def test_svg_draws_only_within_its_canvas(snapshot):
    """All coordinates are within the picture."""
    root = ET.fromstring(draw_svg(chart(snapshot)))  # noqa: S314 - our own picture
    width, height = float(root.get("width")), float(root.get("height"))
    for element in root.iter():
        for key, limit in (("x", width), ("x1", width), ("x2", width), ("cx", width), ("y", height), ("cy", height)):
            assert 0 <= float(element.get(key, 0)) <= limit


def test_legend_of_a_picture_with_everything_fits(snapshot):
    """However many kinds of marks and bands there are, each begins within the picture, and none on another."""
    everything = replace(chart(snapshot), rows=(EVERYTHING,))
    root = ET.fromstring(draw_svg(everything))  # noqa: S314 - our own picture
    height = float(root.get("height"))
    entries = [float(text.get("x")) for text in root.iter(f"{SVG}text") if float(text.get("y")) == height - 24]
    assert len(entries) == len(MarkKind) + 2
    assert min(after - before for before, after in itertools.pairwise(entries)) > 80
    assert entries[-1] < float(root.get("width")) - 70


def test_svg_has_a_shape_of_its_own_for_every_outcome():
    """The picture is readable without its colours, as in a print in black and white."""
    from plantimager.timelapse.cli.timeline_svg import _draw_mark  # noqa: PLC0415 - the shapes alone

    shapes = set()
    for kind in MarkKind:
        drawn = _draw_mark(ET.Element("g"), kind, 10, 10)
        parts = [drawn, *drawn]
        shapes.add(str([(part.tag, part.get("d"), part.get("r"), part.get("fill") == "none") for part in parts]))
    assert len(shapes) == len(MarkKind)
