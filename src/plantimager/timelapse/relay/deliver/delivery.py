"""How a dataset is brought to one target: what every way of delivery has in common."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Protocol

from msgspec import Struct

from plantimager.timelapse.relay.sealed_dataset import DatasetRefused
from plantimager.timelapse.support.errors import TimelapsedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from plantimager.timelapse.relay.deliver.pacing import TargetPace
    from plantimager.timelapse.relay.taken_scans import TakenScan


NO_ROOM: Final = re.compile(
    "no space left|remaining disk space|insufficient storage|quota ?exceeded|quota has been|over quota", re.IGNORECASE
)
"""How targets say that their disk is full; `FULL` says it to a person."""
FULL: Final = "the target has no room left"
LOST: Final = "doesn't have it any more, or has it in this very directory"


class Unreachable(TimelapsedError):
    """The target doesn't answer, or lets nobody in; later it may."""


class ServerFailed(TimelapsedError):
    """The target answers a request about one dataset with an error of its own."""


class TargetRefused(DatasetRefused):
    """The target has something else of the dataset's name, which nobody may overwrite."""


class Shipment(Struct, frozen=True):
    """One dataset on its way to one target."""

    directory: Path
    scan: TakenScan
    database: Mapping[str, str]
    """The server that the store names, see `taken_scans.TakenScans`."""
    pace: TargetPace
    begin: Callable[[], None] = lambda: None
    """Called before the target gets something of it."""
    was_begun: bool = False
    """Whether it was called for this dataset in an earlier delivery."""
    progress: Callable[[int, int], None] = lambda _done, _of: None
    """Called now and then with the files that were sent, and those to send in all."""


class Delivered(Struct, frozen=True):
    """A dataset that is at its target, and was compared there."""

    what: str
    """``picture`` or ``file``."""
    files: int
    sent: int
    """How many of them were not there before."""
    size: int
    """Bytes."""
    digest: str
    """SHA-256 of the dataset as its receipt has it."""
    left: int = 0
    """Files that the target doesn't take, such as raw pictures."""


class Delivery(Protocol):
    """A way to one target. One thread, but for what is said otherwise."""

    polite: bool
    """Whether it is left alone while a scan runs."""

    def deliver(self, shipment: Shipment) -> Delivered:
        """Bring a dataset to the target, and compare it there.

        It may be cut off anywhere, and is then done again from its beginning.

        Raises
        ------
        DatasetGone, DatasetRefused, OSError
            See `sealed_dataset.read_sealed`.
        TargetRefused
            The target has something else of its name.
        ServerFailed
            The target fails with this dataset.
        Unreachable
            It fails with all.
        Interrupted
            A scan began, or the relay stops.
        """

    def doubt(self, shipment: Shipment) -> str:
        """Return why the target may not have a dataset now, all its files; empty where it has.

        The words follow its name.

        Raises
        ------
        ServerFailed, Unreachable, Interrupted, DatasetGone, OSError
            As those of `deliver`.
        """

    def close(self) -> None:
        """Close what is open."""
