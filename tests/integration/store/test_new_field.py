"""A field that a slot's record gets is persisted, and shown to programs, by its declaration alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from tree import TREE

if TYPE_CHECKING:
    from pathlib import Path

DECLARED = '    pictures: int | None = None\n    humidity: float | None = None\n    """Of the air, in percent."""\n'
PROGRAM = """
from datetime import UTC, datetime
from plantimager.timelapse.cli.main import main
from plantimager.timelapse.domain.records import SlotRecord
from plantimager.timelapse.domain.states import RecordStatus, TimeLapseMode, TimeLapseState
from plantimager.timelapse.domain.timelapse import TimeLapse
from plantimager.timelapse.store.location import get_storage_dir
from plantimager.timelapse.store.stored_timelapse import new_stored_timelapse
from plantimager.timelapse.support.durable import write_durably

at = datetime(2026, 6, 22, 8, tzinfo=UTC)
record = SlotRecord(slot=0, scan_id="tl", status=RecordStatus.SUCCEEDED, attempt=1, started_at=at, humidity=40.5)
timelapse = TimeLapse(
    id="tl",
    mode=TimeLapseMode.ONE_SHOT,
    state=TimeLapseState.COMPLETED,
    schedule_times=(at,),
    next_idx=1,
    records={0: record},
)
get_storage_dir().mkdir(parents=True)
stored = new_stored_timelapse(timelapse, {}, None)
write_durably(get_storage_dir() / "timelapse_storage.json", stored.encode())
main(["status", "--json"])
"""


def test_a_new_field_of_a_record_is_declared_in_one_file(tmp_path: Path) -> None:
    """The page for contributors names three more: where the manual, the list for programs and the screen explain it."""
    shutil.copytree(TREE / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    records = tmp_path / "src/plantimager/timelapse/domain/records.py"
    text = records.read_text(encoding="utf-8")
    assert text.count("    pictures: int | None = None\n") == 1
    records.write_text(text.replace("    pictures: int | None = None\n", DECLARED), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "src"), "XDG_DATA_HOME": str(tmp_path / "data")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, stdout=subprocess.PIPE, encoding="utf-8", check=True
    )
    shown = json.loads(done.stdout)
    assert shown["records"][0]["humidity"] == 40.5
    saved = json.loads((tmp_path / "data/plant-imager3-app/timelapse_storage.json").read_bytes())
    assert saved["extra"]["timelapsed"]["slots"] == {"0": {"humidity": 40.5}}
