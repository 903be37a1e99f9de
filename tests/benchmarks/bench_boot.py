"""How long from exec to READY=1, and how much memory then, beside a bare interpreter with the same packages.

Run it on a machine that does nothing else::

    python tests/benchmarks/bench_boot.py [--slots 0 10 10000] [--rounds 21] [--json FILE]

The bare one imports the third-party packages that the daemon imports, sends READY=1 and waits. The daemon reads its
configuration and its store, settles what went by, saves, and has the schedule armed. Both in turns; medians are told.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from statistics import median

from bench_saving import BEGIN, EVERY, STORE, half_done

from plantimager.controller.scanner.stored_timelapse import new_stored
from plantimager.controller.timelapsed.clock import SystemClock

PACKAGES = (
    "apscheduler.events, apscheduler.executors.base, apscheduler.jobstores.base, apscheduler.schedulers.base, "
    "apscheduler.triggers.date, logging_journald, orjson, platformdirs, sdnotify"
)
BARE = [
    sys.executable,
    "-c",
    f"import signal, {PACKAGES}; sdnotify.SystemdNotifier().notify('READY=1'); signal.pause()",
]
DAEMON = [sys.executable, "-m", "plantimager.controller.timelapsed.main"]


class Start:
    """The directories and the notify socket that both are started with."""

    def __init__(self, directory: Path) -> None:
        self.storage = directory / "data/plant-imager3-app"
        self.storage.mkdir(parents=True, mode=0o700)
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

    def until_ready(self, command: list[str]) -> tuple[float, int]:
        """Start a program; return how long until it says READY=1, in ms, and its resident memory then, in kB."""
        begin = time.perf_counter()
        with subprocess.Popen(command, env=self._environment, stderr=subprocess.DEVNULL) as program:
            while b"READY=1" not in self._socket.recv(65536):
                pass
            took = time.perf_counter() - begin
            status = Path(f"/proc/{program.pid}/status").read_text()
            program.kill()
        return took * 1000, int(status.partition("VmRSS:")[2].split()[0])


def store_of(n_slots: int) -> bytes:
    """Return the text of a store whose first half is taken, and whose next slot is an hour off."""
    shift = SystemClock().now() + timedelta(hours=1) - (BEGIN + n_slots // 2 * EVERY)
    timelapse = half_done(n_slots, BEGIN + shift)
    return new_stored(timelapse, {"ScanPath": {"class_name": "Circle"}}, "0" * 64, STORE).encode()


def measure(directory: Path, n_slots: int, rounds: int) -> dict[str, float]:
    """Return the medians for one size; 0 is no store at all."""
    start = Start(directory)
    content = store_of(n_slots) if n_slots else None
    found: dict[str, list[tuple[float, int]]] = {"bare": [], "daemon": []}
    for _ in range(rounds):
        found["bare"].append(start.until_ready(BARE))
        if content is not None:
            (start.storage / STORE).write_bytes(content)
        found["daemon"].append(start.until_ready(DAEMON))
    row: dict[str, float] = {}
    for name, runs in found.items():
        row[f"{name} ms"] = median(took for took, _ in runs)
        row[f"{name} kB"] = median(memory for _, memory in runs)
    return {**row, "time": row["daemon ms"] / row["bare ms"], "memory": row["daemon kB"] / row["bare kB"]}


def main() -> None:
    """Measure, print a table, write the numbers where asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--slots", type=int, nargs="+", default=[0, 10, 10_000])
    parser.add_argument("--rounds", type=int, default=21, help="starts of each kind (21)")
    parser.add_argument("--json", type=Path, help="file to write the numbers to")
    options = parser.parse_args()

    print("exec to READY=1 and resident memory; in brackets: times those of the bare interpreter")
    print(f"{'slots':>8} {'ms':>16} {'bare ms':>8} {'kB':>17} {'bare kB':>8}")
    numbers = {}
    for n_slots in options.slots:
        with tempfile.TemporaryDirectory() as directory:
            row = numbers[n_slots] = measure(Path(directory), n_slots, options.rounds)
        print(
            f"{n_slots:>8} {row['daemon ms']:>8.1f} ({row['time']:5.2f}) {row['bare ms']:>8.1f}"
            f" {row['daemon kB']:>9.0f} ({row['memory']:5.2f}) {row['bare kB']:>8.0f}"
        )
    if options.json:
        machine = f"{platform.machine()}, Linux {platform.release()}, Python {sys.version.split()[0]}"
        options.json.write_text(json.dumps({"machine": machine, "starts": numbers}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
