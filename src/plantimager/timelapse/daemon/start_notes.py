"""What a person should know of the storage at every start: that nothing in it will outlive a power cut."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plantimager.timelapse.daemon.journal import Action, log_event
from plantimager.timelapse.settings.places import describe_storage

if TYPE_CHECKING:
    from pathlib import Path


def log_start_notes(datasets: Path, storage: Path) -> tuple[str, ...]:
    """Log and return what doesn't last."""
    notes = describe_storage(datasets, storage)
    for note in notes:
        log_event(Action.STORAGE_NOT_LASTING, note)
    return notes
