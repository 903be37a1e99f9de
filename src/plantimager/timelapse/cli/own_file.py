"""The files that a command writes for the person: root may stand in a directory of somebody else's."""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from plantimager.timelapse.support.errors import TimelapsedError

if TYPE_CHECKING:
    from collections.abc import Iterator


class PlantedLink(TimelapsedError):
    """A link of another user stands where a file is to be written, or on the way there."""


def write_own_file(path: Path, content: bytes, *, is_new: bool = False) -> None:
    """Write a file of the person; one that ``is_new`` must not be there before.

    Raises `PlantedLink` where another user has planted a link, and `OSError`.
    """
    # A pipe that nobody reads is an error at once.
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | (os.O_EXCL if is_new else os.O_TRUNC)
    try:
        with _directory_of(path) as directory:
            if is_new or not _is_own_link(path.name, directory, path):
                flags |= os.O_NOFOLLOW
            descriptor = os.open(path.name, flags, 0o666, dir_fd=directory)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None  # the system names the last step only
    os.set_blocking(descriptor, True)
    with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor
        file.write(content)


@contextmanager
def _directory_of(path: Path) -> Iterator[int]:
    """Open the directory of a file, which no link of another user leads to."""
    here = os.open(path.anchor or ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        so_far = Path(path.anchor)
        for part in path.parent.relative_to(path.anchor).parts:
            so_far /= part
            follow = 0 if _is_own_link(part, here, so_far) else os.O_NOFOLLOW
            inner = os.open(part, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC | follow, dir_fd=here)
            os.close(here)
            here = inner
        yield here
    finally:
        os.close(here)


def _is_own_link(name: str, directory: int, path: Path) -> bool:
    """Whether a name in a directory is a link, of root or of the caller."""
    try:
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    if not stat.S_ISLNK(found.st_mode):
        return False
    if found.st_uid not in (0, os.geteuid()):
        raise PlantedLink(f"{path} is a link of another user; it is left alone")
    return True
