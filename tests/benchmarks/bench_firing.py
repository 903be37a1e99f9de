"""How late jobs fire, and how often an idle scheduler wakes: timelapsed beside the kernel and APScheduler.

Run it on a machine that does nothing else::

    PYTHONPATH=tests/support python tests/benchmarks/bench_firing.py [--samples 500] [--idle 20] [--json FILE]

All wait side by side in one process and fire in turns, one job each, so that what else happens on the machine hits
all alike: the ratios hold on any machine, the microseconds don't. A job is late by the time between the instant that
was planned and the first thing that it does, wherever its scheduler calls it: timelapsed on the thread that waits (all
that the daemon does beside the job comes after it), APScheduler's BackgroundScheduler in a pool of threads or, with an
executor that calls in place, on the thread that waits, too.

Then timelapsed fires in turns without a relay and beside one, idle as its unit makes it (CPUWeight=idle, which takes
root): one that delivers with rclone, at full speed or throttled, one that hangs in that, and one that was killed.
"""

from __future__ import annotations

import ctypes
import os
import random
import shutil
import signal
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

from apscheduler.executors.debug import DebugExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from bench_boot import DAEMON, READY, SETTLED, Start, store_of
from daemon_process import DaemonProcess
from measuring import options_for, write_numbers
from rclone_server import RCLONE, RcloneRig
from relay_rig import STRICT_RELAY
from waiting import wait_until

from plantimager.timelapse.daemon.scheduler import WallClockScheduler
from plantimager.timelapse.drivers.programs.processes import descendants_of, list_processes
from plantimager.timelapse.support.clock import EPOCH, MICROSECOND, SystemClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Arm = Callable[[datetime, Callable[[], None]], object]
    Fire = Callable[[datetime], float]

GAPS_US = (3_000, 15_000)
"""How far ahead each firing is planned, at random between these; long enough for the processor to sleep."""
SETTLING = 2.0
"""Seconds until a scheduler that was just started is idle."""
TURNS = 5
"""How often the relay is stopped and started."""
N_DATASETS = 24
"""More than are delivered in one turn."""
SLOWLY = 'max_rate = "0.1 MB"'
GROUPS = next((path for path in map(Path, ("/sys/fs/cgroup/cpu", "/sys/fs/cgroup")) if path.is_dir()), Path())
"""The control groups of the processor: of their own, or the unified ones."""


