"""The timeline as an SVG document for a paper: one self-contained file, readable without its colours.

Marks differ in shape as well as in colour. The colours are those of Okabe and Ito, which can be distinguished with any
kind of colour vision. Pointing at a mark shows its slot and time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from xml.etree import ElementTree as ET

from plantimager.timelapse.cli.timeline_chart import MarkKind

if TYPE_CHECKING:
    from plantimager.timelapse.cli.timeline_chart import Chart, Mark, Row

NAMESPACE: Final = "http://www.w3.org/2000/svg"

# Lengths in user units; viewers show one as a pixel.
WIDTH: Final = 940
MARGIN: Final = 24
LABELS: Final = 110
"""Width left of the chart, for the labels of the rows."""
TOP: Final = 92
"""Height above the chart, for title, subtitle and axis."""
ROW: Final = 18
RADIUS: Final = 4.5
LEGEND: Final = 46
"""Height below the chart."""
MAX_LEGEND_ENTRY: Final = 112

INK, FAINT, OFF = "#222222", "#8a8a8a", "#d9d9d9"
COLOURS: Final = {
    MarkKind.TAKEN: "#009e73",
    MarkKind.LATE: "#e69f00",
    MarkKind.FAILED: "#d55e00",
    MarkKind.CUT_OFF: "#cc79a7",
    MarkKind.SKIPPED: "#555555",
    MarkKind.PAUSED: "#8a8a8a",
    MarkKind.INTERRUPTED: "#cc79a7",
    MarkKind.RUNNING: "#0072b2",
    MarkKind.TO_COME: "#aaaaaa",
}


def draw_svg(chart: Chart) -> bytes:
    """Return the chart as an SVG document in UTF-8."""
    height = TOP + ROW * len(chart.rows) + LEGEND
    root = ET.Element(
        "svg",
        {
            "xmlns": NAMESPACE,
            "width": str(WIDTH),
            "height": str(height),
            "viewBox": f"0 0 {WIDTH} {height}",
            "role": "img",
            "font-family": "Helvetica, Arial, sans-serif",
            "font-size": "11",
            "fill": INK,
        },
    )
    _add(root, "title", f"Timelapse {chart.title}")
    _add(root, "desc", f"{chart.subtitle}. Times: {chart.zone}.")
    _add(root, "rect", width=WIDTH, height=height, fill="#ffffff")
    _add(root, "text", chart.title, x=MARGIN, y=MARGIN + 8, font_size=18, font_weight="bold")
    _add(root, "text", chart.subtitle, x=MARGIN, y=MARGIN + 28)
    for index, row in enumerate(chart.rows):
        _draw_row(root, row, TOP + ROW * index)
    _draw_axis(root, chart)
    marks = _add(root, "g")
    for index, row in enumerate(chart.rows):
        for mark in row.marks:
            drawn = _draw_mark(marks, mark.kind, _x(mark.position), TOP + ROW * (index + 0.5))
            _add(drawn, "title", _mark_title(mark))
    _draw_legend(root, chart, height)
    ET.indent(root)
    document: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return document + b"\n"


def _x(position: float) -> float:
    return MARGIN + LABELS + position * (WIDTH - 2 * MARGIN - LABELS)


def _draw_row(root: ET.Element, row: Row, y: float) -> None:
    for spans, is_known in ((row.unknown, False), (row.off, True)):
        for start, end in spans:
            _draw_band(root, _x(start), y, max(_x(end) - _x(start), 1), ROW, is_known=is_known)
    _add(root, "text", row.label, x=_x(0) - 10, y=y + ROW / 2 + 4, text_anchor="end")


def _draw_band(root: ET.Element, x: float, y: float, width: float, height: float, *, is_known: bool) -> None:
    """Draw a time in which the rig was off: full, or a dashed frame where it may have been on."""
    if is_known:
        _add(root, "rect", x=x, y=y, width=width, height=height, fill=OFF)
    else:
        frame = {"fill": "none", "stroke": FAINT, "stroke_dasharray": "2 3"}
        _add(root, "rect", x=x, y=y + 1, width=width, height=height - 2, **frame)


def _draw_axis(root: ET.Element, chart: Chart) -> None:
    bottom = TOP + ROW * len(chart.rows)
    axis = _add(root, "g", stroke=FAINT, stroke_width=0.5)
    for position, text in chart.ticks:
        _add(axis, "line", x1=_x(position), y1=TOP - 4, x2=_x(position), y2=bottom)
        _add(root, "text", text, x=_x(position), y=TOP - 9, text_anchor="middle")


def _draw_mark(parent: ET.Element, kind: MarkKind, x: float, y: float) -> ET.Element:
    colour, r = COLOURS[kind], RADIUS
    match kind:
        case MarkKind.TAKEN:
            return _add(parent, "circle", cx=x, cy=y, r=r, fill=colour)
        case MarkKind.LATE:  # half full
            drawn = _add(parent, "g", stroke=colour, stroke_width=1.4, fill=colour)
            inner = r - 0.7
            _add(drawn, "circle", cx=x, cy=y, r=inner, fill="none")
            half = f"M {x:g} {y - inner:g} a {inner:g} {inner:g} 0 0 1 0 {2 * inner:g} z"
            _add(drawn, "path", d=half, stroke="none")
            return drawn
        case MarkKind.FAILED:
            path = f"M {x - r:g} {y - r:g} l {2 * r:g} {2 * r:g} m 0 {-2 * r:g} l {-2 * r:g} {2 * r:g}"
            return _add(parent, "path", d=path, stroke=colour, stroke_width=2, fill="none")
        case MarkKind.INTERRUPTED:
            path = f"M {x:g} {y - r:g} l {r:g} {2 * r:g} l {-2 * r:g} 0 z"
            return _add(parent, "path", d=path, fill=colour)
        case MarkKind.PAUSED:
            path = f"M {x - r:g} {y - r:g} l {2 * r:g} 0 l 0 {2 * r:g} l {-2 * r:g} 0 z"
            return _add(parent, "path", d=path, stroke=colour, stroke_width=1.4, fill="none")
        case MarkKind.SKIPPED:
            return _add(parent, "circle", cx=x, cy=y, r=r - 0.7, stroke=colour, stroke_width=1.4, fill="none")
        case MarkKind.RUNNING | MarkKind.CUT_OFF:  # a triangle to the right, empty where no daemon goes on
            path = f"M {x - r:g} {y - r:g} l {2 * r:g} {r:g} l {-2 * r:g} {r:g} z"
            fill = colour if kind is MarkKind.RUNNING else "none"
            return _add(parent, "path", d=path, stroke=colour, stroke_width=1, fill=fill)
        case MarkKind.TO_COME:
            return _add(parent, "circle", cx=x, cy=y, r=1.5, fill=colour)


def _mark_title(mark: Mark) -> str:
    return f"slot {mark.slot}, {mark.at.astimezone():%d %b %Y %H:%M:%S}: {mark.kind.value}"


def _draw_legend(root: ET.Element, chart: Chart, height: float) -> None:
    bands = [
        (words, is_known)
        for words, is_known in (("rig off", True), ("not known", False))
        if any(row.off if is_known else row.unknown for row in chart.rows)
    ]
    x, y = float(MARGIN), height - MARGIN
    step = min((WIDTH - 2 * MARGIN) / (len(chart.counts) + len(bands)), MAX_LEGEND_ENTRY)
    for kind, count in chart.counts.items():
        _draw_mark(root, kind, x + RADIUS, y - 4)
        _add(root, "text", f"{count} {kind.value}", x=x + 14, y=y)
        x += step
    for words, is_known in bands:
        _draw_band(root, x, y - 10, 12, 12, is_known=is_known)
        _add(root, "text", words, x=x + 18, y=y)
        x += step
    _add(root, "text", f"times: {chart.zone}", x=WIDTH - MARGIN, y=y + 16, text_anchor="end", fill=FAINT)


def _add(parent: ET.Element, tag: str, content: str = "", **attributes: str | float) -> ET.Element:
    """Add an element. Attributes have Python names (``text_anchor``); numbers are rounded to two places."""
    named = {
        key.replace("_", "-"): value if isinstance(value, str) else f"{round(value, 2):g}"
        for key, value in attributes.items()
    }
    element = ET.SubElement(parent, tag, named)
    element.text = content or None
    return element
