"""The order in which a target's scans are tried. Nothing is kept of those whose turn hasn't come."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from plantimager.timelapse.relay.taken_scans import TakenScan


class Postponed(Struct, frozen=True):
    """A scan that is tried again later."""

    scan: TakenScan
    until: float
    """By the monotonic clock."""
    is_gone: bool
    """Whether its dataset is not there."""


class ScanQueue:
    """The scans that one target lacks, found one by one: ten thousand that wait take no memory. One thread."""

    def __init__(self, is_lacking: Callable[[TakenScan], bool], *, newest_first: bool) -> None:
        self._is_lacking, self._newest_first = is_lacking, newest_first
        self.scans: tuple[TakenScan, ...] = ()
        """All that were taken."""
        self.n_waiting = 0
        """How many of them the target lacks."""
        self._begun: dict[str, TakenScan] = {}
        self._postponed: dict[str, Postponed] = {}
        self._ready: Iterator[TakenScan] = iter(())

    def arrange(self, scans: tuple[TakenScan, ...], begun: set[str]) -> None:
        """Take up what was taken, and the keys of the scans of which the target has a part."""
        self.scans = scans
        self.n_waiting = sum(map(self._is_lacking, scans))
        special = {*begun, *self._postponed}
        named = [scan for scan in scans if scan.key in special and self._is_lacking(scan)] if special else []
        self._begun = {scan.key: scan for scan in named if scan.key in begun}
        keys = {scan.key for scan in named}
        self._postponed = {key: postponed for key, postponed in self._postponed.items() if key in keys}
        self._ready = self._walk()

    def _walk(self) -> Iterator[TakenScan]:
        """Yield each scan that may be tried now, again and again until it may not."""
        for scan in reversed(self.scans) if self._newest_first else self.scans:
            while self._is_lacking(scan) and scan.key not in self._postponed:
                yield scan

    def next(self, now: float) -> TakenScan | None:
        """Return the scan whose turn it is. One that was begun goes first: until it is whole, it harms the server."""
        self._release([key for key in self._begun if self._is_due(key, now)])
        found = self._first()
        if found is None and (due := [key for key in self._postponed if self._is_due(key, now)]):
            self._release(due)
            self._ready = self._walk()
            found = self._first()
        return found

    def _is_due(self, key: str, now: float) -> bool:
        return key in self._postponed and self._postponed[key].until <= now

    def _release(self, keys: Sequence[str]) -> None:
        for key in keys:
            del self._postponed[key]

    def _first(self) -> TakenScan | None:
        begun = (scan for key, scan in self._begun.items() if key not in self._postponed)
        return next(begun, None) or next(self._ready, None)

    def begin(self, scan: TakenScan) -> None:
        """Have a scan go first from now on."""
        self._begun[scan.key] = scan

    def finish(self, scan: TakenScan) -> None:
        """Count a scan out, just before the target lacks it no more."""
        self._begun.pop(scan.key, None)
        self.n_waiting -= self._is_lacking(scan)

    def postpone(self, scan: TakenScan, until: float, *, is_gone: bool) -> None:
        """Leave a scan for later."""
        self._postponed[scan.key] = Postponed(scan, until, is_gone)

    def postpone_none(self) -> None:
        """Have all be tried at once, from the next `arrange` on."""
        self._postponed.clear()

    @property
    def n_gone(self) -> int:
        """How many of those that are left for later are not there."""
        return sum(postponed.is_gone for postponed in self._postponed.values())

    @property
    def earliest(self) -> float | None:
        """When `next` may have another answer; ``None`` where that takes a change."""
        return min((postponed.until for postponed in self._postponed.values()), default=None)
