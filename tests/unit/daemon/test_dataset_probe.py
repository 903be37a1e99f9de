"""The datasets' directory that can't be written."""

from __future__ import annotations

import threading
from datetime import timedelta

from simulation import HOUR, MINUTE, SECOND

from plantimager.timelapse.channel.live import read_live
from plantimager.timelapse.daemon import dataset_probe
from plantimager.timelapse.domain.states import Reason


def test_slot_waits_for_a_directory_that_can_be_written(rig, tmp_path):
    """The trouble is logged when the timelapse begins; a slot that comes due is taken once a person has mended it."""
    disk = tmp_path / "disk"
    disk.write_text("where a disk is to be mounted")
    world = rig()
    world.configure(datasets=disk / "scans")
    world.define(grace=10 * MINUTE, every=HOUR, n=2)
    shown = []

    def show(life):
        shown.append(read_live(life.world.places.store)["trouble"])

    world.live((HOUR / 2, show), (HOUR + MINUTE, lambda _: disk.unlink()), (HOUR + 5 * MINUTE, show))
    why = f"{disk}/scans: datasets can't be put there: Not a directory"
    assert world.said("datasets_out_of_reach") == [f"{why}; slots wait for it, within their grace of 10 min"]
    assert world.said("rig_not_ready")[0].startswith(f"slot 0 of 2: {why}; it is asked again until ")
    assert world.actions().index("datasets_out_of_reach") < world.actions().index("rig_not_ready")
    assert shown == [why, None]
    assert world.statuses() == ["succeeded", "succeeded"]
    assert world.stored().records[0].attempt == 1


def test_datasets_disk_that_disappears_is_logged_once_each_time_before_a_slot(rig, tmp_path):
    """It is checked at each warm-up, and the live status shows the trouble as long as it lasts."""
    disk, shown = tmp_path / "disk", []
    world = rig()
    world.configure(datasets=disk)
    world.define(every=HOUR, n=4, warmup=MINUTE)

    def show(life):
        shown.append(read_live(life.world.places.store)["trouble"])

    world.live(
        (HOUR / 2, show),
        (HOUR + HOUR / 2, lambda _: disk.rename(tmp_path / "elsewhere")),
        (HOUR + HOUR / 2 + SECOND, lambda _: disk.write_text("nothing is mounted here")),
        (2 * HOUR - SECOND, show),
        (2 * HOUR + HOUR / 2, lambda _: disk.unlink()),
        (3 * HOUR - SECOND, show),
    )
    why = f"{disk}: datasets can't be put there: Not a directory"
    assert world.said("datasets_out_of_reach") == [f"{why}; slots wait for it, within their grace of 2 min"]
    assert shown == [None, why, None]
    assert world.statuses() == ["succeeded", "skipped", "succeeded", "succeeded"]
    assert world.reasons()[1] is Reason.RIG_NOT_READY


def test_network_disk_that_does_not_answer_delays_no_start(rig, monkeypatch):
    """The check times out and is logged; the start goes on."""
    server_is_back = threading.Event()
    monkeypatch.setattr(dataset_probe, "PROBE_TIMEOUT", timedelta(0))
    monkeypatch.setattr(dataset_probe, "write_refusal", lambda _: str(server_is_back.wait()))
    world = rig()
    world.define()
    world.live()
    server_is_back.set()
    (said,) = world.said("datasets_out_of_reach")
    assert "datasets can't be put there: no answer within 0 s; slots wait for it" in said
    assert world.statuses() == ["succeeded"]
