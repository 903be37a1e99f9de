"""What people ask of the relay at its control socket: how far it is, what it lacks, another try, and a test message."""

from __future__ import annotations

import os
import threading
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec.structs import replace

from plantimager.timelapse.channel.control_request import Answer, Request, refusal_of
from plantimager.timelapse.channel.control_server import ControlServer
from plantimager.timelapse.channel.ledger import Ledger, LedgerEntry, Outcome, forget_datasets
from plantimager.timelapse.channel.message import MessageFaulty
from plantimager.timelapse.channel.relay_status import (
    RelayStatus,
    SinkStatus,
    TargetStatus,
    describe_removed,
    describe_targets,
)
from plantimager.timelapse.channel.request_worker import RequestWorker
from plantimager.timelapse.channel.served_client import MAX_CLIENTS, Access
from plantimager.timelapse.drivers.programs.unmet import UNSEEN, find_unmet
from plantimager.timelapse.relay.actions import RelayAction, log_relay
from plantimager.timelapse.relay.sink import SinkHost, TrialSink
from plantimager.timelapse.relay.sinks import make_sinks
from plantimager.timelapse.settings.config import read_config
from plantimager.timelapse.settings.deliver_config import RetentionRules
from plantimager.timelapse.settings.relay_config import SINKS, RelaySettings
from plantimager.timelapse.support.errors import FaultsFound, TimelapsedError
from plantimager.timelapse.support.needs import needs_of
from plantimager.timelapse.support.text import format_count, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from plantimager.timelapse.relay.sink import Sink
    from plantimager.timelapse.settings.places import Places
    from plantimager.timelapse.support.clock import Clock

MAX_NAME: Final = 200
"""Characters that are shown of what a client has sent."""


class RequestRefused(TimelapsedError):
    """The relay has nothing that a request is about."""


def status_of(sinks: Sequence[Sink]) -> RelayStatus:
    """Return the status of a relay with these sinks."""
    found = [sink.status for sink in sinks]
    targets = tuple(status for status in found if isinstance(status, TargetStatus))
    others = tuple(status for status in found if isinstance(status, SinkStatus))
    trial_seconds = sum(sink.trial_seconds for sink in sinks if isinstance(sink, TrialSink))
    return RelayStatus(pid=os.getpid(), targets=targets, sinks=others, trial_seconds=trial_seconds)


class RelayControl:
    """Answers the requests at the control socket, on a thread of its own, with a view of its own of the ledgers."""

    def __init__(self, places: Places, targets: Iterable[str], sinks: Sequence[Sink], clock: Clock) -> None:
        self._places, self._sinks, self._clock = places, sinks, clock
        self._targets = (*targets,)
        self._worker = RequestWorker("requests", _report_mistake, MAX_CLIENTS)
        self._commands: Mapping[str, Callable[[Request], Answer | None]] = {
            "status": self._show,
            "deliver": self._list,
            "entries": self._find_entries,
            "check": self._check,
            "retry": self._retry,
            "forget": self._forget,
            "test": self._send_trial,
        }
        access = Access(os.geteuid(), os.getegid() if places.is_shared else None)
        self._server = ControlServer(places.relay_control, access, self._receive, clock, _report)

    def open(self) -> None:
        """Begin to serve. Where there can be no socket, the relay delivers all the same."""
        try:
            self._server.open()
        except OSError as problem:
            words = f"{self._server.path}: no request can come: {problem.strerror or problem}"
            log_relay(RelayAction.REQUEST_REFUSED, words)

    def close(self) -> None:
        """Serve no more."""
        self._server.close()

    def _receive(self, request: Request) -> None:
        find = self._commands.get(request.command)
        if find is not None:
            self._worker.put(find, request)
        elif not request.is_withdrawn:
            unknown = MessageFaulty(f"the relay knows no request {one_line(request.command)[:MAX_NAME]}")
            request.answer(refusal_of(unknown))

    # --- looking ------------------------------------------------------------------------------------------

    def _show(self, _: Request) -> Answer:
        status = replace(status_of(self._sinks), removed=(*describe_removed(self._places.relay_state),))
        return Answer(accepted=True, message="", details=msgspec.to_builtins(status))

    def _list(self, _: Request) -> Answer:
        directory, status, now = self._places.relay_state, status_of(self._sinks), self._clock.now()
        lines = describe_targets(directory, self._ledgers(), status, now)
        return Answer(accepted=True, message="\n".join(lines))

    def _find_entries(self, request: Request) -> Answer:
        """Return what the ledgers say of the datasets of a timelapse, by their names."""
        begin = f"{request.body.get('timelapse_id')}"
        found: dict[str, list[LedgerEntry]] = {}
        for path in (*map(self._places.ledger, self._targets), self._places.removed):
            ledger = Ledger(path)
            ledger.refresh()
            found[path.name] = [
                entry
                for entry in ledger.entries.values()
                if entry.scan_id.rpartition("_")[0] == begin or entry.scan_id == begin
            ]
        return Answer(accepted=True, message="", files=(msgspec.json.encode(found),))

    def _check(self, _: Request) -> Answer:
        notes = [one_line(note) for note in check_sinks(self._places, self._clock)]
        return Answer(accepted=True, message="", details={"notes": notes})

    # --- acts: each is on disk before it is answered ------------------------------------------------------

    def _retry(self, request: Request) -> Answer:
        n = self._have_forgotten(lambda _, entry: entry.outcome is Outcome.REFUSED)
        said = f"{format_count(n, 'refused dataset')} forgotten; all that waits is tried again"
        return _done(f"retry by {request.who}", said)

    def _forget(self, request: Request) -> Answer:
        """Have a dataset forgotten, or all of a target: not what was removed here, and can't be compared."""
        name = request.body.get("name")
        if not isinstance(name, str) or not name:
            raise MessageFaulty("name: write that of a dataset or of a target")
        shown = one_line(name)[:MAX_NAME]
        removed = Ledger(self._places.removed)
        removed.refresh()
        n = self._have_forgotten(
            lambda target, entry: name in (target, entry.scan_id) and entry.key not in removed.entries, retries=False
        )
        if not n:
            raise RequestRefused(
                f"no ledger has a dataset {shown} that is still here, and no target with such is called so"
            )
        return _done(
            f"forget {shown} by {request.who}", f"{format_count(n, 'dataset')} forgotten; each is compared again"
        )

    def _have_forgotten(self, is_meant: Callable[[str, LedgerEntry], bool], *, retries: bool = True) -> int:
        at = self._clock.now().isoformat(timespec="seconds")
        ledgers = self._ledgers().items()
        return sum(
            len(forget_datasets(ledger, partial(is_meant, name), at, retries=retries)) for name, ledger in ledgers
        )

    def _ledgers(self) -> Mapping[str, Ledger]:
        """Return the ledgers as they are on disk.

        Raises
        ------
        RequestRefused
            There is no target.
        """
        if not self._targets:
            hint = "write a table [relay.deliver.NAME] in timelapsed.toml"
            raise RequestRefused("no target is configured", hint=hint)
        return {name: Ledger(self._places.ledger(name)) for name in self._targets}

    def _send_trial(self, request: Request) -> Answer | None:
        sinks = [sink for sink in self._sinks if isinstance(sink, TrialSink)]
        if not sinks:
            hint = "write a table [relay.notify] in timelapsed.toml"
            raise RequestRefused("no messages are configured", hint=hint)
        sinks[0].send_trial(request)
        return None


