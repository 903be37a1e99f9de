"""A dataset that can't be delivered, here or on the server, holds up no other, and is reported."""

import json
import shutil
from contextlib import ExitStack
from datetime import datetime

import pytest
from disks import mounted
from plantdb_server import PlantDbServer
from relay_rig import RelayRig, stored_pictures
from waiting import wait_until

from plantimager.timelapse.channel.ledger import Ledger, LedgerEntry, Outcome
from plantimager.timelapse.settings.deliver_config import DeliverTarget
from stores import HOURS


def test_a_dataset_that_is_removed_before_its_delivery_is_reported_and_holds_up_no_other(rig, server):
    """It is not lost by the relay, and it is not called delivered."""
    rig.take(3)
    shutil.rmtree(rig.place.datasets / "tl_1")
    with rig.start() as relay:
        relay.wait_for("delivered: tl_2")
        assert "tl_1 is not there" in relay.wait_for("dataset_gone")
        wait_until(lambda: rig.status().delivered == 2, within=60)
        relay.stop()
    assert sorted(server.listed()) == ["tl_0", "tl_2"]


@pytest.mark.system
def test_a_disk_that_is_pulled_in_mid_delivery_loses_nothing(rig, gate, server):
    """What was under way is told, and completed first of all once the disk is back; nothing counts as removed."""
    rig.configure("[relay.retention]", 'keep_free = "900 TB"')
    rig.take(3)
    pictures, disk, plugged_in, pulled = rig.pictures(), rig.place.data / "disk", ExitStack(), []
    rig.place.datasets.rename(disk)
    rig.place.datasets.mkdir()

    def pull(_count, line):
        if line.startswith("POST /api/v1/files") and not pulled:
            pulled.append(line)
            plugged_in.close()
        return "pass"

    gate.act = pull
    plugged_in.enter_context(mounted(rig.place.datasets, "--bind", str(disk)))
    with plugged_in, rig.start() as relay:
        assert "tl_0" in relay.wait_for("dataset_gone")
        with mounted(rig.place.datasets, "--bind", str(disk)):
            rig.ask_again()
            assert "tl_0" in relay.wait_for("delivered: ")
            left = rig.place.datasets
            wait_until(lambda: not any(left.glob("*tl_*")), within=60, what="the removal of what was delivered")
            relay.stop()
    assert stored_pictures(server.directory) == pictures


def test_a_dataset_that_has_changed_is_refused_and_nothing_of_it_is_sent(rig, server):
    """Its receipt says what the scan left."""
    rig.take(2)
    picture = next((rig.place.datasets / "tl_0" / "images").iterdir())
    picture.write_bytes(picture.read_bytes() + b"x")
    with rig.start() as relay:
        assert "has changed" in relay.wait_for("delivery_refused: tl_0")
        relay.wait_for("delivered: tl_1")
        relay.stop()
    assert sorted(server.listed()) == ["tl_1"]
    assert rig.ledger()["tl_0"].outcome is Outcome.REFUSED


def test_a_trouble_is_over_when_the_dataset_that_met_it_is_refused_or_gone(rig, server):
    """Nothing else waits then that would meet the server again."""
    rig.take(1)
    server.kill()
    with rig.start() as relay:
        relay.wait_for("delivery_stuck")
        wait_until(lambda: rig.status().trouble, within=60, what="the trouble in the status")
        picture = next((rig.place.datasets / "tl_0" / "images").iterdir())
        picture.write_bytes(picture.read_bytes() + b"x")
        rig.ask_again()
        relay.wait_for("delivery_refused: tl_0")
        wait_until(lambda: not rig.status().trouble, within=60, what="the end of the trouble in the status")
        assert not relay.said("delivery_resumed")
        relay.stop()


def test_what_is_no_picture_is_refused_before_it_is_sent(rig, server):
    """An empty file, or one of text: the server would count it for good."""
    rig.take(2)
    for name, content in (("tl_0", b""), ("tl_1", b"no picture")):
        dataset = rig.place.datasets / name
        receipt = json.loads((dataset / "timelapsed.json").read_bytes())
        del receipt["files"]
        (dataset / "timelapsed.json").write_text(json.dumps(receipt))
        next((dataset / "images").iterdir()).write_bytes(content)
    with rig.start() as relay:
        for name in ("tl_0", "tl_1"):
            assert "can't be decoded" in relay.wait_for(f"delivery_refused: {name}")
        relay.stop()
    assert server.listed() == {}


def test_another_scan_of_that_name_on_the_server_is_left_alone(rig, server):
    """As of another rig; a person is told, since the server changes no file."""
    token = server.log_in()
    server.post("/api/v1/scans/tl_0", token, metadata={"acquisition_date": "2025-01-01 10:00:00"})
    rig.take(2)
    with rig.start() as relay:
        assert "another scan called tl_0" in relay.wait_for("delivery_refused: tl_0")
        relay.wait_for("delivered: tl_1")
        relay.stop()
    assert sorted(stored_pictures(server.directory)) == sorted(
        name for name in rig.pictures() if name.startswith("tl_1")
    )


def test_two_rigs_whose_timelapses_have_one_name_and_the_same_times_are_not_mixed(rig, gate, server, tmp_path):
    """The first keeps what it has delivered, and lacks nothing; the person of the second is told what to do."""
    other = RelayRig(tmp_path / "other", gate.url)
    for one in (rig, other):
        one.take(2)
    shutil.rmtree(rig.place.datasets / "tl_1")
    with rig.start() as relay:
        relay.wait_for("delivered: tl_0")
        relay.stop()
    gate.renew()
    with other.start() as relay:
        told = relay.wait_for("delivery_refused: tl_0")
        assert "tl_0 of another rig already" in told
        assert "timelapses of one database need different names" in told
        relay.wait_for("delivered: tl_1")
        relay.stop()
    assert [line for line in gate.requests if line.startswith("POST /api/v1/files/tl_0")] == []
    pictures = {name: content for name, content in other.pictures().items() if name.startswith("tl_1")}
    assert stored_pictures(server.directory) == rig.pictures() | pictures
    rig.ledger_file.unlink()
    with rig.start() as relay:
        assert "(2 of them were there)" in relay.wait_for("delivered: tl_0")
        relay.stop()
    assert rig.ledger()["tl_0"].left == 0


