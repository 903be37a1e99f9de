"""The loop of the daemon: a turn whenever something has happened, in which everything is decided."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Protocol

from plantimager.timelapse.daemon.phases import DaemonPhase, PhaseEvent
from plantimager.timelapse.systemd.journal_lines import flush_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plantimager.timelapse.daemon.definition_intake import DefinitionIntake
    from plantimager.timelapse.daemon.live_status import StatusPublisher
    from plantimager.timelapse.daemon.phases import Lifecycle
    from plantimager.timelapse.daemon.planner import Planner
    from plantimager.timelapse.daemon.reload import Reload
    from plantimager.timelapse.daemon.scheduler import WallClockScheduler
    from plantimager.timelapse.daemon.slot_runner import SlotRunner
    from plantimager.timelapse.daemon.start import Start
    from plantimager.timelapse.daemon.stop import Stop
    from plantimager.timelapse.daemon.store_keeper import StoreKeeper
    from plantimager.timelapse.support.clock import Clock, Wake
    from plantimager.timelapse.systemd.notifier import Notifier


class Watchdog:
    """Feeds systemd's watchdog while the loop keeps the schedule, and has it replace a process whose driver hangs."""

    def __init__(self, notifier: Notifier, lifecycle: Lifecycle) -> None:
        self._notifier, self._lifecycle = notifier, lifecycle

    def watch(self) -> float | None:
        """Feed the watchdog, or have it act; return in how many seconds to call this again. Loop thread."""
        interval, phase = self._notifier.watchdog_interval, self._lifecycle.phase
        if phase is DaemonPhase.ABANDONED:
            if interval is None:  # then the process ends by itself
                self._lifecycle.advance(PhaseEvent.STOP_REQUESTED)
            else:
                flush_lines()  # systemd ends the process at once
                self._notifier.trigger_watchdog()
        elif interval is not None and (phase.keeps_schedule or phase.is_stopping):
            self._notifier.feed_watchdog()
            return interval.total_seconds() / 2
        return None


SAVE_INTERVAL: Final = timedelta(seconds=10)
"""Between two tries to write a store that couldn't be written."""


class SaveRetry:
    """Tries a failed save again every `SAVE_INTERVAL`. Loop thread."""

    def __init__(self, keeper: StoreKeeper, clock: Clock) -> None:
        self._keeper, self._clock = keeper, clock
        self._retry_at: float | None = None
        """On the monotonic clock; ``None`` where the store is up to date."""

    def watch(self) -> float | None:
        """Save if it is time; return in how many seconds to call this again."""
        now = self._clock.monotonic()
        self._keeper.take_late(self._clock.now())
        if self._retry_at is not None and now >= self._retry_at:
            self._retry_at = None
            self._keeper.retry(self._clock.now())
        if self._keeper.trouble is None:
            self._retry_at = None
            return None
        if self._retry_at is None:
            self._retry_at = now + SAVE_INTERVAL.total_seconds()
        return self._retry_at - now


class Watched(Protocol):
    """A part of the daemon that the loop looks after in every turn."""

    def watch(self) -> float | None:
        """Do what is due; return in how many seconds to be called again, or ``None``."""


class Loop:
    """Takes the turns; between them the scheduler sleeps, and runs the jobs of the slots. Loop thread."""

    def __init__(
        self,
        scheduler: WallClockScheduler,
        lifecycle: Lifecycle,
        start: Start,
        stop: Stop,
        reload: Reload,
        planner: Planner,
        slots: SlotRunner,
        intake: DefinitionIntake,
        status: StatusPublisher,
        watched: Sequence[Watched],
    ) -> None:
        self._scheduler, self._lifecycle = scheduler, lifecycle
        self._start, self._stop, self._reload = start, stop, reload
        self._planner, self._slots, self._intake = planner, slots, intake
        self._status, self._watched = status, watched

    def run(self) -> None:
        """Take turns until the daemon is over."""
        self._scheduler.start()

    def turn(self, _: Wake) -> float | None:
        """Decide everything but the slots' jobs; return in how many seconds to take the next turn at the latest."""
        time.tzset()  # else the process would keep its first time zone when the host gets another
        self._follow_clock()
        self._slots.take_outcomes()
        self._stop.begin_if_asked()
        if not self._ends:
            self._go_on()
        if self._lifecycle.phase.is_stopping:
            self._stop.go_on()
        wait = None
        if not self._lifecycle.phase.is_over:
            waits = [part.watch() for part in self._watched]
            wait = min((seconds for seconds in waits if seconds is not None), default=None)
            self._status.publish(self._status.line())
        if self._lifecycle.phase.is_over:
            self._scheduler.shutdown()
        return wait

    def _go_on(self) -> None:
        """Start, reload, and accept what waited: until the daemon is asked to stop."""
        self._reload.run_if_asked()
        if self._lifecycle.phase.awaits_clock:
            self._start.go_on()
            self._follow_clock()  # a start may take minutes, and a slot begin right after it
        self._intake.accept_waiting()
        self._stop.begin_if_asked()  # meanwhile, and before the jobs: a scan would begin only to be broken off

    def _follow_clock(self) -> None:
        """Plan afresh if the clock was set, before anything is judged by it."""
        step = self._planner.follow_clock()
        if step is not None and step.shift < timedelta(0):
            self._intake.accept_if_idle()

    @property
    def _ends(self) -> bool:
        return self._lifecycle.phase.is_stopping or self._lifecycle.phase.is_over
