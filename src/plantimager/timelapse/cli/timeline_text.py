"""The timeline on a terminal: one line a row, each column a share of it, the worst mark of a column shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from plantimager.timelapse.cli.terminal import Style, flowing
from plantimager.timelapse.cli.timeline import WORST_FIRST, Kind

if TYPE_CHECKING:
    from plantimager.timelapse.cli.terminal import Screen
    from plantimager.timelapse.cli.timeline import Chart, Row

SIGNS: Final = {
    Kind.FAILED: ("✗", Style.RED),
    Kind.INTERRUPTED: ("!", Style.MAGENTA),
    Kind.CUT_OFF: ("▷", Style.MAGENTA),
    Kind.SKIPPED: ("○", Style.YELLOW),
    Kind.LATE: ("◐", Style.GREEN),
    Kind.RUNNING: ("▶", Style.BLUE),
    Kind.TAKEN: ("●", Style.GREEN),
    Kind.TO_COME: ("·", Style.DIM),
}
OFF: Final = "░"

MOST_COLUMNS_PER_TICK: Final = 12
"""At a day a row: a quarter of an hour a column."""


def text_of(chart: Chart, screen: Screen) -> list[str]:
    """Return the picture under its title."""
    title = [screen.paint(chart.title, Style.BOLD), *flowing(chart.subtitle.split(" "), screen.width, " ")]
    return [*title, "", *picture_of(chart, screen)]


def picture_of(chart: Chart, screen: Screen) -> list[str]:
    """Return the axis, the rows and the legend."""
    margin = max((len(row.label) for row in chart.rows), default=0)
    ticks = list(chart.ticks)
    per_tick = min((screen.width - margin - 4) // (len(ticks) - 1), MOST_COLUMNS_PER_TICK)
    per_tick = max(per_tick - per_tick % 3, 3)  # ticks are three hours apart: slots on the hour stand evenly
    columns = per_tick * (len(ticks) - 1)
    axis = "".join(f"{text:<{per_tick}}" for _, text in ticks)
    lines = [screen.paint(f"{'':{margin}}  {axis}".rstrip(), Style.DIM)]
    for row in chart.rows:
        cells = "".join(screen.paint(sign, *styles) for sign, styles in _cells(row, columns))
        lines.append(f"{row.label:>{margin}} {screen.paint('│', Style.DIM)}{cells}{screen.paint('│', Style.DIM)}")
    return [*lines, "", *_legend(chart, screen)]


def _cells(row: Row, columns: int) -> list[tuple[str, tuple[Style, ...]]]:
    off: set[int] = set()
    for start, end in row.off:
        off.update(range(int(start * columns), max(round(end * columns), int(start * columns) + 1)))
    cells: list[tuple[str, tuple[Style, ...]]] = [
        (OFF, (Style.DIM,)) if column in off else (" ", ()) for column in range(columns)
    ]
    worst: dict[int, Kind] = {}
    for mark in row.marks:
        column = min(int(mark.place * columns), columns - 1)
        worst[column] = min(worst.get(column, mark.kind), mark.kind, key=WORST_FIRST.index)
    for column, kind in worst.items():
        sign, style = SIGNS[kind]
        cells[column] = (sign, (style, Style.ON_GREY) if column in off else (style,))
    return cells


def _legend(chart: Chart, screen: Screen) -> list[str]:
    entries = [f"{SIGNS[kind][0]} {count} {kind.value}" for kind, count in chart.counts.items()]
    if any(row.off for row in chart.rows):
        entries.append(f"{OFF} rig off")
    return flowing([*entries, f"times: {chart.zone}"], screen.width)
