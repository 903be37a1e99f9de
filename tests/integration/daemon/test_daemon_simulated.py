"""What holds whatever happens: random histories of a rig against the real daemon, on all processors."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import histories
from soaking import SOAK

CASES = int(os.environ.get("TIMELAPSED_SIMULATIONS", "10000"))
"""How many histories are played; in a soak test, as many at a time."""
SEED = int(os.environ.get("TIMELAPSED_SEED", "20260622")) + (time.time_ns() // 1_000_000_000 if SOAK else 0)
"""The first process has this one, the next process the next number: the same histories every time, but in a soak."""


def test_every_slot_gets_its_one_record_whatever_happens(capsys):
    """Never fired twice, outside grace or before the clock is trusted, nothing lost; see `simulation` for the rest."""
    processes = os.cpu_count() or 1
    share = -(-CASES // processes)
    command = [sys.executable, "-W", "error", histories.__file__, str(share), "--minutes", str(SOAK), "--seed"]
    environment = {**os.environ, "PYTHONPATH": str(Path(histories.__file__).parent), "TZ": "UTC"}
    began = time.perf_counter()
    running = [
        subprocess.Popen(
            [*command, str(SEED + number)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        for number in range(processes)
    ]
    said = [process.communicate()[0] for process in running]
    hours = (time.perf_counter() - began) / 3600
    failed = [text for process, text in zip(running, said, strict=True) if process.returncode]
    assert not failed, failed[0]
    total = sum((histories.Played(**json.loads(text.splitlines()[-1])) for text in said), histories.Played())
    with capsys.disabled():
        print(f"\n{total}; {total.histories / hours:.0f} histories and {total.rig_years / hours:.0f} rig-years an hour")
    assert total.slots_after, "nothing was left to be taken once the faults had stopped"
