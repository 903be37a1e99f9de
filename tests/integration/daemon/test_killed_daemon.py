"""The main promise: whenever the power is cut, every slot ends with one true record."""

from __future__ import annotations

import random
import stat
from collections import Counter
from typing import TYPE_CHECKING

from daemon_process import attempt_of

if TYPE_CHECKING:
    from daemon_process import Place

N_SLOTS = 30
KILLS = 10

CONFIG = """
driver = "command"
clock = "trust"

[drivers.command]
argv = ["{program}"]
"""

DEFINITION = """
[timelapse]
name = "ledger"
mode = "interval"
interval = 1
n_shots = {n_slots}
warmup_period = 1
standby_threshold_sec = 60
grace_period = 120
"""

PROGRAM = """#!/usr/bin/env python3
import json, os
print(json.dumps({{"progress": [0, 1]}}), flush=True)
with open({ledger!r}, "a") as ledger:
    print(os.environ["SLOT"], os.environ["ATTEMPT"], file=ledger, flush=True)
    os.fsync(ledger.fileno())
with open("0.jpg", "w") as picture:
    picture.write("a plant")
print(json.dumps({{"progress": [1, 1]}}), flush=True)
"""


def test_thirty_slots_survive_ten_kills_at_random_moments(place: Place, tmp_path) -> None:
    """Every slot has one final record, next_idx is right, none succeeded twice, ledger and records agree."""
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    ledger = tmp_path / "ledger"
    program = tmp_path / "take"
    program.write_text(PROGRAM.format(ledger=str(ledger)))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    place.configure(CONFIG.format(program=program))
    place.define(DEFINITION.format(n_slots=N_SLOTS))

    for _ in range(KILLS):
        with place.start() as daemon:
            # A random line of the next few, and then a random moment of what follows it.
            for _ in range(chance.randrange(1, 12)):
                if any("timelapse_completed" in line for line in daemon.lines):
                    break
                daemon.wait_for(": ")
            _burn(chance.randrange(0, 200_000))
            daemon.kill()
    with place.start() as daemon:
        while not daemon.said("timelapse_completed") and not daemon.said("store_found"):
            daemon.wait_for(": ")
        assert daemon.stop() == 0

    store = place.read()
    assert store["state"] == "completed"
    assert store["next_idx"] == N_SLOTS
    assert [scan["scan_id"] for scan in store["scans"]] == [f"ledger_{slot}" for slot in range(N_SLOTS)]
    assert {scan["status"] for scan in store["scans"]} == {"succeeded"}, "the grace is longer than the whole timelapse"
    taken = Counter(int(line.split()[0]) for line in ledger.read_text().splitlines())
    assert sorted(taken) == list(range(N_SLOTS))
    for line in ledger.read_text().splitlines():
        slot, attempt = map(int, line.split())
        assert attempt <= attempt_of(store, slot)
    # An attempt that was cut off after it wrote its line is the only way to a second one, and is counted.
    for slot, times in taken.items():
        assert times <= attempt_of(store, slot)


def _burn(rounds: int) -> None:
    for _ in range(rounds):
        pass
