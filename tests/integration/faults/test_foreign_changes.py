"""Changes of the store by others: deleted, replaced, edited, half-written, made unreadable, copied back."""

from __future__ import annotations

import json
import os
import shutil
from datetime import timedelta

import pytest
from daemon_process import PLAINLY, DaemonProcess, Place, statuses
from failing_calls import failing
from tiny_scan import configuration, definition

from plantimager.timelapse.store.loading import load_timelapse
from plantimager.timelapse.store.location import backup_path
from plantimager.timelapse.store.raw_text import seal
from plantimager.timelapse.support.clock import SystemClock
from plantimager.timelapse.support.json_text import dumps


def begin(place: Place, *, n_shots: int = 3) -> DaemonProcess:
    place.configure(configuration())
    place.define(definition(n_shots))
    return place.start()


def delete(place: Place) -> None:
    place.store.unlink()


def delete_both(place: Place) -> None:
    place.store.unlink()
    backup_path(place.store).unlink()


def replace_by_another(place: Place) -> None:
    other = place.storage / "other.json"
    other.write_text('{"somebody": "else"}')
    other.replace(place.store)


def edit(place: Place) -> None:
    store = place.read()
    store["next_idx"] = 0
    store["scans"] = []
    place.store.write_text(json.dumps(store))


def write_half(place: Place) -> None:
    place.store.write_bytes(place.store.read_bytes()[:100])


def empty(place: Place) -> None:
    os.truncate(place.store, 0)


def make_a_directory_of_it(place: Place) -> None:
    place.store.unlink()
    place.store.mkdir()


def make_a_dangling_link_of_it(place: Place) -> None:
    place.store.unlink()
    place.store.symlink_to(place.storage / "nowhere")


CHANGES = [delete, delete_both, replace_by_another, edit, write_half, empty, make_a_dangling_link_of_it]


def test_foreign_change_of_the_store_is_logged_kept_and_undone_by_the_next_save(place: Place) -> None:
    """A foreign file is never silently overwritten, and the timelapse goes on."""
    theirs = []
    with begin(place, n_shots=20 * len(CHANGES)) as daemon:
        for do in CHANGES:
            daemon.wait_for("scan_succeeded: ")
            do(place)
            if place.store.exists():
                theirs.append(place.store.read_bytes())
            assert "by somebody else" in daemon.wait_for("store_changed: "), do
            daemon.wait_for("scan_succeeded: ")
            assert load_timelapse(place.store).trouble is None, do
        assert daemon.stop() == 0
    store = place.read()
    assert store["next_idx"] >= 2 * len(CHANGES)
    assert statuses(store)[: store["next_idx"]] == ["succeeded"] * store["next_idx"]
    kept = [path.read_bytes() for path in place.storage.glob("*.foreign-*") if path.exists()]
    assert sorted(kept) == sorted(theirs)


def test_store_that_became_a_directory_is_degraded_until_it_is_gone(place: Place) -> None:
    """The directory isn't removed; the scans go on, and the store is saved when the directory is gone."""
    with begin(place) as daemon:
        daemon.wait_for("scan_succeeded: tl_0")
        make_a_directory_of_it(place)
        daemon.wait_for("store_not_saved: ")
        place.store.rmdir()
        daemon.wait_for("store_saved_again: ")
        daemon.wait_for("timelapse_completed: tl: 3 taken")
        assert daemon.stop() == 0
    assert statuses(place.read()) == ["succeeded"] * 3


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace to make system calls fail")
@pytest.mark.parametrize("call", ["/^rename", "fsync"])
def test_foreign_file_is_kept_once_however_often_the_save_fails(place: Place, call: str) -> None:
    """Not a copy for each try; and the .bak stays ours, which a start needs after a kill between two tries."""
    with begin(place, n_shots=60) as daemon:
        daemon.wait_for("scan_succeeded: tl_0")
        before = backup_path(place.store).read_bytes()
        with failing(daemon.process.pid, call, "EIO"):
            place.store.write_text('{"somebody": "else"}')
            daemon.wait_for("store_not_saved: ")
            daemon.wait_for("scan_succeeded: tl_2")
            assert backup_path(place.store).read_bytes() == before
        daemon.wait_for("store_saved_again: ")
        assert len(daemon.said("store_changed")) == 1
        assert load_timelapse(backup_path(place.store)) is not None
        assert daemon.stop() == 0
    (aside,) = place.storage.glob("*.foreign-*")
    assert json.loads(aside.read_text()) == {"somebody": "else"}
    store = place.read()
    assert statuses(store)[: store["next_idx"]] == ["succeeded"] * store["next_idx"]


def test_store_whose_mode_was_changed_is_private_again_after_the_next_save(place: Place) -> None:
    """It may hold an api_token."""
    with begin(place) as daemon:
        daemon.wait_for("scan_succeeded: tl_0")
        place.store.chmod(0o666)
        daemon.wait_for("timelapse_completed: tl: 3 taken")
        assert daemon.stop() == 0
    assert place.store.stat().st_mode & 0o777 == 0o600


