"""Datasets go only where every target has them, verified as they are here; nothing that may be the only copy goes."""

import json
import os
import shutil
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from earlier_layouts import bring_to_earlier_layout
from msgspec.structs import replace
from relay_rig import take_dataset
from waiting import wait_until

from plantimager.timelapse.channel.ledger import Ledger, LedgerEntry, Outcome
from plantimager.timelapse.datasets.migration import migrate_dataset
from plantimager.timelapse.datasets.receipt import RECEIPT
from plantimager.timelapse.datasets.set_aside import find_set_aside, removal_name
from plantimager.timelapse.relay.deliver.backlog import Backlog
from plantimager.timelapse.relay.deliver.deliver_sink import DeliverSink
from plantimager.timelapse.relay.deliver.delivery import LOST, Delivered, ServerFailed, Unreachable
from plantimager.timelapse.relay.deliver.pacing import Interrupted
from plantimager.timelapse.relay.retention import other_copies as module_of_copies
from plantimager.timelapse.relay.retention import retention_sink as module
from plantimager.timelapse.relay.retention.retention_sink import RetentionSink
from plantimager.timelapse.relay.sealed_dataset import read_sealed
from plantimager.timelapse.relay.sink import SinkHost
from plantimager.timelapse.relay.store_view import DaemonFacts, StoreView
from plantimager.timelapse.relay.taken_scans import TakenScan, TakenScans
from plantimager.timelapse.scan.request import Owner
from plantimager.timelapse.settings.deliver_config import DeliverTarget, RetentionRules
from plantimager.timelapse.support.clock import SystemClock
from plantimager.timelapse.support.clock_evidence import ClockEvidence
from stores import HOURS

OWNER = Owner(rig="", store="/s", host="h", machine="m")
NOW = datetime(2026, 7, 1, tzinfo=UTC)
ALL = RetentionRules(keep=timedelta(days=1))


class Clock(SystemClock):
    is_synchronised = True

    passed = 0.0

    def now(self):
        return NOW

    def monotonic(self):
        return super().monotonic() + self.passed

    def evidence(self):
        return ClockEvidence(self.is_synchronised, set_from_rtc=False, detail="")


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
            digest = read_sealed(self.datasets / f"tl_{slot}", self.scans[slot]).digest
            about = {"files": 8, "size": 1000, "digest": digest, **changes}
            for name in to:
                self.ledgers[name].record(LedgerEntry(self.scans[slot].key, Outcome.DELIVERED, "2026", **about))

    def make(self, rules=ALL, deliveries=None):
        ledgers = {name: Ledger(ledger.path, ledger._place_in) for name, ledger in self.ledgers.items()}
        deliveries = {name: Target(lambda _: "") for name in ledgers} | (deliveries or {})
        return RetentionSink(rules, ledgers, self.removed.path, OWNER, self.host, deliveries)

    def remove(self, rules=ALL):
        """Make one pass of a new relay; return which slots are still here."""
        self.make(rules).remove_due(TakenScans(self.scans), is_clock_trusted=True)
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
    assert said[0][1].startswith("3 datasets (tl_0 … tl_2), 3 kB, after delivery to lab, plantdb; ")
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
        sink.remove_due(TakenScans(world.scans), is_clock_trusted=True)
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


@pytest.mark.parametrize(
    ("about", "why"),
    [
        ({"by_length": True}, 'lab compared their length alone; write verify = "bytes"'),
        ({"left": 1}, "no target has all of their files"),
        ({"digest": "0" * 64}, ""),
    ],
)
def test_a_rule_by_which_nothing_is_ever_removed_is_said_once(world, said, about, why):
    """As soon as something is delivered, and not when the disk is full."""
    world.deliver(0, 1, **about)
    sink = world.make(RetentionRules(keep=timedelta(days=10_000)))
    for _ in range(2):
        sink.remove_due(TakenScans(world.scans), is_clock_trusted=True)
    assert [word for word, _ in said] == ["datasets_kept"] * bool(why)
    assert not why or f"tl_0 and others like it stay here: {why}" in said[0][1]


