"""The control socket with real clients of every kind: what they cost, and whom they keep waiting."""

import json
import os
import select
import socket
import stat
import threading
from contextlib import ExitStack, contextmanager, suppress

import pytest
from tree import TREE
from waiting import wait_until

from plantimager.timelapse.channel import control_server, served_client
from plantimager.timelapse.channel.control_client import GROUP, ServerEnded, ServerSilent, connect
from plantimager.timelapse.channel.control_request import Answer
from plantimager.timelapse.channel.control_server import ControlServer
from plantimager.timelapse.channel.peer import Peer, peer_of
from plantimager.timelapse.channel.served_client import MAX_CLIENTS, MAX_CLIENTS_OF_USER, RESERVE, Access, why_refused
from plantimager.timelapse.support.clock import SystemClock

PATIENCE = 60.0
ASKS = b'{"version": 1, "command": "echo", "files": []}\n'


class Daemon:
    """Answers each request at once with what it says, but those that are to wait."""

    def __init__(self, path, clock):
        self.path, self.waiting, self.withdrawn, self.problems = path, [], threading.Semaphore(0), []
        self.server = ControlServer(path, Access(os.geteuid()), self.receive, clock, self.problems.append)

    def receive(self, request):
        if request.command == "break":
            raise RuntimeError("can't start new thread")
        if request.is_withdrawn:
            self.withdrawn.release()
        elif request.command == "wait":
            self.waiting.append(request)
        else:
            request.answer(Answer(accepted=True, message=json.dumps(request.body), files=request.files))

    def ask(self, command="echo", files=(), **body):
        with connect([self.path], {os.geteuid()}, SystemClock()) as connection:
            return connection.ask(command, body, files)

    @contextmanager
    def client(self, *pieces):
        """Yield a socket that has sent some bytes."""
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(self.path))
            client.settimeout(PATIENCE)
            for piece in pieces:
                client.sendall(piece)
            yield client


@pytest.fixture
def daemon(tmp_path, clock):
    daemon = Daemon(tmp_path / "run" / "control", clock)
    daemon.server.open()
    yield daemon
    daemon.server.close()
    assert not daemon.path.exists()


def read_all(client):
    """Return what comes until the server closes the connection."""
    came = b""
    with suppress(ConnectionResetError):  # by one that didn't read all that was sent
        while more := client.recv(65536):
            came += more
    return came


def test_request_and_answer_go_with_their_files(daemon):
    """In both directions, of any size that is allowed."""
    files = (b"one", b"", os.urandom(3_000_000))
    answer = daemon.ask(files=files, a=1)
    assert (json.loads(answer.message), answer.files) == ({"a": 1}, files)


def test_socket_is_private_or_the_groups(daemon, tmp_path, clock):
    """Nobody else can even connect."""
    assert stat.S_IMODE(daemon.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(daemon.path.parent.stat().st_mode) == 0o700
    shared = ControlServer(tmp_path / "shared" / "control", Access(os.geteuid(), 1234), print, clock, print)
    shared.open()
    assert stat.S_IMODE(shared.path.stat().st_mode) == 0o660
    shared.close()


def test_path_may_be_longer_than_the_kernel_takes(tmp_path, clock):
    """A home directory may be deep."""
    daemon = Daemon(tmp_path / ("x" * 200) / "control", clock)
    daemon.server.open()
    assert daemon.ask(a=2).accepted
    daemon.server.close()


def test_socket_of_a_daemon_that_was_killed_is_replaced(tmp_path, clock):
    """Nobody listens at it any more."""
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "control"))
    with connect([tmp_path / "control"], {os.geteuid()}, clock) as nobody:
        assert nobody is None
    daemon = Daemon(tmp_path / "control", clock)
    daemon.server.open()
    assert daemon.ask().accepted
    daemon.server.close()


