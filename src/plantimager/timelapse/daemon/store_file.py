"""The file of the store: written durably, by the disk thread, and never over anything that the daemon hasn't read."""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING

from plantimager.timelapse.daemon.journal import Action, log_event
from plantimager.timelapse.store.differences import describe_alteration
from plantimager.timelapse.store.loading import load_timelapse
from plantimager.timelapse.store.location import backup_path, follow_link
from plantimager.timelapse.store.raw_text import MAX_STORE_BYTES
from plantimager.timelapse.support.durable import (
    FileTooLarge,
    file_stamp,
    keep_copy,
    move_aside,
    read_regular,
    restore_file,
    write_durably,
)
from plantimager.timelapse.support.errors import StoreCorrupt

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from plantimager.timelapse.domain.timelapse import TimeLapse
    from plantimager.timelapse.store.loading import LoadedTimelapse

_Signature = tuple[int, int, int]


class StoreFile:
    """The file of the store and its ``.bak``; a version that another program wrote is kept aside."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._signature: _Signature | None = None
        """Identifies the version that was read or written last; ``None`` where there was no file."""
        self._foreign = False
        """Whether the present version is foreign or corrupt, and kept aside: it must not become the ``.bak``."""
        self._unkept: tuple[Action, str, str] | None = None
        """The line, the label and what is wrong, of a version that is still in place and to be kept aside."""

    @property
    def must_rewrite(self) -> bool:
        """Whether the present version is one that the next start would find fault with again."""
        return self._foreign or self._unkept is not None

    def note_version(self) -> None:
        """Take the present version for our own; whoever changes the file from here on is another program."""
        self._signature = _signature_of(self.path)

    def load(self) -> LoadedTimelapse | StoreCorrupt | None:
        """Return what the file holds, or why it can't be used; ``None`` where there is no file.

        Raises
        ------
        StoreUnreadable
            It can't be read now.
        """
        self.note_version()
        try:
            return load_timelapse(self.path)
        except StoreCorrupt as corrupt:
            return corrupt

    def quarantine(self, corrupt: StoreCorrupt, at: datetime) -> None:
        """Move a corrupt file, and a corrupt ``.bak``, to names under which a person finds them.

        Raises
        ------
        OSError
            They can't be moved.
        """
        target = follow_link(self.path)
        aside = [move_aside(target, "corrupt", file_stamp(at))]
        self._signature = None
        with contextlib.suppress(FileNotFoundError):
            aside.append(move_aside(backup_path(target), "corrupt", file_stamp(at)))
        log_event(Action.STORE_QUARANTINED, f"{corrupt}; kept as {' and '.join(path.name for path in aside)}")

    def mend(self, loaded: LoadedTimelapse, at: datetime) -> str | None:
        """Do what a start has to do about a version that can be used, with its ``.bak``; return why that failed."""
        trouble = None if loaded.trouble is None else self.restore_backup(loaded, loaded.trouble, at)
        if loaded.is_altered:
            self.keep_altered(loaded, at)
        return trouble

    def restore_backup(self, loaded: LoadedTimelapse, corrupt: StoreCorrupt, at: datetime) -> str | None:
        """Put the ``.bak`` that was read in the place of a corrupt file, which is kept; return why that failed.

        Afterwards another power cut changes nothing. On a disk that can't be written both files stay as they are
        until the first save that succeeds.
        """
        self._unkept, trouble = (Action.STORE_QUARANTINED, "corrupt", str(corrupt)), None
        try:
            self._keep_aside(at)
            restore_file(follow_link(self.path), loaded.path)
        except OSError as problem:
            trouble = problem.strerror or str(problem)
            log_event(Action.STORE_NOT_SAVED, f"{corrupt}; {loaded.path} can't take its place ({trouble})")
        else:
            self._signature, self._foreign = _signature_of(self.path), False
        log_event(Action.STORE_FROM_BACKUP, f"going on from {loaded.path}, one save older")
        return trouble

    def keep_altered(self, loaded: LoadedTimelapse, at: datetime) -> None:
        """Keep a copy of a version that doesn't fit its digest, and report what differs from its ``.bak``.

        On a disk that can't be written that is done before the first save that succeeds.
        """
        words = f"{loaded.path} was edited while no daemon ran, or is damaged; {describe_alteration(loaded)}"
        if self._unkept is not None:  # it is a .bak that can't take the place of a corrupt version yet
            log_event(Action.STORE_CHANGED, words)
            return
        self._unkept = (Action.STORE_CHANGED, "foreign", words)
        try:
            self._keep_aside(at)
        except OSError as problem:
            reason = problem.strerror or str(problem)
            log_event(Action.STORE_CHANGED, f"{words}; no copy can be kept yet ({reason})")

    def write(self, content: Sequence[bytes], at: datetime, timelapse: TimeLapse | None) -> None:
        """Write the next version, and keep the one before as ``.bak``; ``timelapse`` is that of the present version.

        Raises
        ------
        OSError
            It can't be written, or is larger than what is read.
        """
        size = sum(map(len, content))
        if size > MAX_STORE_BYTES:
            raise FileTooLarge(errno.EFBIG, f"{size} bytes, at most {MAX_STORE_BYTES} are read again")
        try:
            self._keep_aside(at)
            foreign = self._keep_foreign_aside(at, timelapse)
            target = follow_link(self.path)
            written = write_durably(target, content, backup=None if foreign else backup_path(target))
        except OSError:
            with contextlib.suppress(OSError):
                # The file may be in place though its directory could not be synced: then it is ours.
                if read_regular(self.path, size) == b"".join(content):
                    self._signature, self._foreign = _signature_of(self.path), False
            raise
        self._signature, self._foreign = (written.st_ino, written.st_mtime_ns, written.st_size), False

    def read_own(self) -> bytes | None:
        """Return the text of the file where that is the version that was read or written last; else ``None``."""
        if self._signature == _signature_of(self.path):
            with contextlib.suppress(OSError):
                return read_regular(self.path, MAX_STORE_BYTES)
        return None

    def _keep_aside(self, at: datetime) -> None:
        """Copy the version that a start has found fault with, once; then it may be written over."""
        if self._unkept is None:
            return
        action, label, words = self._unkept
        aside = keep_copy(follow_link(self.path), label, file_stamp(at))
        log_event(action, f"{words}; kept as {aside.name}")
        self._unkept, self._signature, self._foreign = None, _signature_of(self.path), True

    def _keep_foreign_aside(self, at: datetime, timelapse: TimeLapse | None) -> bool:
        """Copy a version that another program wrote; return whether the present version is such a one."""
        now = _signature_of(self.path)
        if now == self._signature:
            return self._foreign
        if now is None:
            sentence = f"{self.path} was deleted by somebody else; it is written again"
        else:
            aside = keep_copy(follow_link(self.path), "foreign", file_stamp(at))
            sentence = f"{self.path} was written by somebody else; that version is kept as {aside.name}"
        self._signature, self._foreign = now, now is not None  # kept and logged once, however often a save is tried
        log_event(Action.STORE_CHANGED, sentence, timelapse=timelapse)
        return self._foreign


def _signature_of(path: Path) -> _Signature | None:
    try:
        status = os.stat(path)  # noqa: PTH116 - one system call per save
    except OSError:
        return None
    return (status.st_ino, status.st_mtime_ns, status.st_size)
