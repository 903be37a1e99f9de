"""The attempt at a dataset: filled in a directory of its own, moved into place when whole, recognised afterwards.

An attempt fills a hidden directory beside ``dataset_dir``, which no other attempt shares. When all pictures are taken,
three steps make it the dataset:

1. A receipt is written into it. From here on a kill of the daemon loses nothing, because the kernel holds what was
   written: `find_finished` takes the remaining steps.
2. The receipt is given the digests of all files. Then all else is synced to disk, with progress.
3. It is renamed to ``dataset_dir``. From here on a power cut loses nothing.

Two rigs may have the same directory for their datasets, and timelapses of the same name. The name of an attempt's
directory has a mark of the rig, and the receipt its owner. What is another rig's is neither taken nor moved: the
pictures stay where they are then, and the scan has failed.

After a power cut between 2 and 3, or where the disk was pulled or failed meanwhile, the files are read from the disk:
the attempt counts as interrupted where they haven't their digests. Its pictures are kept in the hidden directory. Where
the disk fails under that, nobody knows, and the attempt is asked about again.
After a kill between 1 and 2 the digests are made of what memory has. What the disk has lost by then, and memory has
given up, too, nobody can know: such files count as they are where they have their size.

A driver needs `begin_attempt` and `find_finished`, and one whose programs outlive it those of `attempt_directory`, too.
"""

from __future__ import annotations

import contextlib
import errno
import os
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from plantimager.timelapse.datasets.attempt_directory import (
    make_attempt_directory,
    move_into_place,
    remove_if_empty,
    unfinished_attempts,
)
from plantimager.timelapse.datasets.contents import check_contents, has_all_bytes, total_bytes
from plantimager.timelapse.datasets.plantdb_layout import add_observed
from plantimager.timelapse.datasets.receipt import (
    FILES,
    OBSERVED,
    RECEIPT,
    boot_id,
    digest_of_all,
    make_receipt,
    read_receipt,
    receipt_text,
    result_from_receipt,
)
from plantimager.timelapse.datasets.syncing import GROUP_FILE, digest_tree, forget_cached, open_to_group, sync_tree
from plantimager.timelapse.scan.request import Observed
from plantimager.timelapse.support.durable import sweep_temporaries, sync_directory, write_durably
from plantimager.timelapse.support.errors import PicturesUnreadable, ScanFailed, ScannerNotReady
from plantimager.timelapse.support.file_system import describe_disk_error
from plantimager.timelapse.support.progress import current_report

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from plantimager.timelapse.scan.request import ScanRequest, ScanResult
    from plantimager.timelapse.support.progress import Report

_DISK_FULL: Final = (errno.ENOSPC, errno.EDQUOT)

MAX_SILENCE: Final = timedelta(seconds=10)
"""Between two signs of life of `find_finished`: one chunk of a file is put on disk, or the receipt."""


class Attempt:
    """The directory of one attempt, which becomes the dataset when it is finished."""

    def __init__(self, request: ScanRequest, directory: Path, report: Report | None = None) -> None:
        self.request, self.directory = request, directory
        self._report = report or current_report()
        self._observation = None if request.observe is None else request.observe(request)
        self._receipt: dict[str, Any] | None = None
        self._note = ""

    def seal(self, result: ScanResult) -> None:
        """Write the receipt: everything is taken, and a kill from here on loses nothing.

        `finish` does it, too. A driver calls it itself where there is something left to do before `finish`.

        Raises
        ------
        ScanFailed
            The pictures of ``result`` are not there; there is no receipt.
        OSError
            The disk refuses; there is no receipt.
        """
        sweep_temporaries(self.directory / RECEIPT)
        check_contents(self.directory, result.pictures)
        observed = Observed() if self._observation is None else self._observation.result(self._report)
        if not os.access(self.directory, os.W_OK):  # a program has write-protected its pictures
            open_to_group(self.directory)
        refusal = "" if observed.values is None else add_observed(self.directory, observed.values)
        note = _join(observed.note, refusal)
        sealed = replace(result, note=_join(result.note, note))
        receipt = make_receipt(self.request, sealed, total_bytes(self.directory))
        if observed.values is not None:
            receipt[OBSERVED] = observed.values
        _write_receipt(self.directory, receipt, self._report)
        self._receipt, self._note = receipt, note

    def stop(self) -> None:
        """End the observation, if it still goes on: the attempt is over."""
        if self._observation is not None:
            self._observation.stop()

    def finish(self, result: ScanResult) -> ScanResult:
        """Sync everything to disk, move it into place, and return ``result``, with a note on what was moved for it.

        Raises
        ------
        ScanFailed
            The place is that of another rig's dataset, or as `seal`.
        OSError
            The disk refuses; the dataset is not in its place.
        """
        if self._receipt is None:
            self.seal(result)
        assert self._receipt is not None  # noqa: S101 - by seal; this informs mypy
        result = replace(result, note=_join(result.note, self._note))
        _put_on_disk(self.directory, self._receipt, self._report)
        return _complete(self.request, self.directory, result)


