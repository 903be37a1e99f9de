"""``timelapsectl verify``: looks for damage in store, archive and datasets; it changes nothing.

What this user may not read is judged by the service: the daemon looks at its store and archive, the relay says what it
has delivered.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import msgspec

from plantimager.timelapse.channel.ledger import Ledger, LedgerEntry, Outcome, dataset_key
from plantimager.timelapse.cli.acting import acting_as_owner
from plantimager.timelapse.cli.daemon_request import ServiceRefused
from plantimager.timelapse.cli.relay_request import ask_relay
from plantimager.timelapse.cli.snapshot import running_attempt
from plantimager.timelapse.cli.snapshot_source import SnapshotSource, archives_by_daemon, ask_files
from plantimager.timelapse.cli.terminal import Style
from plantimager.timelapse.datasets.contents import NO_DIGESTS, find_differences
from plantimager.timelapse.datasets.receipt import RECEIPT
from plantimager.timelapse.datasets.set_aside import MAX_FOUND, find_set_aside, has_name_of_aside
from plantimager.timelapse.domain.states import RecordStatus
from plantimager.timelapse.settings.config import read_daemon_config
from plantimager.timelapse.store.inspection import ARCHIVED, BACKUP, PRESENT, Inspection, inspect_store
from plantimager.timelapse.store.location import backup_path, follow_link
from plantimager.timelapse.support.errors import (
    EXIT_FAILED,
    EXIT_UNAVAILABLE,
    StoreUnreadable,
    TimelapsedError,
    with_hint,
)
from plantimager.timelapse.support.text import format_count, one_line

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from plantimager.timelapse.cli.session import Session
    from plantimager.timelapse.domain.records import SlotRecord
    from plantimager.timelapse.domain.timelapse import TimeLapse

MAX_SLOTS_NAMED: Final = 8
"""Slots without a dataset that are named; the others are counted."""
VERIFY_SECONDS: Final = 60.0
"""For the daemon to judge one file, which may be large."""


def run_verify(options: argparse.Namespace, session: Session) -> int:  # noqa: ARG001 - as every command
    """Show what was looked at, a line each for what is damaged or stands aside.

    Return 1 where anything is damaged, else 69 where something could not be judged.
    """
    damaged = unjudged = 0
    for result in _look(session):
        damaged += result.damage
        unjudged += isinstance(result, NotJudged)
        subject = session.screen.paint(one_line(result.subject), Style.RED if result.damage else Style.BOLD)
        session.screen.show(f"{subject}: {one_line(result.words)}")
    outcome = f"{format_count(damaged, 'finding')}: see above" if damaged else "no damage found"
    outcome += f"; {format_count(unjudged, 'thing')} could not be judged" if unjudged else ""
    session.screen.show(session.screen.paint(outcome, Style.RED if damaged or unjudged else Style.GREEN))
    return EXIT_FAILED if damaged else EXIT_UNAVAILABLE if unjudged else 0


class NotJudged(Inspection, frozen=True):
    """What this user can't judge, and what helps."""


def _look(session: Session) -> Iterator[Inspection]:
    places = session.places
    config = read_daemon_config(places.find_config())[0]
    present = None
    try:
        with acting_as_owner(session.store.parent):
            found, present = _look_at_files(session)
    except (PermissionError, StoreUnreadable) as closed:
        found = [*_look_by_daemon(session, closed)]
        with suppress(TimelapsedError, OSError):
            present = SnapshotSource(session).take().timelapse
    yield from found
    with acting_as_owner(session.store.parent):
        directory = places.datasets_of(config.datasets, () if present is None else present.scan_ids)
        yield from [*_look_at_datasets(directory, present, session), *_look_at_ledgers(session)]


# --- stores -----------------------------------------------------------------------------------------


def _look_at_files(session: Session) -> tuple[list[Inspection], TimeLapse | None]:
    """Return what is found in store, ``.bak`` and archive, and the present timelapse."""
    store = follow_link(session.store)
    looks = [inspect_store(path) for path in (store, backup_path(store))]
    with suppress(FileNotFoundError):
        archived = sorted(path for path in session.places.history.iterdir() if path.suffix == ".json")
        looks += [(inspect_store(path)[0], None) for path in archived]
    present = next((timelapse for _, timelapse in looks if timelapse is not None), None)
    return [result for result, _ in looks if result is not None], present


def _look_by_daemon(session: Session, closed: Exception) -> Iterator[Inspection]:
    """Yield what the daemon finds in files that are closed to this user, a file a request; each stands for itself."""
    history, path = session.places.history, session.store
    try:
        names, n_archived = archives_by_daemon(session)
        files = {PRESENT: path, BACKUP: backup_path(path)}
        for file, path in (files | {f"{ARCHIVED}{name}": history / f"{name}.json" for name in names}).items():
            try:
                details = ask_files(session, "verify", {"file": file}, VERIFY_SECONDS).details
            except ServiceRefused as refusal:
                yield NotJudged(str(path), f"not judged by the daemon: {refusal}")
                continue
            if details:
                subject, words = str(details.get("subject")), str(details.get("words"))
                yield Inspection(subject, words, damage=details.get("damage") is not False)
        if n_archived > len(names):
            yield NotJudged(str(history), f"{n_archived - len(names)} files not judged: the daemon lists {len(names)}")
    except (TimelapsedError, OSError) as problem:
        words = f"not judged: {closed}; {with_hint(problem)}"
        yield from (NotJudged(str(subject), words) for subject in (path, history))


