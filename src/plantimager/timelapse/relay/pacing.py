"""When and how fast a target may be sent something: not during a scan if that is asked for, and not too fast."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from plantimager.timelapse.support.errors import TimelapsedError

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from typing import BinaryIO

    from plantimager.timelapse.relay.outgoing import OutgoingFile
    from plantimager.timelapse.support.clock import Clock

PIECE: Final = 1 << 16
"""Bytes that are read at once."""
LOOK_AGAIN: Final = 5.0
"""Seconds between two looks whether a scan still runs, should nobody wake the target."""


class Interrupted(TimelapsedError):
    """A delivery was cut off here, because a scan began or the relay stops; it is done again."""


class TargetPace:
    """The pace of one target. One thread; ``is_scanning`` asks another."""

    def __init__(
        self, clock: Clock, stop: threading.Event, *, is_scanning: Callable[[], bool] | None, rate: int | None
    ) -> None:
        """``is_scanning`` is ``None`` where a scan doesn't matter, ``rate`` bytes per second, ``None`` for any."""
        self.clock, self._stop = clock, stop
        self._is_scanning, self._rate = is_scanning, rate
        self._free_at = 0.0

    def wait_for_turn(self) -> None:
        """Wait until no scan runs.

        Raises
        ------
        Interrupted
            The relay stops.
        """
        while self._is_scanning is not None and self._is_scanning() and not self._stop.wait(LOOK_AGAIN):
            pass
        self._check_stop()

    def open_paced(self, file: OutgoingFile, *, whole: bool) -> BinaryIO:
        """Open a picture; reading raises `Interrupted` where a scan begins, unless ``whole``, or the relay stops."""
        return cast("BinaryIO", _PacedFile(file.path.open("rb"), self, whole=whole))

    @property
    def interruption(self) -> str:
        """Why nothing may be sent now, in words; empty where something may."""
        if self._stop.is_set():
            return "the relay stops"
        return "a scan began" if self._is_scanning is not None and self._is_scanning() else ""

    def before_piece(self, size: int, *, whole: bool) -> None:
        """Wait before ``size`` bytes are sent."""
        self._check_stop()
        if not whole and (interruption := self.interruption):
            raise Interrupted(interruption)
        if self._rate:
            now = self.clock.monotonic()
            self._stop.wait(max(self._free_at - now, 0.0))
            self._free_at = max(self._free_at, now) + size / self._rate

    def _check_stop(self) -> None:
        if self._stop.is_set():
            raise Interrupted("the relay stops")


class _PacedFile:
    """A file that is read in pieces, each when the pace allows it."""

    def __init__(self, file: BinaryIO, pace: TargetPace, *, whole: bool) -> None:
        self._file, self._pace, self._whole = file, pace, whole

    def fileno(self) -> int:
        """Return the descriptor, by which httpx finds the length."""
        return self._file.fileno()

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes, once they may be sent."""
        piece = self._file.read(PIECE if size < 0 else min(size, PIECE))
        if piece:
            self._pace.before_piece(len(piece), whole=self._whole)
        return piece

    def close(self) -> None:
        """Close the file."""
        self._file.close()
