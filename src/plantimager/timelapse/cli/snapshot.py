"""The state of a rig at one moment: read once, then shown as text, as JSON or as a picture.

It is read from the daemon where it answers, else from the store, the live status and the lock. Nothing here is worded
for one screen, and `StatusSnapshot.redact` removes the store's secrets from texts.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from msgspec import Struct, field
from msgspec.structs import replace

from plantimager.timelapse.channel.live import LiveStatus, last_seen, read_last_sign, read_live
from plantimager.timelapse.channel.lock import process_start, running_daemon
from plantimager.timelapse.domain.absence import NO_ABSENCE, Absence, LastSign, find_absence
from plantimager.timelapse.domain.durations import format_duration
from plantimager.timelapse.domain.fit import describe_gap
from plantimager.timelapse.domain.states import Reason, RecordStatus, TimeLapseState
from plantimager.timelapse.store.loading import load_timelapse
from plantimager.timelapse.store.public_copy import secrets_of
from plantimager.timelapse.store.schema import Logbook
from plantimager.timelapse.support.clock_evidence import modified_at
from plantimager.timelapse.support.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from plantimager.timelapse.cli.service_state import ServiceState
    from plantimager.timelapse.datasets.set_aside import SetAside
    from plantimager.timelapse.domain.records import SlotRecord
    from plantimager.timelapse.domain.timelapse import TimeLapse
    from plantimager.timelapse.store.stored_timelapse import StoredTimelapse
    from plantimager.timelapse.support.clock import Clock
    from plantimager.timelapse.support.clock_evidence import ClockEvidence


def running_attempt(timelapse: TimeLapse | None) -> tuple[str, int] | None:
    """Return scan id and attempt of the scan that is being taken."""
    if timelapse is None or timelapse.state is not TimeLapseState.RUNNING:
        return None
    current = timelapse.current
    return None if current is None else (current.scan_id, current.attempt)


class RunningDaemon(Struct, frozen=True, kw_only=True):
    """The daemon that runs on the store."""

    pid: int
    up_since: datetime | None = None
    """``None`` where it ended during the reading."""
    says: LiveStatus = LiveStatus()
    """Nothing while it starts."""

    @property
    def rig(self) -> str:
        """What the rig does, as `LiveStatus.rig`."""
        return self.says.rig or "unknown"


class SlotFacts(Struct, frozen=True):
    """The record of one slot, with its scheduled time and with error texts that are fit for a screen."""

    record: SlotRecord
    scheduled_at: datetime
    error: str
    last_error: str

    @property
    def late(self) -> timedelta:
        """How much later than scheduled the last attempt began; zero where none did."""
        if self.record.started_at is None:
            return timedelta(0)
        return max(self.record.started_at - self.scheduled_at, timedelta(0))


class StatusSnapshot(Struct, frozen=True, kw_only=True):
    """A rig at one moment."""

    at: datetime
    """The moment, in UTC."""
    store: Path
    timelapse: TimeLapse | None = None
    logbook: Logbook = field(default_factory=Logbook)
    saved_at: datetime | None = None
    """When the store was last written."""
    backup_because: str = ""
    """What is wrong with the store, where its ``.bak`` is shown in its place."""
    daemon: RunningDaemon | None = None
    evidence: ClockEvidence
    seen: LastSign = LastSign()
    """The last sign of life of the daemon that wrote the store, or of its machine."""
    service: ServiceState | None = None
    """Why no daemon runs, where that was asked."""
    aside: tuple[SetAside, ...] = ()
    secrets: tuple[str, ...] = ()
    """Those of the store, which are never shown, not even where an error message repeats them; the longest first."""

    def __repr__(self) -> str:
        """Return a text without the secrets, which is safe in a log."""
        return f"StatusSnapshot({self.store}, {self.at})"

    def slots(self) -> Iterator[SlotFacts]:
        """Yield the slots on record, newest first, with the one in progress."""
        if self.timelapse is not None:
            for slot in sorted(self.timelapse.records, reverse=True):
                yield self.slot(self.timelapse, self.timelapse.records[slot])

    def slot(self, timelapse: TimeLapse, record: SlotRecord) -> SlotFacts:
        """Return the facts of one record."""
        scheduled_at = timelapse.schedule_times[record.slot]
        return SlotFacts(record, scheduled_at, self.redact(record.error_text), self.redact(record.last_error or ""))

    def absence(self) -> Absence:
        """Return what is known of the time since then, where no daemon runs that keeps the schedule."""
        if self.daemon is not None or self.timelapse is None or not self.timelapse.state.is_active:
            return NO_ABSENCE
        return find_absence(self.timelapse, self.logbook.saved_at, self.seen, self.at)

    def troubles(self) -> tuple[str, ...]:
        """Return what a person should do something about, the worst first."""
        return (*self._daemon_troubles(), *self._timelapse_troubles())

    def notes(self) -> tuple[str, ...]:
        """Return what a person should know of the storage and of the store."""
        return tuple(map(self.redact, self.daemon.says.notes)) if self.daemon is not None else ()

    def _daemon_troubles(self) -> Iterator[str]:
        if self.backup_because:
            yield f"{self.backup_because}; shown is its backup, one save older"
        if self.daemon is None:
            if self.timelapse is not None and self.timelapse.state.is_active:
                yield "the daemon is not running, no slot is taken"
            return
        says = self.daemon.says
        if says.trouble:
            # The status line words the trouble; where the line is about something else, the bare reason is shown.
            yield says.status if says.status and says.trouble in says.status else says.trouble
        if not says.is_clock_trusted:
            yield says.status or "clock not trusted yet, nothing is decided"

    def _timelapse_troubles(self) -> Iterator[str]:
        timelapse = self.timelapse
        if timelapse is None:
            return
        if timelapse.state is TimeLapseState.FAILED and timelapse.ending is not None:
            yield self.redact(timelapse.ending.why)
        if not timelapse.state.is_active:
            return
        if timelapse.current is not None and timelapse.current.reason is Reason.RIG_NOT_READY:
            yield f"the rig is not ready for slot {timelapse.next_idx}: {self.redact(timelapse.current.error_text)}"
        yield from _outlasting_scan(timelapse)
        last = timelapse.records.get(timelapse.next_idx - 1)
        if last is not None and last.status is RecordStatus.FAILED:
            yield f"the last slot, {last.slot}, failed: {self.redact(last.error_text)}"

    def redact(self, text: str) -> str:
        """Return ``text`` on one line and without the store's secrets."""
        for secret in self.secrets:
            text = text.replace(secret, "[secret]")
        return one_line(text)


