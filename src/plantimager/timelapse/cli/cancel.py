"""``timelapsectl cancel``: ask the daemon to end the timelapse before its last slot."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from plantimager.timelapse.cli.daemon_request import find_daemon, requester_name, send_request
from plantimager.timelapse.store.loading import load_timelapse
from plantimager.timelapse.support.errors import DefinitionRefused

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
    DaemonNotThere
        The request was left, but no daemon has answered it.
    StoreUnreadable, StoreCorrupt
        The store can't be read, or holds no timelapse.
    OSError
        The request can't be left.
    """
    loaded = load_timelapse(session.store)
    timelapse = None if loaded is None else loaded.stored.timelapse
    pid = find_daemon(session.store)
    is_known = timelapse is not None and timelapse.state.is_active
    if pid is None and not is_known:  # a daemon that can't write its store may have one all the same
        ended = f"; {timelapse.id} is {timelapse.state.value}" if timelapse is not None else ""
        raise DefinitionRefused(f"there is no active timelapse to cancel{ended}")
    # The request names the timelapse: another one may have begun by the time the daemon reads it.
    name = {"timelapse_id": timelapse.id} if timelapse is not None and is_known else {}
    body = {**name, "who": requester_name(session.environment), "why": options.why}
    later = f"{name.get('timelapse_id', 'the timelapse')} will be cancelled"
    return send_request(session, "cancel", json.dumps(body).encode(), pid, subject="cancel", later=later)
