"""A request to the daemon of a session: connecting to it, asking, showing its answer."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any, Final

from plantimager.timelapse.channel.control_client import (
    DECISION_SECONDS,
    SILENCE_SECONDS,
    Connection,
    ServerNotThere,
    connect,
)
from plantimager.timelapse.channel.lock import running_daemon
from plantimager.timelapse.cli.service_state import describe_absence
from plantimager.timelapse.support.errors import DefinitionRefused, TimelapsedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from plantimager.timelapse.channel.control_request import Answer
    from plantimager.timelapse.cli.session import Session

_UNTIL_SAVED: Final = (
    "the daemon goes on with it and tries again to save it; timelapsectl status says when that is done"
)
_WITHDRAWN: Final = "withdrawn; should the daemon have begun with it before, timelapsectl status shows that"
_WAITING: Final = "no answer yet: the daemon may be waiting for its driver's check, or for a disk; Ctrl-C withdraws it"


class ServiceRefused(TimelapsedError):
    """Daemon or relay doesn't say or do what it is asked for."""


class NotSaved(TimelapsedError):
    """The daemon goes on with what it has accepted, but that is not on disk yet."""


def connect_daemon(session: Session, timeout: float | None = None) -> AbstractContextManager[Connection | None]:
    """Return a context with a connection to the session's daemon, ``None`` where none runs; as `connect`."""
    return connect(session.places.controls, trusted_users(session), session.clock, timeout)


def trusted_users(session: Session) -> set[int]:
    """Return the users whose word counts. The service's user is whom the storage directory belongs to."""
    trusted = {0, os.geteuid()}
    with suppress(OSError):
        storage = session.store.parent.lstat()
        trusted |= {storage.st_uid} if stat.S_ISDIR(storage.st_mode) else set()
    return trusted


def identity(session: Session) -> Mapping[str, str]:
    """Return what root says of who asks by sudo; the kernel says the rest."""
    sudo_user = session.environment.get("SUDO_USER") if os.geteuid() == 0 else None
    return {"sudo_user": sudo_user} if sudo_user else {}


def ask_daemon(
    session: Session,
    command: str,
    body: Mapping[str, Any],
    files: Sequence[bytes] = (),
    is_in_progress: Callable[[], bool] = lambda: False,
    timeout: float | None = None,
) -> Answer:
    """Send the daemon a request, and return its answer. It has ``timeout`` seconds, else the usual time.

    Raises `ServerNotThere` where none runs, and as `connect` and `Connection.ask`.
    """
    with connect_daemon(session, timeout) as daemon:
        if daemon is None:
            raise _not_there(session)
        return daemon.ask(command, {**body, **identity(session)}, files, is_in_progress)


def request_change(session: Session, command: str, body: Mapping[str, Any], files: Sequence[bytes] = ()) -> int:
    """Ask for a change of the timelapse, show the answer, and return the exit code 0.

    Raises `DefinitionRefused`, `NotSaved`, and as `ask_daemon`. A person who stops waiting withdraws the request.
    """
    waits = chain(repeat(True, int(DECISION_SECONDS / SILENCE_SECONDS) - 1), repeat(False))

    def waits_on() -> bool:
        goes_on = next(waits)
        if goes_on:
            session.screen.write(_WAITING)
        return goes_on

    try:
        answer = ask_daemon(session, command, body, files, waits_on)
    except KeyboardInterrupt:
        session.screen.write(_WITHDRAWN)
        raise
    if not answer.accepted:
        raise DefinitionRefused(answer.message)
    session.screen.write(answer.message)
    if answer.not_saved:
        raise NotSaved(answer.not_saved, hint=_UNTIL_SAVED)
    return 0


def _not_there(session: Session) -> TimelapsedError:
    with suppress(OSError):
        pid = running_daemon(session.store)
        if pid is not None:
            return ServerNotThere(
                f"the daemon (PID {pid}) takes no requests: it is just starting, its socket can't be made, "
                "or it is of an earlier version",
                hint="try again in a moment; timelapsectl log shows what it says; restart one of an earlier version",
            )
    return describe_absence(session)
