"""The wall-clock timer with the real kernel, as far as possible without setting the clock."""

import errno
import os
import re
import select
import sys
import time
from pathlib import Path

import pytest

from plantimager.timelapse.support import timerfd
from plantimager.timelapse.support.timerfd import MAX_AT_NS, MIN_AT_NS, WallClockTimer

HOUR_NS = 3600 * 10**9
MILLISECOND_NS = 10**6
DEADLOCK_MS = 10_000
"""A timer that has not expired after this time counts as hanging."""


@pytest.fixture
def timer():
    """Make the timer under test."""
    timer = WallClockTimer()
    yield timer
    timer.close()


def expires(timer, within_ms=DEADLOCK_MS):
    """Return whether the timer's descriptor becomes readable."""
    poll = select.poll()
    poll.register(timer, select.POLLIN)
    return bool(poll.poll(within_ms))


def shown_by_kernel(timer):
    """Return the timer's clock, flags and remaining nanoseconds, as the kernel shows them."""
    text = Path(f"/proc/self/fdinfo/{timer.fileno()}").read_text()
    clock = int(re.search(r"clockid: (\d+)", text)[1])
    flags = int(re.search(r"settime flags: (\d+)", text)[1], 8)
    seconds, nanoseconds = re.search(r"it_value: \((\d+), (\d+)\)", text).groups()
    return clock, flags, int(seconds) * 10**9 + int(nanoseconds)


@pytest.mark.parametrize("ahead_ns", [None, HOUR_NS, MAX_AT_NS])
def test_every_arming_watches_for_settings_of_the_clock(timer, ahead_ns):
    """The timer is absolute, on the real-time clock, and cancelled by a setting, also when idle or armed after 2262."""
    assert timer.arm(None if ahead_ns is None else time.time_ns() + ahead_ns) is False
    clock, flags, left_ns = shown_by_kernel(timer)
    assert clock == time.CLOCK_REALTIME
    assert flags == 0b11
    assert left_ns > HOUR_NS / 2
    assert not expires(timer, within_ms=0)


def test_new_timer_is_armed_already(timer):
    """No setting of the clock after its creation goes unnoticed."""
    assert shown_by_kernel(timer)[1] == 0b11


def test_timer_is_armed_for_the_given_time(timer):
    """The kernel's count-down and the wall clock add up to that time."""
    at_ns = time.time_ns() + HOUR_NS
    timer.arm(at_ns)
    before = time.time_ns()
    left_ns = shown_by_kernel(timer)[2]
    assert before - MILLISECOND_NS <= at_ns - left_ns <= time.time_ns() + MILLISECOND_NS


@pytest.mark.parametrize("ago_ns", [1, HOUR_NS])
def test_time_in_the_past_expires_at_once(timer, ago_ns):
    """A slot that became due between two waits is due now."""
    timer.arm(time.time_ns() - ago_ns)
    assert expires(timer)
    assert timer.clear() is False


@pytest.mark.parametrize("at_ns", [MIN_AT_NS, 0, -1, -(10**18)])
def test_time_before_1970_expires_at_once(timer, at_ns):
    """The kernel refuses negative times and takes zero for "never", so the timer replaces both."""
    timer.arm(at_ns)
    assert expires(timer)


def test_timer_does_not_expire_early(timer):
    """The wall clock shows the given time or a later one when the timer has expired."""
    for _ in range(200):
        at_ns = time.time_ns() + 200_000
        timer.arm(at_ns)
        assert expires(timer)
        assert time.time_ns() >= at_ns
        timer.clear()


def test_arming_again_clears_an_expired_timer(timer):
    """A timer that expired unnoticed doesn't end the next wait."""
    timer.arm(MIN_AT_NS)
    assert expires(timer)
    timer.arm(None)
    assert not expires(timer, within_ms=0)
    assert timer.clear() is False


def test_descriptor_is_not_inherited(timer):
    """The programs of a driver don't get it."""
    assert not os.get_inheritable(timer.fileno())


def test_refusal_of_the_kernel_is_an_error(timer):
    """Only the report that the clock was set is no error."""
    descriptor = timer._fd
    timer._fd = os.open("/dev/null", os.O_RDONLY)
    try:
        with pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
            timer.arm(None)
    finally:
        os.close(timer._fd)
        timer._fd = descriptor


def test_setting_of_the_clock_is_reported_by_either_call(timer, monkeypatch):
    """ECANCELED comes from reading, or from arming when the clock was set between two waits."""

    def cancelled(*_):
        raise OSError(errno.ECANCELED, os.strerror(errno.ECANCELED))

    monkeypatch.setattr(timerfd, "_settime", cancelled)
    assert timer.arm(None) is True
    monkeypatch.setattr(timerfd.os, "read", cancelled)
    assert timer.clear() is True


if sys.version_info < (3, 13):  # later ones have the functions themselves

    def test_seconds_beyond_a_small_long_are_cut(timer, monkeypatch):
        """Where a C long has 32 bits, one wait ends in 2038 at the latest."""
        monkeypatch.setattr(timerfd, "_MAX_SECONDS", 2**31 - 1)
        timer.arm(MAX_AT_NS)
        assert 0 < shown_by_kernel(timer)[2] < 2**31 * 10**9
