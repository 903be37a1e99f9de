"""The notices that reach the service manager, read from a real notification socket, and the watchdog."""

import os
import socket
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plantimager.timelapse.daemon.loop import Watchdog
from plantimager.timelapse.daemon.phases import DaemonPhase, Lifecycle, PhaseEvent
from plantimager.timelapse.domain.wording import STATUS_LENGTH
from plantimager.timelapse.systemd.notifier import Notifier, status_text, watchdog_interval


class Manager:
    """The receiving end of the socket, in place of systemd."""

    def __init__(self, address):
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self._socket.setblocking(False)

    def received(self):
        """Return the next message; a test fails here if there is none."""
        return self._socket.recv(4096).decode()

    def close(self):
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path, monkeypatch):
    """Listen where NOTIFY_SOCKET says, in both kinds of address that systemd uses."""
    name = f"{tmp_path}/notify"
    manager = Manager(name if request.param == "path" else f"\0{name}")
    monkeypatch.setenv("NOTIFY_SOCKET", name if request.param == "path" else f"@{name}")
    yield manager
    manager.close()


@pytest.fixture
def notifier(manager):
    """Connect as the daemon does."""
    notifier = Notifier(os.environ)
    yield notifier
    notifier.close()


def test_ready_comes_with_its_status(manager, notifier):
    """In one message, so that systemd never shows the one without the other."""
    notifier.ready("scheduled: slot 4 of 24 at 14:00")
    assert manager.received() == "READY=1\nSTATUS=scheduled: slot 4 of 24 at 14:00"


def test_each_notification_has_the_words_of_sd_notify(manager, notifier):
    """As sd_notify(3) documents them."""
    notifier.status("resuming")
    notifier.reloading(12.345678)
    notifier.stopping()
    notifier.feed_watchdog()
    notifier.extend_timeout(timedelta(minutes=1, milliseconds=1))
    assert [manager.received() for _ in range(5)] == [
        "STATUS=resuming",
        "RELOADING=1\nMONOTONIC_USEC=12345678",
        "STOPPING=1",
        "WATCHDOG=1",
        "EXTEND_TIMEOUT_USEC=60001000",
    ]


def test_status_that_is_shown_already_is_not_sent_again(manager, notifier):
    """The loop gives it with every turn."""
    for text in ("waiting", "waiting", "scanning"):
        notifier.status(text)
    assert [manager.received(), manager.received()] == ["STATUS=waiting", "STATUS=scanning"]
    with pytest.raises(BlockingIOError):
        manager.received()


def test_status_arrives_as_utf_8(manager, notifier):
    """Accents, arrows and emoji are sent as they are; a byte that is no text is shown as an escape."""
    notifier.status("scène 3 → 🌱 \udcff.jpg")
    assert manager.received() == "STATUS=scène 3 → 🌱 \\xff.jpg"


def test_status_can_not_carry_another_notification(manager, notifier):
    """A line break in an error's text would otherwise end the status and begin an assignment."""
    notifier.status("camera said:\nSTOPPING=1\r\n\x00gone\u2028")
    assert manager.received() == "STATUS=camera said: STOPPING=1 gone"


@given(st.text())
def test_status_is_always_one_line_of_at_most_80_characters(text):
    """Whatever text a driver's error has."""
    line = status_text(text)
    assert len(line) <= STATUS_LENGTH
    assert line.splitlines() in ([], [line])
    assert status_text(line) == line


def test_long_status_shows_that_it_was_cut():
    """The end is an ellipsis."""
    assert status_text("x" * 81) == "x" * 79 + "…"
    assert status_text("x" * 80) == "x" * 80


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": ""}])
def test_without_a_service_manager_nothing_is_sent(environment, monkeypatch):
    """The daemon may run in a terminal."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notifier = Notifier(environment)
    notifier.ready("")
    notifier.status("x")
    notifier.close()


def test_vanished_service_manager_stops_nothing(manager, notifier):
    """A time point is worth more than a status."""
    manager.close()
    notifier.feed_watchdog()


def test_deaf_service_manager_does_not_hold_up_the_loop(manager, notifier):
    """When the queue is full, messages are dropped after a moment; the loop doesn't wait for it."""
    notifier._systemd.socket.settimeout(0)  # the moment itself isn't what is tested
    for _ in range(2000):
        notifier.feed_watchdog()
    assert manager.received() == "WATCHDOG=1"


def test_socket_has_a_time_out(notifier):
    """The test above relies on it."""
    assert 0 < notifier._systemd.socket.gettimeout() <= 1


def test_nothing_is_sent_after_close(manager, notifier):
    """A thread that outlives the daemon's end may still try."""
    notifier.close()
    notifier.status("late")
    with pytest.raises(BlockingIOError):
        manager.received()


@pytest.mark.parametrize(
    ("environment", "interval"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, timedelta(seconds=30)),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, timedelta(seconds=30)),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "9" * 30}, None),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "me"}, None),
    ],
)
def test_watchdog_interval_is_that_of_this_process(environment, interval):
    """A variable for another process, or without a number, means no watchdog."""
    assert watchdog_interval(environment) == interval


# --- the watchdog -------------------------------------------------------------------------------------------


def lifecycle_after(*events):
    lifecycle = Lifecycle()
    for event in events:
        lifecycle.advance(event)
    return lifecycle


KEEPING = (PhaseEvent.CLOCK_TRUSTED, PhaseEvent.STORE_READ)


@pytest.fixture
def watched(monkeypatch, notifier):
    """Return the notifier of a process with a watchdog of 30 s."""
    monkeypatch.setattr(notifier, "watchdog_interval", timedelta(seconds=30))
    return notifier


@pytest.mark.parametrize("events", [KEEPING, (*KEEPING, PhaseEvent.STOP_REQUESTED)], ids=["keeping", "stopping"])
def test_watchdog_is_fed_twice_in_its_interval(manager, watched, events):
    """While the schedule is kept, and while the service stops."""
    assert Watchdog(watched, lifecycle_after(*events)).watch() == 15.0
    assert manager.received() == "WATCHDOG=1"


@pytest.mark.parametrize("events", [(), (PhaseEvent.CLOCK_DOUBTED,)], ids=["starting", "waiting"])
def test_watchdog_is_not_fed_before_the_service_is_ready(manager, watched, events):
    """A start has a time limit of its own."""
    assert Watchdog(watched, lifecycle_after(*events)).watch() is None
    with pytest.raises(BlockingIOError):
        manager.received()


def test_watchdog_replaces_a_process_whose_driver_hangs(manager, watched):
    """At once, not after the interval."""
    lifecycle = lifecycle_after(*KEEPING)
    lifecycle.abandon("the driver hangs")
    assert Watchdog(watched, lifecycle).watch() is None
    assert manager.received() == "WATCHDOG=trigger"
    assert lifecycle.phase is DaemonPhase.ABANDONED


def test_process_whose_driver_hangs_ends_by_itself_without_a_watchdog(notifier):
    """Nothing else would replace it."""
    lifecycle = lifecycle_after(*KEEPING)
    lifecycle.abandon("the driver hangs")
    Watchdog(notifier, lifecycle).watch()
    assert (lifecycle.phase, lifecycle.exit_code) == (DaemonPhase.ENDED, 1)
