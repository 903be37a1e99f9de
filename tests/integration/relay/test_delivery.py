"""Datasets reach PlantDB's real server, and what its list and its explorer need is there."""

import json
import shutil

from daemon_process import NotifySocket
from plant_database import open_database
from relay_rig import stored_pictures
from waiting import wait_until

from plantimager.timelapse.channel.ledger import Ledger, Outcome, forget_datasets
from plantimager.timelapse.channel.relay_status import read_relay_status


def test_datasets_arrive_and_the_list_of_all_scans_shows_them(rig, server):
    """Species, plant, environment, workspace, the number of pictures, and a thumbnail."""
    rig.take(2)
    with rig.start() as relay:
        relay.wait_for("delivered: tl_1")
        assert relay.stop() == 0
    assert stored_pictures(server.directory) == rig.pictures()
    listed = server.listed()
    assert sorted(listed) == ["tl_0", "tl_1"]
    shown = listed["tl_0"]["metadata"]
    assert (shown["species"], shown["plant"], shown["environment"]) == ("Arabidopsis thaliana", "col0-1", "chamber 2")
    assert shown["nbPhotos"] == 2
    assert shown["date"] == "2026-06-22 08:00:01"
    assert server.get(listed["tl_0"]["thumbnailUri"]).headers["content-type"].startswith("image/")
    assert server.get("/api/v1/scans/tl_0").json()["workspace"]["x"] is not None
    server.kill()
    with open_database(server.directory) as database:  # the community's library, byte by byte
        scan = database.get_scan("tl_0")
        files = {f"tl_0/{file.id}": file for file in scan.get_fileset("images").get_files()}
        ours = {name: content for name, content in rig.pictures().items() if name.startswith("tl_0/")}
        assert {name: file.read_raw() for name, file in files.items()} == ours
        assert [files[name].get_metadata("shot_id") for name in sorted(files)] == [0, 1]
        assert scan.get_metadata("timelapsed")["timelapse_id"] == "tl"
        assert scan.get_metadata("timelapse") == {}


def test_a_second_pass_sends_nothing(rig, gate, server):
    """What the ledger has is not even asked for; a lost ledger costs comparing, and no upload."""
    rig.take(2)
    with rig.start() as relay:
        relay.wait_for("delivered: tl_1")
        relay.stop()
    gate.renew()
    with rig.start() as relay:
        relay.wait_for("relay_started")
        rig.take(3)
        relay.wait_for("delivered: tl_2")
        relay.stop()
    assert not [line for line in gate.requests if "tl_0" in line or "tl_1" in line]
    rig.ledger_file.unlink()
    gate.renew()
    with rig.start() as relay:
        relay.wait_for("delivered: tl_2")
        relay.stop()
    assert [line for line in gate.requests if line.startswith("POST")] == ["POST /api/v1/auth/login"] * 1 + [
        "POST /api/v1/auth/logout"
    ]
    assert stored_pictures(server.directory) == rig.pictures()
    assert {entry.outcome for entry in rig.ledger().values()} == {Outcome.DELIVERED}


def test_the_relay_takes_up_what_is_taken_while_it_runs(rig, server):
    """It sees the store change, and says so to systemd and in its status."""
    rig.take(1)
    with NotifySocket(rig.place.data) as manager, rig.start(NOTIFY_SOCKET=str(manager.path)) as relay:
        manager.wait_for("READY=1")
        relay.wait_for("delivered: tl_0")
        rig.take(2)
        relay.wait_for("delivered: tl_1")
        manager.wait_for("plantdb: 2 of 2")
        assert (rig.status().delivered, rig.status().taken, rig.status().oldest) == (2, 2, None)
        relay.stop()


def test_what_was_archived_while_the_relay_was_off_is_delivered(rig, server):
    """A relay that is added later begins with the oldest."""
    rig.take(2)
    rig.places.history.mkdir()
    rig.place.store.rename(rig.places.history / "tl.json")
    with rig.start() as relay:
        relay.wait_for("delivered: tl_0")
        relay.wait_for("delivered: tl_1")
    assert stored_pictures(server.directory) == rig.pictures()


