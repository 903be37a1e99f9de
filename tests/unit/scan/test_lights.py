"""Which switch is on when."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plantimager.timelapse.scan.lights import WANTED, Phase, Role, switch_changes

PHASES = st.sampled_from([*Phase])


def walked(phases, known=()):
    """Return every state that the switches go through, from unknown on."""
    state = dict(known)
    states = []
    for phase in phases:
        for role, on in switch_changes(state, phase):
            state[role] = on
            states.append(dict(state))
    return states


@given(st.lists(PHASES, min_size=1))
def test_the_switches_end_as_the_last_phase_wants_them(phases):
    """Whatever came before."""
    assert walked(phases)[-1] == WANTED[phases[-1]]


@given(st.lists(PHASES, min_size=1))
def test_the_plant_is_dark_in_a_scan_alone(phases):
    """However often the daemon crashes and begins again from nothing known."""
    for phase in phases:
        for role, on in switch_changes({}, phase):
            if role is Role.GROWTH_LIGHT and not on:
                assert phase is Phase.SCANNING


@given(st.lists(PHASES, min_size=1))
def test_scan_light_and_growth_light_are_never_on_together(phases):
    """They may hang on one supply."""
    for state in walked(phases, WANTED[Phase.STANDBY]):
        assert not (state.get(Role.SCAN_LIGHT) and state.get(Role.GROWTH_LIGHT))


@pytest.mark.parametrize("phase", [Phase.STANDBY, Phase.WARM])
def test_after_a_crash_everything_is_switched_the_plants_light_before_power(phase):
    """Nothing is known then, so nothing is taken for granted."""
    assert [role for role, _ in switch_changes({}, phase)] == [Role.SCAN_LIGHT, Role.GROWTH_LIGHT, Role.GANTRY_POWER]


def test_nothing_is_switched_twice():
    """A phase that goes on changes nothing."""
    for phase in Phase:
        assert switch_changes(WANTED[phase], phase) == []
