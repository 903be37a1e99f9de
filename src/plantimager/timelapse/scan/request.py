"""The request for one scan and its result: frozen values that drivers, datasets and the daemon share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from pathlib import Path


class Owner(Struct, frozen=True, kw_only=True):
    """The rig that a scan is for, by which its dataset is recognised among those of other rigs."""

    rig: str = ""
    """Its name, empty for the rig without one."""
    store: str = ""
    """The path of its store."""
    host: str = ""
    """The name of its host, for people: two hosts may have the same."""
    machine: str = ""
    """The identifier of its host, empty where it is unknown."""

    @property
    def key(self) -> tuple[str, str]:
        """What makes two owners the same: a host may be renamed, and a rig has one store."""
        return self.store, self.machine

    def __str__(self) -> str:
        rig = f"rig {self.rig}" if self.rig else "the rig without a name"
        return f"{rig} on {self.host or 'an unknown host'} (store {self.store or 'unknown'})"


class Observed(Struct, frozen=True):
    """What was observed beside a scan, such as the temperature, or a note on why it wasn't."""

    values: Mapping[str, Any] | None = None
    """JSON values."""
    note: str = ""


class Observation(Protocol):
    """An observation that goes on beside a scan."""

    def result(self, report: Callable[[str], None]) -> Observed:
        """Return its result; waits for it, for a limited time, and calls ``report`` with a sentence in the meantime."""

    def stop(self) -> None:
        """End it: nobody needs its result."""


class ScanRequest(Struct, frozen=True, kw_only=True):
    """One attempt at one slot."""

    scan_id: str
    """Names the dataset; safe as a file name."""
    timelapse_id: str
    index: int
    """The slot, from 0."""
    attempt: int
    """From 1; the same slot may be attempted again after a failure or an interruption."""
    scheduled_at: datetime
    """Time of the slot, UTC."""
    dataset_dir: Path
    """Absolute path of the finished dataset. Its parent exists; the directory itself exists only if an earlier attempt
    finished it. A driver writes elsewhere in the parent first, and renames when the dataset is whole: see
    `datasets.attempt`."""
    configuration: Mapping[str, Any]
    """The community's scan configuration, JSON values: ``ScanPath``, ``Metadata``, a table per camera, ``timelapse``.
    Only ``timelapse.start_at`` (ISO-8601, UTC) is always there. Without a path or a camera the driver uses its own
    default."""
    owner: Owner | None = None
    """Whose scan it is, None where the caller is no daemon."""
    started_at: datetime | None = None
    """Start of this attempt, UTC, None where the caller doesn't know; for the dataset's metadata."""
    start_by: datetime | None = None
    """End of the slot's grace period, UTC; None where it doesn't bind this attempt. The caller of ``scan`` looks to it.
    """
    observe: Callable[[ScanRequest], Observation] | None = None
    """Begins the observation whose result goes into the dataset's metadata; `datasets.attempt` calls it."""


class ScanResult(Struct, frozen=True):
    """The result of a finished scan."""

    pictures: int | None = None
    """Number of pictures in the dataset, None where the driver doesn't know."""
    note: str = ""
    """For the journal."""