class Target:
    """A target that answers what ``answer`` says of a directory, or raises it."""

    def __init__(self, answer, *, polite=False):
        self.answer, self.polite = answer, polite
        self.n_closed = self.n_asked = 0

    def doubt(self, shipment):
        directory = shipment.directory
        assert (directory / "timelapsed.json").exists()
        self.n_asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer(directory)

    def close(self):
        self.n_closed += 1


def test_a_target_whose_directory_is_this_very_one_has_no_copy(world, said):
    """It has the dataset no more once that has another name here; it stays under its own."""
    world.deliver(0, 1, 2)
    itself = Target(lambda _: "" if (world.datasets / "tl_0").exists() else LOST)
    sink = world.make(deliveries={"lab": itself})
    sink.remove_due(TakenScans(world.scans[:1]), is_clock_trusted=True)
    assert world.here() == [0, 1, 2]
    why = "tl_0 stays here: lab doesn't have it any more, or has it in this very directory"
    assert said == [("datasets_kept", why)]
    assert read_sealed(world.datasets / "tl_0", world.scans[0])
    assert not world.removed.path.exists()


def test_without_an_answer_nothing_goes_and_it_is_said_once(world, said):
    """The target may be this very directory; a disk that fills up costs time points, which no copy makes up for."""
    world.deliver(0, 1)
    lab = Target(Unreachable("no route to host"))
    sink = world.make(RetentionRules(keep_free=1 << 60), deliveries={"lab": lab})
    for _ in range(3):
        sink.remove_due(TakenScans(world.scans), is_clock_trusted=True)
    assert world.here() == [0, 1, 2]
    why = "nothing is removed while lab can't be asked whether it has it still: no route to host"
    assert [word for word, _ in said] == ["datasets_kept"]
    assert said[0][1].startswith(f"{why}; less than ")
    assert sink.status.describe(NOW).startswith(
        "asks every target before a dataset is removed, not used yet (retention: "
    )
    assert why in sink.status.describe(NOW)
    assert lab.n_asked == 1, "a dataset is read and renamed for each question"
    lab.answer = lambda _: ""
    world.host.clock.passed += module_of_copies.ASK_AGAIN
    sink.remove_due(TakenScans(world.scans), is_clock_trusted=True)
    assert (world.here(), sink.status) == ([2], None)


def test_a_target_that_fails_with_one_dataset_keeps_only_that(world, said):
    """The others go."""
    world.deliver(0, 1)

    def fail(directory):
        if ".tl_0." in directory.name:
            raise ServerFailed("500")
        return ""

    world.make(deliveries={"lab": Target(fail)}).remove_due(TakenScans(world.scans), is_clock_trusted=True)
    assert world.here() == [0, 2]
    assert ("datasets_kept", "tl_0 stays here: lab doesn't say whether it has it: 500") in said


def test_a_question_that_fails_in_any_way_gives_the_dataset_its_name_back(world):
    """Also by a mistake of ours."""
    world.deliver(0)
    lab = Target(RuntimeError("a mistake"))
    with pytest.raises(RuntimeError):
        world.make(deliveries={"lab": lab}).remove_due(TakenScans(world.scans), is_clock_trusted=True)
    assert world.here() == [0, 1, 2]
    assert lab.n_closed == 1


def test_a_polite_target_is_not_asked_during_a_scan(world):
    """The dataset has its own name meanwhile."""
    world.deliver(0)
    lab = Target(lambda _: "", polite=True)
    sink = world.make(deliveries={"lab": lab})
    taken = TakenScans(world.scans, is_scanning=True)
    sink.update(StoreView(taken))
    thread = threading.Thread(target=sink.remove_due, args=[taken], kwargs={"is_clock_trusted": True})
    thread.start()
    thread.join(0.3)
    assert thread.is_alive()
    assert world.here() == [0, 1, 2]
    world.host.stop.set()
    thread.join(60)
    assert (world.here(), lab.n_asked) == ([0, 1, 2], 0)


