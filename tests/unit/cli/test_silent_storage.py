"""A storage directory that doesn't answer: what `status` does then."""

import io
import json
from argparse import Namespace
from pathlib import Path

import pytest
from virtual_time import VirtualClock

from plantimager.timelapse.cli import child_look, service_start, session, silent_storage
from plantimager.timelapse.cli.child_look import find_silent
from plantimager.timelapse.cli.session import SYSTEM_STORAGE, Scope, Session, open_session
from plantimager.timelapse.cli.silent_storage import StorageSilent, read_state_by_systemd
from plantimager.timelapse.cli.status import run_status
from plantimager.timelapse.cli.terminal import Screen
from plantimager.timelapse.cli.unit_facts import PROPERTIES
from plantimager.timelapse.settings.places import Places

SILENT = Path("/away/plant-imager3-app")


class Looked(BaseException):
    """Stands for a call that doesn't return."""


@pytest.fixture(autouse=True)
def away(monkeypatch):
    """Have every call about the directory hang, in a child as in the command itself."""

    def hanging(call):
        def look(path, *args, **options):
            if not isinstance(path, int) and Path(path).is_relative_to(SILENT):
                raise Looked
            return call(path, *args, **options)

        return look

    def look_in_child(look, *_):
        try:
            return look()
        except Looked:
            raise TimeoutError from None

    for name in ("stat", "lstat", "statvfs", "open", "listdir"):
        monkeypatch.setattr(child_look.os, name, hanging(getattr(child_look.os, name)))
    for module in (child_look, service_start):
        monkeypatch.setattr(module, "look_in_child", look_in_child)


@pytest.fixture
def make(monkeypatch):
    """Return how to make a session of that directory, of whose unit systemd says that."""

    def session_of(**unit):
        shown = dict.fromkeys(PROPERTIES, "") | unit
        monkeypatch.setattr(silent_storage, "show_unit", lambda _: shown if unit else None)
        places = Places(store=SILENT / "timelapse_storage.json", config_directories=(SILENT,))
        return Session(
            environment={},
            scope=Scope.SYSTEM,
            places=places,
            clock=VirtualClock(),
            screen=Screen(io.StringIO()),
            silent=SILENT,
        )

    return session_of


def test_directory_that_does_not_answer_is_found(tmp_path):
    """One that is missing is an answer."""
    assert find_silent([tmp_path, tmp_path / "missing"]) is None
    assert find_silent([tmp_path, SILENT, SILENT / "other"]) == SILENT


@pytest.mark.parametrize(
    ("requested", "data_home", "silent", "scope"),
    [
        (None, str(SILENT.parent), SILENT, Scope.OWN),
        (None, None, SYSTEM_STORAGE, Scope.SYSTEM),
        ("system", None, SYSTEM_STORAGE, Scope.SYSTEM),
        ("user", None, SILENT, Scope.USER),
    ],
)
def test_only_status_looks_before_anything_else_does(monkeypatch, requested, data_home, silent, scope):
    """Whose storage it is was found without it; the other commands don't lose the time."""
    asked = []

    def find(directories):
        asked.append(directories)
        return silent

    monkeypatch.setattr(child_look, "find_silent", find)
    monkeypatch.setattr(session, "get_storage_dir", lambda: SILENT)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    if data_home is not None:
        monkeypatch.setenv("XDG_DATA_HOME", data_home)
    opened = open_session(Namespace(scope=requested, rig="north", config=None, command="status"))
    assert (opened.silent, opened.scope, opened.store) == (silent, scope, silent / "timelapse_storage-north.json")
    assert silent in asked[0]
    monkeypatch.setenv("XDG_DATA_HOME", "/nowhere")
    assert open_session(Namespace(scope=None, rig=None, config=None, command="check")).silent is None
    assert len(asked) == 1


@pytest.mark.parametrize("follow", [True, False])
def test_status_says_what_systemd_says_and_ends_as_for_a_store_that_can_not_be_read(make, follow):
    """Nothing else is looked at."""
    of = make(LoadState="loaded", ActiveState="active", SubState="running", MainPID="12")
    with pytest.raises(StorageSilent, match=f"{SILENT} doesn't answer") as refused:
        run_status(Namespace(json=False, follow=follow, records=3), of)
    assert refused.value.exit_code == 1
    shown = of.screen.stream.getvalue()
    assert "service: systemd says: active (running, PID 12)" in shown
    with pytest.raises(StorageSilent):
        run_status(Namespace(json=True, follow=False, records=3), of)
    facts = json.loads(of.screen.stream.getvalue().removeprefix(shown))
    assert facts["error"].endswith(f"{SILENT} doesn't answer")
    assert facts["service"]["word"] == "running"


def test_every_state_of_a_unit_has_words(make):
    """A start that hangs is described as ever."""
    assert read_state_by_systemd(make()) is None
    starting = read_state_by_systemd(make(LoadState="loaded", ActiveState="activating", SubState="start"))
    assert (starting.word, starting.why) == ("starting", "the service is starting")
    again = read_state_by_systemd(make(LoadState="loaded", ActiveState="activating", SubState="auto-restart"))
    assert (again.word, again.why) == ("restarting", "systemd says: activating (auto-restart)")
    failed = read_state_by_systemd(make(LoadState="loaded", ActiveState="failed", SubState="failed", MainPID="0"))
    assert (failed.word, failed.why) == ("failed", "systemd says: failed (failed)")
    missing = read_state_by_systemd(make(LoadState="not-found", ActiveState="inactive", SubState="dead"))
    assert (missing.word, missing.why) == ("stopped", "systemd says: not-found")
    assert failed.remedy == "systemctl status plant-imager-timelapsed says more"
