"""What the sink `look` knows: what was measured of datasets, and which timelapses of the archive have had their day.

It is in a ledger. What isn't within reach any more is forgotten, so that the ledger doesn't grow with the archive.
"""

from __future__ import annotations

import base64
import zlib
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import msgspec

from plantimager.timelapse.channel.ledger import LedgerEntry, Outcome
from plantimager.timelapse.channel.moment import moment_in
from plantimager.timelapse.relay.actions import RelayAction, log_relay
from plantimager.timelapse.relay.look.verdict import PictureMeasures

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from plantimager.timelapse.channel.ledger import Ledger
    from plantimager.timelapse.relay.store_view import ArchivedStore
    from plantimager.timelapse.relay.taken_scans import TakenScan
    from plantimager.timelapse.support.clock import Clock

REACH: Final = timedelta(days=1)
"""How long a timelapse of the archive is looked at once it was caught up: datasets come late, messages wait for the end
of quiet hours. One that ended as long before the first look isn't looked at."""
MAX_ENTRY_BYTES: Final = 1 << 24
"""Of one dataset, once it is unpacked; some hundred thousand pictures."""
BEGUN: Final = "archive"
"""The key of the first look; the keys of datasets have two words."""


class Looked:
    """The ledger of one sink, on its thread."""

    def __init__(self, ledger: Ledger, clock: Clock, target: str) -> None:
        self._ledger, self._clock, self._target = ledger, clock, target
        self.trouble = ""
        """Why the ledger can't be written."""

    def refresh(self) -> bool:
        """Read the ledger where it isn't known; return whether it was read."""
        with suppress(OSError):
            if self._ledger.refresh(mend=True):
                if self._ledger.damaged_lines:
                    words = f"{self._ledger.path}: some lines can't be read; those pictures are looked at again"
                    log_relay(RelayAction.LEDGER_DAMAGED, words, target=self._target)
                return True
        return False

    def last_at(self, keys: Collection[str]) -> tuple[int, datetime | None]:
        """Return how many of some datasets were looked at, and when the last was."""
        found = [entry.at for key, entry in self._ledger.entries.items() if key in keys]
        return len(found), max(filter(None, map(moment_in, found)), default=None)

    def has(self, scan: TakenScan) -> bool:
        """Whether a dataset was looked at."""
        return scan.key in self._ledger.entries

    def judged(self, scans: Iterable[TakenScan]) -> Iterable[tuple[TakenScan, Sequence[PictureMeasures]]]:
        """Yield what was measured of those that were looked at."""
        for scan in scans:
            if (entry := self._ledger.entries.get(scan.key)) is not None:
                yield scan, _decode(entry)

    def record(self, scan: TakenScan, pictures: Sequence[PictureMeasures]) -> None:
        """Keep what was measured of a dataset."""
        text = base64.b85encode(zlib.compress(msgspec.json.encode(pictures))).decode()
        self._write(LedgerEntry(scan.key, Outcome.JUDGED, self._now(), len(pictures), measured=text))

    def begin(self, archived: Iterable[ArchivedStore]) -> None:
        """At the very first look: what ended long before has had its day."""
        if BEGUN in self._ledger.entries:
            return
        long_ago = self._clock.now() - REACH
        ended = [(store, store.ended_at) for store in archived if store.ended_at is not None]
        earlier = [LedgerEntry(_mark(store), Outcome.JUDGED, at.isoformat()) for store, at in ended if at < long_ago]
        self._write(LedgerEntry(BEGUN, Outcome.JUDGED, self._now()), *earlier)

    def is_in_reach(self, store: ArchivedStore) -> bool:
        """Whether a timelapse of the archive is to be looked at."""
        entry = self._ledger.entries.get(_mark(store))
        looked_at = None if entry is None else moment_in(entry.at)
        return looked_at is None or self._clock.now() - looked_at < REACH

    def let_go(self, store: ArchivedStore) -> None:
        """Give a timelapse of the archive, which was caught up, its last day."""
        if _mark(store) not in self._ledger.entries:
            self._write(LedgerEntry(_mark(store), Outcome.JUDGED, self._now()))

    def forget_others(self, keys: Collection[str]) -> bool:
        """Forget datasets that aren't within reach any more; return whether there were any."""
        others = [key for key in self._ledger.entries if key not in keys and key.partition(" ")[0] != BEGUN]
        if others:
            self._write(*(LedgerEntry(key, Outcome.FORGOTTEN, self._now()) for key in others))
        return bool(others)

    def _write(self, *entries: LedgerEntry) -> None:
        """Put entries on disk; where that is refused they count until the relay stops."""
        before, self.trouble = self.trouble, ""
        try:
            self._ledger.record(*entries)
        except OSError as problem:
            self.trouble = f"{self._ledger.path}: {problem.strerror or problem}"
            if self.trouble != before:
                words = f"{self.trouble}; after a restart those pictures are looked at again"
                log_relay(RelayAction.LEDGER_NOT_WRITTEN, words, target=self._target)

    def _now(self) -> str:
        return self._clock.now().isoformat(timespec="seconds")


def _mark(store: ArchivedStore) -> str:
    return f"{BEGUN} {store.path.name}"


def _decode(entry: LedgerEntry) -> Sequence[PictureMeasures]:
    text: str | bytes = entry.measured or entry.why  # of earlier versions
    with suppress(ValueError, RecursionError, zlib.error):
        if not entry.why.startswith("["):
            text = zlib.decompressobj().decompress(base64.b85decode(text), MAX_ENTRY_BYTES)
        return msgspec.json.decode(text, type=list[PictureMeasures])
    return ()
