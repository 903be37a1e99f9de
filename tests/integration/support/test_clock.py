"""The machine's clock. Tests of `TestEveryClock` also run with the virtual clock."""

import ctypes
import os
import re
import signal
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from descriptors import open_files
from virtual_time import VirtualClock

from plantimager.timelapse.support import clock as clock_module
from plantimager.timelapse.support import clock_evidence
from plantimager.timelapse.support.clock import EPOCH, SystemClock, Wake
from plantimager.timelapse.support.clock_evidence import kernel_synchronisation, rtc_of_boot
from plantimager.timelapse.support.timerfd import WallClockTimer

HOUR = timedelta(hours=1)
LONG = 600.0
"""Seconds; no test waits so long. It only ends a test that would hang."""


@pytest.fixture
def system():
    """Make the machine's clock."""
    clock = SystemClock()
    yield clock
    clock.close()


@pytest.fixture(params=[SystemClock, VirtualClock])
def clock(request):
    """Make each kind of clock in turn."""
    clock = request.param()
    yield clock
    clock.close()


class TestEveryClock:
    """The behaviour that the daemon relies on, of the real clock and of the virtual one."""

    def test_past_time_is_due_at_once(self, clock):
        """It may be the present microsecond, long ago, or before 1970."""
        for until in (clock.now(), clock.now() - HOUR, EPOCH, datetime(1, 1, 1, tzinfo=UTC)):
            assert clock.wait(until, LONG) == Wake.DUE

    def test_future_time_is_waited_for(self, clock):
        """When a wait ends with DUE, the clock shows the time or a later one, never a microsecond less."""
        for microseconds in range(1, 500, 7):
            until = clock.now() + timedelta(microseconds=microseconds)
            assert clock.wait(until, LONG) == Wake.DUE
            assert clock.now() >= until

    def test_time_out_ends_a_wait_for_nothing(self, clock):
        """The watchdog must be fed on an idle schedule as well, and the time-out has really passed."""
        before = clock.monotonic()
        assert clock.wait(None, 0.005) == Wake.TIMEOUT
        assert clock.monotonic() - before >= 0.005

    @pytest.mark.parametrize("timeout", [0, -1.0])
    def test_time_out_in_the_past_ends_the_wait_at_once(self, clock, timeout):
        """A caller that is late itself doesn't wait."""
        assert clock.wait(clock.now() + HOUR, timeout) == Wake.TIMEOUT

    @pytest.mark.parametrize("until", [None, datetime.max.replace(tzinfo=UTC), datetime(2300, 1, 1, tzinfo=UTC)])
    def test_time_beyond_the_range_of_the_kernel_is_waited_for(self, clock, until):
        """The year 9999 counts as never."""
        assert clock.wait(until, 0.001) == Wake.TIMEOUT

    def test_wake_before_the_wait_ends_it(self, clock):
        """A wake-up is never lost, and several count as one."""
        clock.wake()
        clock.wake()
        assert clock.wait(None, None) == Wake.WOKEN
        assert clock.wait(None, 0.001) == Wake.TIMEOUT

    def test_reasons_come_together(self, clock):
        """One reason doesn't hide another."""
        clock.wake()
        assert clock.wait(clock.now(), 0.0) & ~Wake.WOKEN == Wake.DUE | Wake.TIMEOUT

    def test_clock_that_was_not_set_has_no_step(self, clock):
        """The passing of time is no step."""
        assert clock.step() is None

    def test_naive_time_is_refused(self, clock):
        """It names no instant."""
        with pytest.raises(TypeError):
            clock.wait(datetime(2026, 1, 1), LONG)  # noqa: DTZ001 - a naive time is the subject


def test_readings_are_those_of_the_kernel(system):
    """Wall clock in UTC, monotonic and since boot are each between two readings of the kernel's clock."""
    for read, kernel in (
        (lambda: system.now().timestamp(), time.CLOCK_REALTIME),
        (system.monotonic, time.CLOCK_MONOTONIC),
        (system.since_boot, time.CLOCK_BOOTTIME),
    ):
        before = time.clock_gettime(kernel)
        value = read()
        assert before - 2e-6 <= value <= time.clock_gettime(kernel)
    assert system.now().tzinfo is UTC


def test_boot_is_named(system):
    """The name is the kernel's own id, which a record keeps."""
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", system.boot_id())


def test_hidden_boot_id_is_empty(monkeypatch):
    """In a sandbox without /proc/sys a record lacks that detail, and the daemon runs."""
    monkeypatch.setattr(clock_module, "Path", lambda _: Path("/nonexistent"))
    hidden = SystemClock(rtcs=Path("/nonexistent"))
    assert hidden.boot_id() == ""
    hidden.close()


def test_thread_wakes_the_wait(system):
    """The rig's thread wakes the loop when a scan is over."""
    thread = threading.Thread(target=system.wake)
    thread.start()
    assert system.wait(None, LONG) == Wake.WOKEN
    thread.join()


