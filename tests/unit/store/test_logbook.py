"""The logbook: the last write, the boots of the machine, and the outages."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from plantimager.timelapse.domain.absence import Absence
from plantimager.timelapse.store.schema import MAX_DEFINITIONS, MAX_OUTAGES, Logbook
from stores import read, store_of

AT = datetime(2026, 6, 22, 8, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def test_absence_is_noted_with_the_boot():
    """What is known of it, and what isn't."""
    absence = Absence(uncertain=((AT, AT + MINUTE),), outage=((AT + MINUTE, AT + 2 * MINUTE),))
    back = Logbook(saved_at=AT, boot_id="a", boots=1).came_back("b", absence)
    assert (back.uncertain, back.outages) == (absence.uncertain, absence.outage)
    assert (back.boot_id, back.boots) == ("b", 2)


def test_restart_within_a_boot_is_no_boot():
    """Boots are those of the machine."""
    assert Logbook(boot_id="a", boots=1).came_back("a").boots == 1


def test_amendments_leave_the_definitions_before_them_known():
    """Each once; of very many the first and the last, for the first may still lie in the configuration directory."""
    log = Logbook(definition_digest="a").amended("b").amended("a").amended("c")
    assert (log.definition_digest, log.earlier_definitions) == ("c", ("b", "a"))
    assert Logbook(definition_digest="a").amended("a").earlier_definitions == ()
    assert Logbook().amended("b").definitions == ("b", None)
    for number in range(2 * MAX_DEFINITIONS):
        log = log.amended(f"{number}")
    assert len(log.earlier_definitions) == MAX_DEFINITIONS + 1
    assert (log.earlier_definitions[0], log.earlier_definitions[-1]) == ("b", f"{2 * MAX_DEFINITIONS - 2}")


def test_oldest_outages_are_forgotten():
    """A rig that restarts every minute must not fill its disk with it."""
    log = Logbook()
    for number in range(MAX_OUTAGES + 5):
        span = (AT + number * MINUTE, AT + (number + 0.5) * MINUTE)
        log = log.came_back("a", Absence((span,), (span,)))
    for spans in (log.outages, log.uncertain):
        assert len(spans) == MAX_OUTAGES
        assert spans[0][0] == AT + 5 * MINUTE


@pytest.mark.parametrize(
    ("damaged", "unsound"),
    [
        (
            {"saved_at": 3, "definition": [], "boot_id": 1, "boots": -1, "outages": {}},
            "saved_at, definition, boot_id, boots, outages",
        ),
        (
            {
                "saved_at": "soon",
                "boots": True,
                "outages": [3, [], ["x", "y"], [None] * 2, ["2026-06-22", "2026-06-23"]],
            },
            "saved_at, boots, outages",
        ),
        ({"saved_at": "2026-06-22T08:00:00", "boots": 1.5, "outages": "x"}, "saved_at, boots, outages"),
        ({"saved_at": None, "boots": None, "outages": None}, ""),
    ],
)
def test_what_is_damaged_is_as_good_as_absent(damaged, unsound):
    """A start never fails by it, and a note names the keys."""
    stored = read(store_of(extra={"timelapsed": damaged}))
    assert stored.logbook == Logbook()
    sentence = f"of extra.timelapsed, {unsound} can't be right: it counts as unknown and is written anew"
    assert stored.notes == ((sentence,) if unsound else ())


def test_sound_outages_among_damaged_ones_are_kept():
    """One damaged outage doesn't cost the others."""
    outages = [["2026-06-22T08:00:00+00:00", "2026-06-22T08:01:00+00:00"], ["x", "y"]]
    assert read(store_of(extra={"timelapsed": {"outages": outages}})).logbook.outages == ((AT, AT + MINUTE),)
