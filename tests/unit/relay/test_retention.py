"""Datasets go only where every target has them, verified as they are here; nothing that may be the only copy goes."""

import json
import os
import shutil
import threading
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from relay_rig import take_dataset

from plantimager.timelapse.channel.ledger import Ledger, LedgerEntry, Outcome
from plantimager.timelapse.relay import retention as module
from plantimager.timelapse.relay.retention import RetentionSink
from plantimager.timelapse.relay.sink import SinkHost
from plantimager.timelapse.relay.store_view import StoreView
from plantimager.timelapse.relay.taken_scans import TakenScan, TakenScans
from plantimager.timelapse.scan.request import Owner
from plantimager.timelapse.settings.deliver_config import RetentionRules
from plantimager.timelapse.support.clock import SystemClock
from stores import HOURS

OWNER = Owner(rig="", store="/s", host="h", machine="m")
NOW = datetime(2026, 7, 1, tzinfo=UTC)
ALL = RetentionRules(keep=timedelta(days=1))


class Clock(SystemClock):
    def now(self):
        return NOW


class World:
    """Datasets of some slots, and the ledgers of two targets."""

    def __init__(self, directory, n_slots):
        self.datasets = directory / "datasets"
        self.removed = Ledger(directory / "relay" / "removed")
        times = [datetime.fromisoformat(hour) for hour in HOURS[:n_slots]]
        self.scans = tuple(TakenScan(f"tl_{slot}", "tl", slot, time, time) for slot, time in enumerate(times))
        for slot in range(n_slots):
            take_dataset(self.datasets, slot)
        self.ledgers = {name: Ledger(directory / "relay" / f"{name}.ledger") for name in ("lab", "plantdb")}
        self.host = SinkHost(lambda _: self.datasets, Clock(), threading.Event(), lambda: None)

    def deliver(self, *slots, to=("lab", "plantdb"), **changes):
        for slot in slots:
            receipt = (self.datasets / f"tl_{slot}" / "timelapsed.json").read_bytes()
            about = {"files": 8, "size": 1000, "digest": sha256(receipt).hexdigest(), **changes}
            for name in to:
                self.ledgers[name].record(LedgerEntry(self.scans[slot].key, Outcome.DELIVERED, "2026", **about))

    def make(self, rules=ALL):
        paths = {name: ledger.path for name, ledger in self.ledgers.items()}
        return RetentionSink(rules, paths, self.removed.path, OWNER, self.host)

    def remove(self, rules=ALL):
        """Make one pass of a new relay; return which slots are still here."""
        self.make(rules).remove_due(TakenScans(self.scans))
        return self.here()

    def here(self):
        assert not [path for path in self.datasets.iterdir() if path.name.startswith(".")]
        return sorted(int(path.name.split("_")[1]) for path in self.datasets.iterdir())


@pytest.fixture
def world(tmp_path):
    return World(tmp_path, 3)


@pytest.fixture
def said(monkeypatch):
    lines = []
    monkeypatch.setattr(module, "log_relay", lambda action, sentence, **_: lines.append((action.word, sentence)))
    return lines


def test_what_every_target_has_is_removed_and_reported_in_one_line(world, said):
    """The ledger keeps what it was."""
    world.deliver(0, 1, 2)
    assert world.remove() == []
    assert [word for word, _ in said] == ["datasets_removed"]
    assert said[0][1].startswith("3 datasets (tl_0 … tl_2), 0 MB, after delivery to lab, plantdb; ")
    world.removed.refresh()
    entry = world.removed.entries[world.scans[1].key]
    assert (entry.outcome, entry.targets, entry.files) == (Outcome.REMOVED, ["lab", "plantdb"], 8)
    assert len(entry.digest) == 64


def test_what_is_young_stays(world, said):
    """It is judged by when it was taken."""
    world.deliver(0, 1, 2)
    age = NOW - world.scans[1].taken_at
    assert world.remove(RetentionRules(keep=age)) == [1, 2]


def test_without_a_rule_or_without_need_nothing_goes(world, said):
    """A disk with space is left alone."""
    world.deliver(0, 1, 2)
    assert world.remove(RetentionRules(keep_free=1)) == [0, 1, 2]
    assert said == []


def test_a_short_disk_costs_the_oldest_and_no_more(world, said, monkeypatch):
    """Each makes some space."""
    world.deliver(0, 1, 2)
    usage = shutil.disk_usage(world.datasets)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: usage._replace(free=50 - 10 * len(world.here())))
    assert world.remove(RetentionRules(keep_free=25)) == [1, 2]


