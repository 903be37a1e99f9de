"""Errands: what a person wants of the rig, on its way through the daemon. Loop thread, but for `Errand.run`.

The timelapse comes first. Nothing is begun while a scan runs or when the rig is about to get ready for one, and what
isn't done by then is broken off: a person can ask again, a time point can't be taken again.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from plantimager.timelapse.channel.inbox import Answer, leave_picture
from plantimager.timelapse.daemon.journal import Action, log_event
from plantimager.timelapse.domain.states import TimeLapseState
from plantimager.timelapse.domain.wording import describe_slot, format_local_time
from plantimager.timelapse.support.errors import ManualCommandRefused, ScanCancelled, TimelapsedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from plantimager.timelapse.channel.inbox import Request
    from plantimager.timelapse.daemon.rig_thread import CallMonitor, CallOutcome
    from plantimager.timelapse.domain.timelapse import TimeLapse
    from plantimager.timelapse.drivers.base import ScanMonitor, ScannerDriver
    from plantimager.timelapse.drivers.manual_command import ManualCommand
    from plantimager.timelapse.support.clock import Clock

ROOM: Final = timedelta(minutes=1)
"""What there must be until the rig gets ready for a slot: a gantry homes in less."""

REST: Final = timedelta(minutes=15)
"""How long the rig stays as a person left it before it goes to standby. Time to look, and to walk back to the desk; but
the scan light that somebody forgot costs the plant no more of its day."""


class ManualRequest(Struct, frozen=True):
    """A command on its way through the daemon."""

    command: ManualCommand
    request: Request
    reply: Callable[[Answer], None]
    """Answers the request. Loop thread."""
    driver: str
    """Its name in the configuration."""
    configuration: Mapping[str, Any]

    def check_offered(self, driver: ScannerDriver) -> None:
        """Raise `ManualCommandRefused` where the driver has no such thing to offer."""
        from plantimager.timelapse.drivers.manual_command import check_supported  # noqa: PLC0415 - see `read_manual_request`

        check_supported(driver, self.driver, self.command)

    def run(self, driver: ScannerDriver, monitor: ScanMonitor) -> Answer:
        """Do it. Rig thread; raises as `by_hand.perform`, and OSError where a picture can't be left."""
        from plantimager.timelapse.drivers.manual_command import perform  # noqa: PLC0415 - see `read_manual_request`

        report = perform(driver, self.driver, self.command, self.configuration, monitor)
        for number, picture in enumerate(report.pictures):
            leave_picture(self.request, number, picture.content)
        return Answer(accepted=True, message=report.sentence, details=report.details)


def read_manual_request(
    request: Request, reply: Callable[[Answer], None], driver: str, configuration: Mapping[str, Any]
) -> ManualRequest:
    """Return the manual that a request is, by a module that is loaded only now: most daemons never have one.

    Raises
    ------
    FaultsFound, RequestFaulty, OSError
        It can't be understood, or read.

    """
    from plantimager.timelapse.drivers.manual_command import read_manual_command  # noqa: PLC0415 - see above

    command = read_manual_command(request.body(), request.path.name)
    return ManualRequest(command, request, reply, driver, configuration)


