"""The attempt at a dataset: filled in a directory of its own, moved into place when whole, recognised afterwards.

An attempt fills a hidden directory beside ``dataset_dir``, which no other attempt shares. When all pictures are taken,
three steps make it the dataset:

1. A receipt is written into it. From here on a kill of the daemon loses nothing, because the kernel holds what was
   written: `find_finished` takes the remaining steps.
2. Everything in it is synced to disk.
3. It is renamed to ``dataset_dir``. From here on a power cut loses nothing.

The receipt names the boot in which it was written. After a power cut between 1 and 3 nobody knows which pictures
reached the disk, so that the attempt counts as interrupted. Its pictures are kept in the hidden directory.

A driver needs `begin_attempt` and `find_finished`, and one whose programs outlive it `unfinished_attempts`, too.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from plantimager.timelapse.datasets.receipt import RECEIPT, boot_id, make_receipt, read_receipt, result_from_receipt
from plantimager.timelapse.support import json_text
from plantimager.timelapse.support.durable import sync_directory, write_durably
from plantimager.timelapse.support.errors import ScanFailed, ScannerNotReady

if TYPE_CHECKING:
    from collections.abc import Iterator

    from plantimager.timelapse.scan.request import ScanRequest, ScanResult

MAX_DIRECTORIES: Final = 1_000
"""Of attempts with the same number at one dataset. Each but the first stands for a store that was not saved."""


class Attempt:
    """The directory of one attempt, which becomes the dataset when it is finished."""

    def __init__(self, request: ScanRequest, directory: Path) -> None:
        self.request, self.directory = request, directory
        self._sealed = False

    def seal(self, result: ScanResult) -> None:
        """Write the receipt: everything is taken, and a kill from here on loses nothing.

        `finish` does it, too. A driver calls it itself where there is something left to do before `finish`.

        Raises
        ------
        OSError
            The disk refuses; there is no receipt.

        """
        if not os.access(self.directory, os.W_OK):  # a program has write-protected its pictures
            self.directory.chmod(stat.S_IMODE(self.directory.stat().st_mode) | stat.S_IRWXU)
        write_durably(self.directory / RECEIPT, json_text.dumps(make_receipt(self.request, result)))
        self._sealed = True

    def finish(self, result: ScanResult) -> ScanResult:
        """Sync everything to disk, move it into place, and return ``result``.

        Raises
        ------
        OSError
            The disk refuses; the dataset is not in its place.

        """
        if not self._sealed:
            self.seal(result)
        _sync_tree_durably(self.directory)
        _move_into_place(self.directory, self.request.dataset_dir)
        return result


@contextmanager
def begin_attempt(request: ScanRequest) -> Iterator[Attempt]:
    """Make the directory of an attempt, to be finished within the block.

    An attempt that isn't finished keeps its directory, which is removed if nothing is in it.

    Raises
    ------
    ScannerNotReady
        The directory can't be made: the disk is read-only, full or not mounted. Nothing has begun, and a person may
        correct it within the grace period.
    ScanFailed
        The disk refused a later write, or `MAX_DIRECTORIES` directories of this number are there.

    """
    try:
        directory = _make_directory(request)
    except OSError as problem:
        raise ScannerNotReady(_describe(problem, request)) from problem
    try:
        try:
            yield Attempt(request, directory)
        finally:
            _remove_if_empty(directory)
    except OSError as problem:
        raise ScanFailed(_describe(problem, request)) from problem


def _describe(problem: OSError, request: ScanRequest) -> str:
    return f"{problem.filename or request.dataset_dir.parent}: {problem.strerror or problem}"


def find_finished(request: ScanRequest) -> ScanResult | None:
    """Return the result of the attempt that finished this slot's dataset, None if none did.

    Timelapse, slot and scheduled time of the receipt have to be those of ``request``, so that a dataset of the same
    name that belongs to another experiment doesn't count. An `Attempt.finish` that was interrupted is completed.
    """
    receipt = read_receipt(request.dataset_dir, request)
    if receipt is not None:
        return result_from_receipt(receipt)
    for directory in unfinished_attempts(request):
        receipt = read_receipt(directory, request)
        if receipt is not None and receipt.get("boot") == boot_id() is not None:
            with contextlib.suppress(OSError):  # not finished then: nobody looks for a dataset in a hidden directory
                _sync_tree_durably(directory)
                _move_into_place(directory, request.dataset_dir)
                return result_from_receipt(receipt)
    return None


def unfinished_attempts(request: ScanRequest, number: int | None = None) -> list[Path]:
    """Return the directories of a dataset's unfinished attempts, oldest first: all, or those of one ``number``."""
    with contextlib.suppress(OSError):
        found = [path for path in request.dataset_dir.parent.iterdir() if is_attempt_directory(request, path, number)]
        return sorted(found, key=lambda path: tuple(map(int, path.name.rpartition("-")[2].split("."))))
    return []