def test_signal_wakes_the_wait(system):
    """SIGTERM and SIGHUP end a wait in progress through `signal.set_wakeup_fd`; the handler has run by then."""
    caught = []
    handler = signal.signal(signal.SIGUSR1, lambda number, _: caught.append(number))
    wakeup_fd = signal.set_wakeup_fd(system.wakeup_fd)
    try:
        sender = threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGUSR1))
        sender.start()
        assert system.wait(None, LONG) == Wake.WOKEN
        assert caught == [signal.SIGUSR1]
        sender.join()
    finally:
        signal.set_wakeup_fd(wakeup_fd)
        signal.signal(signal.SIGUSR1, handler)


def test_wake_ups_without_a_wait_neither_block_nor_fail(system):
    """A busy loop may not wait for a long time, while another thread wakes it again and again."""
    for _ in range(2**16 + 1):
        system.wake()
    assert system.wait(None, LONG) == Wake.WOKEN
    assert system.wait(None, 0.001) == Wake.TIMEOUT


def test_wake_after_close_does_nothing():
    """An abandoned thread of the rig may still call it."""
    clock = SystemClock()
    clock.close()
    clock.wake()


def test_close_leaves_no_descriptor_open():
    """The process has the same descriptors as before."""
    before = open_files()
    SystemClock().close()
    assert open_files() - before == set()


class TimerOfAClockThatIsSet(WallClockTimer):
    """The real timer, with reports that only a real setting of the clock causes."""

    def __init__(self):
        self.set_before_arming = self.set_while_armed = False
        super().__init__()

    def arm(self, at_ns):
        super().arm(0 if self.set_while_armed else at_ns)
        was_set, self.set_before_arming = self.set_before_arming, False
        return was_set

    def clear(self):
        super().clear()
        was_set, self.set_while_armed = self.set_while_armed, False
        return was_set


@pytest.fixture
def timer():
    """Make a timer whose test decides when the clock is set."""
    return TimerOfAClockThatIsSet()


@pytest.fixture
def clock_that_is_set(timer):
    """Make the machine's clock with that timer."""
    clock = SystemClock(timer=timer)
    yield clock
    clock.close()


def test_setting_of_the_clock_ends_an_idle_wait(clock_that_is_set, timer):
    """The schedule must be judged again, also when no slot is waited for."""
    timer.set_while_armed = True
    assert clock_that_is_set.wait(None, LONG) == Wake.CLOCK_SET
    assert clock_that_is_set.wait(None, 0.001) == Wake.TIMEOUT


def test_setting_of_the_clock_between_two_waits_ends_the_next(clock_that_is_set, timer):
    """It is reported once, together with DUE; a wake-up at the same time isn't lost."""
    timer.set_before_arming = True
    clock_that_is_set.wake()
    assert clock_that_is_set.wait(clock_that_is_set.now(), LONG) == Wake.CLOCK_SET | Wake.DUE
    assert clock_that_is_set.wait(None, LONG) == Wake.WOKEN


@pytest.mark.parametrize("shift", [timedelta(hours=5), timedelta(days=-3650), timedelta(seconds=0.6)])
def test_step_has_the_distance_by_which_the_clock_was_set(system, shift):
    """It is returned once, with the time that the clock would show and the time that it shows."""
    system._booted_at -= shift  # as if the machine had booted then
    step = system.step()
    assert abs(step.shift - shift) < timedelta(seconds=0.1)
    assert abs(step.after - system.now()) < timedelta(seconds=60)
    assert step.before == step.after - step.shift
    assert system.step() is None


def test_small_steps_add_up(system):
    """Three of 0.2 s are reported as one of 0.6 s."""
    for _ in range(2):
        system._booted_at -= timedelta(seconds=0.2)
        assert system.step() is None
    system._booted_at -= timedelta(seconds=0.2)
    assert abs(system.step().shift - timedelta(seconds=0.6)) < timedelta(seconds=0.1)


def test_evidence_is_gathered_from_the_kernel_without_privilege(system):
    """The detail has the same facts in words."""
    evidence = system.evidence()
    assert evidence.detail.startswith("kernel: ")
    assert evidence.kernel_synchronised == evidence.detail.startswith("kernel: synchronised within")
    assert evidence.set_from_rtc == evidence.detail.endswith("at boot") - evidence.detail.endswith("clock at boot")


class FakeLibc:
    """The C library of a machine whose kernel gives the answers of the test."""

    def __init__(self, maxerror, result=0):
        self._maxerror, self._result = maxerror, result

    def adjtimex(self, timex):
        timex._obj.maxerror = self._maxerror
        ctypes.set_errno(1)
        return self._result


@pytest.mark.parametrize(
    ("libc", "answer"),
    [
        (FakeLibc(2_500), (True, "kernel: synchronised within 2 ms")),
        (FakeLibc(2_500, result=5), (True, "kernel: synchronised within 2 ms")),  # chrony without rtcsync
        (FakeLibc(16_000_000), (False, "kernel: unsynchronised")),
        (FakeLibc(0, result=-1), (False, "kernel: no answer (Operation not permitted)")),
    ],
)
def test_kernel_is_judged_by_its_largest_error(libc, answer, monkeypatch):
    """That is how timedatectl judges it. A sandbox that forbids the question counts as unsynchronised."""
    monkeypatch.setattr(clock_evidence, "_libc", libc)
    assert kernel_synchronisation() == answer


