"""A computer elsewhere, with a name server, in a network of its own. A rig reaches it by a cable, a virtual one.

Without it the rig has no address, no route and no name server.
"""

from __future__ import annotations

import socket
import struct
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Final, Self

import http_receiver
from host import run_on_host

if TYPE_CHECKING:
    from pathlib import Path

    from container import Rig

NAME: Final = "far.example.org"
ADDRESS, RIG_ADDRESS = "192.0.2.1", "192.0.2.2"
"""Of the networks that are set aside for examples."""
DOMAIN_PORT, WEB_PORT = 53, "80"
QUESTION: Final = 12
"""Where it begins in a packet of the domain name system."""
TYPE_A: Final = 1


class FarEnd:
    """Its process, which writes what arrives into a file, as `http_receiver` does."""

    def __init__(self, arrived: Path) -> None:
        command = ["unshare", "--net", "setpriv", "--pdeathsig=KILL", sys.executable, __file__, str(arrived)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self._process.stdout.readline()  # it is in its network, and listens

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._process:
            self._process.kill()

    def plug_in(self, rig: Rig) -> None:
        """Connect a rig that is on."""
        far, near = (["nsenter", f"--target={pid}", "--net", "ip"] for pid in (self._process.pid, rig.leader))
        run_on_host([*near, *f"link add name cable type veth peer name cable netns {self._process.pid}".split()])
        for ip, address in ((far, ADDRESS), (near, RIG_ADDRESS)):
            run_on_host([*ip, *f"address add {address}/24 dev cable".split()])
            run_on_host([*ip, "link", "set", "cable", "up"])
        run_on_host([*near, *f"route add default via {ADDRESS}".split()])
        rig.write("/etc/resolv.conf", f"nameserver {ADDRESS}\n")

    def unplug(self, rig: Rig) -> None:
        """Take the rig's network away."""
        run_on_host(["nsenter", f"--target={rig.leader}", "--net", "ip", "link", "delete", "cable"])


def answer_names() -> None:
    """Answer each question for an IPv4 address with that of the far end, and all others with none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("", DOMAIN_PORT))
        while True:
            packet, who = server.recvfrom(512)
            end = packet.index(0, QUESTION) + 5
            is_known = struct.unpack_from("!H", packet, end - 4)[0] == TYPE_A
            header = packet[:2] + struct.pack("!HHHHH", 0x8180, 1, is_known, 0, 0)
            answer = struct.pack("!HHHIH", 0xC000 | QUESTION, TYPE_A, 1, 0, 4) + socket.inet_aton(ADDRESS)
            server.sendto(header + packet[QUESTION:end] + answer * is_known, who)


if __name__ == "__main__":
    threading.Thread(target=answer_names, daemon=True).start()
    print(flush=True)
    http_receiver.main(WEB_PORT, sys.argv[1], "")
