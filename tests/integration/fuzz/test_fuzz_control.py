"""A control socket under attack: slots are taken on time, memory stays bounded, a person is answered after it."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import datetime
from pathlib import Path

from control import ask, control_of
from control_attack import BOMB
from daemon_process import PATIENCE, Place
from soaking import scaled
from tiny_scan import configuration, definition
from tree import SUPPORT
from waiting import wait_until

MAX_GROWTH_KB = 200_000
GRACE_SECONDS = 10
SLOTS = 3600
"""One a second: more than are due meanwhile."""


def peak_memory(pid: int) -> int:
    """Return the most memory that a process had, in kB."""
    return int(re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1])


def lateness(store: dict, taken: list[dict]) -> list[float]:
    """Return how many seconds after its time each slot has begun, the first ones of the schedule."""
    planned = map(datetime.fromisoformat, store["schedule_times"])
    began = (datetime.fromisoformat(scan["started_at"]).astimezone() for scan in taken)
    return [(start - time).total_seconds() for start, time in zip(began, planned, strict=False)]


def test_attacked_socket_costs_no_slot(place: Place, tmp_path) -> None:
    """10^5 mutated requests and broken clients, several at a time, and a slot is due in each second of that."""
    place.configure(configuration())
    place.define(definition(SLOTS).replace("grace_period = 600", f"grace_period = {GRACE_SECONDS}"))
    other = tmp_path / "other.toml"
    other.write_text(definition(3).replace('"tl"', '"other"'))
    with place.start() as daemon:
        daemon.wait_for("scan_started: tl_0")
        before = peak_memory(daemon.process.pid)
        command = [
            sys.executable,
            SUPPORT / "control_attack.py",
            control_of(place.store),
            str(scaled(100_000, 1_000_000)),
            other,
        ]
        assert subprocess.run(command, check=False).returncode == 0
        assert wait_until(lambda: ask(place.store, "status").accepted, within=PATIENCE)
        assert ask(place.store, "cancel").accepted
        daemon.wait_for("timelapse_cancelled: tl")
        assert peak_memory(daemon.process.pid) - before < MAX_GROWTH_KB
        assert not [line for line in daemon.lines if "Traceback" in line or "crashed" in line]
        assert daemon.stop() == 0
    store = place.read()
    taken = [scan for scan in store["scans"] if scan["started_at"] is not None]
    assert len(taken) > 1
    assert taken == store["scans"][: len(taken)]  # none was passed over
    assert {scan["status"] for scan in taken[:-1]} == {"succeeded"}  # the last one may have been cancelled
    assert max(lateness(store, taken)) <= GRACE_SECONDS


def test_bomb_is_refused_as_a_request_and_in_the_configuration_directory(place: Place) -> None:
    """Tomllib alone would take minutes for this key, and the loop with it."""
    place.configure(configuration())
    place.define(BOMB.decode())
    with place.start() as daemon:
        said = daemon.wait_for("definition_faulty:")
        assert "timelapse.toml: line 1: a key has more than 16 parts between dots" in said
        answer = ask(place.store, "start", BOMB, file="/home/ada/bomb.toml")
        assert (answer.accepted, answer.message) == (
            False,
            "/home/ada/bomb.toml: line 1: a key has more than 16 parts between dots",
        )
        assert daemon.stop() == 0
