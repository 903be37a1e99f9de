"""Whose timelapse a command is about."""

import io
from pathlib import Path

import pytest
from virtual_time import VirtualClock

from plantimager.timelapse.cli.log import journal_command
from plantimager.timelapse.cli.requests import who_asks
from plantimager.timelapse.cli.session import (
    Scope,
    Session,
    choose_scope,
    places_of,
    refuse_what_is_the_machines,
)
from plantimager.timelapse.cli.terminal import Screen
from plantimager.timelapse.settings.places import Places
from plantimager.timelapse.support.errors import FaultsFound, TimelapsedError

ROOT, ANN = 0, 1000


@pytest.mark.parametrize(
    ("environment", "asked", "uid", "scope"),
    [
        ({}, None, ROOT, Scope.SYSTEM),
        ({}, None, ANN, Scope.USER),
        ({}, Scope.SYSTEM, ANN, Scope.SYSTEM),
        ({}, Scope.USER, ROOT, Scope.USER),
        ({"XDG_DATA_HOME": "/tmp/x"}, None, ROOT, Scope.OWN),
        ({"XDG_DATA_HOME": "/tmp/x"}, None, ANN, Scope.OWN),
        ({"XDG_DATA_HOME": "/tmp/x"}, Scope.SYSTEM, ANN, Scope.SYSTEM),
        ({"XDG_DATA_HOME": "/var/lib"}, None, ANN, Scope.SYSTEM),
        ({"XDG_DATA_HOME": "relative"}, None, ANN, Scope.USER),
        ({"XDG_DATA_HOME": ""}, None, ROOT, Scope.SYSTEM),
    ],
)
def test_whose_timelapse_is_meant(environment, asked, uid, scope):
    """What was said wins, then XDG_DATA_HOME, then who it is that asks."""
    assert choose_scope(environment, asked, uid) is scope


def test_who_has_no_service_of_their_own_has_forgotten_sudo(tmp_path):
    """Where the machine has one; a request would wait for ever in their home directory otherwise."""
    machines = tmp_path / "machine's"
    places = Places(store=tmp_path / "data" / "store.json", config_directories=())
    refuse_what_is_the_machines(Scope.USER, places, machines)
    machines.mkdir()
    refuse_what_is_the_machines(Scope.OWN, places, machines)
    with pytest.raises(TimelapsedError, match="but the machine has one") as refusal:
        refuse_what_is_the_machines(Scope.USER, places, machines)
    assert refusal.value.hint == "put sudo before it, or --user behind timelapsectl for your own"
    places.store.parent.mkdir(parents=True)
    refuse_what_is_the_machines(Scope.USER, places, machines)


def test_system_service_has_its_own_store_and_configuration():
    """The configuration of the user who asks is none of its business."""
    places = places_of(Scope.SYSTEM, {"XDG_CONFIG_HOME": "/home/ann/.config"})
    assert places.store == Path("/var/lib/plant-imager3-app/timelapse_storage.json")
    assert places.config_directories == (Path("/etc/plant-imager3-app"),)


def test_rig_of_the_system_has_a_store_and_configuration_of_its_own():
    """As the template unit gives it."""
    places = places_of(Scope.SYSTEM, {}, rig="north")
    assert places.store == Path("/var/lib/plant-imager3-app/timelapse_storage-north.json")
    assert places.config_directories == (Path("/etc/plant-imager3-app/north"),)


def test_name_that_no_rig_can_have_is_refused():
    """It would become a path."""
    with pytest.raises(FaultsFound, match="--rig"):
        places_of(Scope.SYSTEM, {}, rig="../etc")


def session(scope, rig=None):
    """Return a session of that scope."""
    screen = Screen(io.StringIO())
    places = places_of(scope, {}, rig=rig)
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
    """The arguments go behind it."""
    assert journal_command(session(scope, rig), ["-f"]) == command


def test_daemon_started_by_hand_has_no_unit_to_ask_about():
    """Its lines went where it was started."""
    with pytest.raises(TimelapsedError, match="where it was started"):
        journal_command(session(Scope.OWN), [])


@pytest.mark.parametrize(
    ("scope", "rig", "hint"),
    [
        (Scope.SYSTEM, None, "systemctl start plant-imager-timelapsed"),
        (Scope.SYSTEM, "north", "systemctl start plant-imager-timelapsed@north"),
        (Scope.USER, None, "systemctl --user start plant-imager-timelapsed"),
    ],
)
def test_hint_says_how_the_daemon_is_started(scope, rig, hint):
    """So that it can be copied."""
    assert session(scope, rig).start_hint == hint


def test_person_behind_sudo_is_the_one_on_record(monkeypatch):
    """Root is nobody in particular."""
    monkeypatch.setattr("os.getuid", lambda: 0)
    assert who_asks({"SUDO_USER": "ann"}) == "ann (as root)"
    assert who_asks({}) == "root"


def test_ordinary_user_may_claim_to_be_nobody_else(monkeypatch):
    """SUDO_USER says something only when sudo could have set it."""
    monkeypatch.setattr("os.getuid", lambda: 54321)
    assert who_asks({"SUDO_USER": "ann"}) == "54321"