class ManualHold:
    """The person's hold on the rig: one manual at a time, and the rig left as it is for a while. Loop thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.manual: ManualRequest | None = None
        """What is being done, or is queued."""
        self._why = ""
        """Why it was broken off."""
        self._rests_until: float | None = None
        """On the monotonic clock: to set the wall clock must not leave a plant in the dark for a year."""

    @property
    def on(self) -> bool:
        """Whether a person has the rig, or has had it a moment ago."""
        return self.manual is not None or self._rests_until is not None

    @property
    def left(self) -> float | None:
        """In how many seconds the rig is nobody's any more, None where that isn't a matter of time."""
        if self.manual is not None or self._rests_until is None:
            return None
        return max(self._rests_until - self._clock.monotonic(), 0.0)

    def has(self, request: Request) -> bool:
        """Whether a request is being seen to."""
        return self.manual is not None and self.manual.request == request

    def let_go(self) -> None:
        """Count the rig as nobody's from now on."""
        self._rests_until = None

    def check_free(self, timelapse: TimeLapse | None, watch: CallMonitor | None) -> None:
        """Raise `ManualCommandRefused` where the timelapse, or another person, has the rig."""
        if self.manual is not None:
            raise ManualCommandRefused(
                f"{self.manual.command.who} is at the rig ({self.manual.command}); try again afterwards"
            )
        if timelapse is None or timelapse.next_at is None:
            return
        now = self._clock.now()
        slot = describe_slot(timelapse, timelapse.next_idx)
        if timelapse.state is TimeLapseState.RUNNING:
            raise ManualCommandRefused(f"{slot} is being scanned; {self._done_words(watch, now)}")
        ready_at = timelapse.next_at - timelapse.warmup
        due, ready = format_local_time(timelapse.next_at, now), format_local_time(ready_at, now)
        if timelapse.next_at <= now:  # then it was asked, and isn't ready
            raise ManualCommandRefused(
                f"{slot} is due since {due}, and the rig isn't ready; timelapsectl status says why"
            )
        if ready_at - now < ROOM:
            raise ManualCommandRefused(
                f"{slot} is due at {due}, and the rig gets ready for it at {ready}; try again afterwards"
            )

    def _done_words(self, watch: CallMonitor | None, now: datetime) -> str:
        done, total, _ = watch.steps if watch is not None else (0, 0, "")
        if watch is None or not done or not total:
            return "try again when it is done"
        took = self._clock.monotonic() - watch.began
        ready = format_local_time((now + timedelta(seconds=took * (total - done) / done)).replace(microsecond=0), now)
        return f"{done} of {total} pictures are taken; try again at about {ready}"

    def begin(self, manual: ManualRequest) -> None:
        """Remember what is asked of the rig from now on."""
        self.manual, self._why, self._rests_until = manual, "", None

    def break_off(self, why: str) -> None:
        """Remember why the manual doesn't come to its own end; the first reason counts."""
        self._why = self._why or why

    def must_end(self, timelapse: TimeLapse | None, *, stopping: bool) -> bool:
        """Whether the manual is to be broken off, because something else comes first or nobody waits for it."""
        now = self._clock.now()
        if stopping:
            self.break_off("the service stops")
        elif self.manual is not None and self.manual.request.is_withdrawn:
            self.break_off("nobody waits for it any more")
        elif timelapse is not None and timelapse.next_at is not None and now >= timelapse.next_at - timelapse.warmup:
            slot = describe_slot(timelapse, timelapse.next_idx)
            self.break_off(f"{slot} is due at {format_local_time(timelapse.next_at, now)}")
        return bool(self._why)

    def end(self, outcome: CallOutcome) -> None:
        """Answer, and leave the rig as it is for a while: nobody homes a gantry to see it powered down at once."""
        manual = self.manual
        if manual is None:
            return
        self._finish(manual, outcome.answer or self._failed(outcome.problem), outcome.problem)
        self._rests_until = self._clock.monotonic() + REST.total_seconds()

    def abandon(self, why: str) -> None:
        """Answer for a rig that never will: the process is about to be replaced."""
        if self.manual is not None:
            self._finish(self.manual, Answer(accepted=False, message=why), None)

    def _finish(self, manual: ManualRequest, answer: Answer, problem: BaseException | None) -> None:
        self.manual = None
        unexpected = None if isinstance(problem, TimelapsedError | OSError) else problem
        log_event(Action.RIG_BY_HAND, f"{manual.command}, by {manual.command.who}: {answer.message}", error=unexpected)
        manual.reply(answer)

    def _failed(self, problem: BaseException | None) -> Answer:
        words = str(problem)
        if isinstance(problem, OSError):
            words = f"the picture can't be handed over: {problem.strerror}"
        elif not isinstance(problem, TimelapsedError):
            words = f"the driver failed: {type(problem).__name__}: {words}"
        hint = getattr(problem, "hint", None)
        because = f", because {self._why}" if self._why and isinstance(problem, ScanCancelled) else ""
        return Answer(accepted=False, message=f"{words}{because}{f'; {hint}' if hint else ''}")