@pytest.mark.parametrize(
    "pieces",
    [
        [],
        [b"{"],
        [ASKS[:-1]],
        [b"\0" * 70_000],
        [b"not JSON\n"],
        [b'{"version": 1, "command": "echo", "files": [8000000]}\n', b"x" * 100_000],
        [b'{"version": 1, "command": "echo", "files": [9000000000]}\n'],
        [b'{"version": 7, "command": "echo", "files": []}\n'],
        [b'{"version": 1, "command": "wait", "files": []}\n'],
        [ASKS + b"and more"],
        [ASKS],
    ],
    ids=repr,
)
def test_client_that_vanishes_costs_nothing(daemon, pieces):
    """Whenever it does; the next one is answered."""
    for _ in range(MAX_CLIENTS + 1):
        with daemon.client() as client:
            try:
                for piece in pieces:
                    client.sendall(piece)
            except (BrokenPipeError, ConnectionResetError):
                pass
    assert wait_until(lambda: daemon.ask().accepted, within=PATIENCE)


def test_client_that_does_not_come_to_an_end_is_closed(daemon, monkeypatch):
    """One that sends nothing, or a byte now and then; its time counts from the connection."""
    monkeypatch.setattr(control_server, "REQUEST_SECONDS", 0.2)
    with daemon.client(b"{") as client:
        assert read_all(client) == b""


def test_client_that_does_not_read_is_closed(daemon, monkeypatch):
    """Its answer is larger than the kernel's buffer."""
    monkeypatch.setattr(control_server, "ANSWER_SECONDS", 0.2)
    line = b'{"version": 1, "command": "echo", "files": [8000000]}\n'
    with daemon.client(line, b"x" * 8_000_000) as client:
        wait_until(lambda: not daemon.server._clients, within=PATIENCE)
        assert len(read_all(client)) < 8_000_000


def test_refusal_is_read_by_a_client_that_still_sends(daemon):
    """It hears why, in place of a broken pipe."""
    answer = daemon.ask(files=(b"x" * 20_000_000,))
    assert (answer.accepted, "at most 8388608 are taken" in answer.message) == (False, True)


def test_requests_on_their_way_are_bounded_in_bytes(daemon, monkeypatch):
    """However many clients send large requests at a time, no more than the limit is kept in memory."""
    monkeypatch.setattr(control_server, "MAX_KEPT_BYTES", 100_000)
    line = b'{"version": 1, "command": "wait", "files": [80000]}\n'
    with daemon.client(line, b"x" * 80_000):
        wait_until(lambda: daemon.waiting, within=PATIENCE)
        with daemon.client(line, b"x" * 79_000) as second:
            assert b"too many large requests" in read_all(second)


def test_request_is_withdrawn_when_its_client_goes(daemon):
    """Whoever carries it out hears that; an answer that comes later is dropped."""
    with daemon.client(b'{"version": 1, "command": "wait", "files": []}\n'):
        wait_until(lambda: daemon.waiting, within=PATIENCE)
        assert not daemon.waiting[0].is_withdrawn
    assert daemon.withdrawn.acquire(timeout=PATIENCE)
    assert daemon.waiting[0].is_withdrawn
    daemon.waiting[0].answer(Answer(accepted=True, message="late"))
    assert daemon.ask().accepted


def test_mistake_costs_one_client_alone(daemon):
    """The thread goes on, and reports it."""
    with daemon.client(b'{"version": 1, "command": "break", "files": []}\n') as client:
        assert read_all(client) == b""
    assert daemon.ask().accepted
    assert {str(problem) for problem in daemon.problems} == {"can't start new thread"}


def test_mistake_beside_the_clients_costs_none(daemon, monkeypatch):
    """As where a user's place can't be judged; the thread goes on."""

    def fail(*_):
        monkeypatch.undo()
        raise RuntimeError("broken")

    monkeypatch.setattr(control_server, "why_refused", fail)
    with daemon.client() as client:
        assert read_all(client) == b""
    assert daemon.ask().accepted
    assert [str(problem) for problem in daemon.problems] == ["broken"]


def test_places_are_bounded_and_one_is_free_for_root(daemon):
    """Others than root and the daemon's user have a part of them, and one user a part of that."""
    with ExitStack() as stack:
        clients = [stack.enter_context(daemon.client()) for _ in range(MAX_CLIENTS)]
        wait_until(lambda: len(daemon.server._clients) == MAX_CLIENTS, within=PATIENCE)
        with daemon.client() as one_too_many:
            assert b"too many requests at a time" in read_all(one_too_many)
        clients[0].close()
        assert wait_until(lambda: daemon.ask().accepted, within=PATIENCE)


