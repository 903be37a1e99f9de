"""``timelapsectl start``: ask the daemon to take up a definition."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plantimager.timelapse.channel.inbox import MAX_REQUEST_BYTES
from plantimager.timelapse.cli.admission import check_admission, zone_notes
from plantimager.timelapse.cli.daemon_request import find_daemon, send_request
from plantimager.timelapse.cli.disk_outlook import outlook_of_definition
from plantimager.timelapse.cli.findings import configured_driver, existing_notes, read_with_schedule, scan_fit_notes
from plantimager.timelapse.support.durable import read_regular

if TYPE_CHECKING:
    import argparse

    from plantimager.timelapse.cli.session import Session


def run_start(options: argparse.Namespace, session: Session) -> int:
    """Have a definition taken up.

    Raises
    ------
    FileUnusable, FaultsFound
        The definition has faults.
    DefinitionRefused
        It can't be taken up, now or by the daemon when it starts.
    NotSaved
        It is taken up, but that is not on disk yet.
    DaemonNotThere
        The request was left, but no daemon has answered it.
    OSError
        The request can't be left.
    """
    now = session.clock.now()
    definition, schedule = read_with_schedule(options.file, now)
    pid = find_daemon(session.store)
    if pid is None:
        check_admission(definition, session)
    with configured_driver(session.places) as driver:
        fit = scan_fit_notes(definition, schedule.slots, driver, session.places)
        disk = outlook_of_definition(definition, schedule.slots, driver, session.places, now)
    if disk is not None and disk.is_full:
        fit += (f"disk: {disk.words}",)
    clashes = existing_notes(definition, session.places)
    for note in (*schedule.notes, *clashes, *fit, *zone_notes(definition, schedule, now, session)):
        session.screen.write(f"note: {note}")
    content = read_regular(options.file, MAX_REQUEST_BYTES)
    later = f"{definition.name} will be taken up"
    return send_request(session, "start", content, pid, subject=str(options.file), later=later)
