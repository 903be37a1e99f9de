"""``timelapsectl notify``: what the relay's messages and heartbeat are set up to do, and a test message."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from plantimager.timelapse.cli.relay_request import RelayNotThere, ask_relay, relay_status
from plantimager.timelapse.settings.config import read_config
from plantimager.timelapse.support.errors import EXIT_FAILED, ConfigurationError, TimelapsedError

if TYPE_CHECKING:
    import argparse

    from plantimager.timelapse.cli.session import Session

PATIENCE: Final = 30.0
"""Seconds beside the time-outs of the configuration: the relay may be sending something else."""


def run_notify(options: argparse.Namespace, session: Session) -> int:
    """Show what is set up, or have a test message sent and say what became of it."""
    try:
        status = relay_status(session)
    except RelayNotThere:
        _check_configured(session, is_test=options.test)
        raise
    if options.test:
        answer = ask_relay(session, "test", {}, status.trial_seconds + PATIENCE)
        session.screen.show(*answer.message.splitlines())
        return EXIT_FAILED if answer.details.get("failed") else 0
    if not status.sinks:
        raise _nothing_configured()
    now = session.clock.now()
    session.screen.show(*(sink.describe(now) for sink in status.sinks))
    return 0


def _check_configured(session: Session, *, is_test: bool) -> None:
    """Refuse where the configuration can be read and has no messages: then no relay helps."""
    with suppress(ConfigurationError, OSError):
        settings = read_config(session.places.find_config()).relay
        if settings.notify is None and (is_test or settings.heartbeat is None):
            raise _nothing_configured()


def _nothing_configured() -> TimelapsedError:
    return TimelapsedError("no messages are configured", hint="write a table [relay.notify] in timelapsed.toml")
