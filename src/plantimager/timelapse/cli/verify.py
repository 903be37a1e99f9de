"""``timelapsectl verify``: looks for damage in store, archive and datasets; it changes nothing, and asks no daemon."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from plantimager.timelapse.cli.terminal import Style
from plantimager.timelapse.datasets.contents import NO_DIGESTS, count_pictures, find_differences
from plantimager.timelapse.datasets.receipt import RECEIPT
from plantimager.timelapse.domain.states import RecordStatus
from plantimager.timelapse.domain.wording import describe_timelapse
from plantimager.timelapse.settings.config import read_config
from plantimager.timelapse.store.differences import describe_alteration
from plantimager.timelapse.store.loading import load_generation
from plantimager.timelapse.store.location import backup_path, follow_link
from plantimager.timelapse.support.errors import EXIT_FAILED, StoreError, StoreUnreadable
from plantimager.timelapse.support.text import format_count, one_line

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from plantimager.timelapse.cli.session import Session
    from plantimager.timelapse.domain.timelapse import TimeLapse

MAX_SLOTS_NAMED: Final = 8
"""Slots without a dataset that are named; the others are counted."""

_ASIDE: Final = re.compile(r"\.(?P<of>.+)\.attempt-.+|.+\.earlier-[0-9]+")
"""Directories that are no datasets: unfinished attempts, and what was in the place of a dataset."""


class Result(Struct, frozen=True):
    """The result of looking at one thing."""

    subject: str
    words: str
    damage: bool = False
    """Else it is fine, or a note on something that a person may want to know."""


def run_verify(options: argparse.Namespace, session: Session) -> int:  # noqa: ARG001 - as every command
    """Show what was looked at, a line each for what is damaged or stands aside; return 1 where anything is damaged."""
    results = []
    for result in _look(session):
        subject = session.screen.paint(one_line(result.subject), Style.RED if result.damage else Style.BOLD)
        session.screen.write(f"{subject}: {one_line(result.words)}")
        results.append(result)
    damaged = sum(result.damage for result in results)
    outcome = f"{format_count(damaged, 'finding')}: see above" if damaged else "no damage found"
    session.screen.write(session.screen.paint(outcome, Style.RED if damaged else Style.GREEN))
    return EXIT_FAILED if damaged else 0


def _look(session: Session) -> Iterator[Result]:
    places, store = session.places, follow_link(session.store)
    present = None
    for path in (store, backup_path(store)):
        result, timelapse = _look_at_store(path)
        if result is not None:
            yield result
        present = present or timelapse
    for path in sorted(store.parent.glob(f"{store.name}.*-*")):
        if re.search(r"\.(corrupt|foreign)-[0-9TZ-]+$", path.name):
            yield Result(str(path), "stands aside")
    for path in sorted(places.history.glob("*.json")):
        result, _ = _look_at_store(path)
        if result is not None:
            yield result
    named = read_config(places.find_config()).datasets
    yield from _look_at_datasets(places.datasets_of(named, () if present is None else present.scan_ids), present)


# --- stores -----------------------------------------------------------------------------------------


def _look_at_store(path: Path) -> tuple[Result | None, TimeLapse | None]:
    """Return the result on one file, and what it holds; nothing where there is no file.

    Raises
    ------
    StoreUnreadable
        This user may not read it.

    """
    try:
        loaded = load_generation(path)
    except StoreError as problem:
        if isinstance(problem, StoreUnreadable) and isinstance(problem.__cause__, PermissionError):
            raise
        return Result(str(path), problem.problem, damage=True), None
    if loaded is None:
        return None, None
    timelapse = loaded.stored.timelapse
    words = describe_timelapse(timelapse)
    if loaded.is_altered:
        words += f"; edited by hand, or damaged: {describe_alteration(loaded)}"
    return Result(str(path), words, damage=loaded.is_altered), timelapse


# --- datasets ---------------------------------------------------------------------------------------


def _look_at_datasets(directory: Path, present: TimeLapse | None) -> Iterator[Result]:
    """Yield what is wrong with datasets, what stands aside, and how many are as their receipts say."""
    try:
        names = sorted(os.listdir(directory))  # noqa: PTH208 - names are what is needed
    except FileNotFoundError:
        names = []
    sound = 0
    for name in names:
        path = directory / name
        aside = _ASIDE.fullmatch(name)
        if aside is not None and path.is_dir():
            if present is None or present.current is None or aside["of"] != present.current.scan_id:
                yield Result(str(path), f"stands aside, with {format_count(count_pictures(path) or 0, 'picture')}")
        elif os.path.lexists(path / RECEIPT):
            differences = [*_differences(path)]
            sound += not differences
            yield from (Result(str(path), words, damage=words != NO_DIGESTS) for words in differences)
    missing = [] if present is None else _taken_without(present, names)
    if missing:
        slots = ", ".join(map(str, missing[:MAX_SLOTS_NAMED])) + (", …" if len(missing) > MAX_SLOTS_NAMED else "")
        words = f"no dataset of {format_count(len(missing), 'taken slot')} of {present.id if present else ''} ({slots})"
        yield Result(str(directory), words, damage=True)
    yield Result(str(directory), f"{format_count(sound, 'dataset')} as {'its' if sound == 1 else 'their'} receipts say")


def _differences(path: Path) -> Iterable[str]:
    try:
        return find_differences(path)
    except OSError as problem:
        return [f"can't be read: {problem.strerror}"]
    except ValueError as problem:
        return [f"its receipt can't be read: {problem}"]


def _taken_without(timelapse: TimeLapse, names: Iterable[str]) -> list[int]:
    """Return the taken slots that have no dataset."""
    there = {*names}
    taken = (record for record in timelapse.records.values() if record.status is RecordStatus.SUCCEEDED)
    return sorted(record.slot for record in taken if record.scan_id not in there)
