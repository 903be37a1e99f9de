"""What it costs when the clock is set forward by a hundred years over all slots of a long timelapse.

Run it on a machine that does nothing else::

    PYTHONPATH=tests/support tests/benchmarks/bench_clock_step.py [--slots 1000 10000 100000] [--rounds 3] [--json FILE]

The daemon itself, with its store on disk, is put on a clock of its own (the machine's is not touched) and on a rig that
has nothing to do. It sleeps before its first slot; then the clock is set. The time is that from the setting until the
daemon is asleep again, the memory what the process has grown by meanwhile, and at its highest.

Beside it: the same daemon when the clock is set over a single slot, or over none; the bare durable write of the store
that comes out of the step; and APScheduler's own way, a BackgroundScheduler with a job for each slot, whose misfires
it logs one by one. Each runs in a process of its own.
"""

from __future__ import annotations

import gc
import json
import logging
import signal
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from bench_saving import STORE, write_bare
from measuring import memory, milliseconds, options_for, write_numbers
from virtual_time import START, VirtualClock

from plantimager.timelapse.channel.live import LiveFile
from plantimager.timelapse.daemon.daemon import Daemon, Host
from plantimager.timelapse.daemon.driver_calls import CallOutcome
from plantimager.timelapse.daemon.main import MANY_VALUES
from plantimager.timelapse.daemon.store_keeper import StoreKeeper
from plantimager.timelapse.domain.states import TimeLapseMode, TimeLapseState
from plantimager.timelapse.domain.timelapse import TimeLapse
from plantimager.timelapse.settings.config import Config
from plantimager.timelapse.settings.places import Places
from plantimager.timelapse.store.stored_timelapse import new_stored_timelapse
from plantimager.timelapse.support.clock import SystemClock
from plantimager.timelapse.systemd.journal_lines import set_up_logging
from plantimager.timelapse.systemd.notifier import Notifier

if TYPE_CHECKING:
    from collections.abc import Callable

    from plantimager.timelapse.drivers.base import Call, ScannerDriver
    from plantimager.timelapse.scan.request import ScanRequest
    from plantimager.timelapse.support.clock import Clock

EVERY = timedelta(hours=1)
GRACE = timedelta(minutes=2)
BEFORE = timedelta(minutes=30)
"""When the clock is set: half an hour before the first slot."""
STEPS = {
    "century": timedelta(days=36_500),
    "one slot": EVERY,
    "no slot": timedelta(minutes=1),
}


class StillRig:
    """A rig whose calls are over at once; no scan is among them."""

    monitor = None
    is_idle = True

    def __init__(self, _: Clock, post: Callable[[CallOutcome], None]) -> None:
        self._post = post

    def submit(self, _: ScannerDriver, call: Call, request: ScanRequest | None = None, __: object = None) -> None:
        self._post(CallOutcome(call, request))


class Gauge:
    """Measures between two moments of a process."""

    def start(self) -> None:
        """Begin; the peak of memory counts from here."""
        Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far
        self._before = memory()["now"]
        self._began = time.perf_counter()

    def stop(self) -> None:
        """End, and print what was measured, for the parent."""
        took = (time.perf_counter() - self._began) * 1000
        after = memory()
        grown = {"growth kB": after["now"] - self._before, "peak kB": after["peak"] - self._before}
        print(json.dumps({"ms": took, "before kB": self._before, **grown}))


def step_the_daemon(directory: Path, step: timedelta) -> None:
    """Run the daemon on the store in a directory, and set its clock."""
    gc.set_threshold(MANY_VALUES)  # as its main program does
    set_up_logging("timelapsed")
    path, gauge, clock = directory / STORE, Gauge(), VirtualClock()
    places = Places(store=path, config_directories=())
    daemon = Daemon(Host(places, clock, Notifier({}), LiveFile(path), make_thread=StillRig), Config())

    def set_forward() -> None:
        gauge.start()
        clock.shift(step)

    clock.at(BEFORE, set_forward)
    clock.at(BEFORE + timedelta(microseconds=1), gauge.stop)  # time passes only while the daemon sleeps
    clock.at(BEFORE + timedelta(microseconds=2), lambda: daemon.signals.send(signal.SIGTERM))
    daemon.run()


