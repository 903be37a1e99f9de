"""The exchange with a scanning program: its environment and stdin, and the lines of its stdout."""

from __future__ import annotations

import json
from datetime import UTC
from typing import TYPE_CHECKING, Final

from plantimager.timelapse.scan.request import ScanResult
from plantimager.timelapse.support import json_text
from plantimager.timelapse.support.text import one_line

if TYPE_CHECKING:
    from pathlib import Path

    from plantimager.timelapse.drivers.base import ScanMonitor
    from plantimager.timelapse.scan.request import ScanRequest

SCAN_VARIABLES: Final = {
    "TIMELAPSE_ID": "timelapse_id",
    "SCAN_ID": "scan_id",
    "SLOT": "index",
    "ATTEMPT": "attempt",
    "SCHEDULED_AT": "scheduled_at",
    "DATASET_DIR": "dataset_dir",
}
"""Variables of the environment that describe the scan, and their names on stdin; only the driver sets them."""

MAX_NOTE: Final = 200
"""Characters of a note that the journal and the status line repeat."""

MAX_COUNT: Final = 1_000_000_000
"""Of steps or pictures; a report with a larger number is ignored."""


def describe_scan(request: ScanRequest, directory: Path) -> tuple[dict[str, str], bytes]:
    """Return environment and stdin of a program whose pictures go into ``directory``.

    On stdin it is a JSON object, which also has the scan's configuration.
    """
    values = {
        "timelapse_id": request.timelapse_id,
        "scan_id": request.scan_id,
        "index": request.index,
        "attempt": request.attempt,
        "scheduled_at": request.scheduled_at.astimezone(UTC).isoformat(),
        "dataset_dir": str(directory),
    }
    environment = {variable: str(values[name]) for variable, name in SCAN_VARIABLES.items()}
    return environment, json_text.dumps({**values, "configuration": json_text.jsonable(request.configuration)})


class ProgramReport:
    """The report of one scanning program, read from its stdout and passed on to a monitor."""

    def __init__(self, monitor: ScanMonitor) -> None:
        self._monitor = monitor
        self._done, self._total = 0, 0
        self._pictures: int | None = None
        self._note = ""

    @property
    def result(self) -> ScanResult:
        """The result of the scan, as far as it is reported."""
        return ScanResult(pictures=self._pictures, note=self._note)

    def read(self, lines: list[bytes]) -> None:
        """Read lines of output, and call the monitor once."""
        remark = ""
        for line in lines:
            if not (line.startswith(b"{") and self._read_json(line)):
                remark = _as_note(line) or remark
        if lines:
            self._monitor.progress(self._done, self._total, remark or self._note)

    def put_on_disk(self, words: str) -> None:
        """Report that the files of the program are being put on disk."""
        self._monitor.progress(self._done, self._total, words)

    def complete(self) -> None:
        """Report that all steps are done."""
        self._monitor.progress(self._total, self._total, self._note)

    def _read_json(self, line: bytes) -> bool:
        """Read a line of JSON; return whether it is an object."""
        try:
            values = json.loads(line)
        except (ValueError, RecursionError):
            return False
        if not isinstance(values, dict):
            return False
        match values.get("progress"):
            case [done, total] if _is_count(done) and _is_count(total) and done <= total:
                # Two cameras may report in turn; progress never goes back.
                self._total = max(total, self._total)
                self._done = max(done, self._done)
        if _is_count(values.get("pictures")):
            self._pictures = values["pictures"]
        if isinstance(values.get("note"), str):
            self._note = _as_note(values["note"].encode(errors="replace"))
        return True


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_COUNT


def _as_note(output: bytes) -> str:
    note = one_line(output[: 4 * MAX_NOTE].decode(errors="replace"))
    return note if len(note) <= MAX_NOTE else f"{note[: MAX_NOTE - 1]}…"
