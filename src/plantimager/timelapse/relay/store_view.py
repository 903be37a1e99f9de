"""What the store, the archive and the daemon's live status say, as of one look. Nothing is written there."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from plantimager.timelapse.channel.live import SCANNING, read_live_of
from plantimager.timelapse.channel.lock import running_daemon
from plantimager.timelapse.domain.states import TimeLapseState
from plantimager.timelapse.relay.taken_scans import TakenScan, TakenScans, taken_scans_of
from plantimager.timelapse.store.loading import load_timelapse
from plantimager.timelapse.support.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from plantimager.timelapse.channel.doubt import Doubt
    from plantimager.timelapse.channel.relay_status import TargetStatus
    from plantimager.timelapse.domain.timelapse import TimeLapse
    from plantimager.timelapse.settings.places import Places
    from plantimager.timelapse.store.stored_timelapse import StoredTimelapse

SOURCE_KEYS: Final = ("db_url", "api_token")
"""The keys of ``extra`` in which the community's controller keeps its database."""


def name_of(timelapse: TimeLapse) -> str:
    """Return what a timelapse is known by: a later one of the same id has other times."""
    return f"{timelapse.id} {timelapse.schedule_times[0].isoformat() if timelapse.schedule_times else ''}"


class DaemonFacts(Struct, frozen=True):
    """What the running daemon says of itself. It says nothing while it starts."""

    pid: int
    is_live: bool = False
    """Whether the rest is this daemon's own word."""
    trouble: str = ""
    degraded: str = ""
    """Why the store can't be written."""
    datasets: str = ""
    """Why datasets can't be put into their directory."""
    clock_trusted: bool = True


class ArchivedStore(Struct, frozen=True):
    """A timelapse that has ended, in the archive. Its records are read from there by who needs them."""

    path: Path
    name: str
    """That of `name_of`."""
    ended_at: datetime | None
    """The last time in its records."""

    def load(self) -> TimeLapse | None:
        """Return it; ``None`` where it can't be read any more."""
        with suppress(StoreError):
            loaded = load_timelapse(self.path)
            return loaded.stored.timelapse if loaded is not None else None
        return None


class StoreView(Struct, frozen=True):
    """One look at everything."""

    taken: TakenScans = TakenScans()
    """Of the present timelapse and of all archived ones."""
    stored: StoredTimelapse | None = None
    """The present timelapse with its records and its logbook; its ``kept`` parts may hold secrets."""
    archived: tuple[ArchivedStore, ...] = ()
    daemon: DaemonFacts | None = None
    """``None`` where none runs."""
    faults: tuple[str, ...] = ()
    """Why files can't be read now; what they said before still counts."""
    targets: tuple[TargetStatus, ...] = ()
    """How far each target of delivery is."""
    doubts: tuple[Doubt, ...] | None = None
    """About the pictures of the present timelapse; ``None`` where they aren't judged, or not yet."""
    fault: str = ""
    """That of the present store, which is among them; empty where it can be read."""

    @property
    def is_stale(self) -> bool:
        """Whether the present store is among what can't be read now."""
        return bool(self.fault)

    @property
    def timelapse(self) -> TimeLapse | None:
        """The present timelapse, which may have ended."""
        return self.stored.timelapse if self.stored is not None else None


class _Contents(Struct, frozen=True):
    """What one store says."""

    scans: tuple[TakenScan, ...] = ()
    stored: StoredTimelapse | None = None
    """Of the present store alone: the records of all archived ones would take much memory."""
    archived: ArchivedStore | None = None


