"""The watchdog of the daemon, fed while the schedule is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plantimager.timelapse.daemon.phases import DaemonPhase, PhaseEvent
from plantimager.timelapse.systemd.journal_lines import flush_lines

if TYPE_CHECKING:
    from plantimager.timelapse.daemon.phases import Lifecycle
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
