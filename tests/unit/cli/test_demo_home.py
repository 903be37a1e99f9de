"""The demo's own directory and files."""

import tomllib
from datetime import UTC, datetime, timedelta

import pytest

from plantimager.timelapse.cli.demo_home import FIRST_SCAN, N_SLOTS, SLOTS, Home, slot_interval
from plantimager.timelapse.settings.config import read_config
from plantimager.timelapse.settings.definition import read_definition

NOW = datetime(2026, 6, 22, 5, 0, tzinfo=UTC)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Return a directory that was made beside a service manager's variables."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return Home.make({"NOTIFY_SOCKET": "/run/x", "PI3_TIMELAPSE_FILE_NAME": "other.json", "PATH": "/bin"})


def test_demo_is_no_service(home):
    """Its daemon must not report to the service manager of the person's session."""
    assert set(home.environment) == {"PATH", "XDG_DATA_HOME", "XDG_CONFIG_HOME"}


@pytest.mark.parametrize(
    ("first_scan", "interval"),
    [(0.0, 4), (2.4, 4), (3.2, 4), (3.21, 5), (14.0, 18), (600.0, 750), (-5.0, 4)],
)
def test_slots_are_spaced_by_the_measured_scan(first_scan, interval):
    """A quarter more than a scan takes, in whole seconds; at least as much as on a fast machine."""
    assert slot_interval(timedelta(seconds=first_scan)) == timedelta(seconds=interval)


def test_definition_of_the_first_scan_is_sound(home):
    """One slot, at once."""
    home.define(FIRST_SCAN)
    definition = read_definition(home.settings / "timelapse.toml")
    assert (definition.name, definition.schedule(NOW).slots) == ("first_scan", (NOW + timedelta(seconds=1),))


def test_definition_of_the_slots_is_sound(home):
    """Its slots are the given interval apart, and no slot is skipped for being late."""
    home.define(SLOTS.format(interval=18.0))
    definition = read_definition(home.settings / "timelapse.toml")
    slots = definition.schedule(NOW).slots
    assert len(slots) == N_SLOTS
    assert slots[1] - slots[0] == timedelta(seconds=18)
    assert definition.grace == timedelta(days=1)


def test_slot_that_fails_is_the_last(home):
    """A retry is given up once the next slot is due; behind the last slot none is, however slow the machine."""
    path = home.settings / "timelapsed.toml"
    read_config(path)
    assert tomllib.loads(path.read_text())["drivers"]["simulated"]["fail"] == [N_SLOTS - 1]
