"""Putting an attempt on disk: every file is made readable by the group, synced and given a digest, with progress."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from plantimager.timelapse.datasets.receipt import RECEIPT
from plantimager.timelapse.support.durable import sync_directory

if TYPE_CHECKING:
    from collections.abc import Callable

    from plantimager.timelapse.support.progress import Report

GROUP_DIRECTORY: Final = 0o750
GROUP_FILE: Final = 0o640
"""Datasets are read by members of the group: by them alone, whatever the umask."""

CHUNK_BYTES: Final = 1 << 22
"""Of a file, put on disk between two reports: four seconds on the slowest of cards."""

WORKERS: Final = 4
"""Files that are put on disk at the same time."""

BLOCK_BYTES: Final = 1 << 18
"""Read at a time."""

_WAIT_AND_WRITE: Final = 7
"""``SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER``."""

_NOT_OFFERED: Final = (errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.ESPIPE, errno.EOPNOTSUPP)


def sync_tree(directory: Path, report: Report) -> dict[str, str]:
    """Sync everything in a directory to disk; return the SHA-256 of each file but the receipt, by its path in it.

    ``report`` is called with a sentence after every file and directory, and after every chunk of a large file.

    Raises
    ------
    OSError
        The disk refuses something. The kernel reports that once: another sync would seem to succeed.
    """
    folders = [(Path(folder), names) for folder, _, names in os.walk(directory, topdown=False)]
    paths = [folder / name for folder, names in folders for name in sorted(names)]
    words = [f"putting file {number} of {len(paths)} on disk" for number in range(1, len(paths) + 1)]
    digests: dict[str, str] = {}
    refused: list[OSError] = []

    def sync(path: Path, report: Callable[[], None]) -> str | None:
        try:
            return _sync_file(path, report)
        except OSError as problem:
            refused.append(problem)
            raise

    # Together: a card or a file server writes several files in little more than the time of one.
    try:
        with ThreadPoolExecutor(WORKERS, thread_name_prefix="sync") as pool:
            results = pool.map(sync, paths, ([partial(report, sentence) for sentence in words]))
            for path, sentence, digest in zip(paths, words, results, strict=True):
                report(sentence)
                if digest is not None and path != directory / RECEIPT:
                    digests[str(path.relative_to(directory))] = digest
    except BaseException:  # a report may break it off: what the disk refused meanwhile is raised all the same
        if refused:
            raise refused[0] from None
        raise
    for folder, _ in folders:
        open_to_group(folder)
        sync_directory(folder)
        report(f"putting file {len(paths)} of {len(paths)} on disk")  # with its name
    return digests


def make_group_directory(directory: Path) -> None:
    """Make a directory and its parents, readable by their group whatever the umask; one that exists stays as it is.

    Raises
    ------
    OSError
        It can't be made.
    """
    try:
        directory.mkdir()
    except FileNotFoundError:
        make_group_directory(directory.parent)
        directory.mkdir()
    except FileExistsError:
        if not directory.is_dir():
            raise
        return
    open_to_group(directory)


def open_to_group(directory: Path) -> None:
    """Make a directory readable by its group; a set-group-ID bit stays: what is in it inherits its group."""
    mode = stat.S_IMODE(directory.stat().st_mode)
    wanted = mode & stat.S_ISGID | GROUP_DIRECTORY
    if mode == wanted:
        return
    try:
        directory.chmod(wanted)
    except PermissionError:  # RestrictSUIDSGID= of a unit refuses the bit, also where it is set already
        directory.chmod(GROUP_DIRECTORY)


def _sync_file(path: Path, report: Callable[[], None]) -> str | None:
    """Sync a regular file, and return its digest. A link or a FIFO that a program left there is skipped.

    So is a file of another user that this one may not read.
    """
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        return None
    digest = hashlib.sha256()
    try:
        if status.st_uid == os.geteuid():
            path.chmod(status.st_mode & stat.S_IRWXU | GROUP_FILE & ~stat.S_IWUSR)
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except PermissionError:
        return None
    try:
        done = on_disk = 0
        while block := os.read(descriptor, BLOCK_BYTES):
            digest.update(block)
            done += len(block)
            if done - on_disk >= CHUNK_BYTES:
                _write_back(descriptor, on_disk, done - on_disk)
                on_disk = done
                report()
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return digest.hexdigest()


def _write_back(descriptor: int, start: int, count: int) -> None:
    """Write a part of a file to disk and wait for it, so that the sync of the whole has little left to do.

    Raises
    ------
    OSError
        The disk refuses it: the sync would no longer report it.
    """
    function = _sync_file_range()
    if function is not None and function(descriptor, ctypes.c_int64(start), ctypes.c_int64(count), _WAIT_AND_WRITE):
        number = ctypes.get_errno()
        if number not in _NOT_OFFERED:
            raise OSError(number, os.strerror(number))


@cache
def _sync_file_range() -> Any:
    """Return the function of the C library, None where it has none."""
    return getattr(ctypes.CDLL(None, use_errno=True), "sync_file_range", None)
