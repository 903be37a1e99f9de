"""The keeper of the store: build the next value, save it, adopt it - and go on when saving fails.

Used on the loop thread alone; nobody else writes the store.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from msgspec.structs import replace

from plantimager.timelapse.daemon.journal import Action, log_event
from plantimager.timelapse.store.archive import file_stamp
from plantimager.timelapse.store.location import backup_path
from plantimager.timelapse.store.logbook import Logbook
from plantimager.timelapse.store.store_file import MAX_STORE_BYTES
from plantimager.timelapse.store.writing import StoreWriter
from plantimager.timelapse.support.durable import keep_copy, move_aside, read_regular, restore_file, write_durably

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from plantimager.timelapse.domain.timelapse import TimeLapse
    from plantimager.timelapse.store.loading import LoadedTimelapse
    from plantimager.timelapse.store.stored_timelapse import StoredTimelapse
    from plantimager.timelapse.support.errors import StoreCorrupt

_Signature = tuple[int, int, int]


class Keeper:
    """Holds the timelapse in memory and its store on disk, in this order of truth: disk, unless it can't be written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.stored: StoredTimelapse | None = None
        self.trouble: str | None = None
        """Why the last save failed; the daemon is degraded until one succeeds."""
        self._signature: _Signature | None = None
        """By which the file is known as the one that we read or wrote last; ``None`` where there was none."""
        self._foreign = False
        """Whether the file as it is now is foreign or corrupt, and kept aside; it must not become the backup."""
        self._writer = StoreWriter()
        self._corrupt: LoadedTimelapse | None = None
        """What was read instead of a file that can't be used and is still there, because it can't be set aside."""

    @property
    def timelapse(self) -> TimeLapse | None:
        """The timelapse as it is now."""
        return None if self.stored is None else self.stored.timelapse

    @property
    def logbook(self) -> Logbook:
        """What the daemon knows of its own past."""
        return Logbook() if self.stored is None else self.stored.logbook

    def look(self) -> None:
        """Know the file as it is now, before it is read: whoever changes it from here on is somebody else."""
        self._signature = _signature_of(self.path)

    def quarantine(self, corrupt: StoreCorrupt, at: datetime) -> None:
        """Move a store that can't be used to where a person finds it, and a backup that can't be, too; say so.

        Raises
        ------
        OSError
            They can't be moved.

        """
        aside = [move_aside(self.path, "corrupt", file_stamp(at))]
        self._signature = None
        with contextlib.suppress(FileNotFoundError):
            aside.append(move_aside(backup_path(self.path), "corrupt", file_stamp(at)))
        log_event(Action.STORE_QUARANTINED, f"{corrupt}; kept as {' and '.join(path.name for path in aside)}")

    def fall_back(self, loaded: LoadedTimelapse, at: datetime) -> None:
        """Put the backup that was read in the place of a store that can't be used, and that aside; say so.

        From here on it makes no difference that the power may go again: the file is sound and the corrupt one kept.
        On a disk that can't be written both stay as they are until the first save that can be.
        """
        self._corrupt = loaded
        try:
            self._keep_corrupt_aside(at)
            restore_file(self.path, loaded.path)
        except OSError as problem:
            self.trouble = problem.strerror or str(problem)
            log_event(Action.STORE_NOT_SAVED, f"{loaded.trouble}; {loaded.path} can't take its place ({self.trouble})")
        else:
            self._signature, self._foreign = _signature_of(self.path), False
        log_event(Action.STORE_FROM_BACKUP, f"going on from {loaded.path}, one save older")

    def _keep_corrupt_aside(self, at: datetime) -> None:
        """Keep what `fall_back` found, unless that is done; from then on it may be written over."""
        if self._corrupt is None:
            return
        aside = keep_copy(self.path, "corrupt", file_stamp(at))
        log_event(Action.STORE_QUARANTINED, f"{self._corrupt.trouble}; kept as {aside.name}")
        self._corrupt, self._signature, self._foreign = None, _signature_of(self.path), True

    def hold(self, stored: StoredTimelapse) -> None:
        """Take over what was read from the file as it was at the last `look`."""
        self.stored = stored

    def commit(self, timelapse: TimeLapse, at: datetime, *, logbook: Logbook | None = None) -> bool:
        """Save the next value, then adopt it; return whether it is on disk.

        A save that fails is told once, and the value is adopted all the same: a duplicate scan can be
        deleted, a missed time point can't be taken again. `retry` brings the disk up to date.
        """
        if self.stored is None:
            raise LookupError("nothing is held")
        after = replace(logbook if logbook is not None else self.logbook, saved_at=at)
        return self._save(self.stored.evolved(timelapse, after), at)

    def text(self) -> bytes:
        """Return the text of the store: that on disk, or what belongs there where that is not up to date."""
        if self.stored is None:
            raise LookupError("nothing is held")
        if self.trouble is None and self._signature == _signature_of(self.path):
            with contextlib.suppress(OSError):
                return read_regular(self.path, MAX_STORE_BYTES)
        return self.stored.encode()

    def start(self, stored: StoredTimelapse, at: datetime) -> bool:
        """Save and adopt a timelapse that begins."""
        return self._save(replace(stored, logbook=replace(stored.logbook, saved_at=at)), at)

    def retry(self, at: datetime) -> bool:
        """Try again to save what is in memory; return whether it is on disk."""
        return self.timelapse is None or self.commit(self.timelapse, at)

    def _save(self, following: StoredTimelapse, at: datetime) -> bool:
        content = self._writer.encode(following)
        try:
            self._keep_corrupt_aside(at)
            foreign = self._set_foreign_change_aside(at)
            written = write_durably(self.path, content, backup=None if foreign else backup_path(self.path))
        except OSError as problem:
            self.stored = following
            self._degrade(problem, content)
            return False
        self.stored = following
        self._signature, self._foreign = (written.st_ino, written.st_mtime_ns, written.st_size), False
        if self.trouble is not None:
            self.trouble = None
            log_event(Action.STORE_SAVED_AGAIN, f"{self.path} is up to date again", timelapse=following.timelapse)
        return True

    def _degrade(self, problem: OSError, content: Sequence[bytes]) -> None:
        with contextlib.suppress(OSError):
            # The file may be in place though its directory could not be synced: then it is ours.
            if read_regular(self.path, sum(map(len, content))) == b"".join(content):
                self._signature, self._foreign = _signature_of(self.path), False
        reason = problem.strerror or str(problem)
        if self.trouble != reason:
            self.trouble = reason
            sentence = f"{self.path} can't be written ({reason}); scans go on, and saving is tried again"
            log_event(Action.STORE_NOT_SAVED, sentence, timelapse=self.timelapse)

    def _set_foreign_change_aside(self, at: datetime) -> bool:
        """Keep what somebody else wrote over our file, and say so; return whether there was any."""
        now = _signature_of(self.path)
        if now == self._signature:
            return self._foreign
        if now is None:
            sentence = f"{self.path} was deleted by somebody else; it is written again"
        else:
            aside = keep_copy(self.path, "foreign", file_stamp(at))
            sentence = f"{self.path} was written by somebody else; that version is kept as {aside.name}"
        self._signature, self._foreign = now, now is not None  # told and kept once, however often a save is tried
        log_event(Action.STORE_CHANGED, sentence, timelapse=self.timelapse)
        return self._foreign


def _signature_of(path: Path) -> _Signature | None:
    try:
        status = os.stat(path)  # noqa: PTH116 - one system call per save
    except OSError:
        return None
    return (status.st_ino, status.st_mtime_ns, status.st_size)