@contextmanager
def begin_attempt(request: ScanRequest, report: Report | None = None) -> Iterator[Attempt]:
    """Make the directory of an attempt, to be finished within the block.

    An attempt that isn't finished keeps its directory, which is removed if nothing is in it. ``report`` is called with
    a sentence while the pictures are put on disk, which may take longer than a scan may go without progress; by default
    the daemon is told.

    Raises
    ------
    ScannerNotReady
        The directory can't be made: the disk is read-only, full or not mounted. Nothing has begun, and a person may
        correct it within the grace period.
    ScanFailed
        The disk refused a later write, or `MAX_DIRECTORIES` directories of this number are there.
    """
    try:
        directory = make_attempt_directory(request)
    except OSError as problem:
        raise ScannerNotReady(_describe(problem, request)) from problem
    try:
        attempt = Attempt(request, directory, report)
        try:
            yield attempt
        finally:
            attempt.stop()
            remove_if_empty(directory)
    except OSError as problem:
        raise ScanFailed(_describe(problem, request)) from problem


def _describe(problem: OSError, request: ScanRequest) -> str:
    return f"{problem.filename or request.dataset_dir.parent}: {describe_disk_error(problem)}"


def find_finished(request: ScanRequest, report: Report | None = None) -> ScanResult | None:
    """Return the result of the attempt that finished this slot's dataset, None if none did.

    Rig, timelapse, slot and scheduled time of the receipt have to be those of ``request``, so that a dataset of the
    same name that belongs to another experiment doesn't count. An `Attempt.finish` that was interrupted is completed,
    with ``report`` as in `begin_attempt`.

    Raises
    ------
    ScanFailed
        An attempt is whole, and the place is that of another rig's dataset.
    ScannerNotReady
        The disk of the datasets is away or fails: nobody knows. `PicturesUnreadable` where pictures or receipt of this
        very attempt can't be read; those of an earlier one are left aside then.
    """
    report, receipt = report or current_report(), None
    try:
        with contextlib.suppress(PermissionError):  # what is closed to this user is another rig's
            receipt = read_receipt(request.dataset_dir, request)
        attempts, asked_about = unfinished_attempts(request), unfinished_attempts(request, request.attempt)
        if receipt is not None:
            sync_directory(request.dataset_dir.parent)  # the process that gave it its name may have been killed before
            return result_from_receipt(receipt)
    except OSError as problem:
        raise ScannerNotReady(_describe(problem, request)) from problem
    for directory in attempts:
        try:
            receipt = read_receipt(directory, request)
            if receipt is not None and _may_be_whole(directory, receipt):
                _put_on_disk(directory, receipt, report, is_read_back=True)
                return _complete(request, directory, result_from_receipt(receipt))
        except _NotWhole:
            continue
        except OSError as problem:  # not finished then: nobody looks for a dataset in a hidden directory
            if directory in asked_about and problem.errno not in (errno.ENOENT, errno.ENOTDIR):
                cure = f"where that lasts, move {directory} away: its scan counts as not there then"
                raise PicturesUnreadable(f"{_describe(problem, request)}; {cure}") from problem
    return None


class _NotWhole(OSError):
    """The disk hasn't what it was given, or nobody could know later that it has."""


def _may_be_whole(directory: Path, receipt: dict[str, Any]) -> bool:
    """Whether the files of a sealed attempt have their size, and can be told from what a power cut has left of them.

    A receipt without digests was written before any sync: it is believed in the boot in which that was.
    """
    sweep_temporaries(directory / RECEIPT)  # of a process that was killed while it wrote the receipt
    is_of_this_boot = receipt.get("boot") == boot_id() is not None
    return has_all_bytes(directory, receipt) and (digest_of_all(receipt) is not None or is_of_this_boot)


def _put_on_disk(directory: Path, receipt: dict[str, Any], report: Report, *, is_read_back: bool = False) -> None:
    """Sync the files of a sealed attempt, after its receipt was given their digests, where it had none.

    With ``is_read_back`` they are read from the disk, not from memory: the kernel reports a write that failed to one
    sync, and the process that was told may have ended. The digests are on disk before that sync, and before memory, of
    which they are made, is given up. Where a disk that is full of pictures has no space for them, or they are made when
    memory may have been given up before, a refusal costs the attempt its receipt: nobody could know of it later.

    Raises
    ------
    _NotWhole
        The disk hasn't what it was given, or refuses something of which nobody could know later.
    OSError
        The disk refuses something.
    """
    is_new, is_full = digest_of_all(receipt) is None, False
    if is_new:
        receipt = {**receipt, FILES: digest_tree(directory, report)}
        try:
            _write_receipt(directory, receipt, report)
        except OSError as problem:
            is_full = problem.errno in _DISK_FULL
            if not is_full:
                raise
    is_final = is_full or (is_new and is_read_back)
    try:
        sync_tree(directory, report)
        is_final = is_full
        if is_read_back:
            forget_cached(directory)
            if digest_of_all({FILES: digest_tree(directory, report)}) != digest_of_all(receipt):
                raise _NotWhole(errno.EIO, "the disk hasn't what it was given", str(directory))
    except OSError as problem:
        if not is_final:
            raise
        with contextlib.suppress(OSError):
            (directory / RECEIPT).unlink()
        raise _NotWhole(problem.errno, problem.strerror, problem.filename) from problem


def _complete(request: ScanRequest, directory: Path, result: ScanResult) -> ScanResult:
    """Take the last step, and return ``result``, with a note on what was moved for it."""
    return replace(result, note=_join(result.note, move_into_place(directory, request)))


def _write_receipt(directory: Path, receipt: dict[str, Any], report: Report) -> None:
    write_durably(directory / RECEIPT, receipt_text(receipt))
    (directory / RECEIPT).chmod(GROUP_FILE)
    report("putting the receipt on disk")


def _join(*notes: str) -> str:
    return "; ".join(dict.fromkeys(filter(None, notes)))  # a driver's program and an observing one may say the same
