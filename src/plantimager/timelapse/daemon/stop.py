"""The stop of the service, which is a pause: the scan comes to its next safe point, and the rig goes to standby."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from plantimager.timelapse.daemon.journal import Action, log_event
from plantimager.timelapse.daemon.phases import DaemonPhase, PhaseEvent
from plantimager.timelapse.daemon.rig import Power
from plantimager.timelapse.domain.states import TimeLapseState

if TYPE_CHECKING:
    from datetime import datetime

    from plantimager.timelapse.daemon.common import Common
    from plantimager.timelapse.daemon.status_publisher import StatusPublisher
    from plantimager.timelapse.daemon.store_keeper import StoreKeeper

STOP_TIMEOUT: Final = timedelta(seconds=60)
"""For the running call to come to its safe point, and then for the rig to power down."""
EXIT_MARGIN: Final = timedelta(seconds=90)
"""What systemd is asked to wait beyond `STOP_TIMEOUT`."""


class Stop:
    """Leads the daemon from the request to stop to the end of its loop. Loop thread."""

    def __init__(self, common: Common, status: StatusPublisher) -> None:
        self._keeper, self._clock, self._lifecycle = common.keeper, common.clock, common.lifecycle
        self._notifier, self._signals, self._rig = common.notifier, common.signals, common.rig
        self._status = status
        self._deadline = float("inf")
        """When the stop times out, on the monotonic clock."""

    def begin_if_asked(self) -> None:
        """Begin to stop if a signal has asked for it."""
        if not self._signals.take_stop() or self._lifecycle.phase.is_stopping:
            return
        self._lifecycle.advance(PhaseEvent.STOP_REQUESTED)
        self._deadline = self._clock.monotonic() + STOP_TIMEOUT.total_seconds()
        self._notifier.stopping()
        self._notifier.extend_timeout(STOP_TIMEOUT + EXIT_MARGIN)
        scanning = "; the running scan comes to its next safe point" if self._keeper.is_scanning else ""
        words = f"stop is pause: the next start goes on{scanning}"
        log_event(Action.STOPPING, words, timelapse=self._keeper.timelapse)

    def go_on(self) -> None:
        """Go on stopping as far as the rig is by now."""
        timed_out = self._clock.monotonic() >= self._deadline
        if not timed_out and not self._rig.is_at_rest:
            return
        if self._lifecycle.phase is DaemonPhase.STOPPING:
            record_stop(self._keeper, self._clock.now())
            if not timed_out and self._rig.power is not Power.STANDBY:
                self._rig.stand_by()
            if not timed_out:
                self._rig.close()
        self._lifecycle.advance(PhaseEvent.STOP_TIMED_OUT if timed_out else PhaseEvent.RIG_AT_REST)
        if self._lifecycle.phase.is_over:
            log_event(Action.STOPPED, self._status.line(), timelapse=self._keeper.timelapse)

    def watch(self) -> float | None:
        """Return in how many seconds the stop times out, while the daemon stops."""
        if not self._lifecycle.phase.is_stopping:
            return None
        return max(self._deadline - self._clock.monotonic(), 0.0)


def record_stop(keeper: StoreKeeper, now: datetime) -> None:
    """Save a last sign of life; a scan that is still running counts as interrupted."""
    timelapse = keeper.active
    if timelapse is None:
        if keeper.trouble is not None:
            keeper.retry(now)
        return
    if timelapse.state is TimeLapseState.RUNNING:
        timelapse = timelapse.interrupt(now, "the service was stopped, and the driver did not stop in time")
    keeper.commit(timelapse, now)
