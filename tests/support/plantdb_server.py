"""PlantDB's real REST server on loopback, as a process, with a gate before it that makes faults happen.

Run as a program, this module is the server: its own command line, where only open3d, which serving scans doesn't touch,
is stood in for.
"""

from __future__ import annotations

import contextlib
import importlib.abc
import importlib.machinery
import os
import random
import re
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import types
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, Self

import httpx
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE: Final = 60.0
OK: Final = 200
USER: Final = "admin"
PASSWORD: Final = "admin"
"""Of the user that a new database has."""


class PlantDbServer:
    """One server on one directory. It can be killed, frozen and started again."""

    def __init__(self, directory: Path, **environment: str) -> None:
        self.directory = directory
        directory.mkdir(exist_ok=True)
        (directory / "romidb").touch()
        self.port = free_port()
        # Tokens of before a restart are unknown after it, as with a server that makes its secret itself.
        self._environment = {**os.environ, "MAX_SESSION": "1000", "TMPDIR": str(directory.parent), **environment}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        words = ["-db", str(self.directory), "--host", "127.0.0.1", "--port", str(self.port)]
        log = (self.directory.parent / "plantdb.log").open("ab")
        with log:
            self._process = subprocess.Popen(
                [sys.executable, __file__, *words], env=self._environment, stdout=log, stderr=log
            )
        wait_until(self._is_healthy, within=PATIENCE, what="the server's health")

    def _is_healthy(self) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            return self.get("/api/v1/health").status_code == OK
        return False

    def get(self, path: str, token: str = "") -> httpx.Response:
        """Return the server's answer to anybody, or to the bearer of a token."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.get(f"{self.url}{path}", timeout=PATIENCE, trust_env=False, headers=headers)

    def post(self, path: str, token: str = "", **body: object) -> httpx.Response:
        """Return the server's answer to a JSON body."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.post(f"{self.url}{path}", timeout=PATIENCE, trust_env=False, headers=headers, json=body)

    def log_in(self) -> str:
        """Return a token of the administrator."""
        answer = self.post("/api/v1/auth/login", username=USER, password=PASSWORD)
        return answer.json()["access_token"]

    def listed(self) -> dict[str, dict]:
        """Return its list of all scans, by their ids; a test fails here where that list fails."""
        answer = self.get("/api/v1/scans/info")
        assert answer.status_code == OK, answer.text
        return {scan["id"]: scan for scan in answer.json()}

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def start_again(self) -> None:
        """Start it once it was killed."""
        wait_until(lambda: self._process is None, within=PATIENCE, what="the server's end")
        self.start()

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)


def free_port() -> int:
    """Return a port that nobody listens on, below those that the kernel gives to connections.

    One of theirs may be taken before the server listens, or while it is off: by a client of another test, or by one of
    this server, which is then connected to itself.
    """
    while True:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", random.SystemRandom().randrange(10_000, 32_000)))
            return probe.getsockname()[1]


class KillableServer(Protocol):
    """A server of HTTP on loopback."""

    port: int

    def kill(self) -> None:
        """End it at once."""


class Gate:
    """A TCP proxy before a server that counts requests, and may act after each.

    ``act(number, request_line)`` is called when a request has been read as far as its first piece, and its word says
    what happens: ``"pass"``; ``"reset"`` cuts the connection when the server has half of the first piece;
    ``"mute"`` lets the server do it, but keeps its answer back; ``"kill"`` does so and kills the server then; any bytes
    are answered in the server's place.
    """

    def __init__(self, server: KillableServer) -> None:
        self.server = server
        self.requests: list[str] = []
        self.act: Callable[[int, str], str | bytes] = lambda _number, _line: "pass"
        self.n_left = 0
        """How many requests a client has left, answered or not."""
        self.token = ""
        """The last one that a client had."""
        self.address = 1
        """The client's address that the server sees: its limits are per address."""
        gate = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with contextlib.suppress(OSError):
                    gate._serve(self.request)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            allow_reuse_address = True

        self._listener = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._listener.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown()
        self._listener.server_close()

    @property
    def port(self) -> int:
        return self._listener.server_address[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def renew(self) -> None:
        """Forget the requests, and be another client for the server."""
        self.requests.clear()
        self.address = self.address % 250 + 1

    def _serve(self, client: socket.socket) -> None:
        # One request per connection: PlantDB closes it after its answer, others are asked to.
        head = client.recv(1 << 16)
        if not head:
            return
        if b"\r\nConnection:" not in head:
            head = head.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
        line = head.split(b"\r\n", 1)[0].decode().removesuffix(" HTTP/1.1")
        self.requests.append(line)
        if found := re.search(rb"(?i)authorization: bearer (\S+)", head):
            self.token = found[1].decode()
        word = self.act(len(self.requests), line)
        if isinstance(word, bytes):
            client.sendall(word)
            return
        if word == "reset":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        with socket.create_connection(
            ("127.0.0.1", self.server.port), timeout=PATIENCE, source_address=(f"127.0.0.{self.address}", 0)
        ) as server:
            if word == "reset":
                server.sendall(head[: len(head) // 2])
                return
            server.sendall(head)
            threading.Thread(target=self._copy, args=(client, server), daemon=True).start()
            while piece := server.recv(1 << 16):
                if word == "pass":
                    client.sendall(piece)
            if word == "kill":
                self.server.kill()

    def _copy(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := client.recv(1 << 16):
                server.sendall(piece)
        self.n_left += 1
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_WR)


class _StandIn(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the packages that are too large for a test, and that serving scans doesn't touch."""

    NAMES = frozenset({"open3d"})

    def find_spec(self, name, _path=None, _target=None):
        is_ours = name.partition(".")[0] in self.NAMES
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if is_ours else None

    def create_module(self, spec):
        return types.ModuleType(spec.name)

    def exec_module(self, module):
        module.io = None


if __name__ == "__main__":
    sys.path.remove(str(Path(__file__).parent))
    sys.meta_path.append(_StandIn())
    from plantdb.server.cli.fsdb_rest_api import main

    main()
