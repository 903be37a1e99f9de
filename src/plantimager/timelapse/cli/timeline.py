"""``timelapsectl timeline``: the slots, scheduled against taken, as text or as an SVG picture."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from plantimager.timelapse.cli.snapshot import take_snapshot
from plantimager.timelapse.cli.timeline_chart import build_chart
from plantimager.timelapse.store.field_types import is_safe_name
from plantimager.timelapse.support.clock import EPOCH, MICROSECOND
from plantimager.timelapse.support.errors import StoreError, TimelapsedError

if TYPE_CHECKING:
    import argparse

    from plantimager.timelapse.cli.session import Session
    from plantimager.timelapse.domain.absence import Span

MAX_NAMES: Final = 20
"""Archived timelapses that the hint of an error lists; a rig has hundreds after some years."""

JOURNAL_SECONDS: Final = 5.0
"""For journalctl to list the boots of the machine, which only make the picture more exact."""

STANDARD_OUTPUT: Final = Path("-")


def run_timeline(options: argparse.Namespace, session: Session) -> int:
    """Draw the timeline.

    Raises
    ------
    TimelapsedError
        There is no such timelapse, or its store can't be read.
    OSError
        The picture can't be written.

    """
    snapshot = take_snapshot(_find_store(options.name, session), session.clock)
    if snapshot.timelapse is None:
        session.screen.write(f"no timelapse in {snapshot.store}; define one with timelapsectl start FILE")
        return 0
    boots = read_boots() if snapshot.logbook.outages or snapshot.logbook.uncertain or snapshot.daemon is None else []
    chart = build_chart(snapshot, snapshot.timelapse, boots)
    if options.svg is not None:
        from plantimager.timelapse.cli.timeline_svg import draw_svg  # noqa: PLC0415 - imports an XML library

        picture = draw_svg(chart)
        if options.svg == STANDARD_OUTPUT:
            sys.stdout.buffer.write(picture)
            return 0
        options.svg.write_bytes(picture)
        session.screen.write(f"{options.svg}: {len(chart.rows)} rows, {sum(chart.counts.values())} slots")
        return 0
    from plantimager.timelapse.cli.timeline_text import draw_text  # noqa: PLC0415 - not needed for SVG

    session.screen.write(*draw_text(chart, session.screen))
    return 0


def read_boots() -> list[Span]:
    """Return the first and the last line's time of each boot that the journal may be read of; none without systemd."""
    command = ("journalctl", "--list-boots", "--output=json", "--quiet")
    try:
        answer = subprocess.run(command, capture_output=True, timeout=JOURNAL_SECONDS, check=True).stdout
        entries = [(boot["first_entry"], boot["last_entry"]) for boot in json.loads(answer)]
        return [(EPOCH + MICROSECOND * first, EPOCH + MICROSECOND * last) for first, last in entries]
    except (OSError, subprocess.SubprocessError, ValueError, TypeError, KeyError, OverflowError):
        return []  # an older journalctl has another format


def _find_store(name: str | None, session: Session) -> Path:
    """Return the store of a timelapse: the rig's present one, or one in the archive by its name."""
    if name is None:
        return session.store
    archived = session.places.history / f"{name}.json"
    is_archived = is_safe_name(name) and archived.exists()
    try:
        present = take_snapshot(session.store, session.clock).timelapse
    except StoreError:
        if not is_archived:
            raise
        present = None  # the archived one can still be drawn
    if present is not None and present.id == name:
        return session.store
    if is_archived:
        return archived
    names = sorted(path.stem for path in session.places.history.glob("*.json"))
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    raise TimelapsedError(
        f"no timelapse {name} in {session.store} or {session.places.history}",
        hint=f"there are {', '.join(names[:MAX_NAMES])}{more}" if names else None,
    )