class UnseenRig(Struct, frozen=True, kw_only=True):
    """A moment at which a rig can't be looked at: no daemon answers, and its store is closed or can't be read."""

    at: datetime
    store: Path
    error: str
    service: ServiceState | None
    """Why no daemon runs; ``None`` where systemd isn't asked."""


def _outlasting_scan(timelapse: TimeLapse) -> Iterator[str]:
    """Yield that the last slot that was taken took longer than the time to the next one, where it did."""
    slot = timelapse.next_idx - 1
    while slot >= 0 and (record := timelapse.records.get(slot)) is not None:
        following = slot + 1
        if record.status is RecordStatus.SUCCEEDED:
            gap = timelapse.schedule_times[following] - timelapse.schedule_times[slot]
            if record.took is not None and record.took > gap:
                words = describe_gap(timelapse.mode, gap)
                yield f"slot {slot} took {format_duration(record.took)}, {words}: slots are late or missed"
            return
        slot -= 1


def take_snapshot(store: Path, clock: Clock) -> StatusSnapshot:
    """Read the state of a rig from its files; raise as `load_timelapse`."""
    # The daemon is read first: if it ends meanwhile, it is shown though it is gone, but no save of it is missed.
    daemon, sign = _read_daemon(store, clock), read_last_sign(store)
    loaded = load_timelapse(store)
    if loaded is None:
        return snapshot_of(None, store, clock, daemon)
    snapshot = snapshot_of(loaded.stored, store, clock, daemon)
    return replace(
        snapshot,
        saved_at=snapshot.saved_at or modified_at(loaded.path),
        backup_because=str(loaded.trouble or ""),
        seen=last_seen(sign, snapshot.logbook, clock),
        secrets=secrets_of(loaded.stored),
    )


def snapshot_of(
    stored: StoredTimelapse | None, store: Path, clock: Clock, daemon: RunningDaemon | None = None
) -> StatusSnapshot:
    """Return the state of a rig now, with what is in its store."""
    logbook = stored.logbook if stored is not None else Logbook()
    return StatusSnapshot(
        at=clock.now(),
        store=store,
        timelapse=stored.timelapse if stored is not None else None,
        logbook=logbook,
        saved_at=logbook.saved_at,
        daemon=daemon,
        evidence=clock.evidence(),
    )


def _read_daemon(store: Path, clock: Clock) -> RunningDaemon | None:
    pid = running_daemon(store)
    if pid is None:
        return None
    live = read_live(store)
    # One of another process was left by a daemon that was killed; the present one still starts.
    return RunningDaemon(pid=pid, up_since=up_since(pid, clock), says=live if live.pid == pid else LiveStatus())


def up_since(pid: int, clock: Clock) -> datetime | None:
    """Return when a process was started, ``None`` where it has ended or is hidden."""
    try:
        started = int(process_start(pid)) / os.sysconf("SC_CLK_TCK")
    except OSError:
        return None
    return clock.now() - timedelta(seconds=max(clock.since_boot() - started, 0))
