"""The pictures of README: what ``timelapsectl`` shows of an example timelapse.

To draw them again, run ``PYTHONPATH=tests/support .venv-test/bin/python tests/support/pictures.py``.
"""

from __future__ import annotations

import io
import os
import re
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree as ET

from virtual_time import SYNCHRONISED

from plantimager.timelapse.channel.live import LiveStatus
from plantimager.timelapse.cli.snapshot import RunningDaemon, StatusSnapshot
from plantimager.timelapse.cli.status_view import status_lines
from plantimager.timelapse.cli.terminal import Screen, Style
from plantimager.timelapse.cli.timeline_chart import build_chart
from plantimager.timelapse.cli.timeline_svg import draw_svg
from plantimager.timelapse.domain.states import Reason, TimeLapseMode, TimeLapseState
from plantimager.timelapse.domain.timelapse import TimeLapse
from plantimager.timelapse.store.schema import Logbook
from plantimager.timelapse.support.errors import ScanFailed

DIRECTORY = Path(__file__).parents[2] / ".github"

FIRST = datetime(2026, 11, 20, 2, 30, tzinfo=UTC)
EVERY = timedelta(minutes=30)
NOW = FIRST + 120 * EVERY - timedelta(minutes=9, seconds=4)
OFF = (FIRST + timedelta(hours=40, minutes=47), FIRST + timedelta(hours=44, minutes=12))
"""When the power failed."""
UNCERTAIN = (OFF[0] - timedelta(minutes=20), OFF[0])

COLUMNS = 100
CHARACTER, LINE, MARGIN = 8.4, 19, 18
"""Size of a character, of a line, and of the frame, in user units."""
PAPER, INK = "#1e1f22", "#c9cbd1"
COLOURS = {
    Style.DIM: "#8b8f98",
    Style.RED: "#e06c75",
    Style.GREEN: "#8fbf6f",
    Style.YELLOW: "#dfb85f",
    Style.BLUE: "#6ea7e0",
    Style.MAGENTA: "#c98fd9",
    Style.CYAN: "#66b8c4",
}


def example() -> StatusSnapshot:
    """Return a rig in the third day of a timelapse: with a late scan, a failure and a power cut."""
    slots = tuple(FIRST + EVERY * slot for slot in range(168))
    timelapse = TimeLapse(
        id="col0_ld", mode=TimeLapseMode.INTERVAL, state=TimeLapseState.SCHEDULED, schedule_times=slots, scan_retries=1
    )
    for slot, due in enumerate(slots[:120]):
        if OFF[0] <= due < OFF[1]:
            timelapse = timelapse.skip_late_slots(due + EVERY - timedelta(minutes=1), Reason.MISSED, "the rig was off")
            continue
        late = timedelta(seconds=100 if slot in (41, 117) else 0)
        timelapse = timelapse.begin(due + late, "boot")
        if slot in (23, 118):
            alarm = ScanFailed("GRBL alarm 1 (limit switch hit at x=741)")
            timelapse = timelapse.fail_attempt(due + timedelta(seconds=62), alarm, give_up=True)
            continue
        if slot == 117:
            timelapse = timelapse.fail_attempt(due + late, ScanFailed("camera time-out"))
        timelapse = timelapse.succeed(due + late + timedelta(seconds=380 + slot * 7 % 20), 72)
    return StatusSnapshot(
        at=NOW,
        store=Path("/var/lib/plant-imager3-app/timelapse_storage.json"),
        timelapse=timelapse,
        logbook=Logbook(saved_at=timelapse.records[119].finished_at, boots=2, outages=(OFF,), uncertain=(UNCERTAIN,)),
        saved_at=timelapse.records[119].finished_at,
        daemon=RunningDaemon(pid=412, up_since=OFF[1], says=LiveStatus(rig="standby", driver="grbl")),
        evidence=SYNCHRONISED,
    )


def draw_terminal(command: str, lines: list[str]) -> bytes:
    """Return lines with the codes of a terminal as an SVG document."""
    width, height = round(COLUMNS * CHARACTER + 2 * MARGIN), (len(lines) + 2) * LINE + 2 * MARGIN
    box = {"width": str(width), "height": str(height)}
    root = ET.Element(
        "svg", {"xmlns": "http://www.w3.org/2000/svg", "viewBox": f"0 0 {width} {height}", **box, "role": "img"}
    )
    ET.SubElement(root, "title").text = command
    ET.SubElement(root, "rect", {**box, "rx": "8", "fill": PAPER})
    font = {"font-family": "DejaVu Sans Mono, Menlo, Consolas, monospace", "font-size": "14", "xml:space": "preserve"}
    for number, line in enumerate([f"\x1b[2m$ {command}\x1b[0m", "", *lines], 1):
        text = ET.SubElement(
            root, "text", {"x": str(MARGIN), "y": str(MARGIN + number * LINE - 6), "fill": INK, **font}
        )
        plain, *styled = re.split(r"\x1b\[([\d;]*)m", line)
        for codes, words in zip(["", *styled[::2]], [plain, *styled[1::2]], strict=True):
            styles = {Style(code) for code in codes.split(";") if code not in ("", "0")}
            look = {"font-weight": "bold"} if Style.BOLD in styles else {}
            for style in styles & COLOURS.keys():
                look["fill"] = COLOURS[style]
            if words:
                ET.SubElement(text, "tspan", look).text = words
    document: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return document + b"\n"


def pictures() -> dict[str, bytes]:
    """Return the pictures by the names of their files; the host's zone is UTC."""
    snapshot = example()
    assert snapshot.timelapse is not None
    screen = Screen(io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), colour=True, columns=COLUMNS)
    lines = [screen.showable(line) for line in status_lines(snapshot, screen, 6)]
    return {
        "status.svg": draw_terminal("timelapsectl status", lines),
        "timeline.svg": draw_svg(build_chart(snapshot, snapshot.timelapse)),
    }


if __name__ == "__main__":
    os.environ["TZ"] = "UTC"
    time.tzset()
    for name, picture in pictures().items():
        (DIRECTORY / name).write_bytes(picture)
