"""The hold that a person has on the rig between scans, with ``timelapsectl rig``.

The timelapse comes first. No manual command begins while a scan runs or when the rig is about to be prepared for one,
and a command that isn't done by then is broken off: a person can ask again, a time point can't be taken again.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from plantimager.timelapse.channel.control_request import Answer
from plantimager.timelapse.daemon.journal import Action, log_event
from plantimager.timelapse.domain.pausing import next_to_take
from plantimager.timelapse.domain.power import warmup_at
from plantimager.timelapse.domain.states import TimeLapseState
from plantimager.timelapse.domain.wording import describe_slot, format_local_time
from plantimager.timelapse.support.errors import ManualCommandRefused, ScanCancelled, TimelapsedError

if TYPE_CHECKING:
    from datetime import datetime

    from plantimager.timelapse.daemon.driver_calls import CallMonitor, CallOutcome
    from plantimager.timelapse.daemon.manual_request import ManualRequest
    from plantimager.timelapse.domain.timelapse import TimeLapse
    from plantimager.timelapse.support.clock import Clock

MIN_TIME_BEFORE_SLOT: Final = timedelta(minutes=1)
"""Between a manual command and the preparation for a slot: a gantry homes in less."""

HOLD_TIME: Final = timedelta(minutes=15)
"""How long the rig stays as a person left it before it goes to standby. A scan light that is forgotten costs the plant
no more of its day than that."""


class ManualHold:
    """One manual command at a time, and the rig left as it is for a while after it. Loop thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.manual: ManualRequest | None = None
        """The command that is being carried out, or is queued."""
        self._why_broken_off = ""
        self._held_until: float | None = None
        """On the monotonic clock: setting the wall clock must not leave a plant in the dark for a year."""

    @property
    def is_on(self) -> bool:
        """Whether a person has the rig, or had it a moment ago."""
        return self.manual is not None or self._held_until is not None

    @property
    def time_left(self) -> float | None:
        """In how many seconds the hold ends; ``None`` where time doesn't end it."""
        if self.manual is not None or self._held_until is None:
            return None
        return max(self._held_until - self._clock.monotonic(), 0.0)

    def release(self) -> None:
        """End the time for which the rig is left as it is."""
        self._held_until = None

    # --- before a command -----------------------------------------------------------------------------

    def check_free(self, timelapse: TimeLapse | None, monitor: CallMonitor | None) -> None:
        """Raise `ManualCommandRefused` where the timelapse, or another person, has the rig."""
        if self.manual is not None:
            raise ManualCommandRefused(
                f"{self.manual.command.who} is at the rig ({self.manual.command}); try again afterwards"
            )
        if timelapse is None or timelapse.next_at is None:
            return
        now = self._clock.now()
        if timelapse.state is TimeLapseState.RUNNING:
            slot = describe_slot(timelapse, timelapse.next_idx)
            raise ManualCommandRefused(f"{slot} is being scanned; {self._describe_end(monitor, now)}")
        number, ready_at = next_to_take(timelapse), warmup_at(timelapse)
        if number is None or ready_at is None:  # it is paused
            return
        slot, due_at = describe_slot(timelapse, number), timelapse.schedule_times[number]
        due, ready = format_local_time(due_at, now), format_local_time(ready_at, now)
        if due_at <= now:  # the rig was asked, and isn't ready
            raise ManualCommandRefused(
                f"{slot} is due since {due}, and the rig isn't ready; timelapsectl status says why"
            )
        if ready_at - now < MIN_TIME_BEFORE_SLOT:
            raise ManualCommandRefused(
                f"{slot} is due at {due}, and the rig gets ready for it at {ready}; try again afterwards"
            )

    def _describe_end(self, monitor: CallMonitor | None, now: datetime) -> str:
        """Return when the running scan is likely to be done, by its progress."""
        done, total, _ = monitor.steps if monitor is not None else (0, 0, "")
        if monitor is None or not done or not total:
            return "try again when it is done"
        took = self._clock.monotonic() - monitor.began
        ready = format_local_time((now + timedelta(seconds=took * (total - done) / done)).replace(microsecond=0), now)
        return f"{done} of {total} pictures are taken; try again at about {ready}"

    # --- during a command -----------------------------------------------------------------------------

    def begin(self, manual: ManualRequest) -> None:
        """Note the command that the rig is given."""
        self.manual, self._why_broken_off, self._held_until = manual, "", None

    def break_off(self, why: str) -> None:
        """Note why the command doesn't come to its own end; the first reason counts."""
        self._why_broken_off = self._why_broken_off or why

    def must_end(self, timelapse: TimeLapse | None, *, stopping: bool) -> bool:
        """Whether the command is to be broken off: the service stops, nobody waits for the answer, or a slot is due."""
        now = self._clock.now()
        ready_at = None if timelapse is None else warmup_at(timelapse)
        if stopping:
            self.break_off("the service stops")
        elif self.manual is not None and self.manual.request.is_withdrawn:
            self.break_off("nobody waits for it any more")
        elif timelapse is not None and timelapse.next_at is not None and ready_at is not None and now >= ready_at:
            slot = describe_slot(timelapse, timelapse.next_idx)
            self.break_off(f"{slot} is due at {format_local_time(timelapse.next_at, now)}")
        return bool(self._why_broken_off)

    # --- after a command ------------------------------------------------------------------------------

    def end(self, outcome: CallOutcome) -> None:
        """Answer, and leave the rig as it is for `HOLD_TIME`, so that the person can look at it."""
        manual = self.manual
        if manual is None:
            return
        self._answer(manual, outcome.answer or self._refusal(outcome.problem), outcome.problem)
        self._held_until = self._clock.monotonic() + HOLD_TIME.total_seconds()

    def abandon(self, why: str) -> None:
        """Answer a command that never ends: the process is about to be replaced."""
        if self.manual is not None:
            self._answer(self.manual, Answer(accepted=False, message=why), None)

    def _answer(self, manual: ManualRequest, answer: Answer, problem: BaseException | None) -> None:
        self.manual = None
        unexpected = None if isinstance(problem, TimelapsedError | OSError) else problem
        log_event(Action.RIG_BY_HAND, f"{manual.command}, by {manual.command.who}: {answer.message}", error=unexpected)
        manual.request.answer(answer)

    def _refusal(self, problem: BaseException | None) -> Answer:
        words = str(problem)
        if not isinstance(problem, TimelapsedError):
            words = f"the driver failed: {type(problem).__name__}: {words}"
        hint = getattr(problem, "hint", None)
        because = (
            f", because {self._why_broken_off}" if self._why_broken_off and isinstance(problem, ScanCancelled) else ""
        )
        return Answer(accepted=False, message=f"{words}{because}{f'; {hint}' if hint else ''}")
