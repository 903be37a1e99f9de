"""What stands aside: pictures of unfinished attempts, datasets that were moved away, damaged or foreign stores."""

from __future__ import annotations

import os
import re
import zlib
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from plantimager.timelapse.datasets.attempt_directory import owner_mark
from plantimager.timelapse.support.file_system import walk
from plantimager.timelapse.support.text import format_count

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from plantimager.timelapse.scan.request import Owner

MAX_ENTRIES: Final = 100_000
"""Entries of a directory that are looked at: the datasets of a timelapse with the most slots."""

MAX_FOUND: Final = 100
"""Things of one directory that are named; the rest is of no use to a person who has to look at these first."""

MAX_FILES: Final = 10_000
"""Files of one attempt that are counted."""

_ATTEMPT: Final = re.compile(r"\.(?P<scan>.+)\.attempt-(?P<number>[0-9]+)(?:\.[0-9]+)?(?P<mark>~.+)?")
_REMOVAL: Final = re.compile(r"\.(?P<scan>.+)\.removal-[0-9a-f]{8}(?P<mark>~.+)?")
_EARLIER: Final = re.compile(r"(?P<scan>.+)\.earlier-[0-9]+")
_MIGRATION: Final = re.compile(r"\.(?P<scan>.+)\.(?:migrated|before-migration)")
"""The directories of a migration that was killed, see `migration`."""
_KINDS: Final = (_ATTEMPT, _EARLIER, _MIGRATION, _REMOVAL)
_ABOUT_TO_GO: Final = (
    "which the relay asks its targets for before it removes it, or was ended meanwhile: then its next start gives it"
    " its name back, or finishes its removal"
)


class SetAside(Struct, frozen=True):
    """One thing that stands aside."""

    path: Path
    what: str
    """For people: "3 files of an attempt at col0_5 that was not finished"."""


def find_set_aside(
    datasets: Path, store: Path | None = None, *, owner: Owner | None = None, running: tuple[str, int] | None = None
) -> list[SetAside]:
    """Return what stands aside in a directory of datasets, and beside a store; by name, at most `MAX_FOUND` of each.

    With ``owner``, attempts of other rigs are left out. ``running`` is scan id and attempt of the scan that is being
    taken, whose directory doesn't stand aside. Reads names, and counts the files of attempts; raises nothing, but may
    hang as the disk may.
    """
    found = []
    for path in _entries(datasets):
        attempt, earlier, migration, removal = (kind.fullmatch(path.name) for kind in _KINDS)
        if attempt is not None:
            is_running = running == (attempt["scan"], int(attempt["number"]))
            is_anothers = owner is not None and attempt["mark"] not in (None, owner_mark(owner))
            files = "" if is_running or is_anothers else _describe_files(path)
            if files:
                found.append(SetAside(path, f"{files} of an attempt at {attempt['scan']} that was not finished"))
        elif earlier is not None:
            found.append(SetAside(path, f"what stood in the place of {earlier['scan']} before"))
        elif migration is not None:
            cure = "run timelapsectl datasets migrate again"
            found.append(SetAside(path, f"{migration['scan']}, whose migration goes on, or was cut off: then {cure}"))
        elif removal is not None and (owner is None or removal["mark"] in (None, owner_mark(owner))):
            found.append(SetAside(path, f"{removal['scan']}, {_ABOUT_TO_GO}"))
        if len(found) == MAX_FOUND:
            break
    return found + ([] if store is None else [*islice(_stores_aside(store), MAX_FOUND)])


def has_name_of_aside(name: str) -> bool:
    """Return whether a directory among datasets is none of them by its name: an attempt, or what was moved away."""
    return any(kind.fullmatch(name) for kind in _KINDS)


def removal_name(scan_id: str, key: str, owner: Owner) -> str:
    """Return the name to which the relay moves a dataset before it deletes it: readers see it whole, or not at all.

    ``key`` is what tells it from that of a later timelapse of the same name.
    """
    return f".{scan_id}.removal-{zlib.crc32(key.encode()):08x}{owner_mark(owner)}"


def _stores_aside(store: Path) -> Iterator[SetAside]:
    for path in _entries(store.parent):
        if path.name.startswith(f"{store.name}.corrupt-"):
            yield SetAside(path, "a store that could not be read")
        elif path.name.startswith(f"{store.name}.foreign-"):
            yield SetAside(path, "a store that somebody changed, or that is damaged")


def _entries(directory: Path) -> list[Path]:
    with suppress(OSError), os.scandir(directory) as entries:
        return sorted(directory / entry.name for entry in islice(entries, MAX_ENTRIES))
    return []


def _describe_files(directory: Path) -> str:
    """Return how many files are in a directory, empty for none; of one that can't be read nobody knows."""
    try:
        count = sum(1 for _ in islice((name for _, _, names in walk(directory) for name in names), MAX_FILES))
    except (FileNotFoundError, NotADirectoryError):  # it was finished or deleted meanwhile
        return ""
    except OSError as problem:
        return f"files that can't be read ({problem.strerror or problem})"
    return format_count(count, "file") if count else ""
