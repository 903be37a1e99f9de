"""The place of the store, as the environment says, and the values that are refused."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from plantimager.timelapse.store.location import backup_path, follow_link, get_file_name, get_storage_dir
from plantimager.timelapse.support.errors import FaultsFound


def test_environment_is_read_at_each_call(monkeypatch, tmp_path):
    """A program may set it after the import."""
    for name in ("one", "other"):
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / name))
        monkeypatch.setenv("PI3_TIMELAPSE_FILE_NAME", f"{name}.json")
        assert get_storage_dir() == tmp_path / name / "plant-imager3-app"
        assert get_file_name() == f"{name}.json"


@pytest.mark.parametrize("value", [None, "", "relative/data", "."])
def test_data_home_that_is_not_absolute_is_ignored(monkeypatch, tmp_path, value):
    """The XDG rules ask for that: the storage directory never depends on where a program was started."""
    monkeypatch.setenv("HOME", str(tmp_path))
    if value is None:
        monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    else:
        monkeypatch.setenv("XDG_DATA_HOME", value)
    assert get_storage_dir() == tmp_path / ".local" / "share" / "plant-imager3-app"


@pytest.mark.parametrize("home", [None, "", "relative/home"])
def test_without_a_home_in_the_environment_the_user_database_is_asked(monkeypatch, home):
    """As the service of a machine that is started by hand, with `env -i`."""
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.delenv("HOME") if home is None else monkeypatch.setenv("HOME", home)
    theirs = Path(pwd.getpwuid(os.getuid()).pw_dir)
    assert get_storage_dir() == theirs / ".local/share/plant-imager3-app"


def test_user_without_a_home_is_an_error_that_says_what_to_set(monkeypatch):
    """A bare container has such users, whose number the user database doesn't know."""
    for name in ("XDG_DATA_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.getuid", lambda: 54321)
    with pytest.raises(FaultsFound, match="XDG_DATA_HOME: missing, and this user has no home directory"):
        get_storage_dir()


@pytest.mark.parametrize("name", ["a/b", "/etc/passwd", "../x", ".", "..", "x/"])
def test_file_name_with_a_path_in_it_is_refused(monkeypatch, name):
    """The store never leaves its directory."""
    monkeypatch.setenv("PI3_TIMELAPSE_FILE_NAME", name)
    with pytest.raises(FaultsFound, match=r"PI3_TIMELAPSE_FILE_NAME = .*: write a bare file name"):
        get_file_name()


def test_empty_file_name_means_the_default(monkeypatch):
    """An empty variable counts as one that isn't set."""
    monkeypatch.setenv("PI3_TIMELAPSE_FILE_NAME", "")
    assert get_file_name() == "timelapse_storage.json"


def test_backup_of_a_linked_store_is_beside_the_file_that_the_link_leads_to(tmp_path):
    """The backup is a hard link, which can't lead to another disk."""
    disk, link = tmp_path / "disk" / "s.json", tmp_path / "link.json"
    link.symlink_to(disk)
    assert backup_path(follow_link(link)) == tmp_path / "disk" / "s.json.bak"
    assert follow_link(disk) == disk
