"""The relay removes what it has delivered, and the commands of the rig say where it is, never that it is lost."""

import re
import shutil

import pytest
from rclone_server import RCLONE, RcloneRig, RcloneServer
from waiting import wait_until

from plantimager.timelapse.channel.relay_status import read_relay_status
from plantimager.timelapse.datasets.set_aside import removal_name
from plantimager.timelapse.relay.store_view import StoreViewReader

pytestmark = pytest.mark.skipif(RCLONE is None, reason="rclone is not installed")


@pytest.fixture
def server(tmp_path):
    with RcloneServer("sftp", tmp_path / "remote") as server:
        yield server


@pytest.fixture
def rig(tmp_path, server):
    """Return a rig that always lacks space: by a clock that nobody vouches for nothing is old."""
    rig = RcloneRig(tmp_path / "rig", server.configuration())
    rig.configure("[relay.retention]", 'keep_free = "900 TB"')
    return rig


def removed(rig, n_slots):
    return lambda: not any(any(rig.place.datasets.glob(f"*tl_{slot}*")) for slot in range(n_slots))


def targets(rig, name):
    return [target for target in read_relay_status(rig.places.relay_state).targets if target.name == name]


def test_what_was_delivered_is_removed_and_no_command_calls_it_lost(rig, server, ctl):
    """Also where the ledger of what was removed is lost; then the day is not known any more."""
    rig.take(2)
    sealed = rig.sealed()
    with rig.start() as relay:
        said = relay.wait_for("datasets_removed")
        assert "after delivery to lab" in said
        wait_until(removed(rig, 2), within=60, what="the removal")
        relay.stop()
    assert server.files() == sealed
    code, said = ctl("verify")
    assert (code, "2 taken slots of tl (0, 1): delivered to lab, removed here on 20" in said) == (0, True), said
    assert re.search(r"relay: 2 datasets removed here after delivery, \d+ kB, the last on 20", ctl("status")[1])
    assert "2 datasets removed here after delivery" in ctl("deliver")[1]
    rig.places.removed.unlink()
    code, said = ctl("verify")
    assert (code, "2 taken slots of tl (0, 1): delivered to lab, and no longer here" in said) == (0, True), said


def test_a_dataset_that_nobody_has_is_still_missing(rig, server, ctl):
    """Only what a ledger has is elsewhere."""
    rig.take(3)
    shutil.rmtree(rig.place.datasets / "tl_1")
    with rig.start() as relay:
        relay.wait_for("dataset_gone")
        wait_until(removed(rig, 3), within=60, what="the removal")
        relay.stop()
    code, said = ctl("verify")
    assert (code, "no dataset of 1 taken slot of tl (1)" in said) == (1, True), said


def test_a_lost_or_forgotten_ledger_makes_nothing_of_it_missing(rig, server, ctl):
    """What was removed here can't be compared again, and is not looked for."""
    rig.take(2)
    with rig.start() as relay:
        relay.wait_for("datasets_removed")
        wait_until(removed(rig, 2), within=60, what="the removal")
        assert ctl("deliver", "--forget", "lab")[0] == 1
        rig.ledger_file.unlink()
        relay.wait_for("ledger_damaged")
        wait_until(lambda: rig.status().delivered == 2, within=60, what="the status")
        assert rig.status().oldest is None
        relay.stop()
    assert relay.said("dataset_gone") == []


def test_a_remote_that_is_the_directory_of_the_datasets_is_no_copy(rig):
    """All that is compared there is the same; nothing is removed."""
    rig.take(2)
    sealed = rig.sealed()
    rig.secret.write_text(f"[lab]\ntype = alias\nremote = {rig.place.datasets}\n")
    rig.place.configure(
        f'[relay.deliver.lab]\nremote = "lab:"\nrclone_config = "{rig.secret}"\n[relay.retention]\nkeep_free = "900 TB"'
    )
    with rig.start() as relay:
        relay.wait_for("delivered: tl_1")
        assert "lab doesn't have it any more, or has it in this very directory" in relay.wait_for("datasets_kept")
        relay.stop()
    assert rig.sealed() == sealed


def test_a_target_that_has_lost_a_dataset_keeps_it_here(rig, server):
    """Somebody has deleted it there since it was delivered."""
    rig.configure()
    rig.take(1)
    with rig.start() as relay:
        relay.wait_for("delivered: tl_0")
        relay.stop()
    shutil.rmtree(server.directory / "plants" / "tl_0")
    rig.configure("[relay.retention]", 'keep_free = "900 TB"')
    sealed = rig.sealed()
    with rig.start() as relay:
        assert "tl_0 stays here: lab doesn't have it any more" in relay.wait_for("datasets_kept")
        relay.stop()
    assert rig.sealed() == sealed


def test_a_target_that_is_added_later_does_not_wait_for_what_is_gone(rig, server):
    """Its status says how many it will never have from here."""
    rig.take(1)
    with rig.start() as relay:
        relay.wait_for("datasets_removed")
        wait_until(removed(rig, 1), within=60, what="the removal")
        relay.stop()
    rig.place.configure(f'[relay.deliver.late]\nremote = "lab:late"\nrclone_config = "{rig.secret}"')
    with rig.start() as relay:
        target = wait_until(lambda: targets(rig, "late"), within=60, what="the status")[0]
        assert (target.taken, target.delivered, target.removed, target.oldest) == (1, 0, 1, None)
        relay.stop()
    assert relay.said("dataset_gone") == []


def test_what_a_relay_was_to_remove_has_its_name_back_by_any_relay(rig, ctl):
    """Though retention and even the target were taken out of the configuration; until then the commands name it."""
    rig.take(1)
    (named,) = (scan for scan in StoreViewReader(rig.places).read().taken.scans)
    aside = rig.place.datasets / removal_name(named.scan_id, named.key, rig.places.owner)
    (rig.place.datasets / "tl_0").rename(aside)
    for command in ("verify", "status"):
        said = ctl(command)[1]
        assert f"{aside.name}" in said, said
        assert "tl_0, which the relay asks its targets for before it removes it" in " ".join(said.split()), said
    rig.place.configure(f'[relay.metrics]\ndirectory = "{rig.place.data}"')
    with rig.start() as relay:
        assert "to metrics, look" in relay.wait_for("relay_started")
        wait_until((rig.place.datasets / "tl_0").exists, within=60, what="its own name")
        relay.stop()
    assert not aside.exists()
