"""The file system that a path is on: its identity across boots and mounts, memory or disk; and whose a file is."""

from __future__ import annotations

import errno
import os
import pwd
import re
import stat
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

MOUNTS: Final = Path("/proc/self/mountinfo")
UDEV: Final = Path("/run/udev/data")
"""udev's database: the UUID of each block device, also where a sandbox hides the devices themselves."""
KERNEL_COMMAND_LINE: Final = Path("/proc/cmdline")

IN_MEMORY: Final = ("tmpfs", "ramfs")
LOCAL_LOCKS: Final = ("nolock", "local_lock=all", "local_lock=flock", "nobrl")
"""Options of a network disk by which its locks are those of this machine alone."""
WITH_LASTING_FSID: Final = ("ext2", "ext3", "ext4", "btrfs")
"""Types whose ``f_fsid`` is made of their UUID; that of others is made of the device's number."""
MARK_KINDS: Final = ("uuid", "fsid", "source")
"""The kinds of marks, the surest first."""


_PULLED: Final = frozenset(
    {errno.EIO, errno.ENODEV, errno.ENXIO, errno.ENOTCONN, errno.EHOSTDOWN, errno.ETIMEDOUT, errno.ESTALE}
)


UNMOUNTED: Final = "its disk isn't mounted: it was pulled, or isn't plugged in yet"
"""What is wrong with an automount point that has no disk, whatever the error is."""


def may_come_back(problem: Exception) -> bool:
    """Return whether a fault is that of a file whose disk was pulled, and may be back later."""
    return isinstance(problem, OSError) and problem.errno in {*_PULLED, errno.ENOENT}


def is_out_of_reach(problem: OSError) -> bool:
    """Return whether an error is that of a disk that is away or fails: what was looked for may well be on it."""
    return problem.errno in _PULLED


def describe_disk_error(problem: OSError) -> str:
    """Return for a person what an error about a file means that was, or could be, there a moment ago."""
    mount = mount_of(Path(problem.filename)) if isinstance(problem.filename, str) else None
    if mount is not None and mount.type == "autofs":
        return UNMOUNTED
    if problem.errno == errno.ENOENT:
        return "it is gone; was its disk pulled, or did another program remove it?"
    words = problem.strerror or str(problem)
    # ext4 turns read-only at an error of its disk; in a sandbox the mount is read-only, not the file system.
    turned = problem.errno == errno.EROFS and mount is not None and "ro" in mount.options.split(",")
    return f"{words}; was its disk pulled, or is it failing?" if turned or problem.errno in _PULLED else words


def walk(directory: Path, *, top_down: bool = True) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Yield each directory in ``directory`` with the names of its directories and of its files, and itself.

    Raises `OSError` where one can't be read; `os.walk` passes over it, as if nothing were in it.
    """
    for folder, folders, names in os.walk(directory, topdown=top_down, onerror=_raise):  # noqa: TID251 - this is it
        yield Path(folder), folders, names


def names_in(directory: Path) -> list[str]:
    """Return the names in a directory, sorted; none where there is no directory.

    Raises `OSError` where it can't be read; `Path.glob` passes over that.
    """
    try:
        return sorted(os.listdir(directory))  # noqa: PTH208 - names are what is needed
    except (FileNotFoundError, NotADirectoryError):
        return []


def is_there(path: Path) -> bool:
    """Return whether there is something of this name, also a link to nowhere.

    Raises `OSError` where nobody knows. `os.path.lexists` says no as well where the disk can't be read, and so does
    `Path.exists` from Python 3.14 on.
    """
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _raise(problem: OSError) -> None:
    raise problem


def describe_denial(path: Path) -> str:
    """Return whose the first directory is, or else the file itself, that keeps this process from reading ``path``."""
    closed = (place for place in reversed(path.parents) if not os.access(place, os.X_OK, effective_ids=True))
    barrier = next(closed, path)
    with suppress(OSError):
        subject = "it" if barrier == path else str(barrier)
        return f"{subject} belongs to {describe_owner(barrier)}, and this is {user_name(os.geteuid())}"
    return "nobody knows whose it is"


def describe_owner(path: Path) -> str:
    """Return whose a file is, and its mode; raise `OSError` where it can't be looked at."""
    found = path.stat()
    return f"{user_name(found.st_uid)}, mode {stat.S_IMODE(found.st_mode):04o}"


def user_name(uid: int) -> str:
    """Return the name of a user, or the number of one that has none."""
    with suppress(KeyError):
        return pwd.getpwuid(uid).pw_name
    return f"user {uid}"


class Mount(Struct, frozen=True):
    """A line of ``/proc/self/mountinfo``."""

    device: str
    """``8:1``."""
    root: str
    """What of the file system is mounted."""
    point: str
    type: str
    source: str
    options: str
    """Those of the file system."""


