"""How long the last scans of a rig took, as its store and its archive have it."""

from __future__ import annotations

from contextlib import suppress
from statistics import median
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from plantimager.timelapse.domain.states import RecordStatus
from plantimager.timelapse.store.loading import load_timelapse
from plantimager.timelapse.support.errors import TimelapsedError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import timedelta
    from pathlib import Path

    from plantimager.timelapse.domain.timelapse import TimeLapse

MAX_STORES: Final = 3
"""Archived stores that are read at most; the newest first."""
MAX_SCANS: Final = 5
"""Scans of which the median counts: one that was slow for once says little."""


class PastScans(Struct, frozen=True):
    """How long the last scans of a timelapse took."""

    timelapse_id: str
    took: timedelta


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
    """Return how long the last scans of a timelapse took; ``None`` where none was taken."""
    took: list[timedelta] = []
    for slot in sorted(timelapse.records, reverse=True):
        record = timelapse.records[slot]
        if record.status is RecordStatus.SUCCEEDED and record.took is not None:
            took.append(record.took)
        if len(took) == MAX_SCANS:
            break
    return PastScans(timelapse.id, median(took)) if took else None  # type: ignore[type-var]


def _newest_first(store: Path, history: Path) -> Iterator[Path]:
    yield store
    with suppress(OSError):
        archived = sorted(history.glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
        yield from archived[:MAX_STORES]
