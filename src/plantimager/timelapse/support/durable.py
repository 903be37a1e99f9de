"""Durable files: after a power cut there is the old file or the new one, whole.

A write makes a temporary file in the same directory, writes and fsyncs it, keeps the previous generation as
``<name>.bak``, renames the temporary file over the old one, and fsyncs the directory. A power cut may undo a
rename without that last step. A file that was renamed without an fsync before may be empty after it.

All functions that read or write raise `OSError` where the file system refuses; the sweeps leave what they can't delete.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import re
import stat
import tempfile
from math import inf
from typing import TYPE_CHECKING, Final

from plantimager.timelapse.support.file_system import describe_disk_error, existing, is_there

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

PRIVATE_FILE: Final = 0o600
PRIVATE_DIRECTORY: Final = 0o700
MAX_PIECES: Final = 1024
"""``IOV_MAX``, the number of pieces that one writev(2) takes."""
_NO_HARD_LINKS: Final = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)

_TEMPORARY: Final = r"(?:\.bak|\.(?:corrupt|foreign)-[0-9TZ-]+)?\.?[a-z0-9_]{8}\.tmp"
"""The part of a temporary file's name that follows the name of its file.

Without the dot it is a temporary file of the community's controller.
"""
_TEMPORARY_OF_OURS: Final = r".+\.(?:json|toml)\.[a-z0-9_]{8}\.tmp"


class FileTooLarge(OSError):
    """A file is larger than its reader accepts."""


def make_private_directory(path: Path) -> None:
    """Make a directory and its parents, with mode 0700; a directory that exists keeps its mode."""
    path.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)


def read_regular(path: Path, max_bytes: int) -> bytes:
    """Return the content of a regular file. A FIFO or a device is refused at once, without waiting for it.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    FileTooLarge
        The file has more than ``max_bytes``.
    OSError
        Not a regular file, no permission, I/O error.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:  # os.fdopen of a directory raises and leaves the descriptor open, so the kind is checked first
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, f"not a regular file but a {_file_kind(status.st_mode)}")
        if status.st_size > max_bytes:
            raise FileTooLarge(errno.EFBIG, f"{status.st_size} bytes, at most {max_bytes} are read")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            content = file.read(status.st_size + 1)  # no more memory than that, unless it has grown meanwhile
            return content if len(content) <= status.st_size else content + file.read(max_bytes + 1 - len(content))
    finally:
        os.close(descriptor)


def write_refusal(directory: Path) -> str | None:
    """Return why files can't be put into a directory, or it can't be made; `None` where nothing is known to prevent it.

    For any thread. It changes nothing.
    """
    place = existing(directory)
    try:
        if not stat.S_ISDIR(place.stat().st_mode):
            return os.strerror(errno.ENOTDIR)
        if os.access(place, os.W_OK | os.X_OK):
            return None
        read_only = os.statvfs(place).f_flag & os.ST_RDONLY
    except OSError as problem:  # a link into a closed directory, a file server that is gone
        return describe_disk_error(problem)
    return os.strerror(errno.EROFS if read_only else errno.EACCES)


def _file_kind(mode: int) -> str:
    """Return the kind of a file in words."""
    kinds = (
        (stat.S_ISDIR, "directory"),
        (stat.S_ISFIFO, "FIFO"),
        (stat.S_ISSOCK, "socket"),
        (stat.S_ISCHR, "character device"),
        (stat.S_ISBLK, "block device"),
    )
    return next((name for is_kind, name in kinds if is_kind(mode)), "file of an unknown kind")


def write_durably(
    path: Path, content: bytes | Sequence[bytes], *, backup: Path | None = None, owner: tuple[int, int] | None = None
) -> os.stat_result:
    """Replace the file ``path`` durably by ``content``, whole or in pieces, with mode 0600.

    The previous generation becomes ``backup``. The file belongs to ``owner`` (uid, gid) before it gets its name.
    Returns the status of the new file, by which a later reader recognises it. A failure leaves the old file
    whole and no temporary one. There is one exception: when the sync of the directory fails, the new file is in
    place, but a power cut may undo that.
    """
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(descriptor, "wb", buffering=0):
            _write(descriptor, [content] if isinstance(content, bytes) else content)
            if owner is not None:
                os.fchown(descriptor, *owner)
            os.fsync(descriptor)
            written = os.fstat(descriptor)
        if backup is not None:
            with contextlib.suppress(FileNotFoundError):  # the first generation has no predecessor
                _link_over(path, backup)
        os.replace(temporary, path)  # noqa: PTH105 - mkstemp gives a str
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)  # noqa: PTH108 - as above
        raise
    sync_directory(path.parent)
    return written


