"""Many at once: daemons started at the same moment, storms of signals, a host full of rigs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

from daemon_process import Place, statuses
from soaking import scaled
from tiny_scan import configuration, definition
from tree import SUPPORT

if TYPE_CHECKING:
    from pathlib import Path

RACES = SUPPORT / "races.py"


def races(directory: Path, rounds: int, runners: int) -> list[str]:
    environment = {**os.environ, "PYTHONPATH": str(RACES.parent)}
    command = [sys.executable, RACES, directory, str(rounds), str(runners)]
    run = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()


def test_two_daemons_started_at_once_a_hundred_times(tmp_path) -> None:
    """Exactly one runs each time; the other names it and ends with 1."""
    assert races(tmp_path, 100, 2) == ["1 1"] * 100


def test_many_daemons_started_at_once(tmp_path) -> None:
    """Exactly one runs, however many there are."""
    assert races(tmp_path, scaled(3, 100), 20) == ["1 19"] * scaled(3, 100)


def test_storm_of_reloads_costs_no_slot(place: Place) -> None:
    """Thousands of SIGHUPs are handled as fast as possible, and the slots are taken in between."""
    place.configure(configuration())
    place.define(definition(4))
    with place.start() as daemon:
        daemon.wait_for("scan_started: tl_0")
        for _ in range(scaled(20_000, 1_000_000)):
            os.kill(daemon.process.pid, signal.SIGHUP)
        daemon.wait_for("timelapse_completed: tl: 4 taken")
        assert daemon.stop() == 0
    assert statuses(place.read()) == ["succeeded"] * 4
    assert 1 <= len(daemon.said("reloaded")) <= 20_000
