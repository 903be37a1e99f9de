"""Datasets reach a remote of rclone as they are: Debian's rclone, its own servers, the relay as a process.

WebDAV has no hashes, so that files are read back; SFTP has.
"""

import hashlib
import json
import os
import shutil
import threading
from datetime import datetime

import pytest
from daemon_process import NotifySocket
from disks import PAGE, fill_disk, small_disk
from rclone_server import KINDS, PASSWORD, RCLONE, ByteGate, RcloneRig, RcloneServer
from relay_rig import take_dataset
from waiting import wait_until

from plantimager.timelapse.channel.ledger import Outcome
from plantimager.timelapse.channel.lock import InstanceLock
from plantimager.timelapse.datasets.receipt import RECEIPT
from plantimager.timelapse.drivers.programs.processes import descendants_of, list_processes
from plantimager.timelapse.relay.credentials import Secret
from plantimager.timelapse.relay.deliver.delivery import ServerFailed, Shipment, TargetRefused, Unreachable
from plantimager.timelapse.relay.deliver.pacing import TargetPace
from plantimager.timelapse.relay.deliver.rclone_delivery import SETTLED, TELLING, RcloneDelivery
from plantimager.timelapse.relay.deliver.rclone_program import Rclone
from plantimager.timelapse.relay.sealed_dataset import DatasetRefused
from plantimager.timelapse.relay.taken_scans import TakenScan
from plantimager.timelapse.settings.deliver_config import DeliverTarget
from plantimager.timelapse.support.clock import SystemClock
from stores import HOURS

pytestmark = pytest.mark.skipif(RCLONE is None, reason="rclone is not installed")

WRONG = "hunter2-secret"
MIDDLE = 0.5
"""The part of a delivery's traffic after which a fault happens to the relay as a whole; test_rclone_faults has them at
every request."""
DISK_PAGES = 1000
"""More than two datasets take of a server's disk."""
PATIENCE = 240.0
"""Seconds for a delivery: after each fault the relay waits longer before it tries again."""


@pytest.fixture(params=KINDS)
def server(request, tmp_path):
    """Run a server of each kind on an empty directory."""
    with RcloneServer(request.param, tmp_path / "remote") as server:
        yield server


@pytest.fixture
def gate(server):
    """Stand between relay and server."""
    with ByteGate(server) as gate:
        yield gate


@pytest.fixture
def rig(tmp_path, server, gate):
    """Return a rig without any datasets yet."""
    return RcloneRig(tmp_path / "rig", server.configuration(gate.port))


def test_the_sealed_directory_arrives_as_it_is(rig, server):
    """Every file, the receipt too, and nothing else; a second pass sends nothing."""
    rig.take(2)
    (rig.place.datasets / "tl_0" / "notes.txt").write_text("of a person, and not of the scan")
    with rig.start() as relay:
        assert "tl_0 to lab, 8 files" in relay.wait_for("delivered: tl_0")
        relay.wait_for("delivered: tl_1")
        assert relay.stop() == 0
    sealed = rig.sealed()
    del sealed["tl_0/notes.txt"]
    assert server.files() == sealed
    rig.ledger_file.unlink()
    with rig.start() as relay:
        assert "8 files (8 of them were there)" in relay.wait_for("delivered: tl_0")
        relay.wait_for("delivered: tl_1")
        relay.stop()
    assert server.files() == sealed
    assert PASSWORD not in "\n".join(relay.lines)


def test_another_dataset_of_that_name_is_left_alone(rig, server):
    """Nothing of ours is mixed into it; a person is told; the others go on."""
    rig.take(2)
    theirs = server.directory / "plants" / "tl_0" / "images" / "camera-00000.jpg"
    theirs.parent.mkdir(parents=True)
    here = rig.sealed()["tl_0/images/camera-00000.jpg"]
    theirs.write_bytes(bytes([here[0] ^ 1]) + here[1:])
    before = server.files()
    with rig.start() as relay:
        told = relay.wait_for("delivery_refused: tl_0")
        assert "lab:plants/tl_0 has other bytes as images/camera-00000.jpg" in told
        relay.wait_for("delivered: tl_1")
        relay.stop()
    assert {name: content for name, content in server.files().items() if name.startswith("tl_0")} == before


