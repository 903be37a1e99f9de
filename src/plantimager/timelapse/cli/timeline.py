"""``timelapsectl timeline``: the slots, scheduled against taken, as text or as an SVG picture."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from plantimager.timelapse.cli.own_file import write_own_file
from plantimager.timelapse.cli.service_state import read_service_state
from plantimager.timelapse.cli.snapshot_source import SnapshotSource, archive_names, archived_snapshot
from plantimager.timelapse.cli.status_view import service_lines
from plantimager.timelapse.cli.terminal import MIN_COLUMNS, Style, flow
from plantimager.timelapse.cli.timeline_chart import MarkKind, build_chart
from plantimager.timelapse.cli.unit_facts import ask
from plantimager.timelapse.store.schema import is_safe_name
from plantimager.timelapse.support.clock import EPOCH, MICROSECOND
from plantimager.timelapse.support.errors import StoreError, TimelapsedError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from plantimager.timelapse.cli.session import Session
    from plantimager.timelapse.cli.snapshot import StatusSnapshot
    from plantimager.timelapse.cli.terminal import Screen
    from plantimager.timelapse.cli.timeline_chart import Chart, Row
    from plantimager.timelapse.domain.absence import Span

MAX_NAMES: Final = 20
"""Archived timelapses that the hint of an error lists; a rig has hundreds after some years."""

STANDARD_OUTPUT: Final = Path("-")


SIGNS: Final = {
    MarkKind.FAILED: ("✗", Style.RED),
    MarkKind.INTERRUPTED: ("!", Style.MAGENTA),
    MarkKind.CUT_OFF: ("▷", Style.MAGENTA),
    MarkKind.SKIPPED: ("○", Style.YELLOW),
    MarkKind.PAUSED: ("□", Style.DIM),
    MarkKind.LATE: ("◐", Style.GREEN),
    MarkKind.RUNNING: ("▶", Style.BLUE),
    MarkKind.TAKEN: ("●", Style.GREEN),
    MarkKind.TO_COME: ("·", Style.DIM),
}
"""Sign and colour of each kind, the worst first: where several marks coincide, the first of these is shown."""
OFF, UNKNOWN = "░", "?"
_WORST_FIRST: Final = tuple(SIGNS)

MIN_COLUMNS_PER_TICK, MAX_COLUMNS_PER_TICK = 3, 12
"""In a row of a day a column is then an hour, or a quarter of one."""


def run_timeline(options: argparse.Namespace, session: Session) -> int:
    """Draw the timeline."""
    snapshot = _find_snapshot(options.name, session)
    if snapshot.timelapse is None:
        none, remedy = f"no timelapse in {snapshot.store}", "define one with timelapsectl start FILE"
        if options.svg is not None:
            raise TimelapsedError(none, hint=remedy)
        session.screen.write(f"{none}; {remedy}")
        return 0
    may_have_gaps = snapshot.logbook.outages or snapshot.logbook.uncertain or snapshot.daemon is None
    boots = read_boots(session.environment) if may_have_gaps else []
    chart = build_chart(snapshot, snapshot.timelapse, boots)
    if options.svg is not None:
        from plantimager.timelapse.cli.timeline_svg import draw_svg  # noqa: PLC0415 - imports an XML library

        picture = draw_svg(chart)
        if options.svg == STANDARD_OUTPUT:
            sys.stdout.buffer.write(picture)
            return 0
        write_own_file(options.svg, picture)
        session.screen.write(f"{options.svg}: {len(chart.rows)} rows, {sum(chart.counts.values())} slots")
        return 0
    session.screen.show(*draw_text(chart, session.screen))
    if snapshot.store == session.store and snapshot.daemon is None and snapshot.timelapse.state.is_active:
        session.screen.show(*service_lines(read_service_state(session)))
    return 0


def read_boots(environment: Mapping[str, str]) -> list[Span]:
    """Return the first and the last line's time of each boot that the journal may be read of; none without systemd.

    They only make the picture more exact.
    """
    answer = ask(environment, ["journalctl", "--list-boots", "--output=json", "--quiet"])
    try:
        entries = [(boot["first_entry"], boot["last_entry"]) for boot in json.loads(answer)]
        return [(EPOCH + MICROSECOND * first, EPOCH + MICROSECOND * last) for first, last in entries]
    except (ValueError, TypeError, KeyError, OverflowError):
        return []  # no answer, or an older journalctl, which has another format


def _find_snapshot(name: str | None, session: Session) -> StatusSnapshot:
    """Return the state of a timelapse: the rig's present one, or one in the archive by its name."""
    if name is None:
        return SnapshotSource(session).take()
    try:
        present = SnapshotSource(session).take()
    except StoreError:
        if not is_safe_name(name) or name not in archive_names(session):
            raise
        present = None  # the archived one can still be drawn
    if present is not None and present.timelapse is not None and present.timelapse.id == name:
        return present
    names = archive_names(session)
    if is_safe_name(name) and name in names:
        return archived_snapshot(session, name)
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    raise TimelapsedError(
        f"no timelapse {name} in {session.store} or {session.places.history}",
        hint=f"there are {', '.join(names[:MAX_NAMES])}{more}" if names else None,
    )


