"""An empty file system whose server a test can stop (SIGSTOP) and let go on (SIGCONT), and that refuses every lock.

``python3 fuse_server.py DIRECTORY`` mounts it, as root, and serves it until it is killed. Of FUSE's protocol
(linux/fuse.h) it has what a look at the directory and the opening of a new file take. A server that is stopped leaves
the kernel, and whoever looks, waiting; one without a lock service answers ENOLCK.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
import sys
from pathlib import Path

LOOKUP, FORGET, GETATTR, STATFS, RELEASE, INIT, OPENDIR, READDIR, RELEASEDIR = 1, 2, 3, 17, 18, 26, 27, 28, 29
LOCK, LOCK_WAIT, CREATE, INTERRUPT, FORGET_SEVERAL = 32, 33, 35, 36, 42
REQUEST_BYTES = 1 << 17
DEVICE = os.makedev(10, 229)
ASKS_FOR_LOCKS = 1 << 10
"""FUSE_FLOCK_LOCKS: else the kernel has flock(2) by itself."""

ROOT, FILE = 1, 2
"""Node numbers."""


def attributes(node: int) -> bytes:
    """Return those of a node, root's."""
    mode = stat.S_IFDIR | 0o755 if node == ROOT else stat.S_IFREG | 0o600
    return struct.pack("<6Q10I", node, 0, 0, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)


# What is known of a node is to be asked for again each time: for 0 seconds it is valid.
ANSWERS = {
    INIT: struct.pack("<4I2H2I2H8I", 7, 31, 0, ASKS_FOR_LOCKS, 0, 0, 4096, 1, 0, 0, *(0,) * 8),
    STATFS: struct.pack("<5Q10I", 1 << 20, 1 << 20, 1 << 20, 0, 0, 4096, 255, 4096, *(0,) * 7),
    CREATE: struct.pack("<4Q2I", FILE, 0, 0, 0, 0, 0) + attributes(FILE) + bytes(16),
    OPENDIR: bytes(16),
    READDIR: b"",
    RELEASEDIR: b"",
    RELEASE: b"",
}
ERRORS = {LOOKUP: errno.ENOENT, LOCK: errno.ENOLCK, LOCK_WAIT: errno.ENOLCK}
"""Of all that has neither, ENOSYS."""
NOT_ANSWERED = (FORGET, INTERRUPT, FORGET_SEVERAL)


def mount(directory: Path) -> int:
    """Mount the file system; return the descriptor of the kernel's requests."""
    device = directory.parent / f".fuse-{os.getpid()}"
    os.mknod(device, stat.S_IFCHR | 0o600, DEVICE)
    kernel = os.open(device, os.O_RDWR)
    device.unlink()
    options = f"fd={kernel},rootmode=40000,user_id=0,group_id=0,allow_other"
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"fuse_server", os.fsencode(directory), b"fuse", 0, options.encode()):
        raise OSError(ctypes.get_errno(), "mount")
    return kernel


def serve(kernel: int) -> None:
    """Answer each request."""
    while True:
        _, operation, number, node = struct.unpack_from("<IIQQ", os.read(kernel, REQUEST_BYTES))
        if operation in NOT_ANSWERED:
            continue
        answer = bytes(16) + attributes(node) if operation == GETATTR else ANSWERS.get(operation)
        error = 0 if answer is not None else -ERRORS.get(operation, errno.ENOSYS)
        os.write(kernel, struct.pack("<IiQ", 16 + len(answer or b""), error, number) + (answer or b""))


if __name__ == "__main__":
    served = mount(Path(sys.argv[1]))
    print(os.getpid(), flush=True)
    serve(served)
