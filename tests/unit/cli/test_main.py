"""Errors become sentences, hints and exit codes."""

import errno
from pathlib import Path

import pytest

from plantimager.timelapse.cli import main
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
