"""Putting an attempt on disk: every file is made readable by the group, given a digest, and synced, with progress."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from plantimager.timelapse.datasets.receipt import RECEIPT
from plantimager.timelapse.support.durable import sync_directory
from plantimager.timelapse.support.file_system import walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from plantimager.timelapse.support.progress import Report

T = TypeVar("T")

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


def digest_tree(directory: Path, report: Report) -> dict[str, str]:
    """Return the SHA-256 of each file in a directory but the receipt, by its path in it.

    Nothing is written for it: the sync of the receipt, which follows, might wait for that without a report. Files and
    directories are made readable by the group. ``report`` is called as by `sync_tree`.

    Raises
    ------
    OSError
        Something can't be read.
    """
    digests = dict(_for_each_file(directory, _digest_file, "reading file {} of {}", report))
    for folder, _, _ in walk(directory):
        open_to_group(folder)
    return {str(path.relative_to(directory)): digest for path, digest in digests.items() if digest is not None}


def sync_tree(directory: Path, report: Report) -> None:
    """Sync everything in a directory to disk but the content of the receipt, which was when it was written.

    ``report`` is called with a sentence after every file and directory, and after every chunk of a large file.

    Raises
    ------
    OSError
        The disk refuses something. The kernel reports that once: another sync would seem to succeed.
    """
    words = "putting file {} of {} on disk"
    count = sum(1 for _ in _for_each_file(directory, _sync_file, words, report))
    for folder, _, _ in walk(directory, top_down=False):
        sync_directory(folder)
        report(words.format(count, count))  # with its name


def forget_cached(directory: Path) -> None:
    """Have the files of a directory, which are synced, read from the disk from now on: memory may have what it lacks.

    Raises
    ------
    OSError
        Something can't be read.
    """
    for folder, _, names in walk(directory):
        for name in names:
            with _opened(folder / name) as descriptor:
                if descriptor is not None:
                    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


def _for_each_file(
    directory: Path, do: Callable[[int, Callable[[], None]], T], words: str, report: Report
) -> Iterator[tuple[Path, T | None]]:
    """Yield each file of a directory but the receipt, and what ``do`` returns for it; ``None`` for one to be skipped.

    Together: a card or a file server writes several files in little more than the time of one.
    """
    paths = sorted(folder / name for folder, _, names in walk(directory) for name in names)
    paths = [path for path in paths if path != directory / RECEIPT]
    sentences = [words.format(number, len(paths)) for number in range(1, len(paths) + 1)]
    refused: list[OSError] = []

    def call(path: Path, sentence: str) -> T | None:
        try:
            with _opened(path) as descriptor:
                return None if descriptor is None else do(descriptor, partial(report, sentence))
        except OSError as problem:
            refused.append(problem)
            raise

    try:
        with ThreadPoolExecutor(WORKERS, thread_name_prefix="sync") as pool:
            for path, sentence, result in zip(paths, sentences, pool.map(call, paths, sentences), strict=True):
                report(sentence)
                yield path, result
    except BaseException:  # a report may break it off: what the disk refused meanwhile is raised all the same
        if refused:
            raise refused[0] from None
        raise


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


@contextmanager
def _opened(path: Path) -> Iterator[int | None]:
    """Open a regular file to be read, by its group too. A link or a FIFO that a program left there is skipped.

    So is a file of another user that this one may not read.
    """
    descriptor = None
    status = path.lstat()
    if stat.S_ISREG(status.st_mode):
        is_own = status.st_uid == os.geteuid()
        with suppress(PermissionError):  # also of a file system without modes
            if is_own:
                path.chmod(status.st_mode & stat.S_IRWXU | GROUP_FILE & ~stat.S_IWUSR)
        with nullcontext() if is_own else suppress(PermissionError):
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _digest_file(descriptor: int, report: Callable[[], None]) -> str:
    """Return the digest of a file."""
    digest = hashlib.sha256()
    unreported = 0
    while block := os.read(descriptor, BLOCK_BYTES):
        digest.update(block)
        unreported += len(block)
        if unreported >= CHUNK_BYTES:
            unreported = 0
            report()
    return digest.hexdigest()


def _sync_file(descriptor: int, report: Callable[[], None]) -> None:
    """Sync a file, so that little is left to do for the sync of the whole."""
    for start in range(0, os.fstat(descriptor).st_size - CHUNK_BYTES, CHUNK_BYTES):
        _write_back(descriptor, start, CHUNK_BYTES)
        report()
    os.fsync(descriptor)


def _write_back(descriptor: int, start: int, count: int) -> None:
    """Write a part of a file to disk, and wait for it.

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
