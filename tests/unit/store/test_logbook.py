"""What the daemon notes of its own past."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from plantimager.timelapse.store.logbook import MOST_OUTAGES, Logbook

AT = datetime(2026, 6, 22, 8, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def test_time_since_the_last_write_is_an_outage():
    """From the last sign of life to the return."""
    back = Logbook(saved_at=AT, boot_id="a", boots=1).came_back(AT + MINUTE, "b")
    assert back.outages == ((AT, AT + MINUTE),)
    assert (back.boot_id, back.boots) == ("b", 2)


def test_restart_within_a_boot_is_no_boot():
    """The machine was there all the while."""
    assert Logbook(boot_id="a", boots=1).came_back(AT, "a").boots == 1


@pytest.mark.parametrize("saved_at", [None, AT, AT + MINUTE])
def test_return_before_the_last_write_is_no_outage(saved_at):
    """A first start, or a clock that was set back."""
    assert Logbook(saved_at=saved_at).came_back(AT, "a").outages == ()


def test_oldest_outages_are_forgotten():
    """A rig that restarts every minute must not fill its disk with it."""
    log = Logbook()
    for number in range(MOST_OUTAGES + 5):
        log = Logbook(saved_at=AT + number * MINUTE, outages=log.outages).came_back(AT + (number + 0.5) * MINUTE, "a")
    assert len(log.outages) == MOST_OUTAGES
    assert log.outages[0][0] == AT + 5 * MINUTE


@pytest.mark.parametrize(
    "damaged",
    [
        {"saved_at": 3, "definition": [], "boot_id": 1, "boots": -1, "outages": {}},
        {"saved_at": "soon", "boots": True, "outages": [3, [], ["x", "y"], [None, None], ["2026-06-22", "2026-06-23"]]},
        {"saved_at": "2026-06-22T08:00:00", "boots": 1.5, "outages": "x"},
    ],
)
def test_what_is_damaged_is_as_good_as_absent(damaged):
    """It costs a line in a picture, never a start."""
    assert Logbook.read(damaged) == Logbook()


def test_log_is_read_back_as_it_was_written():
    """All of it."""
    log = Logbook(saved_at=AT, definition_digest="d", boot_id="a", boots=2, outages=((AT, AT + MINUTE),))
    assert Logbook.read(log.as_mapping()) == log
    assert Logbook.read(Logbook().as_mapping()) == Logbook()
