"""A request to the daemon: finding the daemon, leaving the request, waiting for its answer, withdrawing it."""

from __future__ import annotations

import os
import pwd
import secrets
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from plantimager.timelapse.channel.inbox import Answer, collect_answer, inbox_path, leave_request, request_path
from plantimager.timelapse.channel.live import read_live
from plantimager.timelapse.channel.lock import lock_path, running_daemon
from plantimager.timelapse.support.errors import EXIT_UNAVAILABLE, DefinitionRefused, TimelapsedError
from plantimager.timelapse.support.inotify import FileWatch
from plantimager.timelapse.support.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from plantimager.timelapse.cli.session import Session

ANSWER_SECONDS: Final = 15.0
"""Time for the daemon to answer. It answers at once, unless it waits for the clock or the machine is in trouble."""
LIVENESS_SECONDS: Final = 1.0
"""Time between two checks that the daemon still runs. Its answer is noticed at once."""


_UNTIL_SAVED: Final = (
    "the daemon goes on with it and tries again to save it; timelapsectl status says when that is done"
)


class DaemonNotThere(TimelapsedError):
    """No daemon has answered a request yet."""

    exit_code = EXIT_UNAVAILABLE


class NotSaved(TimelapsedError):
    """The daemon goes on with what it has accepted, but that is not on disk yet."""


class AnswerLost(TimelapsedError):
    """The daemon has handled a request, and could not write its answer."""


class NotTheDaemon(TimelapsedError):
    """The process that a lock names runs as another user than the store's."""


def find_daemon(store: Path) -> int | None:
    """Return the PID of the daemon that runs on a store, or ``None``.

    Raises
    ------
    NotTheDaemon
        The lock names a process of another user. Whoever may write the lock must not make root signal that process.
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
    raise NotTheDaemon(
        f"{lock_path(store)}: PID {pid} is no daemon of the store's owner; it is left alone",
        hint="have the daemon run as the user whose storage directory it is",
    )


def signal_daemon(store: Path, pid: int) -> None:
    """Send the daemon SIGHUP, if it still runs: it looks at its requests then."""
    if find_daemon(store) == pid:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGHUP)


def requester_name(environment: Mapping[str, str]) -> str:
    """Return the name of the person: the one who used sudo, else the user of this process."""
    name = str(os.getuid())
    with suppress(KeyError):
        name = pwd.getpwuid(os.getuid()).pw_name
    sudo_user = environment.get("SUDO_USER") if os.getuid() == 0 else None
    return f"{sudo_user} (as {name})" if sudo_user and sudo_user != name else name


def send_request(session: Session, kind: str, content: bytes, pid: int | None, *, subject: str, later: str) -> int:
    """Leave a request, wait for the daemon's answer, show it, and return the exit code 0.

    The daemon's answer names the request by its path; people know it as ``subject``.

    Raises
    ------
    DefinitionRefused
        The daemon refuses.
    NotSaved
        The daemon has accepted it, but its store can't be written.
    AnswerLost
        The daemon has handled the request, but its answer can't be written.
    DaemonNotThere
        No answer came. Where no daemon runs, ``later`` says what will happen when it starts.
    KeyboardInterrupt
        The person stopped waiting; the request is withdrawn.
    """
    request, token = None, secrets.token_hex(8)
    try:
        request = leave_request(session.store, kind, token, content)
        answer = wait_for_answer(session, request, pid) if pid is not None else None
    except KeyboardInterrupt:
        if request is None:  # the interrupt may have come when the request had just been left
            request_path(session.store, kind, token).unlink(missing_ok=True)
        session.screen.write(_withdraw(request, subject))
        raise
    if pid is None:
        raise DaemonNotThere(f"no daemon is running; {later} when it starts", hint=session.start_hint)
    if answer is None:
        raise _unanswered(session, request, pid)
    message = answer.message.replace(printable(str(request)), subject)
    if not answer.accepted:
        raise DefinitionRefused(message)
    session.screen.write(message)
    if answer.not_saved:
        raise NotSaved(answer.not_saved, hint=_UNTIL_SAVED)
    return 0


def wait_for_answer(
    session: Session, request: Path, pid: int, is_in_progress: Callable[[], bool] = lambda: False
) -> Answer | None:
    """Signal the daemon and return its answer; ``None`` if it doesn't come within `ANSWER_SECONDS`.

    The time starts again whenever the request ``is_in_progress``.
    """
    deadline = session.clock.monotonic() + ANSWER_SECONDS
    with FileWatch(inbox_path(session.store)) as watch:
        signal_daemon(session.store, pid)
        while True:
            answer = collect_answer(request)
            if answer is not None:
                return answer
            if is_in_progress():
                deadline = session.clock.monotonic() + ANSWER_SECONDS
            left = deadline - session.clock.monotonic()
            if left <= 0 or running_daemon(session.store) != pid:
                return collect_answer(request)  # it may have come at the last moment
            watch.wait(min(left, LIVENESS_SECONDS))


def _withdraw(request: Path | None, subject: str) -> str:
    """Remove a request, ``None`` if it wasn't left yet; return a sentence, also if the daemon was quicker."""
    if request is None:
        return "withdrawn"
    try:
        request.unlink()
        sentence = "withdrawn; should the daemon have begun with it at this very moment, timelapsectl status shows that"
    except FileNotFoundError:
        sentence = "too late to withdraw it; timelapsectl status shows what became of it"
    answer = collect_answer(request)
    return (
        sentence
        if answer is None
        else f"too late to withdraw it: {answer.message.replace(printable(str(request)), subject)}"
    )


def _unanswered(session: Session, request: Path, pid: int) -> TimelapsedError:
    """Return why there is no answer; a request whose file is gone was handled all the same."""
    if not os.path.lexists(request):
        handled = f"the daemon (PID {pid}) has handled it, but its answer can't be written beside {session.store}"
        return AnswerLost(handled, hint="timelapsectl status shows what became of it; is the disk full?")
    if running_daemon(session.store) != pid:
        ended = "the daemon ended before it answered; the request stays for its next start"
        return DaemonNotThere(ended, hint=session.start_hint)
    status = read_live(session.store).get("status")
    at = f" ({status})" if isinstance(status, str) and status else ""
    return DaemonNotThere(
        f"the daemon (PID {pid}) has not answered within {ANSWER_SECONDS:g} s{at}; the request stays",
        hint="see what it does with timelapsectl status and timelapsectl log",
    )
