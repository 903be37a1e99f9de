"""The archive: the stores of timelapses that have ended, one file each in ``history/``, and how long scans took."""

from __future__ import annotations

import itertools
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from plantimager.timelapse.domain.states import RecordStatus
from plantimager.timelapse.store.loading import load_timelapse
from plantimager.timelapse.support.durable import make_private_directory, write_durably
from plantimager.timelapse.support.errors import TimelapsedError
from plantimager.timelapse.support.file_system import is_there

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import timedelta
    from pathlib import Path

    from plantimager.timelapse.domain.timelapse import TimeLapse

MAX_STORES: Final = 3
"""Archived stores that are read at most; the newest first."""
MAX_SCANS: Final = 5
"""Scans of which the middle one counts: one that was slow for once says little."""


def archive_store(text: bytes, name: str, history: Path, stamp: str) -> Path:
    """Put the text of an ended timelapse's store into ``history``, over nothing that is there; return the file."""
    make_private_directory(history)
    names = itertools.chain([name, f"{name}-{stamp}"], (f"{name}-{stamp}-{number}" for number in itertools.count(2)))
    archived = next(path for stem in names if not is_there(path := history / f"{stem}.json"))
    write_durably(archived, text)
    return archived


class PastScans(Struct, frozen=True):
    """How long the last scans of a timelapse took, and the names of their datasets."""

    timelapse_id: str
    took: timedelta
    scan_ids: tuple[str, ...]


def find_past_scans(store: Path, history: Path) -> PastScans | None:
    """Return what the last timelapse with a taken slot says; ``None`` where none is known, or none may be read."""
    for path in _newest_first(store, history):
        with suppress(TimelapsedError, OSError):
            loaded = load_timelapse(path)
            found = None if loaded is None else past_scans_of(loaded.stored.timelapse)
            if found is not None:
                return found
    return None


def past_scans_of(timelapse: TimeLapse) -> PastScans | None:
    """Return what is known of the last scans of a timelapse; ``None`` where none was taken."""
    newest_first = map(timelapse.records.__getitem__, sorted(timelapse.records, reverse=True))
    taken = ((r.took, r.scan_id) for r in newest_first if r.status is RecordStatus.SUCCEEDED)
    last = sorted(itertools.islice(((took, name) for took, name in taken if took is not None), MAX_SCANS))
    return PastScans(timelapse.id, last[len(last) // 2][0], tuple(name for _, name in last)) if last else None


def _newest_first(store: Path, history: Path) -> Iterator[Path]:
    yield store
    with suppress(OSError):
        archived = sorted(history.glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
        yield from archived[:MAX_STORES]
