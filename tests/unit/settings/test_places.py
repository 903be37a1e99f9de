"""The paths of one rig's files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from plantimager.timelapse.settings.places import find_places
from plantimager.timelapse.support.errors import FaultsFound


@pytest.fixture(autouse=True)
def environment(tmp_path, monkeypatch):
    """Return the environment of a user, which is that of the process, too."""
    values = {"XDG_DATA_HOME": str(tmp_path / "data"), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    monkeypatch.delenv("PI3_TIMELAPSE_FILE_NAME", raising=False)
    for key, value in values.items():
        monkeypatch.setenv(key, value)
    return values


def test_places_of_the_only_rig(environment, tmp_path):
    """The store is where every program of the community looks for it, everything else beside it."""
    places = find_places(environment)
    storage = tmp_path / "data" / "plant-imager3-app"
    assert places.store == storage / "timelapse_storage.json"
    assert (places.datasets, places.history) == (storage / "datasets", storage / "history")
    assert places.config_directories == (
        tmp_path / "config" / "plant-imager3-app",
        Path("/etc/plant-imager3-app"),
    )


def test_rig_with_a_name_shares_nothing(environment):
    """Two rigs on one host have their own stores, datasets, history and configuration."""
    one, other = (find_places(environment, rig=name) for name in ("a", "b"))
    for place in ("store", "datasets", "history", "config_directories"):
        assert getattr(one, place) != getattr(other, place)
    assert (one.store.name, one.datasets.name, one.history.name) == (
        "timelapse_storage-a.json",
        "datasets-a",
        "history-a",
    )
    assert [directory.name for directory in one.config_directories] == ["a", "a"]


def test_datasets_of_a_rig_with_a_name_have_a_directory_of_its_name(environment):
    """They have it where the configuration names one directory for all rigs, as on a server."""
    only, north = find_places(environment), find_places(environment, rig="north")
    assert (only.datasets_in(None), north.datasets_in(None)) == (only.datasets, north.datasets)
    assert only.datasets_in(Path("/srv/scans")) == Path("/srv/scans")
    assert (
        north.datasets_in(Path("/srv/scans")) == north.datasets_in(Path("/srv/scans/north")) == Path("/srv/scans/north")
    )


def test_datasets_of_a_rig_with_a_name_are_where_an_earlier_version_put_them(environment, tmp_path):
    """They are in the named directory while that of the rig has none of them; another rig's don't count."""
    only, north = find_places(environment), find_places(environment, rig="north")

    def put(directory: Path, **values: object) -> None:
        directory.mkdir(parents=True)
        (directory / "timelapsed.json").write_text(json.dumps(values))

    assert north.datasets_of(tmp_path, ["a_0"]) == tmp_path / "north"
    put(tmp_path / "a_0", owner={"rig": "south", "store": "s", "host": "h", "machine": "m"})
    assert north.datasets_of(tmp_path, ["a_0"]) == tmp_path / "north"
    put(tmp_path / "a_1")
    assert north.datasets_of(tmp_path, ["a_0", "a_1"]) == tmp_path
    assert north.datasets_of(tmp_path, ["a_0"]) == tmp_path / "north"
    put(tmp_path / "north" / "a_0")
    assert north.datasets_of(tmp_path, ["a_0"]) == tmp_path / "north"
    assert only.datasets_of(tmp_path, ["a_0"]) == tmp_path
    assert only.datasets_of(None, ["a_0"]) == only.datasets


def test_owner_of_datasets_is_the_rig_with_its_store_on_this_host(environment, tmp_path, monkeypatch):
    """A Raspberry Pi with a copy of another's card has the same name and machine id, and another serial number."""
    files = [tmp_path / "machine-id", tmp_path / "serial-number"]
    monkeypatch.setattr("plantimager.timelapse.settings.places.MACHINE_FILES", files)
    unknown = find_places(environment, rig="a").owner
    assert (unknown.rig, unknown.store, unknown.machine) == ("a", str(find_places(environment, rig="a").store), "")
    files[0].write_text("0123\n")
    one = find_places(environment, rig="a").owner
    files[1].write_bytes(b"100\0")
    other = find_places(environment, rig="a").owner
    assert "" != one.machine != other.machine
    assert one.key != find_places(environment, rig="b").owner.key
    assert "0123" not in one.machine


