"""What a start says of a storage that will not last."""

from __future__ import annotations

from simulation import HOUR, MINUTE, Life

from plantimager.timelapse.channel.live import read_live
from plantimager.timelapse.support import file_system


def test_storage_in_memory_is_told_at_each_start_and_in_the_status(rig, tmp_path, monkeypatch):
    """Store and datasets on one overlay are one line."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text("1 0 0:1 / / rw - overlay o rw,upperdir=/rw/up\n2 1 0:2 / /rw rw - tmpfs t rw\n")
    monkeypatch.setattr(file_system, "MOUNTS", mounts)
    world, seen = rig(), []
    world.define(every=HOUR, n=2)
    world.live((MINUTE, lambda life: seen.append(read_live(life.world.places.store)["notes"])), (2 * MINUTE, Life.stop))
    world.live()
    note = "/ is an overlay whose changes are in memory: store and datasets will not outlive a power cut or a restart"
    assert world.said("storage_not_lasting") == [note, note]
    assert seen == [[note]]
