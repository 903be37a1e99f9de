"""The timeline as SVG, for a paper: it needs nothing beside itself, and can be read without its colours.

Marks differ in shape as well as in colour, and the colours are those of Okabe and Ito, which people
with any kind of colour vision can tell apart. Pointing at a mark shows its slot and time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from xml.etree import ElementTree as ET

from plantimager.timelapse.cli.timeline import Kind

if TYPE_CHECKING:
    from plantimager.timelapse.cli.timeline import Chart, Mark, Row

NAMESPACE: Final = "http://www.w3.org/2000/svg"

# Lengths in user units, which viewers take for pixels.
WIDTH: Final = 900
MARGIN: Final = 24
LABELS: Final = 110
"""Left of the chart, for the rows' names."""
TOP: Final = 92
"""Above the chart, for title, subtitle and axis."""
ROW: Final = 18
RADIUS: Final = 4.5
LEGEND: Final = 46
"""Below the chart."""
LEGEND_ENTRY: Final = 112

INK, FAINT, OFF = "#222222", "#8a8a8a", "#d9d9d9"

COLOURS: Final = {
    Kind.TAKEN: "#009e73",
    Kind.LATE: "#e69f00",
    Kind.FAILED: "#d55e00",
    Kind.CUT_OFF: "#cc79a7",
    Kind.SKIPPED: "#555555",
    Kind.INTERRUPTED: "#cc79a7",
    Kind.RUNNING: "#0072b2",
    Kind.TO_COME: "#aaaaaa",
}


def svg_of(chart: Chart) -> bytes:
    """Return the picture as an SVG document in UTF-8."""
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
            drawn = _draw_mark(marks, mark.kind, _x(mark.place), TOP + ROW * (index + 0.5))
            _add(drawn, "title", _sentence(mark))
    _draw_legend(root, chart, height)
    ET.indent(root)
    document: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return document + b"\n"


def _x(place: float) -> float:
    """Return where a place of a row lies."""
    return MARGIN + LABELS + place * (WIDTH - 2 * MARGIN - LABELS)


def _draw_row(root: ET.Element, row: Row, y: float) -> None:
    for start, end in row.off:
        _add(root, "rect", x=_x(start), y=y, width=max(_x(end) - _x(start), 1), height=ROW, fill=OFF)
    _add(root, "text", row.label, x=_x(0) - 10, y=y + ROW / 2 + 4, text_anchor="end")


def _draw_axis(root: ET.Element, chart: Chart) -> None:
    bottom = TOP + ROW * len(chart.rows)
    axis = _add(root, "g", stroke=FAINT, stroke_width=0.5)
    for place, text in chart.ticks:
        _add(axis, "line", x1=_x(place), y1=TOP - 4, x2=_x(place), y2=bottom)
        _add(root, "text", text, x=_x(place), y=TOP - 9, text_anchor="middle")


def _draw_mark(parent: ET.Element, kind: Kind, x: float, y: float) -> ET.Element:
    colour, r = COLOURS[kind], RADIUS
    match kind:
        case Kind.TAKEN:
            return _add(parent, "circle", cx=x, cy=y, r=r, fill=colour)
        case Kind.LATE:  # half full
            drawn = _add(parent, "g", stroke=colour, stroke_width=1.4, fill=colour)
            inner = r - 0.7
            _add(drawn, "circle", cx=x, cy=y, r=inner, fill="none")
            half = f"M {x:g} {y - inner:g} a {inner:g} {inner:g} 0 0 1 0 {2 * inner:g} z"
            _add(drawn, "path", d=half, stroke="none")
            return drawn
        case Kind.FAILED:
            path = f"M {x - r:g} {y - r:g} l {2 * r:g} {2 * r:g} m 0 {-2 * r:g} l {-2 * r:g} {2 * r:g}"
            return _add(parent, "path", d=path, stroke=colour, stroke_width=2, fill="none")
        case Kind.INTERRUPTED:
            path = f"M {x:g} {y - r:g} l {r:g} {2 * r:g} l {-2 * r:g} 0 z"
            return _add(parent, "path", d=path, fill=colour)
        case Kind.SKIPPED:
            return _add(parent, "circle", cx=x, cy=y, r=r - 0.7, stroke=colour, stroke_width=1.4, fill="none")
        case Kind.RUNNING | Kind.CUT_OFF:  # a triangle that points on, empty where nothing goes on
            path = f"M {x - r:g} {y - r:g} l {2 * r:g} {r:g} l {-2 * r:g} {r:g} z"
            fill = colour if kind is Kind.RUNNING else "none"
            return _add(parent, "path", d=path, stroke=colour, stroke_width=1, fill=fill)
        case Kind.TO_COME:
            return _add(parent, "circle", cx=x, cy=y, r=1.5, fill=colour)


def _sentence(mark: Mark) -> str:
    return f"slot {mark.slot}, {mark.at.astimezone():%d %b %Y %H:%M:%S}: {mark.kind.value}"


def _draw_legend(root: ET.Element, chart: Chart, height: float) -> None:
    x, y = float(_x(0)), height - MARGIN
    for kind, count in chart.counts.items():
        _draw_mark(root, kind, x + RADIUS, y - 4)
        _add(root, "text", f"{count} {kind.value}", x=x + 16, y=y)
        x += LEGEND_ENTRY
    if any(row.off for row in chart.rows):
        _add(root, "rect", x=x, y=y - 10, width=12, height=12, fill=OFF)
        _add(root, "text", "rig off", x=x + 18, y=y)
    _add(root, "text", f"times: {chart.zone}", x=WIDTH - MARGIN, y=y + 16, text_anchor="end", fill=FAINT)


def _add(parent: ET.Element, tag: str, content: str = "", **attributes: str | float) -> ET.Element:
    """Add an element; attributes as Python spells them (``text_anchor``), numbers as short as they are."""
    named = {
        key.replace("_", "-"): value if isinstance(value, str) else f"{round(value, 2):g}"
        for key, value in attributes.items()
    }
    element = ET.SubElement(parent, tag, named)
    element.text = content or None
    return element
