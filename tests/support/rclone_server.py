"""A server of rclone on loopback, as a process: WebDAV, which has no hashes, or SFTP, which has."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import socketserver
import subprocess
import threading
from typing import TYPE_CHECKING, Final, Self

from plantdb_server import free_port
from relay_rig import RelayRig
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PATIENCE: Final = 60.0
USER: Final = "rig"
PASSWORD: Final = "s3cret-of-rclone"
KINDS: Final = ("webdav", "sftp")
RCLONE: Final = shutil.which("rclone")


class RcloneServer:
    """One server on one directory. It can be killed, frozen and started again."""

    def __init__(self, kind: str, directory: Path) -> None:
        self.kind, self.directory = kind, directory
        directory.mkdir(exist_ok=True)
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._ending = threading.Lock()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        # Without a cache of directories: tests change files below it.
        words = ["--addr", f"127.0.0.1:{self.port}", "--user", USER, "--pass", PASSWORD, "--dir-cache-time", "0s"]
        environment = {**os.environ, "RCLONE_CACHE_DIR": str(self.directory.parent / "cache"), "RCLONE_CONFIG": ""}
        with (self.directory.parent / "rclone-server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [RCLONE, "serve", self.kind, str(self.directory), *words],
                env=environment,
                stdout=log,
                stderr=log,
            )
        wait_until(self._answers, within=PATIENCE, what="the server")

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def kill(self) -> None:
        with self._ending:  # a gate kills it, too
            if self._process is not None:
                self._process.kill()
                self._process.wait()
                self._process = None

    @property
    def pid(self) -> int | None:
        """The process of the server, ``None`` where it doesn't run."""
        process = self._process
        return process.pid if process is not None else None

    def start_again(self) -> None:
        """Start it, and kill it before where it runs."""
        self.kill()
        self.start()

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def recover_from_a_cut(self) -> None:
        """Start WebDAV again: rclone 1.60's server, Debian 12's, answers nothing any more once a PUT was cut off."""
        if self.kind == "webdav":
            self.start_again()

    def configuration(self, port: int | None = None, password: str = PASSWORD) -> str:
        """Return rclone's configuration of a remote called ``lab``, behind a gate where it has another ``port``."""
        port = port or self.port
        done = subprocess.run([RCLONE, "obscure", password], capture_output=True, text=True, check=True)
        account = f"user = {USER}\npass = {done.stdout.strip()}\n"
        if self.kind == "webdav":
            return f"[lab]\ntype = webdav\nurl = http://127.0.0.1:{port}\nvendor = other\n{account}"
        return f"[lab]\ntype = sftp\nhost = 127.0.0.1\nport = {port}\n{account}"

    def files(self) -> dict[str, bytes]:
        """Return all files of the directory ``plants`` there, by their names below it."""
        top = self.directory / "plants"
        return {str(path.relative_to(top)): path.read_bytes() for path in top.rglob("*") if path.is_file()}


class RcloneRig(RelayRig):
    """A rig whose target is a remote of rclone."""

    target = "lab"

    def __init__(self, directory: Path, configuration: str) -> None:
        directory.mkdir(exist_ok=True)
        self.secret = directory / "rclone.conf"
        self.secret.write_text(configuration)
        self.secret.chmod(0o600)
        super().__init__(directory, "")

    def configure(self, *settings: str, user: str = "") -> None:
        """Write the configuration; ``settings`` are further keys of the target."""
        own = ['remote = "lab:plants"', f'rclone_config = "{self.secret}"']
        if not any(setting.startswith("timeout") for setting in settings):
            own.append('timeout = "30s"')  # on a busy machine each one that is over makes the relay wait longer
        self.place.configure("\n".join(["[relay.deliver.lab]", *own, *settings]))

    def sealed(self) -> dict[str, bytes]:
        """Return all files of all datasets here, by their names."""
        top = self.place.datasets
        return {str(path.relative_to(top)): path.read_bytes() for path in top.rglob("*") if path.is_file()}


class ByteGate:
    """A TCP proxy before a server that counts what clients send, and acts once at one byte of it.

    ``act()`` is called on a thread when ``limit`` bytes have gone through; what comes after them in that connection is
    kept back, so that the client is in the middle of something.
    """

    def __init__(self, server: RcloneServer) -> None:
        self.limit: int | None = None
        self.act: Callable[[], object] = lambda: None
        self.cuts = True
        self.sent = 0
        self._lock = threading.Lock()
        gate = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", server.port)) as to:
                    answers = threading.Thread(target=_copy, args=(to, self.request), daemon=True)
                    answers.start()
                    gate._serve(self.request, to)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            allow_reuse_address = True

        self._listener = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._listener.serve_forever, daemon=True)
        self.port = self._listener.server_address[1]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown()
        self._listener.server_close()

    def arm(self, limit: int | None, act: Callable[[], object] = lambda: None, *, cuts: bool = True) -> None:
        """Count from here on, and act at ``limit``; the connection goes on where nothing ``cuts`` it."""
        with self._lock:
            self.sent, self.limit, self.act, self.cuts = 0, limit, act, cuts

    def _serve(self, client: socket.socket, server: socket.socket) -> None:
        while piece := client.recv(1 << 12):
            with self._lock:
                self.sent += len(piece)
                act = self.act if self.limit is not None and self.sent >= self.limit else None
                if act is not None:
                    self.limit = None
            if act is not None:
                server.sendall(piece[: len(piece) // 2])
                act()
                if self.cuts:
                    return
                piece = piece[len(piece) // 2 :]
            server.sendall(piece)
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_WR)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(1 << 16):
            target.sendall(piece)
    with contextlib.suppress(OSError):  # the source has ended, or was reset
        target.shutdown(socket.SHUT_RDWR)
