"""A terminal that nobody reads, and a journald that has stopped: slots are taken, and lost lines are counted."""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest
from daemon_process import PATIENCE, STRICT_DAEMON, NeverHappened, NotifySocket, Place, statuses
from tiny_scan import configuration, definition

if TYPE_CHECKING:
    from collections.abc import Iterator

RELOADS = 400
"""Each makes three lines: more than can wait."""
N_SHOTS = 5

IN_PLACE_OF_JOURNALD = """
mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal && ln -s "$0" /run/systemd/journal/socket && exec "$@"
"""


@contextlib.contextmanager
def running(place: Place, systemd: NotifySocket, stderr: int, *before: str, **environment: str) -> Iterator[None]:
    """Run a daemon through all its slots and through many reloads, with its lines on ``stderr``; stop it at the end."""
    place.configure(configuration())
    place.define(definition(N_SHOTS))
    more = {"NOTIFY_SOCKET": str(systemd.path), **environment}
    with subprocess.Popen(
        [*before, *STRICT_DAEMON], env={**place.environment, **more}, stdin=subprocess.DEVNULL, stderr=stderr
    ) as daemon:
        try:
            systemd.wait_for(f"completed; {N_SHOTS} taken")
            place.configure("not TOML")
            place.define("not TOML either")
            for _ in range(RELOADS):
                daemon.send_signal(signal.SIGHUP)
                systemd.wait_for("READY=1")
            yield
            daemon.terminate()
            assert daemon.wait(PATIENCE) == 0
        finally:
            daemon.kill()
    assert statuses(place.read()) == ["succeeded"] * N_SHOTS


def read_until(descriptor: int, pattern: bytes) -> bytes:
    """Read until there is a match, and return its first group."""
    text = b""
    while (match := re.search(pattern, text)) is None:
        if not select.select([descriptor], [], [], PATIENCE)[0]:
            raise NeverHappened(text.decode(errors="replace"))
        text += os.read(descriptor, 1 << 20)
    return match[1]


def test_terminal_that_nobody_reads_holds_up_no_slot(place: Place, tmp_path) -> None:
    """What can't wait is dropped; a line says how many those were as soon as somebody reads again."""
    master, slave = os.openpty()
    try:
        with NotifySocket(tmp_path) as systemd, running(place, systemd, slave):
            assert int(read_until(master, rb"lines_dropped: ([0-9]+) lines dropped")) > 0
            threading.Thread(target=drain, args=[master], daemon=True).start()
    finally:
        os.close(slave)
        os.close(master)


@pytest.mark.system
@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare to stand in for journald")
def test_journald_that_has_stopped_holds_up_no_slot(place: Place, tmp_path) -> None:
    """Its socket takes no more lines; when it goes on, a line says how many were dropped."""
    address = tmp_path / "journald"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journald, (tmp_path / "stderr").open("wb") as stderr:
        journald.bind(str(address))
        status = os.fstat(stderr.fileno())
        stream = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        before = ["unshare", "--mount", "sh", "-c", IN_PLACE_OF_JOURNALD.strip(), str(address)]
        with NotifySocket(tmp_path) as systemd, running(place, systemd, stderr.fileno(), *before, **stream):
            assert int(read_until(journald.fileno(), rb"lines_dropped: ([0-9]+) lines dropped")) > 0
            threading.Thread(target=drain, args=[journald.fileno()], daemon=True).start()


def drain(descriptor: int) -> None:
    """Read as long as anything comes."""
    with contextlib.suppress(OSError):
        while os.read(descriptor, 1 << 16):
            pass