def test_a_store_that_can_not_be_written_after_a_scan_bars_nothing(world):
    """It says for good that the scan runs; the daemon says that it doesn't."""
    world.deliver(0)
    for word, is_barred in ((False, False), (True, True), (None, True)):
        sink = world.make()
        sink._host = replace(world.host, scan_runs=lambda word=word: word)
        sink.update(StoreView(TakenScans(world.scans, is_scanning=True)))
        assert sink._is_scanning() is is_barred


def test_a_relay_that_stops_while_it_asks_removes_nothing(world, said):
    """The question was cut off, which is no answer."""
    world.deliver(0, 1)

    def stop(_directory):
        world.host.stop.set()
        raise Interrupted("the relay stops")

    world.make(deliveries={"lab": Target(stop)}).remove_due(TakenScans(world.scans), is_clock_trusted=True)
    assert world.here() == [0, 1, 2]
    assert not [sentence for _, sentence in said if "stops" in sentence]


def test_a_scan_that_begins_while_targets_are_asked_ends_it(world, said):
    """A polite target isn't asked then, and no dataset waits under another name for the end of a scan."""
    world.deliver(0)
    scanning = TakenScans(world.scans, is_scanning=True)
    plantdb = Target(lambda _: "", polite=True)
    lab = Target(lambda _: sink.update(StoreView(scanning)) or "")
    sink = world.make(deliveries={"lab": lab, "plantdb": plantdb})
    sink.remove_due(TakenScans(world.scans), is_clock_trusted=True)
    assert (world.here(), lab.n_asked, plantdb.n_asked, said) == ([0, 1, 2], 1, 0, [])
    sink.update(StoreView(TakenScans(world.scans)))
    lab.answer = lambda _: ""
    sink.remove_due(TakenScans(world.scans), is_clock_trusted=True)
    assert world.here() == [1, 2]


def set_aside(world, slot):
    """Leave a dataset as a kill does while a target is asked; return where it is."""
    scan = world.scans[slot]
    aside = world.datasets / removal_name(scan.scan_id, scan.key, OWNER)
    (world.datasets / scan.scan_id).rename(aside)
    return aside


@pytest.mark.parametrize("lab", [Unreachable("no network"), lambda _: LOST])
def test_killed_while_a_target_was_asked_it_has_its_name_back_at_the_next_start(world, said, lab):
    """And is judged anew, by rule, clock, ledgers and targets."""
    world.deliver(0)
    set_aside(world, 0)
    world.make(deliveries={"lab": Target(lab)}).remove_due(TakenScans(world.scans), is_clock_trusted=True)
    assert world.here() == [0, 1, 2]
    assert read_sealed(world.datasets / "tl_0", world.scans[0])
    assert not world.removed.path.exists()


def test_while_it_has_another_name_it_is_named(world):
    """By verify and status of this rig, and not by another rig's that shares the directory."""
    aside = set_aside(world, 0)
    (found,) = find_set_aside(world.datasets, owner=OWNER)
    assert found.path == aside
    assert found.what.startswith("tl_0, which the relay asks its targets for")
    assert find_set_aside(world.datasets, owner=replace(OWNER, store="/another")) == []


def test_taken_out_of_the_configuration_meanwhile_it_has_its_name_back_and_nothing_else_goes(world, said):
    """By any relay, with targets or without; a removal that was begun is finished."""
    world.deliver(0, 1)
    for ledgers in (world.ledgers, {}):
        set_aside(world, 0)
        sink = RetentionSink(RetentionRules(), ledgers, world.removed.path, OWNER, world.host, {})
        sink.remove_due(TakenScans(world.scans), is_clock_trusted=True)
        assert (world.here(), sink.name, sink.status, said) == ([0, 1, 2], "", None, [])
    (set_aside(world, 0) / RECEIPT).unlink()
    sink = RetentionSink(RetentionRules(), {}, world.removed.path, OWNER, world.host, {})
    sink.remove_due(TakenScans(world.scans), is_clock_trusted=True)
    assert (world.here(), [word for word, _ in said]) == ([1, 2], ["datasets_removed"])


