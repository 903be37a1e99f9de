"""``timelapsectl cancel``: ask the daemon to end the timelapse before its last slot."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from plantimager.timelapse.cli.daemon_request import request_change
from plantimager.timelapse.cli.snapshot_source import SnapshotSource
from plantimager.timelapse.support.errors import TimelapsedError

if TYPE_CHECKING:
    import argparse

    from plantimager.timelapse.cli.session import Session


def run_cancel(options: argparse.Namespace, session: Session) -> int:
    """Have the timelapse cancelled.

    Raises
    ------
    DefinitionRefused
        There is nothing to cancel.
    NotSaved
        It is cancelled, but that is not on disk yet.
    TimelapsedError
        No daemon has answered.
    """
    body = {"why": options.why} if options.why else {}
    with suppress(TimelapsedError):  # the request itself says what is wrong
        timelapse = SnapshotSource(session).take().timelapse
        if timelapse is not None and timelapse.state.is_active:
            # The request names the timelapse: another one may have begun by the time the daemon reads it.
            body["timelapse_id"] = timelapse.id
    return request_change(session, "cancel", body)