class Clock(SystemClock):
    """The real one, ahead by what a test lets pass."""

    passed = 0.0

    def monotonic(self):
        return super().monotonic() + self.passed


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def bring(tmp_path, clock):
    """Return a function that brings a dataset to a local directory, which is what a remote is here."""
    configuration = tmp_path / "local.conf"
    configuration.write_text("[lab]\ntype = local\n")
    target = DeliverTarget(remote=f"lab:{tmp_path / 'there'}")
    at = datetime.fromisoformat(HOURS[0])
    scan = TakenScan("tl_0", "tl", 0, at, at)
    pace = TargetPace(clock, threading.Event())
    made = {}

    def deliver(dataset, begin=lambda: None, *, was_begun=False, rig=None, below=""):
        own = DeliverTarget(remote=f"{target.remote}{below}")
        secret = Secret(configuration, configuration.read_text())
        delivery = made.setdefault((rig, below), RcloneDelivery(own, secret, rig))
        return delivery.deliver(Shipment(dataset, scan, {}, pace, begin, was_begun))

    return deliver


@pytest.mark.parametrize("has_receipt", [True, False])
def test_another_rig_that_delivers_the_same_name_meanwhile_keeps_its_files(bring, tmp_path, has_receipt):
    """It may have removed its own copy by now. One whose receipt is on its way is no different."""
    ours, theirs = take_dataset(tmp_path / "a", 0), take_dataset(tmp_path / "b", 0, width=16)
    there = tmp_path / "there" / "tl_0"

    def be_overtaken():
        shutil.copytree(theirs, there)
        if not has_receipt:
            (there / "timelapsed.json").unlink()

    with pytest.raises(TargetRefused, match="has other bytes"):
        bring(ours, be_overtaken)
    for path in (path for path in theirs.rglob("*") if path.is_file() and path.suffix != ".json"):
        assert (there / path.relative_to(theirs)).read_bytes() == path.read_bytes()


ODD = [
    "a b.jpg",
    " lead",
    "trail ",
    "-dash",
    "#hash",
    "*star",
    "[br]",
    "back\\slash",
    "ünï",
    "u\u0308",
    "n\udcff",
    "= eq",
    "日本",
]


@pytest.mark.parametrize("server", ["webdav"], indirect=True)
def test_any_name_and_an_empty_file_arrive(rig, server):
    """And a second pass finds them there."""
    dataset = take_dataset(rig.place.datasets, 0)
    unlisted(dataset)
    for name in ODD:
        (dataset / name).write_text("x")
    (dataset / "empty").write_bytes(b"")
    rig.take(2)
    with rig.start() as relay:
        assert f"{8 + len(ODD) + 1} files" in relay.wait_for("delivered: tl_0")
        relay.wait_for("delivered: tl_1")
        assert rig.sealed() == server.files()
        rig.ledger_file.unlink()
        assert f"({8 + len(ODD) + 1} of them were there)" in relay.wait_for("delivered: tl_0")
        relay.stop()


@pytest.mark.parametrize("name", ["tab\t", "cr\r", "line\nbreak", "\x7f", "\x1b[31m", "‛quoted"])
def test_a_name_that_rclone_cannot_keep_is_told_and_holds_up_no_other(bring, tmp_path, name):
    """The dataset is refused, and the target goes on."""
    ours = take_dataset(tmp_path / "a", 0)
    unlisted(ours)
    (ours / name).write_text("x")
    with pytest.raises(DatasetRefused, match="rclone can't keep the name") as told:
        bring(ours)
    assert str(told.value).isascii()
    assert str(told.value).isprintable()


def test_two_names_that_differ_in_their_unicode_form_alone_are_told(bring, tmp_path):
    """And those that differ in their case alone arrive."""
    ours = take_dataset(tmp_path / "a", 0)
    unlisted(ours)
    for name in ("A.txt", "a.txt", "\u00e9.txt"):
        (ours / name).write_text(name)
    assert bring(ours).sent == bring(ours).files == len([path for path in ours.rglob("*") if path.is_file()])
    assert {path.read_text() for path in tmp_path.glob("there/tl_0/*.txt")} == {"A.txt", "a.txt", "\u00e9.txt"}
    (ours / "e\u0301.txt").write_text("the same to look at")
    with pytest.raises(DatasetRefused, match="differ in their Unicode form alone"):
        bring(ours)


def unlisted(dataset):
    """Have a receipt name no files, as that of an operator's own program."""
    path = dataset / "timelapsed.json"
    receipt = json.loads(path.read_bytes())
    del receipt["files"]
    path.write_text(json.dumps(receipt))