@lru_cache(maxsize=1)
def read_mounts(text: str) -> Sequence[Mount]:
    """Return the mounts in the text of ``/proc/self/mountinfo``; see proc_pid_mountinfo(5).

    The kernel escapes only blank, tab, line feed and backslash in a name. A line that can't be read is passed over.
    """
    mounts = []
    for line in text.split("\n"):
        with suppress(ValueError):
            before, _, behind = line.partition(" - ")
            (_, _, device, root, point, *_), (kind, source, options) = before.split(" "), behind.split(" ", 2)
            mounts.append(Mount(device, _unescape(root), _unescape(point), kind, _unescape(source), options))
    return mounts


def mounts_now() -> Sequence[Mount]:
    """Return the mounts that this process sees."""
    return read_mounts(_read(MOUNTS))


def find_mount(path: Path, mounts: Sequence[Mount]) -> Mount | None:
    """Return the mount that a path without links is on; of several on one directory the last hides the others."""
    place = f"{path}/"
    above = [mount for mount in mounts if place.startswith(f"{mount.point.rstrip('/')}/")]
    return max(reversed(above), key=lambda mount: len(mount.point), default=None)


def awaits_disk(path: Path) -> bool:
    """Whether a path without links is on an automount point whose disk isn't mounted. It doesn't have it mounted."""
    mount = mount_of(path)
    return mount is not None and mount.type == "autofs"


def mount_of(path: Path) -> Mount | None:
    """Return the mount that a path without links is on. It doesn't touch the disk, so it can't hang."""
    return find_mount(path, mounts_now())


def identify_file_system(path: Path) -> Mapping[str, str]:
    """Return the marks of the file system that ``path`` is on, or will be on once it is made.

    May hang as a disk may, or raise `OSError`.
    """
    fsid = os.statvfs(existing(path)).f_fsid  # first, since it has an automount point mount its disk
    mount = mount_of(Path(os.path.realpath(existing(path))))
    if mount is None:
        return {}
    marks = {"uuid": _uuid_of(mount.device)}
    if mount.type in WITH_LASTING_FSID and fsid:
        marks["fsid"] = f"{fsid:x}"
    if not mount.source.startswith("/dev/"):
        marks["source"] = f"{mount.type}:{mount.source}"
    return {kind: mark for kind, mark in marks.items() if mark}


def is_on_same_device(one: Path, other: Path) -> bool:
    """Whether two paths are certainly on the same file system at present, also one without marks. May hang as above."""
    mounts = [mount_of(Path(os.path.realpath(existing(path)))) for path in (one, other)]
    first, second = (mount.device if mount is not None else None for mount in mounts)
    return first is not None and first == second


def is_another(before: Mapping[str, str], now: Mapping[str, str]) -> bool:
    """Whether two file systems are certainly not the same one; those without marks may be.

    The version of NFS is chosen anew at each mount.
    """
    shared = next((kind for kind in MARK_KINDS if kind in before and kind in now), None)
    if shared is None:
        return bool(before and now)
    one, other = (re.sub("^nfs4:", "nfs:", marks[shared]) for marks in (before, now))
    return one != other


def memory_reason(path: Path) -> str | None:
    """Return why nothing under ``path`` outlives the machine's power; ``None`` where it does, as far as is known."""
    mounts = mounts_now()
    mount = find_mount(path, mounts)
    if mount is None:
        return None
    if mount.type in IN_MEMORY:
        return f"{mount.point} is in memory ({mount.type})"
    if mount.type == "overlay":
        upper = dict(option.partition("=")[::2] for option in mount.options.split(",")).get("upperdir")
        below = find_mount(Path(upper), mounts) if upper else None
        words = _read(KERNEL_COMMAND_LINE).split()
        from_boot = any(word == "boot=overlay" or word.startswith("overlayroot=tmpfs") for word in words)
        if from_boot or (below is not None and below.type in IN_MEMORY):
            return f"{mount.point} is an overlay whose changes are in memory"
    return None


def lock_reason(path: Path) -> str | None:
    """Return why another machine doesn't see a lock under ``path``; ``None`` where it does, or can't get there."""
    mount = mount_of(path)
    option = next((word for word in LOCAL_LOCKS if mount is not None and word in mount.options.split(",")), None)
    return None if mount is None or option is None else f"{mount.point} is mounted with {option}"


def existing(path: Path) -> Path:
    """Return a path, or the nearest one above it that is there."""
    return next(place for place in (path, *path.parents) if os.path.lexists(place))


def _uuid_of(device: str) -> str:
    found = re.search(r"^E:ID_FS_UUID=(.+)$", _read(UDEV / f"b{device}"), re.MULTILINE)
    return found[1] if found else ""


def _unescape(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text) if "\\" in text else text


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8", "surrogateescape")  # read_text would make a line break of a \\r
    except OSError:  # not on this kernel, or hidden by a sandbox
        return ""


def is_below(text: str, directories: Iterable[str]) -> bool:
    """Whether a text is a path in one of some directories, or a link to one."""
    paths = (text, os.path.realpath(text)) if text.startswith("/") and "\0" not in text else ()
    return any(Path(path).is_relative_to(directory) for path in paths for directory in directories)
