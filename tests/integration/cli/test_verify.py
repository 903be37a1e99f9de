"""`timelapsectl verify`: damage is found where it is, without a daemon, and nothing is changed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace
from tree import STORES

from plantimager.timelapse.domain.states import TimeLapseState
from plantimager.timelapse.settings.places import find_places
from plantimager.timelapse.store.loading import read_timelapse
from plantimager.timelapse.store.location import backup_path

if TYPE_CHECKING:
    from pathlib import Path

    from ctl_host import Host


@pytest.fixture
def taken(host: Host) -> Host:
    """Return a host on which a timelapse of two slots was taken, and another one archived."""
    host.configure('clock = "trust"\n[drivers.simulated]\ntime_per_position = 0\nimage_width = 32\n')
    (host.files / "timelapse.toml").write_text(
        '[timelapse]\nname = "tl"\nmode = "interval"\ninterval = "1s"\nn_shots = 2\nwarmup_period = 0\n'
        'standby_threshold_sec = 2\ngrace_period = 60\n[ScanPath]\nclass_name = "Circle"\n'
        "[ScanPath.kwargs]\ncenter_x = 375\ncenter_y = 375\nz = 0\ntilt = 0\nradius = 300\nn_points = 2\n"
    )
    with host.daemon(until="timelapse_completed"):
        pass
    history = host.store.parent / "history"
    history.mkdir(exist_ok=True)
    archived = (STORES / "interval-completed.json").read_bytes()
    (history / "done_tl.json").write_bytes(read_timelapse(archived, history).encode())
    return host


def tree_of(host: Host) -> dict[Path, tuple[bytes, int]]:
    """Return every file of a host with its content and time."""
    return {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in host.root.rglob("*") if p.is_file()}


def test_sound_rig_has_no_findings_and_nothing_is_changed(taken: Host) -> None:
    """What was looked at is named."""
    before = tree_of(taken)
    done = taken.ctl("verify")
    assert (done.returncode, done.stderr) == (0, "")
    *lines, outcome = done.stdout.splitlines()
    assert outcome == "no damage found"
    datasets = taken.store.parent / "datasets"
    assert lines == [
        f"{taken.store}: tl, 2 slots, 2 done",
        f"{backup_path(taken.store)}: tl, 2 slots, 1 done",
        f"{taken.store.parent}/history/done_tl.json: done_tl, 3 slots, 3 done",
        f"{datasets}: 2 datasets as their receipts say",
    ]
    assert tree_of(taken) == before


def test_every_kind_of_damage_is_a_line_and_the_exit_status_says_so(taken: Host) -> None:
    """In the store, in the archive, in a picture, in a receipt; and a dataset that is gone."""
    storage, datasets = taken.store.parent, taken.store.parent / "datasets"
    taken.store.write_bytes(taken.store.read_bytes().replace(b"succeeded", b"failed", 1))
    archived = storage / "history" / "done_tl.json"
    archived.write_bytes(archived.read_bytes()[:-10])
    picture = next(path for path in sorted((datasets / "tl_1").rglob("*.jpg")))
    picture.write_bytes(picture.read_bytes()[:-1])
    done = taken.ctl("verify")
    assert done.returncode == 1
    assert "edited by hand, or damaged: unlike" in done.stdout
    assert "slot 0: succeeded → failed" in done.stdout
    assert f"{archived}: not JSON" in done.stdout
    assert f"{datasets}/tl_1: {picture.relative_to(datasets / 'tl_1')} has changed" in done.stdout
    assert done.stdout.splitlines()[-1] == "3 findings: see above"
    (datasets / "tl_1" / "timelapsed.json").write_text("[]")
    assert f"{datasets}/tl_1: its receipt can't be read" in taken.ctl("verify").stdout
    (datasets / "tl_1").rename(storage / "moved")
    assert f"{datasets}: no dataset of 1 taken slot of tl (1)" in taken.ctl("verify").stdout


def test_taken_slot_whose_receipt_is_gone_is_damage(taken: Host) -> None:
    """Nothing says any more what its pictures were."""
    datasets = taken.store.parent / "datasets"
    (datasets / "tl_1" / "timelapsed.json").unlink()
    done = taken.ctl("verify")
    assert done.returncode == 1
    assert f"{datasets}: no timelapsed.json that can be read in the dataset of 1 taken slot of tl (1)" in done.stdout
    assert f"{datasets}: 1 dataset as its receipts say" in done.stdout


def test_dataset_of_another_controller_never_had_a_receipt_and_is_no_damage(host: Host) -> None:
    """It is named, since nothing can be compared."""
    host.copy_store("interval-completed.json")
    scans = json.loads(host.store.read_text())["scans"]
    for scan in scans:
        (host.store.parent / "datasets" / scan["scan_id"]).mkdir(parents=True)
    done = host.ctl("verify")
    assert done.returncode == 0
    assert "nothing to compare with: no timelapsed.json that can be read in the dataset of 3 taken slots" in done.stdout


def test_what_stands_aside_is_listed_and_is_no_damage(taken: Host) -> None:
    """Unfinished attempts are hidden, and nobody else lists them."""
    datasets = taken.store.parent / "datasets"
    attempt, others, empty = (datasets / f".tl_0.attempt-{end}" for end in ("1", "1~12345678", "2"))
    for directory in (attempt, others, empty):
        directory.mkdir()
    for directory in (attempt, others):
        (directory / "0.jpg").write_bytes(b"picture")
        (directory / "timelapsed.json").write_text("[]")
    (datasets / "tl_0.earlier-1").mkdir()
    (datasets / "notes").mkdir()
    (datasets / "old").mkdir()
    (datasets / "old" / "timelapsed.json").write_text("{}")
    (taken.store.parent / f"{taken.store.name}.corrupt-20260622T080030Z").write_text("x")
    done = taken.ctl("verify")
    assert done.returncode == 0
    assert f"{attempt}: stands aside: 2 files of an attempt at tl_0 that was not finished" in done.stdout
    assert "12345678" not in done.stdout, "another rig's"
    assert str(empty) not in done.stdout
    assert f"{datasets}/tl_0.earlier-1: stands aside: what stood in the place of tl_0 before" in done.stdout
    assert ".corrupt-20260622T080030Z: stands aside: a store that could not be read" in done.stdout
    assert f"{datasets}/old: its receipt has no digests" in done.stdout
    assert "notes" not in done.stdout


def test_list_of_what_stands_aside_says_where_it_ends(host: Host) -> None:
    """A person who has cleared it away is to look again."""
    for number in range(101):
        (host.store.parent / "datasets" / f"tl_{number}.earlier-1").mkdir(parents=True)
    lines = host.ctl("verify").stdout.splitlines()
    assert sum("stands aside" in line for line in lines) == 100
    assert f"{host.store.parent}/datasets: more may stand aside: the first are listed" in lines


def test_attempt_that_is_being_made_does_not_stand_aside_and_those_before_it_do(taken: Host) -> None:
    """The daemon may take a slot meanwhile."""
    datasets = taken.store.parent / "datasets"
    stored = read_timelapse(taken.store.read_bytes(), taken.store)
    records = {0: stored.timelapse.records[0]}
    timelapse = replace(stored.timelapse, records=records, next_idx=1, state=TimeLapseState.SCHEDULED)
    timelapse = timelapse.begin(timelapse.schedule_times[1], "boot")
    running = replace(timelapse.records[1], attempt=2)
    stored = replace(stored, timelapse=replace(timelapse, records={**records, 1: running}))
    taken.store.write_bytes(stored.encode())
    for number in (1, 2):
        (datasets / f".tl_1.attempt-{number}").mkdir()
        (datasets / f".tl_1.attempt-{number}" / "0.jpg").write_bytes(b"picture")
    out = taken.ctl("verify").stdout
    assert f"{datasets}/.tl_1.attempt-1: stands aside" in out
    assert "attempt-2" not in out


@pytest.mark.parametrize("name", sorted(path.name for path in STORES.glob("*.json")))
def test_store_of_another_controller_has_no_digest_and_is_no_damage(host: Host, name: str) -> None:
    """Only its taken slots have no datasets here."""
    host.copy_store(name)
    done = host.ctl("verify")
    n_taken = [scan["status"] for scan in json.loads(host.store.read_text())["scans"]].count("succeeded")
    assert done.returncode == (n_taken > 0)
    assert "damaged" not in done.stdout


def test_rig_without_a_timelapse_is_sound(host: Host) -> None:
    """A new one, on which nothing was ever started."""
    done = host.ctl("verify")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "no damage found")


def test_damaged_lines_of_a_ledger_are_named_and_left_to_the_relay(taken: Host) -> None:
    """It tells of them when it mends them."""
    taken.configure('driver = "simulated"\n[relay.deliver.lab]\nurl = "http://127.0.0.1:9"\n')
    storage = taken.store.parent
    ledger = find_places({"XDG_DATA_HOME": str(storage.parent)}, storage=storage).ledger("lab")
    ledger.parent.mkdir(parents=True, exist_ok=True)
    ledger.write_bytes(b"?\n?\n")
    before = tree_of(taken)
    done = taken.ctl("verify")
    assert done.returncode == 1
    assert f"{ledger}: 2 lines can't be read; " in done.stdout
    assert tree_of(taken) == before
