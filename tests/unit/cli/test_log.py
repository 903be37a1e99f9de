"""`timelapsectl log`: the arguments of journalctl."""

import io

import pytest
from virtual_time import VirtualClock

from plantimager.timelapse.cli.log import journal_command
from plantimager.timelapse.cli.session import Scope, Session, session_places
from plantimager.timelapse.cli.terminal import Screen
from plantimager.timelapse.support.errors import TimelapsedError


def session(scope, rig=None):
    """Return a session of that scope."""
    screen = Screen(io.StringIO())
    places = session_places(scope, {}, rig=rig)
    return Session(environment={}, scope=scope, places=places, clock=VirtualClock(), screen=screen)


@pytest.mark.parametrize(
    ("scope", "rig", "command"),
    [
        (Scope.SYSTEM, None, ["journalctl", "--unit=plant-imager-timelapsed", "-f"]),
        (Scope.SYSTEM, "north", ["journalctl", "--unit=plant-imager-timelapsed@north", "-f"]),
        (Scope.USER, None, ["journalctl", "--user", "--unit=plant-imager-timelapsed", "-f"]),
    ],
)
def test_log_asks_journalctl_about_the_right_unit(scope, rig, command):
    """The person's arguments follow the unit."""
    assert journal_command(session(scope, rig), ["-f"]) == command


def test_daemon_started_from_a_shell_has_no_journal():
    """It logs to that shell's terminal."""
    with pytest.raises(TimelapsedError, match="where it was started"):
        journal_command(session(Scope.OWN), [])
