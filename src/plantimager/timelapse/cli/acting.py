"""Root acting as the service: what the service's account may write is looked at with no more than its own rights."""

from __future__ import annotations

import os
import pwd
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def acting_as_owner(directory: Path) -> Iterator[None]:
    """Have root act as the owner of a directory: a link that is planted there leads only where its owner may go.

    So does one in the place of the directory itself, unless it is root's.

    It holds for the whole process, so one thread at a time does this. Another user stays what they are. So does root
    where the directory is not there, or this machine doesn't let root be another (a container without that right).
    """
    owner = None
    if os.geteuid() == 0:
        with suppress(OSError):
            owner = owned_stat(directory)
    if owner is None or owner.st_uid == 0:
        yield
        return
    groups, group = os.getgroups(), os.getegid()
    with suppress(OSError):
        os.setgroups(_groups_of(owner.st_uid, owner.st_gid))
        os.setegid(owner.st_gid)
        os.seteuid(owner.st_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
        with suppress(OSError):
            os.setgroups(groups)


def owned_stat(path: Path) -> os.stat_result:
    """Return mode and owner of a path: of what a link of root's leads to, else of a link itself; raise `OSError`."""
    found = path.lstat()
    return path.stat() if stat.S_ISLNK(found.st_mode) and found.st_uid == 0 else found


def _groups_of(uid: int, gid: int) -> list[int]:
    try:
        return os.getgrouplist(pwd.getpwuid(uid).pw_name, gid)
    except (KeyError, OSError):
        return [gid]
