"""The daemon without its streams, service manager, status file or journal, one by one: no slot is lost."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
from daemon_process import DAEMON, PATIENCE, NotifySocket, Place, statuses
from tiny_scan import configuration, definition

from plantimager.timelapse.channel.live import LiveStatus, live_path, read_live


def set_up(place: Place) -> None:
    place.configure(configuration())
    place.define(definition(3))


def without(descriptors: str) -> list[str]:
    """Return the daemon's command, started without these descriptors."""
    closing_them = " ".join(f"{number}>&-" for number in descriptors)
    return ["sh", "-c", f'exec "$@" {closing_them}', "sh", *DAEMON]


def ends_well(place: Place, daemon: subprocess.Popen[bytes], systemd: NotifySocket) -> None:
    """Wait until all slots are taken, and stop it."""
    systemd.wait_for("completed; 3 taken")
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(PATIENCE) == 0
    assert statuses(place.read()) == ["succeeded"] * 3


@pytest.mark.parametrize("descriptors", ["1", "2", "012"])
def test_daemon_started_without_its_standard_streams_takes_every_slot(place: Place, tmp_path, descriptors) -> None:
    """Its own files may get these descriptors; no output may be written into them."""
    set_up(place)
    with NotifySocket(tmp_path) as systemd:
        environment = {**place.environment, "NOTIFY_SOCKET": str(systemd.path)}
        with subprocess.Popen(without(descriptors), env=environment) as daemon:
            ends_well(place, daemon, systemd)
    lock = place.storage / f"{place.store.name}.lock"
    assert not lock.read_bytes().strip(), "it names nobody at the end"


def test_broken_pipe_behind_stdout_and_stderr_is_no_reason_to_stop(place: Place, tmp_path) -> None:
    """As of a terminal that was closed, or a `| less` that was quit."""
    set_up(place)
    reader, writer = os.pipe()
    os.close(reader)
    with NotifySocket(tmp_path) as systemd:
        environment = {**place.environment, "NOTIFY_SOCKET": str(systemd.path)}
        with subprocess.Popen(DAEMON, env=environment, stdout=writer, stderr=writer) as daemon:
            os.close(writer)
            ends_well(place, daemon, systemd)


@pytest.mark.parametrize("what", ["unlinked", "closed", "never there", "no address"])
def test_service_manager_that_does_not_listen_is_no_reason_to_stop(place: Place, tmp_path, what) -> None:
    """READY isn't received; the slots are taken."""
    set_up(place)
    address = str(tmp_path / "notify") if what != "no address" else "nonsense"
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as systemd:
        if what in ("unlinked", "closed"):
            systemd.bind(address)
        with place.start(NOTIFY_SOCKET=address) as daemon:
            daemon.wait_for("scan_started: tl_0")
            if what == "unlinked":
                Path(address).unlink()
            if what == "closed":
                systemd.close()
            daemon.wait_for("timelapse_completed: tl: 3 taken")
            assert daemon.stop() == 0
    assert statuses(place.read()) == ["succeeded"] * 3


def fill(queue: socket.socket) -> None:
    """Send until the queue is full."""
    while True:
        queue.send(b"STATUS=more than anybody reads")


def test_service_manager_with_a_full_queue_causes_no_long_delay(place: Place, tmp_path) -> None:
    """Each message to a full queue waits half a second, and the slots are taken."""
    set_up(place)
    address = str(tmp_path / "notify")
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as systemd:
        systemd.bind(address)
        with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as filler:
            filler.setblocking(False)
            filler.connect(address)
            with pytest.raises(BlockingIOError):
                fill(filler)
        with place.start(NOTIFY_SOCKET=address) as daemon:
            daemon.wait_for("timelapse_completed: tl: 3 taken")
            assert daemon.stop() == 0


def test_directory_for_the_status_file_may_be_gone(place: Place) -> None:
    """Only `timelapsectl status` needs the file: a directory in its place costs nothing else."""
    set_up(place)
    live_path(place.store).mkdir()
    place.run_until("timelapse_completed: tl: 3 taken")
    assert read_live(place.store) == LiveStatus()


@pytest.mark.system
def test_journal_that_goes_away_is_no_reason_to_stop(place: Place, tmp_path) -> None:
    """Journald restarts, or its socket is lost: lines are lost, slots aren't."""
    set_up(place)
    null = Path("/dev/null").stat()
    stream = f"{null.st_dev}:{null.st_ino}"
    script = """
set -e
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/journal
exec "$@" 2>/dev/null
"""
    with NotifySocket(tmp_path) as systemd:
        environment = {**place.environment, "NOTIFY_SOCKET": str(systemd.path), "JOURNAL_STREAM": stream}
        command = ["unshare", "--mount", "sh", "-c", script, "sh", *DAEMON]
        with subprocess.Popen(command, env=environment) as daemon:
            ends_well(place, daemon, systemd)
