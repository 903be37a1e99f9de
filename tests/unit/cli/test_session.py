"""The session of a command: whose timelapse it is about, and its unit in systemd."""

import io
from pathlib import Path

import pytest
from virtual_time import VirtualClock

from plantimager.timelapse.cli.session import (
    OF_NO_SERVICE,
    Scope,
    Session,
    choose_scope,
    is_for_the_machine,
    session_places,
)
from plantimager.timelapse.cli.terminal import Screen
from plantimager.timelapse.settings.places import Places
from plantimager.timelapse.support.errors import FaultsFound

ROOT, ANN = 0, 1000


@pytest.mark.parametrize(
    ("environment", "requested", "uid", "scope"),
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
def test_scope_follows_from_option_environment_and_user(environment, requested, uid, scope):
    """The option comes first, then XDG_DATA_HOME, then the user."""
    assert choose_scope(environment, requested, uid) is scope


def test_user_without_a_service_means_the_machines_where_it_has_one(tmp_path):
    """Members of its group need neither sudo nor an option."""
    machines = tmp_path / "machine's"
    places = Places(store=tmp_path / "data" / "store.json", config_directories=())
    assert not is_for_the_machine(Scope.USER, places, machines)
    machines.mkdir()
    assert not is_for_the_machine(Scope.OWN, places, machines)
    assert is_for_the_machine(Scope.USER, places, machines)
    places.store.parent.mkdir(parents=True)
    assert is_for_the_machine(Scope.USER, places, machines), "the community's controller has that directory, too"


@pytest.mark.parametrize(
    ("own", "rig"),
    [
        ("data/app/store.json", None),
        ("data/app/store.json.lock", None),
        ("data/systemd/user/plant-imager-timelapsed.service", None),
        ("config/systemd/user/default.target.wants/plant-imager-timelapsed.service", None),
        ("data/systemd/user/plant-imager-timelapsed@north.service", "north"),
    ],
)
def test_user_who_has_something_of_a_rig_means_their_own(tmp_path, own, rig):
    """A store, the lock of a daemon, or a unit, though its service may not run."""
    places = Places(store=tmp_path / "data/app/store.json", config_directories=(tmp_path / "config/app",), rig=rig)
    machines = tmp_path / "machine's"
    machines.mkdir()
    assert is_for_the_machine(Scope.USER, places, machines)
    (tmp_path / own).parent.mkdir(parents=True)
    (tmp_path / own).touch()
    assert not is_for_the_machine(Scope.USER, places, machines)


def test_commands_that_name_or_preview_what_there_is_are_about_the_machine_too():
    """A member's completion offers the rigs of the machine."""
    assert not {"names", "preview", "notify"} & set(OF_NO_SERVICE)


def test_system_service_has_its_own_store_and_configuration():
    """The configuration of the user who asks is not used."""
    places = session_places(Scope.SYSTEM, {"XDG_CONFIG_HOME": "/home/ann/.config"})
    assert places.store == Path("/var/lib/plant-imager3-app/timelapse_storage.json")
    assert places.config_directories == (Path("/etc/plant-imager3-app"),)


def test_rig_of_the_system_has_a_store_and_configuration_of_its_own():
    """They are those of the template unit."""
    places = session_places(Scope.SYSTEM, {}, rig="north")
    assert places.store == Path("/var/lib/plant-imager3-app/timelapse_storage-north.json")
    assert places.config_directories == (Path("/etc/plant-imager3-app/north"),)


def test_name_that_no_rig_can_have_is_refused():
    """It would become part of a path."""
    with pytest.raises(FaultsFound, match="--rig"):
        session_places(Scope.SYSTEM, {}, rig="../etc")


def session(scope, rig=None):
    """Return a session of that scope."""
    screen = Screen(io.StringIO())
    places = session_places(scope, {}, rig=rig)
    return Session(environment={}, scope=scope, places=places, clock=VirtualClock(), screen=screen)


@pytest.mark.parametrize(
    ("scope", "rig", "hint"),
    [
        (Scope.SYSTEM, None, "systemctl start plant-imager-timelapsed"),
        (Scope.SYSTEM, "north", "systemctl start plant-imager-timelapsed@north"),
        (Scope.USER, None, "systemctl --user start plant-imager-timelapsed"),
    ],
)
def test_start_hint_is_the_command_that_starts_the_daemon(scope, rig, hint):
    """It can be copied and run as it is."""
    assert session(scope, rig).start_hint == hint