def test_two_rigs_of_one_remote_have_a_directory_each(bring, tmp_path):
    """Of its name, unless the configuration has that already; the rig without a name as ever."""
    for rig, below, place in (
        (None, "", "there"),
        ("north", "", "there/north"),
        ("south", "/", "there/south"),
        ("east", "/east", "there/east"),
    ):
        ours = take_dataset(tmp_path / (rig or "default"), 0)
        assert bring(ours, rig=rig, below=below).sent == 8
        assert contents(tmp_path / place / "tl_0") == contents(ours)


def test_what_a_named_rig_delivered_before_the_update_is_found_there(bring, tmp_path):
    """It isn't sent again. The like of another rig is none, and stays as it is."""
    ours, theirs = take_dataset(tmp_path / "a", 0), take_dataset(tmp_path / "b", 0, width=16)
    there = tmp_path / "there"
    shutil.copytree(ours, there / "tl_0")
    assert bring(ours, rig="north").sent == 0
    assert [path.name for path in there.iterdir()] == ["tl_0"]
    assert bring(theirs, rig="south").sent == 8
    assert contents(there / "south" / "tl_0") == contents(theirs)
    assert contents(there / "tl_0") == contents(ours)
    (there / "tl_0" / "images" / "camera-00000.jpg").unlink()
    assert bring(ours, rig="north").sent == 1
    assert contents(there / "tl_0") == contents(ours)


