"""How costs grow with the number of slots, as a picture: ``draw_costs.py benchmarks.json costs.svg``.

Both axes are logarithmic, so that what grows with the slots is a line that rises as steeply as the dotted one, and what
doesn't is level. The picture needs nothing beside itself, and follows the reader's choice of light or dark. Lines
differ in their dashes and carry their names, so it can be read without its colours (which are those of Okabe and Ito).
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    Points = Sequence[tuple[float, float]]

TITLE = "What timelapsed costs, by the number of slots"

# Lengths in user units, which viewers take for pixels.
WIDTH, HEIGHT = 900, 400
TOP, BOTTOM = 78, 338
"""Where the panels begin and end."""
LABEL_HEIGHT = 14
"""Between the names of two lines, at least."""

STYLE = """
.paper { fill: #ffffff } .ink { fill: #222222 } .faint { fill: #6e6e6e } .grid { stroke: #dddddd }
.reference { stroke: #6e6e6e }
@media (prefers-color-scheme: dark) {
  .paper { fill: #0d1117 } .ink { fill: #e6edf3 } .faint { fill: #9198a1 } .grid { stroke: #2d333b }
  .reference { stroke: #9198a1 }
}
"""
BLUE, ORANGE, GREEN, PURPLE, GREY = "#1f83c4", "#e07b00", "#00a077", "#c86a9b", "#8a8a8a"
"""Okabe's and Ito's, made to stand out from white and from black."""
DASHED = "6 4"


@dataclass(frozen=True)
class Line:
    """One cost: its name, and what it is for so many slots."""

    name: str
    points: Points
    colour: str
    dashes: str = ""


@dataclass(frozen=True)
class Panel:
    """One pair of axes with its lines."""

    title: str
    unit: Callable[[int], str]
    """The text of a power of ten on the upright axis."""
    lines: Sequence[Line]
    left: float
    right: float

    @property
    def decades(self) -> tuple[int, int]:
        """The powers of ten between which all values lie."""
        values = [value for line in self.lines for _, value in line.points]
        return math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))

    @property
    def slots(self) -> tuple[float, float]:
        """The fewest and the most slots."""
        counts = [count for line in self.lines for count, _ in line.points]
        return min(counts), max(counts)

    def x(self, count: float) -> float:
        """Return the place of a number of slots."""
        fewest, most = map(math.log10, self.slots)
        return self.left + (math.log10(count) - fewest) / (most - fewest) * (self.right - self.left)

    def y(self, value: float) -> float:
        """Return the place of a value."""
        low, high = self.decades
        return BOTTOM - (math.log10(value) - low) / (high - low) * (BOTTOM - TOP)


def panels_of(numbers: Mapping[str, Mapping[str, Mapping[str, Mapping[str, float]]]]) -> list[Panel]:
    """Return the two panels: time and memory."""
    saving, starts = numbers["saving"]["ms"], numbers["boot"]["starts"]

    def line(name: str, rows: Mapping[str, Mapping[str, float]], key: str, colour: str, dashes: str = "") -> Line:
        scale = 1000 if key.endswith("kB") else 1
        points = sorted((int(count), row[key] / scale) for count, row in rows.items() if int(count))
        return Line(name, points, colour, dashes)

    times = [
        line("start, exec to READY=1", starts, "daemon ms", ORANGE),
        line("load the store", saving, "load", GREEN),
        line("save it as documented", saving, "seed way", PURPLE, DASHED),
        line("save it", saving, "save", BLUE),
        line("bare durable write", saving, "bare write", GREY, DASHED),
    ]
    memory = [
        line("timelapsed", starts, "daemon kB", ORANGE),
        line("bare interpreter", starts, "bare kB", GREY, DASHED),
    ]
    return [
        Panel("time", lambda power: f"{10.0**power:g} ms" if power < 3 else f"{10 ** (power - 3):g} s", times, 70, 350),
        Panel("resident memory", lambda power: f"{10.0**power:g} MB", memory, 570, 785),
    ]


def svg_of(panels: Iterable[Panel], machine: str) -> bytes:
    """Return the picture as an SVG document in UTF-8."""
    root = ET.Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "width": str(WIDTH),
            "height": str(HEIGHT),
            "viewBox": f"0 0 {WIDTH} {HEIGHT}",
            "role": "img",
            "font-family": "Helvetica, Arial, sans-serif",
            "font-size": "11",
        },
    )
    add(root, "title", TITLE)
    add(root, "style", STYLE)
    add(root, "rect", width=WIDTH, height=HEIGHT, class_="paper")
    add(
        root,
        "text",
        "What it costs, by the number of slots",
        x=24,
        y=32,
        font_size=18,
        font_weight="bold",
        class_="ink",
    )
    for panel in panels:
        draw_axes(root, panel)
        draw_reference(root, panel)
        draw_lines(root, panel)
    add(root, "text", machine, x=WIDTH - 24, y=HEIGHT - 14, text_anchor="end", class_="faint")
    ET.indent(root)
    document: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return document + b"\n"


def draw_axes(root: ET.Element, panel: Panel) -> None:
    """Draw a line for each power of ten, and its text."""
    add(root, "text", panel.title, x=panel.left, y=TOP - 14, font_size=13, font_weight="bold", class_="ink")
    for power in range(panel.decades[0], panel.decades[1] + 1):
        y = panel.y(10.0**power)
        add(root, "line", x1=panel.left, x2=panel.right, y1=y, y2=y, class_="grid")
        add(root, "text", panel.unit(power), x=panel.left - 8, y=y + 4, text_anchor="end", class_="ink")
    fewest, most = panel.slots
    for power in range(math.ceil(math.log10(fewest)), math.floor(math.log10(most)) + 1):
        x = panel.x(10.0**power)
        add(root, "line", x1=x, x2=x, y1=TOP, y2=BOTTOM, class_="grid")
        add(root, "text", f"{10**power:,}".replace(",", " "), x=x, y=BOTTOM + 17, text_anchor="middle", class_="ink")
    add(root, "text", "slots", x=(panel.left + panel.right) / 2, y=BOTTOM + 34, text_anchor="middle", class_="ink")


def draw_reference(root: ET.Element, panel: Panel) -> None:
    """Draw what grows as the slots do, up to the corner on the right."""
    (fewest, most), (low, high) = panel.slots, panel.decades
    bottom = max(10.0**high * fewest / most, 10.0**low)
    begin = most * bottom / 10.0**high
    x1, y1, x2, y2 = panel.x(begin), panel.y(bottom), panel.x(most), panel.y(10.0**high)
    line = add(root, "line", x1=x1, y1=y1, x2=x2, y2=y2, class_="reference")
    line.attrib |= {"stroke-dasharray": "1 4", "stroke-width": "1.5", "stroke-linecap": "round"}
    x, y = x1 + 0.75 * (x2 - x1), y1 + 0.75 * (y2 - y1)
    text = add(root, "text", "as the slots do", x=x, y=y - 5, text_anchor="middle", class_="faint")
    text.set("transform", f"rotate({math.degrees(math.atan2(y2 - y1, x2 - x1)):.1f} {x:.1f} {y:.1f})")


def draw_lines(root: ET.Element, panel: Panel) -> None:
    """Draw the lines, and beside their ends their names, one below the other."""
    free = 0.0
    for line in sorted(panel.lines, key=lambda line: panel.y(line.points[-1][1])):
        places = [(panel.x(count), panel.y(value)) for count, value in line.points]
        path = "M " + " L ".join(f"{x:.1f} {y:.1f}" for x, y in places)
        drawn = add(root, "path", d=path, fill="none", stroke=line.colour, stroke_width=2, stroke_linejoin="round")
        if line.dashes:
            drawn.set("stroke-dasharray", line.dashes)
        for x, y in places:
            add(root, "circle", cx=x, cy=y, r=2.5, fill=line.colour)
        free = max(places[-1][1] + 4, free)
        add(root, "text", line.name, x=panel.right + 10, y=free, font_weight="bold", fill=line.colour)
        free += LABEL_HEIGHT


def add(parent: ET.Element, tag: str, content: str = "", **attributes: str | float) -> ET.Element:
    """Add an element; attributes as Python spells them, numbers as short as they are."""
    named = {
        key.rstrip("_").replace("_", "-"): value if isinstance(value, str) else f"{round(value, 1):g}"
        for key, value in attributes.items()
    }
    element = ET.SubElement(parent, tag, named)
    element.text = content or None
    return element


def main() -> None:
    """Draw what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("numbers", type=Path, help="what tests/benchmarks/run wrote")
    parser.add_argument("picture", type=Path, help="the SVG file to write")
    options = parser.parse_args()
    numbers = json.loads(options.numbers.read_text(encoding="utf-8"))
    options.picture.write_bytes(svg_of(panels_of(numbers), numbers["boot"]["machine"]))


if __name__ == "__main__":
    main()
