"""The timeline as text: a line for each row; each column shows the worst mark of its time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from plantimager.timelapse.cli.terminal import Style, flow
from plantimager.timelapse.cli.timeline_chart import MarkKind

if TYPE_CHECKING:
    from plantimager.timelapse.cli.terminal import Screen
    from plantimager.timelapse.cli.timeline_chart import Chart, Row

SIGNS: Final = {
    MarkKind.FAILED: ("✗", Style.RED),
    MarkKind.INTERRUPTED: ("!", Style.MAGENTA),
    MarkKind.CUT_OFF: ("▷", Style.MAGENTA),
    MarkKind.SKIPPED: ("○", Style.YELLOW),
    MarkKind.LATE: ("◐", Style.GREEN),
    MarkKind.RUNNING: ("▶", Style.BLUE),
    MarkKind.TAKEN: ("●", Style.GREEN),
    MarkKind.TO_COME: ("·", Style.DIM),
}
"""Sign and colour of each kind, the worst first: where several marks coincide, the first of these is shown."""
OFF, UNKNOWN = "░", "?"
_WORST_FIRST: Final = tuple(SIGNS)

MAX_COLUMNS_PER_TICK: Final = 12
"""In a row of a day a column is then a quarter of an hour."""


def draw_text(chart: Chart, screen: Screen) -> list[str]:
    """Return the chart with its title."""
    title = [screen.paint(chart.title, Style.BOLD), *flow(chart.subtitle.split(" "), screen.width, " ")]
    return [*title, "", *draw_rows(chart, screen)]


def draw_rows(chart: Chart, screen: Screen) -> list[str]:
    """Return the axis, the rows and the legend."""
    margin = max((len(row.label) for row in chart.rows), default=0)
    ticks = list(chart.ticks)
    per_tick = min((screen.width - margin - 4) // (len(ticks) - 1), MAX_COLUMNS_PER_TICK)
    per_tick = max(per_tick - per_tick % 3, 3)  # ticks are three hours apart: slots on the hour get equal distances
    columns = per_tick * (len(ticks) - 1)
    axis = "".join(f"{text:<{per_tick}}" for _, text in ticks)
    lines = [screen.paint(f"{'':{margin}}  {axis}".rstrip(), Style.DIM)]
    for row in chart.rows:
        cells = "".join(screen.paint(sign, *styles) for sign, styles in _cells(row, columns))
        lines.append(f"{row.label:>{margin}} {screen.paint('│', Style.DIM)}{cells}{screen.paint('│', Style.DIM)}")
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
