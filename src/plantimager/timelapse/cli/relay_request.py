"""A request to the relay of a session's rig, and what is said where it doesn't run."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import msgspec

from plantimager.timelapse.channel.control_client import Server, ServerNotThere, connect
from plantimager.timelapse.channel.lock import running_daemon
from plantimager.timelapse.channel.relay_status import (
    RelayStatus,
    describe_relay,
    describe_status,
    read_relay_status,
    relay_status_path,
)
from plantimager.timelapse.cli.acting import acting_as_owner
from plantimager.timelapse.cli.daemon_request import identity, trusted_users
from plantimager.timelapse.cli.session import Scope
from plantimager.timelapse.settings.places import RELAY
from plantimager.timelapse.support.errors import TimelapsedError
from plantimager.timelapse.support.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from plantimager.timelapse.channel.control_request import Answer
    from plantimager.timelapse.cli.session import Session

LOOK_SECONDS: Final = 1.0
"""For the relay to say how it is, where that is one line of many."""


class RelayNotThere(ServerNotThere):
    """No relay has answered a request."""


class RelayRefused(TimelapsedError):
    """The relay doesn't do what it is asked for."""


class RelayState:
    """What a running relay says of itself."""

    def __init__(self, answer: Answer) -> None:
        """Raise `RelayRefused` where that can't be understood."""
        details = answer.details
        try:
            self.status = msgspec.convert(details["status"], RelayStatus, strict=False)
            self.removed = [one_line(str(line)) for line in details["removed"]]
            self.trial_seconds = float(details["trial_seconds"])
        except (KeyError, TypeError, ValueError) as problem:
            raise RelayRefused(f"the relay's answer can't be understood ({one_line(str(problem))})") from None


def ask_relay(session: Session, command: str, body: Mapping[str, Any], within: float | None = None) -> Answer:
    """Send the relay a request, and return its answer.

    Raises
    ------
    RelayNotThere
        It doesn't run.
    RelayRefused
        It does nothing of that.
    TimelapsedError
        As `connect` and `Connection.ask`.
    """
    controls = session.places.relay_controls
    with connect(controls, trusted_users(session), session.clock, within, Server.RELAY) as relay:
        if relay is None:
            raise RelayNotThere("the relay is not running", hint=f"start it with: {start_hint(session)}")
        answer = relay.ask(command, {**body, **identity(session)})
    if not answer.accepted:
        raise RelayRefused(answer.message)
    return answer


def relay_state(session: Session, within: float | None = None) -> RelayState:
    """Return what the relay says of itself; it raises what `ask_relay` does."""
    return RelayState(ask_relay(session, "status", {}, within))


def running_status(session: Session) -> RelayStatus | None:
    """Return what a running relay says of itself, by its word, else by its file; ``None`` where neither is there."""
    with suppress(TimelapsedError, OSError):
        return relay_state(session, LOOK_SECONDS).status
    directory = session.places.relay_state
    with acting_as_owner(directory):
        return read_relay_status(directory) if running_daemon(relay_status_path(directory)) else None


def last_status(session: Session) -> RelayStatus | None:
    """Return what the relay says of itself, or said when it last ran."""
    status, directory = running_status(session), session.places.relay_state
    with acting_as_owner(directory):
        return status or read_relay_status(directory)


def relay_lines(session: Session) -> Iterator[str]:
    """Yield a sentence for each target and sink of the relay, by its word, else by its files."""
    now = session.clock.now()
    try:
        state = relay_state(session, LOOK_SECONDS)
    except (TimelapsedError, OSError):
        with acting_as_owner(session.places.relay_state):
            found = [*describe_relay(session.places.relay_state, now)]
        yield from found
        return
    yield from describe_status(state.status, now)
    yield from state.removed


def start_hint(session: Session) -> str:
    """Return the command that starts the relay."""
    rig = session.places.rig
    if session.scope is Scope.OWN:
        return f"XDG_DATA_HOME={session.store.parent.parent} timelapse-relay{f' --rig {rig}' if rig else ''}"
    user = "--user " * (session.scope is Scope.USER)
    return f"systemctl {user}start {RELAY}{f'@{rig}' if rig else ''}"
