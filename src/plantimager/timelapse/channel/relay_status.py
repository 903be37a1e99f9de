"""The status of the relay: a small file in its state directory, with what each of its targets has and waits for.

Its sentences are those of ``timelapsectl``: the relay says them, or the files do.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from plantimager.timelapse.channel.doubt import Doubt, describe_doubts
from plantimager.timelapse.channel.ledger import REMOVED_LEDGER, Ledger, Outcome
from plantimager.timelapse.channel.lock import running_daemon
from plantimager.timelapse.channel.moment import Moment, WithMoments
from plantimager.timelapse.datasets.disk_space import format_bytes
from plantimager.timelapse.domain.durations import format_duration
from plantimager.timelapse.domain.wording import format_local_time
from plantimager.timelapse.support.durable import read_regular, replace_file
from plantimager.timelapse.support.text import format_count, one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime
    from pathlib import Path

MAX_STATUS_BYTES: Final = 100_000
MAX_TRIAL_SECONDS: Final = 86_400
MAX_SHOWN: Final = 10
"""Datasets of a target that are listed."""


class TargetStatus(WithMoments, frozen=True, kw_only=True, omit_defaults=True):
    """How far one target is."""

    name: str
    taken: int
    """Scans that the store and the archive call taken."""
    delivered: int
    refused: int = 0
    removed: int = 0
    """Scans whose datasets were removed here before this target was set up."""
    gone: int = 0
    """Scans whose datasets were not there when they were to be delivered."""
    delivered_at: Moment | None = None
    """When the last dataset was delivered; ``None`` before the first."""
    oldest: Moment | None = None
    """When the oldest dataset was taken that waits; ``None`` where none waits."""
    sending: str = ""
    """What is on its way, and how far: ``sending col_17: 3 of 20 files``; empty where nothing is."""
    trouble: str = ""
    """Why the target gets nothing now, in words; empty where it does."""

    @property
    def waiting(self) -> int:
        """The datasets that are still to be delivered."""
        return max(self.taken - self.delivered - self.refused - self.removed - self.gone, 0)

    def describe(self, now: datetime) -> str:
        """Return ``37 of 41 delivered, last worked 10:00, oldest waits 3 h (plantdb: no route to host)``."""
        parts = [f"{self.delivered} of {self.taken} delivered"]
        if self.refused:
            parts.append(f"{self.refused} refused")
        if self.removed:
            parts.append(f"{self.removed} removed here before")
        if self.delivered_at is not None:
            parts.append(f"last worked {format_local_time(self.delivered_at, now)}")
        if self.oldest is not None:
            parts.append(f"oldest waits {format_duration(max(now - self.oldest, now - now))}")
        if self.sending:
            parts.append(self.sending)
        return f"{', '.join(parts)} ({one_line(f'{self.name}: {self.trouble}' if self.trouble else self.name)})"


class SinkStatus(WithMoments, frozen=True, kw_only=True, omit_defaults=True):
    """How another sink of the relay is: what is set up, and when it last worked."""

    name: str
    what: str
    """What is set up, in words and without secrets: ``2 addresses``."""
    worked_at: Moment | None = None
    """When it last worked; ``None`` where it never had to, or never could."""
    trouble: str = ""
    """Why it doesn't work now, in words."""
    doubts: tuple[Doubt, ...] | None = None
    """About the pictures of the present timelapse; ``None`` of a sink that doesn't judge them, or not yet."""

    def describe(self, now: datetime) -> str:
        """Return ``2 addresses, last worked 22 Jun 10:00 (notify: no route to host)``."""
        worked = f"last worked {format_local_time(self.worked_at, now)}" if self.worked_at else "not used yet"
        return one_line(f"{self.what}, {worked} ({f'{self.name}: {self.trouble}' if self.trouble else self.name})")


class RelayStatus(Struct, frozen=True, kw_only=True):
    """What the relay has done and waits for."""

    pid: int
    targets: tuple[TargetStatus, ...] = ()
    sinks: tuple[SinkStatus, ...] = ()
    unended: str = ""
    """The timelapse that the relay last saw in the store, by id and beginning, where it had not ended: so that the next
    relay knows what a disk that isn't mounted should show."""
    removed: tuple[str, ...] = ()
    """A sentence on what retention has removed here; in an answer, not in the file."""
    trial_seconds: Annotated[float, Meta(ge=0, le=MAX_TRIAL_SECONDS)] = 0.0
    """The longest that a test message takes."""

    @property
    def doubts(self) -> tuple[Doubt, ...]:
        """Those about pictures; empty where nothing judges them."""
        return doubts_of(self.sinks) or ()

    def summary(self, now: datetime) -> str:
        """Return ``plantdb 10:00, notify, heartbeat 10:05``: what is set up, and when each last worked."""
        worked = [(target.name, target.delivered_at) for target in self.targets]
        worked += [(sink.name, sink.worked_at) for sink in self.sinks]
        return one_line(", ".join(f"{name} {format_local_time(at, now)}" if at else name for name, at in worked))