# --- datasets ---------------------------------------------------------------------------------------


def _look_at_datasets(directory: Path, present: TimeLapse | None, session: Session) -> Iterator[Inspection]:
    """Yield what stands aside, what is wrong with datasets, and how many are as their receipts say."""
    owner, running = session.places.owner, running_attempt(present)
    found = find_set_aside(directory, follow_link(session.store), owner=owner, running=running)
    yield from (Inspection(str(aside.path), f"stands aside: {aside.what}") for aside in found)
    if len(found) >= MAX_FOUND:
        yield Inspection(str(directory), "more may stand aside: the first are listed")
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
            yield from (Inspection(str(path), words, damage=words != NO_DIGESTS) for words in differences)
    if present is not None:
        try:
            delivered = _delivered(session, present)
        except (TimelapsedError, OSError) as problem:
            words = f"what was delivered is not known: {with_hint(problem)}"
            yield NotJudged(str(session.places.relay_state), words)
        else:
            elsewhere = _describe_delivered(present, delivered, {*names})
            yield from (Inspection(str(directory), words) for words in elsewhere)
            yield from _look_for_taken(directory, present, {*names} | delivered.keys(), {*names}, with_receipt)
    yield Inspection(
        str(directory), f"{format_count(sound, 'dataset')} as {'its' if sound == 1 else 'their'} receipts say"
    )


def _differences(path: Path) -> Iterable[str]:
    try:
        return find_differences(path)
    except OSError as problem:
        return [f"can't be read: {problem.strerror}"]
    except ValueError as problem:
        return [f"its receipt can't be read: {problem}"]


def _look_for_taken(
    directory: Path, timelapse: TimeLapse, names: set[str], there: set[str], with_receipt: set[str]
) -> Iterator[Inspection]:
    """Yield which taken slots have no dataset, or one without a receipt, which nothing can be compared with.

    Other controllers write no receipts, and don't count pictures: where nobody did, that is a note.
    """
    taken = [record for record in timelapse.records.values() if record.status is RecordStatus.SUCCEEDED]
    unproved = [record for record in taken if record.scan_id in there - with_receipt]
    missing = _name_slots(timelapse, (record for record in taken if record.scan_id not in names))
    damaged = _name_slots(timelapse, (record for record in unproved if record.pictures is not None))
    others = _name_slots(timelapse, (record for record in unproved if record.pictures is None))
    if missing:
        yield Inspection(str(directory), f"no dataset of {missing}", damage=True)
    if damaged:
        yield Inspection(str(directory), f"no {RECEIPT} that can be read in the dataset of {damaged}", damage=True)
    if others:
        words = f"nothing to compare with: no {RECEIPT} that can be read in the dataset of {others}"
        yield Inspection(str(directory), f"{words}; other controllers write none")


def _delivered(session: Session, timelapse: TimeLapse) -> Mapping[str, str]:
    """Return where the datasets are that the relay has delivered, in words, by their scan ids.

    Those that it has removed here are named by its ledger of these; where that is lost, those of the targets say it.
    """
    where: dict[str, str] = {}
    by_key = {dataset_key(r.scan_id, timelapse.schedule_times[r.slot]): r.scan_id for r in timelapse.records.values()}
    ledgers = _find_entries(session, timelapse)
    removed = ledgers.pop(session.places.removed.name, [])
    for name, entries in ledgers.items():
        for entry in entries:
            if entry.key in by_key and entry.outcome is Outcome.DELIVERED:
                where[entry.scan_id] = f"delivered to {name.removesuffix('.ledger')}, and no longer here"
    for entry in removed:
        if entry.key in by_key:
            where[entry.scan_id] = f"delivered to {entry.why}, removed here on {entry.at[:10]}"
    return where


def _find_entries(session: Session, timelapse: TimeLapse) -> dict[str, list[LedgerEntry]]:
    """Return the entries of the relay's ledgers, by their files or by the relay; it is asked where they are closed."""
    try:
        return {ledger.path.name: [*ledger.entries.values()] for ledger in _read_ledgers(session)}
    except PermissionError:
        answer = ask_relay(session, "entries", {"timelapse_id": timelapse.id})
    try:
        return msgspec.json.decode(answer.files[0] if answer.files else b"{}", type=dict[str, list[LedgerEntry]])
    except (ValueError, RecursionError) as problem:
        raise ServiceRefused(f"the relay's answer can't be understood ({one_line(str(problem))})") from None


def _read_ledgers(session: Session) -> list[Ledger]:
    places = session.places
    targets = read_daemon_config(places.find_config())[0].deliver
    ledgers = [Ledger(path) for path in (*map(places.ledger, targets), places.removed)]
    for ledger in ledgers:
        ledger.refresh()
    return ledgers


def _look_at_ledgers(session: Session) -> Iterator[Inspection]:
    """Yield what is damaged in the relay's ledgers, which it mends itself; none where they are closed to this user."""
    with suppress(OSError):  # said of what was delivered
        for ledger in _read_ledgers(session):
            if n := ledger.damaged_lines:
                words = f"{format_count(n, 'line')} can't be read; what they and the lines before say is not believed"
                yield Inspection(str(ledger.path), words, damage=True)


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