@pytest.mark.parametrize("missing", ["disk", "store", "present store", "mount"])
def test_what_was_renamed_has_its_name_back_though_disk_or_store_come_later(world, missing):
    """A boot may mount them after the relay has looked for the first time."""
    set_aside(world, 0)
    away, scans = world.datasets.with_name("away"), world.scans
    if missing in ("disk", "mount"):
        world.datasets.rename(away)
    else:
        scans = scans[1:] if missing == "present store" else ()
    if missing == "mount":
        world.datasets.mkdir()
    sink = world.make()
    sink.remove_due(TakenScans(scans), is_clock_trusted=True)
    if away.exists():
        shutil.rmtree(world.datasets, ignore_errors=True)
        away.rename(world.datasets)
    sink.remove_due(TakenScans(world.scans), is_clock_trusted=True)
    assert world.here() == [0, 1, 2]


@pytest.mark.parametrize("is_forgotten", [True, False])
def test_what_was_only_renamed_is_not_deleted_against_ledger_and_clock(world, said, is_forgotten):
    """A person may have had a ledger forget it meanwhile."""
    world.deliver(0)
    set_aside(world, 0)
    if is_forgotten:
        for ledger in world.ledgers.values():
            ledger.record(LedgerEntry(world.scans[0].key, Outcome.FORGOTTEN, "2026"))
    world.make().remove_due(TakenScans(world.scans), is_clock_trusted=is_forgotten)
    assert world.here() == [0, 1, 2]
    assert said == []


@pytest.mark.parametrize("is_recorded", [True, False])
def test_a_deletion_that_was_begun_is_finished_and_reported(world, said, is_recorded):
    """It has begun where it is recorded, or its receipt is gone."""
    world.deliver(0)
    aside = set_aside(world, 0)
    if is_recorded:
        world.removed.record(LedgerEntry(world.scans[0].key, Outcome.REMOVED, "2026", why="lab"))
    else:
        (aside / "timelapsed.json").unlink()
    lab = Target(Unreachable("no network"))
    world.make(deliveries={"lab": lab}).remove_due(TakenScans(world.scans), is_clock_trusted=False)
    assert world.here() == [1, 2]
    assert said[0][1].startswith("1 dataset (tl_0), 1 kB, ")


def test_a_name_that_was_given_away_meanwhile_is_not_taken_back(world, said):
    """Another dataset stands there; both stay."""
    world.deliver(0)
    aside = set_aside(world, 0)
    shutil.copytree(aside, world.datasets / "tl_0")
    world.make().remove_due(TakenScans(world.scans), is_clock_trusted=False)
    assert read_sealed(aside, world.scans[0])
    assert said[0][1].startswith(f"{aside.name} is left: ")


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
            world.make().remove_due(TakenScans(world.scans), is_clock_trusted=True)
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
    thread.join(60)
    assert said[0][0] == "datasets_kept"
    assert "Read-only file system; see systemd/examples/retention.conf" in said[0][1]
    assert world.here() == [0, 1, 2]


def test_a_linked_dataset_stays_and_the_others_go(world, said):
    """Its name would go, and its pictures stay."""
    world.deliver(0, 1)
    elsewhere = world.datasets.parent / "elsewhere"
    (world.datasets / "tl_0").rename(elsewhere)
    (world.datasets / "tl_0").symlink_to(elsewhere)
    assert world.remove() == [0, 2]
    assert "tl_0 stays here: " in said[-1][1]


def test_a_dataset_that_can_not_be_deleted_whole_is_not_begun(world, said, monkeypatch):
    """A folder in it that belongs to somebody else."""
    world.deliver(0, 1)
    monkeypatch.setattr(os, "access", lambda path, _: not str(path).endswith("tl_0/images"))
    assert world.remove() == [0, 2]
    assert "tl_0/images: Permission denied" in said[-1][1]