def test_another_rig_that_makes_the_scan_at_the_same_moment_keeps_it(rig, gate, server):
    """Between the look whether it is there and its making; nothing of ours goes into it."""
    rig.take(1)
    ours = json.loads((rig.place.datasets / "tl_0" / "metadata" / "metadata.json").read_bytes())
    ours["timelapsed"]["digest"] = "of another"
    faster = []

    def act(_count, line):
        if line == "POST /api/v1/scans/tl_0" and not faster:
            faster.append(server.post("/api/v1/scans/tl_0", server.log_in(), metadata=ours))
        return "pass"

    gate.act = act
    with rig.start() as relay:
        assert "tl_0 of another rig already" in relay.wait_for("delivery_refused: tl_0")
        relay.stop()
    assert faster[0].status_code == 201
    assert stored_pictures(server.directory) == {}


@pytest.mark.parametrize("has_pictures", [True, False])
def test_a_scan_that_an_earlier_version_delivered_has_no_digest_and_is_compared(rig, gate, server, has_pictures):
    """It is the same one, nothing of it is other, and what it lacks is completed."""
    rig.take(1)
    if has_pictures:
        with rig.start() as relay:
            relay.wait_for("delivered: tl_0")
            relay.stop()
        server.kill()
        there = server.directory / "tl_0" / "metadata" / "metadata.json"
        metadata = json.loads(there.read_bytes())
        assert metadata["timelapsed"].pop("digest")
        there.write_text(json.dumps(metadata))
        server.start()
    else:
        metadata = json.loads((rig.place.datasets / "tl_0" / "metadata" / "metadata.json").read_bytes())
        server.post("/api/v1/scans/tl_0", server.log_in(), metadata=metadata)
    rig.ledger_file.unlink(missing_ok=True)
    with rig.start() as relay:
        relay.wait_for("delivered: tl_0")
        relay.stop()
    assert rig.ledger()["tl_0"].left == 0
    assert stored_pictures(server.directory) == rig.pictures()


def test_a_server_on_the_directory_of_the_datasets_has_no_copy_of_its_own(rig, gate, server):
    """It lists them as they are; nothing is sent, and retention removes nothing."""
    server.kill()
    rig.configure("[relay.retention]", 'keep_free = "900 TB"')
    rig.take(1)
    with PlantDbServer(rig.place.datasets) as same:
        gate.server = same
        with rig.start() as relay:
            assert "(2 of them were there)" in relay.wait_for("delivered: tl_0")
            relay.wait_for("datasets_kept")
            relay.stop()
    assert relay.said("datasets_removed") == []
    assert len(rig.pictures()) == 2


OTHER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nother"


def test_a_server_that_keeps_something_else_than_it_was_sent_has_no_copy(rig, gate, server):
    """As one that makes pictures smaller, or whose disk changes them; a person is told, and the next is delivered."""
    rig.take(2)
    gate.act = lambda _count, line: OTHER if line.startswith("GET /api/v1/files/tl_0/") else "pass"
    with rig.start() as relay:
        assert "PlantDB has other bytes as tl_0/" in relay.wait_for("delivery_refused: tl_0")
        relay.wait_for("delivered: tl_1")
        relay.stop()
    assert not rig.has(0)


PORTAL = b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\nConnection: close\r\n\r\n<html>please log in."


def test_the_login_page_of_a_network_is_no_other_dataset(rig, gate, server):
    """It answers everything with 200 in the server's place, from the moment on in which a picture is read back."""
    rig.take(1)
    answered = []

    def act(_count, line):
        if line.startswith("GET /api/v1/files") or answered:
            answered.append(line)
            return PORTAL
        return "pass"

    gate.act = act
    with rig.start() as relay:
        assert "the answer is none of PlantDB: 200 <html>please log in." in relay.wait_for("delivery_stuck")
        gate.act = lambda _count, _line: "pass"
        rig.ask_again()
        relay.wait_for("delivered: tl_0")
        relay.stop()
    assert relay.said("delivery_refused") == []
    assert stored_pictures(server.directory) == rig.pictures()


def test_a_scan_that_was_begun_and_has_lost_its_metadata_is_not_refused(rig, server):
    """A server that stops between making a scan and writing of it leaves one; it is delivered once that is deleted."""
    token = server.log_in()
    server.post("/api/v1/scans/tl_0", token, metadata={})
    rig.take(2)
    rig.ledger_file.parent.mkdir()
    scheduled = datetime.fromisoformat(HOURS[0]).isoformat()
    ledger = Ledger(rig.ledger_file, DeliverTarget(url=rig.url).place)
    ledger.move({})
    ledger.record(LedgerEntry(f"tl_0 {scheduled}", Outcome.BEGUN, "2026"))
    with rig.start() as relay:
        assert "without its metadata" in relay.wait_for("delivery_stuck: plantdb: tl_0")
        relay.wait_for("delivered: tl_1")
        assert rig.ledger()["tl_0"].outcome is Outcome.BEGUN
        relay.stop()
    server.kill()
    shutil.rmtree(server.directory / "tl_0")
    server.start()
    with rig.start() as relay:
        relay.wait_for("delivered: tl_0")
        relay.stop()
