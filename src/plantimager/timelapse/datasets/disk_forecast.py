"""How full the datasets' disk will be: at which slot no scan fits any more, with what retention has deleted by then."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from plantimager.timelapse.datasets.contents import total_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime, timedelta
    from pathlib import Path


class Retention(Struct, frozen=True):
    """What is deleted of the datasets that every target has, the oldest first."""

    keep: timedelta | None = None
    """Those that were taken longer ago than this; none where it is ``None``."""
    keep_free: int = 0
    """As many as make so many bytes free."""


NO_RETENTION: Final = Retention()


class DiskForecast(Struct, frozen=True):
    """The use of the disk by datasets of one size."""

    full_slot: int | None
    """The first of the slots whose scan doesn't fit."""
    most: int
    """Bytes that they take at a time, at most; until the disk is full."""


def forecast_disk(
    slots: Iterable[datetime],
    size: int,
    free: int,
    reserve: int = 0,
    *,
    held: Sequence[datetime] = (),
    retention: Retention = NO_RETENTION,
) -> DiskForecast:
    """Return how full a disk with ``free`` bytes will be with a dataset of ``size`` bytes for each slot, in order.

    A scan fits where it leaves ``reserve`` bytes. ``held`` are the times of datasets that are there, of the same size.
    It is taken for granted that a dataset is delivered before the next slot: a relay without a network deletes nothing.

    Raises
    ------
    ValueError
        ``size`` is not above 0.
    """
    if size <= 0:
        raise ValueError("datasets have no size")
    present, left = deque(held), free
    most = len(present)
    for number, at in enumerate(slots):
        while present and (left < retention.keep_free or _is_over(present[0], at, retention.keep)):
            present.popleft()
            left += size
        if left - size < reserve:
            return DiskForecast(number, most * size)
        present.append(at)
        left -= size
        most = max(most, len(present))
    return DiskForecast(None, most * size)


def _is_over(taken_at: datetime, at: datetime, keep: timedelta | None) -> bool:
    return keep is not None and taken_at + keep <= at


def dataset_bytes(dataset: Path) -> int:
    """Return the bytes of a dataset's files; 0 where it is gone, or can't be read."""
    with suppress(OSError):
        return total_bytes(dataset)
    return 0