def test_what_can_not_be_deleted_stops_nothing_else(world, said, monkeypatch):
    """It is reported once, tried again in every pass, and no dataset any more."""
    delete, is_faulty = shutil.rmtree, [True]

    def fail(path):
        if is_faulty[0] and path.name.startswith(".tl_0."):
            raise OSError(5, "Input/output error", str(path))
        delete(path)

    monkeypatch.setattr(module.shutil, "rmtree", fail)
    world.deliver(0, 1)
    sink = world.make()
    for _ in range(3):
        sink.remove_due(TakenScans(world.scans), is_clock_trusted=True)
    assert [path.name for path in world.datasets.iterdir() if not path.name.startswith(".")] == ["tl_2"]
    kept = [sentence for word, sentence in said if word == "datasets_kept"]
    assert len(kept) == 2
    assert all("Input/output error" in sentence for sentence in kept)
    is_faulty[0] = False
    world.deliver(2)
    sink.remove_due(TakenScans(world.scans), is_clock_trusted=True)
    assert world.here() == []


def test_without_a_trusted_clock_nothing_is_old(world, said):
    """The daemon's word counts, without a daemon the kernel's; a short disk needs no clock."""
    world.deliver(0, 1, 2)
    live = DaemonFacts(1, is_live=True, clock_trusted=False)
    sink = world.make()
    assert not sink._is_clock_trusted(live)
    assert sink._is_clock_trusted(replace(live, clock_trusted=True))
    assert sink._is_clock_trusted(None)
    world.host.clock.is_synchronised = False
    assert not sink._is_clock_trusted(None)
    assert not sink._is_clock_trusted(replace(live, is_live=False, clock_trusted=True))
    sink.remove_due(TakenScans(world.scans), is_clock_trusted=False)
    assert world.here() == [0, 1, 2]
    world.make(RetentionRules(keep_free=1 << 60)).remove_due(TakenScans(world.scans), is_clock_trusted=False)
    assert world.here() == []


def test_what_has_to_stay_is_one_line_and_once(world, said, monkeypatch):
    """Also where it is read again the next day."""
    monkeypatch.setattr(module, "KEPT_AGAIN", 0.0)
    for slot in range(3):
        (world.datasets / f"tl_{slot}" / "notes.txt").write_text("mine")
    world.deliver(0, 1, 2)
    sink = world.make()
    for _ in range(2):
        sink.remove_due(TakenScans(world.scans), is_clock_trusted=True)
    assert said == [("datasets_kept", "tl_0 stays here: notes.txt was added after the scan; 2 more stay, too")]


def test_a_disk_is_judged_before_there_is_a_directory_of_datasets(world, said):
    """A rig that has taken nothing yet."""
    shutil.rmtree(world.datasets)
    world.make(RetentionRules(keep_free=1)).remove_due(TakenScans(()), is_clock_trusted=True)
    assert said == []


def test_what_another_server_has_stays(world, said):
    """A target keeps its name and its ledger where a person writes another address."""
    world.deliver(0, 1, 2)
    there = DeliverTarget(remote="lab:plants")
    world.ledgers["lab"] = Ledger(world.ledgers["lab"].path, there.place)
    assert world.remove() == [0, 1, 2]
    world.ledgers["lab"].move({})
    world.deliver(1, to=["lab"])
    assert world.remove() == [0, 2]


def test_a_target_at_another_place_lacks_everything(world):
    """What it has is compared; only what was begun there may be completed."""
    ledger = Ledger(world.ledgers["plantdb"].path, DeliverTarget().place)
    backlog = Backlog("plantdb", ledger, world.removed, world.host.clock)
    taken = {url: TakenScans(world.scans, database={"db_url": url}) for url in ("http://a", "http://b")}
    backlog.refresh(taken["http://a"])
    backlog.record(world.scans[0], Outcome.DELIVERED)
    backlog.record(world.scans[1], Outcome.BEGUN)
    assert (backlog.n_waiting, backlog.is_begun(world.scans[1])) == (2, True)
    backlog.refresh(taken["http://b"])
    assert (backlog.n_waiting, backlog.is_begun(world.scans[1])) == (3, False)
    backlog.refresh(taken["http://a"])
    assert (backlog.n_waiting, backlog.is_begun(world.scans[1])) == (2, True)


