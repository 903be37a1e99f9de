"""From errors to sentences."""

import errno
from pathlib import Path

import pytest

from plantimager.timelapse.cli import main
from plantimager.timelapse.drivers.simulated import SimulatedDriver
from plantimager.timelapse.support.errors import StoreUnreadable


@pytest.mark.parametrize(
    ("number", "uid", "hint"),
    [
        (errno.EACCES, 1000, "try it with sudo"),
        (errno.EPERM, 1000, "try it with sudo"),
        (errno.EACCES, 0, "it is left as it is"),
        (errno.EIO, 1000, "it is left as it is"),
    ],
)
def test_hint_is_what_helps(monkeypatch, capsys, number, uid, hint):
    """That a store is left as it is helps nobody who only lacks the permission."""

    def refuse(_):
        raise StoreUnreadable(Path("/var/lib/store.json"), "can't be read") from OSError(number, "no")

    monkeypatch.setattr(main, "_run", refuse)
    monkeypatch.setattr("os.geteuid", lambda: uid)
    assert main.main(["status"]) == 1
    assert capsys.readouterr().err == f"error: /var/lib/store.json: can't be read\nhint: {hint}\n"


def test_driver_that_fails_by_hand_is_named(monkeypatch, tmp_path, capsys):
    """Not timelapsectl: it may be anybody's."""

    def fail(*_):
        raise IndexError("no axis")

    monkeypatch.setattr(SimulatedDriver, "home", fail)
    for variable in ("XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(variable, str(tmp_path))
    assert main.main(["rig", "home"]) == 1
    assert capsys.readouterr().err == "error: driver simulated can't be used: IndexError: no axis\n"
