"""A trial: one scan now, outside the schedule, with any driver, for ``timelapsectl rig try``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from plantimager.timelapse.datasets.contents import dataset_files
from plantimager.timelapse.datasets.disk_space import MEGABYTE, format_bytes
from plantimager.timelapse.datasets.syncing import make_group_directory
from plantimager.timelapse.domain.durations import format_duration
from plantimager.timelapse.scan.paths import at_position
from plantimager.timelapse.scan.request import Observation, Owner, ScanRequest
from plantimager.timelapse.scan.secrets import without_secrets
from plantimager.timelapse.support.errors import ManualCommandRefused, ScanCancelled, ScanFailed, ScannerNotReady

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from plantimager.timelapse.drivers.base import ScanMonitor, ScannerDriver

TRIAL_ID = "try"
"""The timelapse id of a trial, with which the names of its datasets begin."""


class Trial(Struct, frozen=True, kw_only=True):
    """When and where a trial is taken, and whose it is."""

    at: datetime
    datasets: Path
    owner: Owner
    monotonic: Callable[[], float]
    observe: Callable[[ScanRequest], Observation] | None = None

    @property
    def dataset(self) -> Path:
        """The directory of its dataset."""
        return self.datasets / f"{TRIAL_ID}-{self.at.astimezone(UTC):%Y%m%dT%H%M%SZ}"

    def request(self, configuration: Mapping[str, Any], position: int) -> ScanRequest:
        """Return the request for the scan: of one ``position`` of the path, counted from 1, or of all with 0.

        Raises
        ------
        ManualCommandRefused
            The path has no such position.
        """
        try:
            scan = at_position(configuration, position) if position else {**configuration}
        except ValueError as refusal:
            raise ManualCommandRefused(str(refusal)) from None
        about = scan.get("timelapse")
        about = {**(about if isinstance(about, dict) else {}), "start_at": self.at.astimezone(UTC).isoformat()}
        return ScanRequest(
            scan_id=self.dataset.name,
            timelapse_id=TRIAL_ID,
            index=0,
            attempt=1,
            scheduled_at=self.at,
            started_at=self.at,
            dataset_dir=self.dataset,
            configuration=without_secrets({**scan, "timelapse": about}, for_driver=True),
            owner=self.owner,
            observe=self.observe,
        )


def take_trial(
    driver: ScannerDriver, configuration: Mapping[str, Any], position: int, monitor: ScanMonitor, trial: Trial
) -> str:
    """Take one scan, and return where it is, how long it took, and how large it is.

    Raises
    ------
    ManualCommandRefused
        The path has no such position.
    DriverError
        The rig isn't ready, the scan failed, or ``monitor`` was cancelled.
    """
    request = trial.request(configuration, position)
    try:
        make_group_directory(trial.datasets)
    except OSError as problem:
        raise ScannerNotReady(f"{trial.datasets}: datasets can't be put there: {problem.strerror}") from problem
    driver.prepare()
    if monitor.cancelled:
        raise ScanCancelled("cancelled when the rig was ready")
    began = trial.monotonic()
    result = driver.scan(request, monitor)
    took = format_duration(timedelta(seconds=trial.monotonic() - began))
    try:
        sizes = [path.stat().st_size for path in dataset_files(request.dataset_dir)]
    except OSError as problem:  # a driver by others may put it elsewhere
        raise ScanFailed(f"{request.dataset_dir}: the driver left no dataset ({problem.strerror})") from problem
    total = sum(sizes)
    size = format_bytes(total) if total >= MEGABYTE else f"{total / 1000:.0f} kB"
    pictures = "" if result.pictures is None else f"{result.pictures} picture{'' if result.pictures == 1 else 's'}, "
    files = f"{len(sizes)} file{'' if len(sizes) == 1 else 's'}"
    note = f"; {result.note}" if result.note else ""
    return f"{request.dataset_dir}: {pictures}{files}, {size}, in {took}{note}"
