"""``timelapsectl log``: journalctl for the rig's unit."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING

from plantimager.timelapse.cli.journal_storage import describe_volatile_journal
from plantimager.timelapse.cli.session import Scope
from plantimager.timelapse.support.errors import TimelapsedError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from plantimager.timelapse.cli.session import Session


def run_log(options: argparse.Namespace, session: Session) -> int:
    """Replace this process by journalctl; doesn't return.

    Raises
    ------
    TimelapsedError
        There is no journal of that daemon, or no journalctl.

    """
    command = journal_command(session, options.arguments)
    if shutil.which(command[0]) is None:
        raise TimelapsedError(
            "journalctl is not installed; without it the daemon logs to its standard error",
            hint="on a machine with systemd it is there",
        )
    volatile = describe_volatile_journal()
    if volatile is not None:
        print(f"note: {volatile}", file=sys.stderr)
    sys.stdout.flush()
    os.execvp(command[0], command)  # noqa: S606 - without a shell on purpose


def journal_command(session: Session, arguments: Sequence[str]) -> list[str]:
    """Return the command line that shows a rig's journal.

    Raises
    ------
    TimelapsedError
        The daemon of this store is no service.

    """
    if session.scope is Scope.OWN:
        raise TimelapsedError(
            f"{session.store}: a daemon on this store logs to where it was started",
            hint="for a service's journal say whose: timelapsectl --system log, or timelapsectl --user log",
        )
    manager = ["--user"] if session.scope is Scope.USER else []
    return ["journalctl", *manager, f"--unit={session.unit}", *arguments]
