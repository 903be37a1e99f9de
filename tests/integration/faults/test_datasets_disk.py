"""The disk of the datasets is gone at a start, and its mount point is there and can be written."""

from __future__ import annotations

import pytest
from daemon_process import Place, statuses
from disks import small_disk
from tiny_scan import configuration, definition


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
