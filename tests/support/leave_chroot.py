"""Run a command in a mount namespace whose root is this process's root directory, so that it is in no chroot.

    leave_chroot.py COMMAND [ARGUMENT...]

In a chroot the kernel refuses every user namespace, so a unit with PrivateUsers= can't start. pivot_root(2) makes the
directory a real root. It refuses a chroot as well, so this process first enters the namespace's own root. All mounts
that the command makes end with it. Linux, root only.
"""

from __future__ import annotations

import ctypes
import os
import sys
import tempfile
from pathlib import Path

CLONE_NEWNS = 0x00020000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
MNT_DETACH = 2

libc = ctypes.CDLL(None, use_errno=True)


def call(function: str, *arguments: object) -> None:
    """Call a function of libc; raise `OSError` unless it returns 0."""
    if getattr(libc, function)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{function}: {os.strerror(number)}")


def pivot() -> None:
    """Make the root directory the root of a new mount namespace, and the working directory."""
    with tempfile.TemporaryDirectory() as place:
        call("unshare", CLONE_NEWNS)
        root = os.open("/", os.O_PATH | os.O_DIRECTORY)
        own = os.open("/proc/self/ns/mnt", os.O_RDONLY)
        call("setns", own, CLONE_NEWNS)  # entering a namespace, also one's own, is entering its root
        call("mount", b"none", b"/", None, MS_REC | MS_PRIVATE, None)
        os.fchdir(root)
        inside = place.lstrip("/").encode()
        call("mount", b".", inside, None, MS_BIND | MS_REC, None)
        os.chdir(inside)
        call("pivot_root", b".", b".")
        call("umount2", b".", MNT_DETACH)
        os.chdir("/")


if __name__ == "__main__":
    here = Path.cwd()
    pivot()
    os.chdir(here)
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606 - this process becomes the command
