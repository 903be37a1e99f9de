"""How long a save and a load of the store take, beside the bare write of the same bytes and the documented store.

Run it on a machine that does nothing else::

    python tests/benchmarks/bench_saving.py [--slots 10 100 1000 10000 100000] [--rounds 40] [--json FILE]

Half of the slots have their record. All ways are measured in turns, in a random order, in the same directory; medians
are reported. A save is of the next value of a timelapse, by turns a slot that runs and one that is taken: its text,
whether somebody else changed the file, and both generations durable on disk, by the disk thread. A transition is all
that `StoreKeeper.commit` does, of which the save is one part, and what happened (`events_between`) the other.

The bare write puts the same bytes on disk, ready made and in one piece, durable, and nothing else; beside it stands
the same with the generation before kept as ``.bak``, which is what the daemon's way of saving costs without the
daemon.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
import random
import tempfile
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from measuring import milliseconds, options_for, write_numbers

from plantimager.timelapse.daemon.bounded_call import DiskThread
from plantimager.timelapse.daemon.main import MANY_VALUES
from plantimager.timelapse.daemon.store_file import StoreFile
from plantimager.timelapse.daemon.store_keeper import SAVE_TIMEOUT, StoreKeeper
from plantimager.timelapse.domain.records import SlotRecord
from plantimager.timelapse.domain.states import RecordStatus, TimeLapseMode, TimeLapseState
from plantimager.timelapse.domain.timelapse import TimeLapse
from plantimager.timelapse.store.loading import load_timelapse
from plantimager.timelapse.store.location import backup_path
from plantimager.timelapse.store.stored_timelapse import new_stored_timelapse
from plantimager.timelapse.store.writing import StoreWriter
from plantimager.timelapse.support.durable import write_durably

if TYPE_CHECKING:
    from collections.abc import Iterator

BEGIN = datetime(2026, 6, 22, 8, tzinfo=UTC)
EVERY = timedelta(minutes=30)
STORE = "timelapse_storage.json"
DIGEST = hashlib.sha256(b"a definition").hexdigest()
MANY = 10_000
"""Slots from which on what isn't a save is measured only so often:"""
SLOW_ROUNDS = 5