def replace_file(path: Path, content: bytes, mode: int = PRIVATE_FILE) -> None:
    """Replace a file whole, but not durably: a power cut may leave it empty. For what is written again after a start.

    Where that fails, the old file is still there.
    """
    fresh = path.with_name(f"{path.name}.new")
    fresh.write_bytes(content)
    fresh.chmod(mode)
    fresh.replace(path)


def _write(descriptor: int, pieces: Sequence[bytes]) -> None:
    """Write all pieces, however few bytes the kernel takes at a time."""
    for first in range(0, len(pieces), MAX_PIECES):
        batch = pieces[first : first + MAX_PIECES]
        written = os.writev(descriptor, batch)
        if written < sum(map(len, batch)):  # as on a disk that is nearly full: the rest is copied and written again
            view = memoryview(b"".join(batch))[written:]
            while view:
                view = view[os.write(descriptor, view) :]


def sync_directory(path: Path) -> None:
    """Make the file names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# --- further names of a file -------------------------------------------------------------------------------


def restore_file(path: Path, backup: Path) -> None:
    """Replace ``path`` by the generation in ``backup``; ``path`` is never absent in between."""
    _link_over(backup, path)
    sync_directory(path.parent)


def file_stamp(at: datetime) -> str:
    """Return an instant as file names have it: ``20260622T060030Z``."""
    return at.strftime("%Y%m%dT%H%M%SZ")


def keep_copy(path: Path, label: str, stamp: str) -> Path:
    """Give a file the second name ``<name>.<label>-<stamp>``, followed by ``-2`` and so on where that is taken.

    Returns the second name.
    """
    aside = _free_name(path, label, stamp)
    try:
        os.link(path, aside, follow_symlinks=False)
    except FileExistsError:  # another thread or program has just taken the name
        return keep_copy(path, label, stamp)
    except OSError as refused:
        if refused.errno not in _NO_HARD_LINKS:
            raise
        write_durably(aside, path.read_bytes())
    try:
        sync_directory(path.parent)
    except OSError:
        aside.unlink(missing_ok=True)  # else each further try would leave one more name
        raise
    return aside


def move_aside(path: Path, label: str, stamp: str) -> Path:
    """Rename a file durably to the name that `keep_copy` would give it, and return that name."""
    aside = path.rename(_free_name(path, label, stamp))
    sync_directory(path.parent)
    return aside


def _link_over(source: Path, target: Path) -> None:
    """Give the file ``source`` the name ``target`` as well; neither name is ever absent."""
    link = f"{target}.{os.urandom(4).hex()}.tmp"
    try:
        os.link(source, link, follow_symlinks=False)
        os.replace(link, target)  # noqa: PTH105 - every save does this, and pathlib takes as long as the kernel
    except OSError as refused:
        if refused.errno not in _NO_HARD_LINKS:
            raise
        write_durably(target, source.read_bytes())
    finally:
        with contextlib.suppress(OSError):  # a rename between two names of one file does nothing, and leaves both
            os.unlink(link)  # noqa: PTH108 - as above


def _free_name(path: Path, label: str, stamp: str) -> Path:
    """Return a free name beside ``path``. For the holder of the lock, who alone makes such names, it stays free."""
    first = path.with_name(f"{path.name}.{label}-{stamp}")
    names = itertools.chain([first], (first.with_name(f"{first.name}-{number}") for number in itertools.count(2)))
    return next(name for name in names if not is_there(name))


def sweep_temporaries(path: Path) -> list[Path]:
    """Delete the temporary files of interrupted writes of ``path``, and return them.

    Only for the holder of the lock beside ``path``: the temporary file of another writer looks the same.
    """
    return _sweep(path.parent, re.escape(path.name) + _TEMPORARY)


def sweep_directory(directory: Path, before: float = inf) -> list[Path]:
    """Delete the temporary files of interrupted writes in a directory where all files are ours, and return them.

    Those written ``before`` that time alone (seconds since the epoch), where others may be writing.
    """
    return _sweep(directory, _TEMPORARY_OF_OURS, before)


def _sweep(directory: Path, temporary: str, before: float = inf) -> list[Path]:
    deleted = []
    with contextlib.suppress(OSError):
        for path in [path for path in directory.iterdir() if path.suffix == ".tmp"]:
            with contextlib.suppress(OSError):
                if re.fullmatch(temporary, path.name) and path.is_file() and path.lstat().st_mtime < before:
                    path.unlink()
                    deleted.append(path)
    return deleted
