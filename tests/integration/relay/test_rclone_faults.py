"""A fault at every request that a delivery with rclone makes: what is there afterwards is whole, and ours.

The delivery itself runs here, without the relay's process and its waits; test_rclone_delivery has the relay as a whole.
A sealed directory of one picture and its receipt has all the requests that there are: each is made to fail in turn,
until a delivery has no request of that number.
"""

import hashlib
import json
import os
import signal
import threading
from datetime import datetime, timedelta

import pytest
from plantdb_server import Gate
from rclone_server import RCLONE, ByteGate, RcloneServer

from plantimager.timelapse.drivers.programs.processes import descendants_of, list_processes
from plantimager.timelapse.relay.credentials import Secret
from plantimager.timelapse.relay.deliver.delivery import ServerFailed, Shipment, Unreachable
from plantimager.timelapse.relay.deliver.pacing import TargetPace
from plantimager.timelapse.relay.deliver.rclone_delivery import RcloneDelivery
from plantimager.timelapse.relay.deliver.rclone_program import Rclone
from plantimager.timelapse.relay.taken_scans import TakenScan
from plantimager.timelapse.settings.deliver_config import DeliverTarget
from plantimager.timelapse.support.clock import SystemClock
from stores import HOURS

pytestmark = pytest.mark.skipif(RCLONE is None, reason="rclone is not installed")

MANY_REQUESTS = 60
"""More than a delivery of two files has, with what rclone repeats."""
MANY_TRIES = 5
"""More than one fault can cost."""
POINTS = 4
"""Of SFTP, whose requests can't be told apart: parts of what goes to the server."""
AT = datetime.fromisoformat(HOURS[0])
SCAN = TakenScan("tl_0", "tl", 0, AT, AT)


class RelayKilled(Exception):
    """The end of the relay that delivers, with its rclone."""


class Bringer:
    """Brings one small dataset to a remote, as often as it takes."""

    def __init__(self, directory, server, port):
        self.dataset = directory / "tl_0"
        picture = self.dataset / "images" / "camera-00000.jpg"
        picture.parent.mkdir(parents=True)
        picture.write_bytes(os.urandom(1 << 18))
        slot = {"timelapse_id": "tl", "index": 0, "scheduled_at": AT.isoformat()}
        files = {str(picture.relative_to(self.dataset)): hashlib.sha256(picture.read_bytes()).hexdigest()}
        (self.dataset / "timelapsed.json").write_text(json.dumps(slot | {"files": files}))
        self.server, configuration = server, directory / "rclone.conf"
        configuration.write_text(server.configuration(port))
        self._secret = Secret(configuration, configuration.read_text())

    def bring(self, number):
        """Bring it to a place of that number until it is there; return the troubles on the way."""
        begun, troubles = [], []
        target = DeliverTarget(remote=f"lab:{number}", timeout=timedelta(seconds=5))
        pace = TargetPace(SystemClock(), threading.Event())
        delivery = RcloneDelivery(target, self._secret)
        for _ in range(MANY_TRIES):
            try:
                delivery.deliver(
                    Shipment(self.dataset, SCAN, {}, pace, lambda: begun.append(True), was_begun=bool(begun))
                )
            except (Unreachable, ServerFailed, RelayKilled) as trouble:
                troubles.append(trouble)
                self.server.start_again()
                if isinstance(trouble, RelayKilled):
                    delivery = RcloneDelivery(target, self._secret)
            else:
                break
        if not troubles:  # a PUT that was cut off is no trouble where rclone repeats it
            self.server.recover_from_a_cut()
        there = self.server.directory / str(number) / "tl_0"
        assert contents(there) == contents(self.dataset), troubles
        return troubles


def contents(directory):
    return {path.relative_to(directory): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.fixture
def killed(monkeypatch):
    """Return a function that kills the relay: its rclone, and what would come after that."""
    dead, run = threading.Event(), Rclone.run

    def run_unless_dead(self, *words, **names):
        result = run(self, *words, **names)
        if dead.is_set():
            dead.clear()
            raise RelayKilled
        return result

    def kill(server):
        dead.set()
        for process in descendants_of({os.getpid()}, list_processes()):
            if process.pid != server.pid:
                os.kill(process.pid, signal.SIGKILL)

    monkeypatch.setattr(Rclone, "run", run_unless_dead)
    return kill


@pytest.mark.parametrize("fault", ["server killed", "reset", "relay killed"])
def test_fault_at_every_request_of_webdav(tmp_path, killed, fault):
    """The server has done what it was asked, or got half of a file; afterwards nothing is refused, lost or half there.

    A reset is one where a file is sent or read back.
    """
    words = {"server killed": "kill", "reset": "reset", "relay killed": "mute"}
    with RcloneServer("webdav", tmp_path / "remote") as server, Gate(server) as gate:
        bringer, all_struck = Bringer(tmp_path, server, gate.port), []
        for number in range(1, MANY_REQUESTS):
            gate.renew()
            struck = []

            def act(_, line, number=number, struck=struck):
                counted = [each for each in gate.requests if fault != "reset" or each.startswith(("PUT", "GET"))]
                if struck or len(counted) != number or line != counted[-1]:
                    return "pass"
                struck.append(line)
                if fault == "relay killed":
                    killed(server)
                return words[fault]

            gate.act = act
            troubles = bringer.bring(number)
            assert troubles or fault == "reset" or not struck
            if not struck:
                break
            all_struck += struck
    assert {line.partition(" ")[0] for line in all_struck} >= {"PUT", "GET"}
    assert len(all_struck) == number - 1


@pytest.mark.parametrize("fault", ["server killed", "relay killed"])
def test_fault_in_the_middle_of_anything_of_sftp(tmp_path, killed, fault):
    """At several bytes of what goes to the server, which no proxy can tell apart."""
    with RcloneServer("sftp", tmp_path / "remote") as server, ByteGate(server) as gate:
        bringer = Bringer(tmp_path, server, gate.port)
        assert bringer.bring(0) == []
        traffic = gate.sent
        for point in range(1, POINTS):
            gate.arm(traffic * point // POINTS, server.kill if fault == "server killed" else lambda: killed(server))
            assert bringer.bring(point)
