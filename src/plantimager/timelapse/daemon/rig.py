"""The rig as the loop sees it: the calls that it is given, their outcomes, and whether it is powered."""

from __future__ import annotations

from collections import deque
from enum import StrEnum
from typing import TYPE_CHECKING

from plantimager.timelapse.daemon.driver_calls import RigThread
from plantimager.timelapse.daemon.journal import Action, log_event
from plantimager.timelapse.drivers.base import Call
from plantimager.timelapse.drivers.manual_control import ManualControl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from plantimager.timelapse.daemon.active_config import ActiveConfig
    from plantimager.timelapse.daemon.driver_calls import CallMonitor, CallOutcome
    from plantimager.timelapse.daemon.manual_request import ManualRequest
    from plantimager.timelapse.drivers.base import ScannerDriver
    from plantimager.timelapse.scan.request import ScanRequest
    from plantimager.timelapse.support.clock import Clock


class Power(StrEnum):
    """Whether the rig is powered, as far as the daemon knows."""

    PREPARING = "preparing"
    """A prepare was asked for, and has not ended."""
    ASKED = "asked"
    """The driver was asked what became of an attempt, and has not answered."""
    WARM = "warm"
    """The last prepare succeeded."""
    LEFT = "by hand"
    """As a person left it: it has to be prepared before a slot."""
    STANDBY = "standby"
    UNKNOWN = "unknown"


class Rig:
    """Gives the driver its calls, which the rig thread makes one after the other. Loop thread."""

    def __init__(
        self,
        clock: Clock,
        active: ActiveConfig,
        make_thread: Callable[[Clock, Callable[[CallOutcome], None]], RigThread] = RigThread,
    ) -> None:
        self._clock, self._active = clock, active
        self._outcomes: deque[CallOutcome] = deque()
        self._thread = make_thread(clock, self._post)
        self.power = Power.UNKNOWN
        self._prepares = 0
        """How many prepares are being made or queued; the last of them counts."""
        self._was_in_standby = False
        """Whether it was, or was to be, before the last prepare or question what became of an attempt."""
        self.scanning: ScanRequest | None = None
        """The attempt that was submitted, or is asked about, until the outcome is taken."""

    @property
    def monitor(self) -> CallMonitor | None:
        """The monitor of the call that is being made now."""
        return self._thread.monitor

    @property
    def is_at_rest(self) -> bool:
        """Whether no call is being made or queued, and no outcome is left to be taken."""
        return self._thread.is_idle and not self._outcomes  # in this order: a call that ends in between has its outcome

    @property
    def is_ready(self) -> bool:
        """Whether the last prepare succeeded, and a scan that is submitted now begins at once."""
        return self.power is Power.WARM and self.is_at_rest

    def is_readied_for(self, slot: int) -> bool:
        """Whether a prepare was asked for, or the driver is asked about the slot itself, which comes before that."""
        is_asked = self.power is Power.ASKED and self.scanning is not None and self.scanning.index == slot
        return is_asked or self.power is Power.PREPARING

    @property
    def offers_manual_control(self) -> bool:
        """Whether the driver lets a person move the rig."""
        return isinstance(self._active.driver, ManualControl)

    def describe_open_scan(self) -> str:
        """Return in words which scan may yet turn out to be whole, though its timelapse has ended; empty for none."""
        if self.scanning is None:
            return ""
        why = "may be whole, is looked for" if self.power is Power.ASKED else "was cancelled, has not stopped"
        return f"the scan of {self.scanning.scan_id}, which {why}"

    def prepare(self) -> None:
        """Have the rig powered up and homed, unless that is being done."""
        if self.power is not Power.PREPARING:
            is_asked = self.power is Power.ASKED
            self._was_in_standby = self.power is Power.STANDBY or (is_asked and self._was_in_standby)
            self.power = Power.PREPARING
            self._prepares += 1
            self._submit(Call.PREPARE)

    def withdraw_prepare(self) -> None:
        """Have the rig not powered up after all, as no slot is to come; a prepare that is being made goes on."""
        withdrawn = self._thread.withdraw(Call.PREPARE)
        self._prepares -= withdrawn
        if withdrawn and self.power is Power.PREPARING:
            self.power = Power.STANDBY if self._was_in_standby else Power.UNKNOWN

    def scan(self, request: ScanRequest) -> None:
        """Have an attempt made, by a rig that is ready."""
        self.scanning = request
        self._submit(Call.SCAN, request)

    def recover(self, request: ScanRequest) -> None:
        """Have the driver asked what became of an attempt; the rig has to be prepared after it."""
        self._was_in_standby = self.power is Power.STANDBY
        self.power, self.scanning = Power.ASKED, request
        self._submit(Call.RECOVER, request)

    def run(self, manual: ManualRequest) -> None:
        """Have a manual command carried out; one that is no trial only looks at a driver without manual control.

        The rig has to be prepared again after it: light and arm are as a person wants them.
        """
        if self.offers_manual_control or manual.is_trial:
            self.power = Power.LEFT
        self._submit(Call.MANUAL, manual=manual)

    def stand_by(self) -> None:
        """Have the rig powered down."""
        self.power = Power.STANDBY
        self._submit(Call.STANDBY)

    def close(self) -> None:
        """Have the driver let go of everything; the last call of it."""
        self._submit(Call.CLOSE)

    def close_replaced(self, driver: ScannerDriver) -> None:
        """Have a driver closed in whose place there is another one by now."""
        self._thread.submit(driver, Call.CLOSE)
        self.power = Power.UNKNOWN

    def doubt_power(self) -> None:
        """Note that the rig may be powered or not: a call of it failed."""
        self.power = Power.UNKNOWN

    def take_outcomes(self) -> Iterator[CallOutcome]:
        """Yield the outcomes of the calls that ended since they were last taken."""
        while self._outcomes:
            outcome = self._outcomes.popleft()
            if outcome.request is self.scanning:
                self.scanning = None
                if outcome.call is Call.RECOVER and self.power is Power.ASKED:
                    self.power = Power.STANDBY if self._was_in_standby else Power.UNKNOWN
            if outcome.call is Call.PREPARE:
                self._prepares -= 1
                if self.power is Power.PREPARING and not self._prepares:
                    self.power = Power.WARM if outcome.problem is None else Power.UNKNOWN
            yield outcome

    def _submit(self, call: Call, request: ScanRequest | None = None, manual: ManualRequest | None = None) -> None:
        self._thread.submit(self._active.driver, call, request, manual)

    def _post(self, outcome: CallOutcome) -> None:
        """Hand an outcome over to the loop. Rig thread."""
        self._outcomes.append(outcome)
        self._clock.wake()


def log_trouble(outcome: CallOutcome) -> None:
    """Log that a call other than a scan failed."""
    problem = outcome.problem
    log_event(Action.RIG_TROUBLE, f"{outcome.call}: {problem or type(problem).__name__}", error=problem)
