"""The process at the other end of a Unix socket, by the kernel's word."""

from __future__ import annotations

import pwd
import socket
import struct
import threading
from contextlib import suppress
from typing import Final

from msgspec import Struct

from plantimager.timelapse.support.text import one_line

_SO_PEERGROUPS: Final = 59
"""Not in Python's module; the same number on all architectures that systemd runs on but three of the past."""
_MAX_GROUP_BYTES: Final = 1024
"""The most that Python asks the kernel for: 256 groups. Of somebody in more, only the first counts."""
NAME_SECONDS: Final = 1.0
"""For the name of a user, which a directory service may hold that doesn't answer."""

_names: dict[int, str] = {}


class Peer(Struct, frozen=True):
    """Who is at the other end."""

    pid: int
    uid: int
    groups: frozenset[int] = frozenset()

    def may_ask(self, owner: int, group: int | None) -> bool:
        """Whether root, the ``owner``, or a member of ``group`` asks."""
        return self.uid in (0, owner) or (group is not None and group in self.groups)


def peer_of(connection: socket.socket) -> Peer:
    """Return who has connected, or who listens.

    Raises
    ------
    OSError
        The kernel doesn't say it.
    """
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, uid, gid = struct.unpack("3i", credentials)
    groups = {gid}
    with suppress(OSError):
        found = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _MAX_GROUP_BYTES)
        groups |= {number for (number,) in struct.iter_unpack("I", found)}
    return Peer(pid, uid, frozenset(groups))


def look_up_user(uid: int) -> str:
    """Return the name of a user, ``uid 1000`` where it is not found within `NAME_SECONDS`. It is asked for once."""
    if uid not in _names:
        found: list[str] = []

        def look() -> None:
            with suppress(KeyError, OSError):
                found.append(one_line(pwd.getpwuid(uid).pw_name))

        search = threading.Thread(target=look, daemon=True)
        search.start()
        search.join(NAME_SECONDS)
        if not found:
            return f"uid {uid}"
        _names[uid] = found[0]
    return _names[uid]
