"""The readers of foreign input, and the checks that each must pass with any input.

Each `Reader` has real input, a way to change it, and a way to read it. Reading gives a result or an error in a
sentence, and never a traceback, a hang or a lost original. `fuzz/test_fuzz_readers` runs them in every test run,
`exploring` for a given time.
"""

from __future__ import annotations

import functools
import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Final

from fuzzing import TimeLimit, vary_answers, vary_json, vary_lines, vary_sheet
from msgspec.structs import replace
from tree import CONFIG, STORES, TESTS
from wild_board import BYTE_TIME, Sheet, VirtualLine, wild_arm, wild_line

from plantimager.timelapse.channel.control_request import read_answer, read_request
from plantimager.timelapse.channel.live import LiveStatus, live_path, read_live
from plantimager.timelapse.channel.message import MessageReader
from plantimager.timelapse.domain.absence import Absence
from plantimager.timelapse.domain.states import Reason
from plantimager.timelapse.domain.wording import (
    describe_next_slot,
    describe_slots,
    describe_timelapse,
    format_status_line,
)
from plantimager.timelapse.drivers.base import EventMonitor
from plantimager.timelapse.drivers.command.exchange import ProgramReport
from plantimager.timelapse.drivers.gantry import board_settings
from plantimager.timelapse.drivers.gantry.arm_options import ArmOptions
from plantimager.timelapse.drivers.gantry.board import MAX_ASKS, RECEIVE_TIMEOUT, Board
from plantimager.timelapse.drivers.gantry.gantry_faults import GantryFault, Stopped
from plantimager.timelapse.drivers.gantry.move import MAX_HOLD_TIME
from plantimager.timelapse.drivers.gantry.port import MAX_LINE_BYTES
from plantimager.timelapse.drivers.gantry.replies import read_status
from plantimager.timelapse.drivers.programs.run import LineSplitter
from plantimager.timelapse.settings.config import read_config
from plantimager.timelapse.settings.definition import read_definition
from plantimager.timelapse.store import loading
from plantimager.timelapse.support.errors import ConfigurationError, StoreError, TimelapsedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from random import Random

    from plantimager.timelapse.drivers.gantry.motion import Position

NOW: Final = datetime(2026, 7, 1, 12, tzinfo=UTC)
ZONE: Final = timezone(timedelta(hours=-11))


@dataclass(frozen=True)
class Reader:
    """One reader of foreign input."""

    name: str
    seeds: tuple[bytes, ...]
    vary: Callable[[bytes, Random], bytes]
    read: Callable[[bytes, Path], None]
    """Read an input in a directory that all inputs share; raise where a check fails."""
    in_ci: int
    """The number of inputs in every test run besides the corpus: so many that they take a few seconds at most."""

    @property
    def corpus_file(self) -> Path:
        """Return the file of the inputs that once failed, or that reach code which no other input reaches."""
        return TESTS / "integration" / "fuzz" / "corpus" / f"{self.name}.json"

    def corpus(self) -> list[bytes]:
        """Return the inputs of that file, in which each character stands for a byte."""
        return [text.encode("latin-1") for text in json.loads(self.corpus_file.read_text())]


def check_line(problem: Exception) -> None:
    """Check that an error can be shown to a person on one line."""
    assert str(problem).isprintable()
    assert len(str(problem)) < 2000


def check_lines(problem: Exception) -> None:
    """Check that an error can be shown to a person on several lines."""
    assert str(problem).replace("\n", "").isprintable()


# --- files ---------------------------------------------------------------------------------------------


def read_and_resume(content: bytes, directory: Path) -> None:
    """Do with a store what a start does: read it, reconcile, skip late slots, describe, write, and read it again."""
    path = directory / "store.json"
    path.write_bytes(content)
    with TimeLimit():
        try:
            stored = loading.load_timelapse(path, ZONE).stored
        except StoreError as problem:
            check_line(problem)
            assert loading._decode_todays(content) is None, "nothing that is faulty is taken for today's spelling"
            return
        finally:
            assert path.read_bytes() == content
        older = loading._as_timelapse(loading._decode_older(content, path, ZONE))
        assert stored == replace(older, exact=stored.exact), "what is in today's spelling needs no rewriting"
        timelapse = stored.timelapse
        after = timelapse.skip_late_slots(NOW, Reason.MISSED, "")
        for value in (timelapse, after):
            describe_timelapse(value)
            describe_next_slot(value, NOW)
            format_status_line(value, NOW, progress=None, fresh=True)
            if value.records:
                describe_slots(value, sorted(slot for slot in value.records if slot < value.n_slots) or [0], NOW)
        text = stored.evolved(after, stored.logbook.came_back("boot", Absence(((NOW, NOW),), ((NOW, NOW),)))).encode()
    path.write_bytes(text)
    again = loading.load_timelapse(path, ZONE).stored
    assert again.timelapse.next_idx == after.next_idx
    assert again.timelapse.state is after.state
    assert {slot: r.status for slot, r in again.timelapse.records.items()} == {
        slot: r.status for slot, r in after.records.items()
    }
    assert again.encode() == text, "a second round trip changes the text"


