"""The line about the disk, with what the relay deletes."""

import shutil
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from plantimager.timelapse.cli.findings import estimate_bytes, outlook_of_timelapse
from plantimager.timelapse.datasets import disk_space
from plantimager.timelapse.datasets.disk_forecast import Retention
from plantimager.timelapse.domain.states import TimeLapseMode, TimeLapseState
from plantimager.timelapse.domain.timelapse import TimeLapse
from plantimager.timelapse.drivers.command.command_options import CommandOptions
from plantimager.timelapse.drivers.grbl.rig_options import RigOptions
from plantimager.timelapse.drivers.simulated import SimulatedOptions
from plantimager.timelapse.settings.disk_plan import plan_of_definition
from plantimager.timelapse.settings.places import Places
from plantimager.timelapse.settings.relay_config import RelaySettings
from plantimager.timelapse.support.keys import keys_of

NOW = datetime(2026, 6, 22, 6, tzinfo=UTC)
HOUR = timedelta(hours=1)
MB = 10**6


@pytest.fixture
def outlook(tmp_path, monkeypatch):
    """Return a function that gives the line for 24 slots of 10 MB on a disk with so much free."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=200 * MB))

    def look(taken=0, **retention):
        monkeypatch.setattr(RelaySettings, "expected_retention", Retention(**retention))
        timelapse = TimeLapse(
            id="tl",
            mode=TimeLapseMode.INTERVAL,
            state=TimeLapseState.SCHEDULED,
            schedule_times=tuple(NOW + HOUR * hour for hour in range(24)),
        )
        for slot in range(taken):
            at = timelapse.schedule_times[slot]
            timelapse = timelapse.begin(at, "boot").succeed(at + HOUR / 2, 1)
        places = Places(store=tmp_path / "store.json", config_directories=(tmp_path,))
        found = outlook_of_timelapse(timelapse, lambda: 10 * MB, places, NOW)
        return found.words, found.is_full

    return look


def test_slot_and_time_at_which_the_disk_is_full_are_named(outlook):
    """At this pace, in local time."""
    words = (
        "200 MB free, 100 MB of them kept; a dataset has up to about 10 MB by the driver's estimate, 240 MB for"
        " 24 slots: it may be full at slot 10 (18:00, in 10 h) at this pace"
    )
    assert outlook() == (words, True)


def test_what_retention_deletes_in_time_makes_it_enough(outlook):
    """And how much is there at a time."""
    words = (
        "200 MB free, 100 MB of them kept; a dataset has up to about 10 MB by the driver's estimate, 240 MB for"
        " 24 slots, 50 MB at a time as long as the relay removes what is delivered: enough"
    )
    assert outlook(keep=HOUR * 5) == (words, False)
    assert outlook(keep_free=150 * MB)[1] is False
    assert outlook(keep_free=99 * MB)[1] is True  # less than a scan has to leave


def test_dataset_that_was_deleted_makes_no_space_a_second_time(outlook, tmp_path):
    """Retention has taken it; only those that are there can go."""
    (tmp_path / "datasets").mkdir()
    assert outlook(taken=8, keep=HOUR * 11)[1] is True
    for slot in range(8):
        (tmp_path / "datasets" / f"tl_{slot}").mkdir()
    assert outlook(taken=8, keep=HOUR * 11)[1] is False


def test_name_that_was_given_back_begins_anew(tmp_path):
    """It was cancelled before anything was taken; a definition of that name may start, and its disk is foreseen."""
    slots = tuple(NOW + HOUR * hour for hour in range(3))
    held = TimeLapse(id="tl", mode=TimeLapseMode.INTERVAL, state=TimeLapseState.CANCELLED, schedule_times=slots)
    places = Places(store=tmp_path / "store.json", config_directories=(tmp_path,))
    plan = plan_of_definition(SimpleNamespace(name="tl"), slots, held, lambda: 10 * MB, places)
    assert plan is not None
    assert plan.slots == slots


def test_what_a_driver_keeps_free_by_default_is_known():
    """It is known without the driver, which would load what it imports."""
    options = {"simulated": SimulatedOptions, "command": CommandOptions, "grbl": RigOptions}
    for driver, kind in options.items():
        assert disk_space.kept_free(driver, {}) == keys_of(kind)["keep_free"].default


def test_driver_that_fails_to_estimate_costs_nothing():
    """It is by others, and may raise anything."""

    def fail(_):
        raise IndexError

    assert estimate_bytes(SimpleNamespace(estimate_bytes=fail), {}) is None
    assert estimate_bytes(SimpleNamespace(), {}) is None
    assert estimate_bytes(SimpleNamespace(estimate_bytes=lambda _: "5 MB"), {}) is None
    assert estimate_bytes(None, {}) is None
