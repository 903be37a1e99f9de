"""Any input in a file or from a line gives a result or an error in a sentence: no traceback, no hang, no lost original.

The module `fuzzed_readers` has the checks of each reader.
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
from fuzzing import MAX_INPUT_BYTES
from grbl_stand_in import Board, StandIn
from soaking import SOAK
from wild_board import Sheet, VirtualLine, wild_line

from plantimager.timelapse.drivers.gantry import board as gantry_board
from plantimager.timelapse.drivers.gantry.arm import Arm
from plantimager.timelapse.drivers.gantry.arm_options import ArmOptions
from plantimager.timelapse.drivers.gantry.board import MAX_ASKS
from plantimager.timelapse.drivers.gantry.gantry_faults import NoAnswer
from plantimager.timelapse.drivers.gantry.move import wait_without_stop

MAX_CHANGES = 6
"""The greatest number of changes to one input."""

MAX_LINE_MEMORY = 1 << 18
"""Bytes of memory that a line may take, whatever it receives."""
MINUTE = timedelta(minutes=1)
SHORT = timedelta(seconds=0.1)


@pytest.fixture(params=READERS.values(), ids=READERS)
def reader(request) -> Reader:
    """Return each reader in turn."""
    return request.param


def read(reader: Reader, content: bytes, directory) -> None:
    """Read an input; an error gets a note with the input."""
    try:
        reader.read(content, directory)
    except Exception as problem:
        problem.add_note(f"{reader.name} reads {content!r}")
        raise


def test_inputs_of_the_corpus_are_read_or_refused(reader: Reader, tmp_path) -> None:
    """They come from coverage-guided runs, and each reaches code that no other reaches."""
    for content in (*reader.seeds, *reader.corpus()):
        read(reader, content, tmp_path)


def test_changed_inputs_are_read_or_refused(reader: Reader, tmp_path) -> None:
    """They are real inputs with realistic changes, and every run has the same ones."""
    origins = (*reader.seeds, *reader.corpus())
    for number in range(reader.in_ci):
        dice = Random(number)
        content = dice.choice(origins)
        for _ in range(dice.randint(1, MAX_CHANGES)):
            content = reader.vary(content, dice)[:MAX_INPUT_BYTES]
        read(reader, content, tmp_path)


@pytest.mark.parametrize(
    "said", [b"no end in sight, ", b"[MSG:here I am]\\r\\n", b"<Run|MPos:1,2\\r\\n", b"$1=1\\r\\n"]
)
def test_board_that_never_stops_sending_takes_little_memory(said: bytes) -> None:
    """Its lines, with or without an end, are not kept while the driver waits for an answer."""
    noisy = VirtualLine(Sheet.read(b"\n".join(b"%d !flood " % answer + said * 100 for answer in range(10))))
    with wild_line(noisy) as line:
        tracemalloc.start()
        try:
            with pytest.raises(NoAnswer):
                gantry_board.Board(line, MINUTE).command("G90")
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert MINUTE.total_seconds() <= noisy.now < 2 * MAX_ASKS * MINUTE.total_seconds()
    assert peak < MAX_LINE_MEMORY, "megabytes were kept"


def test_driver_gives_up_a_board_that_floods_a_real_line() -> None:
    """On a pseudo-terminal at full speed the deadlines of the driver end it, and its memory is bounded."""
    with StandIn(Board(fault="deaf")) as stand_in:
        threading.Thread(target=flood, args=(stand_in,), daemon=True).start()
        arm = Arm(ArmOptions(port=stand_in.port, answer_timeout=SHORT, boot_timeout=SHORT))
        tracemalloc.start()
        try:
            with pytest.raises(NoAnswer):
                arm.make_ready(wait_without_stop)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
            arm.close()
    assert peak < MAX_LINE_MEMORY


def flood(stand_in: StandIn) -> None:
    """Send the same characters until the line is closed."""
    with contextlib.suppress(OSError):
        while True:
            stand_in.say("x" * 500)


if SOAK:  # not a skip, which `tests/run` counts as a failure

    def test_inputs_that_reach_new_code_are_read_or_refused(reader: Reader, tmp_path) -> None:
        """Coverage-guided: an input that reaches new code is varied further. The readers share the time."""
        explorer = explore(reader, tmp_path, SOAK / len(READERS))
        print(f"{reader.name}: {explorer.tried} inputs, {len(explorer.kept)} kept, {len(explorer.steps)} steps")
        assert len(explorer.kept) > len(reader.seeds)
