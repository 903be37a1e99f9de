"""`timelapsectl log`: the arguments of journalctl, and whether the journal outlives a restart of the machine."""

import io

import pytest
from virtual_time import VirtualClock

from plantimager.timelapse.cli.log import describe_volatile_journal, journal_command
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


@pytest.fixture
def host(tmp_path):
    """Return how to make the root of a host with systemd and files of journald."""

    def make(files=(), *, journal=True, systemd=True):
        for name, text in dict(files).items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        for wanted, name in ((systemd, "run/systemd/system"), (journal, "var/log/journal")):
            if wanted:
                (tmp_path / name).mkdir(parents=True)
        return tmp_path

    return make


PI = {"usr/lib/systemd/journald.conf.d/40-rpi-volatile-storage.conf": "[Journal]\nStorage=volatile\n"}
OURS = {"etc/systemd/journald.conf.d/90-plant-imager.conf": "[Journal]\nStorage=persistent\n"}
MAIN = {"etc/systemd/journald.conf": "[Journal]\n#Storage=volatile\nStorage = Persistent\n"}
MASKED = {"etc/systemd/journald.conf.d/40-rpi-volatile-storage.conf": "[Journal]\n"}


@pytest.mark.parametrize(
    ("files", "journal", "reason"),
    [
        ({}, True, None),
        ({}, False, "there is no "),
        (PI, True, "Storage=volatile in journald's configuration"),
        ({**PI, **OURS}, False, None),
        ({**PI, **MAIN}, True, "Storage=volatile"),
        ({**PI, **MASKED}, True, None),
        (MAIN, False, None),
        ({"etc/systemd/journald.conf": "[Journal]\nStorage=none\n"}, True, "Storage=none"),
    ],
)
def test_volatile_journal_is_found_as_journald_reads_its_files(host, files, journal, reason):
    """Drop-ins outrank the main file, later names earlier ones, and /etc the vendor's of the same name."""
    said = describe_volatile_journal(host(files, journal=journal))
    assert (said is None) == (reason is None)
    if reason is not None:
        assert said.startswith(f"the journal is volatile ({reason}")
        assert "--persistent-journal" in said


def test_host_without_systemd_has_no_journal_to_lose(host):
    """Nothing is said of it."""
    assert describe_volatile_journal(host(PI, systemd=False)) is None
