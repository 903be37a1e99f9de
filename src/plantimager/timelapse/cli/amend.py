"""``timelapsectl amend``: ask the daemon to have another definition take the place of what is still to come."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from plantimager.timelapse.cli.daemon_request import request_change
from plantimager.timelapse.cli.findings import zone_notes
from plantimager.timelapse.cli.question import Question, confirm
from plantimager.timelapse.domain.amending import describe_amendment
from plantimager.timelapse.settings.amendment import amended_schedule
from plantimager.timelapse.settings.definition import definition_of
from plantimager.timelapse.settings.toml_file import load_toml

if TYPE_CHECKING:
    import argparse

    from plantimager.timelapse.cli.session import Session
    from plantimager.timelapse.domain.timelapse import TimeLapse

QUESTION: Final = Question(command="amend", done="amended", at_stake="what would change", text="amend it?")


def run_amend(options: argparse.Namespace, session: Session) -> int:
    """Have the timelapse amended; at a terminal a person is asked once."""
    file, now = load_toml(options.file), session.clock.now()
    definition = definition_of(file)
    for note in zone_notes(definition, definition.schedule(now), now, session):  # the daemon says the others
        session.screen.show(f"note: {note}")

    def describe_changes(timelapse: TimeLapse) -> list[str]:
        after, _ = amended_schedule(timelapse, definition, now)
        scan = f"it is scanned as {definition.source} says"  # the daemon alone knows how it was
        return [f"{timelapse.id}: {describe_amendment(timelapse, after, now, scan)}"]

    if not options.yes:
        confirm(QUESTION, session, describe_changes, name=definition.name)
    return request_change(session, "amend", {"file": os.path.abspath(options.file)}, [file.content])  # noqa: PTH100 - links in it are the person's own name for the file
