"""``timelapsectl notify``: what the relay's messages and heartbeat are set up to do, and a test message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from plantimager.timelapse.channel.lock import running_daemon
from plantimager.timelapse.channel.relay_status import read_relay_status, relay_status_path
from plantimager.timelapse.channel.trial_message import TrialAnswer, ask_for_trial, read_trial_answer
from plantimager.timelapse.cli.deliver import start_hint
from plantimager.timelapse.settings.config import read_config
from plantimager.timelapse.support.errors import TimelapsedError
from plantimager.timelapse.support.inotify import FileWatch
from plantimager.timelapse.support.text import one_line

if TYPE_CHECKING:
    import argparse

    from plantimager.timelapse.cli.session import Session

PATIENCE: Final = 30.0
"""Seconds beside the time-out of the configuration: the relay may be sending something else."""


def run_notify(options: argparse.Namespace, session: Session) -> int:
    """Show what is set up, or have a test message sent and say what became of it.

    Raises
    ------
    TimelapsedError
        Nothing is set up, or the relay doesn't run or answer.
    OSError
        The request can't be left in the relay's state directory.

    """
    settings = read_config(session.places.find_config()).relay
    if settings.notify is None and (options.test or settings.heartbeat is None):
        raise TimelapsedError("no messages are configured", hint="write a table [relay.notify] in timelapsed.toml")
    directory = session.places.relay_state
    if running_daemon(relay_status_path(directory)) is None:
        raise TimelapsedError("the relay is not running", hint=f"start it with: {start_hint(session)}")
    if not options.test:
        status = read_relay_status(directory)
        now = session.clock.now()
        session.screen.write(*(sink.describe(now) for sink in (status.sinks if status is not None else ())))
        return 0
    timeout = settings.notify.timeout.total_seconds() if settings.notify is not None else 0.0
    answer = _wait_for_answer(session, timeout)
    for service, problem in answer.sent:
        session.screen.write(one_line(f"{service}: {f'not sent: {problem}' if problem else 'sent'}"))
    return 1 if any(problem for _, problem in answer.sent) else 0


def _wait_for_answer(session: Session, timeout: float) -> TrialAnswer:
    """Have the relay try all services, each for ``timeout`` seconds at most, and return what became of that."""
    directory = session.places.relay_state
    with FileWatch(directory) as watch:
        stamp = ask_for_trial(directory)
        answer = TrialAnswer(stamp)
        deadline = session.clock.monotonic() + timeout + PATIENCE
        while session.clock.monotonic() < deadline:
            latest = read_trial_answer(directory, stamp) or answer
            if latest.is_done:
                return latest
            if len(latest.sent) > len(answer.sent):  # one more was tried
                answer, deadline = latest, session.clock.monotonic() + timeout + PATIENCE
            watch.wait(deadline - session.clock.monotonic())
    raise TimelapsedError("the relay has not answered", hint="journalctl -u plant-imager-timelapse-relay says why")