def test_file_name_of_the_environment_comes_first(environment):
    """It is the contract with other programs, also for a rig with a name."""
    for rig in (None, "a"):
        named = find_places({**environment, "PI3_TIMELAPSE_FILE_NAME": "mine.json"}, rig=rig)
        assert named.store.name == "mine.json"
    with pytest.raises(FaultsFound, match="without a path separator"):
        find_places({**environment, "PI3_TIMELAPSE_FILE_NAME": "../x"})


@pytest.mark.parametrize("rig", ["", ".", "..", ".a", "a/b", "a b", "ä", "x" * 65, "a\n"])
def test_impossible_name_of_a_rig_is_refused(environment, rig):
    """The name becomes a part of file names and of a unit's name."""
    with pytest.raises(FaultsFound, match="--rig"):
        find_places(environment, rig=rig)


def test_storage_can_be_elsewhere(environment, tmp_path):
    """The demo leaves the files of a real rig alone."""
    places = find_places(environment, storage=tmp_path / "demo")
    assert {places.store.parent, places.datasets.parent, places.history.parent} == {tmp_path / "demo"}


def test_files_are_looked_for_in_the_users_directory_first(environment, tmp_path):
    """A file that the command line names is not looked for."""
    own = tmp_path / "config" / "plant-imager3-app"
    own.mkdir(parents=True)
    places = find_places(environment)
    (own / "timelapse.toml").touch()
    (own / "timelapsed.toml").touch()
    assert (places.find_config(), places.find_definition()) == (own / "timelapsed.toml", own / "timelapse.toml")
    named = find_places(environment, config_file=tmp_path / "other.toml")
    assert named.find_config() == tmp_path / "other.toml"


def test_control_socket_is_where_the_service_manager_makes_its_directory(environment, tmp_path):
    """It is for the group in /run, each rig its own; a user's is where the logout empties it, or by the store."""
    system = find_places({}, storage=tmp_path / "s"), find_places({}, rig="a", storage=tmp_path / "s")
    assert [place.control for place in system] == [
        Path("/run/plant-imager3-app/control"),
        Path("/run/plant-imager3-app-a/control"),
    ]
    made = find_places({**environment, "RUNTIME_DIRECTORY": "/run/plant-imager3-app-a"}, rig="a")
    assert (made.control, made.is_shared, made.controls) == (system[1].control, True, (system[1].control,))
    beside = find_places(environment)
    assert beside.control == beside.store.with_name("timelapse_storage.json.run") / "control"
    own = find_places({**environment, "XDG_RUNTIME_DIR": str(tmp_path)})
    other = find_places({**environment, "XDG_RUNTIME_DIR": str(tmp_path)}, rig="a")
    assert own.control.parent.parent == tmp_path / "plant-imager3-app"
    assert own.control.parent.name.startswith("timelapse_storage.json-")
    assert len({own.control, other.control}) == 2
    assert {own.control, beside.control} <= {*own.controls}
    assert not own.is_shared
    assert system[1].relay_control == made.relay_control == Path("/run/plant-imager-timelapse-relay-a/control")
    assert system[0].relay_controls == (Path("/run/plant-imager-timelapse-relay/control"),)
    unit = find_places(
        {
            **environment,
            "XDG_RUNTIME_DIR": str(tmp_path),
            "RUNTIME_DIRECTORY": f"{tmp_path}/plant-imager-timelapse-relay",
        }
    )
    assert unit.relay_control == own.relay_control == own.control.with_name("relay")
    assert own.relay_control in own.relay_controls
    for nowhere in ("relative", str(tmp_path / "missing")):
        assert find_places({**environment, "XDG_RUNTIME_DIR": nowhere}).control == beside.control
