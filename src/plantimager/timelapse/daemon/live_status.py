"""The live status: one line for ``systemctl status``, and what ``timelapsectl status`` shows beyond the store."""

from __future__ import annotations

import os
import zlib
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from msgspec import to_builtins

from plantimager.timelapse.channel.control_request import Answer
from plantimager.timelapse.channel.live import MARK, SCANNING, SEEN, LiveStatus, ScanProgress
from plantimager.timelapse.daemon.bounded_call import read_within
from plantimager.timelapse.domain.wording import format_status_line
from plantimager.timelapse.drivers.base import Call
from plantimager.timelapse.store.loading import load_timelapse
from plantimager.timelapse.store.public_copy import public_copy, redacted, secrets_of
from plantimager.timelapse.support.errors import TimelapsedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from plantimager.timelapse.channel.control_request import Request
    from plantimager.timelapse.daemon.common import Common
    from plantimager.timelapse.daemon.dataset_probe import DatasetProbe
    from plantimager.timelapse.daemon.side_writes import SideLive
    from plantimager.timelapse.daemon.store_keeper import StoreKeeper
    from plantimager.timelapse.daemon.transition import Transition
    from plantimager.timelapse.store.stored_timelapse import StoredTimelapse


READ_TIMEOUT: Final = timedelta(seconds=1)
"""For the store to be read for an answer: meanwhile nobody else is heard."""


class StatusAnswer:
    """The last status that the loop has shown. The loop shows, and the control thread answers from it."""

    def __init__(self, live: SideLive, keeper: StoreKeeper) -> None:
        self._live, self._keeper = live, keeper
        self._shown: tuple[LiveStatus, StoredTimelapse | None] = (LiveStatus(), None)
        """The live status and the store of one moment."""
        self._text: tuple[StoredTimelapse | None, bytes] = (None, b"")
        self._is_reading = False

    def show(self, status: LiveStatus, at: datetime) -> None:
        """Show the live status, and the store as it is now. Loop thread."""
        self._shown = status, self._keeper.stored
        self._live.show(status, at)

    def answer(self, request: Request) -> Answer:
        """Return the live status, and the store unless it was seen, both without secrets. Control thread.

        Before the loop has read its store, it is read here; where the disk doesn't answer it is left out.
        """
        is_known = self._keeper.is_known  # first: the loop may hold the store at any moment
        status, stored = self._shown
        details = to_builtins(status)
        stored = stored or self._keeper.stored  # held, and not shown yet: the driver is still asked about its attempt
        if stored is None and not is_known and not self._is_reading:
            with suppress(TimelapsedError, OSError):
                self._is_reading = True
                stored = read_within(READ_TIMEOUT, self._read)
        if stored is None:
            return Answer(accepted=True, message="", details=details)
        before, text = self._text
        if before is not stored:
            text = public_copy(stored).encode()
            self._text = stored, text
        mark = f"{os.getpid()}-{zlib.crc32(text):08x}"
        details = {**redacted(details, secrets_of(stored)), MARK: mark}
        files = () if request.body.get(SEEN) == mark else (text,)
        return Answer(accepted=True, message="", details=details, files=files)

    def _read(self) -> StoredTimelapse | None:
        """Return what the store on disk holds; one call at a time, since one may never come back."""
        try:
            loaded = load_timelapse(self._keeper.file.path)
        finally:
            self._is_reading = False
        return None if loaded is None else loaded.stored


class StatusPublisher:
    """Shows what the daemon is doing: with every transition, and at the end of every turn of the loop. Loop thread."""

    def __init__(
        self, common: Common, live: StatusAnswer, probe: DatasetProbe, notes: Callable[[], Iterable[str]]
    ) -> None:
        """Show what ``notes`` returns: of the storage, and of a definition that has not begun."""
        self._notifier, self._live = common.notifier, live
        self._keeper, self._clock, self._lifecycle = common.keeper, common.clock, common.lifecycle
        self._active, self._rig, self._hold, self._probe = common.active, common.rig, common.hold, probe
        self._notes = notes

    def on_transition(self, _: Transition) -> None:
        """Show what the timelapse is doing now."""
        self.publish(self.line())

    def publish(self, line: str) -> None:
        """Show ``line``, and the live status as it is now; what is shown already isn't written again."""
        self._notifier.status(line)
        self._live.show(self._status(line), self._clock.now())

    def line(self) -> str:
        """Return the one line for ``systemctl status``."""
        trouble = self._lifecycle.clock_trouble or self._lifecycle.trouble
        if trouble is not None:
            return trouble
        if self._keeper.trouble is not None:
            return f"DEGRADED: store can't be written ({self._keeper.trouble}), scans go on"
        return format_status_line(
            self._keeper.timelapse,
            self._clock.now(),
            progress=None if (steps := self._progress) is None else (steps.done, steps.total),
            fresh=self._notifier.watchdog_interval is not None,
        )

    def _status(self, line: str) -> LiveStatus:
        return LiveStatus(
            pid=os.getpid(),
            status=line,
            rig=self._describe_rig(),
            progress=self._progress,
            trouble=self._keeper.trouble or self._lifecycle.trouble or self._active.trouble or self._probe.trouble,
            degraded=self._keeper.trouble,
            datasets=self._probe.trouble,
            notes=(*self._notes(), *(self._keeper.stored.notes if self._keeper.stored is not None else ())),
            clock="trusted" if self._lifecycle.clock_trouble is None else "not trusted",
            driver=self._active.config.driver,
        )

    @property
    def _progress(self) -> ScanProgress | None:
        """That of the running scan; ``None`` before its first sign."""
        monitor = self._rig.monitor
        if not self._keeper.is_scanning or monitor is None or not monitor.steps[1]:
            return None
        done, total, *_ = monitor.steps
        return ScanProgress(done, total)

    def _describe_rig(self) -> str:
        if self._keeper.is_scanning:
            return SCANNING
        return Call.MANUAL if self._hold.manual is not None else self._rig.power