def step_apscheduler(n_slots: int, step: timedelta) -> None:
    """Have APScheduler's own scheduler keep as many jobs, and set its clock."""
    from apscheduler.executors import base as executors  # noqa: PLC0415 - because the daemon's process loads less
    from apscheduler.schedulers import base as schedulers  # noqa: PLC0415 - as above
    from apscheduler.schedulers.background import BackgroundScheduler  # noqa: PLC0415 - as above

    clock = SystemClock()

    class ShiftedTime(datetime):
        by = timedelta(0)

        @classmethod
        def now(cls, _: object = None) -> datetime:
            return clock.now() + cls.by

    logging.getLogger("apscheduler").addHandler(logging.NullHandler())  # what it says of each misfire goes nowhere
    gc.set_threshold(MANY_VALUES)
    scheduler = BackgroundScheduler(timezone=UTC, job_defaults={"misfire_grace_time": int(GRACE.total_seconds())})
    first = clock.now() + BEFORE
    for slot in range(n_slots):
        scheduler.add_job(int, "date", run_date=first + slot * EVERY)
    scheduler.start()
    gauge = Gauge()
    gauge.start()
    schedulers.datetime = executors.datetime = ShiftedTime
    ShiftedTime.by = step
    scheduler.wakeup()  # which nobody does after a real setting: it would sleep on
    while scheduler.get_jobs():
        time.sleep(0.001)
    scheduler.shutdown()  # waits for the pool of threads that logs the misfires
    gauge.stop()


def write_store(directory: Path, n_slots: int) -> None:
    """Put a timelapse that is about to begin on disk."""
    times = tuple(START + EVERY + slot * EVERY for slot in range(n_slots))
    timelapse = TimeLapse(
        id="col0_ld",
        mode=TimeLapseMode.INTERVAL,
        state=TimeLapseState.SCHEDULED,
        schedule_times=times,
        grace=GRACE,
    )
    StoreKeeper(directory / STORE).start(new_stored_timelapse(timelapse, {}, None), START)


def in_a_process(*arguments: object) -> dict[str, float]:
    """Run this file with what one process is to do; return what it measured."""
    command = [sys.executable, __file__, "--child", *map(str, arguments)]
    ran = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    found: dict[str, float] = json.loads(ran.stdout)
    return found


def measure(n_slots: int, rounds: int) -> dict[str, dict[str, float]]:
    """Return the medians for one size, by what was done; APScheduler, which takes long, is asked once."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in (*STEPS, "bare write")}
    for _ in range(rounds):
        for name in STEPS:
            with tempfile.TemporaryDirectory(dir=Path.cwd()) as place:
                directory = Path(place)
                write_store(directory, n_slots)
                found[name].append(in_a_process("daemon", directory, name))
                content = (directory / STORE).read_bytes()
                if name == "century":
                    check_that_all_are_skipped(content, n_slots)
                    took = milliseconds(lambda path=directory / "bare.json", text=content: write_bare(path, text))
                    found["bare write"].append({"ms": took})
    found["APScheduler"] = [in_a_process("apscheduler", n_slots, "century")]
    return {name: {key: median(run[key] for run in runs) for key in runs[0]} for name, runs in found.items()}


def check_that_all_are_skipped(content: bytes, n_slots: int) -> None:
    """Make sure that what was measured is what was meant."""
    skipped = content.count(b'"status": "skipped"')
    if skipped != n_slots:
        raise RuntimeError(f"{skipped} of {n_slots} slots were skipped")


def child(kind: str, what: str, step: str) -> None:
    """Do what one process is to do, and print the figures."""
    if kind == "daemon":
        step_the_daemon(Path(what), STEPS[step])
    else:
        step_apscheduler(int(what), STEPS[step])


MEMORY = {"before kB": 9, "growth kB": 10, "peak kB": 12}
"""The columns for memory, and their widths."""


def main() -> None:
    """Measure, print a table, write the numbers where asked."""
    parser = options_for(__doc__)
    parser.add_argument("--slots", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--rounds", type=int, default=3, help="steps of each kind (3)")
    parser.add_argument("--child", nargs=3, help="used by this program itself")
    options = parser.parse_args()
    if options.child:
        child(*options.child)
        return

    print("the clock is set forward; in brackets: times what a century takes the daemon; memory in kB")
    print(f"{'slots':>8} {'over':<12} {'ms':>18} {'before':>9} {'grown by':>9} {'at most by':>11}")
    numbers = {}
    for n_slots in options.slots:
        rows = numbers[n_slots] = measure(n_slots, options.rounds)
        for name, row in rows.items():
            times = f"{row['ms']:>9.1f} ({row['ms'] / rows['century']['ms']:6.3f})"
            grown = "".join(f"{row[key]:>{width}.0f}" for key, width in MEMORY.items() if key in row)
            print(f"{n_slots:>8} {name:<12} {times} {grown}".rstrip(), flush=True)
    write_numbers(options.json, steps=numbers)


if __name__ == "__main__":
    main()
