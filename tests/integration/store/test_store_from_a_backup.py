"""A store that a person has put back from a backup: the daemon goes on with it, and touches no dataset."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

from daemon_process import statuses
from timelapse_service import moved

if TYPE_CHECKING:
    from pathlib import Path

    from daemon_process import Place

CONFIGURATION = 'clock = "trust"\n[drivers.simulated]\nimage_width = 4\ntime_per_position = 0\n'
DEFINITION = """\
[timelapse]
name = "tl"
mode = "interval"
interval = "1s"
n_shots = 3
warmup_period = 0
grace_period = 60
"""


def contents(directory: Path) -> dict[str, bytes]:
    """Return every file below a directory."""
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_slots_that_were_taken_after_a_backup_count_as_missed_and_keep_their_datasets(place: Place) -> None:
    """The page on mending says so: the backup knows nothing of them, and they are over."""
    place.configure(CONFIGURATION)
    place.define(DEFINITION)
    with place.start() as daemon:
        daemon.wait_for("timelapse_completed")
        daemon.stop()
    backup = place.read()
    backup |= {"next_idx": 1, "scans": backup["scans"][:1], "state": "scheduled"}
    backup["extra"]["timelapsed"]["slots"] = {}
    place.store.write_text(json.dumps(moved(backup, -timedelta(days=1))))
    before = contents(place.datasets)
    assert {name.split("/")[0] for name in before} == {"tl_0", "tl_1", "tl_2"}
    place.run_until("slot_skipped")
    assert statuses(place.read()) == ["succeeded", "skipped", "skipped"]
    assert contents(place.datasets) == before
