"""How much of the time between two daemons is known to be an outage."""

from __future__ import annotations

from datetime import timedelta

import pytest
from example_timelapse import GRACE, at, timelapse
from hypothesis import given
from hypothesis import strategies as st

from plantimager.timelapse.domain.absence import NO_ABSENCE, SIGN_INTERVAL, LastSign, find_absence

SAVED = at(0, 300)
WAITING = timelapse().begin(at(0), "b").succeed(SAVED)
"""Slot 1 is next, and recorded as something by the end of its grace period."""
DUE = at(1) + GRACE


@pytest.mark.parametrize(
    ("seen", "now", "uncertain", "outage"),
    [
        pytest.param(SAVED, at(0, 310), [(SAVED, at(0, 310))], [], id="back before the next slot"),
        pytest.param(SAVED, at(3), [(SAVED, DUE)], [(DUE, at(3))], id="no sign but the save"),
        pytest.param(at(0, 900), at(3), [], [(at(0, 900), at(3))], id="a sign after the save"),
        pytest.param(
            SAVED + SIGN_INTERVAL / 2, at(3), [(SAVED + SIGN_INTERVAL / 2, DUE)], [(DUE, at(3))], id="too soon"
        ),
        pytest.param(at(2), at(3), [], [(DUE, at(3))], id="the machine ran on without its daemon"),
        pytest.param(at(3), at(2), [], [(DUE, at(2))], id="a sign by a clock that was ahead"),
        pytest.param(SAVED, SAVED, [], [], id="no time at all"),
    ],
)
def test_outage_begins_at_the_last_sign_of_life(seen, now, uncertain, outage):
    """After a lone save nobody knows, until a slot was due that has no record."""
    absence = find_absence(WAITING, SAVED, LastSign(seen), now)
    assert ([*absence.uncertain], [*absence.outage]) == (uncertain, outage)


def test_daemon_that_ended_by_itself_is_known_to_have_ended():
    """It may have ended ever so soon after its last save."""
    absence = find_absence(WAITING, SAVED, LastSign(SAVED, has_ended=True), at(1))
    assert (absence.uncertain, absence.outage) == ((), ((SAVED, at(1)),))


@pytest.mark.parametrize(("saved_at", "seen_at"), [(None, SAVED), (SAVED, None)])
def test_store_of_another_program_says_nothing_of_its_end(saved_at, seen_at):
    """It has no time of its last save."""
    assert find_absence(WAITING, saved_at, LastSign(seen_at), at(3)) == NO_ABSENCE


def test_slot_that_was_being_taken_says_nothing_of_its_end():
    """It may have gone on until the next one was due."""
    running = WAITING.begin(at(1), "b")
    absence = find_absence(running, at(1), LastSign(at(1)), at(9))
    assert absence.uncertain == ((at(1), at(2) + GRACE),)


def test_scan_that_reported_progress_ended_with_its_last_sign_of_life():
    """It would have reported more."""
    running = WAITING.begin(at(1), "b")
    absence = find_absence(running, at(1), LastSign(at(1, 20)), at(1, 60))
    assert (absence.uncertain, absence.outage) == ((), ((at(1, 20), at(1, 60)),))


def test_timelapse_without_a_slot_to_come_leaves_all_unknown():
    """Nothing was due that a daemon would have recorded."""
    last = timelapse(1).begin(at(0), "b")
    assert find_absence(last, at(0), LastSign(at(0)), at(9)).uncertain == ((at(0), at(9)),)


@given(st.integers(-100, 10_000), st.integers(0, 10_000))
def test_absence_is_of_one_piece(seen_after, back_after):
    """Each instant from the sign to the return is in one of its parts, or in none of them before the sign."""
    seen = SAVED + timedelta(seconds=max(seen_after, 0))
    now = SAVED + timedelta(seconds=back_after)
    absence = find_absence(WAITING, SAVED, LastSign(seen), now)
    spans = [*absence.uncertain, *absence.outage]
    assert all(start < end for start, end in spans)
    if not spans:
        assert absence == NO_ABSENCE
        assert min(seen, DUE) >= now
        return
    assert (spans[0][0], spans[-1][1]) == (min(seen, DUE), now)
    assert len({end for _, end in spans[:-1]} ^ {start for start, _ in spans[1:]}) == 0