class Place:
    def __init__(self, uid):
        self.peer = Peer(1, uid)


def test_one_user_does_not_take_the_places_of_others():
    """Nor do all of them take those that are kept for root and the daemon's own user."""
    access, member = Access(owner=900, group=50), Peer(1, 1000, frozenset({50}))
    assert why_refused(member, access, [Place(1000)] * (MAX_CLIENTS_OF_USER - 1)) is None
    assert "too many" in why_refused(member, access, [Place(1000)] * MAX_CLIENTS_OF_USER)
    assert why_refused(Peer(1, 1001, frozenset({50})), access, [Place(1000)] * MAX_CLIENTS_OF_USER) is None
    crowd = [Place(2000 + number) for number in range(MAX_CLIENTS - RESERVE)]
    assert "too many" in why_refused(member, access, crowd)
    for uid in (0, 900):
        assert why_refused(Peer(1, uid), access, crowd) is None


@pytest.mark.parametrize(
    ("peer", "group", "allowed"),
    [
        (Peer(1, 0), None, True),
        (Peer(1, 900), None, True),
        (Peer(1, 1000, frozenset({50})), 50, True),
        (Peer(1, 1000, frozenset({1000})), 50, False),
        (Peer(1, 1000, frozenset({50})), None, False),
    ],
)
def test_root_the_owner_and_the_group_may_ask(peer, group, allowed):
    """The kernel says who asks: root, the daemon's user and members of the group may."""
    refusal = why_refused(peer, served_client.Access(owner=900, group=group), [])
    assert (refusal is None) == allowed


def test_group_that_a_person_is_told_to_join_is_that_of_the_units():
    """The server opens its socket to the group that systemd gives it."""
    units = [*(TREE / "systemd").glob("plant-imager-timelapsed*.service")]
    groups = {line for unit in units for line in unit.read_text().splitlines() if line.startswith("Group=")}
    assert groups == {f"Group={GROUP}"}


def test_peer_is_this_process():
    """The kernel names the user and the groups of the process that asks."""
    ends = socket.socketpair()
    with ends[0], ends[1]:
        peer = peer_of(ends[0])
    assert (peer.pid, peer.uid) == (os.getpid(), os.geteuid())
    assert peer.groups == {os.getegid(), *os.getgroups()}


def test_end_of_the_daemon_is_no_answer(daemon):
    """And what it has answered before is still written."""
    with daemon.client(b'{"version": 1, "command": "wait", "files": []}\n') as client:
        wait_until(lambda: daemon.waiting, within=PATIENCE)
        daemon.waiting[0].answer(Answer(accepted=True, message="the last"))
        daemon.server.close()
        assert b"the last" in read_all(client)


def test_client_hears_that_the_daemon_ended(tmp_path, clock):
    """And doesn't wait for its time-out."""
    daemon = Daemon(tmp_path / "control", clock)
    daemon.server.open()

    def end():
        wait_until(lambda: daemon.waiting, within=PATIENCE)
        daemon.server.close()

    thread = threading.Thread(target=end)
    thread.start()
    with pytest.raises(ServerEnded, match="ended before it answered"):
        daemon.ask("wait")
    thread.join()


def test_time_for_an_answer_is_that_for_all_of_it(tmp_path, clock):
    """A server that sends a byte now and then holds nobody up for longer."""

    def drip(server):
        client, _ = server.accept()
        gone = select.poll()
        gone.register(client, 0)
        with client, suppress(OSError):
            for _ in range(200):
                if gone.poll(50):
                    return
                client.sendall(b" ")

    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "control"))
        server.listen()
        dripping = threading.Thread(target=drip, args=(server,), daemon=True)
        dripping.start()
        with (
            connect([tmp_path / "control"], {os.geteuid()}, clock, 0.4) as connection,
            pytest.raises(ServerSilent, match=r"within 0\.4 s"),
        ):
            connection.ask("status", {})
        dripping.join(PATIENCE)
