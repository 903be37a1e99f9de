"""What holds whatever happens: random histories of a rig against the real daemon, on all processors."""

import os
import subprocess
import sys
from pathlib import Path

import histories

CASES = int(os.environ.get("TIMELAPSED_SIMULATIONS", "10000"))
"""How many histories are played."""
SEED = int(os.environ.get("TIMELAPSED_SEED", "20260622"))
"""The first process has this one, the next process the next number: the same histories every time."""


def test_every_slot_gets_its_one_record_whatever_happens():
    """Never fired twice, outside grace or before the clock is trusted, nothing lost; see `simulation` for the rest."""
    processes = os.cpu_count() or 1
    share = -(-CASES // processes)
    command = [sys.executable, "-W", "error", histories.__file__, str(share), "--seed"]
    environment = {**os.environ, "PYTHONPATH": str(Path(histories.__file__).parent), "TZ": "UTC"}
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
    failed = [text for process, text in zip(running, said, strict=True) if process.returncode]
    assert not failed, failed[0]