def planned(gap_us: int) -> datetime:
    """Return a whole microsecond so far ahead."""
    return EPOCH + (time.time_ns() // 1000 + gap_us) * MICROSECOND


def lateness(at: datetime) -> float:
    """Return how many microseconds ago ``at`` was."""
    return time.time_ns() / 1000 - (at - EPOCH) // MICROSECOND


class Timespec(ctypes.Structure):
    """``struct timespec``."""

    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


@contextmanager
def bare_timer() -> Iterator[Fire]:
    """Sleep with clock_nanosleep on absolute CLOCK_REALTIME, and do nothing else."""
    clock_nanosleep = ctypes.CDLL(None).clock_nanosleep

    def fire(at: datetime) -> float:
        seconds, microseconds = divmod((at - EPOCH) // MICROSECOND, 10**6)
        clock_nanosleep(time.CLOCK_REALTIME, 1, ctypes.byref(Timespec(seconds, microseconds * 1000)), None)
        return lateness(at)

    yield fire


@contextmanager
def timelapsed() -> Iterator[Fire]:
    """Arm one job after the other, as the daemon does."""
    clock = SystemClock()
    scheduler = WallClockScheduler(clock, turn=lambda _: None)
    loop = threading.Thread(target=scheduler.start)
    loop.start()
    yield firing(lambda at, job: scheduler.arm("slot", at, job))
    scheduler.shutdown()
    loop.join()
    clock.close()


@contextmanager
def apscheduler(**options: object) -> Iterator[Fire]:
    """Arm the same jobs with APScheduler's own."""
    scheduler = BackgroundScheduler(timezone=UTC, job_defaults={"misfire_grace_time": None}, **options)
    scheduler.start()
    yield firing(lambda at, job: scheduler.add_job(job, "date", run_date=at))
    scheduler.shutdown()


def firing(arm: Arm) -> Fire:
    """Return how to have a scheduler fire a job, and wait for that."""
    late: SimpleQueue[float] = SimpleQueue()

    def fire(at: datetime) -> float:
        arm(at, lambda: late.put(lateness(at)))
        return late.get()

    return fire


BARE, OURS, THEIRS = "clock_nanosleep", "timelapsed", "BackgroundScheduler"
ALONE, KILLED = "without a relay", "beside a relay that was killed"
BESIDE, THROTTLED, HUNG = (f"beside a relay that {what}" for what in ("delivers", "is throttled", "hangs"))
CONTENDERS = {
    BARE: bare_timer,
    OURS: timelapsed,
    THEIRS: apscheduler,
    f"{THEIRS}, in place": lambda: apscheduler(executors={"default": DebugExecutor()}),
}


def fire_in_turns(samples: int) -> dict[str, list[float]]:
    """Return for each contender how late it fired, in µs, sorted."""
    dice = random.Random(20260622)
    late: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    with ExitStack() as running:
        contenders = [(name, running.enter_context(start())) for name, start in CONTENDERS.items()]
        time.sleep(SETTLING)
        for _ in range(samples):
            for name, fire in dice.sample(contenders, len(contenders)):
                late[name].append(fire(planned(dice.randint(*GAPS_US))))
    return {name: sorted(found) for name, found in late.items()}


@contextmanager
def as_its_unit() -> Iterator[Sequence[str]]:
    """Yield the command that starts the relay as its unit does: idle beside the group of this process."""
    top, before = GROUPS / f"firing-{os.getpid()}", GROUPS / "cgroup.procs"
    ours, idle = top / "daemon", top / "relay"
    try:
        top.mkdir()
        if (top / "cgroup.subtree_control").exists():
            (top / "cgroup.subtree_control").write_text("+cpu")
        for group in (ours, idle):
            group.mkdir()
        (idle / "cpu.idle").write_text("1")
        (ours / "cgroup.procs").write_text(str(os.getpid()))
    except OSError as problem:
        raise SystemExit(f"the relay is measured as its unit runs it, which takes root: {problem}") from None
    try:
        yield ["sh", "-c", f'echo $$ > {idle}/cgroup.procs; exec "$@"', "sh", "ionice", "-c", "3"]
    finally:
        before.write_text(str(os.getpid()))
        for group in (ours, idle, top):
            group.rmdir()


def fire_beside_relay(samples: int) -> dict[str, list[float]]:
    """Return how late timelapsed fires without a relay, and beside one in each of its states, in µs, sorted."""
    dice = random.Random(20260622)
    late: dict[str, list[float]] = {name: [] for name in (ALONE, BESIDE, THROTTLED, HUNG, KILLED)}

    def measure(name: str) -> None:
        late[name] += (fire(planned(dice.randint(*GAPS_US))) for _ in range(samples // TURNS))

    with tempfile.TemporaryDirectory() as name, as_its_unit() as by, timelapsed() as fire:
        directory, remote = Path(name), Path(name, "remote")
        rig = RcloneRig(directory / "rig", f"[lab]\ntype = alias\nremote = {remote}\n")
        rig.take_long(N_DATASETS, width=640)
        for _ in range(TURNS):
            time.sleep(SETTLING)
            measure(ALONE)
            for state, settings in ((THROTTLED, [SLOWLY]), (BESIDE, [])):
                rig.configure(*settings)
                rig.ledger_file.unlink(missing_ok=True)
                shutil.rmtree(remote, ignore_errors=True)
                with DaemonProcess(rig.place, by=by, program=STRICT_RELAY) as relay:
                    relay.wait_for("delivered: tl_0")
                    measure(state)
                    if rig.has(N_DATASETS - 1):
                        raise SystemExit("the relay had nothing more to deliver; fewer --samples, please")
                    if state is BESIDE:
                        relay.process.send_signal(signal.SIGSTOP)
                        measure(HUNG)
            measure(KILLED)
            wait_until(lambda: not descendants_of({os.getpid()}, list_processes()), within=60, what="the end of rclone")
    return {name: sorted(found) for name, found in late.items()}


def percentile(ordered: list[float], percent: int) -> float:
    """Return the value that so many percent stay below."""
    return ordered[min(len(ordered) * percent // 100, len(ordered) - 1)]


def switches(pid: int | str, thread: int | str = "*") -> int:
    """Return how often a thread, or all of a process, went to sleep by itself; each time it was woken."""
    statuses = [path.read_text(encoding="ascii") for path in Path(f"/proc/{pid}/task").glob(f"{thread}/status")]
    return sum(int(status.partition("voluntary_ctxt_switches:")[2].split()[0]) for status in statuses)


def idle(seconds: float) -> dict[str, float]:
    """Return how often a minute each wakes that has nothing to do for half an hour or more."""
    theirs = BackgroundScheduler(timezone=UTC)
    theirs.add_job(print, "date", run_date=planned(3_600_000_000))
    theirs.start()
    polling = threading.Thread(target=poll_until, args=(over := threading.Event(),))
    polling.start()
    with tempfile.TemporaryDirectory() as directory, Start(Path(directory)) as start:
        start.store(store_of(10))
        with start.running(DAEMON, READY, SETTLED) as (daemon, _):
            watched = {
                f"{OURS}, the whole process": (daemon, "*"),
                THEIRS: ("self", theirs._thread.native_id),
                "a loop of sleep(1)": ("self", polling.native_id),
            }
            time.sleep(SETTLING)
            before = {name: switches(*which) for name, which in watched.items()}
            time.sleep(seconds)
            counted = {name: (switches(*which) - before[name]) * 60 / seconds for name, which in watched.items()}
    over.set()
    theirs.shutdown()
    polling.join()
    return counted


def poll_until(over: threading.Event) -> None:
    """Look once a second, as many a daemon's main loop does."""
    while not over.is_set():
        time.sleep(1)


def main() -> None:
    """Measure, print a table, write the numbers where asked."""
    parser = options_for(__doc__)
    parser.add_argument("--samples", type=int, default=500, help="firings of each kind (500)")
    parser.add_argument("--idle", type=float, default=20, help="seconds to watch the idle ones (20; 0: don't)")
    options = parser.parse_args()

    late = fire_in_turns(options.samples)
    rows = {
        name: {f"p{percent}": percentile(found, percent) for percent in (50, 90, 99)} for name, found in late.items()
    }
    bare, ours, theirs = (rows[name] for name in (BARE, OURS, THEIRS))
    print(f"firing lateness in µs, {options.samples} firings each; in brackets: times that of {BARE}")
    for name, row in rows.items():
        print(f"  {name:<29}", *(f"{key} {value:7.0f} ({value / bare[key]:5.2f})" for key, value in row.items()))
    ratios = {"p50 by bare": ours["p50"] / bare["p50"], "theirs by ours": theirs["p50"] / ours["p50"]}
    print(f"  {THEIRS} takes {ratios['theirs by ours']:.2f} times as long as {OURS} (p50)")
    beside = fire_beside_relay(options.samples) if RCLONE is not None else {}
    for percent in (50, 99) if beside else ():
        for state in (BESIDE, THROTTLED, HUNG, KILLED):
            ratio = percentile(beside[state], percent) / percentile(beside[ALONE], percent)
            ratios[f"p{percent} {state} by alone"] = ratio
            print(f"  {OURS} {state}: p{percent} is {ratio:.2f} times that {ALONE}")
    waking = idle(options.idle) if options.idle > 0 else {}
    if waking:
        print("wake-ups a minute with nothing to do")
        for name, count in waking.items():
            print(f"  {name:<29} {count:5.1f}")
    write_numbers(options.json, lateness_us=rows, **ratios, idle_wakeups_per_minute=waking)


if __name__ == "__main__":
    main()
