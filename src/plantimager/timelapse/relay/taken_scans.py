"""What was taken, by the store and the archive. Nothing is written there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from plantimager.timelapse.channel.ledger import dataset_key
from plantimager.timelapse.channel.lock import running_daemon
from plantimager.timelapse.domain.states import RecordStatus, TimeLapseState
from plantimager.timelapse.store.loading import load_timelapse
from plantimager.timelapse.support.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from pathlib import Path

    from plantimager.timelapse.settings.places import Places

SOURCE_KEYS: Final = ("db_url", "api_token")
"""The keys of ``extra`` in which the community's controller keeps its database."""


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
    """Those of `SOURCE_KEYS` that the present store has."""


class _StoreContents(Struct, frozen=True):
    scans: tuple[TakenScan, ...] = ()
    running: bool = False
    database: Mapping[str, str] = {}


class TakenScansReader:
    """Reads the store and the archive again where they have changed. One thread."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._read: dict[Path, tuple[object, _StoreContents]] = {}
        self._merged_from: list[tuple[TakenScan, ...]] = []
        self._merged: tuple[TakenScan, ...] = ()
        self.faults: dict[Path, str] = {}
        """Why a file can't be read now; what it said before still counts."""

    def read(self) -> TakenScans:
        """Return what was taken by now."""
        archived = [path for path in _json_files(self._places.history) if path != self._places.store]
        contents = [self._contents(path) for path in (self._places.store, *archived)]
        present = contents[0]
        if [content.scans for content in contents] != self._merged_from:
            self._merged_from = [content.scans for content in contents]
            found = {scan.key: scan for content in reversed(contents) for scan in content.scans}
            self._merged = tuple(sorted(found.values(), key=lambda scan: (scan.scheduled_at, scan.scan_id)))
        return TakenScans(
            self._merged,
            present.running and running_daemon(self._places.store) is not None,
            present.database,
        )

    def _contents(self, path: Path) -> _StoreContents:
        """Return the contents of one store, from memory where its file is the same."""
        signature = _signature_of(path)
        known, content = self._read.get(path, (None, _StoreContents()))
        if signature != known or path in self.faults:
            try:
                content = _load_contents(path)
                self.faults.pop(path, None)
            except StoreError as problem:
                self.faults[path] = str(problem)
            self._read[path] = signature, content
        return content


def _load_contents(path: Path) -> _StoreContents:
    loaded = load_timelapse(path)
    if loaded is None:
        return _StoreContents()
    timelapse, extra = loaded.stored.timelapse, loaded.stored.kept.extra
    scans = [
        TakenScan(
            record.scan_id,
            timelapse.id,
            slot,
            timelapse.schedule_times[slot],
            record.finished_at or timelapse.schedule_times[slot],
        )
        for slot, record in timelapse.records.items()
        if record.status is RecordStatus.SUCCEEDED
    ]
    return _StoreContents(tuple(scans), timelapse.state is TimeLapseState.RUNNING, _database(extra))


def _database(extra: Mapping[str, Any]) -> Mapping[str, str]:
    return {key: extra[key] for key in SOURCE_KEYS if isinstance(extra.get(key), str) and extra[key]}


def _json_files(directory: Path) -> list[Path]:
    try:
        return sorted(path for path in directory.iterdir() if path.suffix == ".json")
    except OSError:
        return []


def _signature_of(path: Path) -> object:
    try:
        status = path.stat()
    except OSError:
        return ""
    return status.st_ino, status.st_size, status.st_mtime_ns