def test_a_dataset_that_was_migrated_after_its_delivery_goes(world, said):
    """No picture has changed."""
    bring_to_earlier_layout(world.datasets / "tl_0", "with digests")
    world.deliver(0)
    assert migrate_dataset(world.datasets / "tl_0", OWNER)
    assert world.remove() == [1, 2]


@pytest.mark.parametrize("room", [0, 20])
def test_what_a_full_disk_had_no_line_for_is_recorded_once_it_is_removed(world, monkeypatch, room):
    """Its own removal makes the space."""
    world.deliver(0)
    write = os.write

    def write_little(descriptor, content):
        if not any(path.name.startswith(".tl_0") for path in world.datasets.iterdir()):
            return write(descriptor, content)
        if not room:
            raise OSError(28, "No space left on device")
        return write(descriptor, content[:room])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write_little)
        assert world.remove() == [1, 2]
    world.removed.refresh()
    assert [*world.removed.entries] == [world.scans[0].key]


class Shelf:
    """A target that is a directory."""

    polite = False

    def __init__(self, directory):
        self.directory = directory

    def deliver(self, shipment):
        sealed = read_sealed(shipment.directory, shipment.scan)
        shutil.copytree(shipment.directory, self.directory / shipment.scan.scan_id)
        return Delivered("file", len(sealed.files), len(sealed.files), 1000, sealed.digest)

    def doubt(self, shipment):
        return "" if (self.directory / shipment.scan.scan_id).exists() else LOST

    def close(self):
        pass


def test_a_long_backlog_makes_space_as_it_is_delivered(tmp_path, said, monkeypatch):
    """The disk is short from the first moment on: the oldest goes once it is verified, and no more than is needed."""
    n_slots, n_fit, datasets = 20, 8, tmp_path / "datasets"
    for slot in range(n_slots):
        take_dataset(datasets, slot, hour=slot)
    times = [datetime(2026, 6, 22, tzinfo=UTC) + timedelta(hours=slot) for slot in range(n_slots)]
    view = StoreView(TakenScans(tuple(TakenScan(f"tl_{n}", "tl", n, at, at) for n, at in enumerate(times))))
    pictures = {path.relative_to(datasets): path.read_bytes() for path in datasets.glob("*/images/*")}
    ledger, removed, shelf, sinks = tmp_path / "lab.ledger", tmp_path / "removed", Shelf(tmp_path / "there"), []
    usage = shutil.disk_usage(datasets)
    monkeypatch.setattr(
        module.shutil, "disk_usage", lambda _: usage._replace(free=n_slots - len([*datasets.iterdir()]))
    )
    host = SinkHost(
        lambda _: datasets, Clock(), threading.Event(), lambda: [sink.update(replace(view)) for sink in sinks]
    )
    deliver = DeliverSink("lab", DeliverTarget(), shelf, Ledger(ledger), host, Ledger(removed))
    rules = RetentionRules(keep_free=n_slots - n_fit)
    sinks += [deliver, RetentionSink(rules, {"lab": Ledger(ledger)}, removed, OWNER, host, {"lab": shelf})]
    threads = [threading.Thread(target=sink.run) for sink in sinks]
    for thread in threads:
        thread.start()
    host.report()
    wait_until(lambda: len([*datasets.iterdir()]) == n_fit and deliver.status.delivered == n_slots, within=60)
    host.stop.set()
    for sink, thread in zip(sinks, threads, strict=True):
        sink.wake()
        thread.join(60)
    there = {path.relative_to(shelf.directory): path.read_bytes() for path in shelf.directory.glob("*/images/*")}
    assert {path.name for path in datasets.iterdir()} == {f"tl_{n}" for n in range(n_slots - n_fit, n_slots)}
    assert there == pictures
    assert {word for word, _ in said} <= {"datasets_removed", "datasets_kept"}
