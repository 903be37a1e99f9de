"""Whatever stands in a file: an error in a sentence, or a timelapse; no traceback, no hang, no lost original."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import plantimager.controller
from fuzzing import MUCH, Patience, explore, stores, toml_files
from plantimager.controller.scanner.drivers import programs
from plantimager.controller.scanner.drivers.base import EventMonitor
from plantimager.controller.scanner.drivers.command import _Talk
from plantimager.controller.scanner.errors import ConfigurationError, StoreError, TimelapsedError
from plantimager.controller.scanner.states import Reason
from plantimager.controller.scanner.stored_timelapse import read_stored
from plantimager.controller.scanner.timelapse_store import load
from plantimager.controller.timelapsed.config import read_config
from plantimager.controller.timelapsed.definition import read_definition
from plantimager.controller.timelapsed.inbox import Request
from plantimager.controller.timelapsed.live import live_beside, read_live
from plantimager.controller.timelapsed.words import found_words, next_words, span_words, status_line
from soaking import SOAK

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
ZONE = timezone(timedelta(hours=-11))
EXAMPLES = Path(__file__).parents[3] / "config"
SOURCES = Path(next(iter(plantimager.controller.__path__)))


@pytest.fixture(scope="module")
def directory(tmp_path_factory) -> Path:
    """Return a directory that all inputs share; each overwrites the last."""
    return tmp_path_factory.mktemp("fuzz")


def hold_to_a_sentence(problem: Exception) -> None:
    """Check that a person can be shown it, in a line."""
    assert str(problem).isprintable()
    assert len(str(problem)) < 2000


def hold_to_sentences(problem: Exception) -> None:
    """Check that a person can be shown it, in lines."""
    assert str(problem).replace("\n", "").isprintable()


def read_and_resume(content: bytes, directory: Path) -> None:
    """Do with a store what a start does: read, straighten, settle, word, write, and read that again."""
    path = directory / "store.json"
    path.write_bytes(content)
    with Patience():
        try:
            loaded = load(path)
        except StoreError as problem:
            hold_to_a_sentence(problem)
            return
        finally:
            assert path.read_bytes() == content
        stored = read_stored(loaded.store, ZONE)
        timelapse = stored.timelapse
        after = timelapse.pass_late(NOW, Reason.MISSED, "")
        for value in (timelapse, after):
            found_words(value)
            next_words(value, NOW)
            status_line(value, NOW, progress=None, fresh=True)
            if value.records:
                span_words(value, sorted(slot for slot in value.records if slot < value.n_slots) or [0], NOW)
        text = stored.evolved(after, stored.logbook.came_back(NOW, "boot")).encode()
    path.write_bytes(text)
    again = read_stored(load(path).store, ZONE)
    assert again.timelapse.next_idx == after.next_idx
    assert again.timelapse.state is after.state
    assert {slot: r.status for slot, r in again.timelapse.records.items()} == {
        slot: r.status for slot, r in after.records.items()
    }
    assert again.encode() == text, "what we wrote is read and written without a change"


@MUCH
@given(content=stores())
@example(content=b"")
@example(content=b"[" * 100_000)
@example(content=b'{"timelapse_id": "a", "mode": "one_shot", "state": "running", "schedule_times": []}')
def test_store_is_read_or_refused_with_a_sentence(directory: Path, content: bytes) -> None:
    """And what is read survives being written."""
    read_and_resume(content, directory)


DEFINITION = b"""
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


def definitions() -> st.SearchStrategy[bytes]:
    return toml_files((DEFINITION, (EXAMPLES / "timelapse.toml").read_bytes().replace(b"\n#", b"\n")))


SAID = b"""homing
{"progress": [1, 36], "note": "picamera"}
{"progress": [2, 36]}
{"pictures": 72, "note": "dark"}
"""


def configurations() -> st.SearchStrategy[bytes]:
    return toml_files(((EXAMPLES / "timelapsed.toml").read_bytes().replace(b"\n#", b"\n"),))


def outputs() -> st.SearchStrategy[bytes]:
    return toml_files((SAID, SAID * 20))


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
    live_beside(path).write_bytes(content)
    with Patience():
        assert isinstance(read_live(path), dict)
        try:
            assert isinstance(Request("cancel", path).body(), dict)
        except TimelapsedError as refusal:
            hold_to_a_sentence(refusal)


def hear_out(content: bytes, _: Path) -> None:
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


@MUCH
@given(content=definitions())
def test_definition_is_taken_or_refused_with_every_fault(directory: Path, content: bytes) -> None:
    """Each fault a line, as a person can read it."""
    take_definition(content, directory)


@MUCH
@given(content=configurations())
def test_configuration_is_taken_or_refused_with_every_fault(directory: Path, content: bytes) -> None:
    """Likewise."""
    take_configuration(content, directory)


@MUCH
@given(content=stores())
def test_request_or_status_file_may_hold_anything(directory: Path, content: bytes) -> None:
    """A request is refused with a sentence, the status of the daemon is as good as absent."""
    take_request(content, directory)


@MUCH
@given(content=outputs())
def test_programs_output_is_understood_or_passed_over(directory: Path, content: bytes) -> None:
    """What the monitor and the result hold is in bounds and printable."""
    hear_out(content, directory)


READERS = [
    (stores, read_and_resume),
    (definitions, take_definition),
    (configurations, take_configuration),
    (stores, take_request),
    (outputs, hear_out),
]

if SOAK:  # and not a skip: `tests/run` counts a skipped test as a failure

    @pytest.mark.parametrize(("inputs", "reader"), READERS)
    def test_whatever_reaches_more_of_the_code(directory: Path, inputs, reader) -> None:
        """Coverage-guided: inputs that came to new lines are varied further."""

        @MUCH
        @given(content=inputs())
        def read(content: bytes) -> None:
            reader(content, directory)

        assert explore(read, SOURCES, SOAK)
