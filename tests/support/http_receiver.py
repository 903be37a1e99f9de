"""A server, by default on the loopback, that keeps what it is sent: for what services and monitors get by HTTP.

It needs Python alone, and is a program, too, so that it is also the far end in a machine without a network.
"""

from __future__ import annotations

import base64
import contextlib
import http.server
import json
import queue
import sys
import threading
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple, Self

SHUTDOWN_POLL = 0.02
"""Seconds between two looks of a server whether it shall end."""
PATIENCE = 60.0
"""Seconds after which an expected request counts as missing."""


class Received(NamedTuple):
    """One request that arrived."""

    method: str
    path: str
    body: bytes
    key: str | None = None
    """Its X-Api-Key."""
    login: str = ""
    """Name and password of its Authorization, with a colon between them."""

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class HttpReceiver:
    """A server that keeps what it is sent, and answers with `code`; it hangs while `gate` is cleared."""

    def __init__(self, port: int = 0, address: str = "127.0.0.1") -> None:
        self.requests: queue.Queue[Received] = queue.Queue()
        self.code = 200
        self.gate = threading.Event()
        self.gate.set()
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                receiver.gate.wait(PATIENCE)
                scheme, _, login = self.headers.get("Authorization", "").partition(" ")
                login = base64.b64decode(login).decode() if scheme == "Basic" else ""
                request = Received(self.command, self.path, body, self.headers.get("X-Api-Key"), login)
                code = receiver.hear(request) if receiver.code < HTTPStatus.MULTIPLE_CHOICES else receiver.code
                with contextlib.suppress(OSError):  # who asked may have given up
                    self.send_response(code)
                    self.send_header("Content-Length", "2")
                    self.end_headers()
                    self.wfile.write(b"{}")

            do_GET = do_PUT = do_POST  # noqa: N815 - its protocol

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer((address, port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(SHUTDOWN_POLL,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.gate.set()
        self._server.shutdown()
        self._server.server_close()

    def hear(self, request: Received) -> int:
        """Take a request; return the code of the answer. Its own thread."""
        self.requests.put(request)
        return self.code

    def answer_with(self, code: int) -> None:
        """Answer with that from now on; only what is answered with success is kept."""
        self.code = code

    def next(self) -> Received:
        """Return the next request."""
        return self.requests.get(timeout=PATIENCE)


def main(port: str, file: str, address: str = "127.0.0.1") -> None:
    """Write each request to the end of a file, its path, body and key."""
    with Path(file).open("a", buffering=1) as arrived, HttpReceiver(int(port), address) as receiver:
        while True:
            request = receiver.requests.get()
            print(json.dumps([request.path, request.body.decode(errors="replace"), request.key]), file=arrived)


if __name__ == "__main__":
    main(*sys.argv[1:])
