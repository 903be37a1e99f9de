"""A request to the relay of a session's rig, and what is said where it doesn't run."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Struct

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
from plantimager.timelapse.cli.daemon_request import ServiceRefused, identity, trusted_users
from plantimager.timelapse.settings.places import RELAY
from plantimager.timelapse.support.errors import TimelapsedError
from plantimager.timelapse.support.text import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plantimager.timelapse.channel.control_request import Answer
    from plantimager.timelapse.cli.session import Session

RELAY_SECONDS: Final = 1.0
"""For the relay to say how it is, where that is one line of many."""


class RelayNotThere(ServerNotThere):
    """No relay has answered a request."""


def ask_relay(session: Session, command: str, body: Mapping[str, Any], timeout: float | None = None) -> Answer:
    """Return the relay's answer; raise `RelayNotThere`, `ServiceRefused`, and as `connect` and `Connection.ask`."""
    controls = session.places.relay_controls
    with connect(controls, trusted_users(session), session.clock, timeout, Server.RELAY) as relay:
        if relay is None:
            raise RelayNotThere("the relay is not running", hint=f"start it with: {relay_start_hint(session)}")
        answer = relay.ask(command, {**body, **identity(session)})
    if not answer.accepted:
        raise ServiceRefused(answer.message)
    return answer


def relay_status(session: Session, timeout: float | None = None) -> RelayStatus:
    """Return what the relay says of itself; it raises what `ask_relay` does."""
    answer = ask_relay(session, "status", {}, timeout)
    try:
        return msgspec.convert(answer.details, RelayStatus)
    except ValueError as problem:
        raise ServiceRefused(f"the relay's answer can't be understood ({one_line(str(problem))})") from None


class RelayLook(Struct, frozen=True):
    """What a relay says of itself, by its word, else by its files."""

    status: RelayStatus | None
    """Its last one where it doesn't run; ``None`` where there is none."""
    runs: bool
    lines: tuple[str, ...]
    """A sentence for each target and sink."""


def look_at_relay(session: Session) -> RelayLook:
    """Ask the relay once, and read its files where it says nothing."""
    now, directory = session.clock.now(), session.places.relay_state
    with suppress(TimelapsedError, OSError):
        status = relay_status(session, RELAY_SECONDS)
        return RelayLook(status, True, (*describe_status(status, now), *map(one_line, status.removed)))
    with acting_as_owner(directory):
        runs = running_daemon(relay_status_path(directory)) is not None
        return RelayLook(read_relay_status(directory), runs, (*describe_relay(directory, now),))


def relay_start_hint(session: Session) -> str:
    """Return the command that starts the relay."""
    return session.hint_for("timelapse-relay", RELAY)
