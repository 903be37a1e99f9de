"""The run of the daemon before this one: how it ended, and what is known of the time since."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from plantimager.timelapse.channel.live import last_seen
from plantimager.timelapse.daemon.bounded_call import DiskStalled, read_within
from plantimager.timelapse.daemon.retelling import JOURNAL_SYNC_INTERVAL
from plantimager.timelapse.domain.absence import find_absence
from plantimager.timelapse.domain.schedule import EARLIEST
from plantimager.timelapse.store.loading import load_timelapse
from plantimager.timelapse.store.schema import is_safe_name
from plantimager.timelapse.support.clock import boot_time
from plantimager.timelapse.support.errors import TimelapsedError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from plantimager.timelapse.domain.absence import Absence, LastSign
    from plantimager.timelapse.domain.timelapse import TimeLapse
    from plantimager.timelapse.store.schema import Logbook
    from plantimager.timelapse.support.clock import Clock

START_TIME: Final = timedelta(minutes=5)
"""From the boot of the machine to the start of its daemon, at most; one that is started later was not enabled."""

ARCHIVE_TIMEOUT: Final = timedelta(seconds=3)
"""For the archive: the daemon is ready by then, and a slot may be due."""


class PreviousRun:
    """The daemon that wrote the store, by its ``logbook`` and its last ``sign`` of life. Loop thread."""

    def __init__(self, clock: Clock, sign: LastSign, history: Path) -> None:
        self._clock, self._sign, self._history = clock, sign, history
        self._over_since_boot = clock.since_boot()

    @property
    def over_at(self) -> datetime:
        """When this daemon began, by the wall clock as it is now: then it may have been wrong."""
        return self._clock.now() - timedelta(seconds=self._clock.since_boot() - self._over_since_boot)

    def describe_cut(self, logbook: Logbook) -> str:
        """Return what cut a scan off, to follow "when"."""
        if logbook.boot_id is None:
            return "its controller ended"
        return "the daemon was killed" if logbook.boot_id == self._clock.boot_id() else "the power went"

    def causes(self, logbook: Logbook, over_at: datetime) -> list[tuple[datetime, str]]:
        """Return until when slots were missed, and why, to follow "while"; in their order.

        The daemon starts with the machine, so the seconds between the two count to the time before. A container shows
        the boot of its host, which may be older than the last save.
        """
        if logbook.boot_id is None:
            return [(over_at, "no daemon kept the schedule")]
        not_running = (over_at, "the daemon was not running")
        if logbook.boot_id == self._clock.boot_id():
            return [not_running]
        booted_at, saved_at = boot_time(self._clock), logbook.saved_at
        is_boot_known = saved_at is None or booted_at > saved_at
        off_until = booted_at if is_boot_known and over_at - booted_at >= START_TIME else over_at
        return [(off_until, "the rig was off"), not_running]

    def absence(self, before: TimeLapse, logbook: Logbook, over_at: datetime) -> Absence:
        """Return what is known of the time since the last sign of life of the daemon, or of its machine."""
        return find_absence(before, logbook.saved_at, last_seen(self._sign, logbook, self._clock), over_at)

    def retold_since(self, logbook: Logbook) -> datetime | None:
        """Return since when the journal may lack lines about what is in the store; ``None`` where it has them all.

        After a power cut it lacks those of the last minutes. A daemon that was killed may have saved and said nothing:
        then its live status is older than the save.
        """
        sign = self._sign
        if logbook.saved_at is None or logbook.boot_id is None or sign.has_ended:
            return None
        if logbook.boot_id != self._clock.boot_id():
            written_until = max(logbook.saved_at, sign.at or logbook.saved_at)
        elif sign.at is not None and sign.at < logbook.saved_at:
            written_until = logbook.saved_at
        else:
            return None
        return max(written_until, EARLIEST + JOURNAL_SYNC_INTERVAL) - JOURNAL_SYNC_INTERVAL

    def find_archived(self, names: Collection[str]) -> Mapping[str, TimeLapse]:
        """Return the timelapses of some names in the archive; those that can't be read are left out."""

        def read() -> Mapping[str, TimeLapse]:
            found = {}
            for name in filter(is_safe_name, names):
                with suppress(TimelapsedError, OSError):
                    loaded = load_timelapse(self._history / f"{name}.json")
                    if loaded is not None:
                        found[name] = loaded.stored.timelapse
            return found

        with suppress(DiskStalled):
            return read_within(ARCHIVE_TIMEOUT, read)
        return {}
