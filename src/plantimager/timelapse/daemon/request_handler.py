"""The requests of people: what each of them does, and how it is answered."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from plantimager.timelapse.channel.inbox import Answer
from plantimager.timelapse.daemon.journal import Action, log_event
from plantimager.timelapse.daemon.manual_request import read_manual_request
from plantimager.timelapse.settings.acceptance import load_definition
from plantimager.timelapse.support.errors import (
    ConfigurationError,
    DefinitionRefused,
    ManualCommandRefused,
    TimelapsedError,
)
from plantimager.timelapse.support.text import one_line

if TYPE_CHECKING:
    from plantimager.timelapse.channel.inbox import Inbox, Request
    from plantimager.timelapse.daemon.common import Common
    from plantimager.timelapse.daemon.dataset_probe import DatasetProbe
    from plantimager.timelapse.daemon.definition_intake import DefinitionIntake
    from plantimager.timelapse.daemon.planner import Planner


class RequestHandler:
    """Handles the requests in the inbox. Loop thread."""

    def __init__(
        self, common: Common, inbox: Inbox, planner: Planner, intake: DefinitionIntake, probe: DatasetProbe
    ) -> None:
        self._keeper, self._clock, self._lifecycle = common.keeper, common.clock, common.lifecycle
        self._active, self._rig, self._hold = common.active, common.rig, common.hold
        self._inbox, self._planner, self._intake, self._probe = inbox, planner, intake, probe

    def handle_all(self) -> None:
        """Handle every request that is there, the oldest first.

        As long as the clock isn't trusted, manual commands are refused, and the other requests wait.
        """
        for request in self._inbox.pending():
            if self._lifecycle.phase.awaits_clock and request.kind != "rig":
                continue
            try:
                message = self._handle(request)
            except (TimelapsedError, OSError) as refusal:
                hint = getattr(refusal, "hint", None)
                message = f"{refusal}{f'; {hint}' if hint else ''}"
                self._inbox.answer(request, Answer(accepted=False, message=message))
                said = message.removeprefix(f"{request.path}: ")  # the file is gone by now
                log_event(Action.REQUEST_REFUSED, f"{request.kind}: {said}")
            else:
                if message is not None:
                    self._inbox.answer(request, self._accepted(message))

    def _accepted(self, message: str) -> Answer:
        """Return the answer to a request that has changed the timelapse; it says so where that isn't on disk."""
        trouble, path = self._keeper.trouble, self._keeper.file.path
        not_saved = "" if trouble is None else f"not on disk yet: {path} can't be written ({trouble})"
        return Answer(accepted=True, message=message, not_saved=not_saved)

    def _handle(self, request: Request) -> str | None:
        """Do what a request asks for; return the answer, or ``None`` where that takes a while.

        Nothing begins under another configuration than the one that the person has written.

        Raises
        ------
        TimelapsedError, OSError
            The request is refused.
        """
        if self._active.trouble is not None and request.kind != "cancel":
            raise ConfigurationError(self._active.trouble)
        if request.kind == "start":
            return self._intake.accept(load_definition(request.path), "timelapsectl start")
        if request.kind == "rig":
            self._begin_manual(request)
            return None
        return self._cancel(request)

    def _cancel(self, request: Request) -> str:
        """Cancel the timelapse; a running scan is stopped at its next safe point."""
        body = request.body()
        timelapse, now = self._keeper.active, self._clock.now()
        if timelapse is None:
            raise DefinitionRefused(f"there is no active timelapse to cancel{self._describe_last()}")
        wanted = body.get("timelapse_id", timelapse.id)
        if wanted != timelapse.id:
            raise DefinitionRefused(f"{wanted} is not active; {timelapse.id} is")
        who, why = body.get("who", "somebody"), body.get("why") or "no reason given"
        cancelled = timelapse.cancel(now, one_line(str(who)), one_line(str(why)))
        self._keeper.commit(cancelled, now)
        self._planner.plan_afresh()
        return f"{cancelled.id} is cancelled; {cancelled.tally}"

    def _describe_last(self) -> str:
        """Return what became of the last timelapse; on disk it may be active yet."""
        last, trouble = self._keeper.timelapse, self._keeper.trouble
        if last is None:
            return ""
        return f"; {last.id} is {last.state.value}" + (f", but that is not on disk yet ({trouble})" if trouble else "")

    def _begin_manual(self, request: Request) -> None:
        """Have the rig carry out a manual command; it is answered when that is done.

        Raises
        ------
        ManualCommandRefused
            The timelapse comes first, another person is at the rig, the driver doesn't offer the command, or a trial
            has nowhere to go.
        FaultsFound
            The command can't be understood.
        """
        doubt = self._lifecycle.clock_trouble
        if doubt is not None:
            raise ManualCommandRefused(f"{doubt}; until then nobody knows whether a scan is to be resumed")
        if self._hold.has(request):
            return
        configuration = self._keeper.configuration or self._active.config.scan
        reply = partial(self._inbox.answer, request)
        manual = read_manual_request(request, reply, self._active, configuration, self._clock)
        if self._lifecycle.trouble is not None:
            raise ManualCommandRefused(f"{self._lifecycle.trouble}; the daemon is about to be restarted")
        self._hold.check_free(self._keeper.timelapse, self._rig.monitor)
        manual.check_offered(self._active.driver)
        if manual.is_trial and self._probe.is_elsewhere:
            raise ManualCommandRefused(f"{self._probe.trouble}")
        self._hold.begin(manual)
        self._rig.run(manual)
