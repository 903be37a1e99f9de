"""A PlantDB server, a gate before it, and a rig whose relay delivers through the gate."""

import subprocess

import pytest
from daemon_process import CTL
from http_receiver import HttpReceiver
from message_peers import MailServer
from plantdb_server import Gate, PlantDbServer
from relay_rig import RelayRig


@pytest.fixture
def server(tmp_path):
    """Run the real server on an empty database."""
    with PlantDbServer(tmp_path / "db") as server:
        yield server


@pytest.fixture
def gate(server):
    """Stand between relay and server."""
    with Gate(server) as gate:
        yield gate


@pytest.fixture
def receiver():
    """Take what services and monitors are sent by HTTP."""
    with HttpReceiver() as server:
        yield server


@pytest.fixture
def mail():
    """Take mails."""
    with MailServer() as server:
        yield server


@pytest.fixture
def rig(tmp_path, gate):
    """Return a rig without any datasets yet."""
    return RelayRig(tmp_path / "rig", gate.url)


@pytest.fixture
def ctl(rig):
    """Return a function that runs a command and returns its exit code and what it printed."""

    def run(*words):
        done = subprocess.run(
            [*CTL, *words], env=rig.place.environment, capture_output=True, text=True, timeout=60, check=False
        )
        return done.returncode, done.stdout + done.stderr

    return run
