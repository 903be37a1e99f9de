"""``timelapsectl amend``: ask the daemon to have another definition take the place of what is still to come."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from plantimager.timelapse.channel.control_client import NotAllowed, NotTheService
from plantimager.timelapse.cli.daemon_request import request_change
from plantimager.timelapse.cli.findings import zone_notes
from plantimager.timelapse.cli.question import is_confirmed
from plantimager.timelapse.cli.snapshot_source import SnapshotSource
from plantimager.timelapse.domain.amending import describe_amendment
from plantimager.timelapse.settings.amendment import amended_schedule
from plantimager.timelapse.settings.definition import definition_of
from plantimager.timelapse.settings.toml_file import load_toml
from plantimager.timelapse.support.errors import StoreUnreadable, TimelapsedError
from plantimager.timelapse.support.text import one_line

if TYPE_CHECKING:
    import argparse
    from datetime import datetime

    from plantimager.timelapse.cli.session import Session
    from plantimager.timelapse.settings.definition import Definition


class NotAmended(TimelapsedError):
    """The person has thought better of it."""


def run_amend(options: argparse.Namespace, session: Session) -> int:
    """Have the timelapse amended; at a terminal a person is asked once.

    Raises
    ------
    FileUnusable, FaultsFound
        The definition has faults.
    NotAmended, NobodyToAsk
        The person doesn't say yes, or can't be asked.
    DefinitionRefused
        It is of another timelapse, or changes nothing.
    NotSaved
        It is amended, but that is not on disk yet.
    TimelapsedError
        No daemon has answered.
    """
    file, now = load_toml(options.file), session.clock.now()
    definition = definition_of(file)
    for note in zone_notes(definition, definition.schedule(now), now, session):  # the daemon says the others
        session.screen.write(f"note: {note}")
    if not options.yes:
        lines = _changes(session, definition, now)
        if lines and not is_confirmed("amend", definition.name, lines, "amend it?"):
            raise NotAmended(f"{definition.name} is not amended, and goes on")
    return request_change(session, "amend", {"file": os.path.abspath(options.file)}, [file.content])  # noqa: PTH100 - links in it are the person's own name for the file


def _changes(session: Session, definition: Definition, now: datetime) -> list[str]:
    """Return what would change, for the question; nothing where the daemon's refusal says why.

    Raises
    ------
    DefinitionRefused, FaultsFound
        As `amended_schedule`.
    """
    try:
        snapshot = SnapshotSource(session).take()
    except (NotAllowed, NotTheService, StoreUnreadable):
        return []
    except (TimelapsedError, OSError) as unseen:
        return [f"what would change isn't known: {one_line(str(unseen))}"]
    timelapse = snapshot.timelapse if snapshot.daemon is not None else None
    if timelapse is None or not timelapse.state.is_active:
        return []
    after, _ = amended_schedule(timelapse, definition, now)
    scan = f"it is scanned as {definition.source} says"  # the daemon alone knows how it was
    return [f"{timelapse.id}: {describe_amendment(timelapse, after, now, scan)}"]
