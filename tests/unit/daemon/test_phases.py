"""The phases of the daemon, and the table that leads from one to the next."""

from __future__ import annotations

import itertools

import pytest

from plantimager.timelapse.daemon.phases import PHASE_CHANGES, DaemonPhase, Lifecycle, PhaseEvent

P, E = DaemonPhase, PhaseEvent


def path_to(phase):
    """Return the events that lead from the start to a phase by the shortest way."""
    ahead = [(P.STARTING, ())]
    for at, path in ahead:
        if at is phase:
            return path
        ahead += [(to, (*path, event)) for (frm, event), to in PHASE_CHANGES.items() if frm is at]
    raise AssertionError(f"nothing leads to {phase}")


def lifecycle_in(phase):
    lifecycle = Lifecycle()
    for event in path_to(phase):
        lifecycle.advance(event)
    assert lifecycle.phase is phase
    return lifecycle


@pytest.mark.parametrize(("phase", "event"), list(itertools.product(P, E)))
def test_event_leads_where_the_table_says_or_is_refused(phase, event):
    """An event in the wrong phase is a mistake of the program, which no flag may hide."""
    lifecycle = lifecycle_in(phase)
    if (phase, event) in PHASE_CHANGES:
        lifecycle.advance(event)
        assert lifecycle.phase is PHASE_CHANGES[phase, event]
    else:
        with pytest.raises(RuntimeError, match=f"a daemon that is {phase} can't take the event {event}"):
            lifecycle.advance(event)
        assert lifecycle.phase is phase


def test_every_phase_but_the_last_can_be_left():
    """No phase is a trap; the last one is the end of the process."""
    assert {phase for phase, _ in PHASE_CHANGES} == {*P} - {P.ENDED}


def test_schedule_is_kept_in_one_phase_alone():
    """Not before the store was read by a trusted clock, and not from the request to stop on."""
    assert [phase for phase in P if phase.keeps_schedule] == [P.KEEPING]


def test_facts_of_a_phase_exclude_each_other():
    """A daemon that awaits the clock doesn't stop, and one that stops isn't over."""
    for phase in P:
        assert [phase.awaits_clock, phase.keeps_schedule, phase.is_stopping, phase.is_over].count(True) <= 1


def test_clock_that_is_doubted_again_and_again_is_one_wait():
    """The reason may change meanwhile."""
    lifecycle = Lifecycle()
    lifecycle.doubt_clock("unsynchronised")
    lifecycle.doubt_clock("2 h behind")
    assert (lifecycle.phase, lifecycle.clock_trouble) == (P.WAITING_FOR_CLOCK, "2 h behind")
    lifecycle.trust_clock()
    assert (lifecycle.phase, lifecycle.clock_trouble) == (P.RESUMING, None)


@pytest.mark.parametrize(
    ("phase", "after"), [(P.KEEPING, P.ABANDONED), (P.STOPPING, P.ENDED), (P.POWERING_DOWN, P.ENDED)]
)
def test_driver_that_hangs_has_the_process_replaced(phase, after):
    """By its exit code, too; a process that is stopping ends at once."""
    lifecycle = lifecycle_in(phase)
    assert lifecycle.exit_code == 0
    lifecycle.abandon("the driver hangs")
    assert (lifecycle.phase, lifecycle.trouble, lifecycle.exit_code) == (after, "the driver hangs", 1)
