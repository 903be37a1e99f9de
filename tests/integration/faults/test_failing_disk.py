"""A disk that is full, read-only, broken or over quota: scans go on, and the store is saved later."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from daemon_process import DaemonProcess, NotifySocket, Place, statuses
from disks import mounted, small_disk
from failing_calls import failing
from tiny_scan import configuration, definition
from waiting import wait_until

from plantimager.timelapse.relay.store_view import StoreViewReader
from plantimager.timelapse.settings.places import find_places
from plantimager.timelapse.store.loading import load_timelapse
from plantimager.timelapse.store.location import backup_path

SAVE = [
    # call of a save, error, which of them, what a person reads
    ("openat", "ENOSPC", "1+"),
    ("openat", "EROFS", "1+"),
    ("openat", "EMFILE", "1+"),
    ("/^write", "ENOSPC", "1+"),
    ("/^write", "EDQUOT", "1+"),
    ("/^write", "EIO", "1+"),
    ("fsync", "EIO", "1+"),
    ("fsync", "EIO", "2"),  # that of the directory
    ("/^link", "ENOSPC", "1+"),
    ("/^link", "EIO", "1+"),
    ("/^rename", "EIO", "1+"),
    ("/^rename", "EROFS", "1+"),
]


def begin(place: Place, datasets, n_shots: int, **environment: str) -> DaemonProcess:
    place.configure(configuration(f'datasets = "{datasets}"'))
    place.define(definition(n_shots))
    return place.start(**environment)


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace to make system calls fail")
def test_each_call_of_a_save_may_fail_and_nothing_is_lost(place: Place, tmp_path) -> None:
    """The daemon is degraded and says why, the file stays whole, and the first save that works has everything."""
    n_shots = 90
    with (
        NotifySocket(tmp_path) as systemd,
        begin(place, tmp_path / "scans", n_shots, NOTIFY_SOCKET=str(systemd.path)) as daemon,
    ):
        systemd.wait_for("1 taken")
        for call, error, when in SAVE:
            with failing(daemon.process.pid, call, error, when):
                before = place.read()
                line = systemd.wait_for("STATUS=DEGRADED")
                assert os.strerror(getattr(errno, error)) in line, (call, error)
                on_disk = load_timelapse(place.store)
                assert on_disk is not None, (call, error)
                assert on_disk.trouble is None, (call, error)
                if when == "1+":  # a directory that can't be synced has the new store in it all the same
                    assert on_disk.stored.timelapse.next_idx == before["next_idx"], (call, error)
                systemd.wait_for("STATUS=tl: waiting") if when != "1+" else None
            systemd.wait_for("STATUS=tl: waiting")
            assert load_timelapse(backup_path(place.store)).trouble is None, (call, error)
        assert daemon.stop() == 0
    assert not daemon.said("store_changed"), "the daemon takes its own file for somebody else's"
    store = place.read()
    taken = store["next_idx"]
    assert taken > len(SAVE)
    assert statuses(store)[:taken] == ["succeeded"] * taken
    assert not list(place.storage.glob("*.tmp"))


def fill(path: Path) -> None:
    """Write until there is no space for one more byte."""
    with path.open("ab", buffering=0) as file:
        while True:
            file.write(bytes(512))


@pytest.mark.system
def test_full_disk_is_logged_and_the_store_is_saved_when_there_is_space_again(place: Place, tmp_path) -> None:
    """Nothing is truncated, and the save is tried again though nothing else happens."""
    with small_disk(place.storage, "1m"):
        with begin(place, tmp_path / "scans", 3600) as daemon:
            filler = place.storage / "somebody's film"
            while not daemon.said("store_not_saved"):  # a save that is under way frees the space of a generation
                daemon.wait_for("scan_")
                with pytest.raises(OSError, match="No space left"):
                    fill(filler)
            (line,) = daemon.said("store_not_saved")
            assert "No space left on device" in line
            assert "scans go on" in line
            before = place.store.read_bytes()
            daemon.wait_for("scan_succeeded: ")
            assert place.store.read_bytes() == before
            assert json.loads(before)["timelapse_id"] == "tl"
            filler.unlink()
            daemon.wait_for("store_saved_again: ")
            assert daemon.stop() == 0
        taken = len(daemon.said("scan_succeeded"))
        assert statuses(place.read())[:taken] == ["succeeded"] * taken


@pytest.mark.system
def test_slot_waits_until_there_is_space_for_its_dataset(place: Place, tmp_path) -> None:
    """Below `keep_free` no scan begins; the line names the cure, and no attempt is used."""
    scans = tmp_path / "scans"
    scans.mkdir()
    with small_disk(scans, "8m"):
        filler = scans / "somebody's film"
        filler.write_bytes(bytes(5_000_000))
        place.configure(configuration(f'datasets = "{scans}"') + 'keep_free = "4 MB"\n')
        place.define(definition(1))
        with place.start() as daemon:
            line = daemon.wait_for("rig_not_ready: slot 0 of 1")
            assert f"{scans}: 3 MB free, " in line
            assert " kB needed for this scan, and 4 MB kept free; move datasets away" in line
            filler.unlink()
            daemon.wait_for("timelapse_completed: tl: 1 taken")
            assert daemon.stop() == 0
        assert [path.name for path in scans.iterdir()] == ["tl"]
        noted = place.read()["extra"]["timelapsed"]["slots"]["0"]
        assert noted["last_error"].endswith("move datasets away, or lower keep_free")
        assert noted.get("attempt", 1) == 1


@pytest.mark.system
def test_file_system_that_turned_read_only_is_degraded_too(place: Place, tmp_path, monkeypatch) -> None:
    """As Linux does with a failing memory card, at any moment; the relay hears of it, too."""
    image = tmp_path / "card"
    with image.open("wb") as file:
        file.truncate(16 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-E", "root_owner", str(image)], check=True, capture_output=True)
    with mounted(place.storage, "-o", "loop,errors=remount-ro", str(image)):
        device = place.storage.stat().st_dev
        name = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}").resolve().name
        place.environment["XDG_RUNTIME_DIR"] = str(tmp_path)
        monkeypatch.setenv("XDG_DATA_HOME", str(place.data))
        with begin(place, tmp_path / "scans", 3) as daemon:
            daemon.wait_for("scan_started: tl_0")
            Path(f"/sys/fs/ext4/{name}/trigger_fs_error").write_text("the card is worn out")
            assert "Read-only file system" in daemon.wait_for("store_not_saved: ")
            reader = StoreViewReader(find_places(place.environment))
            wait_until(lambda: reader.read().daemon.degraded, within=30, what="the daemon's word at the relay")
            daemon.wait_for("timelapse_completed: tl: 3 taken")
            assert daemon.stop() == 0
        assert load_timelapse(place.store).stored.timelapse.id == "tl"