def test_a_target_that_is_renamed_costs_comparing_and_one_that_is_put_back_nothing(rig, gate, server):
    """Its ledger has its name, and is left where the configuration names it no more."""
    rig.take(2)
    with rig.start() as relay:
        relay.wait_for("delivered: tl_1")
        relay.stop()
    before = (rig.place.settings / "timelapsed.toml").read_text()
    for name, compared in (("database", ["tl_0", "tl_1"]), ("plantdb", [])):
        gate.renew()
        rig.place.configure(before.replace("plantdb]", f"{name}]"))
        with rig.start() as relay:
            wait_until(lambda name=name: figures(rig) == [(name, 2)], within=60)
            relay.stop()
        assert [line.split()[1] for line in relay.said("delivered")] == compared
        assert not [line for line in gate.requests if line.startswith("POST") and "/auth/" not in line]
        assert bool(gate.requests) == bool(compared)
    rig.place.configure('[relay.heartbeat]\nurl = "http://127.0.0.1:9"\n')
    with rig.start() as relay:
        relay.wait_for("relay_started")
        relay.stop()
    assert rig.has(0)
    assert stored_pictures(server.directory) == rig.pictures()


def figures(rig):
    """Return how many datasets each target has, by the relay's status."""
    return [(target.name, target.delivered) for target in read_relay_status(rig.places.relay_state).targets]


def test_a_directory_that_was_copied_by_hand_is_compared_and_not_sent(rig, gate, server):
    """A person may have been faster."""
    rig.take(1)
    server.kill()
    shutil.copytree(rig.place.datasets / "tl_0", server.directory / "tl_0")
    server.start()
    with rig.start() as relay:
        assert "(2 of them were there)" in relay.wait_for("delivered: tl_0")
        relay.stop()
    assert [line for line in gate.requests if line.startswith("POST") and "/auth/" not in line] == []
    assert rig.ledger()["tl_0"].left == 0


def test_metadata_that_are_others_there_are_left_here(rig, server):
    """The pictures are the same; retention keeps the dataset, which has the only copy of its metadata."""
    rig.take(2)
    with rig.start() as relay:
        relay.wait_for("delivered: tl_1")
        relay.stop()
    assert {entry.left for entry in rig.ledger().values()} == {0}
    server.kill()
    for name, key in (("metadata.json", "Metadata"), ("images/camera-00000.json", "shot_id")):
        path = server.directory / "tl_0" / "metadata" / name
        about = json.loads(path.read_text())
        path.write_text(json.dumps({**about, key: {}}))
    server.start()
    rig.ledger_file.unlink()
    with rig.start() as relay:
        relay.wait_for("delivered: tl_1")
        relay.stop()
    assert [rig.ledger()[name].left for name in ("tl_0", "tl_1")] == [2, 0]


def test_length_alone_may_be_compared(rig, gate, server):
    """Over a slow network, no picture comes back; a token that expired costs one login there, too."""
    rig.configure('verify = "length"', 'order = "newest"')
    rig.take(3)
    with rig.start() as relay:
        order = [relay.wait_for("delivered: ").split()[1] for _ in range(3)]
        assert order == ["tl_2", "tl_1", "tl_0"]
        before = len(gate.requests)
        server.kill()
        server.start()
        forget_datasets(Ledger(rig.ledger_file), lambda _: True, "2026")
        for _ in range(3):
            relay.wait_for("delivered: ")
        relay.stop()
    assert not [line for line in gate.requests if line.startswith("GET /api/v1/files/")]
    assert len([line for line in gate.requests[before:] if line == "POST /api/v1/auth/login"]) == 1
    assert stored_pictures(server.directory) == rig.pictures()


def test_a_slow_link_is_left_room(rig, server):
    """The rate is that of the configuration, and the pictures are whole."""
    rig.configure('max_rate = "1 MB"')
    rig.take(1, width=640)
    with rig.start() as relay:
        relay.wait_for("delivered: tl_0")
        relay.stop()
    assert stored_pictures(server.directory) == rig.pictures()


def test_retention_asks_the_server_for_all_pictures_and_leaves_no_session(rig, gate, server):
    """The server has room for ten sessions."""
    rig.configure("[relay.retention]", 'keep_free = "900 TB"')
    rig.take(1)
    pictures = rig.pictures()
    with rig.start() as relay:
        relay.wait_for("datasets_removed")
        relay.stop()
    assert stored_pictures(server.directory) == pictures
    assert rig.pictures() == {}
    named = [line.rpartition("/")[2] for line in gate.requests if "/auth/" in line]
    assert named.count("login") == named.count("logout") == 2
    asked = gate.requests[gate.requests.index("POST /api/v1/auth/login", 1) :]
    assert [line for line in asked if line.endswith("/files")]
