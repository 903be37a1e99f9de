"""A dataset on disk: made beside its place, moved there when whole, recognised afterwards.

An attempt fills a hidden directory of its own beside ``dataset_dir``, so that it never meets
another attempt's files. When all is taken, three steps make it the dataset:

1. a receipt is put into it. From here on a kill of the daemon undoes nothing, because what was
   written is the kernel's to keep: `find_finished` takes the steps that are left;
2. everything in it is put on disk for good;
3. it is renamed to ``dataset_dir``. From here on a power cut undoes nothing.

The receipt names the boot under which it was written: after a power cut between 1 and 3 nobody
knows which pictures the disk has, and the attempt was interrupted. Its pictures stay aside.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from plantimager.timelapse.datasets.receipt import RECEIPT, boot_of_machine, read_receipt, receipt_of, result_of
from plantimager.timelapse.support import json_text
from plantimager.timelapse.support.durable import sync_directory, write_durably
from plantimager.timelapse.support.errors import ScanFailed, ScannerNotReady

if TYPE_CHECKING:
    from collections.abc import Iterator

    from plantimager.timelapse.scan.request import ScanRequest, ScanResult


MOST_ATTEMPTS: Final = 1_000
"""Of one number at one dataset; each but the first means a store that was not saved."""


class Attempt:
    """One attempt's directory, which becomes the dataset when it is finished."""

    def __init__(self, request: ScanRequest, directory: Path) -> None:
        self.request, self.directory = request, directory
        self._sealed = False

    def seal(self, result: ScanResult) -> None:
        """Say that everything is taken; where more is to be done before `finish`, a kill meanwhile undoes nothing.

        Raises
        ------
        OSError
            The disk refuses; nothing is sealed.

        """
        if not os.access(self.directory, os.W_OK):  # a program has write-protected what it took
            self.directory.chmod(stat.S_IMODE(self.directory.stat().st_mode) | stat.S_IRWXU)
        write_durably(self.directory / RECEIPT, json_text.dumps(receipt_of(self.request, result)))
        self._sealed = True

    def finish(self, result: ScanResult) -> ScanResult:
        """Put everything on disk for good and in its place; return ``result``.

        Raises
        ------
        OSError
            The disk refuses; the dataset isn't in its place.

        """
        if not self._sealed:
            self.seal(result)
        _put_on_disk(self.directory)
        _put_in_place(self.directory, self.request.dataset_dir)
        return result


@contextmanager
def begin_attempt(request: ScanRequest) -> Iterator[Attempt]:
    """Make the directory of an attempt; afterwards it has become the dataset, stands aside, or is gone if empty.

    Raises
    ------
    ScannerNotReady
        The disk takes no directory: it is read-only, full, not mounted. Nothing has been begun; a person may mend it.
    ScanFailed
        The disk refuses what comes later.

    """
    try:
        directory = _make_directory(request)
    except OSError as problem:
        raise ScannerNotReady(_refusal(request, problem)) from problem
    try:
        try:
            yield Attempt(request, directory)
        finally:
            _remove_if_empty(directory)
    except OSError as problem:
        raise ScanFailed(_refusal(request, problem)) from problem


def _refusal(request: ScanRequest, problem: OSError) -> str:
    return f"{problem.filename or request.dataset_dir.parent}: {problem.strerror or problem}"


def find_finished(request: ScanRequest) -> ScanResult | None:
    """Return the result of the attempt that finished this slot's dataset, if one did.

    A dataset of the same name that belongs to another experiment is not it: name, slot and
    scheduled time have to be those of ``request``. Ends a `Attempt.finish` that was cut off.
    """
    receipt = read_receipt(request.dataset_dir, request)
    if receipt is not None:
        return result_of(receipt)
    for directory in unfinished_attempts(request):
        receipt = read_receipt(directory, request)
        if receipt is not None and receipt.get("boot") == boot_of_machine() is not None:
            with contextlib.suppress(OSError):  # else nobody would find it, in a hidden directory
                _put_on_disk(directory)
                _put_in_place(directory, request.dataset_dir)
                return result_of(receipt)
    return None


def unfinished_attempts(request: ScanRequest, number: int | None = None) -> list[Path]:
    """Return the directories of this dataset's unfinished attempts, or of those of one ``number``, oldest first."""
    with contextlib.suppress(OSError):
        found = [path for path in request.dataset_dir.parent.iterdir() if is_attempt_directory(request, path, number)]
        return sorted(found, key=lambda path: tuple(map(int, path.name.rpartition("-")[2].split("."))))
    return []


def is_attempt_directory(request: ScanRequest, directory: Path, number: int | None = None) -> bool:
    """Whether `attempt` made ``directory`` for this dataset, under ``number`` or any."""
    name = re.escape(_attempt_name(request, "")) + (r"\d+" if number is None else str(number)) + r"(\.\d+)?"
    return directory.parent == request.dataset_dir.parent and re.fullmatch(name, directory.name, re.ASCII) is not None


def _attempt_name(request: ScanRequest, number: str) -> str:
    # Hidden, so that a database that reads the datasets' directory passes it by.
    return f".{request.dataset_dir.name}.attempt-{number}"


def _make_directory(request: ScanRequest) -> Path:
    """Make a directory that no attempt ever had, not even one whose number was lost with an unsaved store."""
    for again in range(1, MOST_ATTEMPTS + 1):
        number = f"{request.attempt}.{again}" if again > 1 else f"{request.attempt}"
        directory = request.dataset_dir.with_name(_attempt_name(request, number))
        with contextlib.suppress(FileExistsError):
            directory.mkdir()
            return directory
    raise ScanFailed(f"{directory.parent}: {MOST_ATTEMPTS} attempts at {request.scan_id} stand aside; move them away")


def _remove_if_empty(directory: Path) -> None:
    for folder, _, _ in os.walk(directory, topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(folder)  # noqa: PTH106 - os.walk gives str


def _put_in_place(directory: Path, dataset_dir: Path) -> None:
    """Rename a whole dataset to its place; what stands there (an earlier experiment's) is kept as ``.earlier-N``."""
    number = 1
    while os.path.lexists(dataset_dir):
        earlier = dataset_dir.with_name(f"{dataset_dir.name}.earlier-{number}")
        if not os.path.lexists(earlier):
            dataset_dir.rename(earlier)
        number += 1
    directory.rename(dataset_dir)
    sync_directory(dataset_dir.parent)


def _put_on_disk(directory: Path) -> None:
    """Put a sealed attempt on disk for good; it is sealed no more where that fails, for a second fsync wouldn't."""
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
    """Put a regular file on disk; a link or a FIFO that a program left there is none of ours."""
    if not stat.S_ISREG(os.lstat(path).st_mode):
        return
    with contextlib.suppress(PermissionError):  # a file that nobody may read needn't outlive a power cut
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
