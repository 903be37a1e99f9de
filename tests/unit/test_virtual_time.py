"""The virtual clock, as far as it does more than a clock."""

import threading
from datetime import timedelta

import pytest
from virtual_time import START, ScriptEnded, VirtualClock

from plantimager.timelapse.support.clock import Wake

HOUR = timedelta(hours=1)


def test_time_passes_only_in_waits():
    """There it passes at once, on all three clocks."""
    clock = VirtualClock()
    assert clock.now() == clock.now() == START
    assert clock.wait(START + 1000 * HOUR, None) == Wake.DUE
    assert (clock.now(), clock.elapsed) == (START + 1000 * HOUR, 1000 * HOUR)
    assert clock.monotonic() == clock.since_boot() == 1001 * 3600


def test_setting_the_clock_ends_a_wait_and_is_a_step():
    """So does the kernel's timer. If the clock is set beyond the end of the wait, that is due as well."""
    clock = VirtualClock()
    clock.at(HOUR, lambda: clock.shift(2 * HOUR))
    clock.at(2 * HOUR, lambda: clock.set_to(START))
    assert clock.wait(START + 3 * HOUR, None) == Wake.CLOCK_SET | Wake.DUE
    step = clock.step()
    assert (step.before, step.after, step.shift) == (START + HOUR, START + 3 * HOUR, 2 * HOUR)
    assert clock.wait(START + 9 * HOUR, None) == Wake.CLOCK_SET
    assert clock.step().shift == -4 * HOUR
    assert clock.step() is None


def test_suspend_ends_a_wait_and_is_no_step():
    """The monotonic clock and the time-out do not go on in a suspend."""
    clock = VirtualClock()
    clock.at(HOUR, lambda: clock.suspend(5 * HOUR))
    assert clock.wait(START + 100 * HOUR, 7200.0) == Wake.CLOCK_SET
    assert clock.step() is None
    assert clock.now() == START + 6 * HOUR
    assert clock.since_boot() - clock.monotonic() == 5 * 3600


def test_setting_between_two_waits_ends_the_next_one():
    """It ends only one."""
    clock = VirtualClock()
    clock.shift(HOUR)
    assert clock.wait(None, 1.0) == Wake.CLOCK_SET
    assert clock.wait(None, 1.0) == Wake.TIMEOUT


def test_script_goes_on_while_time_is_passed_elsewhere():
    """The script runs during a scan that takes hours."""
    clock = VirtualClock()
    seen = []
    clock.at(HOUR, lambda: seen.append(clock.now()))
    clock.at(HOUR, lambda: clock.suspend(HOUR))
    clock.pass_time(2 * HOUR)
    assert seen == [START + HOUR]
    assert clock.now() == START + 3 * HOUR


def test_wait_that_nothing_ends_raises():
    """A wait without an end raises, and one that ends beyond the limit."""
    with pytest.raises(ScriptEnded):
        VirtualClock().wait(None, None)
    clock = VirtualClock(limit=HOUR)
    assert clock.wait(START + HOUR, None) == Wake.DUE
    with pytest.raises(ScriptEnded):
        clock.wait(START + 2 * HOUR, None)


def test_time_stands_still_while_another_thread_is_at_work():
    """The wake-up of that thread ends the wait; only after that does time pass."""
    working = threading.Event()
    working.set()
    clock = VirtualClock(busy=working.is_set)

    def work():
        assert clock.now() == START
        working.clear()
        clock.wake()

    worker = threading.Thread(target=work)
    worker.start()
    assert clock.wait(START + HOUR, 60.0) == Wake.WOKEN
    worker.join()
    assert clock.wait(START + HOUR, None) == Wake.DUE
