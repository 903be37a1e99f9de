"""`timelapse.toml`, and the schedule that it gives."""

import hashlib
import json
import re
import tomllib
from datetime import UTC, datetime, timedelta

import pytest
from tree import CONFIG
from zones import EUROPE, host_zone, zone

from plantimager.timelapse.domain.states import OnScanFailed, TimeLapseMode
from plantimager.timelapse.settings.definition import read_definition
from plantimager.timelapse.support.errors import FaultsFound, FileUnusable

EXAMPLE = CONFIG / "timelapse.toml"
CENTRAL = zone(EUROPE)
NOW = datetime(2026, 6, 22, 6, tzinfo=UTC)

NAMED = '[timelapse]\nname = "col0_ld"\n'
ONE_SHOT = NAMED + 'mode = "one_shot"\n'
FIXED_TIMES = NAMED + 'mode = "fixed_times"\n'


def utc(*parts):
    """Return an instant."""
    return datetime(*parts, tzinfo=UTC)


@pytest.fixture
def definition_of(tmp_path):
    """Return a function that writes a definition and reads it in Central Europe."""

    def read(text):
        path = tmp_path / "timelapse.toml"
        path.write_text(text)
        return read_definition(path, CENTRAL)

    return read


def test_the_smallest_definition_has_the_defaults_of_the_table(definition_of, tmp_path):
    """A name and a mode: one slot, as soon as the rig is warm."""
    definition = definition_of(ONE_SHOT)
    assert (definition.name, definition.mode) == ("col0_ld", TimeLapseMode.ONE_SHOT)
    assert definition.warmup == timedelta(seconds=30)
    assert definition.standby_threshold == timedelta(seconds=600)
    assert definition.grace == timedelta(seconds=120)
    assert (definition.on_scan_failed, definition.scan_retries) == (OnScanFailed.SKIP_SCAN, 0)
    assert definition.source == tmp_path / "timelapse.toml"
    assert definition.schedule(NOW, CENTRAL) == ((utc(2026, 6, 22, 6, 0, 30),), ())


def test_every_key_is_read(definition_of):
    """Durations are seconds or text, and modes become enums."""
    definition = definition_of(
        NAMED
        + """
        mode = "interval"
        interval = "1h30m"
        n_shots = 3
        start_at = "2026-06-22T08:00:00"
        warmup_period = "1m"
        standby_threshold_sec = 120
        grace_period = 0
        on_scan_failed = "fail_timelapse"
        scan_retries = 2
        """
    )
    assert (definition.interval, definition.n_shots) == (timedelta(minutes=90), 3)
    assert (definition.warmup, definition.standby_threshold) == (timedelta(minutes=1), timedelta(minutes=2))
    assert (definition.grace, definition.scan_retries) == (timedelta(0), 2)
    assert definition.on_scan_failed is OnScanFailed.FAIL_TIMELAPSE
    slots = definition.schedule(NOW, CENTRAL).slots
    assert slots == (utc(2026, 6, 22, 6), utc(2026, 6, 22, 7, 30), utc(2026, 6, 22, 9))


def test_a_definition_is_a_value(definition_of):
    """It can't be changed after it was checked."""
    with pytest.raises(AttributeError):
        definition_of(ONE_SHOT).name = "other"


@pytest.mark.parametrize(
    "written",
    [
        '"2026-06-22T08:00:00"',
        '"2026-06-22T06:00:00Z"',
        '"20260622T0800"',
        "2026-06-22T08:00:00",
        "2026-06-22 08:00:00",
        "2026-06-22T06:00:00Z",
        "2026-06-22T03:00:00-03:00",
    ],
)
def test_the_start_is_a_text_or_a_date_of_toml(written, definition_of):
    """It has an offset, or is local without one."""
    definition = definition_of(ONE_SHOT + f"start_at = {written}")
    assert definition.schedule(NOW, CENTRAL) == ((utc(2026, 6, 22, 6),), ())


@pytest.mark.parametrize("written", ['"2026-07-01"', "2026-07-01", '"20260701"'])
def test_a_date_without_a_time_of_day_is_midnight_with_a_note(written, definition_of):
    """A scan in the dark may not be intended."""
    slots, (note,) = definition_of(ONE_SHOT + f"start_at = {written}").schedule(NOW, CENTRAL)
    assert slots == (utc(2026, 6, 30, 22),)
    assert re.fullmatch(r'"?[\d-]+"? has no time of day; taken as 2026-07-01T00:00:00', note)


def test_fixed_times_mix_texts_and_dates_of_toml(definition_of):
    """They are sorted as instants, with a note."""
    definition = definition_of(
        FIXED_TIMES + 'dates = ["2026-06-23T08:00:00", 2026-06-22T08:00:00, 2026-06-22T05:00:00Z]'
    )
    slots, notes = definition.schedule(utc(2026, 6, 22), CENTRAL)
    assert slots == (utc(2026, 6, 22, 5), utc(2026, 6, 22, 6), utc(2026, 6, 23, 6))
    assert notes == ("the dates were not in order of time and have been sorted",)


def test_the_zone_of_the_host_is_meant_where_none_is_named(tmp_path, monkeypatch):
    """It is the zone at the time of reading."""
    path = tmp_path / "timelapse.toml"
    path.write_text(FIXED_TIMES + "dates = [2026-06-22T08:00:00, 2026-06-22T06:00:00Z]")
    assert len(read_definition(path, UTC).dates) == 2
    with host_zone(EUROPE, monkeypatch), pytest.raises(FaultsFound, match="the same instant"):
        read_definition(path)


