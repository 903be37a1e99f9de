"""What ``timelapsectl deliver`` shows of the relay's targets, by their ledgers: the relay says it, or the files do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from plantimager.timelapse.channel.ledger import Outcome
from plantimager.timelapse.channel.relay_status import describe_removed
from plantimager.timelapse.datasets.disk_space import format_bytes
from plantimager.timelapse.support.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime
    from pathlib import Path

    from plantimager.timelapse.channel.ledger import Ledger
    from plantimager.timelapse.channel.relay_status import RelayStatus

MAX_SHOWN: Final = 10
"""Datasets of a target that are listed."""


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
