"""The supervision of driver calls: one that stalls is cancelled, and one that never ends is abandoned."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from plantimager.timelapse.daemon.attempt_request import is_running_attempt
from plantimager.timelapse.daemon.driver_calls import PROGRESS_INTERVAL, max_silence
from plantimager.timelapse.daemon.journal import Action, log_event
from plantimager.timelapse.daemon.stop import record_stop
from plantimager.timelapse.daemon.transition import Circumstances
from plantimager.timelapse.drivers.base import CANCEL_TIMEOUT, Call
from plantimager.timelapse.support.errors import DriverStalled, ScanFailed, ScanTimedOut

if TYPE_CHECKING:
    from plantimager.timelapse.daemon.common import Common
    from plantimager.timelapse.daemon.dataset_probe import DatasetProbe
    from plantimager.timelapse.daemon.driver_calls import CallMonitor
    from plantimager.timelapse.scan.request import ScanRequest


class CallSupervisor:
    """Follows the call that is being made. Loop thread."""

    def __init__(self, common: Common, probe: DatasetProbe) -> None:
        self._keeper, self._clock, self._lifecycle = common.keeper, common.clock, common.lifecycle
        self._active, self._rig, self._hold = common.active, common.rig, common.hold
        self._probe = probe
        self._verdict: tuple[ScanRequest, ScanFailed] | None = None
        """The last attempt that was cancelled here, and why."""

    def verdict_on(self, request: ScanRequest) -> ScanFailed | None:
        """Return why an attempt was cancelled here; ``None`` where it wasn't."""
        return self._verdict[1] if self._verdict is not None and self._verdict[0] is request else None

    def watch(self) -> float | None:
        """Cancel or abandon the call if it is time; return in how many seconds to call this again."""
        monitor = self._rig.monitor
        if monitor is None or self._lifecycle.trouble is not None:
            return None
        if self._must_end(monitor):
            monitor.cancel()
        now = self._clock.monotonic()
        if monitor.cancelled_at is not None:
            left = monitor.cancelled_at + self._cancel_timeout(monitor) - now
            if left > 0:
                return left
            self._abandon(monitor)
            return None
        config = self._active.config
        stopping = self._lifecycle.phase.is_stopping
        stall_timeout = max_silence(self._active.driver, monitor.call, config.stall_timeout, stopping=stopping)
        stalled_in = monitor.last_sign + stall_timeout.total_seconds() - now
        over_in = monitor.began + config.scan_timeout.total_seconds() - now
        if min(stalled_in, over_in) > 0:
            # Progress that came too soon after the last to wake the loop is shown a moment later.
            unseen = [PROGRESS_INTERVAL] if now - monitor.last_sign < PROGRESS_INTERVAL else []
            return min(stalled_in, over_in, *unseen)
        if stopping and not monitor.call.can_be_cancelled:
            self._abandon(monitor)
            return None
        if stalled_in <= 0 and self._waits_for_disk(monitor):
            monitor.excuse_silence()
            return min(stall_timeout.total_seconds(), max(over_in, 0.0))
        verdict: ScanFailed = ScanTimedOut(config.driver, config.scan_timeout)
        if stalled_in <= 0:
            verdict = DriverStalled(config.driver, stall_timeout, abandoned=False)
        self._cancel(monitor, verdict)
        return self._cancel_timeout(monitor)

    def _waits_for_disk(self, monitor: CallMonitor) -> bool:
        """Whether an attempt, or a question about one, is as silent as its disk; it may go on with it in its time.

        The next process could do no better: a file server that is away holds up even its start. It could for slots that
        go to another directory than what is asked about.
        """
        request = monitor.request
        if request is None or self._lifecycle.phase.is_stopping:
            return False
        place = request.dataset_dir.parent
        return (monitor.call is Call.SCAN or place == self._active.datasets) and self._probe.look_at(place).is_stalled

    def _cancel_timeout(self, monitor: CallMonitor) -> float:
        """Return in how many seconds a call that is cancelled counts as hung; a trial may be in its prepare."""
        driver = self._active.driver
        limit = driver.cancel_timeout if monitor.call.can_be_cancelled else CANCEL_TIMEOUT
        limit = max(limit, driver.call_timeout) if monitor.call is Call.MANUAL else limit
        return limit.total_seconds()

    def _must_end(self, monitor: CallMonitor) -> bool:
        """Whether the call gives way: to the end of the service, to a cancellation, or as a manual one to a slot.

        One that can't be cancelled comes to its own end.
        """
        if not monitor.call.can_be_cancelled:
            return False
        stopping = self._lifecycle.phase.is_stopping
        if monitor.manual is not None and self._hold.must_end(self._keeper.timelapse, stopping=stopping):
            return True
        request = monitor.request
        return stopping or (request is not None and not is_running_attempt(self._keeper.timelapse, request))

    def _cancel(self, monitor: CallMonitor, verdict: ScanFailed) -> None:
        monitor.cancel()
        slot = None
        if monitor.request is not None:  # a stall of any other call says nothing about a scan that waits behind it
            slot, self._verdict = monitor.request.index, (monitor.request, verdict)
        if monitor.manual is not None:
            self._hold.break_off(str(verdict))
        log_event(Action.DRIVER_STALLED, str(verdict), timelapse=self._keeper.timelapse, slot=slot)

    def _abandon(self, monitor: CallMonitor) -> None:
        """Give up a call that doesn't end: record it, and have the process replaced."""
        stopping = self._lifecycle.phase.is_stopping
        silence = timedelta(seconds=round(self._clock.monotonic() - monitor.last_sign))
        stalled = DriverStalled(self._active.config.driver, silence, abandoned=True)
        self._lifecycle.abandon(str(stalled))
        self._hold.abandon(f"{stalled}; the daemon is restarted")
        timelapse, now = self._keeper.timelapse, self._clock.now()
        if timelapse is not None and self._keeper.is_scanning:
            if stopping:
                record_stop(self._keeper, now)
            else:
                failed = timelapse.fail_attempt(now, stalled, give_up=True)
                self._keeper.commit(failed, now, Circumstances(problem=stalled))
        words = f"{stalled}; the daemon must be restarted"
        log_event(Action.DRIVER_ABANDONED, words, timelapse=self._keeper.timelapse)
