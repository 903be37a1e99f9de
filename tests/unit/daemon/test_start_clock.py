"""Whether the wall clock can be trusted with decisions that can't be taken back."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from virtual_time import FROM_RTC, START, SYNCHRONISED, UNSYNCHRONISED

from plantimager.timelapse.daemon.start import Trust, judge_clock
from plantimager.timelapse.settings.config import ClockPolicy

NOW = START
HOUR = timedelta(hours=1)
CLOCK_WAIT = timedelta(minutes=10)
JUST_BOOTED = 20.0
LONG_AFTER_BOOT = 3600.0

AUTO, TRUST, NTP_ONLY = ClockPolicy.AUTO, ClockPolicy.TRUST, ClockPolicy.NTP_ONLY


def judged(policy, evidence, *, behind=-HOUR, since_boot=JUST_BOOTED):
    """Judge the clock at NOW with a last write that NOW is ``behind`` of."""
    return judge_clock(policy, evidence, NOW, NOW + behind, since_boot, CLOCK_WAIT)


@pytest.mark.parametrize("policy", [AUTO, NTP_ONLY])
def test_synchronised_clock_is_trusted_at_once(policy):
    """The kernel's word is enough under both judging policies, with a store and without one."""
    assert judged(policy, SYNCHRONISED) == Trust(trusted=True, why="kernel: synchronised")
    assert judge_clock(policy, SYNCHRONISED, NOW, None, 0.0, CLOCK_WAIT).trusted


def test_clock_set_from_a_real_time_clock_is_trusted_at_once():
    """A battery-backed clock needs no network."""
    assert judged(AUTO, FROM_RTC) == Trust(trusted=True, why="set from a real-time clock at boot")


def test_unsynchronised_clock_is_waited_for_until_the_limit():
    """The rest of clock_wait counts from the machine's boot."""
    verdict = judged(AUTO, UNSYNCHRONISED)
    assert verdict == Trust(trusted=False, why="kernel: unsynchronised", wait=CLOCK_WAIT - timedelta(seconds=20))


def test_unsynchronised_clock_goes_on_after_the_limit_and_says_so():
    """A rig that never gets network time waits once, and not again after a restart of the service."""
    verdict = judged(AUTO, UNSYNCHRONISED, since_boot=LONG_AFTER_BOOT)
    assert verdict.trusted
    assert verdict.why == "kernel: unsynchronised, but nothing better came within 10 min of boot"


def test_unsynchronised_clock_goes_on_exactly_at_the_limit():
    """The announced wait is exactly the one that is needed."""
    first = judged(AUTO, UNSYNCHRONISED)
    assert judged(AUTO, UNSYNCHRONISED, since_boot=JUST_BOOTED + first.wait.total_seconds()).trusted


@pytest.mark.parametrize("since_boot", [JUST_BOOTED, LONG_AFTER_BOOT])
def test_clock_before_the_last_write_is_not_trusted_without_network(since_boot):
    """A clock that shows a time before something that has happened is wrong, whatever it was set from."""
    for evidence in (UNSYNCHRONISED, FROM_RTC):
        verdict = judged(AUTO, evidence, behind=3 * HOUR, since_boot=since_boot)
        assert verdict == Trust(trusted=False, why="3 h before the last write", wait=3 * HOUR)


def test_network_time_before_the_last_write_is_believed_after_the_limit():
    """A store that was written under a clock years ahead must not stop the rig until then."""
    verdict = judged(AUTO, SYNCHRONISED, behind=timedelta(days=1826))
    assert verdict == Trust(
        trusted=False, why="1826 d before the last write", wait=CLOCK_WAIT - timedelta(seconds=JUST_BOOTED)
    )
    later = judged(AUTO, SYNCHRONISED, behind=timedelta(days=1826), since_boot=LONG_AFTER_BOOT)
    assert later == Trust(trusted=True, why="kernel: synchronised, though 1826 d before the last write")


def test_network_time_shortly_before_the_last_write_is_believed_when_it_has_passed_it():
    """The wait is no longer than the doubt."""
    assert judged(AUTO, SYNCHRONISED, behind=timedelta(seconds=2)).wait == timedelta(seconds=2)


@pytest.mark.parametrize("evidence", [UNSYNCHRONISED, FROM_RTC])
def test_ntp_only_waits_without_limit(evidence):
    """The operator who asks for network time gets nothing else."""
    verdict = judged(NTP_ONLY, evidence, since_boot=LONG_AFTER_BOOT)
    assert verdict == Trust(trusted=False, why="kernel: unsynchronised; ntp-only", wait=None)


@pytest.mark.parametrize("evidence", [UNSYNCHRONISED, FROM_RTC, SYNCHRONISED])
def test_operator_can_vouch_for_the_clock(evidence):
    """With clock = "trust" nothing is judged."""
    assert judged(TRUST, evidence, behind=100 * HOUR) == Trust(trusted=True, why='clock = "trust"')


def test_policy_words_are_those_of_the_configuration():
    """The three words of DESIGN section 9."""
    assert [str(policy) for policy in ClockPolicy] == ["auto", "trust", "ntp-only"]


@given(
    policy=st.sampled_from(ClockPolicy),
    evidence=st.sampled_from([SYNCHRONISED, FROM_RTC, UNSYNCHRONISED]),
    behind=st.one_of(st.none(), st.timedeltas(timedelta(days=-4000), timedelta(days=4000))),
    since_boot=st.timedeltas(timedelta(0), timedelta(days=4000)),
    clock_wait=st.timedeltas(timedelta(0), timedelta(days=4000)),
)
def test_wait_is_exact(policy, evidence, behind, since_boot, clock_wait):
    """As long as the evidence stays, the clock is trusted after the announced wait and not a microsecond before."""

    def verdict_after(wait):
        last_write = None if behind is None else NOW + behind
        return judge_clock(policy, evidence, NOW + wait, last_write, (since_boot + wait).total_seconds(), clock_wait)

    verdict = verdict_after(timedelta(0))
    if verdict.trusted:
        assert verdict.wait is None
    elif verdict.wait is None:
        assert not verdict_after(timedelta(days=100_000)).trusted
    else:
        assert verdict_after(verdict.wait).trusted
        assert not verdict_after(verdict.wait - timedelta(microseconds=1)).trusted
