"""One scan as it is asked of a rig, and what it leaves: frozen values that drivers, datasets and the daemon share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from pathlib import Path


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
    """When the slot is due, in UTC."""
    dataset_dir: Path
    """Where the whole dataset is to stand at the end, absolute. Its parent exists; it does not, unless an earlier
    attempt finished it. A driver writes elsewhere in the parent first and renames when whole."""
    configuration: Mapping[str, Any]
    """The community's scan configuration, JSON values: ``ScanPath``, ``Metadata``, a table per camera, ``timelapse``.
    Of these only ``timelapse.start_at`` (ISO-8601, UTC) is always there; where nobody gave a path or a camera, the
    driver uses one of its own."""
    started_at: datetime | None = None
    """When this attempt began, in UTC, where the caller knows; for the dataset's metadata."""


class ScanResult(Struct, frozen=True):
    """What a finished scan left."""

    pictures: int | None = None
    """How many pictures the dataset holds, where the driver knows."""
    note: str = ""
    """A remark for the journal."""