def take_definition(content: bytes, directory: Path) -> None:
    """Read a definition, and plan its schedule."""
    path = directory / "timelapse.toml"
    path.write_bytes(content)
    with TimeLimit():
        try:
            definition = read_definition(path, ZONE)
            schedule = definition.schedule(NOW, ZONE)
        except ConfigurationError as problem:
            check_lines(problem)
            return
        assert list(schedule.slots) == sorted(set(schedule.slots))
    json.dumps(definition.configuration)


def take_configuration(content: bytes, directory: Path) -> None:
    """Read a configuration."""
    path = directory / "timelapsed.toml"
    path.write_bytes(content)
    with TimeLimit():
        try:
            read_config(path)
        except ConfigurationError as problem:
            check_lines(problem)


def take_request(content: bytes, directory: Path) -> None:
    """Read an input as a request, as an answer, and as the daemon's live status."""
    path = directory / "store.json"
    live_path(path).write_bytes(content)
    with TimeLimit():
        assert isinstance(read_live(path), LiveStatus)
        for read in (lambda message: read_request(message, 1000, "ada", print), read_answer):
            try:
                message = MessageReader(max_files_bytes=1000).feed(content + b"\n")
                assert message is None or read(message)
            except TimelapsedError as refusal:
                check_line(refusal)


# --- programs and boards ---------------------------------------------------------------------------------


def read_program_output(content: bytes, _: Path) -> None:
    """Read the output of a program, which comes in pieces."""
    monitor = EventMonitor()
    report, lines = ProgramReport(monitor), LineSplitter()
    with TimeLimit():
        for start in range(0, len(content), 97):
            report.read(lines.feed(content[start : start + 97]))
        report.read(lines.rest())
    done, total, note = monitor.steps
    assert 0 <= done <= total
    assert note.isprintable()
    assert len(note) <= 200
    assert report.result.pictures is None or report.result.pictures >= 0


ANSWER_TIMEOUT: Final = ArmOptions().answer_timeout.total_seconds()
"""Seconds."""


