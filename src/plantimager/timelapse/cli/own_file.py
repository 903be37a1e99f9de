"""The files that a command writes for the person: root may stand in a directory of somebody else's."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from plantimager.timelapse.support.errors import TimelapsedError

if TYPE_CHECKING:
    from pathlib import Path


class PlantedLink(TimelapsedError):
    """A link of another user stands where a file is to be written."""


def write_own_file(path: Path, content: bytes, *, is_new: bool = False) -> None:
    """Write a file of the person, not through a link that another user has planted.

    Raises
    ------
    PlantedLink
        There is such a link.
    OSError
        It can't be written; one ``is_new`` must not be there before.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | (os.O_EXCL if is_new else os.O_TRUNC)
    if os.path.lexists(path) and not is_new and stat.S_ISLNK(path.lstat().st_mode):
        if path.lstat().st_uid not in (0, os.geteuid()):
            raise PlantedLink(f"{path} is a link of another user; it is left alone")
    else:
        flags |= os.O_NOFOLLOW
    with open(os.open(path, flags, 0o666), "wb") as file:  # noqa: PTH123 - a descriptor
        file.write(content)
