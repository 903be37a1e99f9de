"""The disk of the datasets is gone at a start, and its mount point is there and can be written."""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from unittest.mock import Mock

import pytest
from daemon_process import Place, statuses
from disks import mounted, small_disk
from tiny_scan import configuration, definition

from plantimager.timelapse.datasets import attempt as attempt_module
from plantimager.timelapse.datasets.attempt import begin_attempt, find_finished
from plantimager.timelapse.drivers.testing import make_request
from plantimager.timelapse.scan.request import ScanResult


@pytest.mark.system
def test_pictures_go_on_the_disk_and_never_under_it(place: Place, tmp_path) -> None:
    """Unmounted at the second start; a slot waits, and is taken when the disk is mounted again."""
    disk = tmp_path / "disk"
    disk.mkdir()
    place.configure(configuration(f'datasets = "{disk}/scans"'))
    place.define(definition(90))
    with small_disk(disk, "300m"):
        (disk / "scans").mkdir()
        with place.start() as daemon:
            daemon.wait_for("scan_succeeded")
            daemon.kill()
        assert daemon.said("storage_not_lasting")[0].endswith("the datasets will not outlive a power cut or a restart")
    (disk / "scans").mkdir()  # as our own example makes it
    with place.start() as daemon:
        assert "its disk isn't mounted, another one is there" in daemon.wait_for("datasets_out_of_reach")
        daemon.wait_for("rig_not_ready")
        assert not [*(disk / "scans").iterdir()]
        with small_disk(disk, "300m"):
            daemon.wait_for("scan_succeeded")
            assert [*(disk / "scans").iterdir()]
            assert daemon.stop() == 0
    assert "failed" not in statuses(place.read())


@pytest.mark.system
@pytest.mark.parametrize("is_lost", [False, True])
@pytest.mark.parametrize("killed_before", ["digest_tree", "move_into_place"])
def test_page_that_the_disk_has_lost_is_noticed_though_memory_has_it(
    tmp_path, monkeypatch, killed_before, is_lost
) -> None:
    """A write that failed is reported once, and the process that was told may have ended before it said so."""
    image, disk = tmp_path / "image", tmp_path / "disk"
    disk.mkdir()
    content = os.urandom(1 << 16)
    with image.open("wb") as file:
        file.truncate(8 << 20)
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    with mounted(disk, "-o", "loop", str(image)):
        request = make_request(disk)
        with monkeypatch.context() as patch, suppress(KeyboardInterrupt), begin_attempt(request) as attempt:
            (attempt.directory / "0.jpg").write_bytes(content)
            patch.setattr(attempt_module, killed_before, Mock(side_effect=KeyboardInterrupt))
            attempt.finish(ScanResult(pictures=1))
        os.sync()
        at = image.read_bytes().index(content[:4096]) + 4096
        if is_lost:
            with image.open("r+b") as file:
                file.seek(at)
                file.write(bytes(4096))
                file.flush()
                os.fsync(file.fileno())
        assert (attempt.directory / "0.jpg").read_bytes() == content
        assert find_finished(request) == (None if is_lost else ScanResult(pictures=1))
