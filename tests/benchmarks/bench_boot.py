"""How long from exec to READY=1, and how much memory then, beside a bare interpreter with the same packages.

Run it on a machine that does nothing else::

    python tests/benchmarks/bench_boot.py [--slots 0 10 100 1000 10000 100000] [--rounds 15] [--json FILE]

The daemon is compared with two bare interpreters: both import the same packages, those of the standard library
included, send READY=1 and wait. The second imports the daemon's own modules, too. The rest of the daemon's time is for
reading its configuration and its store. They are measured in turns; medians are reported.

The last measurement is of the store of a year that another controller wrote (tests/stores), with five months of missed
slots. It should take no longer than ten slots of the same store, three of them missed, and the reading of the file
together. Missed slots are recorded and saved after READY=1; the time until then is reported, too.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import defaultdict
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Self

from bench_saving import BEGIN, DIGEST, EVERY, STORE, half_done, write_bare
from measuring import memory, options_for, write_numbers
from tree import STORES

from plantimager.timelapse.store.stored_timelapse import new_stored_timelapse
from plantimager.timelapse.support.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGES = (
    "apscheduler.events, apscheduler.executors.base, apscheduler.jobstores.base, apscheduler.schedulers.base, "
    "apscheduler.triggers.date, ctypes, logging_journald, msgspec.json, orjson, pwd, sdnotify, tomllib"
)
MODULES = "plantimager.timelapse.daemon.service"


def importing(modules: str) -> list[str]:
    """Return the command of an interpreter that imports modules, says that it is ready, and waits."""
    program = f"import signal, {modules}; sdnotify.SystemdNotifier().notify('READY=1'); signal.pause()"
    return [sys.executable, "-c", program]


BARE = importing(PACKAGES)
WITH_MODULES = importing(f"{PACKAGES}, {MODULES}")
READY, SETTLED = b"READY=1", b"STATUS="
"""The notices when the store is read, and later when the missed slots are saved and the next one is armed."""
DAEMON = [sys.executable, "-m", "plantimager.timelapse.daemon.main"]

YEAR_STORE = STORES / "interval-year-8760.json"
YEAR, MISSED = range(8760), 3800
"""Its slots, and how many of them are missed."""
TEN, MISSED_OF_TEN = range(3995, 4005), 3
"""Those around the next one."""
SCAN_TIMES = ("started_at", "finished_at")
READING = """
import gc, sys, time
from pathlib import Path
from plantimager.timelapse.store import loading
gc.set_threshold(100_000)
begin = time.perf_counter()
loading.load_timelapse(Path(sys.argv[1]))
print((time.perf_counter() - begin) * 1000)
"""
"""As the daemon reads it, and as the first thing in its life."""
BIG = 10_000
"""Slots from which on a start is measured less often."""


class Start:
    """The directories and the notify socket that both are started with."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "data/plant-imager3-app" / STORE
        self.path.parent.mkdir(parents=True, mode=0o700)
        settings = directory / "config/plant-imager3-app"
        settings.mkdir(parents=True)
        (settings / "timelapsed.toml").write_text('clock = "trust"\n')
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(directory / "notify"))
        self._environment = {
            "PATH": os.environ["PATH"],
            "XDG_DATA_HOME": str(directory / "data"),
            "XDG_CONFIG_HOME": str(directory / "config"),
            "NOTIFY_SOCKET": str(directory / "notify"),
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def store(self, content: bytes) -> None:
        """Put a store where the daemon finds it; durable, or the daemon's first save would wait for that, too."""
        write_bare(self.path, content)

    @contextmanager
    def running(self, command: list[str], *words: bytes) -> Iterator[tuple[int, list[float]]]:
        """Start a program: its process id, and after how many ms it said each of ``words`` to systemd. Kill it."""
        begin = time.perf_counter()
        with subprocess.Popen(command, env=self._environment, stderr=subprocess.DEVNULL) as program:
            try:
                times = []
                for word in words:
                    while word not in self._socket.recv(65536):
                        pass
                    times.append((time.perf_counter() - begin) * 1000)
                yield program.pid, times
            finally:
                program.send_signal(signal.SIGKILL)

    def measure(self, command: list[str], *words: bytes) -> tuple[float, int]:
        """Start a program; return how long until READY=1, in ms, and its resident memory after ``words``, in kB."""
        with self.running(command, READY, *words) as (pid, times):
            return times[0], memory(pid)["now"]

    def measure_daemon(self) -> list[float]:
        """Start the daemon; return the times until it is ready, and until the missed slots are saved, in ms."""
        with self.running(DAEMON, READY, SETTLED) as (_, times):
            return times


def store_of(n_slots: int) -> bytes:
    """Return the text of a store whose first half is taken, and whose next slot is an hour off."""
    shift = SystemClock().now() + timedelta(hours=1) - (BEGIN + n_slots // 2 * EVERY)
    timelapse = half_done(n_slots, BEGIN + shift)
    return new_stored_timelapse(timelapse, {"ScanPath": {"class_name": "Circle"}}, DIGEST).encode()


def year_store(slots: range, missed: int) -> bytes:
    """Return slots of a year's store as the other controller wrote it, moved in time so that so many are missed."""
    store = json.loads(YEAR_STORE.read_bytes())
    following = datetime.fromisoformat(store["schedule_times"][store["next_idx"] + missed])
    shift = (SystemClock().now() - following + timedelta(minutes=30)) // timedelta(hours=1) * timedelta(hours=1)

    def moved(text: str) -> str:
        return (datetime.fromisoformat(text) + shift).isoformat()

    scans = enumerate(store["scans"][slots.start : slots.stop])
    store |= {
        "schedule_times": [moved(text) for text in store["schedule_times"][slots.start : slots.stop]],
        "start_at": moved(store["start_at"]),
        "next_idx": store["next_idx"] - slots.start,
        "current_idx": store["current_idx"] - slots.start,
        "scans": [
            scan | {"scan_id": f"{store['timelapse_id']}_{slot}", **{key: moved(scan[key]) for key in SCAN_TIMES}}
            for slot, scan in scans
        ],
    }
    return json.dumps(store, indent=2, sort_keys=True).encode()


def measure(n_slots: int, rounds: int) -> dict[str, float]:
    """Return the medians for one size; 0 is no store at all."""
    content = store_of(n_slots) if n_slots else None
    found: dict[str, list[tuple[float, int]]] = {"bare": [], "modules": [], "daemon": []}
    with TemporaryDirectory() as directory, Start(Path(directory)) as start:
        for _ in range(rounds):
            found["bare"].append(start.measure(BARE))
            found["modules"].append(start.measure(WITH_MODULES))
            if content is not None:
                start.store(content)
            found["daemon"].append(start.measure(DAEMON, SETTLED))
    row: dict[str, float] = {}
    for name, runs in found.items():
        row[f"{name} ms"] = median(took for took, _ in runs)
        row[f"{name} kB"] = median(kilobytes for _, kilobytes in runs)
    for name, unit in (("time", "ms"), ("memory", "kB")):
        row[name] = row[f"daemon {unit}"] / row[f"bare {unit}"]
        row[f"{name} by modules"] = row[f"daemon {unit}"] / row[f"modules {unit}"]
    return row


def measure_year(rounds: int) -> dict[str, float]:
    """Return the medians of a start with the store of a year, one with ten slots of it, and of reading the former."""
    found: dict[str, list[float]] = defaultdict(list)
    year, ten = year_store(YEAR, MISSED), year_store(TEN, MISSED_OF_TEN)
    with TemporaryDirectory() as directory, Start(Path(directory)) as start:
        for _ in range(rounds):
            for name, content in (("ten slots", ten), ("year", year)):
                start.store(content)
                ready, settled = start.measure_daemon()
                found[f"{name} ms"].append(ready)
                found[f"{name} settled ms"].append(settled)
            start.store(year)
            program = [sys.executable, "-c", READING, start.path]
            found["reading ms"].append(float(subprocess.run(program, capture_output=True, check=True).stdout))
    row = {name: median(times) for name, times in found.items()}
    for what in ("", " settled"):
        row[f"year{what} by both"] = row[f"year{what} ms"] / (row[f"ten slots{what} ms"] + row["reading ms"])
    return row


def main() -> None:
    """Measure, print a table, write the numbers where asked."""
    parser = options_for(__doc__)
    parser.add_argument("--slots", type=int, nargs="+", default=[0, 10, 100, 1000, 10_000, 100_000])
    parser.add_argument("--rounds", type=int, default=15, help="starts of each kind (15; a third from 10 000 slots up)")
    options = parser.parse_args()

    print("exec to READY=1 and resident memory; in brackets: times those of a bare interpreter that imports the same")
    print("packages, and of one that imports the same modules, the daemon's own included")
    print(f"{'slots':>8} {'ms':>21} {'bare ms':>8} {'kB':>22} {'bare kB':>8}")
    numbers = {}
    for n_slots in options.slots:
        row = measure(n_slots, options.rounds if n_slots < BIG else max(options.rounds // 3, 3))
        numbers[n_slots] = row
        print(
            f"{n_slots:>8} {row['daemon ms']:>8.1f} ({row['time']:.2f}, {row['time by modules']:.2f})"
            f" {row['bare ms']:>8.1f} {row['daemon kB']:>9.0f} ({row['memory']:.2f}, {row['memory by modules']:.2f})"
            f" {row['bare kB']:>8.0f}",
            flush=True,
        )
    year = measure_year(2 * options.rounds)
    print(
        f"a year of {len(YEAR)} slots, {MISSED} missed: {year['year ms']:.1f} ms; {len(TEN)} of them, {MISSED_OF_TEN}"
        f" missed: {year['ten slots ms']:.1f} ms; reading the year's file: {year['reading ms']:.1f} ms;"
        f" the year by both together: {year['year by both']:.2f};"
        f" until what was missed is saved: {year['year settled ms']:.1f} ms, {year['year settled by both']:.2f}"
    )
    write_numbers(options.json, starts=numbers, year=year)


if __name__ == "__main__":
    main()