def _done(what: str, said: str) -> Answer:
    """Return the answer to an act that is in the ledger; the journal says ``what`` it was."""
    log_relay(RelayAction.DELIVERY_ASKED, f"{what}: {said}")
    return Answer(accepted=True, message=said)


def _report(problem: Exception) -> None:
    log_relay(RelayAction.REQUEST_REFUSED, f"the control socket: {one_line(repr(problem))}", error=problem)


def _report_mistake(request: Request, problem: Exception) -> None:
    words = f"{request.command} by {request.who}: {one_line(repr(problem))}"
    log_relay(RelayAction.REQUEST_REFUSED, words, error=problem)


# --- what the sinks of the configuration on disk lack --------------------------------------------------


def check_sinks(places: Places, clock: Clock) -> Iterator[str]:
    """Yield what keeps the sinks of the configuration on disk from their work. They are made, and none is run."""
    try:
        config = read_config(places.find_config())
    except FaultsFound:  # they are in the daemon's answer, and in that of the person's own check
        yield "what its sinks lack is judged when the configuration has no fault"
        return
    except TimelapsedError as problem:
        yield str(problem)
        return
    unmet = [*find_unmet(needs_of(config.relay, "relay"), unseen=f", or {UNSEEN}", clock=clock)]
    yield from map(str, unmet)
    host = SinkHost(partial(places.datasets_of, config.datasets), clock, threading.Event(), lambda: None)
    for relay in [*_each_alone(config.relay)] or [config.relay]:
        try:
            make_sinks(replace(config, relay=relay), places, host, os.environ, lambda: clock)
        except TimelapsedError as problem:
            if not (unmet and isinstance(problem.__cause__, ImportError)):  # a module that is missing is said once
                yield f"{problem}{f'; {problem.hint}' if problem.hint else ''}"


def _each_alone(relay: RelaySettings) -> Iterator[RelaySettings]:
    """Yield each target and sink without the others, so that the fault of one hides none of the next."""
    for name, target in relay.deliver.items():
        yield RelaySettings(deliver={name: target})
    for name in (name for name in SINKS if name != "look"):  # which is made beside any other
        if (settings := getattr(relay, name)) is not None:
            yield replace(RelaySettings(), **{name: settings})
    if relay.retention != RetentionRules() and not relay.deliver:
        yield RelaySettings(retention=relay.retention)
