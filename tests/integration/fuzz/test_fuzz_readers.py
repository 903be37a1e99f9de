"""Whatever stands in a file or comes down a line: an answer or a sentence; no traceback, no hang, no lost original.

What each reader is held to stands in `fuzzed_readers`.
"""

from __future__ import annotations

import contextlib
import threading
import tracemalloc
from datetime import timedelta
from random import Random

import pytest
from exploring import explore
from fuzzed_readers import READERS, Reader
from fuzzing import LARGEST
from grbl_stand_in import Board, StandIn
from soaking import SOAK
from wild_board import Sheet, VirtualLine, wild_line

from plantimager.timelapse.drivers.gantry.arm import Arm, never_stop
from plantimager.timelapse.drivers.gantry.options import ArmOptions
from plantimager.timelapse.drivers.gantry.protocol import Grbl, Silent

CHANGES = 6
"""The most that are made to an input."""

LITTLE = 1 << 18
"""Bytes that a line may take in memory, whatever comes down it."""
MINUTE = timedelta(minutes=1)


@pytest.fixture(params=READERS.values(), ids=READERS)
def reader(request) -> Reader:
    """Return each of them in turn."""
    return request.param


def read(reader: Reader, content: bytes, directory) -> None:
    """Have an input read; what was read is told where that goes wrong."""
    try:
        reader.read(content, directory)
    except Exception as problem:
        problem.add_note(f"{reader.name} reads {content!r}")
        raise


def test_inputs_that_once_were_wrong_or_reach_far_are_read_or_refused(reader: Reader, tmp_path) -> None:
    """The corpus: what coverage-guided runs found, each input for something that no other does."""
    for content in (*reader.seeds, *reader.corpus()):
        read(reader, content, tmp_path)


def test_inputs_with_anything_wrong_with_them_are_read_or_refused(reader: Reader, tmp_path) -> None:
    """Real input with changes of the kind that it suffers; the same inputs every time."""
    origins = (*reader.seeds, *reader.corpus())
    for number in range(reader.in_ci):
        dice = Random(number)
        content = dice.choice(origins)
        for _ in range(dice.randint(1, CHANGES)):
            content = reader.vary(content, dice)[:LARGEST]
        read(reader, content, tmp_path)


@pytest.mark.parametrize(
    "said", [b"no end in sight, ", b"[MSG:here I am]\\r\\n", b"<Run|MPos:1,2\\r\\n", b"$1=1\\r\\n"]
)
def test_board_that_never_stops_talking_takes_little_memory(said: bytes) -> None:
    """With or without an end to its lines: what it says is not kept while its answer is waited for."""
    board = VirtualLine(Sheet.read(b"0 !flood " + said * 100))
    with wild_line(board) as line:
        tracemalloc.start()
        try:
            with pytest.raises(Silent):
                Grbl(line, MINUTE).command("G90")
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert MINUTE.total_seconds() <= board.now < MINUTE.total_seconds() + 1
    assert peak < LITTLE, "megabytes were heard"


def test_board_that_floods_a_real_line_is_given_up() -> None:
    """On a pseudo-terminal, as fast as that takes it: the driver's own deadlines end it, and its memory is bounded."""
    with StandIn(Board(fault="deaf")) as stand_in:
        threading.Thread(target=flood, args=(stand_in,), daemon=True).start()
        arm = Arm(ArmOptions(port=stand_in.port, answer_timeout=timedelta(seconds=0.1)))
        tracemalloc.start()
        try:
            with pytest.raises(Silent):
                arm.ready(never_stop)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
            arm.close()
    assert peak < LITTLE


def flood(stand_in: StandIn) -> None:
    """Say the same for ever, until nobody is there to hear it."""
    with contextlib.suppress(OSError):
        while True:
            stand_in.say("x" * 500)


if SOAK:  # and not a skip: `tests/run` counts a skipped test as a failure

    def test_whatever_reaches_more_of_the_code(reader: Reader, tmp_path) -> None:
        """Coverage-guided: inputs that came to something new are varied further; the readers share the time."""
        explorer = explore(reader, tmp_path, SOAK / len(READERS))
        print(f"{reader.name}: {explorer.tried} inputs, {len(explorer.kept)} kept, {len(explorer.steps)} steps")
        assert len(explorer.kept) > len(reader.seeds)