def test_directory_that_may_not_be_written_any_more_is_degraded_until_it_may(place: Place) -> None:
    """Its mode or owner was changed: the reason is logged, scans go on, and the store is saved later."""
    place.configure(configuration(f'datasets = "{place.data / "scans"}"'))
    place.define(definition(4))
    with DaemonProcess(place, by=PLAINLY) as daemon:
        daemon.wait_for("scan_succeeded: tl_0")
        place.storage.chmod(0o500)
        assert "Permission denied" in daemon.wait_for("store_not_saved: ")
        daemon.wait_for("scan_succeeded: ")
        place.storage.chmod(0o700)
        daemon.wait_for("store_saved_again: ")
        daemon.wait_for("timelapse_completed: tl: 4 taken")
        assert daemon.stop() == 0
    assert statuses(place.read()) == ["succeeded"] * 4


# What the next start finds.


def ended(place: Place) -> bytes:
    """Run a timelapse of three slots to its end; return its store."""
    with begin(place) as daemon:
        daemon.wait_for("timelapse_completed: tl: 3 taken")
        assert daemon.stop() == 0
    return place.store.read_bytes()


def test_backup_newer_than_the_store_stays_a_backup(place: Place) -> None:
    """It may have been copied or touched: a sound store counts, whatever the date of its .bak."""
    content = ended(place)
    backup_path(place.store).write_bytes(b'{"somebody": "else"}')
    later = place.store.stat().st_mtime + 3600
    os.utime(backup_path(place.store), (later, later))
    with place.start() as daemon:
        assert "tl, 3 slots, 3 done" in daemon.wait_for("store_found: ")
        assert daemon.stop() == 0
    assert place.store.read_bytes() == content


def test_store_and_backup_that_are_both_corrupt_are_kept_and_the_daemon_is_idle(place: Place) -> None:
    """Nothing is overwritten: a person may be able to repair them."""
    ended(place)
    (place.settings / "timelapse.toml").unlink()
    broken = {"one": b'{"version": 1, "timelapse_id"', "two": b"\0" * 200}
    place.store.write_bytes(broken["one"])
    backup_path(place.store).unlink()
    backup_path(place.store).write_bytes(broken["two"])
    with place.start() as daemon:
        assert ".corrupt-" in daemon.wait_for("store_quarantined: ")
        daemon.wait_for("idle: no timelapse")
        assert daemon.stop() == 0
    kept = {path.read_bytes() for path in place.storage.iterdir() if path.is_file()}
    assert set(broken.values()) <= kept


def test_corrupt_backup_of_a_sound_store_is_replaced_by_the_next_save(place: Place) -> None:
    """It is never read while the store is sound."""
    with begin(place) as daemon:
        daemon.wait_for("scan_succeeded: tl_0")
        backup_path(place.store).unlink()
        backup_path(place.store).write_bytes(b"rubbish")
        daemon.wait_for("timelapse_completed: tl: 3 taken")
        assert daemon.stop() == 0
    assert load_timelapse(backup_path(place.store)).trouble is None


def test_store_that_was_edited_between_two_runs_is_taken_and_what_differs_is_said_once(place: Place) -> None:
    """Whether a person did it or a card that loses bits: the edited version is kept, and the good .bak stays."""
    ended(place)
    backup, edited = backup_path(place.store), place.read()
    edited["scans"][1]["status"] = "failed"
    place.store.write_bytes(dumps(edited))
    theirs, ours = place.store.read_bytes(), backup.read_bytes()
    with place.start() as daemon:
        line = daemon.wait_for("store_changed: ")
        daemon.wait_for("store_found: tl, 3 slots, 3 done")
        assert daemon.stop() == 0
    assert "slot 1: succeeded → failed" in line
    (aside,) = place.storage.glob("*.foreign-*")
    assert aside.name in line
    assert (aside.read_bytes(), backup.read_bytes()) == (theirs, ours)
    assert statuses(place.read()) == ["succeeded", "failed", "succeeded"]
    with place.start() as daemon:
        daemon.wait_for("store_found: tl, 3 slots, 3 done")
        assert daemon.stop() == 0
        assert not daemon.said("store_changed")


def test_nothing_is_decided_by_a_clock_before_the_last_write(place: Place) -> None:
    """A store from the future means a wrong clock: no slot is skipped or taken until it is right."""
    content = json.loads(ended(place))
    ahead = SystemClock().now() + timedelta(days=1)
    content.update(state="scheduled", next_idx=2, scans=content["scans"][:2])
    content["extra"]["timelapsed"]["saved_at"] = ahead.isoformat()
    place.store.write_bytes(seal(dumps(content)))  # as if a daemon had written it
    before = place.store.read_bytes()
    place.configure(configuration("clock_wait = 0", clock="auto"))
    with place.start() as daemon:
        assert "before the last write" in daemon.wait_for("clock_wait: ")
        assert daemon.stop() == 0
    assert place.store.read_bytes() == before
