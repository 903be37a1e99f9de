"""``timelapsectl resume``: ask the daemon to go on with a timelapse that is paused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plantimager.timelapse.cli.daemon_request import request_change

if TYPE_CHECKING:
    import argparse

    from plantimager.timelapse.cli.session import Session


def run_resume(_: argparse.Namespace, session: Session) -> int:
    """Have the timelapse go on."""
    return request_change(session, "resume", {})