class StoreViewReader:
    """Reads the store and the archive again where they have changed. One thread."""

    def __init__(self, places: Places, unended: str = "") -> None:
        """Read below ``places``; ``unended`` is what an earlier relay has seen."""
        self._places = places
        self._present = _Contents()
        self.unended = unended
        """The name of the timelapse that was last seen in the store and had not ended; empty where there is none."""
        self._read: dict[Path, tuple[object, _Contents]] = {}
        self._merged_from: list[tuple[TakenScan, ...]] = []
        self._merged: tuple[TakenScan, ...] = ()
        self.faults: dict[Path, str] = {}
        """Why a file can't be read now; what it said before still counts."""

    def read(self, targets: Sequence[TargetStatus] = (), doubts: tuple[Doubt, ...] | None = None) -> StoreView:
        """Return what is there by now; ``targets`` and ``doubts`` are passed on."""
        present, archived = self._contents(self._places.store), [*map(self._contents, self._archive())]
        present = self._last_known(present, archived)
        contents = [present, *archived]
        if [content.scans for content in contents] != self._merged_from:
            self._merged_from = [content.scans for content in contents]
            found = {scan.key: scan for content in reversed(contents) for scan in content.scans}
            self._merged = tuple(sorted(found.values(), key=lambda scan: (scan.scheduled_at, scan.scan_id)))
        daemon, stored = _daemon_of(self._places), present.stored
        is_running = stored is not None and stored.timelapse.state is TimeLapseState.RUNNING
        return StoreView(
            TakenScans(self._merged, is_running and daemon is not None, _database(stored)),
            stored,
            tuple(content.archived for content in archived if content.archived is not None),
            daemon,
            tuple(self.faults.values()),
            tuple(targets),
            doubts,
            self.faults.get(self._places.store, ""),
        )

    def _last_known(self, present: _Contents, archived: Iterable[_Contents]) -> _Contents:
        """Return what the store says, or said before it vanished: no daemon removes one before its timelapse ends."""
        store = self._places.store
        if present.stored is not None:
            timelapse = present.stored.timelapse
            self._present, self.unended = present, name_of(timelapse) if timelapse.state.is_active else ""
        elif self.unended and all(a.archived is None or a.archived.name != self.unended for a in archived):
            name = self.unended.rpartition(" ")[0]
            words = f"{store}: it is gone, and {name} has not ended: see whether its disk is mounted"
            self.faults.setdefault(store, words)
            return self._present
        return present

    def _archive(self) -> list[Path]:
        try:
            found = sorted(path for path in self._places.history.iterdir() if path.suffix == ".json")
        except OSError:
            return []
        return [path for path in found if path != self._places.store]

    def _contents(self, path: Path) -> _Contents:
        """Return the contents of one store, from memory where its file is the same."""
        signature = _signature_of(path)
        known, content = self._read.get(path, (None, _Contents()))
        if signature != known or path in self.faults:
            try:
                content = _load_contents(path, is_present=path == self._places.store)
                self.faults.pop(path, None)
            except StoreError as problem:
                self.faults[path] = str(problem)
            self._read[path] = signature, content
        return content


def _load_contents(path: Path, *, is_present: bool) -> _Contents:
    loaded = load_timelapse(path)
    if loaded is None and is_present and not path.parent.is_dir():
        raise StoreError(path, "its directory isn't there")
    if loaded is None:
        return _Contents()
    timelapse = loaded.stored.timelapse
    if is_present:
        return _Contents(taken_scans_of(timelapse), stored=loaded.stored)
    times = [record.finished_at for record in timelapse.records.values() if record.finished_at is not None]
    times += [timelapse.ending.at] if timelapse.ending is not None else []
    archived = ArchivedStore(path, name_of(timelapse), max(times, default=None))
    return _Contents(taken_scans_of(timelapse), archived=archived)


def _daemon_of(places: Places) -> DaemonFacts | None:
    pid = running_daemon(places.store)
    if pid is None:
        return None
    live = read_live_of(pid, places.store, places.control)
    if live is None:  # what there is was left by a daemon that was killed; the present one still starts
        return DaemonFacts(pid)
    return DaemonFacts(
        pid,
        is_live=True,
        trouble=live.trouble or "",
        degraded=live.degraded or "",
        datasets=live.datasets or "",
        clock_trusted=live.is_clock_trusted,
    )


def scan_runs(places: Places) -> bool | None:
    """Return whether the daemon says at this moment that it takes a scan; ``None`` where one runs that says nothing.

    It says so also while it can't write the store, which is as it was before then.
    """
    pid = running_daemon(places.store)
    if pid is None:
        return False
    live = read_live_of(pid, places.store, places.control)
    return None if live is None or live.rig is None else live.rig == SCANNING


def _database(stored: StoredTimelapse | None) -> Mapping[str, str]:
    extra: Mapping[str, Any] = stored.kept.extra if stored is not None else {}
    return {key: extra[key] for key in SOURCE_KEYS if isinstance(extra.get(key), str) and extra[key]}


def _signature_of(path: Path) -> object:
    try:
        status = path.stat()
    except OSError:
        return ""
    return status.st_ino, status.st_size, status.st_mtime_ns
