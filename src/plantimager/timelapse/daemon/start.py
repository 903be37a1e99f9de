"""The start of the daemon: it reads the store, and waits for a clock by which it may go on with it.

A Raspberry Pi without a real-time clock boots in the past and jumps when the network answers. Until then
no slot may be fired and none skipped.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from plantimager.timelapse.daemon.journal import Action, log_event
from plantimager.timelapse.daemon.phases import DaemonPhase
from plantimager.timelapse.domain.durations import format_duration
from plantimager.timelapse.settings.config import ClockPolicy
from plantimager.timelapse.settings.places import describe_locks, describe_storage
from plantimager.timelapse.store.loading import LoadedTimelapse
from plantimager.timelapse.support.clock_evidence import modified_at

if TYPE_CHECKING:
    from pathlib import Path

    from plantimager.timelapse.daemon.common import Common
    from plantimager.timelapse.daemon.live_status import StatusPublisher
    from plantimager.timelapse.daemon.resume import Resume
    from plantimager.timelapse.support.clock_evidence import ClockEvidence
    from plantimager.timelapse.support.errors import StoreCorrupt


NONE = timedelta(0)


class Trust(Struct, frozen=True):
    """One judgement of the clock."""

    trusted: bool
    why: str
    """The evidence, as a part of a sentence: ``clock not trusted yet (kernel: unsynchronised)``."""
    wait: timedelta | None = None
    """How long until the clock is trusted without better evidence; `None` where it is, or where that never happens."""


def judge_clock(
    policy: ClockPolicy,
    evidence: ClockEvidence,
    now: datetime,
    last_write: datetime | None,
    since_boot: float,
    clock_wait: timedelta,
) -> Trust:
    """Judge the wall clock ``now``, ``since_boot`` s after the machine's boot.

    ``last_write`` is when the store was last written, `None` without a store. A clock that is earlier is wrong now, or
    was wrong then. A clock that is synchronised to the network is trusted at once, or, where it is earlier than the
    last write, when ``clock_wait`` is over. Any other clock is trusted only when it has passed the last write; without
    any evidence for it, ``clock_wait`` must be over, too.
    """
    if policy is ClockPolicy.TRUST:
        return Trust(trusted=True, why='clock = "trust"')
    if policy is ClockPolicy.NTP_ONLY and not evidence.kernel_synchronised:
        return Trust(trusted=False, why="kernel: unsynchronised; ntp-only")

    behind = max(last_write - now, NONE) if last_write is not None else NONE
    left = max(clock_wait - timedelta(seconds=since_boot), NONE)
    if evidence.kernel_synchronised:
        why, wait = "kernel: synchronised", min(behind, left)
    elif evidence.set_from_rtc:
        why, wait = "set from a real-time clock at boot", behind
    else:
        why, wait = "kernel: unsynchronised", max(behind, left)

    if wait:
        return Trust(
            trusted=False, why=f"{format_duration(behind)} before the last write" if behind else why, wait=wait
        )
    if behind:
        why = f"{why}, though {format_duration(behind)} before the last write"
    elif not (evidence.kernel_synchronised or evidence.set_from_rtc):
        why = f"{why}, but nothing better came within {format_duration(clock_wait)} of boot"
    return Trust(trusted=True, why=why)


JUDGE_INTERVAL: Final = 5.0
"""Seconds between two looks at the kernel's verdict on the clock; no event announces a change of it."""
START_MARGIN: Final = timedelta(seconds=90)
"""How long the start may take, without the waits for the clock and for a driver's `recover`."""
MAX_WAIT: Final = timedelta(days=3650)
"""How long systemd is asked to wait for a clock that only the network can set right."""


class Start:
    """Leads the daemon to the resume, which waits for a clock that can be trusted. Loop thread."""

    def __init__(self, common: Common, status: StatusPublisher, resume: Resume) -> None:
        self._keeper, self._clock, self._lifecycle = common.keeper, common.clock, common.lifecycle
        self._active, self._notifier = common.active, common.notifier
        self._status, self._resume = status, resume
        self._loaded: LoadedTimelapse | StoreCorrupt | None = None

    def go_on(self) -> None:
        """Resume if the clock can be trusted by now. Called every turn until then.

        Until then nothing is decided that can't be taken back.
        """
        has_waited = self._lifecycle.phase is DaemonPhase.WAITING_FOR_CLOCK
        if not has_waited:
            self._loaded = self._keeper.load()
        if not self._trusts_clock(_last_write(self._loaded)):
            return
        if has_waited:
            self._status.publish("clock trusted, judging the slots since the last save")
            self._notifier.extend_timeout(START_MARGIN)
            self._loaded = self._keeper.load()  # it may have changed meanwhile
        self._clock.step()  # nothing was decided by the clock as it was set before
        loaded, self._loaded = self._loaded, None
        self._resume.run(loaded)

    def watch(self) -> float | None:
        """Return in how many seconds to judge the clock again, while that is awaited."""
        return JUDGE_INTERVAL if self._lifecycle.phase.awaits_clock else None

    def _trusts_clock(self, last_write: datetime | None) -> bool:
        """Judge the clock now; ``last_write`` is the store's."""
        evidence, config, now = self._clock.evidence(), self._active.config, self._clock.now()
        trust = judge_clock(config.clock, evidence, now, last_write, self._clock.since_boot(), config.clock_wait)
        if trust.trusted:
            log_event(Action.CLOCK_TRUSTED, f"{trust.why} ({evidence.detail})")
            self._lifecycle.trust_clock()
            return True
        if self._lifecycle.phase is DaemonPhase.STARTING:
            wait = MAX_WAIT if trust.wait is None else min(trust.wait, MAX_WAIT)
            self._notifier.extend_timeout(wait + START_MARGIN)
            log_event(Action.CLOCK_WAIT, f"clock not trusted yet ({trust.why}; {evidence.detail}); nothing is decided")
        self._lifecycle.doubt_clock(f"clock not trusted yet ({trust.why}), nothing is decided")
        return False


def log_start_notes(datasets: Path, storage: Path) -> tuple[str, ...]:
    """Log and return what of the storage will not outlive a power cut, and whether another machine may write it."""
    lasting, locks = describe_storage(datasets, storage), describe_locks(storage)
    for note in lasting:
        log_event(Action.STORAGE_NOT_LASTING, note)
    for note in locks:
        log_event(Action.STORE_NOT_LOCKED, note)
    return (*lasting, *locks)


def _last_write(loaded: LoadedTimelapse | StoreCorrupt | None) -> datetime | None:
    """Return when the store was last written: as it says itself, or else as its file says.

    What an altered store says may be damaged, and a time that never comes would be waited for.
    """
    if not isinstance(loaded, LoadedTimelapse):
        return None
    said = None if loaded.is_altered else loaded.stored.logbook.saved_at
    return said or modified_at(loaded.path)
