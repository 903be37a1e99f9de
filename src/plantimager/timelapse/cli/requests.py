"""``timelapsectl start`` and ``cancel``: leave a request beside the store, tell the daemon, and hear its answer."""

from __future__ import annotations

import json
import os
import pwd
import secrets
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from plantimager.timelapse.channel.inbox import LARGEST_REQUEST, Answer, collect_answer, inbox_path, leave_request
from plantimager.timelapse.channel.live import read_live
from plantimager.timelapse.channel.lock import lock_path, running_daemon
from plantimager.timelapse.store.loading import load_timelapse
from plantimager.timelapse.support.durable import read_regular
from plantimager.timelapse.support.errors import EXIT_UNAVAILABLE, DefinitionRefused, TimelapsedError
from plantimager.timelapse.support.inotify import FileWatch

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping

    from plantimager.timelapse.cli.session import Session
    from plantimager.timelapse.store.stored_timelapse import StoredTimelapse

PATIENCE: Final = 15.0
"""Seconds for the daemon to answer. It does so at once, unless it waits for the clock or the machine is in trouble."""
LOOK: Final = 1.0
"""Seconds between two looks whether the daemon is still there; its answer is noticed at once."""


class DaemonNotThere(TimelapsedError):
    """A request was left that nobody has answered yet."""

    exit_code = EXIT_UNAVAILABLE


class NotTheDaemon(TimelapsedError):
    """The process that a lock names runs as another user than the store's."""


def run_start(options: argparse.Namespace, session: Session) -> int:
    """Have a definition taken up.

    Raises
    ------
    FileUnusable, FaultsFound
        It is at fault.
    DefinitionRefused
        It can't be taken up, now or by the daemon when it starts.
    DaemonNotThere
        The request was left, but nobody has answered it.
    OSError
        It can't be left.

    """
    from plantimager.timelapse.cli.check import read_checked_definition  # noqa: PLC0415 - cancel has no use for it
    from plantimager.timelapse.cli.foresight import refuse_what_the_daemon_will, zone_notes  # noqa: PLC0415

    now = session.clock.now()
    definition, schedule = read_checked_definition(options.file, now)
    pid = daemon_to_ask(session.store)
    if pid is None:
        refuse_what_the_daemon_will(definition, session)
    for note in (*schedule.notes, *zone_notes(definition, schedule, now, session)):
        session.screen.write(f"note: {note}")
    content = read_regular(options.file, LARGEST_REQUEST)
    # The daemon knows the request by the name under which it was left; people know their own file.
    return _request(
        session, "start", content, pid, known_as=str(options.file), later=f"{definition.name} will be taken up"
    )


def run_cancel(options: argparse.Namespace, session: Session) -> int:
    """Have the timelapse ended.

    Raises
    ------
    DefinitionRefused
        There is nothing to cancel.
    DaemonNotThere
        The request was left, but nobody has answered it.
    OSError
        It can't be left.

    """
    stored = _read(session.store)
    if stored is None or not stored.timelapse.state.is_active:
        ended = f"; {stored.timelapse.id} is {stored.timelapse.state.value}" if stored is not None else ""
        raise DefinitionRefused(f"there is no active timelapse to cancel{ended}")
    name = stored.timelapse.id
    # With its name, so that no other one is hit that may have begun meanwhile.
    command = {"timelapse_id": name, "who": who_asks(session.environment), "why": options.why}
    pid = daemon_to_ask(session.store)
    return _request(
        session, "cancel", json.dumps(command).encode(), pid, known_as="cancel", later=f"{name} will be cancelled"
    )


def daemon_to_ask(store: Path) -> int | None:
    """Return the PID of the daemon that runs on a store, or ``None``.

    Raises
    ------
    NotTheDaemon
        The lock's word can't be true: who may write it must not have root send signals to others.

    """
    pid = running_daemon(store)
    if pid is None:
        return None
    try:
        runs_as = Path("/proc", str(pid)).stat().st_uid
    except FileNotFoundError:  # it has just ended
        return None
    us = os.geteuid()
    if runs_as == store.parent.stat().st_uid or (runs_as == us and us != 0):
        return pid
    problem = NotTheDaemon(f"{lock_path(store)}: PID {pid} is no daemon of the store's owner; it is left alone")
    problem.hint = "have the daemon run as the user whose storage directory it is"
    raise problem


