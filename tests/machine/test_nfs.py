"""Datasets and a store on a real NFS: the kernel's server and its clients in one machine, over the loopback.

Two rigs have the same export as their datasets' directory, each by a mount of its own that shares nothing with the
other, as two machines would, and another version of the protocol. What was written is judged in the exported directory.
"""

from __future__ import annotations

import hashlib
import json

import pytest
from network_rig import EXPORT, FileServer, NetworkRig

AS_SERVICE = ("--reuid=plant-imager", "--regid=plant-imager", "--clear-groups")
SECOND = (
    *("env", "XDG_DATA_HOME=/srv/other", "PI3_TIMELAPSE_FILE_NAME=timelapse_storage-near.json"),
    *("/opt/plant-imager-timelapsed/bin/timelapsed", "--rig", "near"),
)
"""The daemon of another machine, which has the store by a mount of its own."""

NAMES = [f"picture-{number}.jpg" for number in range(4)]


@pytest.fixture(scope="module")
def server(machine):
    """Return the machine's file server, which serves."""
    return FileServer(machine)


@pytest.fixture(scope="module")
def near(machine, server):
    """Return a rig whose datasets' directory is the export."""
    return NetworkRig(machine, server, "near", "vers=4.2")


@pytest.fixture(scope="module")
def far(machine, server):
    """Return a rig with the same directory, by another mount."""
    return NetworkRig(machine, server, "far", "vers=3,nolock")


def served(machine):
    """Return the digest of each file in the export, by its path, as the server has it."""
    listed = machine.run("sh", "-c", f"cd {EXPORT} && find . -type f -exec sha256sum {{}} +").stdout
    return {path.removeprefix("./"): digest for digest, path in (line.split("  ") for line in listed.splitlines())}


def receipt(machine, dataset):
    """Return the receipt of a dataset in the export, whose files are as it says."""
    text = machine.run("cat", f"{EXPORT}/{dataset}/timelapsed.json").stdout
    found, files = json.loads(text), served(machine)
    own = {path.removeprefix(f"{dataset}/"): files[path] for path in files if path.startswith(f"{dataset}/")}
    assert own.pop("timelapsed.json") == hashlib.sha256(text.encode()).hexdigest()
    assert found["files"] == own
    assert set(NAMES) <= set(own)
    return found


def test_timelapse_is_whole_on_the_server_whatever_version_is_spoken(machine, near, far):
    """Its receipt names the rig; `timelapsectl verify`, by root whom the server takes for nobody, finds no damage."""
    for rig in (near, far):
        rig.begin(f"of-{rig.name}")
    for rig in (near, far):
        rig.wait_for("timelapse_completed")
        found = receipt(machine, f"of-{rig.name}")
        assert (found["owner"]["rig"], found["attempt"]) == (rig.name, 1)
        assert rig.outcomes() == ["succeeded"]
        assert rig.ctl("verify").endswith("no damage found\n")


def test_dataset_of_another_rig_is_a_loud_fault_and_is_left_alone(machine, near, far):
    """Two rigs take timelapses of one name at the same time; the slower one is killed as well.

    Its program goes on while the other takes its dataset. The second attempt is whole, and has no place.
    """
    near.hold(2)
    near.begin("drought")
    near.wait_until_held(2)
    far.begin("drought")
    far.wait_for("timelapse_completed")
    assert (far.outcomes(), receipt(machine, "drought")["owner"]["rig"]) == (["succeeded"], "far")
    assert near.outcomes() == ["running"]
    before = served(machine)

    near.kill()
    near.wait_for("slot_interrupted")
    near.let_go()
    failed = near.wait_for("scan_failed")
    assert f"{near.datasets}/drought is a dataset of rig far on " in failed["MESSAGE"]
    assert "give each rig a directory of its own for its datasets" in failed["MESSAGE"]
    assert int(failed["PRIORITY"]) <= 3
    near.wait_for("timelapse_completed")
    assert near.outcomes() == ["failed"]
    after = served(machine)
    assert {path: after.get(path) for path in before} == before
    aside = {path.partition("/")[0] for path in after.keys() - before.keys()}
    assert len(aside) == 1
    assert aside.pop().startswith(".drought.attempt-2~near-")
    for rig in (near, far):
        assert rig.ctl("verify").endswith("no damage found\n")


@pytest.mark.parametrize("taken", [2, 4])
def test_server_that_is_away_in_mid_scan_costs_no_attempt_and_is_told(machine, near, server, taken):
    """A hard mount holds the program, or the daemon's thread that puts pictures on disk, longer than a rig may stall.

    The loop answers, and feeds its watchdog; the scan goes on when the server is back.
    """
    near.hold(taken)
    near.begin(f"away-{taken}")
    near.wait_until_held(taken)
    process = near.show("MainPID"), near.show("NRestarts")
    server.stop()
    near.let_go()
    near.wait_for_words("datasets_out_of_reach", "datasets can't be put there: no answer within 5 s")
    machine.run("sleep", "45")  # of the machine's own time: more than its watchdog allows, and than a rig may stall
    assert near.outcomes() == ["running"]
    server.start()
    near.wait_for("timelapse_completed")
    assert (near.show("MainPID"), near.show("NRestarts")) == process
    assert near.outcomes() == ["succeeded"]
    assert receipt(machine, f"away-{taken}")["attempt"] == 1
    assert near.ctl("verify").endswith("no damage found\n")


STORAGE = "/var/lib/plant-imager3-app"
PLACE, OTHER = "/srv/stores", "/srv/other/plant-imager3-app"
UNLOCKED = (
    f"{STORAGE} is mounted with nolock: a daemon of another machine could write the same store at the same time; "
    "mount it with locks (NFS: vers=4.2), or put the storage directory on a disk of this machine"
)


def test_store_without_locks_is_told_and_one_with_locks_is_used(machine, near, server):
    """With `nolock` a lock is this machine's own.

    With those of NFS 4 a timelapse is taken, and a daemon that comes to the store by another mount doesn't start.
    """
    near.systemctl("stop")
    machine.run("rm", f"{near.settings}/timelapse.toml")  # an empty store would take it up
    server.export("/srv/storage")
    machine.run("mkdir", "-p", PLACE, OTHER)
    machine.write(f"/etc/systemd/system/{near.unit}.d/storage.conf", f"[Service]\nBindPaths={PLACE}:{STORAGE}\n")
    machine.run("systemctl", "daemon-reload")
    near.started = machine.mark()
    server.mount("/srv/storage", PLACE, "vers=3,nolock")
    near.systemctl("restart")
    assert near.wait_for("store_not_locked")["MESSAGE"].endswith(UNLOCKED)
    near.systemctl("stop")

    server.mount("/srv/storage", PLACE, "vers=4.2")
    near.systemctl("restart")
    near.begin("stored")
    near.wait_for("timelapse_completed")
    assert receipt(machine, "stored")["owner"]["rig"] == "near"
    assert near.show("NRestarts") == "0"
    server.mount("/srv/storage", OTHER, "vers=4.2")
    second = machine.run("setpriv", *AS_SERVICE, *SECOND, check=False)
    assert "a timelapsed already runs on this store" in second.stdout + second.stderr
    assert machine.journal(f"_SYSTEMD_UNIT={near.unit}", "ACTION=store_changed") == []
    near.systemctl("stop")
