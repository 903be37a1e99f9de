"""The slots that were taken, as values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from plantimager.timelapse.channel.ledger import dataset_key
from plantimager.timelapse.domain.states import RecordStatus

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from plantimager.timelapse.domain.timelapse import TimeLapse


class TakenScan(Struct, frozen=True, gc=False):
    """One slot that was taken."""

    scan_id: str
    timelapse_id: str
    slot: int
    scheduled_at: datetime
    taken_at: datetime

    @property
    def key(self) -> str:
        """The name of the scan in a ledger."""
        return dataset_key(self.scan_id, self.scheduled_at)


class TakenScans(Struct, frozen=True):
    """All scans that were taken, in the order of their scheduled times."""

    scans: tuple[TakenScan, ...] = ()
    is_scanning: bool = False
    """Whether the daemon runs and is taking a scan."""
    database: Mapping[str, str] = {}
    """The server that the present store names, see `store_view.SOURCE_KEYS`."""


def taken_scans_of(timelapse: TimeLapse) -> tuple[TakenScan, ...]:
    """Return the slots of a timelapse that were taken."""
    return tuple(
        TakenScan(
            record.scan_id,
            timelapse.id,
            slot,
            timelapse.schedule_times[slot],
            record.finished_at or timelapse.schedule_times[slot],
        )
        for slot, record in timelapse.records.items()
        if record.status is RecordStatus.SUCCEEDED
    )
