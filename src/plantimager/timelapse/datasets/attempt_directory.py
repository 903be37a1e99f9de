"""The directories of attempts: hidden beside the dataset, one for each, with a mark of the rig that made it."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import re
from typing import TYPE_CHECKING, Final

from plantimager.timelapse.datasets.receipt import load_receipt, other_owner
from plantimager.timelapse.datasets.syncing import open_to_group
from plantimager.timelapse.support.durable import sync_directory
from plantimager.timelapse.support.errors import ScanFailed
from plantimager.timelapse.support.file_system import is_there, names_in, walk

if TYPE_CHECKING:
    from pathlib import Path

    from plantimager.timelapse.scan.request import Owner, ScanRequest

MAX_DIRECTORIES: Final = 1_000
"""Of attempts with the same number at one dataset. Each but the first stands for a store that was not saved."""


def unfinished_attempts(request: ScanRequest, number: int | None = None) -> list[Path]:
    """Return the directories of a dataset's unfinished attempts, oldest first: all, or those of one ``number``.

    Those without a mark, which versions before this one made, are among them.

    Raises
    ------
    OSError
        They can't be listed: nobody knows. A directory that is closed to this user has none.
    """
    found, names = {}, list[str]()
    pattern = re.compile(_attempt_pattern(request, f"(?:{re.escape(owner_mark(request.owner))})?", number))
    with contextlib.suppress(PermissionError):
        names = names_in(request.dataset_dir.parent)
    for name in names:
        match = pattern.fullmatch(name)
        if match is not None:
            found[request.dataset_dir.with_name(name)] = tuple(map(int, match[1].split(".")))
    return sorted(found, key=lambda path: found[path])


def is_attempt_directory(request: ScanRequest, directory: Path) -> bool:
    """Whether `begin_attempt` made ``directory`` for this dataset and this rig."""
    name = re.fullmatch(_attempt_pattern(request, re.escape(owner_mark(request.owner))), directory.name)
    return name is not None and directory.parent == request.dataset_dir.parent


def _attempt_pattern(request: ScanRequest, mark: str, number: int | None = None) -> str:
    numbers = r"[0-9]+" if number is None else str(number)
    return re.escape(_attempt_name(request, "")) + rf"({numbers}(?:\.[0-9]+)?){mark}"


def _attempt_name(request: ScanRequest, number: str) -> str:
    # Hidden, so that a database that reads the datasets' directory ignores it.
    return f".{request.dataset_dir.name}.attempt-{number}"


def owner_mark(owner: Owner | None) -> str:
    """Return the end of the name of an attempt's directory, which no other rig has."""
    if owner is None:
        return ""
    digest = hashlib.sha256("\0".join(owner.key).encode(errors="surrogateescape")).hexdigest()
    return f"~{owner.rig}{'-' if owner.rig else ''}{digest[:8]}"


def make_attempt_directory(request: ScanRequest) -> Path:
    """Make a directory that no attempt has used, not even one whose number was lost because the store was not saved.

    Raises
    ------
    ScanFailed
        `MAX_DIRECTORIES` of this number are there.
    OSError
        It can't be made.
    """
    for again in range(1, MAX_DIRECTORIES + 1):
        number = f"{request.attempt}.{again}" if again > 1 else f"{request.attempt}"
        directory = request.dataset_dir.with_name(_attempt_name(request, number) + owner_mark(request.owner))
        with contextlib.suppress(FileExistsError):
            directory.mkdir()
            open_to_group(directory)
            return directory
    raise ScanFailed(f"{directory.parent}: {MAX_DIRECTORIES} attempts at {request.scan_id} stand aside; move them away")


def remove_if_empty(directory: Path) -> None:
    """Remove an attempt's directory with its sub-directories, unless there are files in it."""
    with contextlib.suppress(OSError):  # of one that can't be read, or where something is in it
        for folder, _, _ in walk(directory, top_down=False):
            folder.rmdir()


def move_into_place(directory: Path, request: ScanRequest) -> str:
    """Rename a whole dataset to its place. What is there (of an earlier experiment) is kept as ``.earlier-N``.

    Returns a note on what was moved, empty where nothing was.

    Raises
    ------
    ScanFailed
        Another rig's dataset is there.
    OSError
        The disk refuses.
    """
    dataset_dir, note, number = request.dataset_dir, "", 1
    while is_there(dataset_dir):
        other = _describe_other(request)
        if other is not None:
            raise ScanFailed(
                f"{dataset_dir} is a dataset of {other}; the pictures of this scan are in {directory}: "
                "give each rig a directory of its own for its datasets"
            )
        earlier = dataset_dir.with_name(f"{dataset_dir.name}.earlier-{number}")
        if not is_there(earlier):
            dataset_dir.rename(earlier)
            note = f"what was in {dataset_dir} is now in {earlier.name}"
        number += 1
    directory.rename(dataset_dir)
    sync_directory(dataset_dir.parent)
    return note


def _describe_other(request: ScanRequest) -> str | None:
    """Return in words whose the dataset in the place of this one is, None where it is nobody else's."""
    try:
        owner = other_owner(load_receipt(request.dataset_dir), request.owner)
    except OSError as problem:
        is_absent = problem.errno in (errno.ENOENT, errno.ENOTDIR)
        return None if is_absent else f"somebody else ({problem.strerror})"
    except ValueError:
        return None
    return None if owner is None else str(owner)