def test_a_short_disk_with_nothing_to_remove_is_said_once(world, said):
    """A person may make space, or mend the target."""
    sink = world.make(RetentionRules(keep_free=1 << 60))
    for _ in range(2):
        sink.remove_due(TakenScans(world.scans))
    assert world.here() == [0, 1, 2]
    assert [word for word, _ in said] == ["datasets_kept"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda _world: None,
        lambda world: world.deliver(0, to=["lab"]),
        lambda world: world.deliver(0, by_length=True),
        lambda world: world.deliver(0, left=1),
        lambda world: world.deliver(0, digest="0" * 64),
        lambda world: (world.deliver(0), world.deliver(0, to=["lab"], digest="0" * 64)),
        lambda world: (world.deliver(0), world.ledgers["lab"].path.unlink()),
        lambda world: (world.deliver(0), world.ledgers["lab"].path.write_bytes(b"\0" * 99)),
        lambda world: world.ledgers["lab"].record(LedgerEntry(world.scans[0].key, Outcome.REFUSED, "2026")),
        lambda world: (world.deliver(0), (world.datasets / "tl_0" / "notes.txt").write_text("mine")),
        lambda world: (world.deliver(0), next((world.datasets / "tl_0" / "images").iterdir()).write_bytes(b"edited")),
        lambda world: (world.deliver(0), next((world.datasets / "tl_0" / "images").iterdir()).unlink()),
    ],
)
def test_what_may_be_the_only_copy_stays(world, said, spoil):
    """Whatever the reason; the others go."""
    spoil(world)
    world.deliver(1)
    assert world.remove() == [0, 2]


def test_a_raw_file_that_one_target_has_is_no_reason_to_stay(world, said):
    """PlantDB takes no raw files, a remote of rclone takes all."""
    world.deliver(0, to=["lab"])
    world.deliver(0, to=["plantdb"], left=1)
    assert world.remove() == [1, 2]


def test_another_rig_s_dataset_stays(world, said):
    """Several rigs may share the directory."""
    path = world.datasets / "tl_0" / "timelapsed.json"
    receipt = json.loads(path.read_text())
    receipt["owner"] = {"rig": "north", "store": "/t", "host": "h", "machine": "m"}
    path.write_text(json.dumps(receipt))
    world.deliver(0)
    assert world.remove() == [0, 1, 2]
    assert said == [("datasets_kept", "tl_0 stays here: it is another rig's")]


def test_a_receipt_without_digests_keeps_its_dataset(world, said):
    """There is nothing to compare with what was delivered."""
    path = world.datasets / "tl_0" / "timelapsed.json"
    path.write_text(json.dumps({key: value for key, value in json.loads(path.read_text()).items() if key != "files"}))
    world.deliver(0)
    assert world.remove() == [0, 1, 2]


@pytest.mark.parametrize("killed_at", range(1, 9))
def test_killed_anywhere_it_is_whole_or_finished_at_the_next_start(world, said, monkeypatch, killed_at):
    """For readers the dataset is there or not; a part of it is never."""
    calls = []

    def dying(call):
        def call_or_die(*arguments, **named):
            calls.append(call)
            if len(calls) == killed_at:
                raise SystemExit
            return call(*arguments, **named)

        return call_or_die

    world.deliver(0)
    whole = {path.relative_to(world.datasets) for path in (world.datasets / "tl_0").rglob("*")}
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", dying(Path.rename))
        patch.setattr(module, "sync_directory", dying(module.sync_directory))
        patch.setattr(Ledger, "record", dying(Ledger.record))
        patch.setattr(os, "unlink", dying(os.unlink))
        patch.setattr(os, "rmdir", dying(os.rmdir))
        with pytest.raises(SystemExit):
            world.make().remove_due(TakenScans(world.scans))
    there = {path.relative_to(world.datasets) for path in (world.datasets / "tl_0").rglob("*")}
    assert there in (whole, set())
    assert world.remove() == [1, 2]
    world.removed.refresh()
    assert [*world.removed.entries] == [world.scans[0].key]
    assert world.remove() == [1, 2]


def test_a_directory_that_may_not_be_written_is_said_with_what_to_do(world, said, monkeypatch):
    """The units' sandbox allows it only with a drop-in."""
    world.deliver(0)
    refusal = OSError(30, "Read-only file system", str(world.datasets / "tl_0"))
    monkeypatch.setattr(Path, "rename", lambda *_: (_ for _ in ()).throw(refusal))
    sink = world.make()
    sink.update(StoreView(TakenScans(world.scans)))
    thread = threading.Thread(target=sink.run)
    thread.start()
    while not said:
        thread.join(0.05)
    world.host.stop.set()
    sink.wake()
    thread.join(10)
    assert said[0][0] == "datasets_kept"
    assert "Read-only file system; see systemd/examples/retention.conf" in said[0][1]
    assert world.here() == [0, 1, 2]