def test_a_zone_in_which_the_times_make_no_schedule_is_refused_when_it_is_used(tmp_path):
    """The host may have been moved to another zone since the definition was read."""
    path = tmp_path / "timelapse.toml"
    path.write_text(FIXED_TIMES + "dates = [2026-06-22T08:00:00, 2026-06-22T06:00:00Z]")
    definition = read_definition(path, UTC)
    with pytest.raises(FaultsFound, match="dates 0 and 1 are the same instant") as error:
        definition.schedule(NOW, CENTRAL)
    assert str(error.value).startswith(f"{path}: 1 fault\n  [timelapse]: ")


def test_clock_changes_and_missed_slots_are_noted_before_the_start(definition_of):
    """`preview` shows all notes."""
    definition = definition_of(FIXED_TIMES + "dates = [2026-03-29T02:30:00, 2026-10-25T02:30:00]")
    _, notes = definition.schedule(NOW, CENTRAL)
    assert [note.split(":")[0] for note in (notes[0][20:], notes[1][20:], notes[2])] == [
        "doesn't exist",
        "comes twice",
        "already missed",
    ]


def test_the_configuration_is_the_whole_file_as_json_can_carry_it(definition_of):
    """The community's tables stay as written, dates as text, for the store."""
    definition = definition_of(
        ONE_SHOT
        + """
        start_at = 2026-06-22T08:00:00
        [Metadata.object]
        sown = 2026-05-18
        notes = ["a", { at = 08:00:00 }]
        anything = { goes = [1, 2.5, true] }
        [Metadata.else]
        key = 1
        [picamera]
        res_x = 1000
        [picamera.config]
        awb = "auto"
        """
    )
    assert json.loads(json.dumps(definition.configuration)) == {
        "timelapse": {"name": "col0_ld", "mode": "one_shot", "start_at": "2026-06-22T08:00:00"},
        "Metadata": {
            "object": {
                "sown": "2026-05-18",
                "notes": ["a", {"at": "08:00:00"}],
                "anything": {"goes": [1, 2.5, True]},
            },
            "else": {"key": 1},
        },
        "picamera": {"res_x": 1000, "config": {"awb": "auto"}},
    }


def test_the_digest_is_that_of_the_files_bytes(definition_of, tmp_path):
    """A file with another comment is another file: no rule says which changes count."""
    assert definition_of(ONE_SHOT).digest == hashlib.sha256(ONE_SHOT.encode()).hexdigest()
    assert definition_of(ONE_SHOT + "# x").digest != definition_of(ONE_SHOT).digest


def test_a_definition_that_is_not_toml_is_refused_with_the_place(definition_of):
    """The fault is one line."""
    with pytest.raises(FileUnusable, match=r"timelapse\.toml: line 3, column 8: invalid value; texts stand in quotes"):
        definition_of(NAMED + "mode = interval")


def test_an_interval_too_long_for_the_calendar_from_now_on_is_refused(definition_of):
    """Without `start_at` the last slot depends on the time of the start."""
    definition = definition_of(NAMED + 'mode = "interval"\ninterval = "365d"\nn_shots = 100')
    assert len(definition.schedule(NOW, CENTRAL).slots) == 100
    with pytest.raises(FaultsFound, match="the last slot is out of range"):
        definition.schedule(utc(8990, 1, 1), CENTRAL)


# --- the example


def test_the_example_is_a_timelapse_of_a_day():
    """A person who copies it has half-hourly slots with one camera on a circle."""
    definition = read_definition(EXAMPLE)
    slots, notes = definition.schedule(NOW)
    assert (len(slots), slots[-1] - slots[0]) == (48, timedelta(hours=23.5))
    assert notes == ()
    assert list(definition.configuration) == ["ScanPath", "Metadata", "picamera", "timelapse"]


EXAMPLE_LINES = [line for line in EXAMPLE.read_text().splitlines() if re.match(r"#[\[a-z]", line)]


@pytest.mark.parametrize("line", [line for line in EXAMPLE_LINES if not line.startswith("#dates")])
def test_any_line_of_the_example_can_be_uncommented(line, tmp_path):
    """Each is tried by itself, together with the header of the table that it belongs to."""
    lines = EXAMPLE.read_text().splitlines()
    index = lines.index(line)
    lines[index] = line[1:]
    header = next((i for i in range(index, -1, -1) if re.match(r"#?\[", lines[i])), index)
    lines[header] = lines[header].removeprefix("#")
    path = tmp_path / "timelapse.toml"
    path.write_text("\n".join(lines))
    read_definition(path)


def test_the_dates_of_the_example_are_right_in_their_mode(definition_of):
    """They mean nothing in the example's own mode."""
    (dates,) = (line[1:] for line in EXAMPLE_LINES if line.startswith("#dates"))
    assert len(definition_of(FIXED_TIMES + dates).dates) == 3


def test_the_example_shows_every_key_with_its_default(definition_of):
    """Uncommenting a default changes nothing."""
    timelapse = EXAMPLE.read_text().partition("[timelapse]")[2].partition("# --- how")[0]
    asked = tomllib.loads(re.sub(r"^#(?=[a-z])", "", timelapse, flags=re.MULTILINE))
    assert set(asked) == {
        *("name", "mode", "interval", "n_shots", "start_at", "dates", "warmup_period", "standby_threshold_sec"),
        *("grace_period", "on_scan_failed", "scan_retries"),
    }
    default = definition_of(ONE_SHOT)
    assert asked["warmup_period"] == default.warmup.total_seconds()
    assert asked["standby_threshold_sec"] == default.standby_threshold.total_seconds()
    assert asked["grace_period"] == default.grace.total_seconds()
    assert (asked["on_scan_failed"], asked["scan_retries"]) == (default.on_scan_failed, default.scan_retries)
