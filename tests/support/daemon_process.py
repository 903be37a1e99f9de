"""The real daemon as a child process, with directories and a notify socket of its own."""

from __future__ import annotations

import json
import os
import queue
import select
import signal
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PATIENCE = 60.0
"""Seconds after which an expected event counts as missing; a good run never waits so long."""

STORE = "timelapse_storage.json"

DAEMON = [sys.executable, "-m", "plantimager.timelapse.daemon.main"]
STRICT_DAEMON = [sys.executable, "-X", "dev", "-W", "error", *DAEMON[1:]]
"""The same, with warnings as errors."""
CTL = [sys.executable, "-m", "plantimager.timelapse.cli.main"]

PLAINLY = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
"""The prefix of a command that has to obey file modes, which root otherwise need not."""


class NeverHappened(AssertionError):
    """A condition didn't come true in time; the message has the lines of the daemon."""


class DaemonProcess:
    """One run of ``timelapsed`` in the foreground, by way of a program like ``setpriv`` where ``by`` names one."""

    def __init__(
        self,
        place: Place,
        *arguments: str,
        environment: dict[str, str] | None = None,
        by: Sequence[str] = (),
        program: Sequence[str] | None = None,
    ) -> None:
        self.lines: list[str] = []
        self._seen = 0
        self._arrived: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self.process = subprocess.Popen(
            [*by, *(program or STRICT_DAEMON), *arguments],
            env={**place.environment, **(environment or {})},
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        self.process.stderr.close()

    def _read(self) -> None:
        for line in self.process.stderr:
            self._arrived.put(line.rstrip("\n"))
        self._arrived.put(None)

    def wait_for(self, text: str, *, within: float = PATIENCE) -> str:
        """Return the next line with ``text``."""
        while True:
            while self._seen < len(self.lines):
                self._seen += 1
                if text in self.lines[self._seen - 1]:
                    return self.lines[self._seen - 1]
            self._next_line(text, within)

    def _next_line(self, wanted: str, within: float) -> None:
        try:
            line = self._arrived.get(timeout=within)
        except queue.Empty:
            line = None
        if line is None:
            raise NeverHappened(f"no {wanted!r} in:\n" + "\n".join(self.lines))
        self.lines.append(line)

    def kill(self) -> None:
        """Kill the daemon as a power cut does. A program that the driver started goes on, as after a real kill."""
        self.process.kill()
        self.process.wait(PATIENCE)

    def reload(self) -> None:
        self.process.send_signal(signal.SIGHUP)

    def stop(self) -> int:
        """Stop as systemd does; return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        """Return the exit code once the process has ended, all its lines read."""
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        while (line := self._arrived.get(timeout=PATIENCE)) is not None:
            self.lines.append(line)
        return code

    def said(self, action: str) -> list[str]:
        """Return the lines of one action so far."""
        return [line for line in self.lines if f"{action}: " in line]


class NotifySocket:
    """A notification socket in place of systemd's."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "notify"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.path))
        self.messages: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def wait_for(self, text: str) -> str:
        """Return the next message with ``text``."""
        while True:
            ready, _, _ = select.select([self._socket], [], [], PATIENCE)
            if not ready:
                raise NeverHappened(f"no {text!r} in {self.messages}")
            self.messages.append(self._socket.recv(65536).decode())
            if text in self.messages[-1]:
                return self.messages[-1]


class Place:
    """Data and configuration directories of one rig."""

    def __init__(self, directory: Path) -> None:
        self.data = directory / "data"
        self.config = directory / "config"
        self.storage = self.data / "plant-imager3-app"
        self.settings = self.config / "plant-imager3-app"
        self.settings.mkdir(parents=True)
        self.storage.mkdir(parents=True, mode=0o700)
        self.store = self.storage / STORE
        self.datasets = self.storage / "datasets"
        kept = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
        self.environment = {
            **kept,
            "TZ": "UTC",
            "XDG_DATA_HOME": str(self.data),
            "XDG_CONFIG_HOME": str(self.config),
        }

    def configure(self, text: str) -> None:
        (self.settings / "timelapsed.toml").write_text(text)

    def define(self, text: str) -> None:
        (self.settings / "timelapse.toml").write_text(text)

    def start(self, *arguments: str, **environment: str) -> DaemonProcess:
        return DaemonProcess(self, *arguments, environment=environment)

    def run_until(self, text: str) -> DaemonProcess:
        """Run the daemon until it logs ``text``, and stop it; return it with all its lines."""
        with self.start() as daemon:
            daemon.wait_for(text)
            assert daemon.stop() == 0
        return daemon

    def read(self) -> dict:
        """Return the store as it is on disk."""
        return json.loads(self.store.read_bytes())


def statuses(store: dict) -> list[str]:
    return [scan["status"] for scan in store["scans"]]


def attempt_of(store: dict, slot: int) -> int:
    """Return the number of a slot's last attempt; the store leaves out the first."""
    return store["extra"]["timelapsed"]["slots"].get(str(slot), {}).get("attempt", 1)