def half_done(n_slots: int, begin: datetime = BEGIN) -> TimeLapse:
    """Return a timelapse whose first half is taken."""
    times = tuple(begin + slot * EVERY for slot in range(n_slots))
    records = {
        slot: SlotRecord(
            slot=slot,
            scan_id=f"col0_ld_{slot}",
            status=RecordStatus.SUCCEEDED,
            attempt=1,
            started_at=times[slot] + timedelta(microseconds=215_000),
            finished_at=times[slot] + timedelta(seconds=388, microseconds=402_113),
            pictures=72,
        )
        for slot in range(n_slots // 2)
    }
    return TimeLapse(
        id="col0_ld",
        mode=TimeLapseMode.INTERVAL,
        state=TimeLapseState.SCHEDULED,
        schedule_times=times,
        next_idx=n_slots // 2,
        records=records,
    )


def write_store(directory: Path, n_slots: int) -> StoreKeeper:
    """Put such a store on disk, and return its keeper."""
    keeper = StoreKeeper(directory / STORE)
    configuration = {"ScanPath": {"class_name": "Circle", "kwargs": {"radius": 350, "n_points": 36}}}
    keeper.start(new_stored_timelapse(half_done(n_slots), configuration, DIGEST), BEGIN)
    return keeper


def write_bare(path: Path, content: bytes) -> None:
    """Write bytes durably, and do nothing else: no encoding, no generation before."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent)
    os.write(descriptor, content)
    os.fsync(descriptor)
    os.close(descriptor)
    Path(temporary).replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)


@dataclass
class PlainRecord:
    """What the seed's store keeps of a scan."""

    scan_id: str
    started_at: str | None
    finished_at: str | None
    status: str
    error: Any


@dataclass
class PlainStore:
    """The seed's store, in its own words."""

    timelapse_id: str
    schedule_times: list[str]
    next_idx: int
    scans: list[PlainRecord] = field(default_factory=list)
    version: int = 1
    mode: str = "interval"
    state: str = "scheduled"
    warmup_sec: float = 30
    standby_threshold_sec: float = 600
    grace_period: float = 120
    extra: dict[str, Any] = field(default_factory=dict)


def plain(timelapse: TimeLapse) -> PlainStore:
    """Return a timelapse as the seed has it."""
    scans = [
        PlainRecord(r.scan_id, r.started_at.isoformat(), r.finished_at.isoformat(), r.status.value, r.error)
        for r in timelapse.records.values()
    ]
    return PlainStore(timelapse.id, [at.isoformat() for at in timelapse.schedule_times], timelapse.next_idx, scans)


def save_the_seeds_way(path: Path, store: PlainStore) -> None:
    """Save as the seed documents it: every field copied, then encoded with an indent, temporary file, rename."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(asdict(store), file, indent=2, sort_keys=True)
        file.flush()
        os.fsync(descriptor)
    Path(temporary).replace(path)


def transitions(waiting: TimeLapse) -> Iterator[TimeLapse]:
    """Return what slot after slot makes of the timelapse: running, taken; after the last one all over again."""
    timelapse = waiting
    while True:
        timelapse = waiting if timelapse.next_at is None else timelapse
        at = timelapse.schedule_times[timelapse.next_idx]
        timelapse = timelapse.begin(at, "0" * 36)
        yield timelapse
        timelapse = timelapse.succeed(at, 72)
        yield timelapse


def measure(directory: Path, n_slots: int, rounds: int) -> dict[str, float]:
    """Return the medians for one size, in ms, and what is written for each slot that is taken, in bytes."""
    keeper = write_store(directory, n_slots)
    waiting, stored = keeper.timelapse, keeper.stored
    writer, disk, file = StoreWriter(), DiskThread(), StoreFile(directory / "alone.json")
    seeds_store, content = plain(waiting), keeper.stored.encode()
    following = transitions(waiting)
    coming = [next(following)]
    bare, kept, seeds = (directory / f"{name}.json" for name in ("bare", "kept", "seed"))

    def save() -> None:
        following = stored.evolved(coming[0], stored.logbook)
        disk.run(partial(file.write, writer.encode(following), BEGIN, None), SAVE_TIMEOUT)

    ways = {
        "save": save,
        "transition": lambda: keeper.commit(coming[0], BEGIN),
        "bare write": lambda: write_bare(bare, content),
        "with .bak": lambda: write_durably(kept, content, backup=backup_path(kept)),
    }
    slow_ways = {
        "seed way": lambda: save_the_seeds_way(seeds, seeds_store),
        "load": lambda: load_timelapse(keeper.file.path),
        "json.loads": lambda: json.loads(keeper.file.path.read_bytes()),
    }
    times: dict[str, list[float]] = {name: [] for name in (*ways, *slow_ways)}
    for way in ways.values():
        way()  # the first of each finds everything cold
    dice, written = random.Random(n_slots), []
    for number in range(rounds):
        coming[0] = next(following)
        turn = {**ways, **slow_ways} if number < SLOW_ROUNDS or n_slots < MANY else ways
        for name in dice.sample(sorted(turn), len(turn)):
            times[name].append(milliseconds(turn[name]))
        written.append(keeper.file.path.stat().st_size)
    row = {name: median(found) for name, found in times.items()}
    row["save by bare write"] = row["save"] / row["bare write"]
    row["save by with .bak"] = row["save"] / row["with .bak"]
    row["transition by with .bak"] = row["transition"] / row["with .bak"]
    row["seed way by save"] = row["seed way"] / row["save"]
    row["load by json.loads"] = row["load"] / row["json.loads"]
    return {**row, "bytes per taken slot": sum(written[-2:])}


def main() -> None:
    """Measure, print a table, write the numbers where asked."""
    parser = options_for(__doc__)
    parser.add_argument("--slots", type=int, nargs="+", default=[10, 100, 1000, 10_000, 100_000])
    parser.add_argument("--rounds", type=int, default=40, help="saves of each size (40)")
    parser.add_argument("--directory", type=Path, help="where to write (a temporary directory of this one)")
    options = parser.parse_args()
    gc.set_threshold(MANY_VALUES)  # as the daemon's main program does; for all ways alike

    print("saving, ms; in brackets: save by each of the others, transition by 'with .bak', and the seed's way by save")
    columns = f"{'transition':>17} {'seed way':>17} {'bytes a taken slot':>19}"
    print(f"{'slots':>8} {'save':>8} {'bare write':>17} {'with .bak':>17} {columns}")
    numbers = {}
    for n_slots in options.slots:
        with tempfile.TemporaryDirectory(dir=options.directory or Path.cwd()) as directory:
            row = numbers[n_slots] = measure(Path(directory), n_slots, options.rounds)
        print(
            f"{n_slots:>8} {row['save']:>8.2f} {row['bare write']:>8.2f} ({row['save by bare write']:6.2f})"
            f" {row['with .bak']:>8.2f} ({row['save by with .bak']:6.2f})"
            f" {row['transition']:>8.2f} ({row['transition by with .bak']:6.2f})"
            f" {row['seed way']:>8.2f} ({row['seed way by save']:6.1f}) {row['bytes per taken slot']:>19,}",
            flush=True,
        )
    print("loading, ms; in brackets: times json.loads of the same file")
    for n_slots, row in numbers.items():
        print(f"{n_slots:>8} {row['load']:>8.2f} ({row['load by json.loads']:5.2f}) {row['json.loads']:>8.2f}")
    write_numbers(options.json, ms=numbers)


if __name__ == "__main__":
    main()