# --- as text -----------------------------------------------------------------------------------


def draw_text(chart: Chart, screen: Screen) -> list[str]:
    """Return the chart with its title."""
    title = [screen.paint(chart.title, Style.BOLD), *flow(chart.subtitle.split(" "), screen.width, " ")]
    return [*title, "", *draw_rows(chart, screen)]


def draw_rows(chart: Chart, screen: Screen) -> list[str]:
    """Return the axis, the rows and the legend."""
    ticks, labels = list(chart.ticks), [row.label for row in chart.rows]
    least = MIN_COLUMNS_PER_TICK * (len(ticks) - 1) + len(ticks[-1][1]) + 2
    if labels and max(map(len, labels)) + least > max(screen.width, MIN_COLUMNS):
        labels = [label.rpartition(" ")[0] for label in labels]  # days without their year
    margin = max(map(len, labels), default=0)
    per_tick = min((screen.width - margin - 4) // (len(ticks) - 1), MAX_COLUMNS_PER_TICK)
    # Ticks of a day are three hours apart: slots on the hour get equal distances.
    per_tick = max(per_tick - per_tick % 3, MIN_COLUMNS_PER_TICK)
    columns = per_tick * (len(ticks) - 1)
    axis = "".join(f"{text:<{per_tick}}" for _, text in ticks)
    lines = [screen.paint(f"{'':{margin}}  {axis}".rstrip(), Style.DIM)]
    for row, label in zip(chart.rows, labels, strict=True):
        cells = "".join(screen.paint(sign, *styles) for sign, styles in _cells(row, columns))
        lines.append(f"{label:>{margin}} {screen.paint('│', Style.DIM)}{cells}{screen.paint('│', Style.DIM)}")
    return [*lines, "", *_legend(chart, screen)]


def _cells(row: Row, columns: int) -> list[tuple[str, tuple[Style, ...]]]:
    off, unknown = (
        {
            column
            for start, end in spans
            for column in range(int(start * columns), max(round(end * columns), int(start * columns) + 1))
        }
        for spans in (row.off, row.unknown)
    )
    cells: list[tuple[str, tuple[Style, ...]]] = [(" ", ())] * columns
    for sign, covered in ((UNKNOWN, unknown), (OFF, off)):
        for column in covered:
            cells[column] = (sign, (Style.DIM,))
    worst: dict[int, MarkKind] = {}
    for mark in row.marks:
        column = min(int(mark.position * columns), columns - 1)
        worst[column] = min(worst.get(column, mark.kind), mark.kind, key=_WORST_FIRST.index)
    for column, kind in worst.items():
        sign, style = SIGNS[kind]
        cells[column] = (sign, (style, Style.ON_GREY) if column in off else (style,))
    return cells


def _legend(chart: Chart, screen: Screen) -> list[str]:
    entries = [f"{SIGNS[kind][0]} {count} {kind.value}" for kind, count in chart.counts.items()]
    if any(row.off for row in chart.rows):
        entries.append(f"{OFF} rig off")
    if any(row.unknown for row in chart.rows):
        entries.append(f"{UNKNOWN} not known whether it was on")
    return flow([*entries, f"times: {chart.zone}"], screen.width)
