"""How long a save and a load of the store take, beside the bare write of the same bytes and the seed way.

Run it on a machine that does nothing else::

    python tests/benchmarks/bench_saving.py [--slots 10 100 1000 10000 100000] [--rounds 40] [--json FILE]

Half of the slots have their record. All ways are measured in turns, in the same directory; medians are told. A save
is what the daemon does between two states of a slot: the next value, its text, both generations durable on disk.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from plantimager.controller.scanner.states import RecordStatus, TimeLapseMode, TimeLapseState
from plantimager.controller.scanner.stored_timelapse import new_stored, read_stored
from plantimager.controller.scanner.timelapse import SlotRecord, TimeLapse
from plantimager.controller.scanner.timelapse_store import load
from plantimager.controller.timelapsed.keeper import Keeper

if TYPE_CHECKING:
    from collections.abc import Callable

BEGIN = datetime(2026, 6, 22, 8, tzinfo=UTC)
EVERY = timedelta(minutes=30)
STORE = "timelapse_storage.json"


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


def write_store(directory: Path, n_slots: int) -> Keeper:
    """Put such a store on disk, and return its keeper."""
    keeper = Keeper(directory / STORE)
    configuration = {"ScanPath": {"class_name": "Circle", "kwargs": {"radius": 350, "n_points": 36}}}
    keeper.start(new_stored(half_done(n_slots), configuration, "0" * 64, STORE), BEGIN)
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


def seconds(action: Callable[[], object]) -> float:
    """Return how long an action takes."""
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin


def measure(directory: Path, n_slots: int, rounds: int) -> dict[str, float]:
    """Return the medians for one size, in ms, and what is written for each slot that is taken, in bytes."""
    keeper = write_store(directory, n_slots)
    waiting = keeper.timelapse
    seeds_store = plain(waiting)
    content = keeper.stored.encode()
    rows: dict[str, list[float]] = {key: [] for key in ("save", "bare write", "seed way", "load", "json.loads")}
    written = 0
    for number in range(rounds):
        at = BEGIN + timedelta(seconds=number)

        def save(at: datetime = at) -> None:
            keeper.commit(waiting.begin(at, "0" * 36), at)

        rows["save"].append(seconds(save))
        rows["bare write"].append(seconds(lambda: write_bare(directory / "bare.json", content)))
        if number < 5 or n_slots <= 1000:
            rows["seed way"].append(seconds(lambda: save_the_seeds_way(directory / "seed.json", seeds_store)))
            rows["load"].append(seconds(lambda: read_stored(load(keeper.path).store, None)))
            rows["json.loads"].append(seconds(lambda: json.loads(keeper.path.read_bytes())))
    running = waiting.begin(BEGIN, "0" * 36)
    for following in (running, running.succeed(BEGIN, 72)):
        keeper.commit(following, BEGIN)
        written += keeper.path.stat().st_size
    found = {key: median(times) * 1000 for key, times in rows.items()}
    return {**found, "bytes per taken slot": written}


def main() -> None:
    """Measure, print a table, write the numbers where asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--slots", type=int, nargs="+", default=[10, 100, 1000, 10_000, 100_000])
    parser.add_argument("--rounds", type=int, default=40, help="saves of each size (40)")
    parser.add_argument("--directory", type=Path, help="where to write (a temporary directory of this one)")
    parser.add_argument("--json", type=Path, help="file to write the numbers to")
    options = parser.parse_args()

    print("saving and loading, ms; in brackets: save by bare write, seed way by save, load by json.loads")
    print(f"{'slots':>8} {'save':>16} {'bare write':>10} {'seed way':>17} {'load':>16} {'bytes a taken slot':>19}")
    numbers = {}
    for n_slots in options.slots:
        with tempfile.TemporaryDirectory(dir=options.directory or Path.cwd()) as directory:
            row = measure(Path(directory), n_slots, options.rounds)
        row["save by bare write"] = row["save"] / row["bare write"]
        row["seed way by save"] = row["seed way"] / row["save"]
        row["load by json.loads"] = row["load"] / row["json.loads"]
        numbers[n_slots] = row
        print(
            f"{n_slots:>8} {row['save']:>8.2f} ({row['save by bare write']:5.2f}) {row['bare write']:>10.2f}"
            f" {row['seed way']:>8.2f} ({row['seed way by save']:6.1f})"
            f" {row['load']:>8.2f} ({row['load by json.loads']:5.2f}) {row['bytes per taken slot']:>19,}"
        )
    if options.json:
        machine = f"{platform.machine()}, Linux {platform.release()}, Python {sys.version.split()[0]}"
        options.json.write_text(json.dumps({"machine": machine, "ms": numbers}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
