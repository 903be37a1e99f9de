"""The requests of people: what each of them does, and how it is answered."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from plantimager.timelapse.channel.control_request import Answer, refusal_of
from plantimager.timelapse.channel.message import MessageFaulty
from plantimager.timelapse.channel.request_worker import RequestWorker
from plantimager.timelapse.channel.served_client import MAX_CLIENTS
from plantimager.timelapse.daemon.change_intake import AmendIntake, PauseIntake
from plantimager.timelapse.daemon.manual_request import read_manual_request
from plantimager.timelapse.daemon.phases import DaemonPhase
from plantimager.timelapse.settings.definition import parse_definition
from plantimager.timelapse.support.errors import (
    ConfigurationError,
    DefinitionRefused,
    ManualCommandRefused,
    TimelapsedError,
)
from plantimager.timelapse.support.text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from plantimager.timelapse.channel.control_request import Request
    from plantimager.timelapse.channel.request_worker import Find
    from plantimager.timelapse.daemon.common import Common
    from plantimager.timelapse.daemon.dataset_probe import DatasetProbe
    from plantimager.timelapse.daemon.definition_intake import DefinitionIntake
    from plantimager.timelapse.daemon.planner import Planner
    from plantimager.timelapse.daemon.reload import ConfigReload
    from plantimager.timelapse.daemon.request_queue import RequestQueue
    from plantimager.timelapse.daemon.store_keeper import StoreKeeper
    from plantimager.timelapse.drivers.base import ScannerDriver
    from plantimager.timelapse.settings.definition import Definition
    from plantimager.timelapse.settings.places import Places
    from plantimager.timelapse.support.clock import Clock


class ManualIntake:
    """Has the rig carry out the manual commands that are asked for. Loop thread."""

    def __init__(self, common: Common, probe: DatasetProbe) -> None:
        self._keeper, self._clock, self._lifecycle = common.keeper, common.clock, common.lifecycle
        self._active, self._rig, self._hold, self._probe = common.active, common.rig, common.hold, probe

    def begin(self, request: Request) -> None:
        """Have the rig carry out a manual command; it is answered when that is done.

        Raises
        ------
        ManualCommandRefused
            The timelapse comes first, another person is at the rig, the driver doesn't offer the command, or a trial
            has nowhere to go.
        FaultsFound
            The command can't be understood.
        """
        configuration = self._keeper.configuration or self._active.config.scan
        manual = read_manual_request(request, self._active, configuration, self._clock)
        if self._lifecycle.trouble is not None:
            raise ManualCommandRefused(f"{self._lifecycle.trouble}; the daemon is about to be restarted")
        self._hold.check_free(self._keeper.timelapse, self._rig.monitor)
        manual.check_offered(self._active.driver)
        if manual.is_trial:  # the last look may be long ago, and there is none without a timelapse
            found = self._probe.examine()
            if found.is_elsewhere:
                raise ManualCommandRefused(self._probe.describe(f"{found.why}"))
        self._hold.begin(manual)
        self._rig.run(manual)


AS_CONFIGURED: Final = ("pause", "resume", "cancel")
"""The commands that begin nothing, whatever the configuration says by now."""
MAX_COMMAND: Final = 40
"""Characters that are shown of a command."""


class RequestHandler:
    """Handles the requests that wait. Loop thread."""

    def __init__(
        self,
        common: Common,
        queue: RequestQueue,
        config: ConfigReload,
        planner: Planner,
        intake: DefinitionIntake,
        commands: Mapping[str, Callable[[Request], str | None]],
    ) -> None:
        """Handle ``commands`` as well, each by its function, which returns no sentence where it answers later."""
        self._keeper, self._clock, self._lifecycle = common.keeper, common.clock, common.lifecycle
        self._active, self._queue, self._config = common.active, queue, config
        self._planner, self._intake = planner, intake
        self._handlers = {"start": self._start, "cancel": self._cancel, **commands}

    def watch(self) -> float | None:
        """Handle the oldest of the requests that wait; after it the next turn of the loop follows at once.

        Return in how many seconds to call this again, for the lines about those that were refused.
        Before the clock was judged they wait; as long as it isn't trusted they are refused.
        """
        request = None if self._lifecycle.phase is DaemonPhase.STARTING else self._queue.next_request()
        if request is not None:
            self._handle(request)
            self._clock.wake()
        return self._queue.refusals.flush()

    def _handle(self, request: Request) -> None:
        try:
            self._check_ready(request)
            message = self._handlers[request.command](request)
        except (TimelapsedError, OSError) as refusal:
            answer = refusal_of(refusal)
            request.answer(answer)
            self._queue.refusals.log(request.who, f"{_shown(request.command)} by {request.who}: {answer.message}")
        else:
            if message is not None:
                request.answer(self._accepted(message))

    def _check_ready(self, request: Request) -> None:
        """Refuse a request that can't be handled now, or ever.

        Nothing begins under another configuration than the one that the person has written.

        Raises
        ------
        TimelapsedError
            It is refused.
        """
        if request.command not in self._handlers:
            raise MessageFaulty(f"there is no request {_shown(request.command)}")
        if self._lifecycle.phase.is_stopping:
            raise DefinitionRefused("the service stops", hint="try again when it has started")
        if self._lifecycle.clock_trouble is not None:
            raise DefinitionRefused(
                self._lifecycle.clock_trouble, hint="try again when timelapsectl status calls the clock trusted"
            )
        if request.command in AS_CONFIGURED:
            return
        self._config.run()
        if self._active.trouble is not None:
            raise ConfigurationError(self._active.trouble)

    def _accepted(self, message: str) -> Answer:
        """Return the answer to a request that has changed the timelapse; it says so where that isn't on disk."""
        trouble, path = self._keeper.trouble, self._keeper.file.path
        not_saved = "" if trouble is None else f"not on disk yet: {path} can't be written ({trouble})"
        return Answer(accepted=True, message=message, not_saved=not_saved)

    def _start(self, request: Request) -> str:
        """Accept a definition, which was read beside the loop."""
        read = request.content
        if isinstance(read, BaseException):
            raise read
        origin = f"timelapsectl start, by {request.who}"
        return self._intake.accept(read, origin, lambda: request.is_withdrawn)

    def _cancel(self, request: Request) -> str:
        """Cancel the timelapse; a running scan is stopped at its next safe point."""
        timelapse, now = self._keeper.active, self._clock.now()
        if timelapse is None:
            raise DefinitionRefused(f"there is no active timelapse to cancel{self._describe_last()}")
        wanted = request.text("timelapse_id") or timelapse.id
        if wanted != timelapse.id:
            raise DefinitionRefused(f"{wanted} is not active; {timelapse.id} is")
        why = request.text("why") or "no reason given"
        cancelled = timelapse.cancel(now, request.who, why)
        self._keeper.commit(cancelled, now)
        self._planner.plan_afresh()
        return f"{cancelled.id} is cancelled; {cancelled.tally}"

    def _describe_last(self) -> str:
        """Return what became of the last timelapse; on disk it may be active yet."""
        last, trouble = self._keeper.timelapse, self._keeper.trouble
        if last is None:
            return ""
        return f"; {last.id} is {last.state.value}" + (f", but that is not on disk yet ({trouble})" if trouble else "")


