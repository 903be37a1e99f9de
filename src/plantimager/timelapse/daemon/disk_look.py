"""A look at a directory of datasets, and at the disk that it is on. May hang as the disk may; any thread."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from plantimager.timelapse.support.durable import write_refusal
from plantimager.timelapse.support.file_system import (
    UNMOUNTED,
    describe_disk_error,
    identify_file_system,
    is_another,
    is_on_same_device,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

NEW_DISK: Final = ".new-disk"
"""The empty file by which a person says that the disk in place of the known one is meant."""


class Found(Struct, frozen=True):
    """What a look at the directory found."""

    why: str | None = None
    """Why datasets can't be put there."""
    is_elsewhere: bool = False
    is_stalled: bool = False
    """Whether the disk doesn't answer."""
    is_gone: bool = False
    """Whether there is no such directory."""
    disk: dict[str, str] | None = None
    """The disk to remember; ``None`` leaves that as it is."""

    @property
    def is_in_sight(self) -> bool:
        """Whether it can be told what is in the directory."""
        return self.why is None

    @property
    def is_away(self) -> bool:
        """Whether the disk isn't there: what is found in the directory says nothing of the datasets on it."""
        return self.is_elsewhere or self.why == UNMOUNTED


def look_at_next(datasets: Path, storage: Path, known: Mapping[str, str], *, accept: bool = True) -> Found:
    """Look at the directory, and at the disk that it is on. May hang as the disk may. See `_look_at_disk`."""
    why = write_refusal(datasets)
    return Found(why) if why is not None else _look_at_disk(datasets, storage, known, accept=accept)


def _look_at_disk(datasets: Path, storage: Path, known: Mapping[str, str], *, accept: bool) -> Found:
    """Look at the disk that a directory is on.

    The store's own disk is remembered without marks: that one is there as long as there is a store, whatever becomes of
    them. So a disk with marks isn't mounted where the directory is on the store's, which may be one without any.
    Without ``accept`` nothing is changed.
    """
    marks = {kind: mark for kind, mark in known.items() if kind != "path"}
    try:
        disk, own = identify_file_system(datasets), identify_file_system(storage)
        is_own = is_on_same_device(datasets, storage)
        found = {**(disk if is_another(own, disk) or not is_own else {}), "path": str(datasets)}
        if known.get("path") != str(datasets) or not marks:
            return Found(disk=found)
        if not is_another(marks, disk) and not (not disk and is_own):
            return Found()
        marker = datasets / NEW_DISK
        if os.path.lexists(marker):
            if not accept:
                return Found()
            marker.unlink()
            return Found(disk=found)
    except OSError as problem:
        return Found(describe_disk_error(problem), is_elsewhere=bool(marks))
    why = f"its disk isn't mounted, another one is there; mount it, or accept this one with touch {marker}"
    return Found(why, is_elsewhere=True)


def look_at_earlier(place: Path, storage: Path, known: Mapping[str, str], *, accept: bool) -> Found:
    """Look at a directory that attempts were put into: a disk that can be read alone shows a whole dataset, too.

    Where the directory is gone, that is no answer about them. One that nobody may write to, and of which no disk is
    known, may be a bare mount point.
    """
    try:
        with os.scandir(place) as entries:
            next(entries, None)
    except (FileNotFoundError, NotADirectoryError):
        cure = f"mount its disk again, or mkdir -p {place} where it is gone for good: its scans count as not there then"
        return Found(f"it is not there; {cure}", is_elsewhere=True, is_gone=True)
    except OSError as problem:
        return Found(describe_disk_error(problem), is_elsewhere=True)
    is_known = known.get("path") == str(place)
    return (_look_at_disk if is_known else look_at_next)(place, storage, known, accept=accept)
