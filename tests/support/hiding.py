"""Directories of this machine that no test may see: empty file systems over them, for this process and its children.

A machine that keeps timelapses has a configuration and stores of its own, in places that the program looks into. They
are hidden in a mount namespace of the test run; the machine itself does not change.
"""

from __future__ import annotations

import ctypes
import os
import pwd
from pathlib import Path
from typing import TYPE_CHECKING, Final

from leave_chroot import CLONE_NEWNS, MS_PRIVATE, MS_REC, call, libc

if TYPE_CHECKING:
    from collections.abc import Sequence

APPLICATION: Final = "plant-imager3-app"
CLONE_NEWUSER: Final = 0x10000000
_CAPABILITY_VERSION_3: Final = 0x20080522


def directories_of_the_machine() -> list[Path]:
    """Return the directories of rigs that are kept by this machine, or by the person who runs this."""
    home = Path(pwd.getpwuid(os.getuid()).pw_dir)
    places = [Path("/etc"), Path("/var/lib"), Path("/run"), home / ".config", home / ".local/share"]
    return [directory for place in places if os.access(directory := place / APPLICATION, os.F_OK)]


def hide(directories: Sequence[Path]) -> None:
    """Let this process, which has one thread, and its children find each directory empty.

    Raises
    ------
    OSError
        The kernel gives this user no namespace.
    """
    user, group = os.geteuid(), os.getegid()
    if user == 0:
        call("unshare", CLONE_NEWNS)
    else:
        call("unshare", CLONE_NEWUSER | CLONE_NEWNS)
        for name, words in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
            Path("/proc/self", name).write_bytes(words.encode())
    call("mount", b"none", b"/", None, MS_REC | MS_PRIVATE, None)
    for directory in directories:
        call("mount", b"tmpfs", os.fsencode(directory), b"tmpfs", 0, b"mode=0755")
    if user != 0:
        _drop_capabilities()


def _drop_capabilities() -> None:
    """Give up what the new user namespace allows: an ordinary user's tests expect to be refused by file modes."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    if libc.capset(header, (ctypes.c_uint32 * 6)()) != 0:
        raise OSError(ctypes.get_errno(), "capset")