def nudge(store: Path, pid: int) -> None:
    """Have the daemon look at its requests, if it still runs."""
    if daemon_to_ask(store) == pid:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGHUP)


def who_asks(environment: Mapping[str, str]) -> str:
    """Return the name of the person: who used sudo, else the user that this runs as."""
    name = str(os.getuid())
    with suppress(KeyError):
        name = pwd.getpwuid(os.getuid()).pw_name
    behind = environment.get("SUDO_USER") if os.getuid() == 0 else None
    return f"{behind} (as {name})" if behind and behind != name else name


def _request(session: Session, kind: str, content: bytes, pid: int | None, *, known_as: str, later: str) -> int:
    """Leave a request, wait for the daemon's answer, and pass it on.

    Raises
    ------
    DefinitionRefused
        The daemon refuses.
    DaemonNotThere
        The answer didn't come; where no daemon runs, ``later`` says what will happen when it starts.
    KeyboardInterrupt
        The person didn't wait for it; the request is withdrawn.

    """
    request = None
    try:
        request = leave_request(session.store, kind, secrets.token_hex(8), content)
        answer = ask(session, request, pid) if pid is not None else None
    except KeyboardInterrupt:
        session.screen.write(_withdraw(request, known_as))
        raise
    if pid is None:
        problem = DaemonNotThere(f"no daemon is running; {later} when it starts")
        problem.hint = session.start_hint
        raise problem
    if answer is None:
        raise _unanswered(session, pid)
    message = answer.message.replace(str(request), known_as)
    if not answer.accepted:
        raise DefinitionRefused(message)
    session.screen.write(message)
    return 0


def _withdraw(request: Path | None, known_as: str) -> str:
    """Take a request back that may have been left; return how that is told, also where the daemon was quicker."""
    if request is None:
        return "withdrawn"
    try:
        request.unlink()
        told = "withdrawn; should the daemon have begun with it at this very moment, timelapsectl status shows that"
    except FileNotFoundError:
        told = "too late to withdraw it; timelapsectl status shows what became of it"
    answer = collect_answer(request)
    return told if answer is None else f"too late to withdraw it: {answer.message.replace(str(request), known_as)}"


def ask(session: Session, request: Path, pid: int, in_work: Callable[[], bool] = lambda: False) -> Answer | None:
    """Tell the daemon that there is a request, and return its answer; None where it doesn't come in `PATIENCE`.

    What is ``in_work`` gets more time.
    """
    deadline = session.clock.monotonic() + PATIENCE
    with FileWatch(inbox_path(session.store)) as watch:
        nudge(session.store, pid)
        while True:
            answer = collect_answer(request)
            if answer is not None:
                return answer
            if in_work():
                deadline = session.clock.monotonic() + PATIENCE
            left = deadline - session.clock.monotonic()
            if left <= 0 or running_daemon(session.store) != pid:
                return collect_answer(request)  # which may have come at the last moment
            watch.wait(min(left, LOOK))


def _unanswered(session: Session, pid: int) -> DaemonNotThere:
    if running_daemon(session.store) != pid:
        problem = DaemonNotThere("the daemon ended before it answered; the request stays for its next start")
        problem.hint = session.start_hint
        return problem
    status = read_live(session.store).get("status")
    at = f" ({status})" if isinstance(status, str) and status else ""
    problem = DaemonNotThere(f"the daemon (PID {pid}) has not answered within {PATIENCE:g} s{at}; the request stays")
    problem.hint = "see what it does with timelapsectl status and timelapsectl log"
    return problem


def _read(store: Path) -> StoredTimelapse | None:
    loaded = load_timelapse(store)
    return None if loaded is None else loaded.stored