WALL_CLOCK = datetime(2026, 6, 22, 8, 0, tzinfo=UTC)


def shown(at):
    """Return what `since_epoch` says of a time."""
    return f"{at.timestamp():.0f}\n"


@pytest.mark.parametrize(
    ("rtcs", "evidence"),
    [
        pytest.param({}, (False, "not set from a real-time clock at boot"), id="Raspberry Pi 3 or 4"),
        pytest.param(
            {"rtc0": ("1\n", shown(WALL_CLOCK))}, (True, "set from rtc0 at boot"), id="Raspberry Pi 5 with cell"
        ),
        pytest.param(
            {"rtc0": ("1\n", "19\n")},
            (False, "rtc0 says 1970-01-01, so it has no battery or a dead one"),
            id="Raspberry Pi 5 without cell",
        ),
        pytest.param(
            {"rtc0": ("1\n", shown(datetime(2019, 1, 1, tzinfo=UTC)))},
            (False, "rtc0 says 2019-01-01, so it has no battery or a dead one"),
            id="PC with a dead battery",
        ),
        pytest.param(
            {"rtc0": ("1\n", shown(datetime(2026, 1, 9, tzinfo=UTC)))},
            (False, "rtc0 says 2026-01-09 00:00, which is not what the clock was set to"),
            id="PC with a dead battery and a time restored from a file",
        ),
        pytest.param(
            {"rtc0": ("1\n", shown(WALL_CLOCK - timedelta(minutes=4)))},
            (True, "set from rtc0 at boot"),
            id="clock that has run away in months",
        ),
        pytest.param(
            {"rtc0": ("0\n", shown(WALL_CLOCK)), "rtc1": ("1\n", shown(WALL_CLOCK))},
            (True, "set from rtc1 at boot"),
            id="two clocks, of which one set the time",
        ),
        pytest.param(
            {"rtc0": ("0\n", shown(WALL_CLOCK))},
            (False, "not set from a real-time clock at boot"),
            id="clock whose driver was loaded late",
        ),
        pytest.param({"rtc0": ("1\n", "9" * 40)}, (False, "not set from a real-time clock at boot"), id="nonsense"),
        pytest.param({"rtc0": ("1\n", None)}, (False, "not set from a real-time clock at boot"), id="unreadable"),
    ],
)
def test_real_time_clock_is_evidence_only_where_it_kept_the_time(tmp_path, rtcs, evidence):
    """That the kernel set the clock from it proves nothing: it does so from one without a battery as well."""
    for name, (hctosys, since_epoch) in rtcs.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "hctosys").write_text(hctosys)
        if since_epoch is not None:
            (tmp_path / name / "since_epoch").write_text(since_epoch)
    assert rtc_of_boot(WALL_CLOCK, tmp_path) == evidence


def test_time_that_the_machine_kept_is_read_when_the_process_begins(tmp_path, monkeypatch):
    """Once the clock is synchronised, timesyncd keeps the time of this boot in the place of the one before."""
    kept = tmp_path / "clock"
    monkeypatch.setattr(clock_evidence, "KEPT_TIME", kept)
    clocks = [SystemClock()]
    kept.touch()
    os.utime(kept, (1_000_000_000, 1_000_000_000))
    clocks.append(SystemClock())
    os.utime(kept, (2_000_000_000, 2_000_000_000))
    assert [clock.evidence().kept_at for clock in clocks] == [None, EPOCH + timedelta(seconds=1_000_000_000)]
    for clock in clocks:
        clock.close()


def test_real_time_clock_in_local_time_is_evidence(tmp_path, monkeypatch):
    """A PC that also runs Windows keeps it so."""
    monkeypatch.setenv("TZ", "Europe/Paris")
    time.tzset()
    try:
        (tmp_path / "rtc0").mkdir()
        (tmp_path / "rtc0" / "hctosys").write_text("1\n")
        (tmp_path / "rtc0" / "since_epoch").write_text(shown(WALL_CLOCK + timedelta(hours=2)))
        assert rtc_of_boot(WALL_CLOCK, tmp_path) == (True, "set from rtc0 at boot")
    finally:
        monkeypatch.undo()
        time.tzset()


def test_real_time_clock_is_read_once_at_the_start(tmp_path):
    """A wrong time that is written to it later is no evidence."""
    rtc = tmp_path / "rtc0"
    rtc.mkdir()
    (rtc / "hctosys").write_text("1\n")
    (rtc / "since_epoch").write_text("19\n")
    clock = SystemClock(rtcs=tmp_path)
    try:
        (rtc / "since_epoch").write_text(shown(clock.now()))
        assert not clock.evidence().set_from_rtc
    finally:
        clock.close()
