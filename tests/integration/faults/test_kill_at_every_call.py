"""SIGKILL at every system call of a save and of whole runs of the daemon, one by one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from power_cuts import DAEMON_RUNS, SAVES
from soaking import SOAK
from tree import SUPPORT

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = SUPPORT / "power_cuts.py"
SHARES = os.cpu_count() or 1

IN_CI = ["slot", "from-backup"]
LONG = [name for name in DAEMON_RUNS if name not in IN_CI] if SOAK else []


def cut_everywhere(scenario: str, directory: Path) -> int:
    """Cut a run off at each of its system calls (see `tracing`), on all processors; return how many those were."""
    programs = []
    for share in range(1, SHARES + 1):
        own = directory / str(share)
        own.mkdir()
        command = [sys.executable, PROGRAM, scenario, own, "--share", f"{share}/{SHARES}"]
        environment = {**os.environ, "PYTHONPATH": str(PROGRAM.parent)}
        programs.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment))
    outputs = [program.communicate()[0] for program in programs]
    found = [json.loads(line) for output in outputs for line in output.splitlines()]
    assert [row for row in found if row["problem"]] == []
    assert all(program.returncode == 0 for program in programs)
    assert [row["cut"] for row in found].count(False) == SHARES, "each share goes on until a run isn't cut any more"
    return sum(row["cut"] for row in found)


@pytest.mark.parametrize("scenario", SAVES)
def test_save_cut_off_anywhere_leaves_the_old_store_or_the_new_one(tmp_path, scenario) -> None:
    """Whole, with a sound .bak; the sweep at the next start removes the temporary files of the save, and no other."""
    assert cut_everywhere(scenario, tmp_path) >= 5  # open, write, fsync, rename, fsync


@pytest.mark.parametrize("scenario", IN_CI + LONG)
def test_daemon_cut_off_anywhere_is_resumed_without_a_loss(tmp_path, scenario) -> None:
    """From its first system call to its last: the store is sound at each, and the next start takes the other slots."""
    assert cut_everywhere(scenario, tmp_path) >= 90
