"""Errors become sentences, hints and exit codes."""

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
def test_hint_fits_the_cause(monkeypatch, capsys, number, uid, hint):
    """A person without the permission gets the hint to use sudo, and not about the store."""

    def refuse(_):
        raise StoreUnreadable(Path("/var/lib/store.json"), "can't be read") from OSError(number, "no")

    monkeypatch.setattr(main, "_run", refuse)
    monkeypatch.setattr("os.geteuid", lambda: uid)
    assert main.main(["status"]) == 1
    assert capsys.readouterr().err == f"error: /var/lib/store.json: can't be read\nhint: {hint}\n"


def test_driver_that_fails_in_a_manual_command_is_named(monkeypatch, tmp_path, capsys):
    """The fault is the driver's, not that of timelapsectl."""

    def fail(*_):
        raise IndexError("no axis")

    monkeypatch.setattr(SimulatedDriver, "home", fail)
    for variable in ("XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(variable, str(tmp_path))
    assert main.main(["rig", "home"]) == 1
    assert capsys.readouterr().err == "error: driver simulated can't be used: IndexError: no axis\n"
