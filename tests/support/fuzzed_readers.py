"""Everything that reads what others wrote, and what it must hold to whatever stands there.

Each `Reader` has real input to begin with, knows how that is changed, and how it is read: with an answer or with a
sentence, never a traceback, a hang or a lost original. `fuzz/test_fuzz_readers` feeds them in every test run,
`exploring` for as long as one likes.
"""

from __future__ import annotations

import functools
import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Final

from fuzzing import Patience, vary_json, vary_lines, vary_sheet, vary_talk
from msgspec.structs import replace
from tree import CONFIG, STORES, TESTS
from wild_board import BYTE_TIME, Sheet, VirtualLine, wild_arm, wild_line

from plantimager.timelapse.channel.inbox import Request
from plantimager.timelapse.channel.live import live_path, read_live
from plantimager.timelapse.domain.states import Reason
from plantimager.timelapse.domain.wording import (
    describe_next_slot,
    describe_slots,
    describe_timelapse,
    format_status_line,
)
from plantimager.timelapse.drivers import programs
from plantimager.timelapse.drivers.base import EventMonitor
from plantimager.timelapse.drivers.command import _Talk
from plantimager.timelapse.drivers.gantry import motion, protocol
from plantimager.timelapse.drivers.gantry.arm import HOLD_TIME, ArmOptions
from plantimager.timelapse.drivers.gantry.port import LONGEST_LINE, GantryFault
from plantimager.timelapse.drivers.gantry.protocol import Grbl, Stopped, read_status
from plantimager.timelapse.settings.config import read_config
from plantimager.timelapse.settings.definition import read_definition
from plantimager.timelapse.store import loading
from plantimager.timelapse.support.errors import ConfigurationError, StoreError, TimelapsedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from random import Random

NOW: Final = datetime(2026, 7, 1, 12, tzinfo=UTC)
ZONE: Final = timezone(timedelta(hours=-11))


@dataclass(frozen=True)
class Reader:
    """One of those that read."""

    name: str
    seeds: tuple[bytes, ...]
    vary: Callable[[bytes, Random], bytes]
    read: Callable[[bytes, Path], None]
    """Read an input, in a directory that all inputs share; raise where it doesn't do what it must."""
    in_ci: int
    """Inputs, besides those of the corpus, in every test run: what takes a few seconds at most."""

    @property
    def corpus_file(self) -> Path:
        """Return where inputs are kept that once were wrong, or that reach what others don't."""
        return TESTS / "integration" / "fuzz" / "corpus" / f"{self.name}.json"

    def corpus(self) -> list[bytes]:
        """Return those inputs; each character stands for a byte."""
        return [text.encode("latin-1") for text in json.loads(self.corpus_file.read_text())]


def hold_to_a_sentence(problem: Exception) -> None:
    """Check that a person can be shown it, in a line."""
    assert str(problem).isprintable()
    assert len(str(problem)) < 2000


def hold_to_sentences(problem: Exception) -> None:
    """Check that a person can be shown it, in lines."""
    assert str(problem).replace("\n", "").isprintable()


# --- files ---------------------------------------------------------------------------------------------


def read_and_resume(content: bytes, directory: Path) -> None:
    """Do with a store what a start does: read, reconcile, settle, word, write, and read that again."""
    path = directory / "store.json"
    path.write_bytes(content)
    with Patience():
        try:
            stored = loading.load_timelapse(path, ZONE).stored
        except StoreError as problem:
            hold_to_a_sentence(problem)
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
        text = stored.evolved(after, stored.logbook.came_back(NOW, "boot")).encode()
    path.write_bytes(text)
    again = loading.load_timelapse(path, ZONE).stored
    assert again.timelapse.next_idx == after.next_idx
    assert again.timelapse.state is after.state
    assert {slot: r.status for slot, r in again.timelapse.records.items()} == {
        slot: r.status for slot, r in after.records.items()
    }
    assert again.encode() == text, "what we wrote is read and written without a change"


def take_definition(content: bytes, directory: Path) -> None:
    """Read a definition, and plan its schedule."""
    path = directory / "timelapse.toml"
    path.write_bytes(content)
    with Patience():
        try:
            definition = read_definition(path, ZONE)
            schedule = definition.schedule(NOW, ZONE)
        except ConfigurationError as problem:
            hold_to_sentences(problem)
            return
        assert list(schedule.slots) == sorted(set(schedule.slots))
    json.dumps(definition.configuration)


def take_configuration(content: bytes, directory: Path) -> None:
    """Read a configuration."""
    path = directory / "timelapsed.toml"
    path.write_bytes(content)
    with Patience():
        try:
            read_config(path)
        except ConfigurationError as problem:
            hold_to_sentences(problem)


def take_request(content: bytes, directory: Path) -> None:
    """Read what ought to be a request, and what ought to be the daemon's status."""
    path = directory / "cancel-1.json"
    path.write_bytes(content)
    live_path(path).write_bytes(content)
    with Patience():
        assert isinstance(read_live(path), dict)
        try:
            assert isinstance(Request("cancel", path).body(), dict)
        except TimelapsedError as refusal:
            hold_to_a_sentence(refusal)


# --- programs and boards ---------------------------------------------------------------------------------


def hear_program(content: bytes, _: Path) -> None:
    """Listen to a program, whose output comes in pieces of any size."""
    monitor = EventMonitor()
    talk, lines = _Talk(monitor), programs._Lines()
    with Patience():
        for start in range(0, len(content), 97):
            talk.listen(lines.feed(content[start : start + 97]))
        talk.listen(lines.rest())
    done, total, note = monitor.steps
    assert 0 <= done <= total
    assert note.isprintable()
    assert len(note) <= 200
    assert talk.result.pictures is None or talk.result.pictures >= 0


