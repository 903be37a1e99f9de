"""Coverage-guided fuzzing: an input that reaches new code is kept and varied further.

A run reaches something new when it steps from one line of our sources to another for the first time, or does so in a
new order of magnitude of times. `tests/soak 60 fuzz` runs it for an hour, for all readers together. By hand each of
the named readers gets a number of minutes, and the shortest inputs that together reach everything that was reached go
into the corpus, which every test run reads:

    python tests/support/exploring.py 5 store board
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Final

from fuzzed_readers import READERS, Reader
from fuzzing import MAX_INPUT_BYTES

import plantimager.timelapse
from plantimager.timelapse.support.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

SOURCES: Final = next(iter(plantimager.timelapse.__path__))
STACK: Final = 1 << 29
"""Bytes. While Python traces itself, a deeply nested file fills the C stack, whose overflow is no exception."""
NEWEST: Final = 16
"""The number of inputs that were kept last and get half of the attempts."""
MAX_CHANGES: Final = 5
"""The greatest number of changes at a time."""
MAX_CORPUS_BYTES: Final = 6_000
"""The size of the longest input that goes into the corpus by itself. A person may add longer ones that failed."""

Step = tuple[str, int, int]
"""A file, and the lines of two statements of one function that ran one after the other."""


class Explorer:
    """The exploration of one reader so far."""

    def __init__(self, reader: Reader, directory: Path) -> None:
        self._reader, self._directory = reader, directory
        self._seen: set[tuple[Step, int]] = set()
        self.kept: list[bytes] = []
        """The inputs that each did something new."""
        self.tried = 0

    @property
    def steps(self) -> set[Step]:
        """Return all steps of all inputs so far."""
        return {step for step, _ in self._seen}

    def try_out(self, content: bytes) -> None:
        """Read an input, and keep it if that did something new.

        An exception of the reader is raised with a note, which has the shortest input found to raise it.
        """
        self.tried += 1
        try:
            steps = steps_of(self._reader, content, self._directory)
        except Exception as problem:
            kind = type(problem)
            shortest = shortened(content, lambda less: self._fails_likewise(less, kind))
            problem.add_note(f"{self._reader.name} reads {shortest!r}")
            raise
        done = {(step, times.bit_length()) for step, times in steps.items()}
        if not done <= self._seen:
            self._seen |= done
            self.kept.append(content)

    def _fails_likewise(self, content: bytes, kind: type[Exception]) -> bool:
        try:
            self._reader.read(content, self._directory)
        except Exception as other:  # noqa: BLE001 - any exception is what is looked for
            return type(other) is kind
        return False

    def explore(self, minutes: float, dice: Random) -> None:
        """Vary the inputs for some minutes."""
        for content in (*self._reader.seeds, *self._reader.corpus()):
            self.try_out(content)
        clock = SystemClock()
        end = clock.monotonic() + minutes * 60
        while clock.monotonic() < end:
            self.try_out(self._varied(dice))
        clock.close()

    def _varied(self, dice: Random) -> bytes:
        content = dice.choice(self.kept[-NEWEST:] if dice.random() < 0.5 else self.kept)
        if dice.random() < 0.1:
            content = spliced(content, dice.choice(self.kept), dice)
        for _ in range(dice.randint(1, MAX_CHANGES)):
            content = self._reader.vary(content, dice)[:MAX_INPUT_BYTES]
        return content


def spliced(one: bytes, other: bytes, dice: Random) -> bytes:
    """Return the beginning of one text and the end of another, cut between lines."""
    head, tail = one.splitlines(keepends=True), other.splitlines(keepends=True)
    return b"".join(head[: dice.randint(0, len(head))] + tail[dice.randint(0, len(tail)) :])


def shortened(content: bytes, is_enough: Callable[[bytes], bool]) -> bytes:
    """Return an input without the pieces that are not needed, which are tried in ever smaller sizes."""
    size = len(content) // 2
    while size:
        start = 0
        while start < len(content):
            less = content[:start] + content[start + size :]
            if is_enough(less):
                content = less
            else:
                start += size
        size //= 2
    return content


def steps_of(reader: Reader, content: bytes, directory: Path) -> Counter[Step]:
    """Return the steps in our own code while an input is read, with the number of times of each."""
    steps: Counter[Step] = Counter()

    def enter(frame: Any, event: str, _: object) -> Any:
        name = frame.f_code.co_filename
        if not name.startswith(SOURCES):
            return None
        last = frame.f_lineno

        def count_step(frame: Any, event: str, _: object) -> Any:
            nonlocal last
            if event == "line":
                steps[name, last, frame.f_lineno] += 1
                last = frame.f_lineno
            return count_step

        return count_step

    sys.settrace(enter)
    try:
        reader.read(content, directory)
    finally:
        sys.settrace(None)
    return steps


def explore(reader: Reader, directory: Path, minutes: float, seed: int = 0) -> Explorer:
    """Explore a reader for some minutes, on a thread with a large stack; raise what the reader raises."""
    explorer = Explorer(reader, directory)
    before = threading.stack_size(STACK)
    try:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(explorer.explore, minutes, Random(seed)).result()
    finally:
        threading.stack_size(before)
    return explorer


def fewest(reader: Reader, directory: Path, contents: Iterable[bytes]) -> list[bytes]:
    """Return short inputs that together make all steps of ``contents`` which the reader's seeds don't make."""
    made = {step for seed in reader.seeds for step in steps_of(reader, seed, directory)}
    chosen = []
    for content in sorted(contents, key=len):
        steps = set(steps_of(reader, content, directory))
        if len(content) <= MAX_CORPUS_BYTES and not steps <= made:
            made |= steps
            chosen.append(content)
    return chosen


def main() -> None:
    """Explore, and add the inputs that were found to the corpus."""
    parser = argparse.ArgumentParser(description="Vary the input of each reader until it reaches new code.")
    parser.add_argument("minutes", type=float, help="for each reader")
    parser.add_argument("readers", nargs="*", metavar="reader", help=", ".join(READERS))
    parser.add_argument("--seed", type=int, default=0)
    wanted = parser.parse_args()
    for name in wanted.readers or READERS:
        reader = READERS[name]
        with tempfile.TemporaryDirectory() as directory:
            explorer = explore(reader, Path(directory), wanted.minutes, wanted.seed)
            before = reader.corpus()
            found = [content for content in fewest(reader, Path(directory), explorer.kept) if content not in before]
        texts = [content.decode("latin-1") for content in (*before, *found)]
        reader.corpus_file.write_text(json.dumps(texts, indent=1) + "\n")
        counts = f"{explorer.tried} inputs, {len(explorer.kept)} kept, {len(explorer.steps)} steps"
        print(f"{name}: {counts}; {len(found)} new in the corpus of {len(texts)}", flush=True)


if __name__ == "__main__":
    main()
