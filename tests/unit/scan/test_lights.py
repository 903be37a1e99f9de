"""The state of every switch in each phase of the rig."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plantimager.timelapse.scan.lights import SWITCH_STATES, RigPhase, Role, switch_changes

PHASES = st.sampled_from([*RigPhase])


def states_through(phases, known=()):
    """Return every state of the switches on the way through ``phases``; at first only ``known`` is known."""
    state = dict(known)
    states = []
    for phase in phases:
        for role, on in switch_changes(state, phase):
            state[role] = on
            states.append(dict(state))
    return states


@given(st.lists(PHASES, min_size=1))
def test_switches_end_in_the_states_of_the_last_phase(phases):
    """The phases before make no difference."""
    assert states_through(phases)[-1] == SWITCH_STATES[phases[-1]]


@given(st.lists(PHASES, min_size=1))
def test_growth_light_is_off_only_while_scanning(phases):
    """That holds however often the daemon crashes, after which no state is known."""
    for phase in phases:
        for role, on in switch_changes({}, phase):
            if role is Role.GROWTH_LIGHT and not on:
                assert phase is RigPhase.SCANNING


@given(st.lists(PHASES, min_size=1))
def test_scan_light_and_growth_light_are_never_on_together(phases):
    """They may draw on one supply."""
    for state in states_through(phases, SWITCH_STATES[RigPhase.STANDBY]):
        assert not (state.get(Role.SCAN_LIGHT) and state.get(Role.GROWTH_LIGHT))


@pytest.mark.parametrize("phase", [RigPhase.STANDBY, RigPhase.WARM])
def test_after_a_crash_everything_is_switched_and_the_growth_light_before_power(phase):
    """No state is known then."""
    assert [role for role, _ in switch_changes({}, phase)] == [Role.SCAN_LIGHT, Role.GROWTH_LIGHT, Role.GANTRY_POWER]


def test_switch_in_the_right_state_is_not_switched_again():
    """A phase that goes on changes nothing."""
    for phase in RigPhase:
        assert switch_changes(SWITCH_STATES[phase], phase) == []
