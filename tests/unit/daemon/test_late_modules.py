"""What a start leaves out: modules that only a person's request needs."""

from __future__ import annotations

import subprocess
import sys

LATE = (
    "daemon.change_intake",
    "daemon.judgement",
    "daemon.manual_request",
    "daemon.stored_files",
    "domain.amending",
    "drivers.manual_command",
    "drivers.programs.unmet",
    "settings.definition",
    "settings.relay_config",
    "store.inspection",
)
LISTING = "import sys, plantimager.timelapse.daemon.service; print(*sys.modules)"


def test_start_loads_no_module_that_only_a_request_needs():
    """Each of them costs a start a third of a million instructions, however small it is."""
    program = subprocess.run([sys.executable, "-c", LISTING], capture_output=True, text=True, check=True)
    loaded = set(program.stdout.split())
    assert "plantimager.timelapse.daemon.request_handler" in loaded
    assert loaded & {f"plantimager.timelapse.{name}" for name in LATE} == set()