def read_board_lines(content: bytes, _: Path) -> None:
    """Read the lines of a board, sent at once and byte by byte, and read each line as a status."""
    longest = RECEIVE_TIMEOUT + 2 * MAX_LINE_BYTES * BYTE_TIME
    for said_first, slow in ((content, False), (content[: MAX_LINE_BYTES // 4], True)):
        board = VirtualLine(Sheet(fault="deaf"), slow=slow)
        with wild_line(board, said_first) as line, TimeLimit():
            said: str | None = ""
            while said is not None:
                check_status(said)
                begun = board.now
                said = line.receive(RECEIVE_TIMEOUT)
                assert board.now - begun <= longest, "a slow board holds the driver up"


def check_status(said: str) -> None:
    """Check that a line is bounded and printable, and that the positions in it are finite."""
    assert said.isprintable()
    assert len(said) <= 2 * MAX_LINE_BYTES
    status = read_status(said)
    if status is not None:
        for place in (status.machine, status.work, status.offset):
            assert place is None or all(map(math.isfinite, place))


def read_board_settings(content: bytes, _: Path) -> None:
    """Read an input as the settings of a board, and compute with them where they aren't refused."""
    with wild_line(VirtualLine(Sheet(fault="deaf")), content) as line, TimeLimit():
        try:
            settings = Board(line, ArmOptions().answer_timeout).settings()
        except GantryFault as fault:
            check_line(fault)
            return
        if settings.problems(homing=True):
            return
        assert len(settings.inverted) == 3
        results = [settings.tolerance(axis) for axis in range(3)]
        results += [settings.homing_deadline(), settings.move_deadline((0, 0, 0), (740, 740, 360), None)]
        assert all(0 < number < WEEK for number in results)
        clash = settings.soft_limit_conflict((-20, -20, -332), (1, 1, 1), ArmOptions().limits)
        assert clash is None or clash.isprintable()


WEEK: Final = 7 * 86_400
"""Seconds."""

GOALS: Final = ((10.0, 20.0, 30.0), (300.0, 20.0, 350.0), (0.0, 0.0, 0.0))

MAX_READY: Final = 2 * (
    ArmOptions().boot_timeout.total_seconds()
    + board_settings.MAX_HOMING_TIME
    + board_settings.DEADLINE_MARGIN
    + 60 * ANSWER_TIMEOUT
)
"""Seconds that all the deadlines of `Arm.make_ready` make together."""


def drive_arm(content: bytes, _: Path) -> None:
    """Drive an arm whose board has the mishaps of a sheet: only the driver's own errors are raised, each in time."""
    sheet = Sheet.read(content)
    with wild_arm(sheet) as (arm, line), TimeLimit(lambda: line.now):

        def do(step: Callable[[], object], limit: float) -> None:
            begun = line.now
            try:
                step()
                assert arm.position is not None
            except (GantryFault, Stopped) as fault:
                check_line(fault)
                assert arm.position is None, "the arm has a position after a fault"
            took = line.now - begun
            assert took <= limit, f"took {took:.1f} s of {limit:.1f} s"

        def go(goal: Position) -> None:
            start = arm.position
            limit = arm._settings.move_deadline(start, goal, None) if start is not None else 0.0
            once = limit + MAX_HOLD_TIME.total_seconds() + 4 * MAX_ASKS * ANSWER_TIMEOUT
            do(lambda: arm.go(goal, line.wait), 2 * once + MAX_READY)
            assert arm.position is None or arm._tracker.matches(goal, arm.position), "the arm is elsewhere"

        do(lambda: arm.make_ready(line.wait), MAX_READY)
        for goal in GOALS:
            go(goal)
            do(lambda: arm.make_ready(line.wait), MAX_READY)
        do(lambda: arm.go_to_zero(line.wait), math.inf)  # the way back has no deadline here
        if sheet.homing:
            do(lambda: arm.home(line.wait), MAX_READY)


@functools.cache
def good_answers() -> tuple[str, ...]:
    """Return the answers of a board without mishaps in `drive_arm`."""
    with wild_arm(Sheet()) as (arm, line):
        arm.make_ready(line.wait)
        for goal in GOALS:
            arm.go(goal, line.wait)
            arm.make_ready(line.wait)
        arm.home(line.wait)
        return tuple(line.answers)


# --- the inputs to start from ------------------------------------------------------------------------------------

SMALL_STORES: Final = tuple(path.read_bytes() for path in sorted(STORES.glob("*.json")) if path.stat().st_size < 50_000)

DEFINITION: Final = b"""
[timelapse]
name = "col0"
mode = "fixed_times"
dates = ["2026-06-22T08:00:00", "2026-10-25T02:30:00", 2026-06-22T10:00:00Z]
warmup_period = 30
standby_threshold_sec = 600
grace_period = "2m"
on_scan_failed = "skip_scan"
scan_retries = 2
[ScanPath]
class_name = "Cylinder"
[ScanPath.kwargs]
center_x = 375
center_y = 375
z_range = [0, 100]
tilt = [0, 10]
radius = 350
n_points = 36
n_circles = 2
[Metadata.object]
sown = 2026-05-18
[picamera]
res_x = 2000
encoding = "jpeg"
[picamera.offset]
z = -100
"""

PROGRAM_OUTPUT: Final = b"""homing
{"progress": [1, 36], "note": "picamera"}
{"progress": [2, 36]}
{"pictures": 72, "note": "dark"}
"""


def _example(name: str) -> bytes:
    """Return an example of a configuration file, with its commented lines in force."""
    return (CONFIG / name).read_bytes().replace(b"\n#", b"\n")


def _vary_program(content: bytes, dice: Random) -> bytes:
    """Change the output of a program: a line of JSON in it, its lines, or some bytes."""
    lines = content.split(b"\n")
    at = dice.randrange(len(lines))
    if lines[at].startswith(b"{") and dice.random() < 0.6:
        lines[at] = vary_json(lines[at], dice).replace(b"\n", b" ")
        return b"\n".join(lines)
    return vary_lines(content, dice)


READERS: Final = {
    reader.name: reader
    for reader in (
        Reader("store", (*SMALL_STORES, b"", b"[" * 100_000), vary_json, read_and_resume, 2000),
        Reader("definition", (DEFINITION, _example("timelapse.toml")), vary_lines, take_definition, 2000),
        Reader("configuration", (_example("timelapsed.toml"),), vary_lines, take_configuration, 1000),
        Reader(
            "request",
            (b'{"version": 1, "command": "cancel", "why": "they died", "timelapse_id": "tl", "files": []}',),
            vary_json,
            take_request,
            500,
        ),
        Reader("program", (PROGRAM_OUTPUT, PROGRAM_OUTPUT * 20), _vary_program, read_program_output, 1000),
        Reader("lines", ("".join(good_answers()).encode(),), vary_answers, read_board_lines, 1000),
        Reader("settings", (good_answers()[5].encode() + b"ok\r\n",), vary_answers, read_board_settings, 2000),
        Reader(
            "board",
            (b"", b"homing no", b"fault alarm 1", b"fault garbage\nstop 9"),
            lambda content, dice: vary_sheet(content, dice, good_answers()),
            drive_arm,
            600,
        ),
    )
}