def doubts_of(sinks: Iterable[SinkStatus]) -> tuple[Doubt, ...] | None:
    """Return the doubts of the sink that judges pictures; ``None`` where none does, or not yet."""
    return next((sink.doubts for sink in sinks if sink.doubts is not None), None)


def relay_status_path(directory: Path) -> Path:
    """Return the path of the status in the relay's state directory. The relay's lock is beside it."""
    return directory / "relay.json"


def write_relay_status(directory: Path, status: RelayStatus) -> None:
    """Write the status. It is never synced, and a full disk is ignored: nothing depends on this file."""
    with contextlib.suppress(OSError):
        replace_file(relay_status_path(directory), msgspec.json.encode(status))


def read_relay_status(directory: Path) -> RelayStatus | None:
    """Return the last status, ``None`` where there is none or it can't be read."""
    try:
        return _load_relay_status(directory)
    except (OSError, ValueError, RecursionError):
        return None


def _load_relay_status(directory: Path) -> RelayStatus:
    content = read_regular(relay_status_path(directory), MAX_STATUS_BYTES)
    return msgspec.json.decode(content, type=RelayStatus)


def describe_removed(directory: Path) -> Iterator[str]:
    """Yield a sentence on what retention has removed here; none where that is nothing, or can't be read."""
    ledger = Ledger(directory / REMOVED_LEDGER)
    with contextlib.suppress(OSError):
        ledger.refresh()
    if entries := [*ledger.entries.values()]:
        size = format_bytes(sum(entry.size for entry in entries))
        last = max(entry.at for entry in entries)[:10]
        yield one_line(
            f"{format_count(len(entries), 'dataset')} removed here after delivery, {size}, the last on {last}"
        )


def describe_targets(
    directory: Path, ledgers: Mapping[str, Ledger], status: RelayStatus | None, now: datetime
) -> Iterator[str]:
    """Yield how far each target is, a line for each dataset that it has not, and what was removed here.

    Raises `OSError` where a ledger in the relay's state ``directory`` can't be read.
    """
    known = {target.name: target for target in status.targets} if status is not None else {}
    for name, ledger in ledgers.items():
        ledger.refresh()
        delivered = [entry for entry in ledger.entries.values() if entry.outcome is Outcome.DELIVERED]
        size = f", {format_bytes(sum(entry.size for entry in delivered))}" if delivered else ""
        told = known[name].describe(now) if name in known else f"{len(delivered)} delivered ({name})"
        yield f"{told}{size}"
        others = [entry for entry in ledger.entries.values() if entry.outcome is not Outcome.DELIVERED]
        for entry in others[:MAX_SHOWN]:
            yield f"  {one_line(f'{entry.outcome.value}: {entry.scan_id} {entry.why}')}"
        if len(others) > MAX_SHOWN:
            yield f"  and {len(others) - MAX_SHOWN} more"
    yield from describe_removed(directory)


def describe_status(status: RelayStatus, now: datetime, note: str = "") -> Iterator[str]:
    """Yield a sentence for each target and sink, with a ``note`` at its end."""
    yield from (f"{target.describe(now)}{note}" for target in status.targets)
    yield from (f"{sink.describe(now)}{note}" for sink in status.sinks)
    yield from (f"{line}; see timelapse-relay(8)" for line in describe_doubts(status.doubts, now))


def describe_relay(directory: Path, now: datetime) -> Iterator[str]:
    """Yield a sentence for each target and sink, for ``timelapsectl status``; none where there never was a relay."""
    try:
        status = _load_relay_status(directory)
    except PermissionError:
        yield f"{relay_status_path(directory)} is for its service and root only; sudo shows it"
        return
    except (OSError, ValueError, RecursionError):
        return
    stopped = ""
    if not running_daemon(relay_status_path(directory)):
        stopped = "; the relay is not running"
        # It may have been killed in mid-file.
        status = replace(status, targets=tuple(replace(target, sending="") for target in status.targets))
    yield from describe_status(status, now, stopped)
    yield from describe_removed(directory)


def describe_troubles(status: RelayStatus, now: datetime) -> Iterator[str]:
    """Yield why a target or sink of a running relay doesn't work now, and what pictures are doubtful."""
    for target in status.targets:
        if target.trouble:
            yield one_line(f"relay: {target.name}: {target.trouble}")
    for sink in status.sinks:
        if sink.trouble:
            worked = f", last worked {format_local_time(sink.worked_at, now)}" if sink.worked_at else ""
            yield one_line(f"relay: {sink.name}: {sink.trouble}{worked}")
    yield from describe_doubts(status.doubts, now)
