"""How late jobs fire, and how often an idle scheduler wakes: timelapsed beside the kernel and APScheduler.

Run it on a machine that does nothing else::

    python tests/benchmarks/bench_firing.py [--samples 500] [--idle 20] [--json FILE]

All are measured in the same run, in turns, so that the ratios hold on any machine; the microseconds don't.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import platform
import random
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from apscheduler.schedulers.background import BackgroundScheduler

from plantimager.controller.timelapsed.clock import EPOCH, MICROSECOND, SystemClock
from plantimager.controller.timelapsed.scheduler import WallClockScheduler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BLOCK = 50
"""Firings in a row of one kind before the next has its turn."""
GAPS_US = (3_000, 15_000)
"""How far ahead each firing is planned, at random between these; long enough for the processor to sleep."""


def planned(gap_us: int) -> datetime:
    """Return a whole microsecond so far ahead."""
    return EPOCH + (time.time_ns() // 1000 + gap_us) * MICROSECOND


def lateness(at: datetime) -> float:
    """Return how many microseconds ago ``at`` was."""
    return time.time_ns() / 1000 - (at - EPOCH) // MICROSECOND


class Timespec(ctypes.Structure):
    """``struct timespec``."""

    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


def bare_timer(gaps: list[int]) -> Iterator[float]:
    """Sleep with clock_nanosleep on absolute CLOCK_REALTIME: as good as it gets from Python."""
    clock_nanosleep = ctypes.CDLL(None).clock_nanosleep
    for gap in gaps:
        at = planned(gap)
        seconds, microseconds = divmod((at - EPOCH) // MICROSECOND, 10**6)
        clock_nanosleep(time.CLOCK_REALTIME, 1, ctypes.byref(Timespec(seconds, microseconds * 1000)), None)
        yield lateness(at)


def wall_clock_scheduler(gaps: list[int]) -> list[float]:
    """Arm one job after the other, as the daemon does."""
    clock = SystemClock()
    scheduler = WallClockScheduler(clock, turn=lambda _: None)
    late = chain(gaps, lambda at, job: scheduler.arm("slot", at, job, at), scheduler.start, scheduler.shutdown)
    clock.close()
    return late


def background_scheduler(gaps: list[int]) -> list[float]:
    """Arm the same jobs with APScheduler's own."""
    scheduler = BackgroundScheduler(timezone=UTC, job_defaults={"misfire_grace_time": None})
    over = threading.Event()

    def run() -> None:
        scheduler.start()
        over.wait()
        scheduler.shutdown()

    return chain(gaps, lambda at, job: scheduler.add_job(job, "date", [at], run_date=at), run, over.set)


def chain(
    gaps: list[int],
    arm: Callable[[datetime, Callable[[datetime], None]], object],
    run: Callable[[], None],
    stop: Callable[[], None],
) -> list[float]:
    """Run a chain of jobs, each of which arms the next; return how late they were."""
    ahead, late = iter(gaps), []

    def job(at: datetime) -> None:
        late.append(lateness(at))
        arm_next()

    def arm_next() -> None:
        gap = next(ahead, None)
        if gap is None:
            stop()
        else:
            arm(planned(gap), job)

    arm_next()
    run()
    return late[1:]  # the first also waited for the start


SUBJECTS: dict[str, Callable[[list[int]], list[float] | Iterator[float]]] = {
    "clock_nanosleep": bare_timer,
    "WallClockScheduler": wall_clock_scheduler,
    "BackgroundScheduler": background_scheduler,
}


def firing(samples: int) -> dict[str, list[float]]:
    """Return for each subject how late it fired, in µs, sorted."""
    dice = random.Random(20260622)
    late: dict[str, list[float]] = {name: [] for name in SUBJECTS}
    while any(len(found) < samples for found in late.values()):
        gaps = [dice.randint(*GAPS_US) for _ in range(BLOCK)]
        for name, subject in SUBJECTS.items():
            late[name].extend(subject(gaps))
    return {name: sorted(found) for name, found in late.items()}


def percentile(ordered: list[float], percent: int) -> float:
    """Return the value that so many percent stay below."""
    return ordered[min(len(ordered) * percent // 100, len(ordered) - 1)]


def switches(thread: threading.Thread) -> int:
    """Return how often a thread went to sleep by itself; each time it was woken."""
    status = Path(f"/proc/self/task/{thread.native_id}/status").read_text(encoding="ascii")
    return int(status.partition("voluntary_ctxt_switches:")[2].split()[0])


def idle(seconds: float) -> dict[str, float]:
    """Return for each scheduler how often a minute it wakes with its only job an hour away."""
    far = datetime.fromtimestamp(time.time_ns() / 1e9, UTC) + timedelta(hours=1)
    clock = SystemClock()
    ours = WallClockScheduler(clock, turn=lambda _: None)
    ours.arm("slot", far, print)
    loop = threading.Thread(target=ours.start)
    loop.start()
    theirs = BackgroundScheduler(timezone=UTC)
    theirs.add_job(print, "date", run_date=far)
    theirs.start()
    polling = threading.Thread(target=poll_until, args=(over := threading.Event(),))
    polling.start()

    threads = {"WallClockScheduler": loop, "BackgroundScheduler": theirs._thread, "a loop of sleep(1)": polling}
    time.sleep(1)  # until all have settled
    before = {name: switches(thread) for name, thread in threads.items()}
    time.sleep(seconds)
    counted = {name: (switches(thread) - before[name]) * 60 / seconds for name, thread in threads.items()}

    over.set()
    theirs.shutdown()
    ours.shutdown()
    loop.join()
    polling.join()
    clock.close()
    return counted


def poll_until(over: threading.Event) -> None:
    """Look once a second, as many a daemon's main loop does."""
    while not over.is_set():
        time.sleep(1)


def main() -> None:
    """Measure, print a table, write the numbers where asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--samples", type=int, default=500, help="firings of each kind (500)")
    parser.add_argument("--idle", type=float, default=20, help="seconds to watch the idle schedulers (20; 0: don't)")
    parser.add_argument("--json", type=Path, help="file to write the numbers to")
    options = parser.parse_args()

    late = firing(options.samples)
    rows = {
        name: {f"p{percent}": percentile(found, percent) for percent in (50, 90, 99)} for name, found in late.items()
    }
    bare = rows["clock_nanosleep"]
    count = min(map(len, late.values()))
    print(f"firing lateness in µs, {count} firings each; in brackets: times that of clock_nanosleep")
    for name, row in rows.items():
        print(f"  {name:<20}", *(f"{key} {value:8.0f} ({value / bare[key]:5.2f})" for key, value in row.items()))
    waking = idle(options.idle) if options.idle > 0 else {}
    if waking:
        print("wake-ups a minute with nothing to do")
        for name, count in waking.items():
            print(f"  {name:<20} {count:5.1f}")

    if options.json:
        machine = f"{platform.machine()}, Linux {platform.release()}, Python {sys.version.split()[0]}"
        numbers = {"machine": machine, "lateness_us": rows, "idle_wakeups_per_minute": waking}
        options.json.write_text(json.dumps(numbers, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
