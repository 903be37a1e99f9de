"""When and how fast a target may be sent something: not during a scan if that is asked for, and not too fast."""

from __future__ import annotations

import hashlib
import os
from math import inf
from typing import TYPE_CHECKING, Final, NoReturn, TypeVar, cast

from plantimager.timelapse.relay.sealed_dataset import DatasetGone
from plantimager.timelapse.support.errors import TimelapsedError

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from typing import BinaryIO

    from plantimager.timelapse.relay.deliver.outgoing import OutgoingFile
    from plantimager.timelapse.support.clock import Clock

_T = TypeVar("_T")

PIECE: Final = 1 << 16
"""Bytes that are read at once, or those of one second where fewer may be sent in it."""
LOOK: Final = 1.0
"""Seconds between two looks whether something may be sent."""
MANY_CUTS: Final = 3
"""Times that scans cut the same off, no further each time, until that is reported: from the second on it had all the
time between two."""
TOO_LONG: Final = (
    "what is sent or read back at once takes longer than the time between two scans, and is cut off by each;"
    " write polite = false, and max_rate to leave the scans room"
)


class Interrupted(TimelapsedError):
    """A delivery was cut off here, because a scan began or the relay stops; it is done again."""

    def __init__(self, *message: object, got_further: bool = False) -> None:
        """``got_further`` says that a part of it was done, and isn't done again."""
        super().__init__(*message)
        self.got_further = got_further


class TargetPace:
    """The pace of one target. One thread, but for `check`; ``is_scanning`` is asked by any."""

    def __init__(
        self,
        clock: Clock,
        stop: threading.Event,
        *,
        is_scanning: Callable[[], bool] | None = None,
        next_slot_in: Callable[[], float] = lambda: inf,
        rate: int | None = None,
        waits: bool = True,
        report: Callable[[str], None] = lambda _: None,
    ) -> None:
        """``is_scanning`` is ``None`` where a scan doesn't matter, ``rate`` bytes per second, ``None`` for any.

        ``waits`` says whether what a scan cuts off is done again after it; where that goes on, ``report`` is told.
        """
        self.clock, self.stop, self.rate = clock, stop, rate
        self._is_scanning, self._next_slot_in, self._waits = is_scanning, next_slot_in, waits
        self._report = report
        self._free_at = 0.0

    @property
    def is_barred(self) -> bool:
        """Whether a scan runs in which nothing is sent."""
        return self._is_scanning is not None and self._is_scanning()

    @property
    def interruption(self) -> str:
        """Why nothing may be sent now, in words; empty where something may."""
        if self.stop.is_set():
            return "the relay stops"
        return "a scan began" if self.is_barred else ""

    def check(self) -> None:
        """Check whether something may be sent now. Any thread.

        Raises
        ------
        Interrupted
            A scan runs, or the relay stops.
        """
        if interruption := self.interruption:
            raise Interrupted(interruption)

    def wait_for_turn(self, needed: float = 0.0, wished: float = 0.0) -> None:
        """Wait until no scan runs, and none is due within the seconds that are ``needed``.

        Nor within those that are ``wished``, until the next slot has passed: what takes longer than the time between
        slots begins right after one.

        Raises
        ------
        Interrupted
            The relay stops.
        """
        before = left = self._next_slot_in()
        while (self.interruption or left < max(needed, wished) or left > before) and not self.stop.wait(LOOK):
            before, left = left, self._next_slot_in()  # after a slot once more: its scan may be about to begin
            if left > before:
                wished = 0.0
        if self.stop.is_set():
            self.check()

    def in_turn(self, act: Callable[[], _T]) -> _T:
        """Return what an act returns that may be cut off by `check`, and be done again from its beginning.

        Raises
        ------
        Interrupted
            The relay stops, or a scan runs and this pace doesn't wait.
        """
        n_cuts = 0
        while self._waits:
            self.wait_for_turn()
            try:
                return act()
            except Interrupted as cut:
                n_cuts = 0 if cut.got_further else n_cuts + 1
            if n_cuts == MANY_CUTS and not self.stop.is_set():
                self._report(TOO_LONG)
        self.check()
        return act()

    def open_paced(self, file: OutgoingFile) -> BinaryIO:
        """Open a picture; reading raises `Interrupted` where a scan begins, or the relay stops.

        Its last bytes are read only where all are as they were when it was compared with the receipt, since a server
        keeps what it has taken; else reading raises `DatasetGone`.
        """
        return cast("BinaryIO", _PacedFile(file, self))

    def before_piece(self, size: int) -> None:
        """Wait before ``size`` bytes are sent.

        Raises
        ------
        Interrupted
            See `check`.
        """
        self.check()
        if self.rate:
            while (wait := self._free_at - self.clock.monotonic()) > 0:
                self.stop.wait(min(wait, LOOK))
                self.check()
            self._free_at = self.clock.monotonic() + size / self.rate


class _PacedFile:
    """A file that is read in pieces, each when the pace allows it."""

    def __init__(self, file: OutgoingFile, pace: TargetPace) -> None:
        self._expected, self._pace = file, pace
        self._piece = min(PIECE, max(pace.rate or PIECE, 1))
        self._left, self._digest = file.size, hashlib.sha256()
        self._file = file.path.open("rb")
        if os.fstat(self._file.fileno()).st_size != file.size:
            self._file.close()
            self._raise_changed()

    def fileno(self) -> int:
        """Return the descriptor, by which httpx finds the length."""
        return self._file.fileno()

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes, once they may be sent."""
        piece = self._file.read(self._piece if size < 0 else min(size, self._piece))
        self._digest.update(piece)
        self._left -= len(piece)
        is_other = not self._left and self._digest.hexdigest() != self._expected.digest
        if is_other or self._left < 0 or (self._left and not piece):
            self._raise_changed()
        if piece:
            self._pace.before_piece(len(piece))
        return piece

    def _raise_changed(self) -> NoReturn:
        raise DatasetGone(f"{self._expected.path} has changed while it was sent")

    def close(self) -> None:
        """Close the file."""
        self._file.close()
