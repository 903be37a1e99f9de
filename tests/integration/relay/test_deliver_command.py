"""``timelapsectl deliver`` and ``status`` beside a running relay."""

import os
import pwd
import re

from daemon_process import DaemonProcess
from plantdb_server import USER
from relay_rig import STRICT_RELAY, stored_pictures, take_dataset

from plantimager.timelapse.channel.ledger import Outcome


def test_status_and_deliver_say_how_far_the_target_is(rig, server, ctl):
    """Also where the relay doesn't run."""
    rig.take(2)
    assert "relay" not in ctl("status")[1]
    with rig.start() as relay:
        relay.wait_for("delivered: tl_1")
        relay.stop()
    said = ctl("status")[1]
    assert re.search(r"relay: 2 of 2 delivered, last worked [\d:]+ \(plantdb\); the relay is not running", said)
    code, said = ctl("deliver")
    assert code == 0
    assert re.match(r"2 of 2 delivered, last worked [\d:]+ \(plantdb\), \d kB\n", said)


def test_retry_tries_again_what_was_refused(rig, server, ctl):
    """After a person has put the file back; the running relay notices."""
    rig.take(1)
    picture = next((rig.place.datasets / "tl_0" / "images").iterdir())
    content = picture.read_bytes()
    picture.write_bytes(content + b"x")
    with rig.start() as relay:
        relay.wait_for("delivery_refused: tl_0")
        assert "  refused: tl_0 images/" in ctl("deliver")[1]
        picture.write_bytes(content)
        assert ctl("deliver", "--retry") == (0, "1 refused dataset forgotten; all that waits is tried again\n")
        relay.wait_for("delivered: tl_0")
        relay.stop()
    assert stored_pictures(server.directory) == rig.pictures()


def test_acts_take_a_running_relay_and_looking_does_not(rig, ctl):
    """Nothing is written for a later one; the hint is the command that starts it."""
    rig.take(1)
    with rig.start() as relay:
        relay.wait_for("delivered: tl_0")
        relay.stop()
    before = {path.name: path.read_bytes() for path in rig.places.relay_state.iterdir()}
    for words in (["--retry"], ["--forget", "tl_0"]):
        code, said = ctl("deliver", *words)
        assert (code, said.splitlines()[0]) == (69, "error: the relay is not running")
        assert f"hint: start it with: XDG_DATA_HOME={rig.place.storage.parent} timelapse-relay" in said
    assert re.match(r"1 of 1 delivered, last worked \S.* \(plantdb\), \d kB\n", ctl("deliver")[1])
    assert {path.name: path.read_bytes() for path in rig.places.relay_state.iterdir()} == before


def test_journal_names_who_had_it_tried_again(rig, ctl):
    """By the kernel's word, when it is in the ledger."""
    rig.take(1)
    with rig.start() as relay:
        relay.wait_for("delivered: tl_0")
        assert ctl("deliver", "--forget", "plantdb")[0] == 0
        user = pwd.getpwuid(os.geteuid()).pw_name
        assert f"forget plantdb by {user}: 1 dataset forgotten" in relay.wait_for("delivery_asked")
        relay.stop()


def test_retry_wakes_a_relay_that_waits_for_its_server(rig, server, ctl):
    """It waits up to ten minutes between two tries."""
    rig.take(1)
    server.kill()
    with rig.start() as relay:
        assert "1 dataset waits" in relay.wait_for("delivery_stuck")
        server.start()
        assert ctl("deliver", "--retry")[0] == 0
        relay.wait_for("delivered: tl_0")
        relay.stop()


def test_a_forgotten_dataset_is_compared_and_not_sent_again(rig, gate, server, ctl):
    """By its name, or by that of its target."""
    rig.take(1)
    with rig.start() as relay:
        for name in ("tl_0", "plantdb"):
            relay.wait_for("delivered: tl_0")
            gate.renew()
            assert ctl("deliver", "--forget", name) == (0, "1 dataset forgotten; each is compared again\n")
        assert "(2 of them were there)" in relay.wait_for("delivered: tl_0")
        relay.stop()
    assert not [line for line in gate.requests if line.startswith("POST /api/v1/files")]
    assert rig.ledger()["tl_0"].outcome is Outcome.DELIVERED


def test_an_unknown_name_is_an_error(rig, ctl):
    """And so is a rig without a target."""
    with rig.start() as relay:
        relay.wait_for("relay_started")
        code, said = ctl("deliver", "--forget", "tl_7")
        assert (code, "error: no ledger has a dataset tl_7 that is still here" in said) == (1, True)
        relay.stop()
    rig.place.configure("")
    code, said = ctl("deliver")
    assert (code, "no target is configured" in said) == (1, True)


def test_a_named_rig_s_datasets_from_before_the_update_are_found(rig, server, ctl, tmp_path):
    """They are in the directory that the configuration names; later ones are in that of the rig's name below it."""
    place, scans = rig.place, tmp_path / "scans"
    place.settings /= "north"
    place.settings.mkdir()
    place.store = place.storage / "timelapse_storage-north.json"
    place.configure(
        f'datasets = "{scans}"\n[relay.deliver.plantdb]\nurl = "{rig.url}"\nuser = "{USER}"\n'
        f'password_file = "{rig.password}"\n'
    )
    rig.take(2)
    place.datasets.rename(scans)
    aside = scans / ".tl_2.attempt-1"
    aside.mkdir()
    (aside / "0.jpg").write_bytes(b"x")
    code, said = ctl("--rig", "north", "verify")
    assert (code, f"{scans}: 2 datasets as their receipts say" in said) == (0, True)
    assert ".tl_2.attempt-1" in ctl("--rig", "north", "status")[1]
    environment = {"NO_PROXY": "127.0.0.1"}
    with DaemonProcess(place, "--rig", "north", environment=environment, program=STRICT_RELAY) as relay:
        relay.wait_for("delivered: tl_1")
        (scans / "tl_1").rename(tmp_path / "tl_1")
        take_dataset(scans / "north", 2)
        place.datasets = scans
        rig.take(4)
        (scans / "tl_2").rename(tmp_path / "tl_2")
        relay.wait_for("delivered: tl_2")
        relay.wait_for("delivered: tl_3")
        relay.stop()
    assert {name.split("/")[0] for name in stored_pictures(server.directory)} == {f"tl_{slot}" for slot in range(4)}