def is_attempt_directory(request: ScanRequest, directory: Path, number: int | None = None) -> bool:
    """Whether `begin_attempt` made ``directory`` for this dataset, with any number or with ``number``."""
    name = re.escape(_attempt_name(request, "")) + (r"\d+" if number is None else str(number)) + r"(\.\d+)?"
    return directory.parent == request.dataset_dir.parent and re.fullmatch(name, directory.name, re.ASCII) is not None


def _attempt_name(request: ScanRequest, number: str) -> str:
    # Hidden, so that a database that reads the datasets' directory ignores it.
    return f".{request.dataset_dir.name}.attempt-{number}"


def _make_directory(request: ScanRequest) -> Path:
    """Make a directory that no attempt has used, not even one whose number was lost because the store was not saved."""
    for again in range(1, MAX_DIRECTORIES + 1):
        number = f"{request.attempt}.{again}" if again > 1 else f"{request.attempt}"
        directory = request.dataset_dir.with_name(_attempt_name(request, number))
        with contextlib.suppress(FileExistsError):
            directory.mkdir()
            return directory
    raise ScanFailed(f"{directory.parent}: {MAX_DIRECTORIES} attempts at {request.scan_id} stand aside; move them away")


def _remove_if_empty(directory: Path) -> None:
    for folder, _, _ in os.walk(directory, topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(folder)  # noqa: PTH106 - os.walk gives str


def _move_into_place(directory: Path, dataset_dir: Path) -> None:
    """Rename a whole dataset to its place. What is there (of an earlier experiment) is kept as ``.earlier-N``."""
    number = 1
    while os.path.lexists(dataset_dir):
        earlier = dataset_dir.with_name(f"{dataset_dir.name}.earlier-{number}")
        if not os.path.lexists(earlier):
            dataset_dir.rename(earlier)
        number += 1
    directory.rename(dataset_dir)
    sync_directory(dataset_dir.parent)


def _sync_tree_durably(directory: Path) -> None:
    """Sync a sealed attempt to disk; remove its receipt where that fails.

    The kernel reports a failed write to one fsync only, so that a second attempt to sync would seem to succeed.
    """
    try:
        _sync_tree(directory)
    except OSError:
        with contextlib.suppress(OSError):
            (directory / RECEIPT).unlink()
        raise


def _sync_tree(directory: Path) -> None:
    for folder, _, names in os.walk(directory, topdown=False):
        for name in names:
            _sync_file(os.path.join(folder, name))  # noqa: PTH118 - os.walk gives str
        sync_directory(Path(folder))


def _sync_file(path: str) -> None:
    """Sync a regular file to disk. A link or a FIFO that a program left there is skipped."""
    if not stat.S_ISREG(os.lstat(path).st_mode):
        return
    with contextlib.suppress(PermissionError):  # a file that nobody may read need not survive a power cut
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
