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

KEPT_SECONDS: Final = 60.0
"""For a lookup that has failed not to be repeated."""

_names: dict[int, str] = {}
_failed_at: dict[int, float] = {}
"""On the monotonic clock."""
_search = threading.Lock()
"""Held by the one lookup that is under way; where the directory service hangs, that may be for ever."""


class Peer(Struct, frozen=True):
    """Who is at the other end."""

    pid: int
    uid: int
    groups: frozenset[int] = frozenset()

    def may_ask(self, owner: int, group: int | None) -> bool:
        """Whether root, the ``owner``, or a member of ``group`` asks."""
        return self.uid in (0, owner) or (group is not None and group in self.groups)


def peer_of(connection: socket.socket) -> Peer:
    """Return who has connected, or who listens; raise `OSError` where the kernel doesn't say it."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, uid, gid = struct.unpack("3i", credentials)
    groups = {gid}
    with suppress(OSError):
        found = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _MAX_GROUP_BYTES)
        groups |= {number for (number,) in struct.iter_unpack("I", found)}
    return Peer(pid, uid, frozenset(groups))


def look_up_user(uid: int, now: float) -> str:
    """Return the name of a user, ``uid 1000`` where it is not found within `NAME_SECONDS`.

    It is asked for once; after a failure, at ``now`` on the monotonic clock, not again for `KEPT_SECONDS`. The number
    is returned at once, too, while an earlier lookup has not come back.
    """
    if uid in _names:
        return _names[uid]
    failed_at = _failed_at.get(uid)
    if (failed_at is None or now - failed_at >= KEPT_SECONDS) and _search.acquire(blocking=False):
        _failed_at[uid] = now  # of no account once the name is known
        search = threading.Thread(target=_look_up, args=(uid,), daemon=True)
        try:
            search.start()
        except RuntimeError:  # there is no thread to be had
            _search.release()
        else:
            search.join(NAME_SECONDS)
    return _names.get(uid, f"uid {uid}")


def _look_up(uid: int) -> None:
    try:
        with suppress(KeyError, OSError):
            _names[uid] = one_line(pwd.getpwuid(uid).pw_name)
    finally:
        _search.release()
