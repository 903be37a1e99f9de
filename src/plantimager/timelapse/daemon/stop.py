"""The stop of the service, which is a pause: the scan comes to its next safe point, and the rig goes to standby."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from plantimager.timelapse.daemon.journal import Action, log_event
from plantimager.timelapse.daemon.phases import DaemonPhase, PhaseEvent
from plantimager.timelapse.daemon.rig import Power
from plantimager.timelapse.domain.states import TimeLapseState
from plantimager.timelapse.drivers.base import Call

if TYPE_CHECKING:
    from datetime import datetime

    from plantimager.timelapse.daemon.common import Common
    from plantimager.timelapse.daemon.live_status import StatusPublisher
    from plantimager.timelapse.daemon.store_keeper import StoreKeeper

EXTENSION: Final = timedelta(minutes=2)
"""Time that systemd is asked for, again and again: a stop takes as long as the calls of the driver, each of which ends,
or counts as hung, by its own time-out."""
EXTEND_INTERVAL: Final = timedelta(seconds=30)


WAITS_FOR: Final = {
    Call.SCAN: "the running scan comes to its next safe point",
    Call.MANUAL: "the manual command comes to its next safe point",
    Call.PREPARE: "the rig gets ready to the end first, then it goes to standby",
    Call.STANDBY: "the rig powers down to the end first",
    Call.CLOSE: "the driver that was replaced is closed first",
    Call.RECOVER: "the driver first says what became of the attempt that was cut off",
}
"""The reason why a stop takes time while a call is being made, for the journal."""


class Stop:
    """Leads the daemon from the request to stop to the end of its loop. Loop thread."""

    def __init__(self, common: Common, status: StatusPublisher) -> None:
        self._keeper, self._clock, self._lifecycle = common.keeper, common.clock, common.lifecycle
        self._notifier, self._signals, self._rig = common.notifier, common.signals, common.rig
        self._status = status
        self._is_announced = False
        self._extend_at = float("-inf")
        """When systemd is asked to wait longer, on the monotonic clock."""

    def begin_if_asked(self) -> None:
        """Begin to stop if a signal has asked for it."""
        if not self._signals.take_stop() or self._lifecycle.phase.is_stopping:
            return
        call = None if self._rig.monitor is None else self._rig.monitor.call
        self._announce("" if call is None else f"; {WAITS_FOR[call]}")
        self._lifecycle.advance(PhaseEvent.STOP_REQUESTED)

    def go_on_in_recover(self, step: str) -> None:
        """Show the driver's ``step``, and announce a stop that was asked for, while the loop waits for `recover`."""
        if self._signals.asks_to_stop:
            self._announce(f"; {WAITS_FOR[Call.RECOVER]}")
        if step:
            self._notifier.status(f"looking for the scan that was cut off: {step}")
        self._extend()

    def go_on(self) -> None:
        """Go on stopping as far as the rig is by now."""
        if not self._rig.is_at_rest:
            return
        if self._lifecycle.phase is DaemonPhase.STOPPING:
            record_stop(self._keeper, self._clock.now())
            if self._rig.power is not Power.STANDBY:
                self._rig.stand_by()
            self._rig.close()
        self._lifecycle.advance(PhaseEvent.RIG_AT_REST)
        if self._lifecycle.phase.is_over:
            log_event(Action.STOPPED, self._status.line(), timelapse=self._keeper.timelapse)

    def watch(self) -> float | None:
        """Ask systemd to wait longer if it is time; return in how many seconds to call this again."""
        return self._extend() if self._lifecycle.phase.is_stopping else None

    def _announce(self, waits_for: str) -> None:
        """Say once that the service stops, and what the stop waits for."""
        if self._is_announced:
            return
        self._is_announced = True
        self._notifier.stopping()
        words = f"the next start goes on{waits_for}"
        log_event(Action.STOPPING, words, timelapse=self._keeper.timelapse)

    def _extend(self) -> float:
        """Ask systemd to wait longer, now and then; return in how many seconds to do so again."""
        now = self._clock.monotonic()
        if now >= self._extend_at:
            self._notifier.extend_timeout(EXTENSION)
            self._extend_at = now + EXTEND_INTERVAL.total_seconds()
        return self._extend_at - now


def record_stop(keeper: StoreKeeper, now: datetime) -> None:
    """Save a last sign of life; a scan that is still running counts as interrupted."""
    timelapse = keeper.active
    if timelapse is None:
        if keeper.trouble is not None:
            keeper.retry(now)
        return
    if timelapse.state is TimeLapseState.RUNNING:
        why = "the service was stopped, and the driver did not stop in time"
        timelapse = timelapse.interrupt(now, why, is_unsettled=True)
    keeper.commit(timelapse, now)
