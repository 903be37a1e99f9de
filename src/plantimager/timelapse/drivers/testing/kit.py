"""The parts of the tests of a driver: its options, a scan request, a monitor that records."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from plantimager.timelapse.drivers.base import EventMonitor
from plantimager.timelapse.scan.request import ScanRequest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

CONFIGURATION: Final[Mapping[str, Any]] = {
    "ScanPath": {
        "class_name": "Circle",
        "kwargs": {"center_x": 375, "center_y": 375, "z": 0, "tilt": 0, "radius": 350, "n_points": 4},
    },
    "Metadata": {"object": {"species": "Arabidopsis thaliana"}, "hardware": {"frame": "a table"}},
    "timelapse": {"start_at": "2026-06-22T08:00:00+00:00"},
    "top": {"res_x": 80, "res_y": 60, "encoding": "jpeg", "offset": {"z": -100}},
}
"""A scan of four poses with one small camera, ``top``."""


@dataclass(frozen=True, kw_only=True)
class Kit:
    """A driver, and the options with which it behaves in each way that the suite tests."""

    name: str
    """Of its entry point in the group ``plantimager.scanner_drivers``."""
    good: Mapping[str, Any]
    """It scans."""
    failing: Mapping[str, Any]
    """Its scan of slot 0 fails."""
    absent: Mapping[str, Any]
    """The rig isn't there for the scan of slot 0."""
    endless: Mapping[str, Any]
    """Its scan of slot 0 reports at least one picture and then doesn't go on, until it is cancelled."""
    crowded: Mapping[str, Any]
    """The datasets' disk has too little space, such as with ``keep_free = "1000 TB"``."""
    faulty: Mapping[str, Any]
    """Options with at least two faults."""
    configuration: Mapping[str, Any] = field(default_factory=lambda: CONFIGURATION)
    """The scan configuration of all scans."""


class RecordingMonitor(EventMonitor):
    """A monitor that records every progress, and cancels the scan after ``cancel_after`` pictures."""

    def __init__(self, cancel_after: int | None = None) -> None:
        super().__init__()
        self.recorded: list[tuple[int, int, str]] = []
        """Done, total and note of each call."""
        self._cancel_after = cancel_after

    def progress(self, done: int, total: int, note: str = "") -> None:
        """Record it."""
        super().progress(done, total, note)
        self.recorded.append((done, total, note))
        if self._cancel_after is not None and done >= self._cancel_after:
            self.cancel()


def make_request(datasets: Path, **changes: Any) -> ScanRequest:
    """Return a request for slot 0 of a timelapse, with its dataset in ``datasets``; ``changes`` replace its fields."""
    index = changes.get("index", 0)
    request = ScanRequest(
        scan_id=f"col0_{index}",
        timelapse_id="col0",
        index=index,
        attempt=1,
        scheduled_at=datetime(2026, 6, 22, 8, tzinfo=UTC),
        started_at=datetime(2026, 6, 22, 8, 0, 1, tzinfo=UTC),
        dataset_dir=datasets / f"col0_{index}",
        configuration=CONFIGURATION,
    )
    return replace(request, **changes)
