"""``timelapsectl start``: ask the daemon to take up a definition."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from plantimager.timelapse.cli.daemon_request import request_change
from plantimager.timelapse.cli.findings import (
    configured_driver,
    existing_notes,
    outlook_of_definition,
    scan_fit_notes,
    where_allowed,
    zone_notes,
)
from plantimager.timelapse.settings.definition import definition_of
from plantimager.timelapse.settings.toml_file import load_toml

if TYPE_CHECKING:
    import argparse

    from plantimager.timelapse.cli.session import Session


def run_start(options: argparse.Namespace, session: Session) -> int:
    """Have a definition taken up."""
    now = session.clock.now()
    file = load_toml(options.file)
    definition = definition_of(file)
    schedule = definition.schedule(now)
    with configured_driver(session.places) as driver:
        fit = where_allowed(scan_fit_notes, definition, schedule.slots, driver, session.places) or ()
        disk = where_allowed(outlook_of_definition, definition, schedule.slots, driver, session.places, now)
    if disk is not None and disk.is_full:
        fit += (f"disk: {disk.words}",)
    clashes = where_allowed(existing_notes, definition, session.places) or ()
    for note in (*schedule.notes, *clashes, *fit, *zone_notes(definition, schedule, now, session)):
        session.screen.show(f"note: {note}")
    return request_change(session, "start", {"file": os.path.abspath(options.file)}, [file.content])  # noqa: PTH100 - links in it are the person's own name for the file
