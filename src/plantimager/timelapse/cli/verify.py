"""``timelapsectl verify``: looks for damage in store, archive and datasets; it changes nothing, and asks no daemon."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from plantimager.timelapse.channel.ledger import Ledger, LedgerEntry, Outcome, dataset_key
from plantimager.timelapse.cli.snapshot import running_attempt
from plantimager.timelapse.cli.terminal import Style
from plantimager.timelapse.datasets.contents import NO_DIGESTS, find_differences
from plantimager.timelapse.datasets.receipt import RECEIPT
from plantimager.timelapse.datasets.set_aside import MAX_FOUND, find_set_aside, has_name_of_aside
from plantimager.timelapse.domain.states import RecordStatus
from plantimager.timelapse.domain.wording import describe_timelapse
from plantimager.timelapse.settings.config import read_daemon_config
from plantimager.timelapse.store.differences import describe_alteration
from plantimager.timelapse.store.loading import load_generation
from plantimager.timelapse.store.location import backup_path, follow_link
from plantimager.timelapse.support.errors import EXIT_FAILED, StoreError, StoreUnreadable
from plantimager.timelapse.support.text import format_count, one_line

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from plantimager.timelapse.cli.session import Session
    from plantimager.timelapse.domain.records import SlotRecord
    from plantimager.timelapse.domain.timelapse import TimeLapse
    from plantimager.timelapse.settings.places import Places

MAX_SLOTS_NAMED: Final = 8
"""Slots without a dataset that are named; the others are counted."""


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
    for path in sorted(places.history.glob("*.json")):
        result, _ = _look_at_store(path)
        if result is not None:
            yield result
    named = read_daemon_config(places.find_config())[0].datasets
    scan_ids = () if present is None else present.scan_ids
    yield from _look_at_datasets(places.datasets_of(named, scan_ids), present, session)


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


def _look_at_datasets(directory: Path, present: TimeLapse | None, session: Session) -> Iterator[Result]:
    """Yield what stands aside, what is wrong with datasets, and how many are as their receipts say."""
    owner, running = session.places.owner, running_attempt(present)
    found = find_set_aside(directory, follow_link(session.store), owner=owner, running=running)
    yield from (Result(str(aside.path), f"stands aside: {aside.what}") for aside in found)
    if len(found) >= MAX_FOUND:
        yield Result(str(directory), "more may stand aside: the first are listed")
    try:
        names = sorted(os.listdir(directory))  # noqa: PTH208 - names are what is needed
    except FileNotFoundError:
        names = []
    sound, with_receipt = 0, set()
    for name in names:
        path = directory / name
        if not has_name_of_aside(name) and os.path.lexists(path / RECEIPT):
            with_receipt.add(name)
            differences = [*_differences(path)]
            sound += not differences
            yield from (Result(str(path), words, damage=words != NO_DIGESTS) for words in differences)
    if present is not None:
        delivered = _delivered(session.places, present)
        yield from (Result(str(directory), words) for words in _describe_delivered(present, delivered, {*names}))
        yield from _look_for_taken(directory, present, {*names} | delivered.keys(), {*names}, with_receipt)
    yield Result(str(directory), f"{format_count(sound, 'dataset')} as {'its' if sound == 1 else 'their'} receipts say")


def _differences(path: Path) -> Iterable[str]:
    try:
        return find_differences(path)
    except OSError as problem:
        return [f"can't be read: {problem.strerror}"]
    except ValueError as problem:
        return [f"its receipt can't be read: {problem}"]


def _look_for_taken(
    directory: Path, timelapse: TimeLapse, names: set[str], there: set[str], with_receipt: set[str]
) -> Iterator[Result]:
    """Yield which taken slots have no dataset, or one without a receipt, which nothing can be compared with.

    Other controllers write no receipts, and don't count pictures: where nobody did, that is a note.
    """
    taken = [record for record in timelapse.records.values() if record.status is RecordStatus.SUCCEEDED]
    unproved = [record for record in taken if record.scan_id in there - with_receipt]
    missing = _name_slots(timelapse, (record for record in taken if record.scan_id not in names))
    damaged = _name_slots(timelapse, (record for record in unproved if record.pictures is not None))
    others = _name_slots(timelapse, (record for record in unproved if record.pictures is None))
    if missing:
        yield Result(str(directory), f"no dataset of {missing}", damage=True)
    if damaged:
        yield Result(str(directory), f"no {RECEIPT} that can be read in the dataset of {damaged}", damage=True)
    if others:
        words = f"nothing to compare with: no {RECEIPT} that can be read in the dataset of {others}"
        yield Result(str(directory), f"{words}; other controllers write none")


def _delivered(places: Places, timelapse: TimeLapse) -> Mapping[str, str]:
    """Return where the datasets are that the relay has delivered, in words, by their scan ids.

    Those that it has removed here are named by its ledger of these; where that is lost, those of the targets say it.
    """
    where: dict[str, str] = {}
    by_key = {dataset_key(r.scan_id, timelapse.schedule_times[r.slot]): r.scan_id for r in timelapse.records.values()}
    for name in read_daemon_config(places.find_config())[0].deliver:
        for entry in _entries(places.ledger(name)):
            if entry.key in by_key and entry.outcome is Outcome.DELIVERED:
                where[entry.scan_id] = f"delivered to {name}, and no longer here"
    for entry in _entries(places.removed):
        if entry.key in by_key:
            where[entry.scan_id] = f"delivered to {entry.why}, removed here on {entry.at[:10]}"
    return where


def _entries(path: Path) -> Iterable[LedgerEntry]:
    ledger = Ledger(path)
    with suppress(OSError):
        ledger.refresh()
    return ledger.entries.values()


def _describe_delivered(timelapse: TimeLapse, delivered: Mapping[str, str], there: set[str]) -> Iterator[str]:
    """Yield a sentence for the taken slots whose datasets are elsewhere, for each place and day."""
    gone = [record for record in timelapse.records.values() if record.scan_id in delivered.keys() - there]
    for words in dict.fromkeys(delivered[record.scan_id] for record in gone):
        slots = _name_slots(timelapse, (record for record in gone if delivered[record.scan_id] == words))
        yield f"{slots}: {words}"


def _name_slots(timelapse: TimeLapse, records: Iterable[SlotRecord]) -> str:
    """Return "2 taken slots of col0 (3, 5)"; empty without any."""
    slots = sorted(record.slot for record in records)
    if not slots:
        return ""
    named = ", ".join(map(str, slots[:MAX_SLOTS_NAMED])) + (", …" if len(slots) > MAX_SLOTS_NAMED else "")
    return f"{format_count(len(slots), 'taken slot')} of {timelapse.id} ({named})"
