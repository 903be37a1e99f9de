"""Attackers of a control socket: requests with changes, and clients that break off, trickle, flood or never read."""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import threading
from collections import deque
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from fuzzing import vary_bytes, vary_json

if TYPE_CHECKING:
    from collections.abc import Iterator

BOMB = b".".join([b"a"] * 30_000) + b" = 1"
HOLDS = 4
"""Connections that each attacker keeps open, without an end."""
ATTACKERS = 4
TIMEOUT = 5.0


def origins(definition: bytes) -> list[bytes]:
    """Return whole requests that change nothing while a timelapse is active."""
    lines: list[tuple[dict[str, object], bytes]] = [
        ({"command": "status"}, b""),
        ({"command": "status", "seen": "x"}, b""),
        ({"command": "rig", "action": "format"}, b""),
        ({"command": "start", "file": "x.toml"}, definition),
        ({"command": "start", "file": "x.toml"}, BOMB),
        ({"command": "cancel", "timelapse_id": "another"}, b""),
        ({"command": "check", "names": ["x.toml"]}, definition),
        ({"command": "check", "names": ["x.toml"]}, BOMB),
    ]
    return [
        json.dumps({"version": 1, **line, "files": [len(content)] if content else []}).encode() + b"\n" + content
        for line, content in lines
    ]


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
    return b"another" in line if b"cancel" in line else b"try" not in line


def attack(path: str, count: int, seed: int, definition: bytes) -> None:
    """Connect ``count`` times, and do something else each time."""
    dice, held = Random(seed), deque[socket.socket](maxlen=HOLDS)
    for text in _texts(dice, count, definition):
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(TIMEOUT)
        with contextlib.suppress(OSError):
            client.connect(path)
            client.sendall(text[: dice.randint(0, len(text))] if dice.random() < 0.2 else text)
            match dice.randint(0, 9):
                case 0:
                    client.shutdown(socket.SHUT_WR)
                case 1:
                    held.append(client)  # neither read nor closed until others take its place
                    continue
                case 2:
                    pass
                case _:
                    while client.recv(65536):
                        pass
        client.close()
    for client in held:
        client.close()


def _texts(dice: Random, count: int, definition: bytes) -> Iterator[bytes]:
    known = origins(definition)
    while count:
        text = varied(dice.choice(known), dice)
        if is_harmless(text):
            count -= 1
            yield text


def main(path: str, count: int, definition: bytes) -> None:
    """Attack with several at a time."""
    attackers = [
        threading.Thread(target=attack, args=(path, count // ATTACKERS, seed, definition)) for seed in range(ATTACKERS)
    ]
    for attacker in attackers:
        attacker.start()
    for attacker in attackers:
        attacker.join()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]).read_bytes())
