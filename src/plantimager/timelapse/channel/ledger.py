"""The ledger of a delivery target: which datasets it has, in an append-only file of one line each.

A line is a JSON object, a tab, and its CRC-32. It is synced before it counts. The last line, where a power cut tore it,
is left out. A line that the disk damaged may have taken back any line before it: what those claim is not believed, and
the datasets are compared again with what the target has. The relay's sinks record, its control thread has it forget; a
lock of the file keeps them apart. A file that can't be read or written is an `OSError`.
"""

from __future__ import annotations

import fcntl
import os
import zlib
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from plantimager.timelapse.support.durable import (
    PRIVATE_FILE,
    FileTooLarge,
    make_private_directory,
    read_regular,
    sync_directory,
    write_durably,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

MAX_LEDGER_BYTES: Final = 1 << 28
"""A million datasets."""
REMOVED_LEDGER: Final = "removed"
"""The ledger of the datasets that retention has removed; the names of those of targets have an ending."""
_PIECE: Final = 4096
SPARE_LINES: Final = 1000
"""Lines of earlier outcomes that may stay in the file before it is written again without them."""


class Outcome(StrEnum):
    """What became of a dataset at its target."""

    BEGUN = "begun"
    """The target has a part of it. It is completed before any other."""
    DELIVERED = "delivered"
    """The target has all of it, and it was compared."""
    REFUSED = "refused"
    """It can't be delivered as it is, and is not tried again until a person asks for that."""
    REMOVED = "removed"
    """It was removed here, after its delivery to the targets that `LedgerEntry.why` names."""
    JUDGED = "judged"
    """Its pictures were looked at; what was measured is in `LedgerEntry.measured`."""
    FORGOTTEN = "forgotten"
    """Nothing is known of it any more."""


_HARMLESS: Final = frozenset({Outcome.BEGUN, Outcome.REMOVED, Outcome.JUDGED})
"""What may be believed though it was taken back: the first is compared anyway, the others never are."""


class LedgerEntry(Struct, frozen=True, omit_defaults=True, gc=False):
    """The last outcome of one dataset."""

    key: str
    """The dataset and its scheduled time, see `dataset_key`; empty for none, as a sign to try again."""
    outcome: Outcome
    at: str
    """When, ISO-8601."""
    files: int = 0
    size: int = 0
    """Bytes."""
    digest: str = ""
    """SHA-256 of the dataset as its receipt has it, see `sealed_dataset.SealedDataset`."""
    left: int = 0
    """Files that the target doesn't take."""
    by_length: bool = False
    """Whether lengths alone were compared."""
    why: str = ""
    place: str = ""
    """A short digest of the server's address or of the remote."""
    measured: str = ""
    """What was measured of its pictures, packed; earlier versions had it in ``why``."""

    @property
    def targets(self) -> Sequence[str]:
        """The targets of a dataset that was removed here."""
        return self.why.split(", ") if self.outcome is Outcome.REMOVED else ()

    @property
    def scan_id(self) -> str:
        """The name of the dataset."""
        return self.key.partition(" ")[0]


class Ledger:
    """The ledger in a file. One thread."""

    def __init__(self, path: Path, place_in: Callable[[Mapping[str, str]], str] = lambda _: "") -> None:
        """``place_in`` returns the place of the target, where the store names some database."""
        self.path, self._place_in = path, place_in
        self.place = ""
        """Where the target is now: entries of another place don't count for it. Empty for any."""
        self.entries: dict[str, LedgerEntry] = {}
        self.damaged_lines = 0
        self._signature: tuple[int, int] | None = None

    @property
    def has_changed(self) -> bool:
        """Whether the file isn't as this object left it."""
        return _signature(self.path) != self._signature

    def known(self, key: str) -> LedgerEntry | None:
        """Return the last outcome of a dataset at the present place; ``None`` where there is none."""
        entry = self.entries.get(key)
        return entry if entry is None or self.place in {"", entry.place} else None

    def move(self, database: Mapping[str, str]) -> bool:
        """Take up what the store names now; return whether that makes another place."""
        before, self.place = self.place, self._place_in(database)
        return self.place != before

    def refresh(self, *, mend: bool = False) -> bool:
        """Read the file where it isn't as this object left it; return whether it was read.

        Its one keeper, which tells of damage, has it mended: written again without damage and earlier outcomes.
        """
        if not self.has_changed:
            return False
        before = _signature(self.path)
        try:
            content = read_regular(self.path, MAX_LEDGER_BYTES)
        except FileNotFoundError:
            content = b""
        except FileTooLarge:
            content = b"?\n"  # as good as lost
        read = [_decode(line) for line in content.split(b"\n") if line]
        self.damaged_lines = read.count(None)
        if read and read[-1] is None and not content.endswith(b"\n"):
            read.pop()  # torn: it never counted, but is told
        self.entries = _last_outcomes(read)
        self._signature = before
        is_long = len(read) > 2 * len(self.entries) + SPARE_LINES
        if mend and (self.damaged_lines or is_long):
            self._compact()
        return True

    def record(self, *entries: LedgerEntry) -> None:
        """Add outcomes, durably. They count from now on in any case, also where this raises `OSError`."""
        entries = tuple(replace(entry, place=self.place) for entry in entries)
        for entry in entries:
            self.entries.pop(entry.key, None)
            if entry.outcome is not Outcome.FORGOTTEN:
                self.entries[entry.key] = entry
        make_private_directory(self.path.parent)
        with self._locked() as descriptor:
            status = os.fstat(descriptor)
            size, before = status.st_size, (status.st_ino, status.st_size)
            was_read = before == self._signature or (not size and self._signature in {None, (0, 0)})
            size = _end_last_line(descriptor, size)
            if was_read:  # should the disk refuse it: nothing of it is there that `refresh` is to read
                self._signature = (status.st_ino, size)
            text = b"".join(map(_encode, entries))
            written = os.write(descriptor, text)
            if written < len(text):
                os.ftruncate(descriptor, size)
                raise OSError(28, "the disk is full", str(self.path))
            os.fsync(descriptor)
            if not size:
                sync_directory(self.path.parent)
            if was_read:  # else somebody has added to it since the last `refresh`, which the next one is to read
                self._signature = (status.st_ino, size + written)

    def _compact(self) -> None:
        """Write the file again, with the last outcomes only."""
        with self._locked() as descriptor:
            status = os.fstat(descriptor)
            if (status.st_ino, status.st_size) != self._signature:  # somebody has just added to it
                return
            content = [_encode(entry) for entry in self.entries.values()]
            write_durably(self.path, content, owner=(status.st_uid, status.st_gid))
            self._signature = _signature(self.path)

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """Yield a descriptor of the locked file for appending to it."""
        while True:
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            descriptor = os.open(self.path, flags, PRIVATE_FILE)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                if os.path.samestat(os.fstat(descriptor), self.path.stat()):
                    yield descriptor
                    return
            finally:  # where the file was compacted meanwhile, the new one is opened
                os.close(descriptor)


def dataset_key(scan_id: str, scheduled_at: datetime) -> str:
    """Return the name of a dataset in ledgers. A later timelapse of the same name has other times."""
    return f"{scan_id} {scheduled_at.isoformat()}"


def _last_outcomes(entries: Iterable[LedgerEntry | None]) -> dict[str, LedgerEntry]:
    """Return the last entries; ``None`` is a damaged one, before which nothing counts that one could take back."""
    last: dict[str, LedgerEntry] = {}
    for entry in entries:
        if entry is None:
            last = {key: entry for key, entry in last.items() if entry.outcome in _HARMLESS}
        else:
            last[entry.key] = entry
    return {key: entry for key, entry in last.items() if entry.outcome is not Outcome.FORGOTTEN}


def _end_last_line(descriptor: int, size: int) -> int:
    """End a last line that lacks its end, or cut it off where it is torn; return the size of the file then."""
    tail = b""
    while len(tail) < size and b"\n" not in tail:
        start = max(size - len(tail) - _PIECE, 0)
        tail = os.pread(descriptor, size - len(tail) - start, start) + tail
    line = tail.rpartition(b"\n")[2]
    if not line:
        return size
    if _decode(line) is not None:
        return size + os.write(descriptor, b"\n")
    os.ftruncate(descriptor, size - len(line))
    return size - len(line)


def _encode(entry: LedgerEntry) -> bytes:
    text = msgspec.json.encode(entry)
    return b"%s\t%08x\n" % (text, zlib.crc32(text))


def _decode(line: bytes) -> LedgerEntry | None:
    """Return the entry of a line, ``None`` where it is damaged."""
    text, _, checksum = line.rpartition(b"\t")
    if checksum != b"%08x" % zlib.crc32(text):
        return None
    try:
        return msgspec.json.decode(text, type=LedgerEntry)
    except (ValueError, RecursionError):
        return None


def _signature(path: Path) -> tuple[int, int] | None:
    """Return what changes when a file is appended to or replaced."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return (0, 0)
    return status.st_ino, status.st_size


def forget_datasets(
    ledger: Ledger, forgotten: Callable[[LedgerEntry], bool], at: str, *, retries: bool = True
) -> Sequence[LedgerEntry]:
    """Have a ledger forget some datasets, and return what it said of them; each is compared again.

    The relay notices the change, and tries at once whatever waits; where nothing is forgotten, too, if it ``retries``.
    """
    ledger.refresh()
    known = [entry for entry in ledger.entries.values() if forgotten(entry)]
    if ledger.path.exists() and (known or retries):
        ledger.record(*(LedgerEntry(key, Outcome.FORGOTTEN, at) for key in ("", *(entry.key for entry in known))))
    return known