def contents(directory):
    return {path.relative_to(directory): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_of_what_was_begun_only_the_beginnings_of_ours_are_completed(bring, tmp_path):
    """A shorter file of somebody else is none."""
    ours, there = take_dataset(tmp_path / "a", 0), tmp_path / "there" / "tl_0" / "images" / "camera-00000.jpg"
    whole = (ours / "images" / there.name).read_bytes()
    there.parent.mkdir(parents=True)
    for foreign in (b"x" + whole[1:-9], whole + b"x"):
        there.write_bytes(foreign)
        with pytest.raises(TargetRefused, match=r"other bytes as images/camera-00000\.jpg"):
            bring(ours, was_begun=True)
        assert there.read_bytes() == foreign
    there.write_bytes(whole[:-9])
    assert bring(ours, was_begun=True).sent == 8
    assert there.read_bytes() == whole


def cut_off_there(tmp_path, size=1 << 17):
    """Return a dataset with a picture of that size at least, and where that picture is to go, the directory made."""
    ours, there = take_dataset(tmp_path / "a", 0), tmp_path / "there" / "tl_0" / "images" / "camera-00000.jpg"
    picture = ours / "images" / there.name
    picture.write_bytes(picture.read_bytes() + os.urandom(size))
    receipt = json.loads((ours / RECEIPT).read_bytes())
    receipt["files"][f"images/{there.name}"] = hashlib.sha256(picture.read_bytes()).hexdigest()
    (ours / RECEIPT).write_text(json.dumps(receipt))
    there.parent.mkdir(parents=True)
    return ours, there, picture.read_bytes()


def test_what_a_lost_ledger_knew_to_be_begun_is_completed_where_it_stays_the_same(bring, tmp_path, clock):
    """Another rig may be sending it at this moment: nothing is overwritten before some time has passed.

    A person who asks for the next try at once doesn't make it pass.
    """
    ours, there, whole = cut_off_there(tmp_path)
    for sent, passed in ((whole[:-9], 0), (whole[:-5], SETTLED), (whole[:-5], SETTLED / 2), (whole[:-5], 1)):
        clock.passed += passed
        there.write_bytes(sent)
        with pytest.raises(ServerFailed, match=r"the beginning of images/camera-00000\.jpg"):
            bring(ours)
        assert there.read_bytes() == sent
    clock.passed += SETTLED / 2
    assert bring(ours).sent == 8
    assert there.read_bytes() == whole


@pytest.mark.parametrize("size", [0, 600, TELLING - 1])
def test_a_few_bytes_that_two_rigs_may_have_in_common_are_never_overwritten_as_ours(bring, tmp_path, clock, size):
    """As a header of two pictures by the same kind of camera; those that were begun are."""
    ours, there, whole = cut_off_there(tmp_path)
    there.write_bytes(whole[:size])
    for _ in range(2):
        with pytest.raises(TargetRefused, match=f"has the first {size} bytes of images/camera-00000"):
            bring(ours)
        clock.passed += SETTLED
    assert there.read_bytes() == whole[:size]
    assert bring(ours, was_begun=True).sent == 8


def test_a_receipt_that_was_cut_off_beside_all_the_files_is_completed(bring, tmp_path):
    """By those it is known whose it is."""
    ours = take_dataset(tmp_path / "a", 0)
    bring(ours)
    receipt = tmp_path / "there" / "tl_0" / RECEIPT
    receipt.write_bytes(receipt.read_bytes()[:99])
    assert bring(ours).sent == 1
    assert contents(receipt.parent) == contents(ours)


@pytest.mark.parametrize("more", [b"another picture", b""])
def test_what_another_rig_has_completed_by_now_is_not_overwritten(bring, tmp_path, more):
    """It is compared again just before it is."""
    ours, there, whole = cut_off_there(tmp_path)
    there.write_bytes(whole[: TELLING + 9])
    theirs = whole[: TELLING + 9] + more + whole[TELLING + 9 :] * (not more)

    def complete():
        there.write_bytes(theirs)

    if more:
        with pytest.raises(TargetRefused, match="has other bytes"):
            bring(ours, complete, was_begun=True)
    else:
        bring(ours, complete, was_begun=True)
    assert there.read_bytes() == theirs


def test_a_file_of_another_rig_is_not_read_back_to_be_refused(bring, tmp_path, monkeypatch):
    """Its size says that it is none of ours, whatever else there is."""
    ours, there, whole = cut_off_there(tmp_path)
    there.write_bytes(whole + b"x")
    (there.parent / "camera-00001.jpg").write_bytes(b"")
    commands, run = [], Rclone.run
    monkeypatch.setattr(Rclone, "run", lambda *args, **names: commands.append(args[2]) or run(*args, **names))
    with pytest.raises(TargetRefused, match=r"other bytes as images/camera-00000\.jpg"):
        bring(ours, was_begun=True)
    assert commands == ["check", "lsf"]


def test_a_byte_that_changes_there_is_seen_when_it_is_compared(rig, server):
    """Same length, another byte: by its hash, or read back."""
    rig.take(1)
    with rig.start() as relay:
        relay.wait_for("delivered: tl_0")
        relay.stop()
    there = server.directory / "plants" / "tl_0" / "images" / "camera-00001.jpg"
    there.write_bytes(there.read_bytes()[:-1] + b"x")
    rig.ledger_file.unlink()
    with rig.start() as relay:
        assert "camera-00001.jpg" in relay.wait_for("delivery_refused: tl_0")
        relay.stop()


def test_length_alone_may_be_compared(rig, server):
    """And the ledger says so."""
    rig.configure('verify = "length"', 'max_rate = "1 MB"')
    rig.take(1)
    with rig.start() as relay:
        relay.wait_for("delivered: tl_0")
        relay.stop()
    assert server.files() == rig.sealed()
    assert rig.ledger()["tl_0"].by_length


@pytest.mark.parametrize("server", ["webdav"], indirect=True)
def test_a_dataset_that_was_removed_or_changed_is_told_and_not_sent(rig, server):
    """The others go on."""
    rig.take(3)
    shutil.rmtree(rig.place.datasets / "tl_0")
    picture = rig.place.datasets / "tl_1" / "images" / "camera-00000.jpg"
    picture.write_bytes(picture.read_bytes() + b"x")
    with rig.start() as relay:
        assert "has changed" in relay.wait_for("delivery_refused: tl_1")
        relay.wait_for("delivered: tl_2")
        assert "tl_0 is not there" in relay.wait_for("dataset_gone")
        relay.stop()
    assert {name.split("/")[0] for name in server.files()} == {"tl_2"}


# --- faults -------------------------------------------------------------------------------------------------


def traffic_of_a_delivery(rig, gate):
    """Return how many bytes go to the server in an undisturbed delivery by a relay that runs: that of slot 0."""
    gate.arm(None)
    rig.take_long(1)
    wait_until(lambda: rig.has(0), within=PATIENCE, what="a delivery without faults")
    return gate.sent


def check_each(rig, server, slot):
    wait_until(lambda: rig.has(slot), within=PATIENCE, what=f"delivery of tl_{slot}")
    assert server.files() == rig.sealed()


def test_server_killed_in_the_middle_of_anything(rig, gate, server):
    """What it has half is completed, and nothing is refused."""
    with rig.start() as relay:
        struck = threading.Event()

        def strike():
            server.kill()
            struck.set()

        gate.arm(int(traffic_of_a_delivery(rig, gate) * MIDDLE), strike)
        rig.take_long(2)
        assert struck.wait(PATIENCE)
        relay.wait_for("delivery_stuck")
        server.start()
        rig.ask_again()
        check_each(rig, server, 1)
        relay.stop()
    assert relay.said("delivery_refused") == []
    assert relay.said("delivery_stuck")


def test_relay_killed_in_the_middle_of_anything(rig, gate, server):
    """The next one compares, and completes what was begun; no rclone outlives its relay."""
    struck = threading.Event()
    with rig.start() as relay:
        gate.arm(int(traffic_of_a_delivery(rig, gate) * MIDDLE), struck.set)
        rig.take_long(2)
        assert struck.wait(PATIENCE)
    server.recover_from_a_cut()
    with rig.start() as relay:
        check_each(rig, server, 1)
        assert relay.stop() == 0
    assert relay.said("delivery_refused") == []


def test_server_frozen_in_the_middle_of_a_file(rig, gate, server):
    """The program is ended, and that is said; it is taken up again when the server answers."""
    rig.configure('timeout = "1s"')
    with rig.start() as relay:
        gate.arm(int(traffic_of_a_delivery(rig, gate) * MIDDLE), server.freeze)
        rig.take_long(2)
        assert "rclone" in relay.wait_for("delivery_stuck: lab: ")
        server.thaw()
        server.recover_from_a_cut()
        rig.ask_again()
        check_each(rig, server, 1)
        relay.stop()


@pytest.mark.system
def test_a_server_whose_disk_is_full_gets_the_files_when_it_has_space(rig, server):
    """A disk that is really full: at a file in the middle, and at the receipt; nothing looks whole, and it is told."""
    server.kill()
    with small_disk(server.directory, f"{DISK_PAGES * PAGE}"):
        filler = server.directory / "filler"
        server.start()
        with rig.start() as relay:
            for slot, part in enumerate((0.5, 1.0)):
                dataset = take_dataset(rig.place.datasets, slot, hour=slot, width=160)
                files = [path for path in dataset.rglob("*") if path.is_file() and path.name != RECEIPT]
                pages = sum(-(-path.stat().st_size // PAGE) for path in files)
                fill_disk(filler, int(pages * part))
                rig.take_long(slot + 1)
                assert "no room left" in relay.wait_for(f"delivery_stuck: lab: tl_{slot}: ", within=PATIENCE)
                assert not rig.has(slot)
                assert f"tl_{slot}/{RECEIPT}" not in server.files()
                filler.unlink()
                rig.ask_again()
                check_each(rig, server, slot)
            assert relay.stop() == 0
        server.kill()
    assert relay.said("delivery_refused") == []


def test_a_damaged_ledger_costs_comparing(rig, server):
    """Torn, zeroed or deleted: nothing is sent again."""
    rig.take(1)
    with rig.start() as relay:
        relay.wait_for("delivered: tl_0")
        relay.stop()
    times = {path: path.stat().st_mtime_ns for path in server.directory.rglob("*.jpg")}
    for damage in (lambda text: text[:-7], lambda text: b"\0" * len(text), None):
        if damage is None:
            rig.ledger_file.unlink()
        else:
            rig.ledger_file.write_bytes(damage(rig.ledger_file.read_bytes()))
        with rig.start() as relay:
            assert "(8 of them were there)" in relay.wait_for("delivered: tl_0")
            relay.stop()
    assert {path: path.stat().st_mtime_ns for path in server.directory.rglob("*.jpg")} == times


def test_a_wrong_password_is_said_and_never_shown(rig, server):
    """It takes a person, who corrects the file."""
    good = rig.secret.read_text()
    rig.secret.write_text(server.configuration(password=WRONG))
    rig.take(1)
    with rig.start() as relay:
        assert "lab: the server doesn't accept the account or its password; rclone: " in relay.wait_for(
            "delivery_stuck"
        )
        relay.stop()
    obscured = rig.secret.read_text().split("pass = ")[1].strip()
    assert not [line for line in relay.lines if "hunter2" in line or obscured in line]
    assert rig.ledger() == {}
    rig.secret.write_text(good)
    with rig.start() as relay:
        relay.wait_for("delivered: tl_0")
        relay.stop()


@pytest.mark.parametrize("server", ["webdav"], indirect=True)
def test_the_configuration_is_a_credential_of_the_unit(rig, server, tmp_path):
    """As systemd's LoadCredential= puts it into a directory of the service's own."""
    (tmp_path / "deliver-lab").write_text(rig.secret.read_text())
    rig.secret.unlink()
    rig.place.configure('[relay.deliver.lab]\nremote = "lab:plants"')
    rig.take(1)
    with rig.start(CREDENTIALS_DIRECTORY=str(tmp_path)) as relay:
        relay.wait_for("delivered: tl_0")
        relay.stop()
    assert server.files() == rig.sealed()


@pytest.mark.parametrize("server", ["sftp"], indirect=True)
def test_two_remotes_and_a_server_that_is_gone_are_independent(rig, server):
    """Each has a ledger of its own."""
    own = f'rclone_config = "{rig.secret}"'
    rig.place.configure(
        f'[relay.deliver.gone]\nremote = "gone:x"\n{own}\n[relay.deliver.lab]\nremote = "lab:plants"\n{own}\n'
        f'[relay.deliver.other]\nremote = "lab:others/"\n{own}\n'
    )
    rig.take(2)
    with rig.start() as relay:
        said = relay.wait_for("delivery_stuck")
        assert "gone: rclone's configuration has no remote of this name; rclone: didn't find section" in said
        assert said.endswith("; 2 datasets wait")
        check_each(rig, server, 1)
        wait_until((server.directory / "others" / "tl_1" / "timelapsed.json").exists, within=60)
        relay.stop()
    entries = map(json.loads, (line.rpartition("\t")[0] for line in rig.ledger_file.read_text().splitlines()))
    assert [entry["outcome"] for entry in entries] == [Outcome.BEGUN, Outcome.DELIVERED] * 2


ENCRYPTED = """\
# Encrypted rclone configuration File

RCLONE_ENCRYPT_V0:
8sbA4iffJsLN2QwFFs+x943+irsj8Bf416GouhC3g4yx6kd0g4gX8eJTJq3CM/nuEamQi8WYKSRgYMphznC+y9puyT6YuqNb/BwKRRi6+s1OLiiDHUSyxsCQ9aqoQuTlxLM0cjPpfCkopw==
"""


def test_a_configuration_with_a_password_is_told_with_the_cure(bring, tmp_path):
    """Nobody is there to type it, and rclone doesn't wait for that."""
    take_dataset(tmp_path, 0)
    (tmp_path / "local.conf").write_text(ENCRYPTED)
    with pytest.raises(Unreachable, match="nobody can be asked for its password; take that off with rclone config"):
        bring(tmp_path / "tl_0")


@pytest.mark.parametrize("server", ["sftp"], indirect=True)
def test_a_configuration_that_others_can_read_is_refused(rig):
    """Exit code 78: systemd doesn't start it again."""
    rig.secret.chmod(0o644)
    with rig.start() as relay:
        assert relay.wait() == 78
    assert "others can read this configuration of rclone" in "\n".join(relay.said("relay_config_faulty"))


@pytest.mark.parametrize("server", ["webdav"], indirect=True)
def test_a_polite_relay_sends_nothing_while_a_scan_runs(rig, gate, server):
    """It waits, and a scan that begins in the middle of a delivery ends rclone; afterwards it goes on."""
    rig.configure("polite = true", 'max_rate = "0.01 MB"')
    lock = InstanceLock(rig.place.store)
    lock.acquire()
    rig.take(1, state="running", next_idx=1, width=640)
    with NotifySocket(rig.place.data) as manager, rig.start(NOTIFY_SOCKET=str(manager.path)) as relay:
        manager.wait_for("lab: 0 of 1")
        assert gate.sent == 0
        begun = threading.Event()
        gate.arm(20_000, begun.set, cuts=False)
        rig.take(1)
        assert begun.wait(60)
        rig.take(2, state="running", next_idx=2)
        wait_until(lambda: not rclones_of(relay.process.pid), within=60, what="the end of rclone")
        assert server.files().keys() != rig.sealed().keys()
        rig.configure()
        relay.stop()
    rig.take(2)
    with rig.start() as relay:
        relay.wait_for("delivered: tl_1")
        relay.stop()
    lock.release()
    assert server.files() == rig.sealed()


def rclones_of(pid):
    """Return the programs that a relay runs."""
    return descendants_of({pid}, list_processes())
