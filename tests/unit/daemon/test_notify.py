"""What reaches the service manager, read from a real notification socket."""

import os
import socket
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plantimager.timelapse.daemon.notify import Notifier, status_text, watchdog_interval
from plantimager.timelapse.domain.wording import STATUS_LENGTH


class Manager:
    """The receiving end, as systemd has it."""

    def __init__(self, address):
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self._socket.setblocking(False)

    def heard(self):
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
    """One message, so that nobody sees the one without the other."""
    notifier.ready("scheduled: slot 4 of 24 at 14:00")
    assert manager.heard() == "READY=1\nSTATUS=scheduled: slot 4 of 24 at 14:00"


def test_each_notification_has_the_words_of_sd_notify(manager, notifier):
    """The protocol of sd_notify(3), word by word."""
    notifier.status("resuming")
    notifier.reloading(12.345678)
    notifier.stopping()
    notifier.watchdog()
    notifier.extend_timeout(timedelta(minutes=1, milliseconds=1))
    assert [manager.heard() for _ in range(5)] == [
        "STATUS=resuming",
        "RELOADING=1\nMONOTONIC_USEC=12345678",
        "STOPPING=1",
        "WATCHDOG=1",
        "EXTEND_TIMEOUT_USEC=60001000",
    ]


def test_status_arrives_as_utf_8(manager, notifier):
    """An accent, an arrow or an emoji in a note is no reason to be silent, nor is an undecodable file name."""
    notifier.status("scène 3 → 🌱 \udcff.jpg")
    assert manager.heard() == "STATUS=scène 3 → 🌱 .jpg"


def test_status_can_not_smuggle_in_another_notification(manager, notifier):
    """A line break in an error's text would otherwise end the status and begin an assignment."""
    notifier.status("camera said:\nSTOPPING=1\r\n\x00gone\u2028")
    assert manager.heard() == "STATUS=camera said: STOPPING=1 gone"


@given(st.text())
def test_status_is_always_one_line_of_at_most_80_characters(text):
    """Whatever a driver's error says."""
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
    """The daemon in a terminal says the same things to nobody."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notifier = Notifier(environment)
    notifier.ready("")
    notifier.status("x")
    notifier.close()


def test_vanished_service_manager_stops_nothing(manager, notifier):
    """A time point is worth more than a status."""
    manager.close()
    notifier.watchdog()


def test_deaf_service_manager_does_not_hold_up_the_loop(manager, notifier):
    """When nobody empties the queue, messages are dropped after a moment instead of waited on for ever."""
    notifier._systemd.socket.settimeout(0)  # the moment itself isn't what is tested
    for _ in range(2000):
        notifier.watchdog()
    assert manager.heard() == "WATCHDOG=1"


def test_socket_has_a_time_out(notifier):
    """It is what the test above relies on."""
    assert 0 < notifier._systemd.socket.gettimeout() <= 1


def test_nothing_is_sent_after_close(manager, notifier):
    """A thread that outlives the daemon's end may still try."""
    notifier.close()
    notifier.status("late")
    with pytest.raises(BlockingIOError):
        manager.heard()


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
def test_watchdog_interval_is_what_systemd_tells_this_process(environment, interval):
    """A variable that was meant for a parent, or is damaged, means no watchdog."""
    assert watchdog_interval(environment) == interval
