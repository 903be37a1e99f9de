"""Attackers of a control socket: requests with changes, and clients that break off, trickle, flood or never read."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import sys
from collections import deque
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from fuzzing import vary_bytes, vary_json

from plantimager.timelapse.channel.control_request import MAX_REQUEST_BYTES
from plantimager.timelapse.channel.message import MessageFaulty, MessageReader

if TYPE_CHECKING:
    from collections.abc import Iterator

BOMB = b".".join([b"a"] * 30_000) + b" = 1"
HOLDS = 12
"""Connections that are kept open, without an end."""
OPEN = 12
"""Connections that wait for their answers. With those that are held it is fewer than the daemon takes."""
TIMEOUT = 60


def origins(definition: bytes) -> tuple[list[bytes], list[int]]:
    """Return whole requests that change nothing while a timelapse is active, and how often each is sent.

    Those for which the daemon has to read a definition are a twentieth: they cost it most.
    """
    lines: list[tuple[int, dict[str, object], bytes]] = [
        (20, {"command": "status"}, b""),
        (25, {"command": "status", "seen": "x"}, b""),
        (10, {"command": "rig", "action": "format"}, b""),
        (25, {"command": "cancel", "timelapse_id": "another"}, b""),
        (5, {"command": "archives"}, b""),
        (5, {"command": "archive", "name": "none"}, b""),
        (5, {"command": "verify", "file": "store"}, b""),
        (2, {"command": "start", "file": "x.toml"}, definition),
        (1, {"command": "start", "file": "x.toml"}, BOMB),
        (1, {"command": "check", "names": ["x.toml"]}, definition),
        (1, {"command": "check", "names": ["x.toml"]}, BOMB),
    ]
    texts = [
        json.dumps({"version": 1, **line, "files": [len(content)] if content else []}).encode() + b"\n" + content
        for _, line, content in lines
    ]
    return texts, [often for often, *_ in lines]


def varied(origin: bytes, dice: Random) -> bytes:
    """Return a request with changes in its line, or anywhere."""
    line, _, content = origin.partition(b"\n")
    for _ in range(dice.randint(0, 3)):
        line = (vary_json if dice.random() < 0.5 else vary_bytes)(line, dice)[:70_000]
    text = line.replace(b"\n", b" ") + b"\n" + content
    return vary_bytes(text, dice) if dice.random() < 0.1 else text


def is_harmless(text: bytes) -> bool:
    """Whether no daemon could take a text for the cancellation of its timelapse, or for a scan on trial."""
    line = text.partition(b"\n")[0]
    if b"cancel" not in line:
        return b"try" not in line
    try:
        named = json.loads(line).get("timelapse_id", "")
    except (ValueError, RecursionError, AttributeError):
        return True  # no request
    return isinstance(named, str) and "another" in named


def attack(path: str, count: int, seed: int, definition: bytes) -> None:
    """Connect ``count`` times, and do something else each time; several connections are open at once.

    Nobody waits for what never comes: a request that isn't whole keeps its place until others need it.
    """
    dice, waiting, held = Random(seed), deque[Client](), deque[socket.socket](maxlen=HOLDS)
    for text in _texts(dice, count, definition):
        client = Client(path)
        waits = client.send(text[: dice.randint(0, len(text))] if dice.random() < 0.2 else text, dice.randint(0, 9))
        if waits is None:
            held.append(client.socket)  # neither read nor closed until others take its place
        else:
            waiting.append(client)
        if len(waiting) > OPEN:
            waiting.popleft().end()
    for client in waiting:
        client.end()


class Client:
    """One connection of an attacker."""

    def __init__(self, path: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        for option in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):  # one of Python's own wouldn't wait to be accepted
            self.socket.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", TIMEOUT, 0))
        self._is_answered = False
        self.socket.connect(path)

    def send(self, text: bytes, what: int) -> bool | None:
        """Send a request, and do what broken clients do; return whether there is an answer, ``None`` to hold it."""
        with contextlib.suppress(OSError):
            self.socket.sendall(text)
            match what:
                case 0:
                    self.socket.shutdown(socket.SHUT_WR)
                case 1:
                    return None
                case 2:
                    self.socket.close()
                case _:
                    self._is_answered = is_whole(text)
        return self._is_answered

    def end(self) -> None:
        """Read the answer, where there is one, and close the connection."""
        with contextlib.suppress(OSError):
            while self._is_answered and self.socket.recv(65536):
                pass
        self.socket.close()


def is_whole(text: bytes) -> bool:
    """Whether a service answers a text: it holds a request, or what can't become one."""
    try:
        return MessageReader(max_files_bytes=MAX_REQUEST_BYTES).feed(text) is not None
    except MessageFaulty:
        return True


def _texts(dice: Random, count: int, definition: bytes) -> Iterator[bytes]:
    known, often = origins(definition)
    while count:
        text = varied(*dice.choices(known, often), dice)
        if is_harmless(text):
            count -= 1
            yield text


if __name__ == "__main__":
    control, content = Path(sys.argv[1]), Path(sys.argv[3]).read_bytes()
    os.chdir(control.parent)  # its whole path may be longer than the kernel's 107 bytes
    attack(control.name, int(sys.argv[2]), 0, content)
