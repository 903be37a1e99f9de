"""An attempt as the driver is asked for it, or about it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard

from plantimager.timelapse.domain.schedule import format_instant
from plantimager.timelapse.domain.states import TimeLapseState
from plantimager.timelapse.scan.request import ScanRequest
from plantimager.timelapse.scan.secrets import without_secrets

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from plantimager.timelapse.domain.records import SlotRecord
    from plantimager.timelapse.domain.timelapse import TimeLapse
    from plantimager.timelapse.scan.request import Observation, Owner


def request_of(
    timelapse: TimeLapse,
    configuration: Mapping[str, Any],
    datasets: Path,
    owner: Owner | None = None,
    observe: Callable[[ScanRequest], Observation] | None = None,
    slot: int | None = None,
) -> ScanRequest:
    """Return the request for the running attempt, or the last one at ``slot``, without the configuration's secrets.

    Its dataset is in the directory that the attempt was put into; where that isn't recorded, in ``datasets``.
    """
    slot = timelapse.next_idx if slot is None else slot
    record = timelapse.records[slot]
    begin = timelapse.start_at or timelapse.schedule_times[0]
    about = configuration.get("timelapse")
    about = {**(about if isinstance(about, dict) else {}), "start_at": format_instant(begin)}
    return ScanRequest(
        scan_id=record.scan_id,
        timelapse_id=timelapse.id,
        index=slot,
        attempt=record.attempt,
        scheduled_at=timelapse.schedule_times[slot],
        started_at=record.started_at,
        dataset_dir=place_of(record, datasets) / record.scan_id,
        configuration=without_secrets({**configuration, "timelapse": about}, for_driver=True),
        owner=owner,
        observe=observe,
    )


def place_of(record: SlotRecord, unrecorded: Path) -> Path:
    """Return the directory of datasets that an attempt was put into; where that isn't recorded, ``unrecorded``."""
    return Path(record.directory) if _is_path(record.directory) else unrecorded


def _is_path(directory: str | None) -> TypeGuard[str]:
    """Whether a text of the store, which a person may have edited, is a whole path."""
    return directory is not None and directory.startswith("/") and directory.isprintable()


def is_unsettled_attempt(timelapse: TimeLapse | None, request: ScanRequest) -> bool:
    """Whether a request is for an attempt that is recorded as ended, and whose dataset may be whole all the same."""
    if timelapse is None or timelapse.id != request.timelapse_id or request.index not in timelapse.unsettled:
        return False
    return timelapse.records[request.index].attempt == request.attempt


def describe_unsettled(timelapse: TimeLapse) -> str:
    """Return the first unsettled attempt in words, to go before a verb."""
    return f"the scan of {timelapse.scan_id(timelapse.unsettled[0])}, which may be whole,"


def is_running_attempt(timelapse: TimeLapse | None, request: ScanRequest) -> bool:
    """Whether a request is for the attempt that is running; not where the operator has cancelled it meanwhile."""
    if timelapse is None or timelapse.state is not TimeLapseState.RUNNING:
        return False
    record = timelapse.current
    return record is not None and (timelapse.id, record.slot, record.attempt) == (
        request.timelapse_id,
        request.index,
        request.attempt,
    )
