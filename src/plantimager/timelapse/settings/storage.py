"""Whether what is stored outlives a power cut."""

from __future__ import annotations

import os
from pathlib import Path

from plantimager.timelapse.support.file_system import memory_reason


def describe_storage(datasets: Path, storage: Path) -> tuple[str, ...]:
    """Return a sentence for each of the directories whose files are in memory; one for both where it is the same.

    The directory of datasets isn't looked at: a network disk may hang.
    """
    resolved = Path(os.path.realpath(storage))
    if datasets.is_relative_to(storage):
        datasets = resolved / datasets.relative_to(storage)
    reasons = {what: memory_reason(path) for what, path in (("the store", resolved), ("the datasets", datasets))}
    if reasons["the store"] is not None and reasons["the store"] == reasons["the datasets"]:
        reasons = {"store and datasets": reasons["the store"]}
    return tuple(
        f"{why}: {what} will not outlive a power cut or a restart" for what, why in reasons.items() if why is not None
    )