ANSWER_TIMEOUT: Final = ArmOptions().answer_timeout.total_seconds()
"""Seconds."""


def hear_lines(content: bytes, _: Path) -> None:
    """Listen to what a board says line by line, fast and byte for byte, and read each line as a status."""
    longest = protocol.LISTEN + 2 * LONGEST_LINE * BYTE_TIME
    for said_first, slow in ((content, False), (content[: LONGEST_LINE // 4], True)):
        board = VirtualLine(Sheet(fault="deaf"), slow=slow)
        with wild_line(board, said_first) as line, Patience():
            said: str | None = ""
            while said is not None:
                hold_to_a_status(said)
                begun = board.now
                said = line.receive(protocol.LISTEN)
                assert board.now - begun <= longest, "a byte now and then holds the driver up"


def hold_to_a_status(said: str) -> None:
    """Check that a line is bounded and harmless, and names places that are somewhere if it names any."""
    assert said.isprintable()
    assert len(said) <= 2 * LONGEST_LINE
    status = read_status(said)
    if status is not None:
        for place in (status.machine, status.work, status.offset):
            assert place is None or all(map(math.isfinite, place))


def hear_settings(content: bytes, _: Path) -> None:
    """Take it for the board's settings, and reckon with them where they aren't refused."""
    with wild_line(VirtualLine(Sheet(fault="deaf")), content) as line, Patience():
        try:
            settings = Grbl(line, ArmOptions().answer_timeout).settings()
        except GantryFault as fault:
            hold_to_a_sentence(fault)
            return
        if settings.wrong({}, homing=True):
            return
        assert len(settings.inverted) == 3
        reckoned = [settings.tolerance(axis) for axis in range(3)]
        reckoned += [settings.homing_deadline(), settings.move_deadline((0, 0, 0), (740, 740, 360), None)]
        assert all(0 < number < WEEK for number in reckoned)
        clash = settings.soft_limit_clash((-20, -20, -332), (1, 1, 1), ArmOptions().limits)
        assert clash is None or clash.isprintable()


WEEK: Final = 7 * 86_400
"""Seconds."""

GOALS: Final = ((10.0, 20.0, 30.0), (300.0, 20.0, 350.0), (0.0, 0.0, 0.0))

LONGEST_READY: Final = (
    protocol.BOOT_TRIES * (3 * ANSWER_TIMEOUT + protocol.QUIET)
    + motion.LONGEST_HOMING
    + motion.MARGIN
    + 10 * ANSWER_TIMEOUT
)
"""Seconds that all the deadlines of `Arm.ready` make together."""


def converse(content: bytes, _: Path) -> None:
    """Drive an arm whose board misbehaves as a sheet says: only the driver's own errors, and each in its time."""
    sheet = Sheet.read(content)
    with wild_arm(sheet) as (arm, line), Patience(lambda: line.now):

        def do(step: Callable[[], object], longest: float) -> None:
            begun = line.now
            try:
                step()
                assert arm.place is not None
            except (GantryFault, Stopped) as fault:
                hold_to_a_sentence(fault)
                assert arm.place is None, "the arm believes to know where it stands"
            took = line.now - begun
            assert took <= longest, f"took {took:.1f} s of {longest:.1f} s"

        def go(goal: motion.Place) -> None:
            start = arm.place
            longest = arm._settings.move_deadline(start, goal, None) if start is not None else 0.0
            do(lambda: arm.go(goal, line.wait), longest + HOLD_TIME.total_seconds() + 4 * ANSWER_TIMEOUT)
            assert arm.place is None or arm._is_at(goal, arm.place), "it isn't where it says it is"

        do(lambda: arm.ready(line.wait), LONGEST_READY)
        for goal in GOALS:
            go(goal)
            do(lambda: arm.ready(line.wait), LONGEST_READY)
        do(lambda: arm.to_zero(line.wait), math.inf)  # as long as it is far
        if sheet.homing:
            do(lambda: arm.home(line.wait), LONGEST_READY)


@functools.cache
def good_answers() -> tuple[str, ...]:
    """Return what the board says in `converse` where nothing goes wrong."""
    with wild_arm(Sheet()) as (arm, line):
        arm.ready(line.wait)
        for goal in GOALS:
            arm.go(goal, line.wait)
            arm.ready(line.wait)
        arm.home(line.wait)
        return tuple(line.answers)


# --- what they begin with ------------------------------------------------------------------------------------

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

SAID: Final = b"""homing
{"progress": [1, 36], "note": "picamera"}
{"progress": [2, 36]}
{"pictures": 72, "note": "dark"}
"""


def _example(name: str) -> bytes:
    """Return an example of ours with all that is commented out in it."""
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
            "request", (b'{"who": "anna", "why": "they died", "timelapse_id": "tl"}',), vary_json, take_request, 500
        ),
        Reader("program", (SAID, SAID * 20), _vary_program, hear_program, 1000),
        Reader("lines", ("".join(good_answers()).encode(),), vary_talk, hear_lines, 1000),
        Reader("settings", (good_answers()[5].encode() + b"ok\r\n",), vary_talk, hear_settings, 2000),
        Reader(
            "board",
            (b"", b"homing no", b"fault alarm 1", b"fault garbage\nstop 9"),
            lambda content, dice: vary_sheet(content, dice, good_answers()),
            converse,
            600,
        ),
    )
}