def _shown(command: str) -> str:
    """Return a command as answers and the journal show it; a client may send anything."""
    return one_line(command)[:MAX_COMMAND]


def change_commands(
    common: Common, places: Places, planner: Planner, intake: DefinitionIntake, queue: RequestQueue
) -> dict[str, Callable[[Request], str | None]]:
    """Return what handles the commands that change what is to come."""
    amend, pause = AmendIntake(common, places, planner, intake, queue), PauseIntake(common, planner)
    return {"amend": amend.accept, "pause": pause.pause, "resume": pause.end}


MAX_CHECKS: Final = 4
"""Checks that wait for one another: a driver may hang in one."""


def answers_beside(
    places: Places,
    keeper: StoreKeeper,
    clock: Clock,
    make_driver: Callable[[str, Mapping[str, Any]], ScannerDriver],
    report: Callable[[Request, Exception], None],
) -> dict[str, Find]:
    """Return what answers the commands that need no decision of the loop, on two threads of their own.

    What these alone need is loaded at the first of them: whatever that raises is an answer, and never reaches the loop.
    """
    judge, files = RequestWorker("judge", report, MAX_CHECKS), RequestWorker("files", report, MAX_CLIENTS)

    def check(request: Request) -> Answer:
        from plantimager.timelapse.daemon.judgement import ServiceJudgement  # noqa: PLC0415 - see `answers_beside`

        return ServiceJudgement(places, keeper, clock, make_driver).answer(request)

    def look(request: Request) -> Answer:
        from plantimager.timelapse.daemon.stored_files import answer_of_files  # noqa: PLC0415 - as above

        return answer_of_files(places, request)

    looks = dict.fromkeys(("archives", "archive", "verify"), partial(files.put, look))
    return {"check": partial(judge.put, check), **looks}


def read_start(request: Request) -> Definition | Exception:
    """Return the definition in a request, or why there is none: large ones take seconds, so it isn't the loop's."""
    try:
        source = Path(request.text("file") or "timelapsectl start")
        return parse_definition(b"".join(request.files[:1]), source)
    except Exception as problem:  # noqa: BLE001 - it is raised again where the request is handled
        return problem
