"""Putting bytes on disk so that a power cut leaves the old file or the new one, whole.

The order is: temporary file in the same directory, write, fsync, previous generation kept
as ``<name>.bak``, rename over, fsync of the directory. A rename without the last step may
be undone by a power cut; a file without the fsync before it may turn up empty.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import re
import stat
import tempfile
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PRIVATE_FILE: Final = 0o600
PRIVATE_DIRECTORY: Final = 0o700
MOST_PIECES: Final = 1024
"""``IOV_MAX``: what one writev(2) takes."""
_NO_HARD_LINKS: Final = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)

_TEMPORARY: Final = re.compile(r"(?:\.bak|\.(?:corrupt|foreign)-[0-9TZ-]+)?\.?[a-z0-9_]{8}\.tmp")
"""What follows the name of a file in that of a temporary one: ours and, without the dot, those of the
community's controller."""


class FileTooLarge(OSError):
    """A file is larger than the reader accepts."""


def make_private_directory(path: Path) -> None:
    """Make a directory with mode 0700 and its parents; one that exists keeps its mode.

    Raises
    ------
    OSError
        It can't be made.

    """
    path.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)


def read_regular(path: Path, largest: int) -> bytes:
    """Return the bytes of a regular file without ever waiting: a FIFO or a device is refused, not opened for long.

    Raises
    ------
    FileNotFoundError
        There is none.
    TooLarge
        More than ``largest`` bytes.
    OSError
        Not a regular file, no permission, I/O error.

    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:  # os.fdopen of a directory raises and leaves the descriptor open, so look first
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, f"not a regular file but a {file_kind(status.st_mode)}")
        if status.st_size > largest:
            raise FileTooLarge(errno.EFBIG, f"{status.st_size} bytes, at most {largest} are read")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(largest + 1)
    finally:
        os.close(descriptor)


def write_refusal(directory: Path) -> str | None:
    """Return why nothing can be put into a directory, which may have to be made; None where nothing speaks against it.

    Any thread; changes nothing.
    """
    there = next(path for path in (directory, *directory.parents) if os.path.lexists(path))
    try:
        if not stat.S_ISDIR(there.stat().st_mode):
            return os.strerror(errno.ENOTDIR)
        if os.access(there, os.W_OK | os.X_OK):
            return None
        read_only = os.statvfs(there).f_flag & os.ST_RDONLY
    except OSError as problem:  # a link to where nobody may look, a server that is gone
        return problem.strerror or str(problem)
    return os.strerror(errno.EROFS if read_only else errno.EACCES)


def file_kind(mode: int) -> str:
    """Return what a file is, for people."""
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
    """Replace ``path`` with ``content`` (in pieces, or whole), mode 0600; the generation before stays as ``backup``.

    With ``owner`` (uid, gid) the file is theirs from the moment it has its name. Returns the status of
    the new file, by which a later reader can tell whether it is still the one written here. A failure
    leaves the old file whole and no temporary one; only where the directory could not be synced at the
    very end, the new file is in place, but may not outlive a power cut.

    Raises
    ------
    OSError
        Anything that kept it from being on disk for good.

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


def _write(descriptor: int, pieces: Sequence[bytes]) -> None:
    """Write all of it, however little the kernel takes at a time."""
    for first in range(0, len(pieces), MOST_PIECES):
        batch = pieces[first : first + MOST_PIECES]
        written = os.writev(descriptor, batch)
        if written < sum(map(len, batch)):  # as on a disk that is nearly full: what is left goes the slow way
            view = memoryview(b"".join(batch))[written:]
            while view:
                view = view[os.write(descriptor, view) :]


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable.

    Raises
    ------
    OSError
        I/O error.

    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# --- second names -------------------------------------------------------------------------------


def restore_file(path: Path, backup: Path) -> None:
    """Make ``path`` the generation that ``backup`` is; ``path`` is never absent meanwhile.

    Raises
    ------
    OSError
        It can't be linked, nor copied.

    """
    _link_over(backup, path)
    sync_directory(path.parent)


def keep_copy(path: Path, label: str, stamp: str) -> Path:
    """Give a file the second name ``<name>.<label>-<stamp>`` (``-2`` and so on where that is taken); return it.

    Raises
    ------
    OSError
        It can't be linked, nor copied.

    """
    aside = _free_name(path, label, stamp)
    try:
        os.link(path, aside, follow_symlinks=False)
    except OSError as refused:
        if refused.errno not in _NO_HARD_LINKS:
            raise
        write_durably(aside, path.read_bytes())
    try:
        sync_directory(path.parent)
    except OSError:
        aside.unlink(missing_ok=True)  # or each further try would leave one more name
        raise
    return aside


def move_aside(path: Path, label: str, stamp: str) -> Path:
    """Move a file to the name that `keep_copy` would give it, durably; return that.

    Raises
    ------
    OSError
        It can't be renamed.

    """
    aside = path.rename(_free_name(path, label, stamp))
    sync_directory(path.parent)
    return aside


def _link_over(source: Path, target: Path) -> None:
    """Give a file a second name, in place of the file that has it; neither name is ever absent."""
    with contextlib.suppress(FileNotFoundError):
        if os.path.samestat(os.lstat(source), os.lstat(target)):
            return  # rename would do nothing, and leave the link behind
    link = f"{target}.{os.urandom(4).hex()}.tmp"
    try:
        os.link(source, link, follow_symlinks=False)
        os.replace(link, target)  # noqa: PTH105 - each save does this, and pathlib takes as long as the kernel
    except OSError as refused:
        with contextlib.suppress(OSError):
            os.unlink(link)  # noqa: PTH108 - as above
        if refused.errno not in _NO_HARD_LINKS:
            raise
        write_durably(target, source.read_bytes())


def _free_name(path: Path, label: str, stamp: str) -> Path:
    """Return a name beside ``path`` that nothing has; only the holder of the lock makes such names."""
    first = path.with_name(f"{path.name}.{label}-{stamp}")
    names = itertools.chain([first], (first.with_name(f"{first.name}-{number}") for number in itertools.count(2)))
    return next(name for name in names if not os.path.lexists(name))


def sweep_temporaries(path: Path) -> list[Path]:
    """Delete what a write of ``path`` left behind when it was cut off; return what went.

    Only for the holder of the lock beside ``path``: another writer's file may look the same.
    """
    gone = []
    with contextlib.suppress(OSError):
        for candidate in path.parent.iterdir():
            rest = candidate.name.removeprefix(path.name)
            if rest != candidate.name and _TEMPORARY.fullmatch(rest) and candidate.is_file():
                with contextlib.suppress(OSError):
                    candidate.unlink()
                    gone.append(candidate)
    return gone
